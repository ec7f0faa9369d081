/* A core alone, as transcripts: what goes in, what must come out. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "raft/raft.h"
#include "raft/raft_check.h"

typedef struct world {
        raft *raft;
        void *memory;
        raft_run runs[16];
        raft_output out;
        raft_persisted last_persist;
        char trace[4096];
        size_t size;
} world;

static void say(world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(world *w, const char *format, ...) {
        va_list args;
        va_start(args, format);
        w->size += (size_t) vsnprintf(w->trace + w->size, sizeof w->trace - w->size, format, args);
        va_end(args);
        assert_true(w->size < sizeof w->trace);
}

static void say_output(world *w) {
        raft_output *o = &w->out;
        static const char *const roles[] = { "follower", "pre-candidate", "candidate", "leader" };
        if (o->persist.wanted) {
                say(w, "  persist");
                if (o->persist.hard)
                        say(w, " term %d vote %d", (int) o->persist.term, (int) o->persist.vote);
                if (o->persist.first != 0)
                        say(w, " entries %d-%d", (int) o->persist.first, (int) o->persist.last);
                say(w, "\n");
                w->last_persist = o->persist.when_durable;
        }
        if (o->appended_index != 0)
                say(w, "  no-op %d^%d\n", (int) o->appended_index, (int) o->appended_term);
        if (o->proposed_count != 0)
                say(w, "  %d proposals from %d\n", (int) o->proposed_count, (int) o->proposed_first);
        if (o->commit != 0)
                say(w, "  commit %d\n", (int) o->commit);
        if (o->reads_ready_round != 0)
                say(w, "  reads of round %d at %d\n", (int) o->reads_ready_round, (int) o->reads_ready_index);
        if (o->reads_failed_round != 0)
                say(w, "  reads up to round %d fail\n", (int) o->reads_failed_round);
        if (o->state_changed)
                say(w, "  %s of term %d%s\n", roles[raft_role_of(w->raft)], (int) raft_term_of(w->raft),
                    raft_commit_is_current(w->raft) ? ", ready" : "");
        raft_output_reset(o);
}

static rq_err step(world *w, const char *name, raft_event event) {
        say(w, "%s\n", name);
        rq_err r = raft_step(w->raft, &event, &w->out);
        assert_null(raft_check(w->raft));
        if (r < 0)
                say(w, "  error %d\n", r);
        say_output(w);
        return r;
}

static void tick(world *w) { (void) step(w, "tick", (raft_event) { .type = RAFT_EV_TICK }); }
static void persisted(world *w, raft_persisted p) { (void) step(w, "persisted", (raft_event) { .type = RAFT_EV_PERSISTED, .persisted = p }); }
static rq_err read_index(world *w) { return step(w, "read", (raft_event) { .type = RAFT_EV_READ }); }
static void storage_fails(world *w) { (void) step(w, "failed", (raft_event) { .type = RAFT_EV_FAILED }); }

static rq_err propose(world *w, uint32_t count, uint32_t bytes) {
        raft_entry entries[64];
        for (uint32_t i = 0; i < count; i++)
                entries[i] = (raft_entry) { .bytes = bytes };
        return step(w, "propose", (raft_event) { .type = RAFT_EV_PROPOSE, .propose = { .entries = entries, .count = count } });
}

static raft_options options_of_one(void) {
        return (raft_options) {
                .id = 7, .uncommitted_bytes_max = 1000, .tail_entries_max = 16, .random_seed = 1, .read_round_first = 101,
                .heartbeat_us = 100, .election_us = 1000, .disk_stall_us = 5000,
                .window_messages = 4, .window_bytes = 1000, .append_bytes = 400,
        };
}

static const raft_configuration one_voter = { .count = 1, .members = { { .id = 7, .voter = true } } };

static void begin(world *w, const raft_options *options) {
        *w = (world) {0};
        w->memory = malloc(raft_bytes(options));
        assert_int_equal(raft_init(w->memory, options, &one_voter, 0, w->runs, 16, &w->raft), RQ_OK);
}

static void expect(world *w, const char *text) {
        assert_string_equal(w->trace, text);
        w->size = 0;
        w->trace[0] = '\0';
}

static void end(world *w) { free(w->memory); }

static void test_a_lone_voter_leads_after_its_vote_is_durable(void **state) {
        world w;
        const raft_options o = options_of_one();
        (void) state;
        begin(&w, &o);
        assert_int_equal(raft_restored(w.raft), RQ_OK);
        assert_int_equal(raft_deadline_us(w.raft), 0);
        assert_int_equal(propose(&w, 1, 10), RQ_ENOTLEADER);
        assert_int_equal(read_index(&w), RQ_ENOTLEADER);
        tick(&w);
        tick(&w);
        persisted(&w, w.last_persist);
        persisted(&w, w.last_persist);
        expect(&w,
               "propose\n"
               "  error -1000\n"
               "read\n"
               "  error -1000\n"
               "tick\n"
               "  persist term 1 vote 7\n"
               "  candidate of term 1\n"
               "tick\n"
               "persisted\n"
               "  persist entries 1-1\n"
               "  no-op 1^1\n"
               "  leader of term 1\n"
               "persisted\n"
               "  commit 1\n"
               "  leader of term 1, ready\n");
        assert_int_equal(raft_deadline_us(w.raft), UINT64_MAX);
        end(&w);
}

static void lead(world *w) {
        tick(w);
        persisted(w, w->last_persist);
        persisted(w, w->last_persist);
        w->size = 0;
        w->trace[0] = '\0';
}

static void test_entries_are_committed_when_durable_and_not_before(void **state) {
        world w;
        const raft_options o = options_of_one();
        (void) state;
        begin(&w, &o);
        lead(&w);
        (void) propose(&w, 2, 10);
        raft_persisted first = w.last_persist;
        (void) propose(&w, 3, 10);
        raft_persisted second = w.last_persist;
        persisted(&w, first);
        persisted(&w, second);
        persisted(&w, first); /* late and double: nothing moves */
        expect(&w,
               "propose\n"
               "  persist entries 2-3\n"
               "  2 proposals from 2\n"
               "propose\n"
               "  persist entries 4-6\n"
               "  3 proposals from 4\n"
               "persisted\n"
               "  commit 3\n"
               "persisted\n"
               "  commit 6\n"
               "persisted\n");
        end(&w);
}

static void test_a_confirmation_of_another_term_counts_for_nothing(void **state) {
        world w;
        const raft_options o = options_of_one();
        (void) state;
        begin(&w, &o);
        lead(&w);
        (void) propose(&w, 1, 10);
        raft_persisted old = w.last_persist;
        old.accepted_term = 0;
        old.hard_term = 0;
        persisted(&w, old);
        assert_int_equal(raft_commit_of(w.raft), 1);
        persisted(&w, w.last_persist);
        assert_int_equal(raft_commit_of(w.raft), 2);
        end(&w);
}

static void test_found_entries_are_committed_through_the_own_term(void **state) {
        world w;
        raft_options o = options_of_one();
        (void) state;
        o.term = 3;
        o.vote = 7;
        o.commit = 2;
        begin(&w, &o);
        assert_int_equal(raft_restore(w.raft, 1, 4, 20), RQ_OK);
        assert_int_equal(raft_restore(w.raft, 3, 9, 50), RQ_OK);
        assert_int_equal(raft_restore(w.raft, 4, 10, 10), RQ_ECORRUPT); /* a term without a vote */
        assert_int_equal(raft_restored(w.raft), RQ_OK);
        tick(&w);
        persisted(&w, w.last_persist); /* says that 9 is durable, too: not of this term */
        assert_int_equal(raft_commit_of(w.raft), 2);
        assert_int_equal(raft_trail_bytes_behind(raft_trail_of(w.raft), 2), 70);
        persisted(&w, w.last_persist);
        expect(&w,
               "tick\n"
               "  persist term 4 vote 7\n"
               "  candidate of term 4\n"
               "persisted\n"
               "  persist entries 10-10\n"
               "  no-op 10^4\n"
               "  leader of term 4\n"
               "persisted\n"
               "  commit 10\n"
               "  leader of term 4, ready\n");
        end(&w);
}

static void test_reads_wait_for_the_own_term(void **state) {
        world w;
        const raft_options o = options_of_one();
        (void) state;
        begin(&w, &o);
        tick(&w);
        persisted(&w, w.last_persist);
        w.size = 0;
        (void) read_index(&w);
        (void) read_index(&w);
        persisted(&w, w.last_persist);
        (void) propose(&w, 1, 10);
        (void) read_index(&w); /* not committed: the read needn't see it */
        persisted(&w, w.last_persist);
        (void) read_index(&w);
        expect(&w,
               "read\n"
               "read\n"
               "persisted\n"
               "  commit 1\n"
               "  reads of round 103 at 1\n"
               "  leader of term 1, ready\n"
               "propose\n"
               "  persist entries 2-2\n"
               "  1 proposals from 2\n"
               "read\n"
               "  reads of round 104 at 1\n"
               "persisted\n"
               "  commit 2\n"
               "read\n"
               "  reads of round 105 at 2\n");
        end(&w);
}

static void test_storage_failure_ends_leadership_for_good(void **state) {
        world w;
        const raft_options o = options_of_one();
        (void) state;
        begin(&w, &o);
        tick(&w);
        persisted(&w, w.last_persist);
        w.size = 0;
        (void) read_index(&w);
        raft_persisted late = w.last_persist;
        storage_fails(&w);
        storage_fails(&w);
        persisted(&w, late);
        tick(&w);
        assert_int_equal(propose(&w, 1, 10), RQ_ENOTLEADER);
        expect(&w,
               "read\n"
               "failed\n"
               "  reads up to round 102 fail\n"
               "  follower of term 1\n"
               "failed\n"
               "persisted\n"
               "tick\n"
               "propose\n"
               "  error -1000\n");
        assert_int_equal(raft_deadline_us(w.raft), UINT64_MAX);
        end(&w);
}

static void test_the_uncommitted_tail_is_bounded(void **state) {
        world w;
        const raft_options o = options_of_one();
        (void) state;
        begin(&w, &o);
        lead(&w);
        (void) propose(&w, 20, 10); /* 16 places: the committed entry's, and one for a later leader's no-op */
        expect(&w, "propose\n  persist entries 2-15\n  14 proposals from 2\n");
        assert_int_equal(propose(&w, 1, 10), RQ_EFULL);
        persisted(&w, w.last_persist);
        w.size = 0;
        assert_int_equal(propose(&w, 3, 400), RQ_OK); /* 1000 bytes: two of them */
        expect(&w, "propose\n  persist entries 16-17\n  2 proposals from 16\n");
        assert_int_equal(propose(&w, 1, 400), RQ_EFULL);
        persisted(&w, w.last_persist);
        w.size = 0;
        assert_int_equal(propose(&w, 2, 5000), RQ_OK); /* alone, a large one is taken */
        expect(&w, "propose\n  persist entries 18-18\n  1 proposals from 18\n");
        end(&w);
}

static void test_compaction_stays_below_the_commit_index(void **state) {
        world w;
        const raft_options o = options_of_one();
        (void) state;
        begin(&w, &o);
        lead(&w);
        (void) propose(&w, 5, 10);
        assert_int_equal(step(&w, "compact", (raft_event) { .type = RAFT_EV_COMPACTED, .compacted_index = 3 }), RQ_EINVAL);
        persisted(&w, w.last_persist);
        assert_int_equal(step(&w, "compact", (raft_event) { .type = RAFT_EV_COMPACTED, .compacted_index = 3 }), RQ_OK);
        assert_int_equal(raft_trail_term_at(raft_trail_of(w.raft), 2), 0);
        assert_int_equal(raft_trail_term_at(raft_trail_of(w.raft), 3), 1);
        assert_int_equal(step(&w, "compact", (raft_event) { .type = RAFT_EV_COMPACTED, .compacted_index = 6 }), RQ_OK);
        (void) propose(&w, 1, 10);
        persisted(&w, w.last_persist);
        assert_int_equal(raft_commit_of(w.raft), 7);
        end(&w);
}

static void test_a_learner_never_campaigns(void **state) {
        world w;
        raft_options o = options_of_one();
        (void) state;
        o.learner = true;
        begin(&w, &o);
        assert_int_equal(raft_restored(w.raft), RQ_OK);
        assert_int_equal(raft_deadline_us(w.raft), UINT64_MAX);
        tick(&w);
        assert_int_equal(propose(&w, 1, 10), RQ_ENOTLEADER);
        expect(&w, "tick\npropose\n  error -1000\n");
        assert_int_equal(raft_term_of(w.raft), 0);
        assert_int_equal(raft_vote_of(w.raft), 0);
        end(&w);
}

/* Elected, but no run for the new term: it leads as soon as there is room. */
static void test_an_elected_candidate_without_room_tries_again(void **state) {
        world w;
        raft_options o = options_of_one();
        (void) state;
        o.term = 1;
        begin(&w, &o);
        raft_run one[1];
        (void) raft_give_runs(w.raft, one, 1);
        assert_int_equal(raft_restore(w.raft, 1, 3, 0), RQ_OK);
        tick(&w);
        assert_int_equal(raft_deadline_us(w.raft), UINT64_MAX); /* waits for the disk */
        persisted(&w, w.last_persist);
        assert_int_equal(raft_role_of(w.raft), RAFT_CANDIDATE);
        assert_int_equal(raft_deadline_us(w.raft), 0);
        (void) raft_give_runs(w.raft, w.runs, 16);
        tick(&w);
        assert_int_equal(raft_role_of(w.raft), RAFT_LEADER);
        assert_int_equal(raft_deadline_us(w.raft), UINT64_MAX);
        end(&w);
}

static void test_what_cannot_be_is_refused(void **state) {
        const raft_configuration twice = { .count = 2, .members = { { .id = 7, .voter = true }, { .id = 7 } } };
        const raft_configuration learners = { .count = 1, .members = { { .id = 7 } } };
        const raft_configuration half_joint = { .count = 1, .joint = true, .members = { { .id = 7, .voter = true } } };
        raft_options o = options_of_one();
        raft_run runs[4];
        raft *r = NULL;
        void *memory = malloc(raft_bytes(&o));
        (void) state;
        assert_int_equal(raft_init(memory, &o, &twice, 0, runs, 4, &r), RQ_EINVAL);
        assert_int_equal(raft_init(memory, &o, &learners, 0, runs, 4, &r), RQ_EINVAL);
        assert_int_equal(raft_init(memory, &o, &half_joint, 0, runs, 4, &r), RQ_EINVAL);
        assert_int_equal(raft_init(memory, &o, &one_voter, 1, runs, 4, &r), RQ_EINVAL); /* behind the base */
        o.lease_us = o.election_us;
        assert_int_equal(raft_init(memory, &o, &one_voter, 0, runs, 4, &r), RQ_EINVAL);
        assert_null(r);
        o = options_of_one();
        o.commit = 5;
        assert_int_equal(raft_init(memory, &o, &one_voter, 0, runs, 4, &r), RQ_OK);
        assert_int_equal(raft_restored(r), RQ_ECORRUPT); /* committed entries are missing */
        free(memory);
}

/* Row 42 is for several: alone there is nobody who could lead instead, and what is
 * committed can be read while a full or slow disk is waited for. */
static void test_alone_a_disk_that_hangs_is_waited_for(void **state) {
        world w;
        const raft_options o = options_of_one();
        (void) state;
        begin(&w, &o);
        lead(&w);
        (void) propose(&w, 1, 10);
        assert_int_equal(raft_deadline_us(w.raft), UINT64_MAX);
        (void) step(&w, "stall", (raft_event) { .type = RAFT_EV_TICK, .now_us = 10 * o.disk_stall_us });
        (void) read_index(&w);
        persisted(&w, w.last_persist);
        expect(&w,
               "propose\n"
               "  persist entries 2-2\n"
               "  1 proposals from 2\n"
               "stall\n"
               "read\n"
               "  reads of round 102 at 1\n"
               "persisted\n"
               "  commit 2\n");
        end(&w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_lone_voter_leads_after_its_vote_is_durable),
                cmocka_unit_test(test_entries_are_committed_when_durable_and_not_before),
                cmocka_unit_test(test_a_confirmation_of_another_term_counts_for_nothing),
                cmocka_unit_test(test_found_entries_are_committed_through_the_own_term),
                cmocka_unit_test(test_reads_wait_for_the_own_term),
                cmocka_unit_test(test_storage_failure_ends_leadership_for_good),
                cmocka_unit_test(test_the_uncommitted_tail_is_bounded),
                cmocka_unit_test(test_compaction_stays_below_the_commit_index),
                cmocka_unit_test(test_a_learner_never_campaigns),
                cmocka_unit_test(test_an_elected_candidate_without_room_tries_again),
                cmocka_unit_test(test_what_cannot_be_is_refused),
                cmocka_unit_test(test_alone_a_disk_that_hangs_is_waited_for),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
