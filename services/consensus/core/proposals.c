#include "core/proposals.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/table.h"

struct proposals {
        rq_list lists[PROPOSAL_STATE_COUNT]; /* placed, committed: in index order */
        rq_list free;
        rq_table by_seed;
        uint32_t count, never_used;
        uint64_t bytes;
        uint64_t deadline_us;                /* not above that of any that may expire */
        raft_term fence_min;                 /* not above that of any flying or replaced one */
        proposal pool[PROPOSALS_MAX];
};

#define EACH_PROPOSAL(list, node_, next_)                                             \
        for (rq_list *node_ = (list)->next, *next_ = node_->next; node_ != (list);    \
             node_ = next_, next_ = node_->next)

static proposal *of(const rq_list *node) { return RQ_LIST_ENTRY(node, proposal, node); }

proposals *proposals_new(void) {
        proposals *p = calloc(1, sizeof *p);
        if (p == NULL)
                return NULL;
        for (int i = 0; i < PROPOSAL_STATE_COUNT; i++)
                rq_list_init(&p->lists[i]);
        rq_list_init(&p->free);
        p->deadline_us = UINT64_MAX;
        p->fence_min = UINT64_MAX;
        return p;
}

proposals *proposals_free(proposals *p) {
        if (p == NULL)
                return NULL;
        for (uint32_t i = 0; i < p->never_used; i++)
                free(p->pool[i].body);
        rq_table_done(&p->by_seed);
        free(p);
        return NULL;
}

uint32_t proposals_count(const proposals *p) { return p->count; }
uint64_t proposals_bytes(const proposals *p) { return p->bytes; }

static void forget_body(proposals *p, proposal *which) {
        p->bytes -= which->body_bytes;
        free(which->body);
        which->body = NULL;
        which->body_bytes = 0;
}

static void move(proposals *p, proposal *which, proposal_state state) {
        rq_list_remove(&which->node);
        rq_list_append(&p->lists[state], &which->node);
        which->state = state;
}

static void expect(proposals *p, uint64_t deadline_us) {
        if (deadline_us < p->deadline_us)
                p->deadline_us = deadline_us;
}

rq_err proposals_add(proposals *p, const proposal *what, uint64_t seed, proposal **ret_proposal) {
        if (rq_list_empty(&p->free) && p->never_used == PROPOSALS_MAX)
                return RQ_EFULL;
        if (rq_table_get(&p->by_seed, seed) != NULL)
                return RQ_EEXIST;
        proposal *which = rq_list_empty(&p->free) ? &p->pool[p->never_used] : of(p->free.prev); /* warm */
        rq_err r = rq_table_put(&p->by_seed, seed, which);
        if (r < 0)
                return r;
        if (which == &p->pool[p->never_used])
                p->never_used++;
        else
                rq_list_remove(&which->node);
        *which = (proposal) {
                .seed = seed, .from = what->from, .deadline_us = what->deadline_us, .step_budget = what->step_budget,
                .kind = what->kind, .barrier = what->barrier, .state = PROPOSAL_STAGED,
        };
        rq_list_append(&p->lists[PROPOSAL_STAGED], &which->node);
        p->count++;
        expect(p, which->deadline_us);
        *ret_proposal = which;
        return RQ_OK;
}

void proposals_cancel(proposals *p, proposal *which) {
        if (which->state != PROPOSAL_ENDED) {
                (void) rq_table_remove(&p->by_seed, which->seed);
                p->count--;
        }
        forget_body(p, which);
        rq_list_remove(&which->node);
        rq_list_append(&p->free, &which->node);
}

/* It is over: gives the answer, or a barrier's end. */
static void end(proposals *p, proposal *which, answers *out, answer_outcome outcome, answer_reason reason, const char *text) {
        if (!which->barrier) {
                if (!which->silent)
                        answers_add(out, which->from, outcome, reason, outcome == OUTCOME_COMMITTED ? which->index : 0, text);
                proposals_cancel(p, which);
                return;
        }
        (void) rq_table_remove(&p->by_seed, which->seed);
        p->count--;
        forget_body(p, which);
        if (outcome != OUTCOME_COMMITTED)
                which->index = 0;
        which->refused = outcome == OUTCOME_REFUSED;
        which->reason = reason;
        which->text = text;
        move(p, which, PROPOSAL_ENDED);
}

rq_err proposals_wait(proposals *p, proposal *which, rq_bytes body) {
        rq_assert(which->state == PROPOSAL_STAGED);
        if (which->body == NULL && body.size > 0) {
                which->body = malloc(body.size);
                if (which->body == NULL)
                        return RQ_ENOMEM;
                memcpy(which->body, body.data, body.size);
                which->body_bytes = body.size;
                p->bytes += body.size;
        }
        which->wait_until_us = 0;
        move(p, which, PROPOSAL_WAITING);
        return RQ_OK;
}

proposal *proposals_next_waiting(const proposals *p) {
        const rq_list *list = &p->lists[PROPOSAL_WAITING];
        return rq_list_empty(list) ? NULL : of(list->next);
}

void proposals_stage(proposals *p, proposal *which) {
        rq_assert(which->state == PROPOSAL_WAITING);
        move(p, which, PROPOSAL_STAGED);
}

static void fly(proposals *p, proposal *which, proposal_state state) {
        move(p, which, state);
        which->index = 0;
        if (which->fence < p->fence_min)
                p->fence_min = which->fence;
}

void proposals_sent(proposals *p, uint64_t seed, raft_term term, uint64_t now_us) {
        proposal *which = rq_table_get(&p->by_seed, seed);
        if (which == NULL || which->state != PROPOSAL_WAITING)
                return;
        which->fence = term;
        which->sent_us = now_us;
        fly(p, which, PROPOSAL_FLYING);
}

uint64_t proposals_last_sent_us(const proposals *p, raft_term term) {
        const rq_list *flying = &p->lists[PROPOSAL_FLYING];
        return rq_list_empty(flying) || of(flying->prev)->fence != term ? UINT64_MAX : of(flying->prev)->sent_us;
}

/* It is to be sent once more to the same leader: what comes back under the old number is about the first. */
static void renumber(proposals *p, proposal *which) {
        uint64_t seed = which->seed;
        (void) rq_table_remove(&p->by_seed, seed);
        do
                seed = rq_hash_mix(seed, which->from.request_id);
        while (seed == 0 || rq_table_get(&p->by_seed, seed) != NULL);
        which->seed = seed;
        rq_err r = rq_table_put(&p->by_seed, seed, which);
        rq_assert(r >= 0); /* its place in the table was just given back */
}

static void end(proposals *p, proposal *which, answers *out, answer_outcome outcome, answer_reason reason, const char *text);

/* Those sent before this one to the same leader. */
static void overtake(proposals *p, proposal *which) {
        const rq_list *flying = &p->lists[PROPOSAL_FLYING];
        rq_list *node = &which->node;
        while (node->prev != flying && of(node->prev)->fence == which->fence)
                node = node->prev;
        while (node != &which->node) {
                proposal *lost = of(node);
                node = node->next;
                if (lost->barrier) {
                        end(p, lost, NULL, OUTCOME_DROPPED, REASON_OTHER, NULL);
                        continue;
                }
                renumber(p, lost);
                lost->wait_until_us = 0;
                move(p, lost, PROPOSAL_WAITING);
        }
}

static void put(proposals *p, proposal *which, raft_index index, raft_term term) {
        const rq_list *placed = &p->lists[PROPOSAL_PLACED];
        rq_assert(rq_list_empty(placed) || of(placed->prev)->index < index);
        forget_body(p, which);
        which->index = index;
        which->fence = term;
        move(p, which, PROPOSAL_PLACED);
}

void proposals_append(proposals *p, proposal *which, raft_index index, raft_term term) {
        rq_assert(which->state == PROPOSAL_STAGED);
        if (which->silent)
                proposals_cancel(p, which);
        else
                put(p, which, index, term);
}

void proposals_place(proposals *p, uint64_t seed, raft_index index, raft_term term) {
        proposal *which = rq_table_get(&p->by_seed, seed);
        /* Another term: somebody else's entry that drew the same number. */
        if (which == NULL || which->fence != term || (which->state != PROPOSAL_FLYING && which->state != PROPOSAL_REPLACED))
                return;
        if (which->state == PROPOSAL_FLYING)
                overtake(p, which);
        put(p, which, index, term);
}

void proposals_truncate(proposals *p, raft_index index) {
        const rq_list *placed = &p->lists[PROPOSAL_PLACED];
        while (!rq_list_empty(placed) && of(placed->prev)->index >= index)
                fly(p, of(placed->prev), PROPOSAL_REPLACED);
}

static void drop(proposals *p, raft_term committed_term, answers *out) {
        if (committed_term <= p->fence_min)
                return;
        p->fence_min = UINT64_MAX;
        EACH_PROPOSAL(&p->lists[PROPOSAL_FLYING], node, next) {
                proposal *this = of(node);
                if (this->fence >= committed_term) {
                        p->fence_min = this->fence; /* and the others' are not lower */
                        break;
                }
                this->wait_until_us = 0; /* its leader never replicated it to us: the next one gets it */
                move(p, this, PROPOSAL_WAITING);
        }
        EACH_PROPOSAL(&p->lists[PROPOSAL_REPLACED], replaced, next_replaced) {
                proposal *this = of(replaced);
                if (this->fence < committed_term)
                        end(p, this, out, OUTCOME_DROPPED, REASON_OTHER, "another entry has taken its place in the log");
                else if (this->fence < p->fence_min)
                        p->fence_min = this->fence;
        }
}

void proposals_commit(proposals *p, raft_index index, raft_term term, answers *out) {
        const rq_list *placed = &p->lists[PROPOSAL_PLACED];
        while (!rq_list_empty(placed) && of(placed->next)->index <= index) {
                proposal *which = of(placed->next);
                if (which->barrier)
                        end(p, which, out, OUTCOME_COMMITTED, REASON_OTHER, NULL);
                else
                        move(p, which, PROPOSAL_COMMITTED);
        }
        drop(p, term, out);
}

void proposals_applied(proposals *p, raft_index index) {
        const rq_list *committed = &p->lists[PROPOSAL_COMMITTED];
        while (!rq_list_empty(committed) && of(committed->next)->index <= index)
                proposals_cancel(p, of(committed->next));
}

void proposals_results_lost(proposals *p, raft_index index, answers *out) {
        const rq_list *committed = &p->lists[PROPOSAL_COMMITTED];
        while (!rq_list_empty(committed) && of(committed->next)->index <= index)
                end(p, of(committed->next), out, OUTCOME_COMMITTED, REASON_OTHER,
                    "the write is done, but its result was lost when the database restarted");
}

static proposal *flying_in(const proposals *p, uint64_t seed, raft_term term) {
        proposal *which = rq_table_get(&p->by_seed, seed);
        bool fits = which != NULL && which->state == PROPOSAL_FLYING && which->fence == term;
        return fits ? which : NULL;
}

void proposals_refused(proposals *p, uint64_t seed, raft_term term) {
        proposal *which = flying_in(p, seed, term);
        if (which == NULL)
                return;
        which->wait_until_us = 0;
        move(p, which, PROPOSAL_WAITING);
}

void proposals_refuse(proposals *p, uint64_t seed, raft_term term, answer_reason reason, const char *text, answers *out) {
        proposal *which = flying_in(p, seed, term);
        if (which != NULL)
                end(p, which, out, OUTCOME_REFUSED, reason, text);
}

void proposals_limit_waiting(proposals *p, uint64_t until_us) {
        const rq_list *waiting = &p->lists[PROPOSAL_WAITING];
        /* The new ones are the last. */
        for (const rq_list *node = waiting->prev; node != waiting && of(node)->wait_until_us == 0; node = node->prev) {
                of(node)->wait_until_us = until_us;
                expect(p, until_us);
        }
}

static void expire_one(proposals *p, proposal *which, uint64_t now_us, answers *out) {
        bool waits = which->state == PROPOSAL_WAITING;
        uint64_t until_us = which->deadline_us;
        if (waits && which->wait_until_us != 0 && which->wait_until_us < until_us)
                until_us = which->wait_until_us;
        if (until_us > now_us)
                expect(p, until_us);
        else if (!waits)
                end(p, which, out, OUTCOME_UNKNOWN, REASON_TIMEOUT, "not committed in time; it may still be");
        else if (which->deadline_us <= now_us)
                end(p, which, out, OUTCOME_REFUSED, REASON_TIMEOUT, "no leader took it in time");
        else
                end(p, which, out, OUTCOME_REFUSED, REASON_NO_LEADER, "there is no leader, or it can't be reached");
}

void proposals_expire(proposals *p, uint64_t now_us, answers *out) {
        static const proposal_state states[] = { PROPOSAL_WAITING, PROPOSAL_FLYING, PROPOSAL_REPLACED, PROPOSAL_PLACED };
        if (now_us < p->deadline_us)
                return;
        p->deadline_us = UINT64_MAX;
        for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
                EACH_PROPOSAL(&p->lists[states[i]], node, next)
                        expire_one(p, of(node), now_us, out);
        const rq_list *staged = &p->lists[PROPOSAL_STAGED]; /* looked at when they are in the log */
        for (const rq_list *node = staged->next; node != staged; node = node->next)
                expect(p, of(node)->deadline_us > now_us ? of(node)->deadline_us : now_us + 1);
}

uint64_t proposals_deadline_us(const proposals *p) { return p->deadline_us; }

void proposals_give_up(proposals *p, answers *out, const char *text) {
        static const proposal_state states[] = { PROPOSAL_FLYING, PROPOSAL_REPLACED, PROPOSAL_PLACED };
        for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
                EACH_PROPOSAL(&p->lists[states[i]], node, next)
                        end(p, of(node), out, OUTCOME_UNKNOWN, REASON_OTHER, text);
}

void proposals_refuse_waiting(proposals *p, answers *out, answer_reason reason, const char *text) {
        EACH_PROPOSAL(&p->lists[PROPOSAL_WAITING], node, next)
                end(p, of(node), out, OUTCOME_REFUSED, reason, text);
}

void proposals_gateway_gone(proposals *p, uint32_t gateway) {
        for (int state = 0; state < PROPOSAL_ENDED; state++)
                EACH_PROPOSAL(&p->lists[state], node, next) {
                        if (of(node)->barrier || of(node)->from.gateway != gateway)
                                continue;
                        if (state == PROPOSAL_STAGED)
                                of(node)->silent = true; /* the caller has it in hands */
                        else
                                proposals_cancel(p, of(node));
                }
}

proposal *proposals_next_ended(const proposals *p) {
        const rq_list *ended = &p->lists[PROPOSAL_ENDED];
        return rq_list_empty(ended) ? NULL : of(ended->next);
}
