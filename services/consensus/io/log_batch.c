#include "io/log_batch.h"

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "record.h"

enum {
        RESERVE_BYTES       = 256 * 1024,    /* for entries that are not asked for: a new term's, barriers */
        SCARCE_RECORD_BYTES = 64 * 1024,     /* largest entry taken while space is scarce */
        UNIT_OVERHEAD_BYTES = UNIT_HEADER_BYTES + UNIT_ALIGN,
};

enum { STEP_HARD, STEP_ENTRIES, STEP_SYNC, STEP_DROP };

static bool extend_last(log_queue *queue, const log_write *write, uint64_t sequence) {
        if (queue->items.size == 0 || write->hard || write->drop_first_index != 0)
                return false;
        log_queued *last = (log_queued *) (void *) (queue->items.data + queue->items.size - sizeof *last);
        log_write *l = &last->write;
        if (l->hard || l->first_index == 0 || l->drop_first_index != 0 || l->last_index + 1 != write->first_index ||
            l->records.data + l->records.size != write->records.data)
                return false;
        l->last_index = write->last_index;
        l->last_term = write->last_term;
        l->last_clock_us = write->last_clock_us;
        l->records.size += write->records.size;
        last->sequence = sequence;
        return true;
}

rq_err log_queue_add(log_queue *queue, const log_write *write, uint64_t *ret_sequence) {
        rq_assert(write->first_index == 0 || write->records.size >= RECORD_HEADER_BYTES);
        uint64_t sequence = queue->submitted + 1;
        if (!extend_last(queue, write, sequence)) {
                log_queued q = { .write = *write, .sequence = sequence };
                rq_err r = rq_buf_append(&queue->items, &q, sizeof q);
                if (r < 0)
                        return r;
        }
        *ret_sequence = queue->submitted = sequence;
        return RQ_OK;
}

void log_queue_take(log_queue *queue, rq_buf *batch) {
        rq_buf taken = queue->items;
        batch->size = 0;
        queue->items = *batch;
        *batch = taken;
}

rq_err log_batch_open(const log_place_options *options, hardstate_file *take_hardstate, log_batch *ret_batch) {
        log_batch b = { .hard = RQ_TAKE(*take_hardstate, (hardstate_file) { .fd = -1 }), .place = { .fd = -1 } };
        rq_err r = log_place_open(options, &b.place);
        if (r < 0) {
                hardstate_close(&b.hard);
                return r;
        }
        *ret_batch = b;
        return RQ_OK;
}

void log_batch_close(log_batch *b) {
        log_place_close(&b->place);
        hardstate_close(&b->hard);
}

static rq_err write_hardstate(log_batch *b, const log_queued *items, size_t count) {
        const hardstate *newest = NULL;
        for (size_t i = 0; i < count; i++)
                if (items[i].write.hard)
                        newest = &items[i].write.state;
        if (newest == NULL)
                return RQ_OK;
        uint64_t start = rq_clock_mono_us();
        rq_err r = hardstate_write(&b->hard, newest);
        log_place_count_sync(&b->place, rq_clock_mono_us() - start);
        b->hard_writes++;
        return r;
}

static rq_err add_entries(log_batch *b, const log_queued *items, size_t count) {
        for (; b->at < count; b->at++) {
                if (items[b->at].write.first_index == 0)
                        continue;
                rq_err r = log_place_add(&b->place, &items[b->at].write);
                if (r == RQ_ENOSPC && b->at > 0 && log_place_is_synced(&b->place))
                        b->durable = items[b->at - 1].sequence;
                if (r < 0)
                        return r;
        }
        return RQ_OK;
}

static rq_err drop_segments(log_batch *b, const log_queued *items, size_t count) {
        rq_err r = RQ_OK;
        for (size_t i = 0; r >= 0 && i < count; i++)
                if (items[i].write.drop_first_index != 0)
                        r = log_place_drop(&b->place, items[i].write.drop_first_index, items[i].write.drop_bytes);
        return r;
}

rq_err log_batch_perform(log_batch *b, const log_queued *items, size_t count) {
        for (; b->step <= STEP_DROP; b->step++, b->at = 0) {
                rq_err r;
                switch (b->step) {
                /* before the entries: one whose term isn't in the hard state would look like a vote that was lost */
                case STEP_HARD:
                        b->batches++;
                        r = write_hardstate(b, items, count);
                        break;
                case STEP_ENTRIES:
                        r = add_entries(b, items, count);
                        break;
                case STEP_SYNC:
                        r = log_place_sync(&b->place);
                        break;
                default:
                        r = drop_segments(b, items, count);
                        break;
                }
                if (r < 0)
                        return r;
        }
        b->step = STEP_HARD;
        b->durable = items[count - 1].sequence;
        return RQ_OK;
}

rq_err log_batch_admits(const log_batch *b, bool stalled, uint64_t room_bytes, uint64_t record_bytes,
                        uint64_t pending_bytes) {
        const log_place *place = &b->place;
        if (record_bytes > place->segment_bytes / 2) {
                int64_t space = place->io->free_bytes(place->io->arg, place->dir_fd);
                if (space >= 0 && (uint64_t) space < record_bytes + pending_bytes + 2 * place->segment_bytes)
                        return RQ_ENOSPC;
        }
        if (!stalled && !log_spare_is_full(place->spare))
                return RQ_OK;

        /* Only what is allocated already counts now; a segment's end is wasted
         * when the next entry doesn't fit. */
        uint64_t of_spare = place->segment_bytes > SEGMENT_DATA_AT + SCARCE_RECORD_BYTES
                          ? place->segment_bytes - SEGMENT_DATA_AT - SCARCE_RECORD_BYTES : 0;
        room_bytes += log_spare_ready(place->spare) * of_spare;
        uint64_t wanted = pending_bytes + record_bytes + UNIT_OVERHEAD_BYTES + RESERVE_BYTES;
        return !stalled && record_bytes <= SCARCE_RECORD_BYTES && wanted <= room_bytes ? RQ_OK : RQ_ENOSPC;
}
