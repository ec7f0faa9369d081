/* Files of the running node in RUN. launcher.json: what the launcher knows of its services, for rq-gateway's
 * /status and for operators. Replaced as a whole (rename), never written in
 * place. Not on disk for good: the folder may be a tmpfs. */
#ifndef LAUNCH_REPORT_H
#define LAUNCH_REPORT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/err.h"

typedef struct report_child {
        const char *name, *state, *status, *last_exit; /* "" if none */
        pid_t pid;                                     /* 0: no process */
        uint32_t restarts;
        uint64_t since_wall_us;                        /* in this state */
} report_child;

/* {"pid":1,"version":"0.1.0","children":[{"name":"rq-store","pid":2,"state":"running",
 *  "restarts":0,"last_exit":"","status":"","since":"2026-01-31T12:00:00.000Z"},...]}
 * Errors: RQ_ENOMEM, or what writing says; the old document stays. */
rq_err report_write(int run_dir_fd, const report_child *children, size_t count);

/* RUN/rqd.conf: what the node is run with, a file that -config takes: rqd doctor, given the data directory only, looks
 * at the node's own addresses. Errors likewise. */
rq_err report_write_config(int run_dir_fd, rq_bytes text);

#endif
