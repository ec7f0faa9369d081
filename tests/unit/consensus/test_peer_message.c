/* Frames and bodies between members: what goes in comes out, what is wrong is
 * refused, and the bytes stay as they are (golden). With RQ_WRITE_GOLDEN=1 the sample
 * is written, which is right once in the life of a version. */
#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/checksum.h"
#include "base/cleanup.h"
#include "io/log_io.h"
#include "peer/peer_message.h"
#include "peer/peer_outcomes.h"

#define GOLDEN_DIR RQ_SOURCE_DIR "/tests/golden/consensus/"
#define GOLDEN_NAME "peer-frames.v2"
#define GOLDEN_OF_MINOR_2 "peer-frames.v1" /* HELLO without its start */

enum { MESSAGES = 16 };

/* One of each, every field with a value of its own. */
static raft_message sample(int i) {
        raft_message m = { .from = 0x1111111111111101, .to = 0x2222222222222203, .term = 7 };
        switch (i) {
        case 0: m.type = RAFT_MSG_VOTE; m.vote.pre = true; m.vote.campaign_term = 8; m.vote.last_index = 1000; m.vote.last_term = 6; break;
        case 1: m.type = RAFT_MSG_VOTE; m.vote.transfer = true; m.vote.campaign_term = 7; m.vote.last_index = 1; m.vote.last_term = 1; break;
        case 2: m.type = RAFT_MSG_VOTE_REPLY; m.vote_reply.granted = true; m.vote_reply.campaign_term = 8; break;
        case 3: m.type = RAFT_MSG_VOTE_REPLY; m.vote_reply.pre = true; m.vote_reply.campaign_term = 9; break;
        case 4: m.type = RAFT_MSG_APPEND; m.append.previous_index = 41; m.append.previous_term = 5; m.append.count = 3; m.append.commit = 40; break;
        case 5: m.type = RAFT_MSG_APPEND; m.append.previous_index = UINT64_MAX; m.append.count = UINT32_MAX; break;
        case 6: m.type = RAFT_MSG_APPEND_REPLY; m.append_reply.index = 44; break;
        case 7: m.type = RAFT_MSG_APPEND_REPLY; m.append_reply.rejected = true; m.append_reply.index = 41; m.append_reply.hint_index = 39;
                m.append_reply.hint_term = 4; break;
        case 8: m.type = RAFT_MSG_HEARTBEAT; m.heartbeat.commit = 44; m.heartbeat.round = 99; break;
        case 9: m.type = RAFT_MSG_HEARTBEAT_REPLY; m.heartbeat_reply.round = 99; m.heartbeat_reply.index = 43; break;
        case 10: m.type = RAFT_MSG_TIMEOUT_NOW; break;
        case 11: m.type = RAFT_MSG_READ; m.read.weak = true; m.read.round = 5; break;
        case 12: m.type = RAFT_MSG_READ; m.read.round = 6; break;
        case 13: m.type = RAFT_MSG_READ_REPLY; m.read_reply.refused = true; m.read_reply.round = 5; break;
        case 14: m.type = RAFT_MSG_TRANSFER; m.transfer.target = 77; break;
        default: m.type = RAFT_MSG_READ_REPLY; m.read_reply.round = 6; m.read_reply.index = 44; break;
        }
        return m;
}

static peer_hello sample_hello(void) {
        return (peer_hello) {
                .cluster_id = { .bytes = "cluster id 0123" }, .disk_uuid = { .bytes = "disk uuid 01234" }, .class = PEER_BULK, .virgin = true,
                .visitor = true, .configuration = 77, .expect = 3, .protocol_minor = 1, .feature_level = 1, .node_id = "node-1", .raft_addr = "db1.example:4002",
                .api_addr = "db1.example:4001", .start = { .number = 12, .nonce = 0x123456789abcdef0, .term = 7, .index = 1000, .earlier = { 11, 10, 9, 8, 7, 6, 5, 4 } },
        };
}

static bool equal(const raft_message *a, const raft_message *b) {
        uint8_t x[PEER_RAFT_BYTES_MAX], y[PEER_RAFT_BYTES_MAX];
        if (a->type != b->type || a->from != b->from || a->to != b->to || a->term != b->term)
                return false;
        switch (a->type) {
        case RAFT_MSG_VOTE:
                return a->vote.pre == b->vote.pre && a->vote.transfer == b->vote.transfer && a->vote.campaign_term == b->vote.campaign_term &&
                       a->vote.last_index == b->vote.last_index && a->vote.last_term == b->vote.last_term;
        case RAFT_MSG_VOTE_REPLY:
                return a->vote_reply.pre == b->vote_reply.pre && a->vote_reply.granted == b->vote_reply.granted &&
                       a->vote_reply.campaign_term == b->vote_reply.campaign_term;
        case RAFT_MSG_APPEND:
                return a->append.previous_index == b->append.previous_index && a->append.previous_term == b->append.previous_term &&
                       a->append.count == b->append.count && a->append.commit == b->append.commit;
        case RAFT_MSG_APPEND_REPLY:
                return a->append_reply.rejected == b->append_reply.rejected && a->append_reply.index == b->append_reply.index &&
                       a->append_reply.hint_index == b->append_reply.hint_index && a->append_reply.hint_term == b->append_reply.hint_term;
        case RAFT_MSG_HEARTBEAT: return a->heartbeat.commit == b->heartbeat.commit && a->heartbeat.round == b->heartbeat.round;
        case RAFT_MSG_HEARTBEAT_REPLY:
                return a->heartbeat_reply.round == b->heartbeat_reply.round && a->heartbeat_reply.index == b->heartbeat_reply.index;
        case RAFT_MSG_TIMEOUT_NOW: return true;
        case RAFT_MSG_TRANSFER: return a->transfer.target == b->transfer.target;
        case RAFT_MSG_READ: return a->read.weak == b->read.weak && a->read.round == b->read.round;
        case RAFT_MSG_READ_REPLY:
                return a->read_reply.refused == b->read_reply.refused && a->read_reply.round == b->read_reply.round &&
                       a->read_reply.index == b->read_reply.index;
        }
        return peer_raft_encode(a, x) == peer_raft_encode(b, y);
}

static void add_frame(rq_buf *out, uint16_t type, rq_bytes body, rq_bytes payload) {
        uint8_t head[PEER_HEADER_BYTES];
        peer_header header = { .type = type, .payload_bytes = (uint32_t) payload.size };
        peer_header_encode(head, &header, body);
        assert_int_equal(rq_buf_append(out, head, sizeof head), RQ_OK);
        assert_int_equal(rq_buf_append_bytes(out, body), RQ_OK);
        assert_int_equal(rq_buf_append_bytes(out, payload), RQ_OK);
}

static const driver_forward sample_forward = { .to = 0x2222222222222203, .term = 7, .seed = 0xfeed, .kind = RECORD_SQL, .step_budget = 12345 };
static const peer_refusal sample_refusal = { .from = 0x1111111111111101, .to = 0x2222222222222203, .term = 7, .seed = 0xfeed, .err = RQ_EFULL };

static const peer_join_reply sample_accepted = {
        .result = PEER_JOIN_ACCEPTED, .database_id = { { 1, 2 } }, .cluster_id = { { 3, 4 } }, .configuration = 57,
};
static const peer_remove_reply sample_removal = { .is = { .from = 3, .to = 5, .number = 99 }, .result = PEER_REMOVE_REFUSED };

static void add_changes(rq_buf *out) {
        uint8_t join[PEER_JOIN_BYTES], reply[PEER_JOIN_REPLY_BYTES], remove[PEER_REMOVE_BYTES], removal[PEER_REMOVE_REPLY_BYTES], removed[PEER_REMOVED_BYTES],
                old[PEER_OLD_COPY_BYTES];
        peer_join_encode(true, join);
        add_frame(out, PEER_JOIN, rq_bytes_of(join, sizeof join), (rq_bytes) {0});
        peer_join_reply_encode(&sample_accepted, reply);
        add_frame(out, PEER_JOIN_REPLY, rq_bytes_of(reply, sizeof reply), rq_bytes_text("members"));
        peer_remove_encode(&sample_removal.is, remove);
        add_frame(out, PEER_REMOVE, rq_bytes_of(remove, sizeof remove), rq_bytes_text("n2"));
        peer_remove_reply_encode(&sample_removal, removal);
        add_frame(out, PEER_REMOVE_REPLY, rq_bytes_of(removal, sizeof removal), rq_bytes_text("why"));
        peer_removed_encode(1234, removed);
        add_frame(out, PEER_REMOVED, rq_bytes_of(removed, sizeof removed), (rq_bytes) {0});
        peer_old_copy_encode(&(peer_old_copy) { 12, 0x123456789abcdef0, true }, old);
        add_frame(out, PEER_OLD_COPY, rq_bytes_of(old, sizeof old), (rq_bytes) {0});
}

static void add_outcomes(rq_buf *out) {
        uint8_t profile[PEER_PROFILE_BYTES], outcomes[PEER_OUTCOMES_BYTES], refuted[PEER_REFUTED_BYTES];
        uint8_t marks[PEER_OUTCOMES_MARKS_MAX * PEER_OUTCOMES_MARK_BYTES];
        peer_outcomes said = { .from = 3, .to = 5, .generation = 0x5eed, .count = 2 };
        peer_profile_encode(&(peer_profile) { .from = 3, .to = 5, .digest = 0x1234567890abcdef, .extensions = 0x600dcafe }, profile);
        add_frame(out, PEER_PROFILE, rq_bytes_of(profile, sizeof profile), rq_bytes_text("3.40.1"));
        said.marks[0] = (outcome_mark) { 1024, 0xfeedface };
        said.marks[1] = (outcome_mark) { 1501, 0xdeadbeef };
        const size_t size = peer_outcomes_encode(&said, outcomes, marks);
        add_frame(out, PEER_OUTCOMES, rq_bytes_of(outcomes, sizeof outcomes), rq_bytes_of(marks, size));
        peer_refuted_encode(&(peer_refuted) { .from = 3, .to = 5, .term = 7, .index = 1501, .own = 0xbad, .majority = 0xdeadbeef }, refuted);
        add_frame(out, PEER_REFUTED, rq_bytes_of(refuted, sizeof refuted), (rq_bytes) {0});
}

static void all_frames(rq_buf *out) {
        RQ_CLEANUP(rq_buf_done) rq_buf body = {0};
        uint8_t bytes[PEER_RAFT_BYTES_MAX], forward[PEER_FORWARD_BYTES], refusal[PEER_REFUSED_BYTES], found[PEER_FOUND_BYTES];
        const peer_hello hello = sample_hello();
        assert_int_equal(peer_hello_encode(&hello, &body), RQ_OK);
        add_frame(out, PEER_HELLO, rq_buf_bytes(&body), (rq_bytes) {0});
        peer_found_encode(true, found);
        add_frame(out, PEER_FOUND, rq_bytes_of(found, sizeof found), rq_bytes_text("a record"));
        for (int i = 0; i < MESSAGES; i++) {
                const raft_message m = sample(i);
                size_t size = peer_raft_encode(&m, bytes);
                add_frame(out, peer_raft_type(m.type), rq_bytes_of(bytes, size), m.type == RAFT_MSG_APPEND ? rq_bytes_text("records") : (rq_bytes) {0});
        }
        peer_forward_encode(0x1111111111111101, &sample_forward, forward);
        add_frame(out, PEER_FORWARD, rq_bytes_of(forward, sizeof forward), rq_bytes_text("sql"));
        peer_refusal_encode(&sample_refusal, refusal);
        add_frame(out, PEER_FORWARD_REFUSED, rq_bytes_of(refusal, sizeof refusal), (rq_bytes) {0});
        add_changes(out);
        add_outcomes(out); /* minor 3 */
}

static void test_golden(void **state) {
        RQ_CLEANUP(rq_buf_done) rq_buf now = {0}, golden = {0};
        (void) state;
        RQ_CLEANUP(rq_closep) int fd = open(GOLDEN_DIR, O_RDONLY | O_DIRECTORY);
        all_frames(&now);
        if (getenv("RQ_WRITE_GOLDEN") != NULL)
                assert_int_equal(log_io_replace(log_io_kernel(), fd, GOLDEN_NAME, rq_buf_bytes(&now)), RQ_OK);
        assert_int_equal(log_io_load(log_io_kernel(), fd, GOLDEN_NAME, 1 << 20, &golden), RQ_OK);
        assert_int_equal(golden.size, now.size);
        assert_memory_equal(golden.data, now.data, now.size);
}

/* The sample is read, not only written: its values are those that went in. */
static void read_golden(const char *name, int others_wanted, bool has_start) {
        RQ_CLEANUP(rq_buf_done) rq_buf golden = {0};
        RQ_CLEANUP(rq_closep) int fd = open(GOLDEN_DIR, O_RDONLY | O_DIRECTORY);
        assert_int_equal(log_io_load(log_io_kernel(), fd, name, 1 << 20, &golden), RQ_OK);
        int messages = 0, others = 0;
        for (size_t at = 0; at < golden.size;) {
                peer_header header;
                uint32_t body_max, payload_max;
                assert_int_equal(peer_header_decode(golden.data + at, &header), RQ_OK);
                const rq_bytes body = rq_bytes_of(golden.data + at + PEER_HEADER_BYTES, header.body_bytes);
                assert_int_equal(header.body_crc, rq_crc32c(0, body.data, body.size));
                assert_true(peer_type_limits(header.type, &body_max, &payload_max));
                assert_true(header.body_bytes <= body_max && header.payload_bytes <= payload_max);
                raft_message m;
                if (peer_raft_decode(header.type, body, &m) == RQ_OK) {
                        const raft_message want = sample(messages++);
                        assert_true(equal(&m, &want));
                } else {
                        others++;
                }
                if (header.type == PEER_HELLO) {
                        peer_hello hello;
                        const peer_hello want = sample_hello();
                        assert_int_equal(peer_hello_decode(body, &hello), RQ_OK);
                        assert_true(hello.configuration == want.configuration && strcmp(hello.api_addr, want.api_addr) == 0);
                        assert_true(has_start ? memcmp(&hello.start, &want.start, sizeof want.start) == 0 : hello.start.number == 0);
                }
                at += PEER_HEADER_BYTES + header.body_bytes + header.payload_bytes;
        }
        assert_int_equal(messages, MESSAGES);
        assert_int_equal(others, others_wanted);
}

static void test_golden_is_read(void **state) {
        (void) state;
        read_golden(GOLDEN_NAME, 13, true);
        read_golden(GOLDEN_OF_MINOR_2, 12, false);
}

static void test_hello(void **state) {
        RQ_CLEANUP(rq_buf_done) rq_buf body = {0};
        peer_hello got;
        const peer_hello hello = sample_hello();
        (void) state;
        assert_int_equal(peer_hello_encode(&hello, &body), RQ_OK);
        assert_int_equal(peer_hello_decode(rq_buf_bytes(&body), &got), RQ_OK);
        assert_memory_equal(&got.cluster_id, &hello.cluster_id, RQ_UUID_BYTES);
        assert_memory_equal(&got.disk_uuid, &hello.disk_uuid, RQ_UUID_BYTES);
        assert_string_equal(got.node_id, hello.node_id);
        assert_string_equal(got.raft_addr, hello.raft_addr);
        assert_string_equal(got.api_addr, hello.api_addr);
        assert_true(got.class == PEER_BULK && got.virgin && got.expect == 3 && got.protocol_minor == 1 && got.feature_level == 1);
        assert_true(got.visitor && got.configuration == 77);
        assert_memory_equal(&got.start, &hello.start, sizeof hello.start);
        enum { START = 64, CONFIGURATION = 8 };
        for (size_t size = 0; size + START + CONFIGURATION < body.size; size++)
                assert_int_equal(peer_hello_decode(rq_bytes_of(body.data, size), &got), RQ_EPROTO);
        assert_int_equal(peer_hello_decode(rq_bytes_of(body.data, body.size - START - CONFIGURATION), &got), RQ_OK); /* a build of minor 1 */
        assert_true(got.configuration == 0 && got.start.number == 0);
        for (size_t less = 1; less <= START; less++) { /* of minor 2 */
                assert_int_equal(peer_hello_decode(rq_bytes_of(body.data, body.size - less), &got), RQ_OK);
                assert_true(got.configuration == 77 && got.start.number == 0);
        }
        /* A newer build says more. */
        assert_int_equal(rq_buf_append_text(&body, "more"), RQ_OK);
        assert_int_equal(peer_hello_decode(rq_buf_bytes(&body), &got), RQ_OK);
        body.data[PEER_HELLO_FIXED_BYTES + 2] = '\n'; /* in the node id */
        assert_int_equal(peer_hello_decode(rq_buf_bytes(&body), &got), RQ_EPROTO);
        body.data[PEER_HELLO_FIXED_BYTES + 2] = 'x';
        body.data[32] = PEER_CLASSES;
        assert_int_equal(peer_hello_decode(rq_buf_bytes(&body), &got), RQ_EPROTO);
        body.data[32] = 0;
        rq_put_u16(body.data + 44, MEMBERSHIP_NODE_MAX + 1);
        assert_int_equal(peer_hello_decode(rq_buf_bytes(&body), &got), RQ_EPROTO);
        rq_put_u16(body.data + 44, 0);
        assert_int_equal(peer_hello_decode(rq_buf_bytes(&body), &got), RQ_EPROTO);
        rq_put_u16(body.data + 44, 6);
        memset(body.data + 16, 0, RQ_UUID_BYTES); /* no disk */
        assert_int_equal(peer_hello_decode(rq_buf_bytes(&body), &got), RQ_EPROTO);
}

static void test_an_old_copy_is_told_strictly(void **state) {
        uint8_t body[PEER_OLD_COPY_BYTES + 1] = {0};
        peer_old_copy got;
        (void) state;
        peer_old_copy_encode(&(peer_old_copy) { UINT64_MAX, 5, true }, body);
        assert_int_equal(peer_old_copy_decode(rq_bytes_of(body, PEER_OLD_COPY_BYTES), &got), RQ_OK);
        assert_true(got.number == UINT64_MAX && got.nonce == 5 && got.led);
        assert_int_equal(peer_old_copy_decode(rq_bytes_of(body, PEER_OLD_COPY_BYTES - 1), &got), RQ_EPROTO);
        assert_int_equal(peer_old_copy_decode(rq_bytes_of(body, PEER_OLD_COPY_BYTES + 1), &got), RQ_EPROTO);
        body[16] = 2;
        assert_int_equal(peer_old_copy_decode(rq_bytes_of(body, PEER_OLD_COPY_BYTES), &got), RQ_EPROTO);
        body[16] = 0;
        body[20] = 1;
        assert_int_equal(peer_old_copy_decode(rq_bytes_of(body, PEER_OLD_COPY_BYTES), &got), RQ_EPROTO);
        peer_old_copy_encode(&(peer_old_copy) { 0, 5, true }, body); /* of no start at all */
        assert_int_equal(peer_old_copy_decode(rq_bytes_of(body, PEER_OLD_COPY_BYTES), &got), RQ_EPROTO);
}

static void test_changes_are_strict(void **state) {
        uint8_t body[64] = {0};
        const rq_bytes none = {0}, text = rq_bytes_text("some words"), control = rq_bytes_text("a\nb");
        peer_join_reply reply;
        peer_remove remove;
        peer_remove_reply removal;
        raft_index index;
        bool stays;
        (void) state;
        peer_join_encode(false, body);
        assert_true(peer_join_decode(rq_bytes_of(body, PEER_JOIN_BYTES), &stays) == RQ_OK && !stays);
        body[0] = 2;
        assert_int_equal(peer_join_decode(rq_bytes_of(body, PEER_JOIN_BYTES), &stays), RQ_EPROTO);
        assert_int_equal(peer_join_decode(rq_bytes_of(body, PEER_JOIN_BYTES - 1), &stays), RQ_EPROTO);

        peer_join_reply_encode(&sample_accepted, body);
        const rq_bytes whole = rq_bytes_of(body, PEER_JOIN_REPLY_BYTES);
        assert_int_equal(peer_join_reply_decode(whole, text, &reply), RQ_OK);
        assert_true(reply.result == PEER_JOIN_ACCEPTED && reply.configuration == 57 && reply.cluster_id.bytes[1] == 4 && reply.database_id.bytes[0] == 1);
        assert_int_equal(peer_join_reply_decode(rq_bytes_of(body, PEER_JOIN_REPLY_BYTES - 1), text, &reply), RQ_EPROTO);
        memset(body + 8, 0, RQ_UUID_BYTES); /* accepted by no cluster */
        assert_int_equal(peer_join_reply_decode(whole, text, &reply), RQ_EPROTO);
        rq_put_u32(body, PEER_JOIN_REFUSED);
        assert_int_equal(peer_join_reply_decode(whole, text, &reply), RQ_OK);
        assert_int_equal(peer_join_reply_decode(whole, control, &reply), RQ_EPROTO); /* it is logged */
        rq_put_u32(body, PEER_JOIN_REFUSED + 1);
        assert_int_equal(peer_join_reply_decode(whole, text, &reply), RQ_EPROTO);

        peer_remove_encode(&sample_removal.is, body);
        assert_int_equal(peer_remove_decode(rq_bytes_of(body, PEER_REMOVE_BYTES), text, &remove), RQ_OK);
        assert_true(remove.from == 3 && remove.to == 5 && remove.number == 99);
        assert_int_equal(peer_remove_decode(rq_bytes_of(body, PEER_REMOVE_BYTES), none, &remove), RQ_EPROTO);
        assert_int_equal(peer_remove_decode(rq_bytes_of(body, PEER_REMOVE_BYTES), control, &remove), RQ_EPROTO);
        peer_remove_reply_encode(&sample_removal, body);
        assert_int_equal(peer_remove_reply_decode(rq_bytes_of(body, PEER_REMOVE_REPLY_BYTES), text, &removal), RQ_OK);
        assert_true(removal.is.number == 99 && removal.result == PEER_REMOVE_REFUSED);
        rq_put_u32(body + PEER_REMOVE_BYTES, 0);
        assert_int_equal(peer_remove_reply_decode(rq_bytes_of(body, PEER_REMOVE_REPLY_BYTES), text, &removal), RQ_EPROTO);
        peer_removed_encode(1234, body);
        assert_true(peer_removed_decode(rq_bytes_of(body, PEER_REMOVED_BYTES), &index) == RQ_OK && index == 1234);
        assert_int_equal(peer_removed_decode(rq_bytes_of(body, PEER_REMOVED_BYTES - 1), &index), RQ_EPROTO);
}

static void test_raft_bodies_are_strict(void **state) {
        (void) state;
        for (int i = 0; i < MESSAGES; i++) {
                uint8_t body[PEER_RAFT_BYTES_MAX + 1] = {0};
                const raft_message m = sample(i);
                raft_message got;
                size_t size = peer_raft_encode(&m, body);
                uint16_t type = peer_raft_type(m.type);
                assert_int_equal(peer_raft_decode(type, rq_bytes_of(body, size), &got), RQ_OK);
                assert_true(equal(&m, &got));
                assert_int_equal(peer_raft_decode(type, rq_bytes_of(body, size - 1), &got), RQ_EPROTO);
                assert_int_equal(peer_raft_decode(type, rq_bytes_of(body, size + 1), &got), RQ_EPROTO);
                const bool flags = m.type != RAFT_MSG_APPEND && m.type != RAFT_MSG_HEARTBEAT && m.type != RAFT_MSG_HEARTBEAT_REPLY &&
                                   m.type != RAFT_MSG_TIMEOUT_NOW && m.type != RAFT_MSG_TRANSFER;
                if (flags) {
                        body[24] |= 4; /* one that this build doesn't know */
                        assert_int_equal(peer_raft_decode(type, rq_bytes_of(body, size), &got), RQ_EPROTO);
                }
        }
        raft_message got;
        const uint8_t body[PEER_RAFT_BYTES_MAX] = {0};
        assert_int_equal(peer_raft_decode(PEER_RAFT_FIRST, rq_bytes_of(body, 24), &got), RQ_EPROTO);
        assert_int_equal(peer_raft_decode(PEER_RAFT_FIRST + 10, rq_bytes_of(body, 24), &got), RQ_EPROTO);
        assert_int_equal(peer_raft_decode(PEER_FORWARD, rq_bytes_of(body, 24), &got), RQ_EPROTO);
}

static void test_forwards(void **state) {
        uint8_t body[PEER_FORWARD_BYTES];
        driver_forward got;
        raft_id to;
        (void) state;
        peer_forward_encode(9, &sample_forward, body);
        assert_int_equal(peer_forward_decode(rq_bytes_of(body, sizeof body), &to, &got), RQ_OK);
        assert_true(to == sample_forward.to && got.to == 9 && got.term == 7 && got.seed == 0xfeed && got.kind == RECORD_SQL && got.step_budget == 12345);
        assert_int_equal(peer_forward_decode(rq_bytes_of(body, sizeof body - 1), &to, &got), RQ_EPROTO);
        rq_put_u32(body + 40, 256);
        assert_int_equal(peer_forward_decode(rq_bytes_of(body, sizeof body), &to, &got), RQ_EPROTO);
}

static void test_refusals(void **state) {
        static const rq_err reasons[] = { RQ_ENOTLEADER, RQ_EFULL, RQ_ENOSPC, RQ_ETOOBIG, RQ_ENOMEM, RQ_ECANCELED, RQ_EIO, RQ_EINVAL };
        uint8_t body[PEER_REFUSED_BYTES];
        peer_refusal refusal = sample_refusal, got;
        (void) state;
        for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
                refusal.err = reasons[i];
                peer_refusal_encode(&refusal, body);
                assert_int_equal(rq_get_u32(body + 32), i + 1); /* stable */
                assert_int_equal(peer_refusal_decode(rq_bytes_of(body, sizeof body), &got), RQ_OK);
                assert_true(got.err == reasons[i] && got.from == refusal.from && got.to == refusal.to && got.term == 7 && got.seed == 0xfeed);
        }
        rq_put_u32(body + 32, 1000); /* a newer build's: still a refusal */
        assert_int_equal(peer_refusal_decode(rq_bytes_of(body, sizeof body), &got), RQ_OK);
        assert_int_equal(got.err, RQ_ECANCELED);
        assert_int_equal(peer_refusal_decode(rq_bytes_of(body, sizeof body - 1), &got), RQ_EPROTO);
}

static void test_headers(void **state) {
        uint8_t head[PEER_HEADER_BYTES], broken[PEER_HEADER_BYTES];
        peer_header header = { .type = PEER_FORWARD, .payload_bytes = PEER_PAYLOAD_BYTES_MAX }, got;
        (void) state;
        peer_header_encode(head, &header, rq_bytes_text("body"));
        assert_int_equal(peer_header_decode(head, &got), RQ_OK);
        assert_true(got.type == PEER_FORWARD && got.body_bytes == 4 && got.payload_bytes == PEER_PAYLOAD_BYTES_MAX);
        for (size_t i = 0; i < sizeof head * 8; i++) {
                memcpy(broken, head, sizeof head);
                broken[i / 8] ^= (uint8_t) (1 << i % 8);
                assert_true(peer_header_decode(broken, &got) < 0);
        }
        static const struct { size_t at; uint32_t value; rq_err want; } cases[] = {
                { 8, 1, RQ_EVERSION }, { 12, PEER_BODY_BYTES_MAX + 1, RQ_ETOOBIG }, { 16, PEER_PAYLOAD_BYTES_MAX + 1, RQ_ETOOBIG },
                { 16, UINT32_MAX, RQ_ETOOBIG }, { 4, 2 | PEER_FORWARD << 16, RQ_EVERSION }, { 4, 1 | 9999 << 16, RQ_OK },
        };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                memcpy(broken, head, sizeof head);
                rq_put_u32(broken + cases[i].at, cases[i].value);
                rq_put_u32(broken + 24, rq_crc32c(0, broken, 24));
                assert_int_equal(peer_header_decode(broken, &got), cases[i].want);
        }
}

static void test_limits(void **state) {
        uint32_t body, payload;
        (void) state;
        assert_true(peer_type_limits(peer_raft_type(RAFT_MSG_APPEND), &body, &payload));
        assert_true(body == 56 && payload == PEER_PAYLOAD_BYTES_MAX);
        assert_true(peer_type_limits(peer_raft_type(RAFT_MSG_VOTE), &body, &payload));
        assert_int_equal(payload, 0);
        assert_true(peer_type_limits(PEER_FORWARD, &body, &payload));
        assert_int_equal(payload, RECORD_BODY_BYTES_MAX);
        for (int type = 0; type <= UINT16_MAX; type++)
                if (peer_type_limits((uint16_t) type, &body, &payload))
                        assert_true(body <= PEER_HELLO_BYTES_MAX && payload <= PEER_PAYLOAD_BYTES_MAX);
                else
                        assert_true(type != PEER_HELLO && type != PEER_FOUND);
        assert_true(peer_type_limits(PEER_SNAPSHOT_OFFER, &body, &payload));
        assert_true(payload <= 2 * 1024 * 1024);
        assert_false(peer_type_limits(84, &body, &payload)); /* in reserve */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden), cmocka_unit_test(test_golden_is_read), cmocka_unit_test(test_hello),
                cmocka_unit_test(test_raft_bodies_are_strict),
                cmocka_unit_test(test_changes_are_strict), cmocka_unit_test(test_an_old_copy_is_told_strictly), cmocka_unit_test(test_forwards), cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_headers), cmocka_unit_test(test_limits),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
