#include "store.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "world.h"

typedef struct store_read { uint64_t request; raft_index index; } store_read;

typedef struct batch_message {
        driver_batch batch;
        uint32_t count;
        size_t size;
        uint8_t records[];
} batch_message;

enum { LINK_US = 30, APPLY_US = 150 };

void request_encode(uint8_t out[static REQUEST_BYTES], const request_body *body) {
        rq_put_u64(out, body->number);
        rq_put_u32(out + 8, body->node);
        rq_put_u32(out + 12, body->gateway);
        rq_put_u32(out + 16, body->place);
        rq_put_u32(out + 20, 0);
}

bool request_decode(rq_bytes bytes, request_body *ret_body) {
        if (bytes.size < REQUEST_BYTES)
                return false;
        *ret_body = (request_body) {
                .number = rq_get_u64(bytes.data), .node = rq_get_u32(bytes.data + 8),
                .gateway = rq_get_u32(bytes.data + 12),
                .place = rq_get_u32(bytes.data + 16),
        };
        return true;
}

uint64_t record_chain(uint64_t chain, const uint8_t *record) {
        /* The header's checksum covers the body's. */
        return rq_hash_mix(chain, (uint64_t) rq_get_u32(record + 100) << 32 ^ record_peek_index(record)) | 1;
}

void store_done(store *s) { rq_buf_done(&s->reads); }

void store_start(world *w, sim_node *n) {
        n->store.up = true;
        n->store.incarnation++;
        n->store.asked = false;
        n->store.reads.size = 0;
        n->store.busy_until_us = 0;
        n->store.reopening = false;
        if (n->up)
                store_linked(w, n);
}

void store_die(world *w, sim_node *n, bool machine) {
        n->store.up = false;
        n->store.incarnation++;
        n->store.reads.size = 0;
        /* What was staged goes with it; what had become the database is it. */
        memset(n->store.out, 0, sizeof n->store.out);
        n->store.in = (store_in) {0};
        n->store.reopening = false;
        if (machine)
                n->store.now = n->store.checkpoint;
        if (n->up) {
                shell_store_down(n);
                node_wake(w, n);
        }
        check_store_died(w, n);
}

static void fetch(world *w, sim_node *n) {
        store *s = &n->store;
        stream_fetch fetch = {
                .from = s->now.applied + 1, .applied_term = s->now.term, .clock_us = s->now.clock_us,
                .checkpoint = s->checkpoint.applied,
        };
        if (s->now.applied > 0)
                fetch.database_id = w->database_id;
        world_trace(w, (trace_record) { .event = TRACE_FETCH, .node = (uint8_t) n->number, .peer = TRACE_NOBODY,
                .index = fetch.from, .term = fetch.applied_term });
        if (shell_on_fetch(n, &fetch))
                return; /* again, when the log has followed */
        rq_put_u64(s->stream_id.bytes, rq_rng_next(&w->rng));
        s->asked = true;
        s->told = s->now.applied;
        n->feed_failed = false;
        rq_err r = driver_fetch(n->driver, &fetch, &s->stream_id);
        if (r < 0 && !s->may_misfit)
                world_fail(w, "store", "node %u: the store at index %lu of term %lu doesn't fit its log: %s", n->number,
                           (unsigned long) s->now.applied, (unsigned long) s->now.term,
                                   driver_stream(n->driver)->misfit);
        node_wake(w, n);
}

void store_linked(world *w, sim_node *n) {
        if (!n->store.up || !n->up)
                return;
        shell_store_up(n);
        if (!n->store.reopening) /* else when that is done */
                fetch(w, n);
}

void store_fetch_again(world *w, sim_node *n) {
        if (n->store.up && n->up)
                fetch(w, n);
}

void store_send_batch(world *w, sim_node *n, const driver_batch *batch, uint32_t count, const rq_bytes *pieces,
                      size_t piece_count) {
        size_t size = 0, at = 0;
        for (size_t i = 0; i < piece_count; i++)
                size += pieces[i].size;
        batch_message *message = malloc(sizeof *message + size);
        rq_assert(message != NULL);
        *message = (batch_message) { .batch = *batch, .count = count, .size = size };
        for (size_t i = 0; i < piece_count; i++) {
                memcpy(message->records + at, pieces[i].data, pieces[i].size);
                at += pieces[i].size;
        }
        uint64_t from_us = n->store.busy_until_us > w->now_us ? n->store.busy_until_us : w->now_us;
        n->store.busy_until_us = from_us + LINK_US + (count == 0 ? 0 : world_random(w, APPLY_US) + 5ul * count);
        world_plan(w, n->store.busy_until_us - w->now_us, (event) {
                .type = EVENT_STORE_BATCH, .node = (uint8_t) n->number, .tag = n->store.incarnation,
                .number = n->incarnation, .data = message,
        });
}

void store_send_read(world *w, sim_node *n, uint64_t request, raft_index index) {
        store_read *read = malloc(sizeof *read);
        rq_assert(read != NULL);
        *read = (store_read) { .request = request, .index = index };
        clients_request(w, request)->passed_on = true;
        world_plan(w, LINK_US, (event) {
                .type = EVENT_STORE_READ, .node = (uint8_t) n->number, .tag = n->store.incarnation, .data = read,
        });
}

static void send_result(world *w, sim_node *n, uint64_t request, raft_index index, uint64_t value) {
        uint64_t *result = malloc(2 * sizeof *result);
        rq_assert(result != NULL);
        result[0] = index;
        result[1] = value;
        world_plan(w, LINK_US, (event) {
                .type = EVENT_RESULT, .node = (uint8_t) n->number, .tag = n->gateway, .number = request, .data = result,
        });
}

static void serve_reads(world *w, sim_node *n) {
        store *s = &n->store;
        store_read *list = (store_read *) (void *) s->reads.data;
        size_t count = s->reads.size / sizeof *list, kept = 0;
        for (size_t i = 0; i < count; i++) {
                if (list[i].index > s->now.applied) {
                        list[kept++] = list[i];
                        continue;
                }
                unsigned place = clients_place(w, list[i].request);
                send_result(w, n, list[i].request, s->now.applied, s->now.registers[place]);
        }
        s->reads.size = kept * sizeof *list;
}

static void apply(world *w, sim_node *n, const uint8_t *record) {
        store *s = &n->store;
        record_header header;
        rq_bytes body;
        request_body request;
        rq_err r = record_decode(rq_bytes_of(record, record_peek_bytes(record)), &header, &body);
        rq_assert(r >= 0);
        s->now.applied = header.index;
        s->now.term = header.term;
        s->now.clock_us = header.clock_us;
        s->now.digest = record_chain(s->now.digest, record);
        check_store_applied(w, n, &header);
        if (header.kind != RECORD_SQL || !request_decode(body, &request))
                return;
        s->now.registers[request.place] = request.number;
        if (request.node == n->number && request.gateway == n->gateway && header.index > s->told_before)
                send_result(w, n, request.number, header.index, 0);
}

/* What COMMITTED promises. */
static bool fits(const store *s, const batch_message *message) {
        return rq_uuid_equal(&message->batch.stream_id, &s->stream_id) && message->batch.previous == s->now.applied &&
               (s->now.applied == 0 || message->batch.previous_term == s->now.term);
}

void store_on_batch(world *w, sim_node *n, const event *e) {
        store *s = &n->store;
        batch_message *message = e->data;
        if (!s->up || e->tag != s->incarnation) {
                free(message);
                return;
        }
        if (!fits(s, message)) {
                /* Of a stream before: another was asked for. */
                if (rq_uuid_equal(&message->batch.stream_id, &s->stream_id))
                        world_fail(w, "store", "node %u: a batch behind index %lu comes to a store at %lu", n->number,
                                   (unsigned long) message->batch.previous, (unsigned long) s->now.applied);
                free(message);
                return;
        }
        const uint8_t *record = message->records;
        for (uint32_t i = 0; i < message->count && !w->failed; i++) {
                apply(w, n, record);
                record += record_peek_bytes(record);
        }
        free(message);
        serve_reads(w, n);
        store_give_up_if_beyond(n);
        if (s->now.applied > s->checkpoint.applied && world_chance(w, w->tuning.checkpoints)) {
                s->checkpoint = s->now;
                world_trace(w, (trace_record) { .event = TRACE_CHECKPOINT, .node = (uint8_t) n->number,
                        .peer = TRACE_NOBODY, .index = s->now.applied });
        }
        world_plan(w, LINK_US, (event) {
                .type = EVENT_STORE_APPLIED, .node = (uint8_t) n->number, .tag = n->incarnation,
                .number = s->incarnation,
        });
}

void store_on_read(world *w, sim_node *n, const event *e) {
        if (n->store.up && e->tag == n->store.incarnation) {
                rq_assert(rq_buf_append(&n->store.reads, e->data, sizeof(store_read)) >= 0);
                serve_reads(w, n);
        }
        free(e->data);
}

void store_on_applied(world *w, sim_node *n, const event *e) {
        store *s = &n->store;
        if (!n->up || e->tag != n->incarnation || !s->up || e->number != s->incarnation || !s->asked ||
            s->now.applied < s->told)
                return;
        s->told = s->now.applied;
        rq_err r = driver_applied(n->driver, s->now.applied, s->checkpoint.applied);
        if (r < 0)
                world_fail(w, "store", "node %u: APPLIED %lu is refused: %s", n->number, (unsigned long) s->now.applied,
                           rq_err_text(r));
        world_trace(w, (trace_record) { .event = TRACE_APPLIED, .node = (uint8_t) n->number, .peer = TRACE_NOBODY,
                .index = s->now.applied });
        node_wake(w, n);
}
