#include "outcomes.h"

#include <string.h>

static const outcomes_member *find(const outcomes_table *o, raft_id id) {
        for (size_t i = 0; id != 0 && i < MEMBERSHIP_COUNT_MAX; i++)
                if (o->members[i].id == id)
                        return &o->members[i];
        return NULL;
}

outcomes_member *outcomes_find(outcomes_table *o, raft_id id) { return (outcomes_member *) (uintptr_t) find(o, id); }

static void add(outcomes_table *o, raft_id id) {
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++)
                if (o->members[i].id == 0) {
                        memset(&o->members[i], 0, sizeof o->members[i]);
                        o->members[i].id = id;
                        return;
                }
}

void outcomes_set_members(outcomes_table *o, const membership *m) {
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++)
                if (o->members[i].id != 0 && membership_find(m, o->members[i].id) == NULL)
                        o->members[i].id = 0;
        for (uint32_t i = 0; i < m->count; i++) {
                const raft_id id = membership_raft_id(&m->members[i].disk_uuid);
                if (find(o, id) == NULL)
                        add(o, id);
                outcomes_member *known = outcomes_find(o, id);
                if (known != NULL)
                        known->voter = m->members[i].voter;
        }
}

void outcomes_take(outcomes_member *m, uint64_t generation, const outcome_mark *marks, size_t count) {
        if (generation != m->generation)
                m->marks.count = 0;
        m->generation = generation;
        for (size_t i = 0; i < count; i++)
                outcome_marks_add(&m->marks, marks[i]);
}

/* What the voters say of one index. */
typedef struct poll {
        uint32_t voters, spoke;
        uint32_t largest;        /* how many have said the same */
        uint64_t hash;           /* which is this */
} poll;

static poll poll_at(const outcomes_table *o, uint64_t index) {
        poll p = {0};
        uint64_t said[MEMBERSHIP_COUNT_MAX];
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++) {
                const outcomes_member *m = &o->members[i];
                if (m->id == 0 || !m->voter)
                        continue;
                p.voters++;
                p.spoke += outcome_marks_find(&m->marks, index, &said[p.spoke]);
        }
        for (uint32_t i = 0; i < p.spoke; i++) {
                uint32_t same = 0;
                for (uint32_t k = 0; k < p.spoke; k++)
                        same += said[k] == said[i];
                if (same > p.largest) {
                        p.largest = same;
                        p.hash = said[i];
                }
        }
        return p;
}

static uint32_t count_alike(const outcomes_table *o, const outcomes_member *like, uint64_t index, uint64_t hash) {
        uint32_t count = 0;
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++) {
                const outcomes_member *m = &o->members[i];
                uint64_t said;
                count += m->id != 0 && m->voter && like->profile != 0 && m->profile == like->profile &&
                         outcome_marks_find(&m->marks, index, &said) && said == hash;
        }
        return count;
}

/* A learner is compared, too, but it has no voice. Once a hash has gone another way it stays different: the newest index says all. */
outcomes_judgement outcomes_judge(const outcomes_table *o, raft_id id) {
        outcomes_judgement j = {0};
        const outcomes_member *m = find(o, id);
        for (size_t i = m != NULL ? m->marks.count : 0; i > 0; i--) {
                const outcome_mark *mark = &m->marks.v[i - 1];
                const poll p = poll_at(o, mark->index);
                j.voters = p.voters;
                if (2 * p.largest > p.voters) {
                        if (j.verdict == OUTCOMES_UNDECIDED && p.hash == mark->hash)
                                return j; /* they agreed before */
                        j.index = mark->index;
                        j.own = mark->hash;
                        j.majority = p.hash;
                        j.verdict = p.hash == mark->hash ? OUTCOMES_EQUAL : OUTCOMES_DIFFERENT;
                        if (j.verdict == OUTCOMES_DIFFERENT)
                                j.alike = count_alike(o, m, mark->index, p.hash);
                        return j;
                }
                const bool differs = p.spoke > 0 && (p.largest < p.spoke || p.hash != mark->hash);
                if (differs && j.verdict == OUTCOMES_UNKNOWN) {
                        j.index = mark->index;
                        j.own = mark->hash;
                        j.verdict = OUTCOMES_UNDECIDED;
                }
        }
        return j;
}

bool outcomes_is_refuted(const outcomes_judgement *j) { return j->verdict == OUTCOMES_DIFFERENT && 2 * j->alike > j->voters; }

bool outcomes_confirms(const outcomes_table *o, raft_id self, raft_id leader, uint64_t index, uint64_t own, uint64_t majority) {
        const outcomes_judgement j = outcomes_judge(o, self);
        return self != leader && own != majority && outcomes_is_refuted(&j) && outcomes_has(o, self, index, own) &&
               outcomes_has(o, leader, index, majority);
}

bool outcomes_has(const outcomes_table *o, raft_id id, uint64_t index, uint64_t hash) {
        const outcomes_member *m = find(o, id);
        uint64_t said;
        return m != NULL && outcome_marks_find(&m->marks, index, &said) && said == hash;
}
