#include "feed.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "consensus.pb-c.h"
#include "log/log_fields.h"

enum {
        PIECES_MAX       = 64,
        PUT_OFF_US       = 5000,
        PUT_OFF_ENTRIES  = 1024,
        LINK_BYTES_MAX   = 32 * 1024 * 1024, /* queued to the store: then it is to read first */
};

/* Body and records of one message; the records come in pieces. */
static rq_err send_batch(consensus *c, ipc_link *link, const driver_batch *batch, uint32_t count,
                         const rq_bytes *pieces, size_t piece_count, size_t bytes) {
        Rq__Committed body = RQ__COMMITTED__INIT;
        uint8_t *space;
        rq_uuid stream_id = batch->stream_id;
        body.stream_id = (ProtobufCBinaryData) { .data = stream_id.bytes, .len = sizeof stream_id.bytes };
        body.first_index = batch->first;
        body.previous_index = batch->previous;
        body.previous_term = batch->previous_term;
        body.count = count;
        body.commit_index = batch->commit;

        size_t body_bytes = rq__committed__get_packed_size(&body);
        rq_err r = ipc_link_reserve(link, body_bytes, bytes, &space);
        if (r < 0)
                return r;
        (void) rq__committed__pack(&body, space);
        space += body_bytes;
        for (size_t i = 0; i < piece_count; i++) {
                memcpy(space, pieces[i].data, pieces[i].size);
                space += pieces[i].size;
        }
        ipc_link_commit(link, IPC_COMMITTED, 0, body_bytes, bytes);
        driver_batch_sent(c->driver, count, bytes);
        return RQ_OK;
}

static rq_err feed_from_memory(consensus *c, ipc_link *link, const driver_batch *batch) {
        rq_bytes pieces[PIECES_MAX];
        size_t piece_count = 0, bytes = 0;
        raft_index next = batch->first;
        while (next <= batch->last && piece_count < PIECES_MAX && bytes < batch->bytes_max) {
                raft_index last;
                rq_bytes piece = driver_entry_piece(c->driver, next, batch->last, batch->bytes_max - bytes, &last);
                if (piece_count > 0 && bytes + piece.size > batch->bytes_max)
                        break;
                pieces[piece_count++] = piece;
                bytes += piece.size;
                next = last + 1;
        }
        if (!driver_batch_fits(c->driver, bytes))
                return RQ_EAGAIN;
        return send_batch(c, link, batch, (uint32_t) (next - batch->first), pieces, piece_count, bytes);
}

static rq_err feed_from_disk(consensus *c, ipc_link *link, const driver_batch *batch) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        uint32_t count;
        c->records.size = 0;
        rq_err r = log_catalog_read(&c->catalog, batch->first, batch->last, batch->bytes_max, &c->records, &count, &problem);
        if (r == RQ_ECORRUPT) {
                const char *fields[] = { RQ_MSG_LOG_CORRUPT, NULL };
                return rq_log_error_(r, fields, "The log in %s is damaged: %.*s", c->o.dir_path, (int) problem.size, (const char *) problem.data);
        }
        if (r < 0)
                return rq_log_error(r, "Cannot read entry %" PRIu64 " of the log", batch->first);
        if (!driver_batch_fits(c->driver, c->records.size))
                return RQ_EAGAIN;
        rq_bytes piece = rq_buf_bytes(&c->records);
        r = send_batch(c, link, batch, count, &piece, 1, piece.size);
        if (c->records.capacity > 4 * STREAM_BATCH_BYTES)
                rq_buf_done(&c->records);
        return r;
}

static void feed_entries(consensus *c, ipc_link *link) {
        driver_batch batch;
        while (!c->feed_failed && ipc_link_queued_bytes(link) < LINK_BYTES_MAX && driver_next_batch(c->driver, &batch)) {
                rq_err r = batch.first > batch.last ? send_batch(c, link, &batch, 0, NULL, 0, 0)
                         : batch.in_memory ? feed_from_memory(c, link, &batch)
                         : feed_from_disk(c, link, &batch);
                if (r == RQ_EAGAIN || r == RQ_EFULL || r == RQ_EPIPE || r == RQ_ENOMEM)
                        break; /* again when the store acknowledges, or comes back */
                /* An entry that can't be read won't be readable in the next turn;
                 * a store that asks anew makes us try again. */
                c->feed_failed = r < 0;
        }
}

/* RQ_OK also if its gateway has gone. */
static rq_err send_read(consensus *c, ipc_link *link, request_origin from, raft_index index, uint64_t deadline_us, rq_bytes query) {
        uint8_t packed[64];
        consensus_gateway *gateway = consensus_gateway_of(c, from.gateway);
        const uint64_t now_us = rq_clock_mono_us();
        if (gateway == NULL)
                return RQ_OK;
        Rq__ReadAt body = RQ__READ_AT__INIT;
        rq_uuid incarnation = *ipc_link_incarnation(gateway->link);
        body.index = index;
        body.gateway = (ProtobufCBinaryData) { .data = incarnation.bytes, .len = sizeof incarnation.bytes };
        if (deadline_us != UINT64_MAX)
                body.timeout_us = deadline_us > now_us ? deadline_us - now_us : 1;
        rq_assert(rq__read_at__get_packed_size(&body) <= sizeof packed);
        size_t size = rq__read_at__pack(&body, packed);
        return ipc_link_send(link, IPC_READ_AT, from.request_id, rq_bytes_of(packed, size), query);
}

static void pass_on_reads(consensus *c, ipc_link *link) {
        for (read_request *read; (read = driver_next_read(c->driver)) != NULL;) {
                if (send_read(c, link, read->from, read->index, read->deadline_us, rq_bytes_of(read->query, read->query_bytes)) < 0)
                        break; /* stays ready until its deadline */
                driver_read_passed_on(c->driver, read);
        }
}

rq_err feed_local_read(consensus *c, request_origin from, raft_index index, uint64_t deadline_us, rq_bytes query) {
        ipc_link *link = c->store != NULL ? ipc_connector_link(c->store) : NULL;
        if (link == NULL || driver_stream(c->driver)->state != STREAM_OPEN)
                return RQ_ENOTLEADER;
        return send_read(c, link, from, index, deadline_us, query);
}

/* On a follower for whose clients nothing is under way, the store gets several commits in one: the
 * same entries in fewer transactions, and fewer wake-ups of four threads. */
static bool may_wait(consensus *c, uint64_t now_us) {
        const raft *r = driver_raft(c->driver);
        const stream *s = driver_stream(c->driver);
        bool idle = raft_role_of(r) != RAFT_LEADER && driver_pending_count(c->driver) == 0 && driver_read_count(c->driver) == 0;
        return idle && s->said_commit && now_us - c->fed_at_us < PUT_OFF_US && raft_appliable_of(r) - s->next < PUT_OFF_ENTRIES;
}

void feed_store(consensus *c) {
        ipc_link *link = c->store != NULL ? ipc_connector_link(c->store) : NULL;
        c->feed_due_us = 0;
        if (link == NULL)
                return;
        if (raft_appliable_of(driver_raft(c->driver)) >= driver_stream(c->driver)->next) {
                uint64_t now_us = rq_clock_mono_us();
                if (may_wait(c, now_us)) {
                        c->feed_due_us = c->fed_at_us + PUT_OFF_US;
                        return;
                }
                c->fed_at_us = now_us;
        }
        feed_entries(c, link);
        /* Behind the entries: the store waits for an index that is on its way. A
         * store that hasn't asked for its stream yet doesn't know what to wait for. */
        if (driver_stream(c->driver)->state == STREAM_OPEN)
                pass_on_reads(c, link);
}
