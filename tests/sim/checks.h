/* The checkers: they watch from outside, from what nodes hand to their disks, send,
 * commit and answer, and share nothing with the core but its reading functions.
 * Each says world_fail() with its own name. */
#ifndef RQ_SIM_CHECKS_H
#define RQ_SIM_CHECKS_H

#include "base/table.h"
#include "core/driver.h"
#include "io/log_recover.h"
#include "store.h"

typedef struct world world;
typedef struct sim_node sim_node;
typedef struct sim_request sim_request;

/* The one log that all agree on, as far as it is committed. */
typedef struct committed_entry {
        raft_term term;
        /* of the node that was first to know; never below the term in which it was committed */
        raft_term seen_term;
        uint64_t chain, request, clock_us;
        uint8_t kind;
} committed_entry;

typedef struct leader_of_term { raft_term term; raft_id id; } leader_of_term;

typedef struct known_configuration { uint64_t chain; raft_configuration value; } known_configuration;

typedef struct checks {
        rq_table chains;         /* (index, term) -> chain: log matching */
        rq_buf committed;        /* committed_entry; index 1 is the first */
        rq_buf leaders;          /* leader_of_term */
        rq_table votes;          /* (voter, term) -> candidate: what was said */
        rq_buf configurations;   /* known_configuration: all that were ever in a log */
        uint64_t configuration;  /* chain of the one that was committed last */
        uint64_t leader_changes;
        uint64_t installs, rebases;
        uint64_t late_leaders;   /* of them, when the first elections were long over */
} checks;

void checks_done(checks *c);
raft_index checks_commit(const world *w);
const committed_entry *checks_committed(const world *w, raft_index index);

/* check_log.c: log matching; entry clocks rise. */
void check_appended(world *w, const sim_node *n, raft_index index);

/* check_election.c: one vote and one leader a term, a leader has a majority of votes, and all that was committed. */
void check_vote(world *w, raft_id voter, raft_term term, raft_id candidate);
void check_state(world *w, const sim_node *n);

/* check_commit.c: what is committed never changes, and is on the disks of a majority when it is. */
void check_commit(world *w, const sim_node *n, raft_index from, raft_index to);

/* check_members.c: majorities of configurations that follow each other intersect. */
void check_configuration_seen(world *w, uint64_t chain, rq_bytes body);
void check_configuration_committed(world *w, uint64_t chain);
/* The one that was committed last; NULL: none yet. */
const raft_configuration *checks_configuration(const world *w);
/* The one that was committed last up to index. NULL: none. */
const raft_configuration *checks_configuration_at(const world *w, raft_index index);
bool checks_is_member(const world *w, raft_id id);
bool check_is_quorum(const raft_configuration *c, uint64_t (*holds)(void *arg, raft_id id), void *arg);

/* check_promises.c: nothing is sent that promises what isn't on the disk; nothing that was is missing after a start. */
void check_sent(world *w, const sim_node *n, const raft_message *m);
void check_recovered(world *w, const sim_node *n, raft_term term, raft_id vote, raft_term term_in_flight,
                     raft_id vote_in_flight, raft_index last,
                     uint64_t durable_chain, bool rebased);

/* check_install.c: a snapshot is what the others had at its index; the log follows the store, and nothing that counts is given up for it. */
void check_snapshot_installed(world *w, const sim_node *n, const store_state *image);
void check_rebased(world *w, const sim_node *n, const log_recovered *log);
void check_snapshot_done(world *w, const sim_node *n, raft_index index);

/* check_store.c: stores apply what is committed, all the same. */
void check_store_applied(world *w, const sim_node *n, const record_header *header);
void check_store_died(world *w, const sim_node *n);

/* check_requests.c: each is answered, with the truth; what is acknowledged is in the log once. */
void check_request_committed(world *w, raft_index index, uint64_t number);
void check_answer(world *w, uint64_t number, const sim_request *r, const answer *a);
void check_second_answer(world *w, uint64_t number, const sim_request *r);
void check_overdue(world *w, uint64_t number, const sim_request *r);
void check_requests_at_end(world *w);

/* check_reads.c: linearizable by the order of the log and of real time. counts: somebody has waited. */
void check_result(world *w, uint64_t number, const sim_request *r, bool counts);

/* check_bounds.c: memory and windows. */
void check_bounds(world *w, const sim_node *n);

/* check_progress.c: after everything is healed the cluster works again. True: it does. */
bool check_progress(world *w);

#endif
