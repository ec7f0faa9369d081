#include "core/stream.h"

#include <string.h>

#include "base/assert.h"

static const char *misfit(const stream_fetch *fetch, const raft_trail *trail, const rq_uuid *database_id) {
        if (!rq_uuid_is_zero(&fetch->database_id) && !rq_uuid_equal(&fetch->database_id, database_id))
                return "it belongs to another cluster";
        if (fetch->from == 0)
                return "it asks for an entry that can't exist";
        raft_index applied = fetch->from - 1;
        if (applied > trail->last)
                return "it has applied entries that the log doesn't have";
        if (applied < trail->base_index)
                return "it needs entries that the log doesn't have any more";
        if (raft_trail_term_at(trail, applied) != fetch->applied_term)
                return "it has applied another entry than the log has";
        return NULL;
}

rq_err stream_open(stream *s, const stream_fetch *fetch, const rq_uuid *id, const raft_trail *trail,
                   const rq_uuid *database_id) {
        const char *reason = misfit(fetch, trail, database_id);
        *s = (stream) { .state = STREAM_MISFIT, .misfit = reason, .checkpoint = s->checkpoint };
        s->foreign = !rq_uuid_is_zero(&fetch->database_id) && !rq_uuid_equal(&fetch->database_id, database_id);
        if (reason != NULL)
                return RQ_EDIVERGED;
        s->state = STREAM_OPEN;
        s->id = *id;
        s->next = fetch->from;
        s->applied = fetch->from - 1;
        s->checkpoint = fetch->checkpoint < fetch->from ? fetch->checkpoint : s->applied;
        return RQ_OK;
}

void stream_close(stream *s) {
        *s = (stream) { .state = STREAM_CLOSED, .applied = s->applied, .checkpoint = s->checkpoint };
}

bool stream_wants(const stream *s, raft_index commit, bool commit_known, raft_index *ret_first,
                  raft_index *ret_last, uint64_t *ret_bytes) {
        if (s->state != STREAM_OPEN || !commit_known)
                return false;
        uint64_t room = STREAM_WINDOW_BYTES > s->in_flight_bytes ? STREAM_WINDOW_BYTES - s->in_flight_bytes : 0;
        bool entries = commit >= s->next && room > 0 && (room >= s->held_bytes || s->in_flight_bytes == 0);
        if (!entries && s->said_commit)
                return false;
        *ret_first = s->next;
        *ret_last = entries ? commit : s->next - 1;
        *ret_bytes = room < STREAM_BATCH_BYTES ? room : STREAM_BATCH_BYTES;
        return true;
}

bool stream_fits(stream *s, uint64_t bytes) {
        bool fits = s->in_flight_bytes == 0 || s->in_flight_bytes + bytes <= STREAM_WINDOW_BYTES;
        s->held_bytes = fits ? 0 : bytes;
        return fits;
}

void stream_sent(stream *s, uint32_t count, uint64_t bytes) {
        s->said_commit = true;
        if (count == 0)
                return;
        s->next += count;
        s->in_flight_bytes += bytes;
        if (s->tail - s->head == STREAM_BATCHES_MAX) {
                typeof(s->sent[0]) *last = &s->sent[(s->tail - 1) % STREAM_BATCHES_MAX];
                last->last = s->next - 1;
                last->bytes += bytes;
                return;
        }
        s->sent[s->tail++ % STREAM_BATCHES_MAX] = (typeof(s->sent[0])) { .last = s->next - 1, .bytes = bytes };
}

rq_err stream_acknowledged(stream *s, raft_index applied, raft_index checkpoint) {
        if (s->state != STREAM_OPEN)
                return RQ_OK; /* of a stream that is over */
        if (applied < s->applied || applied >= s->next || checkpoint > applied)
                return RQ_EPROTO;
        s->applied = applied;
        if (checkpoint > s->checkpoint)
                s->checkpoint = checkpoint;
        while (s->head != s->tail && s->sent[s->head % STREAM_BATCHES_MAX].last <= applied)
                s->in_flight_bytes -= s->sent[s->head++ % STREAM_BATCHES_MAX].bytes;
        return RQ_OK;
}
