#include "core/proposals.h"

#include <stdlib.h>

#include "base/assert.h"

typedef struct proposal {
        raft_index index;
        raft_term term;
        uint64_t deadline_us;
        request_origin from;
        bool silent; /* answered already, or nobody waits */
} proposal;

struct proposals {
        uint32_t head, committed, tail; /* free-running: head <= committed <= tail */
        uint64_t deadline_us;           /* not above that of any uncommitted one */
        proposal ring[PROPOSALS_MAX];
};

static proposal *at(const proposals *p, uint32_t place) {
        return (proposal *) (uintptr_t) &p->ring[place & (PROPOSALS_MAX - 1)];
}

proposals *proposals_new(void) {
        proposals *p = calloc(1, sizeof *p);
        if (p != NULL)
                p->deadline_us = UINT64_MAX;
        return p;
}

proposals *proposals_free(proposals *p) {
        free(p);
        return NULL;
}

uint32_t proposals_count(const proposals *p) { return p->tail - p->head; }
bool proposals_have_room(const proposals *p, uint32_t count) { return PROPOSALS_MAX - proposals_count(p) >= count; }

void proposals_add(proposals *p, raft_index index, raft_term term, request_origin from, uint64_t deadline_us) {
        rq_assert(proposals_have_room(p, 1));
        rq_assert(p->tail == p->head || at(p, p->tail - 1)->index < index);
        *at(p, p->tail++) = (proposal) { .index = index, .term = term, .deadline_us = deadline_us, .from = from };
        if (deadline_us < p->deadline_us)
                p->deadline_us = deadline_us;
}

void proposals_committed(proposals *p, raft_index commit, const raft_trail *trail, answers *out) {
        for (; p->committed != p->tail; p->committed++) {
                proposal *this = at(p, p->committed);
                if (this->index > commit)
                        break;
                if (raft_trail_term_at(trail, this->index) == this->term)
                        continue;
                if (!this->silent)
                        answers_add(out, this->from, OUTCOME_DROPPED, REASON_OTHER, 0, "another entry has taken its place in the log");
                this->silent = true;
        }
        if (p->committed == p->tail)
                p->deadline_us = UINT64_MAX;
}

void proposals_applied(proposals *p, raft_index index) {
        while (p->head != p->committed && at(p, p->head)->index <= index)
                p->head++;
}

void proposals_results_lost(proposals *p, raft_index index, answers *out) {
        for (; p->head != p->committed && at(p, p->head)->index <= index; p->head++) {
                const proposal *this = at(p, p->head);
                if (!this->silent)
                        answers_add(out, this->from, OUTCOME_COMMITTED, REASON_OTHER, this->index,
                                    "the write is done, but its result was lost when the database restarted");
        }
}

void proposals_expire(proposals *p, uint64_t now_us, answers *out) {
        if (now_us < p->deadline_us)
                return;
        p->deadline_us = UINT64_MAX;
        for (uint32_t place = p->committed; place != p->tail; place++) {
                proposal *this = at(p, place);
                if (this->silent)
                        continue;
                if (this->deadline_us <= now_us) {
                        answers_add(out, this->from, OUTCOME_UNKNOWN, REASON_TIMEOUT, 0, "not committed in time; it may still be");
                        this->silent = true;
                } else if (this->deadline_us < p->deadline_us) {
                        p->deadline_us = this->deadline_us;
                }
        }
}

uint64_t proposals_deadline_us(const proposals *p) { return p->deadline_us; }

void proposals_give_up(proposals *p, answers *out, const char *text) {
        for (uint32_t place = p->committed; place != p->tail; place++) {
                proposal *this = at(p, place);
                if (!this->silent)
                        answers_add(out, this->from, OUTCOME_UNKNOWN, REASON_OTHER, 0, text);
                this->silent = true;
        }
        p->deadline_us = UINT64_MAX;
}

void proposals_gateway_gone(proposals *p, uint32_t gateway) {
        for (uint32_t place = p->head; place != p->tail; place++)
                if (at(p, place)->from.gateway == gateway)
                        at(p, place)->silent = true;
}
