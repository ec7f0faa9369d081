/* Findings for people and for programs, on standard output. */
#ifndef RQ_DOCTOR_IO_PRINT_H
#define RQ_DOCTOR_IO_PRINT_H

#include "base/err.h"
#include "core/findings.h"

typedef struct print_head { const char *node_id, *data_dir; } print_head;

/* The first line is the verdict, as monitoring systems show it. */
void print_text(const findings *f, const print_head *head);

/* Errors: RQ_ENOMEM. */
rq_err print_json(const findings *f, const print_head *head);

#endif
