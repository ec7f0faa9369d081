/* More time for a long start: while start() reads what a crash has left, its thread
 * can't tell anybody that it goes on. Another one asks the supervisor for more time
 * (EXTEND_TIMEOUT_USEC, sd_notify(3)) as long as the process computes, reads or
 * writes; one that hangs runs into the supervisor's limit. */
#ifndef RQ_SERVICE_STARTUP_H
#define RQ_SERVICE_STARTUP_H

#include <pthread.h>
#include <stdbool.h>

typedef struct rq_startup {
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        bool running, done;
} rq_startup;

/* Without a supervisor that listens it does nothing; without a thread to be had a
 * start has as long as the supervisor says. Not for two at a time. */
void rq_startup_begin(rq_startup *startup);
void rq_startup_end(rq_startup *startup);

#endif
