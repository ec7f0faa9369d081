/* Around the Raft core: takes what came in during a turn of the loop, steps the
 * core, and says what is to be done. Holds everything that waits: proposals,
 * reads, the store's stream, recent records. No sockets, files, clocks, threads;
 * time and random numbers are given to it: the simulator runs several in one
 * process. */
#ifndef RQ_CONSENSUS_CORE_DRIVER_H
#define RQ_CONSENSUS_CORE_DRIVER_H

#include "base/bytes.h"
#include "base/rng.h"
#include "core/answers.h"
#include "core/membership.h"
#include "core/reads.h"
#include "core/stream.h"
#include "raft/raft.h"
#include "record.h"

enum {
        DRIVER_PENDING_COUNT_MAX = 20000,            /* proposals not applied; also reads */
        DRIVER_PENDING_BYTES_MAX = 64 * 1024 * 1024, /* likewise; a single one may be larger */
        DRIVER_TAIL_ENTRIES_MAX  = 32768,
        DRIVER_APPEND_ENTRIES_MAX = 4096,            /* in one append between members */
        DRIVER_APPEND_BYTES_MAX  = 1024 * 1024,      /* likewise, or one entry */
};
_Static_assert(DRIVER_TAIL_ENTRIES_MAX > DRIVER_PENDING_COUNT_MAX, "what is taken in fits the core's tail");

typedef struct driver driver;

typedef struct driver_options {
        raft_id id;
        bool learner;              /* neither campaigns nor votes */
        raft_term term;
        raft_id vote;
        raft_index commit;         /* hint of the hard state */
        raft_index base_index;
        raft_term base_term;
        rq_bytes base_membership;  /* encoded (core/membership.h); holds at base_index; borrowed during the call; empty: none */
        raft_index base_membership_index;
        raft_index members_known;  /* configuration entries up to this index count for nothing: base_membership is
                                    * what they came to, or what a recovery put in their place. 0: each counts */
        raft_index last_index;     /* of the recovered log */
        rq_uuid database_id;
        uint64_t clock_us;         /* entry clock at last_index */
        uint64_t random_seed;
        uint64_t now_us;
        uint64_t heartbeat_us, election_us, lease_us, disk_stall_us; /* see raft.h */
} driver_options;

typedef struct driver_proposal {
        request_origin from;
        uint64_t deadline_us;      /* UINT64_MAX: none */
        uint8_t kind;              /* record_kind */
        uint64_t step_budget;
} driver_proposal;

/* What a turn has brought, to be done in this order. Messages, appends, forwards,
 * reads and answers are fetched with driver_next_...(), also before the persist. */
typedef struct driver_plan {
        bool persist;              /* hand over to the log writer: */
        bool hard;                 /* term, vote and commit hint */
        raft_term term;
        raft_id vote;
        raft_index first, last;    /* entries of driver_entry_piece(), replacing the log from first on; first 0: none */
        raft_term previous_term;   /* of the entry before first */
        raft_persisted when_durable;
        bool committed;            /* the commit index has moved */
        bool state_changed;        /* role, term, leader or readiness */
        bool membership_changed;
} driver_plan;

/* Errors: RQ_ENOMEM, RQ_EINVAL, RQ_ECORRUPT (the membership). */
rq_err driver_new(const driver_options *options, driver **ret_driver);
driver *driver_free(driver *d);

/* The recovered log, run by run; then its configuration entries behind the base.
 * Errors: see raft_restore(), membership_decode(). */
rq_err driver_restore(driver *d, raft_term term, raft_index last, uint64_t uncommitted_bytes);
rq_err driver_restore_membership(driver *d, raft_index index, rq_bytes body);
rq_err driver_restored(driver *d);

/* Notes for the next turn. */

/* Kinds of records that others may propose; the rest is this service's own. */
bool driver_takes(uint8_t kind);

/* Writes are taken on every node: the leader's go to the log, others to the
 * leader, and while there is none for a short time they wait for one.
 * Errors: nothing has happened. RQ_ENOTLEADER (no leader for longer), RQ_EFULL,
 * RQ_ETOOBIG, RQ_ENOMEM, RQ_ECANCELED (stopping). Later failures come as answers. */
rq_err driver_propose(driver *d, const driver_proposal *proposal, rq_bytes body);

typedef enum driver_read_level { DRIVER_READ_WEAK, DRIVER_READ_LINEARIZABLE, DRIVER_READ_STRONG, DRIVER_READ_LOCAL } driver_read_level;

/* strong: gets an entry of the log as its index. local: waits for min_index only. Errors: as above. */
rq_err driver_read(driver *d, request_origin from, driver_read_level level, uint64_t deadline_us, raft_index min_index,
                   rq_bytes query);

/* Everything up to this persist is durable. */
void driver_persisted(driver *d, const raft_persisted *persisted);
void driver_storage_failed(driver *d);
void driver_gateway_gone(driver *d, uint32_t gateway);
void driver_stop(driver *d); /* nothing new is taken any more */

/* Leadership to this member, or to the best one (0); a follower asks its leader to do so, and sees
 * what comes of it. Errors: RQ_ENOTLEADER (none is known, or it is handing over already), RQ_EINVAL. */
rq_err driver_transfer(driver *d, raft_id to);

/* Proposes other members, with names and addresses; a joint membership in between
 * is the driver's own doing. Errors: RQ_ENOTLEADER, RQ_EBUSY, RQ_EINVAL, RQ_EFULL
 * (see raft_step()), RQ_ETOOBIG (old and new together), RQ_ENOMEM. */
rq_err driver_configure(driver *d, const membership *members);

/* Errors: RQ_EDIVERGED: the store doesn't fit. */
rq_err driver_fetch(driver *d, const stream_fetch *fetch, const rq_uuid *stream_id);
rq_err driver_applied(driver *d, raft_index applied, raft_index checkpoint); /* RQ_EPROTO */
void driver_store_gone(driver *d);

/* A snapshot sent to this member is installed up to index: its log goes on behind it. */
void driver_snapshot_done(driver *d, raft_id to, raft_index index);

/* Everything that waits is answered, as unknown or refused: this driver's log is
 * about to be replaced. Answers are fetched as ever; then it is of no use. */
void driver_abandon(driver *d, const char *text);

/* The log was dropped up to and including index. */
void driver_compacted(driver *d, raft_index index);

/* --- members ---------------------------------------------------------------- */

/* A message of a member; records: of an append, each checked here (format,
 * checksum, database, order of index and term). Copied.
 * Errors: RQ_EPROTO, RQ_ECORRUPT: what no correct member sends, close its link;
 * RQ_ENOMEM, RQ_EFULL: it is as if the message was lost. */
rq_err driver_receive(driver *d, const raft_message *message, rq_bytes records, uint64_t now_us);

/* Its link broke. refused: nobody listens at its address any more. */
void driver_peer_down(driver *d, raft_id id, bool refused);

/* The next message to send. False: none. */
bool driver_next_message(driver *d, raft_message *ret_message);

/* The next append for this member: its entries are first up to last, but no more than
 * bytes_max (one may be larger). Send it with as many of them as fit, then say so. */
typedef struct driver_append {
        raft_message message;      /* append.count is yours to set */
        raft_index first, last;    /* last below first: no entries */
        uint64_t bytes_max;
        bool in_memory;            /* first is held by driver_entry_piece(), else read it from disk */
} driver_append;
bool driver_next_append(const driver *d, raft_id to, driver_append *ret_append);
void driver_append_sent(driver *d, raft_id to, uint32_t count, uint64_t bytes, uint64_t now_us);

/* A proposal on its way from a follower to the leader. seed becomes the record's
 * (random for random(), and by it the follower knows its entry again). Hazard 23:
 * it is good for one term only. */
typedef struct driver_forward {
        raft_id to;                /* the leader; for driver_forwarded(): from whom */
        raft_term term;
        uint64_t seed;
        uint8_t kind;
        uint64_t step_budget;
        rq_bytes body;             /* borrowed until the next call */
} driver_forward;
bool driver_next_forward(driver *d, driver_forward *ret_forward);
void driver_forward_sent(driver *d, const driver_forward *forward); /* else it is offered again later */

/* The leader's side. Errors: nothing has happened, tell the member so:
 * RQ_ENOTLEADER (or another term), RQ_EFULL, RQ_ENOSPC and the like. */
rq_err driver_forwarded(driver *d, const driver_forward *forward);
/* Nothing has happened; err as above. RQ_ENOTLEADER: it is sent to the next
 * leader by itself. */
void driver_forward_refused(driver *d, raft_id from, raft_term term, uint64_t seed, rq_err err);

/* --- the turn --------------------------------------------------------------- */

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
 * until the entries are durable and the next turn, also when they are replaced. */
rq_bytes driver_entry_piece(const driver *d, raft_index first, raft_index last, size_t bytes_max, raft_index *ret_last);

const raft *driver_raft(const driver *d);
const membership *driver_membership(const driver *d, raft_index *ret_index); /* in use; NULL: none yet. ret_index may be NULL */
/* Who they were at index. NULL: not known any more; *ret_index: from where on (0: not at all). */
const membership *driver_membership_at(const driver *d, raft_index index, raft_index *ret_index);
const stream *driver_stream(const driver *d);
uint64_t driver_clock_us(const driver *d);
uint32_t driver_pending_count(const driver *d); /* proposals not applied yet */
uint32_t driver_read_count(const driver *d);
uint64_t driver_staged_bytes(const driver *d);
uint64_t driver_memory_bytes(const driver *d);  /* records held in memory, and what was replaced and is still with the writer */

#endif
