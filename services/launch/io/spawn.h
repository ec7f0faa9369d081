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

#endif
