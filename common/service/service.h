/* The skeleton of every service: configuration, log, folders, parent watch,
 * signals, sd_notify, watchdog, loop, exit code. A service fills in a table
 * and gets its loop. After Postfix' master skeleton. */
#ifndef RQ_SERVICE_SERVICE_H
#define RQ_SERVICE_SERVICE_H

#include <stdbool.h>

#include "base/rng.h"
#include "config/config.h"
#include "loop/loop.h"

typedef struct rq_service rq_service;

/* Looks into the files that the configuration names, as far as this program reads them, for
 * --check-config: nothing is changed, nothing is listened on. argv is the program's. Errors: RQ_ECONFIG (problem has one line
 * with file and reason; empty: it was told), and others, which are logged with "Cannot check the configuration". */
typedef rq_err (*rq_program_check)(const rq_config *config, char *const *argv, rq_buf *problem);

typedef struct rq_service_def {
        const char *name;       /* "rq-store": process name, log name */
        const char *folder;     /* own folder below the data directory ("store"), NULL: none */
        /* Builds the service. On error the process ends: RQ_ECONFIG with exit
         * code 78, anything else with 1. The error was logged. */
        rq_err (*start)(rq_service *service, void **ret_state);
        rq_program_check check; /* --check-config; start() checks again; may be NULL */
        /* SIGTERM: finish what is under way, then call rq_service_stopped().
         * NULL: stop at once. */
        void (*shutdown)(void *state);
        void (*reload)(void *state);  /* SIGHUP, after the log's level was taken from the file; may be NULL */
        void (*free)(void *state);    /* accepts what start() built */
} rq_service_def;

/* Runs a service to its end; returns the exit code for main(). */
int rq_service_main(int argc, char **argv, const rq_service_def *def);

rq_loop *rq_service_loop(rq_service *service);
const rq_config *rq_service_config(rq_service *service);
const rq_uuid *rq_service_incarnation(rq_service *service); /* of this process run */
/* Own folder as an open directory, locked against a second process (flock);
 * -1 without a folder. */
int rq_service_folder_fd(rq_service *service);
const char *rq_service_folder_path(rq_service *service);
int rq_service_run_dir_fd(rq_service *service);

/* READY=1 (once) and STATUS=text: words that an operator understands. */
void rq_service_ready(rq_service *service, const char *format, ...) __attribute__((format(printf, 2, 3)));
void rq_service_status(rq_service *service, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* More time for a long start or stop (EXTEND_TIMEOUT_USEC). */
void rq_service_extend(rq_service *service, uint64_t timeout_us);

/* shutdown() is done: leave the loop, exit code 0. */
void rq_service_stopped(rq_service *service);
/* A failure at run time: logs nothing, leaves the loop with this exit code. */
void rq_service_fail(rq_service *service, int exit_code);

/* For the launcher, which is no service but is configured and locks a folder too. */

/* Whoever starts a program with standard input, output or error closed gives their numbers to the first files that it
 * opens: what is printed or logged would be written into a lock, a socket, or the log. They are /dev/null then, also for
 * what is executed later. To be called before anything is opened. False: it can't be; nothing may be opened. */
bool rq_program_standard_files(void);

/* Reads the configuration and opens the log as it says; tells at LOG_NOTICE
 * what was set and has no effect. check may be NULL. false: the program is done (--help) or can't
 * run (logged), and ends with *ret_exit_code. The config is the caller's. */
bool rq_program_configure(const char *name, int argc, char **argv, rq_program_check check, rq_config **ret_config, int *ret_exit_code);

/* Creates a folder (0700) with its parents where missing, and opens it.
 * Errors were logged. */
rq_err rq_folder_open(const char *path, int *ret_fd);

/* Locks a file in a folder against other processes for as long as *ret_fd is
 * open, and writes the pid into it. Tries for wait_ms: the process before may
 * be dying still. Errors: RQ_EBUSY (logged, with path and holder's pid), or
 * what open() says (logged). */
rq_err rq_folder_lock(int folder_fd, const char *file, const char *path, uint32_t wait_ms, int *ret_fd);

#endif
