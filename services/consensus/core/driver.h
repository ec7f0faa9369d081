/* Around the Raft core: takes what came in during a turn of the loop, steps the
 * core once for all of it, and says what is to be done. Holds everything that
 * waits: proposals, reads, the store's stream, recent records. No sockets, files,
 * clocks, threads; time and random numbers are given to it. */
#ifndef RQ_CONSENSUS_CORE_DRIVER_H
#define RQ_CONSENSUS_CORE_DRIVER_H

#include "base/bytes.h"
#include "base/rng.h"
#include "core/answers.h"
#include "core/reads.h"
#include "core/stream.h"
#include "raft/raft.h"
#include "record.h"

enum {
        DRIVER_PENDING_COUNT_MAX = 20000,            /* proposals not committed; also reads */
        DRIVER_PENDING_BYTES_MAX = 64 * 1024 * 1024, /* likewise; a single one may be larger */
        DRIVER_TAIL_ENTRIES_MAX  = 32768,
};
_Static_assert(DRIVER_TAIL_ENTRIES_MAX > DRIVER_PENDING_COUNT_MAX, "what is taken in fits the core's tail");

typedef struct driver driver;

typedef struct driver_options {
        raft_id id;
        const raft_id *voters;     /* borrowed during the call */
        uint32_t voter_count;
        bool learner;              /* neither campaigns nor votes */
        raft_term term;
        raft_id vote;
        raft_index commit;         /* hint of the hard state */
        raft_index base_index;
        raft_term base_term;
        raft_index last_index;     /* of the recovered log */
        rq_uuid database_id;
        uint64_t clock_us;         /* entry clock at last_index */
        uint64_t random_seed;
} driver_options;

typedef struct driver_proposal {
        request_origin from;
        uint64_t deadline_us;      /* UINT64_MAX: none */
        uint8_t kind;              /* record_kind */
        uint64_t step_budget;
} driver_proposal;

/* What a turn has brought, to be done in this order. */
typedef struct driver_plan {
        bool persist;              /* hand over to the log writer: */
        bool hard;                 /* term, vote and commit hint */
        raft_term term;
        raft_id vote;
        raft_index first, last;    /* entries of driver_entry_piece(); first 0: none */
        raft_term previous_term;   /* of the entry before first */
        raft_persisted when_durable;
        bool committed;            /* the commit index has moved */
        bool state_changed;        /* role, term, leader or readiness */
} driver_plan;

/* Errors: RQ_ENOMEM, RQ_EINVAL. */
rq_err driver_new(const driver_options *options, driver **ret_driver);
driver *driver_free(driver *d);

/* The recovered log, run by run. Errors: see raft_restore(). */
rq_err driver_restore(driver *d, raft_term term, raft_index last, uint64_t uncommitted_bytes);
rq_err driver_restored(driver *d);

/* Notes for the next turn. */

/* Errors: nothing has happened. RQ_ENOTLEADER, RQ_EFULL, RQ_ETOOBIG, RQ_ENOMEM,
 * RQ_ECANCELED (stopping). Later failures come as answers. */
rq_err driver_propose(driver *d, const driver_proposal *proposal, rq_bytes body);

/* strong: gets an entry of the log as its index. Errors: as above. */
rq_err driver_read(driver *d, request_origin from, bool strong, uint64_t deadline_us, raft_index min_index, rq_bytes query);

/* Everything up to this persist is durable. */
void driver_persisted(driver *d, const raft_persisted *persisted);
void driver_storage_failed(driver *d);
void driver_gateway_gone(driver *d, uint32_t gateway);
void driver_stop(driver *d); /* nothing new is taken any more */

/* Errors: RQ_EDIVERGED: the store doesn't fit. */
rq_err driver_fetch(driver *d, const stream_fetch *fetch, const rq_uuid *stream_id);
rq_err driver_applied(driver *d, raft_index applied, raft_index checkpoint); /* RQ_EPROTO */
void driver_store_gone(driver *d);

/* The log was dropped up to and including index. */
void driver_compacted(driver *d, raft_index index);

/* One turn: everything noted is worked through. */
void driver_turn(driver *d, uint64_t now_us, uint64_t wall_us, driver_plan *ret_plan);

/* When a turn is due without a note; UINT64_MAX: never. */
uint64_t driver_deadline_us(const driver *d);

/* To be sent; the caller sets count to 0. */
answers *driver_answers(driver *d);

/* Reads whose index is known, for a store that is there. */
read_request *driver_next_read(const driver *d);
void driver_read_passed_on(driver *d, read_request *read);

/* The next message of the store's stream. first > last: no entries, only the
 * commit index. */
typedef struct driver_batch {
        rq_uuid stream_id;
        raft_index first, last, previous;
        raft_term previous_term;
        raft_index commit;
        uint64_t bytes_max;
        bool in_memory;            /* first is held by driver_entry_piece(), else read it from disk */
} driver_batch;
bool driver_next_batch(const driver *d, driver_batch *ret_batch);
bool driver_batch_fits(driver *d, uint64_t bytes); /* else it is to be sent later */
void driver_batch_sent(driver *d, uint32_t count, uint64_t bytes);

/* Records in memory that lie behind each other, from first (held) on. Borrowed
 * until the entries are durable and the next turn. */
rq_bytes driver_entry_piece(const driver *d, raft_index first, raft_index last, size_t bytes_max, raft_index *ret_last);

const raft *driver_raft(const driver *d);
const stream *driver_stream(const driver *d);
uint64_t driver_clock_us(const driver *d);
uint32_t driver_pending_count(const driver *d); /* proposals not applied yet */
uint32_t driver_read_count(const driver *d);
uint64_t driver_staged_bytes(const driver *d);
uint64_t driver_memory_bytes(const driver *d);  /* records held in memory */

#endif
