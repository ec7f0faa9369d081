#include "core/commit_stream.h"

#include "record.h"

void commit_stream_reset(commit_stream *s) { *s = (commit_stream) {0}; }

void commit_stream_asked(commit_stream *s, uint64_t index, uint64_t term) {
        s->phase = STREAM_ASKED;
        s->index = index;
        s->term = term;
}

commit_stream_verdict commit_stream_judge(commit_stream *s, const committed_batch *batch) {
        if (s->phase == STREAM_NONE)
                return STREAM_IGNORE;
        bool same = rq_uuid_equal(&s->id, &batch->stream_id);
        if (s->phase == STREAM_ASKED) {
                /* What was on its way when we asked anew still has the old id. */
                if (same || rq_uuid_is_zero(&batch->stream_id))
                        return STREAM_IGNORE;
                s->id = batch->stream_id;
                s->phase = STREAM_RUNNING;
        } else if (!same) {
                return STREAM_IGNORE;
        }
        if (batch->count == 0) /* tells the commit index only */
                return STREAM_TAKE;
        if (batch->previous_index != s->index || batch->previous_term != s->term ||
            batch->first_index != s->index + 1)
                return STREAM_ASK_AGAIN;
        return STREAM_TAKE;
}

rq_err commit_stream_check(const committed_batch *batch, rq_bytes records,
                           uint64_t *ret_last_term, uint64_t *ret_newest_clock_us) {
        uint64_t term = batch->previous_term, newest_clock_us = 0;
        for (uint32_t i = 0; i < batch->count; i++) {
                record_header header;
                if (records.size < RECORD_HEADER_BYTES)
                        return RQ_EPROTO;
                rq_err r = record_header_decode(records.data, &header);
                if (r < 0)
                        return r;
                size_t size = RECORD_HEADER_BYTES + (size_t) header.body_bytes;
                if (header.index != batch->first_index + i || size > records.size)
                        return RQ_EPROTO;
                term = header.term;
                if (newest_clock_us < header.clock_us)
                        newest_clock_us = header.clock_us;
                records = rq_bytes_of(records.data + size, records.size - size);
        }
        if (records.size > 0)
                return RQ_EPROTO;
        *ret_last_term = term;
        *ret_newest_clock_us = newest_clock_us;
        return RQ_OK;
}

void commit_stream_taken(commit_stream *s, uint64_t last_index, uint64_t last_term) {
        s->index = last_index;
        s->term = last_term;
}
