/* The stream of committed entries to the own store: what comes next, how much
 * may be on its way. A new FETCH is a new stream. Knows no sockets and no bytes. */
#ifndef RQ_CONSENSUS_CORE_STREAM_H
#define RQ_CONSENSUS_CORE_STREAM_H

#include "base/rng.h"
#include "raft/raft_trail.h"

enum {
        STREAM_WINDOW_BYTES = 16 * 1024 * 1024, /* unacknowledged, or one record */
        STREAM_BATCH_BYTES  = 1024 * 1024,      /* in one message, or one record */
        STREAM_BATCHES_MAX  = 1024,             /* accounted apart; more are counted together */
};

typedef enum stream_state {
        STREAM_CLOSED,   /* no store, or it hasn't asked yet */
        STREAM_OPEN,
        STREAM_MISFIT,   /* the store doesn't fit this log: nothing is sent */
} stream_state;

typedef struct stream_fetch {
        raft_index from;
        raft_term applied_term;
        rq_uuid database_id;  /* zero: a fresh store */
        uint64_t clock_us;
        raft_index checkpoint;
} stream_fetch;

typedef struct stream {
        stream_state state;
        const char *misfit;      /* static: why */
        bool foreign;            /* it is another cluster's */
        rq_uuid id;
        bool said_commit;        /* the first COMMITTED is out */
        raft_index next, applied, checkpoint;
        uint64_t in_flight_bytes;
        uint64_t held_bytes;     /* the next record is so large and waits for room */
        struct { raft_index last; uint64_t bytes; } sent[STREAM_BATCHES_MAX];
        uint32_t head, tail;     /* free-running */
} stream;

/* Errors: RQ_EDIVERGED (state MISFIT, misfit says why). */
rq_err stream_open(stream *s, const stream_fetch *fetch, const rq_uuid *id, const raft_trail *trail,
                   const rq_uuid *database_id);
void stream_close(stream *s);

/* What to send now, if anything: entries from *ret_first on (below it count 0:
 * only the commit index), at most *ret_bytes but for a single record. Nothing
 * while no commit index is known since the start. */
bool stream_wants(const stream *s, raft_index commit, bool commit_known, raft_index *ret_first,
                  raft_index *ret_last, uint64_t *ret_bytes);

/* Whether a message of so many bytes fits the window; if not it is asked for
 * again when it does. */
bool stream_fits(stream *s, uint64_t bytes);
void stream_sent(stream *s, uint32_t count, uint64_t bytes);

/* Errors: RQ_EPROTO: it can't have applied that. */
rq_err stream_acknowledged(stream *s, raft_index applied, raft_index checkpoint);

#endif
