/* Private: what the driver's files share. */
#ifndef RQ_CONSENSUS_CORE_DRIVER_STATE_H
#define RQ_CONSENSUS_CORE_DRIVER_STATE_H

#include "core/driver.h"
#include "core/entries.h"
#include "core/membership_history.h"
#include "core/proposals.h"

enum {
        DRIVER_MESSAGES_MAX    = 1024, /* not fetched yet; what comes then is lost, as on a link */
        DRIVER_WINDOW_MESSAGES = 64,   /* appends on their way to one member */
        DRIVER_WINDOW_BYTES    = 8 * 1024 * 1024,
        DRIVER_WAIT_ELECTIONS  = 3,    /* how long something waits for a leader */
        DRIVER_RETRY_US        = 1000, /* between two tries of what failed for want of memory */
        DRIVER_STAGED_MAX      = DRIVER_PENDING_COUNT_MAX + 2,
};

/* What is to become an entry in this turn; the bodies are with the entries. */
typedef struct staged {
        proposal *own;         /* NULL: a member's */
        raft_id from;
        uint64_t seed, step_budget;
        uint8_t kind;
} staged;

struct driver {
        raft *raft;            /* in raft_memory */
        void *raft_memory;
        raft_run *runs;
        raft_output out;       /* of this turn, and of the messages since the last */
        entries *entries;
        proposals *proposals;
        reads reads;
        stream stream;
        answers answers;
        membership_history members;
        raft_id id;
        rq_uuid database_id;
        uint64_t clock_us;     /* of the last entry */
        rq_rng rng;
        bool stopping;

        uint64_t now_us;
        uint64_t turn_us, wall_us; /* monotonic and wall clock of the last turn */
        uint64_t heartbeat_us, election_us, wait_us;
        bool has_leader;
        uint64_t no_leader_since_us;
        uint64_t forward_after_us;  /* the leader has refused: not to be asked sooner */
        raft_term forward_term;     /* while it leads this term */
        uint64_t doubted_us;        /* last asked what became of forwards */
        uint64_t read_after_us;     /* rounds are not to be asked for sooner */
        raft_term read_term;        /* of the last one that was asked for */
        raft_index appliable;       /* worked through */
        raft_index recovered_last;
        raft_index members_known;   /* configuration entries up to it are known by what they came to */

        /* Room made before a step, for what the core may append itself. */
        membership *spare;
        rq_buf body;
        const membership *proposed; /* during driver_configure() */

        raft_message messages[DRIVER_MESSAGES_MAX];
        uint32_t message_head, message_tail; /* free-running */

        /* Notes of this turn. */
        bool has_persisted, has_failed;
        raft_persisted persisted;
        raft_index compacted;
        uint64_t staged_bytes;
        staged staged[DRIVER_STAGED_MAX];
        raft_entry events[DRIVER_STAGED_MAX]; /* of the step at hand */
};

_Static_assert((int) DRIVER_STAGED_MAX >= (int) DRIVER_APPEND_ENTRIES_MAX, "an append fits a step");

/* Steps the core at now_us and takes care of what isn't accumulated: messages, its
 * own entries (but in a step of PROPOSE, where they come behind the proposals), what
 * was staged when it doesn't lead any more. runs: terms that the event may begin,
 * beside the core's own.
 * Errors: RQ_ENOMEM (nothing was stepped), those of raft_step(). */
rq_err driver_step(driver *d, const raft_event *event, uint32_t runs);

/* Errors: RQ_ENOMEM. */
rq_err driver_make_room_for_runs(driver *d, uint32_t runs);

/* Time goes on, never back. */
void driver_set_now(driver *d, uint64_t now_us);

/* Whether proposals can go to the own log now. */
bool driver_can_append(const driver *d);
/* Whether one more of so many bytes fits what may be uncommitted. */
bool driver_has_room(const driver *d, size_t body_bytes);

/* Puts a body behind the staged ones. own: NULL for a member's. Errors: RQ_ENOMEM, RQ_EFULL. */
rq_err driver_stage(driver *d, const staged *what, rq_bytes body);
/* What is staged becomes entries. */
void driver_append_staged(driver *d);

uint64_t driver_new_seed(driver *d);

#endif
