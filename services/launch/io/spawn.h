/* Starts one service process: environment, descriptors, signals. */
#ifndef LAUNCH_SPAWN_H
#define LAUNCH_SPAWN_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

typedef struct spawn_plan {
        const char *path, *name;
        char *const *argv;         /* the launcher's own; argv[0] becomes name */
        const char *notify_socket;
        uint64_t watchdog_us;      /* 0: none */
        int launcher_fd;           /* read end of the launcher's pipe */
} spawn_plan;

/* A program that cannot be executed is a child that exits with 127, logged.
 * Errors: what fork() says. */
rq_err spawn_service(const spawn_plan *plan, pid_t *ret_pid);

/* Runs the program with argv to its end, its standard input and output being /dev/null. *ret_code:
 * its exit code; 127: it could not be executed (logged); -1: killed. Errors: what fork() says. */
rq_err spawn_and_wait(const char *path, const char *name, char *const *argv, int *ret_code);

#endif
