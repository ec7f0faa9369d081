/* Keeps the services of a node running: starts them, restarts what dies or
 * falls silent, stops them in order. Decisions are core/child.c's. Knows
 * nothing of what the services say to each other. */
#ifndef LAUNCH_SUPERVISE_H
#define LAUNCH_SUPERVISE_H

#include "base/err.h"
#include "config/config.h"

typedef struct supervisor supervisor;

/* Borrows config and argv for its life. bin_dir: where the programs of the
 * services are (copied). Blocks the signals that it waits for. Errors were
 * logged; RQ_ENOENT: a program is missing. */
rq_err supervisor_new(const rq_config *config, char *const *argv, const char *bin_dir, int run_dir_fd, supervisor **ret_supervisor);
supervisor *supervisor_free(supervisor *s); /* accepts NULL, returns NULL */

/* Runs each service with argv, which has --check-config, and waits for its verdict. Errors:
 * RQ_ECONFIG (a service has told what is wrong), RQ_ENOENT (a program is missing, logged), RQ_EIO. */
rq_err supervisor_check(char *const *argv, const char *bin_dir);

/* Runs until all services are stopped for good; the exit code of rqd. */
int supervisor_run(supervisor *s);

#endif
