/* Queued writes: requests that were answered before they are made, in order,
 * and when and which of them go into the next entry of the log. One batch is on
 * its way at a time, so that what comes later can't overtake. Knows no clock, no
 * messages: times are passed in, batches are handed out. */
#ifndef RQ_GATEWAY_WRITE_QUEUE_H
#define RQ_GATEWAY_WRITE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/list.h"

typedef struct write_queue_limits {
        size_t count_max;        /* requests held, those on their way too */
        size_t bytes_max;        /* of their statements; a single one may be larger */
        size_t batch_bytes_max;  /* likewise of a batch */
        size_t batch_count;      /* so many are sent at once, without waiting for more */
        uint64_t batch_wait_us;  /* longest wait for as many */
} write_queue_limits;

typedef struct queued_write {
        rq_list node;
        uint64_t sequence, queued_us;
        rq_buf statements;       /* owned; a run of io/statement.h */
        uint32_t statement_count; /* 0: a mark: who waits for it waits for all before it */
        bool transaction;
        void *waiter;            /* NULL: nobody waits; the caller's */
} queued_write;

typedef struct write_queue {
        write_queue_limits limits;
        rq_list waiting, in_flight;
        size_t count, in_flight_count, bytes; /* count: of both lists */
        uint64_t next_sequence, done_sequence; /* done: the last whose batch ended; 0: none */
        uint64_t flush_to;       /* what has a sequence up to this waits for no more */
        uint64_t alone_to;       /* and this: goes alone, its batch was refused as a whole */
        bool flushing;           /* all of it, from now on */
} write_queue;

/* Sequence numbers start above first_sequence. */
void write_queue_init(write_queue *q, const write_queue_limits *limits, uint64_t first_sequence);
void write_queue_done(write_queue *q); /* what is in it is lost */

static inline bool write_queue_empty(const write_queue *q) { return q->count == 0; }

/* Is there room for one of so many bytes? (For a mark there always is.) */
bool write_queue_has_room(const write_queue *q, size_t bytes);

/* At the end; room is the caller's business. *statements is taken over. The write
 * is borrowed until its batch ends. Errors: RQ_ENOMEM. */
rq_err write_queue_add(write_queue *q, rq_buf *take_statements, uint32_t statement_count, bool transaction, uint64_t now_us,
                       queued_write **ret_write);

/* What is there now waits no longer for company. */
void write_queue_flush(write_queue *q);

/* When the next batch is to go; 0: now; UINT64_MAX: nothing waits, or one is on its way. */
uint64_t write_queue_due_us(const write_queue *q);

/* Makes the next batch of what waits, whether due or not; its writes are in
 * q->in_flight, in order. There must be none on its way. Returns how many. */
size_t write_queue_take(write_queue *q);

/* Is it in the batch that is on its way? */
bool write_queue_is_in_flight(const write_queue *q, const queued_write *write);

/* The batch did not happen, and may be tried again: it waits, as if never taken.
 * alone: one write at a time. */
void write_queue_put_back(write_queue *q, bool alone);

/* The batch has ended, one write after another: the first, now the caller's to
 * free; NULL: no more. */
queued_write *write_queue_next_ended(write_queue *q);
void write_queue_free_write(queued_write *w);

/* The answer to a batch: {"results":[{},{"error":"..."},…  At *at, which advances;
 * *ret_error is the JSON string of the error, with its quotes, or empty. false:
 * there is no further result. */
bool write_queue_next_result(rq_bytes answer, size_t *at, rq_bytes *ret_error);

#endif
