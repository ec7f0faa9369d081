/* Changes of the membership: which one follows from a wish, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/catch_up.h"
#include "core/member_change.h"

static membership now;
static bool alive[MEMBERSHIP_COUNT_MAX];
static member_change change;

static member make(const char *node_id, uint8_t disk, bool voter) {
        member m = { .voter = voter };
        (void) snprintf(m.node_id, sizeof m.node_id, "%s", node_id);
        (void) snprintf(m.raft_addr, sizeof m.raft_addr, "h:%u", disk);
        m.disk_uuid.bytes[1] = disk; /* the lowest bit of the id is always set */
        return m;
}

static raft_id id_of(const char *node_id) {
        for (uint32_t i = 0; i < now.count; i++)
                if (strcmp(now.members[i].node_id, node_id) == 0)
                        return membership_raft_id(&now.members[i].disk_uuid);
        return 0;
}

/* n1, n2, ... are voters, all alive. */
static void voters(uint32_t count) {
        char name[16];
        now = (membership) { .count = count };
        for (uint32_t i = 0; i < count; i++) {
                (void) snprintf(name, sizeof name, "n%u", i + 1);
                now.members[i] = make(name, (uint8_t) (i + 1), true);
                alive[i] = true;
        }
}

static void joins(const member *who) { member_change_join(&now, alive, who, &change); }

static void expect_refused(const char *part) {
        assert_int_equal(change.verdict, MEMBER_CHANGE_REFUSED);
        if (strstr(change.text, part) == NULL)
                fail_msg("\"%s\" is not in \"%s\"", part, change.text);
}

static void expect_names(const char *names) {
        char text[512] = "";
        assert_int_equal(change.verdict, MEMBER_CHANGE_WANTED);
        for (uint32_t i = 0; i < change.wanted.count; i++) {
                const member *m = &change.wanted.members[i];
                size_t at = strlen(text);
                (void) snprintf(text + at, sizeof text - at, "%s%s:%u%s", i > 0 ? " " : "", m->node_id, m->disk_uuid.bytes[1], m->voter ? "" : m->stays ? "r" : "l");
        }
        assert_string_equal(text, names);
}

static void test_a_new_node_is_a_learner_first(void **state) {
        (void) state;
        voters(1);
        member who = make("n2", 2, true); /* whatever it says */
        joins(&who);
        expect_names("n1:1 n2:2l");
        who.voter = false;
        who.stays = true;
        joins(&who);
        expect_names("n1:1 n2:2r");
}

static void test_who_is_a_member_stays_what_it_is(void **state) {
        (void) state;
        voters(3);
        member who = make("n2", 2, false);
        joins(&who);
        assert_int_equal(change.verdict, MEMBER_CHANGE_NONE);
        who.stays = true;
        joins(&who);
        assert_int_equal(change.verdict, MEMBER_CHANGE_NONE);
        who = make("other", 2, false);
        joins(&who);
        expect_refused("its data directory is that of node \"n2\"");
}

static void test_a_taken_node_id(void **state) {
        (void) state;
        voters(3);
        const member who = make("n2", 9, false);
        joins(&who);
        expect_refused("node id \"n2\" belongs to another data directory, whose node answers at h:2");
        alive[1] = false; /* a wiped disk: the old one keeps its vote until the new one has caught up */
        joins(&who);
        expect_names("n1:1 n2:2 n3:3 n2:9l");
        now = change.wanted;
        alive[3] = true;
        member_change_promote(&now, alive, membership_raft_id(&who.disk_uuid), &change);
        expect_names("n1:1 n3:3 n2:9");
}

static void test_a_learner_that_was_wiped_is_replaced_at_once(void **state) {
        (void) state;
        voters(3);
        now.members[2].voter = false;
        alive[2] = false;
        const member who = make("n3", 9, false);
        joins(&who);
        expect_names("n1:1 n2:2 n3:9l");
        member replica = make("n2", 8, false);
        replica.stays = true;
        alive[1] = false;
        joins(&replica);
        expect_refused("node \"n2\" is a voter; to have it back as a read replica, remove it first");
}

static void test_a_taken_address(void **state) {
        (void) state;
        voters(2);
        member who = make("n3", 3, false);
        memcpy(who.raft_addr, "h:2", 4);
        joins(&who);
        expect_refused("node \"n2\" is a member at the same address h:2");
        alive[1] = false; /* nobody is thrown out silently */
        joins(&who);
        expect_refused("remove that one first");
        who.disk_uuid = now.members[1].disk_uuid;
        who.disk_uuid.bytes[15] = 1; /* another disk, the same raft id */
        joins(&who);
        expect_refused("hardly to be told from that of node \"n2\"");
}

static void test_limits(void **state) {
        (void) state;
        voters(RAFT_VOTERS_MAX);
        member who = make("more", 99, false);
        joins(&who);
        expect_refused("has 15 voters, which is the most: start this node with -raft-non-voter");
        who.stays = true;
        joins(&who);
        assert_int_equal(change.verdict, MEMBER_CHANGE_WANTED);
        alive[3] = false; /* to be replaced: that isn't one more */
        who = make("n4", 98, false);
        joins(&who);
        assert_int_equal(change.verdict, MEMBER_CHANGE_WANTED);
        voters(MEMBERSHIP_COUNT_MAX);
        for (uint32_t i = 3; i < now.count; i++) {
                now.members[i].voter = false;
                now.members[i].stays = true;
        }
        who = make("more", 99, false);
        joins(&who);
        expect_refused("has 31 members, which is the most");
}

static void removes(const char *node_id) { member_change_remove(&now, alive, node_id, &change); }

static void test_who_leaves(void **state) {
        (void) state;
        voters(3);
        removes("n2");
        expect_names("n1:1 n3:3");
        removes("unknown");
        assert_int_equal(change.verdict, MEMBER_CHANGE_NONE);
        voters(1);
        removes("n1");
        expect_refused("node \"n1\" is the only voter");
        voters(4);
        now.members[3] = make("n2", 4, false); /* the old disk and the new one, both of node n2 */
        removes("n2");
        expect_names("n1:1 n3:3");
        member_change_drop(&now, alive, membership_raft_id(&now.members[3].disk_uuid), &change);
        expect_names("n1:1 n2:2 n3:3");
}

static void test_the_quorum_is_kept(void **state) {
        (void) state;
        voters(3);
        alive[2] = false;
        removes("n2");
        expect_refused("without node \"n2\" the cluster would have 2 voters, of which only 1 answers, and lose its quorum: bring back or remove \"n3\" first");
        removes("n3");
        expect_names("n1:1 n2:2");
        voters(5);
        alive[3] = alive[4] = false;
        removes("n2");
        expect_refused("4 voters, of which only 2 answer, and lose its quorum: bring back or remove \"n4\", \"n5\" first");
        now.members[1].voter = false; /* learners don't count */
        removes("n2");
        assert_int_equal(change.verdict, MEMBER_CHANGE_WANTED);
        /* A voter more needs more to answer. */
        voters(4);
        now.members[3].voter = false;
        alive[1] = alive[2] = false;
        member_change_promote(&now, alive, id_of("n4"), &change);
        expect_refused("only 2 of 4 voters would answer, not \"n2\", \"n3\"");
        alive[1] = true;
        member_change_promote(&now, alive, id_of("n4"), &change);
        expect_names("n1:1 n2:2 n3:3 n4:4");
}

static void test_who_is_promoted(void **state) {
        (void) state;
        voters(2);
        now.members[1].voter = false;
        now.members[1].stays = true;
        member_change_promote(&now, alive, id_of("n2"), &change);
        assert_int_equal(change.verdict, MEMBER_CHANGE_NONE);
        member_change_promote(&now, alive, id_of("n1"), &change);
        assert_int_equal(change.verdict, MEMBER_CHANGE_NONE);
        member_change_promote(&now, alive, 12345, &change);
        assert_int_equal(change.verdict, MEMBER_CHANGE_NONE);
}

static void test_who_moves(void **state) {
        (void) state;
        voters(2);
        member_change_move(&now, id_of("n2"), "there:7", &change);
        expect_names("n1:1 n2:2");
        assert_string_equal(change.wanted.members[1].raft_addr, "there:7");
        member_change_move(&now, id_of("n2"), "h:2", &change);
        assert_int_equal(change.verdict, MEMBER_CHANGE_NONE);
        member_change_move(&now, id_of("n2"), "", &change);
        assert_int_equal(change.verdict, MEMBER_CHANGE_NONE);
        member_change_move(&now, 12345, "h:9", &change);
        assert_int_equal(change.verdict, MEMBER_CHANGE_NONE);
}

static void test_rounds(void **state) {
        catch_up c = {0};
        (void) state;
        assert_int_equal(catch_up_rounds(&c, 7), 0);
        /* The first round has all of the log, and takes long. */
        assert_false(catch_up_look(&c, 7, 0, 1000, 100, 50));
        assert_false(catch_up_look(&c, 7, 999, 1500, 120, 50));
        assert_false(catch_up_look(&c, 7, 1000, 1500, 160, 50));
        assert_int_equal(catch_up_rounds(&c, 7), 2);
        /* The second what has come meanwhile: also too long. */
        assert_false(catch_up_look(&c, 7, 1500, 1600, 230, 50));
        assert_int_equal(catch_up_rounds(&c, 7), 3);
        assert_false(catch_up_look(&c, 7, 1599, 1700, 240, 50));
        assert_true(catch_up_look(&c, 7, 1600, 1700, 279, 50));
        /* Not promoted for another reason: that it once had caught up doesn't count for ever. */
        assert_false(catch_up_look(&c, 7, 1600, 1700, 280, 50));
        /* Others have rounds of their own, and a full table begins anew. */
        for (raft_id id = 100; id < 100 + RAFT_MEMBERS_MAX; id++)
                assert_false(catch_up_look(&c, id, 0, 1, 300, 50));
        assert_int_equal(catch_up_rounds(&c, 7), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_new_node_is_a_learner_first),
                cmocka_unit_test(test_who_is_a_member_stays_what_it_is),
                cmocka_unit_test(test_a_taken_node_id),
                cmocka_unit_test(test_a_learner_that_was_wiped_is_replaced_at_once),
                cmocka_unit_test(test_a_taken_address),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_who_leaves),
                cmocka_unit_test(test_the_quorum_is_kept),
                cmocka_unit_test(test_who_is_promoted),
                cmocka_unit_test(test_who_moves),
                cmocka_unit_test(test_rounds),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
