/* Bytes of another node against the decoders of peer/: what they take can be
 * encoded again to the same bytes (but for what a newer build may add), and no
 * founding is adopted that doesn't hold. First byte: which of them. */
#include "base/assert.h"
#include "base/checksum.h"
#include "founding.h"
#include "io/starts_file.h"
#include "peer/peer_message.h"
#include "peer/peer_outcomes.h"

static void fuzz_header(rq_bytes in) {
        peer_header header;
        uint32_t body_max = 0, payload_max = 0;
        if (in.size < PEER_HEADER_BYTES || peer_header_decode(in.data, &header) < 0)
                return;
        rq_assert(header.body_bytes <= PEER_BODY_BYTES_MAX && header.payload_bytes <= PEER_PAYLOAD_BYTES_MAX);
        (void) peer_type_limits(header.type, &body_max, &payload_max);
        rq_assert(body_max <= PEER_HELLO_BYTES_MAX);
}

static void fuzz_hello(rq_bytes in) {
        peer_hello hello;
        rq_buf again = {0};
        if (peer_hello_decode(in, &hello) < 0)
                return;
        rq_assert(hello.node_id[0] != '\0' && hello.class < PEER_CLASSES && strlen(hello.api_addr) <= PEER_API_ADDRESS_MAX);
        rq_assert(peer_hello_encode(&hello, &again) == RQ_OK);
        rq_assert(again.size <= PEER_HELLO_BYTES_MAX); /* longer than one of an older build */
        peer_hello twice;
        rq_assert(peer_hello_decode(rq_buf_bytes(&again), &twice) == RQ_OK);
        rq_assert(memcmp(&twice.start, &hello.start, sizeof hello.start) == 0 && twice.configuration == hello.configuration);
        rq_assert(strcmp(twice.node_id, hello.node_id) == 0 && strcmp(twice.raft_addr, hello.raft_addr) == 0);
        rq_buf_done(&again);
}

static void fuzz_raft(uint8_t type, rq_bytes in) {
        raft_message message;
        uint8_t again[PEER_RAFT_BYTES_MAX];
        if (peer_raft_decode(type, in, &message) < 0)
                return;
        rq_assert(peer_raft_type(message.type) == type);
        rq_assert(peer_raft_encode(&message, again) == in.size && memcmp(again, in.data, in.size) == 0);
}

static void fuzz_forwards(rq_bytes in) {
        driver_forward forward;
        peer_refusal refusal;
        uint8_t again[PEER_FORWARD_BYTES];
        raft_id to;
        bool virgin;
        if (peer_forward_decode(in, &to, &forward) >= 0) {
                const raft_id from = forward.to;
                forward.to = to;
                peer_forward_encode(from, &forward, again);
                rq_assert(in.size == PEER_FORWARD_BYTES && memcmp(again, in.data, in.size) == 0);
        }
        if (peer_refusal_decode(in, &refusal) >= 0)
                rq_assert(refusal.err < 0);
        (void) peer_found_decode(in, &virgin);
}

/* A fixed part and what follows it: body and payload. */
static void fuzz_changes(rq_bytes in) {
        uint8_t again[PEER_JOIN_REPLY_BYTES];
        peer_join_reply reply;
        peer_remove remove;
        peer_remove_reply removal;
        raft_index index;
        bool stays;
        (void) peer_join_decode(in, &stays);
        (void) peer_removed_decode(in, &index);
        peer_old_copy old;
        if (peer_old_copy_decode(in, &old) >= 0) {
                peer_old_copy_encode(&old, again);
                rq_assert(in.size == PEER_OLD_COPY_BYTES && old.number != 0 && memcmp(again, in.data, in.size) == 0);
        }
        if (in.size >= PEER_JOIN_REPLY_BYTES) {
                const rq_bytes body = rq_bytes_of(in.data, PEER_JOIN_REPLY_BYTES);
                if (peer_join_reply_decode(body, rq_bytes_of(in.data + body.size, in.size - body.size), &reply) >= 0) {
                        peer_join_reply_encode(&reply, again);
                        rq_assert(memcmp(again, in.data, 4) == 0 && memcmp(again + 8, in.data + 8, sizeof again - 8) == 0);
                }
        }
        if (in.size >= PEER_REMOVE_REPLY_BYTES) {
                const rq_bytes body = rq_bytes_of(in.data, PEER_REMOVE_REPLY_BYTES);
                if (peer_remove_reply_decode(body, rq_bytes_of(in.data + body.size, in.size - body.size), &removal) >= 0)
                        rq_assert(removal.result >= PEER_REMOVE_DONE && removal.result <= PEER_REMOVE_NOT_LEADER);
                if (peer_remove_decode(rq_bytes_of(in.data, PEER_REMOVE_BYTES), rq_bytes_of(in.data + PEER_REMOVE_BYTES, in.size - PEER_REMOVE_BYTES), &remove) >= 0)
                        rq_assert(in.size - PEER_REMOVE_BYTES <= MEMBERSHIP_NODE_MAX);
        }
}

/* With the right checksum at its end, or the fuzzer would hardly get any further. */
static void fuzz_starts(rq_bytes in) {
        starts_file file;
        rq_buf content = {0};
        uint8_t crc[4];
        rq_put_u32(crc, rq_crc32c(0, in.data, in.size));
        rq_assert(rq_buf_append_bytes(&content, in) == RQ_OK && rq_buf_append(&content, crc, sizeof crc) == RQ_OK);
        if (starts_file_decode(rq_buf_bytes(&content), &file) >= 0)
                rq_assert(file.seen_count <= STARTS_SEEN_MAX && strlen(file.join) <= STARTS_JOIN_MAX);
        rq_buf_done(&content);
}

/* PROFILE and OUTCOMES have bodies of the same size. */
static void fuzz_outcomes(rq_bytes in) {
        static uint8_t again[PEER_OUTCOMES_BYTES], marks[PEER_OUTCOMES_MARKS_MAX * PEER_OUTCOMES_MARK_BYTES];
        static outcomes_member known;
        peer_profile profile;
        peer_outcomes outcomes;
        peer_refuted refuted;
        uint64_t hash;
        (void) peer_refuted_decode(in, &refuted);
        if (in.size < PEER_OUTCOMES_BYTES)
                return;
        const rq_bytes body = rq_bytes_of(in.data, PEER_OUTCOMES_BYTES), payload = rq_bytes_of(in.data + body.size, in.size - body.size);
        if (peer_profile_decode(body, payload, &profile) >= 0)
                rq_assert(strlen(profile.sqlite_version) == payload.size && profile.digest != 0);
        if (peer_outcomes_decode(body, payload, &outcomes) < 0)
                return;
        rq_assert(peer_outcomes_encode(&outcomes, again, marks) == payload.size);
        rq_assert(memcmp(again, in.data, 28) == 0 && memcmp(marks, payload.data, payload.size) == 0);
        outcomes_take(&known, outcomes.generation, outcomes.marks, outcomes.count);
        rq_assert(known.marks.count > 0 && known.marks.count <= OUTCOME_MARKS_MAX);
        rq_assert(outcome_marks_find(&known.marks, outcomes.marks[outcomes.count - 1].index, &hash) && hash == outcomes.marks[outcomes.count - 1].hash);
}

static void fuzz_founding(rq_bytes in) {
        static const identity self = { .disk_uuid = { .bytes = "disk uuid 01234" }, .node_id = "n" };
        rq_uuid database_id;
        membership members;
        if (founding_decode(in, &database_id, &members) < 0) {
                rq_assert(founding_judge(&self, true, in, true) == FOUNDING_INVALID);
                return;
        }
        rq_assert(members.count > 0 && members.count <= MEMBERSHIP_COUNT_MAX && !rq_uuid_is_zero(&database_id));
        bool listed = false;
        for (uint32_t i = 0; i < members.count; i++)
                listed |= rq_uuid_equal(&members.members[i].disk_uuid, &self.disk_uuid);
        rq_assert(listed || founding_judge(&self, true, in, false) == FOUNDING_FOREIGN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size == 0)
                return 0;
        const rq_bytes in = rq_bytes_of(data + 1, size - 1);
        switch (data[0]) {
        case 0: fuzz_header(in); break;
        case 1: fuzz_hello(in); break;
        case 2: fuzz_founding(in); break;
        case 3: fuzz_forwards(in); break;
        case 4: fuzz_changes(in); break;
        case 5: fuzz_outcomes(in); break;
        case 6: fuzz_starts(in); break;
        default: fuzz_raft(data[0], in); break;
        }
        return 0;
}
