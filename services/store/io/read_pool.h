/* The reader threads, each with a connection of its own: query requests in,
 * pieces of JSON out. As many as are needed, within a limit; an idle one ends
 * after a while. A reader whose client is slow waits for credit and holds its
 * thread meanwhile.
 *
 * All calls are the loop's. */
#ifndef RQ_STORE_READ_POOL_H
#define RQ_STORE_READ_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/applier.h"
#include "io/db_read.h"
#include "io/files.h"
#include "loop/loop.h"
#include "store.pb-c.h"

enum {
        READ_PIECE_BYTES_MAX  = 64 * 1024,
        READ_STARVED_US       = 30 * 1000 * 1000, /* without credit: given up */
        /* While others wait for a thread and there may be no more of them, a read
         * that has waited so long for credit in all makes room: the less, the
         * longer they wait. */
        READ_PATIENCE_US_MAX  = 1000 * 1000,
        READ_PATIENCE_US_MIN  = 100 * 1000,
};

typedef struct read_pool read_pool;

/* Embedded in the owner's request, which stays until its last event has been
 * taken or read_pool_cancel() said that none will come. */
typedef struct read_job {
        const Rq__Query *query; /* borrowed for as long as that */
        uint64_t credit;        /* bytes that may be sent; then read_pool_credit() */
        /* the pool's own */
        struct read_job *next;
        struct read_worker *worker;
        uint64_t queued_us;
        atomic_bool stop;
        bool queued, starved;
        bool crowded; /* starved, to make room */
} read_job;

typedef enum read_event_kind {
        READ_PIECE,      /* more will come */
        READ_LAST,       /* the end of the answer, possibly empty */
        READ_NEEDS_LOG,
        READ_FAILED,     /* text: why; part of the answer may have been sent */
        READ_STARVED,    /* no credit for READ_STARVED_US, or READ_PATIENCE_US_... */
        READ_STOPPED,    /* after read_pool_cancel() */
} read_event_kind;

typedef struct read_event {
        struct read_event *next;
        read_job *job;
        read_event_kind kind;
        uint64_t index;
        size_t size;
        uint8_t bytes[]; /* JSON, or the text of a failure */
} read_event;

/* wake is signalled when events are there. threads_max > 0. Opens the first
 * connection at once. Errors: those of db_reader_new. */
rq_err read_pool_new(files *f, const applier *a, uint32_t threads_max, rq_wake *wake, read_pool **ret_pool);

/* Interrupts what runs and waits for it; events not taken are dropped. */
read_pool *read_pool_free(read_pool *p);

/* Ends what runs and what is queued, each with a last event. */
void read_pool_interrupt(read_pool *p);

/* Waits until an event is there; false: none is, and nothing runs or is queued. */
bool read_pool_settle(read_pool *p);

/* *ret_waits (may be NULL): all threads are busy; see read_pool_tend(). Errors:
 * RQ_EFULL. */
rq_err read_pool_submit(read_pool *p, read_job *job, bool *ret_waits);

/* Runs the job here and now if that is quick and nobody waits: an idle thread's
 * connection is borrowed for it. True: answer was called with the whole answer,
 * borrowed bytes. False: nothing was done; submit it. */
typedef void (*read_answer)(void *arg, uint64_t index, rq_bytes json);
bool read_pool_try(read_pool *p, const read_job *job, read_answer answer, void *arg);

void read_pool_credit(read_pool *p, read_job *job, uint64_t bytes);

/* True: the job is out of the pool and no event of it will come. False: its
 * last event is READ_STOPPED or was on its way already. */
bool read_pool_cancel(read_pool *p, read_job *job);

/* Events so far, oldest first, linked by next; the caller frees each with free(). */
read_event *read_pool_take(read_pool *p);

/* Adds a thread if jobs wait because all threads are busy for long; if there
 * may be no more, ends those that wait for their clients. To be
 * called every READ_TEND_US while it returns true. */
enum { READ_TEND_US = 5000 };
bool read_pool_tend(read_pool *p);

typedef struct read_pool_stats {
        uint32_t threads, threads_max, idle, queued;
        uint64_t requests, waits; /* run by threads; of these, had to wait for one */
        uint64_t here;            /* answered by read_pool_try() */
        uint64_t wait_us;         /* together */
        uint64_t idle_closed, crowded_out;
} read_pool_stats;
void read_pool_stats_get(read_pool *p, read_pool_stats *ret_stats);

#endif
