/* Starts of members: the file, and who is told from an older copy of itself. */
#include "base/checksum.h"
#include "fault_io.h"
#include "own_folder.h"
#include "starts.h"

#define GOLDEN RQ_SOURCE_DIR "/tests/golden/consensus/"

static const rq_uuid disk = { .bytes = "disk uuid 012345" }, other = { .bytes = "other disk 01234" };

static starts_file sample(void) {
        starts_file file = { .is_old_copy = true, .seen_count = 2, .join = "10.0.0.2:4002,[::1]:4002" };
        for (uint64_t i = 1; i <= 5; i++)
                starts_begin(&file, &disk, 0x1111111100000000 + i);
        file.is_old_copy = true;
        file.seen[0] = (starts_seen) { other, { 7, 0x2222222222222222 }, 2 };
        file.seen[1] = (starts_seen) { { .bytes = "a third disk 012" }, starts_never, 0 };
        return file;
}

static void test_file(void **state) {
        const starts_file file = sample();
        starts_file found;
        rq_buf golden = {0}, content = {0};
        (void) state;
        assert_int_equal(starts_file_load(log_io_kernel(), dir_fd, &found), RQ_ENOENT);
        assert_int_equal(starts_file_absolve(log_io_kernel(), dir_fd), RQ_OK);
        assert_int_equal(starts_file_store(log_io_kernel(), dir_fd, &file), RQ_OK);
        assert_int_equal(starts_file_load(log_io_kernel(), dir_fd, &found), RQ_OK);
        assert_memory_equal(&found, &file, sizeof file);
        assert_true(found.own.number == 5 && found.earlier[0] == 0x1111111100000004 && found.earlier[3] == 0x1111111100000001 && found.earlier[4] == 0);
        /* Frozen. */
        assert_int_equal(log_io_load(log_io_kernel(), dir_fd, STARTS_NAME, 1 << 20, &content), RQ_OK);
        int golden_fd = open(GOLDEN, O_RDONLY | O_DIRECTORY);
        if (getenv("RQ_WRITE_GOLDEN") != NULL)
                assert_int_equal(log_io_replace(log_io_kernel(), golden_fd, "starts.v2", rq_buf_bytes(&content)), RQ_OK);
        assert_int_equal(log_io_load(log_io_kernel(), golden_fd, "starts.v2", 1 << 20, &golden), RQ_OK);
        (void) close(golden_fd);
        assert_int_equal(golden.size, content.size);
        assert_memory_equal(golden.data, content.data, content.size);
        /* Any byte that is another one, any end that is missing. */
        for (size_t i = 0; i < content.size; i++) {
                content.data[i] ^= 0x10;
                assert_true(starts_file_decode(rq_buf_bytes(&content), &found) < 0);
                content.data[i] ^= 0x10;
                assert_true(starts_file_decode(rq_bytes_of(content.data, i), &found) < 0);
        }
        rq_put_u16(content.data + 4, 3);
        rq_put_u32(content.data + content.size - 4, rq_crc32c(0, content.data, content.size - 4));
        assert_int_equal(starts_file_decode(rq_buf_bytes(&content), &found), RQ_EVERSION);
        /* After a recovery: its own starts only. */
        assert_int_equal(starts_file_absolve(log_io_kernel(), dir_fd), RQ_OK);
        assert_int_equal(starts_file_load(log_io_kernel(), dir_fd, &found), RQ_OK);
        assert_true(!found.is_old_copy && found.seen_count == 0 && found.join[0] == '\0' && found.own.number == 5);
        rq_buf_done(&golden);
        rq_buf_done(&content);
}

/* Of the builds before: no level is known. */
static void test_the_version_before_is_read(void **state) {
        starts_file expected = sample(), found;
        rq_buf golden = {0};
        (void) state;
        int golden_fd = open(GOLDEN, O_RDONLY | O_DIRECTORY);
        assert_int_equal(log_io_load(log_io_kernel(), golden_fd, "starts.v1", 1 << 20, &golden), RQ_OK);
        (void) close(golden_fd);
        assert_int_equal(starts_file_decode(rq_buf_bytes(&golden), &found), RQ_OK);
        expected.seen[0].level = 0;
        assert_memory_equal(&found, &expected, sizeof found);
        for (size_t i = 0; i < golden.size; i++)
                assert_true(starts_file_decode(rq_bytes_of(golden.data, i), &found) < 0);
        rq_buf_done(&golden);
}

/* Counts that lie, under a checksum that is right: of both versions. */
static void test_lies_are_bounded(void **state) {
        static const char *const names[] = { "starts.v1", "starts.v2" };
        (void) state;
        for (size_t v = 0; v < 2; v++) {
                rq_buf content = {0};
                starts_file found;
                int golden_fd = open(GOLDEN, O_RDONLY | O_DIRECTORY);
                assert_int_equal(log_io_load(log_io_kernel(), golden_fd, names[v], 1 << 20, &content), RQ_OK);
                (void) close(golden_fd);
                size_t taken = 0;
                for (size_t i = 0; i + 4 < content.size; i++)
                        for (int bit = 0; bit < 8; bit++) {
                                content.data[i] ^= (uint8_t) (1 << bit);
                                rq_put_u32(content.data + content.size - 4, rq_crc32c(0, content.data, content.size - 4));
                                if (starts_file_decode(rq_buf_bytes(&content), &found) >= 0) {
                                        assert_true(found.seen_count == 2 && strlen(found.join) == strlen(sample().join));
                                        taken++;
                                }
                                content.data[i] ^= (uint8_t) (1 << bit);
                        }
                assert_true(taken > 0 && taken < 8 * content.size - 8 * 16); /* magic, version, flags, counts */
                rq_buf_done(&content);
        }
}

static void test_another_disk_begins_anew(void **state) {
        starts_file file = sample();
        (void) state;
        starts_begin(&file, &other, 99);
        assert_true(file.own.number == 1 && file.own.nonce == 99 && file.earlier[0] == 0 && !file.is_old_copy && file.seen_count == 2);
        assert_true(file.join[0] != '\0'); /* it still has to find the others */
}

/* As HELLO says it. */
static peer_start said(const starts_file *file) {
        peer_start s = { .number = file->own.number, .nonce = file->own.nonce };
        for (size_t i = 0; i < PEER_START_EARLIER; i++)
                s.earlier[i] = (uint32_t) file->earlier[i];
        return s;
}

static starts_verdict meet(starts_file *here, const starts_file *there) {
        const peer_start start = said(there);
        const starts_verdict verdict = starts_judge(here, &there->disk_uuid, &start);
        if (verdict == STARTS_NEW)
                starts_note(here, &there->disk_uuid, &there->own, NULL);
        return verdict;
}

static uint64_t nonce;
static void restart(starts_file *file) { starts_begin(file, &disk, ++nonce * 0x9e3779b97f4a7c15u | 1); }

static void test_restarts_are_let_in(void **state) {
        starts_file node = {0}, here = {0};
        (void) state;
        for (int i = 0; i < 100; i++) {
                restart(&node);
                if (i % 3 == 2)
                        continue; /* not seen */
                assert_int_equal(meet(&here, &node), STARTS_NEW);
                assert_int_equal(meet(&here, &node), STARTS_SAME);
                assert_int_equal(meet(&here, &node), STARTS_SAME);
        }
        for (int i = 0; i < 50; i++) /* away for long */
                restart(&node);
        assert_int_equal(meet(&here, &node), STARTS_NEW);
        assert_int_equal(here.seen_count, 1);
        /* A build that doesn't count. */
        node.own = (start_mark) {0};
        assert_int_equal(meet(&here, &node), STARTS_SAME);
        node = (starts_file) { .disk_uuid = other };
        assert_int_equal(meet(&here, &node), STARTS_SAME);
        assert_int_equal(here.seen_count, 1);
}

/* However often either of them is started before they meet. */
static void test_an_old_copy_is_told_from_its_node(void **state) {
        (void) state;
        for (int before = 0; before < 12; before++)
                for (int since = 1; since < 12; since++)
                        for (int after = 1; after < 20; after++) {
                                starts_file node = {0}, here = {0};
                                for (int i = 0; i < before; i++)
                                        restart(&node);
                                starts_file copy = node;
                                for (int i = 0; i < since; i++)
                                        restart(&node);
                                assert_int_equal(meet(&here, &node), STARTS_NEW);
                                for (int i = 0; i < after; i++)
                                        restart(&copy);
                                /* What is longer ago than it remembers can't be told: decision 0015. */
                                const bool too_late = after - since > STARTS_EARLIER;
                                assert_int_equal(meet(&here, &copy), too_late ? STARTS_NEW : STARTS_OLD_COPY);
                                assert_int_equal(starts_is_ours(&copy, &node.own), too_late);
                                assert_true(starts_is_ours(&node, &node.own));
                        }
}

static void test_who_was_refused_stays_so(void **state) {
        starts_file node = {0}, here = {0};
        (void) state;
        restart(&node);
        assert_int_equal(meet(&here, &node), STARTS_NEW);
        starts_note(&here, &disk, &starts_never, NULL);
        for (int i = 0; i < 20; i++) {
                assert_int_equal(meet(&here, &node), STARTS_OLD_COPY);
                restart(&node);
        }
}

/* A level may be known of a build that doesn't count its starts, and stays when they are counted. */
static void test_levels_stand_beside_starts(void **state) {
        starts_file node = {0}, here = {0};
        (void) state;
        assert_null(starts_find(&here, &disk));
        starts_note_level(&here, &disk, 1, NULL);
        for (int i = 0; i < 12; i++) {
                restart(&node);
                assert_int_equal(meet(&here, &node), STARTS_NEW);
                assert_int_equal(meet(&here, &node), STARTS_SAME);
        }
        assert_true(here.seen_count == 1 && starts_find(&here, &disk)->level == 1 && starts_find(&here, &disk)->mark.number == 12);
        starts_note_level(&here, &disk, 2, NULL);
        assert_true(starts_find(&here, &disk)->level == 2 && starts_find(&here, &disk)->mark.number == 12);
        assert_int_equal(meet(&here, &node), STARTS_SAME);
}

/* Each member has its own share: some at once, one a second later on. */
static void test_a_member_may_not_have_much_written(void **state) {
        starts *s = calloc(1, sizeof *s);
        const uint64_t day_us = 86400u * UINT64_C(1000000);
        (void) state;
        assert_non_null(s);
        for (raft_id id = 1; id <= MEMBERSHIP_COUNT_MAX; id++) {
                int noted = 0;
                for (uint64_t at_us = day_us; at_us < day_us + 60000000; at_us += 10000)
                        noted += starts_may_note(s, id, at_us);
                assert_in_range(noted, 60, 60 + STARTS_NOTES_AT_ONCE);
        }
        for (raft_id id = 1; id <= MEMBERSHIP_COUNT_MAX; id++) /* who was quiet may do it again */
                for (int i = 0; i < STARTS_NOTES_AT_ONCE + 3; i++)
                        assert_int_equal(starts_may_note(s, id, 2 * day_us), i < STARTS_NOTES_AT_ONCE);
        assert_true(starts_may_note(s, 1000, 2 * day_us)); /* members may be others */
        free(s);
}

/* Members are kept, whoever else comes by. */
static void test_there_is_room_for_members(void **state) {
        starts_file here = {0};
        membership members = { .count = 3 };
        rq_uuid uuid = disk;
        (void) state;
        for (uint32_t i = 0; i < 1000; i++) {
                memcpy(uuid.bytes, &i, sizeof i);
                if (i % 40 == 0 && i < 120)
                        members.members[i / 40].disk_uuid = uuid;
                starts_note(&here, &uuid, &(start_mark) { i + 1, i + 1 }, &members);
                assert_true(here.seen_count <= STARTS_SEEN_MAX);
        }
        for (uint32_t i = 0; i < 3; i++) {
                const peer_start same = { .number = i * 40 + 1, .nonce = i * 40 + 1 };
                assert_int_equal(starts_judge(&here, &members.members[i].disk_uuid, &same), STARTS_SAME);
        }
}

static raft_message reply(raft_term term, raft_index index) {
        return (raft_message) { .type = RAFT_MSG_APPEND_REPLY, .from = 7, .term = term, .append_reply = { .index = index } };
}

/* Of a copy that was made while its node ran: it knows all starts, and less than it promised. */
static void test_promises_are_kept(void **state) {
        starts *s = calloc(1, sizeof *s);
        peer_start came = { .number = 2, .nonce = 1, .term = 5, .index = 100 };
        (void) state;
        assert_non_null(s);
        assert_true(starts_keeps_promise(s, 7, &came));
        raft_message m = reply(5, 100);
        starts_take_promise(s, &m, NULL);
        assert_true(starts_keeps_promise(s, 7, &came));
        m = reply(5, 101);
        starts_take_promise(s, &m, NULL);
        assert_false(starts_keeps_promise(s, 7, &came));
        assert_true(starts_keeps_promise(s, 8, &came)); /* somebody else's */
        came.term = 6; /* a later leader may have taken it back */
        assert_true(starts_keeps_promise(s, 7, &came));
        m = (raft_message) { .type = RAFT_MSG_VOTE_REPLY, .from = 7, .term = 8, .vote_reply = { .granted = true, .campaign_term = 8 } };
        m.vote_reply.pre = true; /* promises nothing */
        starts_take_promise(s, &m, NULL);
        assert_true(starts_keeps_promise(s, 7, &came));
        m.vote_reply.pre = false;
        starts_take_promise(s, &m, NULL);
        assert_false(starts_keeps_promise(s, 7, &came)); /* it voted in term 8 */
        came.term = 8;
        assert_true(starts_keeps_promise(s, 7, &came));
        m = reply(9, 50);
        m.append_reply.rejected = true; /* says nothing of what is durable */
        starts_take_promise(s, &m, NULL);
        assert_true(starts_keeps_promise(s, 7, &came));
        for (raft_id id = 100; id < 1000; id++) { /* bounded */
                m = reply(1, 1);
                m.from = id;
                starts_take_promise(s, &m, NULL);
        }
        free(s);
}

/* Who is listened to without being known as a member leaves them their places. */
static void test_members_promises_stay(void **state) {
        starts *s = calloc(1, sizeof *s);
        membership members = { .count = MEMBERSHIP_COUNT_MAX };
        (void) state;
        assert_non_null(s);
        for (uint32_t i = 0; i < members.count; i++)
                memcpy(members.members[i].disk_uuid.bytes, &(uint32_t) { 2 * i + 3 }, sizeof i);
        for (uint32_t i = 0; i < members.count; i++) {
                raft_message m = reply(5, 100);
                m.from = membership_raft_id(&members.members[i].disk_uuid);
                starts_take_promise(s, &m, &members);
        }
        for (raft_id id = 1001; id < 3000; id += 2) {
                raft_message m = reply(1, 1);
                m.from = id;
                starts_take_promise(s, &m, &members);
                const peer_start less = { .number = 2, .nonce = 1, .term = 1 };
                assert_false(starts_keeps_promise(s, id, &less)); /* the newest is kept, too */
        }
        for (uint32_t i = 0; i < members.count; i++) {
                const peer_start less = { .number = 2, .nonce = 1, .term = 5, .index = 99 };
                assert_false(starts_keeps_promise(s, membership_raft_id(&members.members[i].disk_uuid), &less));
        }
        free(s);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_file, set_up_folder, tear_down_folder), cmocka_unit_test(test_another_disk_begins_anew),
                cmocka_unit_test(test_restarts_are_let_in), cmocka_unit_test(test_an_old_copy_is_told_from_its_node),
                cmocka_unit_test(test_who_was_refused_stays_so), cmocka_unit_test(test_the_version_before_is_read), cmocka_unit_test(test_lies_are_bounded),
                cmocka_unit_test(test_levels_stand_beside_starts), cmocka_unit_test(test_a_member_may_not_have_much_written), cmocka_unit_test(test_members_promises_stay),
                cmocka_unit_test(test_there_is_room_for_members),
                cmocka_unit_test(test_promises_are_kept),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
