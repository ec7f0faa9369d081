#include "dispatch.h"

#include <stdlib.h>

#include "arena.h"
#include "consensus.pb-c.h"
#include "core/snapshot_chunk.h"
#include "io/state_file.h"
#include "log/log.h"
#include "snapshots.h"
#include "status.h"
#include "store.pb-c.h"

enum { SMALL_BODY_BYTES = 256 };

static bool uuid_of(const ProtobufCBinaryData *bytes, rq_uuid *ret_uuid) {
        if (bytes->len != RQ_UUID_BYTES)
                return false;
        memcpy(ret_uuid->bytes, bytes->data, RQ_UUID_BYTES);
        return true;
}

static rq_err on_committed(void *arg, ipc_link *link, const ipc_frame *frame) {
        store *s = arg;
        Rq__Committed *m;
        committed_batch batch;
        if (link != s->consensus) /* the one before it, not yet gone */
                return RQ_OK;
        m = rq__committed__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL || !uuid_of(&m->stream_id, &batch.stream_id)) {
                rq__committed__free_unpacked(m, NULL);
                return RQ_EPROTO;
        }
        batch.first_index = m->first_index;
        batch.previous_index = m->previous_index;
        batch.previous_term = m->previous_term;
        batch.count = m->count;
        uint64_t commit_index = m->commit_index;
        rq__committed__free_unpacked(m, NULL);
        return store_committed(s, &batch, commit_index, frame->payload);
}

static rq_err on_set_aside(void *arg, ipc_link *link, const ipc_frame *frame) {
        store *s = arg;
        Rq__SetAside *m = rq__set_aside__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL)
                return RQ_EPROTO;
        if (link == s->consensus)
                store_set_aside(s, m->index, m->own_hash, m->majority_hash);
        rq__set_aside__free_unpacked(m, NULL);
        return RQ_OK;
}

static rq_err on_misfit(void *arg, ipc_link *link, const ipc_frame *frame) {
        store *s = arg;
        Rq__Misfit *m = rq__misfit__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL)
                return RQ_EPROTO;
        if (link == s->consensus)
                store_misfit(s, rq_bytes_text(m->reason));
        rq__misfit__free_unpacked(m, NULL);
        return RQ_OK;
}

static rq_err on_read_at(void *arg, ipc_link *link, const ipc_frame *frame) {
        store *s = arg;
        rq_uuid incarnation;
        (void) link;
        Rq__ReadAt *m = rq__read_at__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL || !uuid_of(&m->gateway, &incarnation)) {
                rq__read_at__free_unpacked(m, NULL);
                return RQ_EPROTO;
        }
        const read_ask ask = {
                .request_id = frame->request_id, .query = frame->payload,
                .index = m->index, .timeout_us = m->timeout_us, .ordered = true,
        };
        rq__read_at__free_unpacked(m, NULL);

        /* Gone, or not yet back: it asks again, if anybody still waits. */
        gateway *gw = gateways_find(&s->gateways, &incarnation);
        return gw == NULL ? RQ_OK : reads_start(s->reads, gw, &ask);
}

static rq_err on_query(void *arg, ipc_link *link, const ipc_frame *frame) {
        store *s = arg;
        gateway *gw = gateways_of_link(link);
        const read_ask ask = { .request_id = frame->request_id, .query = frame->payload };
        return gw == NULL ? RQ_OK : reads_start(s->reads, gw, &ask);
}

static rq_err on_credit(void *arg, ipc_link *link, const ipc_frame *frame) {
        store *s = arg;
        gateway *gw = gateways_of_link(link);
        Rq__Credit *m = rq__credit__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL)
                return RQ_EPROTO;
        uint64_t bytes = m->bytes;
        rq__credit__free_unpacked(m, NULL);

        request *req = gw != NULL ? request_find(gw, frame->request_id) : NULL;
        if (req != NULL && req->kind == REQUEST_READ)
                reads_credit(s->reads, req, bytes);
        else if (req != NULL)
                results_credit(s->results, req, bytes);
        return RQ_OK; /* none: its last piece is on the way */
}

static rq_err on_cancel(void *arg, ipc_link *link, const ipc_frame *frame) {
        store *s = arg;
        gateway *gw = gateways_of_link(link);
        request *req = gw != NULL ? request_find(gw, frame->request_id) : NULL;
        if (req != NULL && req->kind == REQUEST_READ)
                reads_cancel(s->reads, req);
        else if (req != NULL)
                results_cancel(s->results, req);
        return RQ_OK;
}

static rq_err on_checkpoint(void *arg, ipc_link *link, const ipc_frame *frame) {
        store *s = arg;
        (void) link;
        (void) frame;
        apply_thread_checkpoint(s->writer);
        return RQ_OK;
}

static rq_err on_status_get(void *arg, ipc_link *link, const ipc_frame *frame) {
        char *json = status_json(arg);
        if (json == NULL)
                return RQ_ENOMEM;
        rq_err r = ipc_link_send(link, IPC_STATUS, frame->request_id, (rq_bytes) {0}, rq_bytes_text(json));
        free(json);
        return r;
}

static void on_up(void *arg, ipc_link *link) {
        if (ipc_link_role(link) == IPC_CONSENSUS)
                store_consensus_up(arg, link);
        else if (ipc_link_role(link) == IPC_GATEWAY)
                store_gateway_up(arg, link);
}

static void on_down(void *arg, ipc_link *link) {
        if (ipc_link_role(link) == IPC_CONSENSUS)
                store_consensus_down(arg, link);
        else if (ipc_link_role(link) == IPC_GATEWAY)
                store_gateway_down(arg, link);
}

/* Frames of snapshots: consensus' own link, not the one before it. */
typedef rq_err (*snapshot_handler)(snapshots *n, const ipc_frame *frame);

static rq_err on_snapshot(void *arg, ipc_link *link, const ipc_frame *frame) {
        static const snapshot_handler handlers[] = {
                [IPC_SNAPSHOT_OPEN - IPC_SNAPSHOT_OPEN] = snapshots_on_open, [IPC_SNAPSHOT_READ - IPC_SNAPSHOT_OPEN] = snapshots_on_read,
                [IPC_SNAPSHOT_CLOSE - IPC_SNAPSHOT_OPEN] = snapshots_on_close, [IPC_INSTALL_BEGIN - IPC_SNAPSHOT_OPEN] = snapshots_on_begin,
                [IPC_INSTALL_CHUNK - IPC_SNAPSHOT_OPEN] = snapshots_on_chunk, [IPC_INSTALL_COMMIT - IPC_SNAPSHOT_OPEN] = snapshots_on_commit,
        };
        store *s = arg;
        return link == s->consensus ? handlers[frame->type - IPC_SNAPSHOT_OPEN](s->snapshots, frame) : RQ_OK;
}

static const ipc_rule rules[] = {
        { IPC_COMMITTED,  IPC_CONSENSUS,               SMALL_BODY_BYTES, IPC_PAYLOAD_BYTES_MAX, on_committed },
        { IPC_READ_AT,    IPC_CONSENSUS,               SMALL_BODY_BYTES, IPC_PAYLOAD_BYTES_MAX, on_read_at },
        { IPC_SET_ASIDE,  IPC_CONSENSUS,               SMALL_BODY_BYTES, 0,                     on_set_aside },
        { IPC_MISFIT,     IPC_CONSENSUS,               SMALL_BODY_BYTES, 0,                     on_misfit },
        { IPC_QUERY,      IPC_GATEWAY,                 SMALL_BODY_BYTES, IPC_PAYLOAD_BYTES_MAX, on_query },
        { IPC_CREDIT,     IPC_GATEWAY,                 SMALL_BODY_BYTES, 0,                     on_credit },
        { IPC_CANCEL,     IPC_GATEWAY,                 SMALL_BODY_BYTES, 0,                     on_cancel },
        { IPC_CHECKPOINT, IPC_GATEWAY,                 SMALL_BODY_BYTES, 0,                     on_checkpoint },
        { IPC_SNAPSHOT_OPEN,  IPC_CONSENSUS, SMALL_BODY_BYTES, 0, on_snapshot },
        { IPC_SNAPSHOT_READ,  IPC_CONSENSUS, SMALL_BODY_BYTES, 0, on_snapshot },
        { IPC_SNAPSHOT_CLOSE, IPC_CONSENSUS, SMALL_BODY_BYTES, 0, on_snapshot },
        { IPC_INSTALL_BEGIN,  IPC_CONSENSUS, SMALL_BODY_BYTES, STATE_FILE_BYTES_MAX, on_snapshot },
        { IPC_INSTALL_CHUNK,  IPC_CONSENSUS, SMALL_BODY_BYTES, SNAPSHOT_CHUNK_BYTES, on_snapshot },
        { IPC_INSTALL_COMMIT, IPC_CONSENSUS, SMALL_BODY_BYTES, 0, on_snapshot },
        { IPC_STATUS_GET, IPC_GATEWAY | IPC_CONSENSUS | IPC_BACKUP, SMALL_BODY_BYTES, 0,        on_status_get },
};

ipc_handlers dispatch_handlers(store *s) {
        return (ipc_handlers) {
                .rules = rules, .rule_count = sizeof rules / sizeof rules[0],
                .on_up = on_up, .on_down = on_down, .arg = s,
        };
}
