#include "core/write_queue.h"

#include <stdlib.h>

#include "base/assert.h"

void write_queue_init(write_queue *q, const write_queue_limits *limits, uint64_t first_sequence) {
        *q = (write_queue) { .limits = *limits, .next_sequence = first_sequence + 1 };
        rq_list_init(&q->waiting);
        rq_list_init(&q->in_flight);
}

static queued_write *first_of(const rq_list *list) {
        return rq_list_empty(list) ? NULL : RQ_LIST_ENTRY(list->next, queued_write, node);
}

void write_queue_free_write(queued_write *w) {
        rq_buf_done(&w->statements);
        free(w);
}

static void drop_all(rq_list *list) {
        for (queued_write *w; (w = first_of(list)) != NULL;) {
                rq_list_remove(&w->node);
                write_queue_free_write(w);
        }
}

void write_queue_done(write_queue *q) {
        drop_all(&q->in_flight);
        drop_all(&q->waiting);
        q->count = q->in_flight_count = q->bytes = 0;
}

bool write_queue_has_room(const write_queue *q, size_t bytes) {
        return q->count < q->limits.count_max && (q->bytes == 0 || q->bytes + bytes <= q->limits.bytes_max);
}

rq_err write_queue_add(write_queue *q, rq_buf *take_statements, uint32_t statement_count, bool transaction, uint64_t now_us,
                       queued_write **ret_write) {
        queued_write *w = malloc(sizeof *w);
        if (w == NULL)
                return RQ_ENOMEM;
        *w = (queued_write) {
                .sequence = q->next_sequence++, .queued_us = now_us, .statements = *take_statements,
                .statement_count = statement_count, .transaction = transaction,
        };
        *take_statements = (rq_buf) {0};
        rq_list_append(&q->waiting, &w->node);
        q->count++;
        q->bytes += w->statements.size;
        if (statement_count == 0)
                write_queue_flush(q);
        *ret_write = w;
        return RQ_OK;
}

void write_queue_flush(write_queue *q) { q->flush_to = q->next_sequence - 1; }

uint64_t write_queue_due_us(const write_queue *q) {
        const queued_write *w = first_of(&q->waiting);
        if (w == NULL || q->in_flight_count > 0)
                return UINT64_MAX;
        if (q->flushing || w->sequence <= q->flush_to || w->sequence <= q->alone_to || q->count >= q->limits.batch_count)
                return 0;
        return w->queued_us + q->limits.batch_wait_us;
}

size_t write_queue_take(write_queue *q) {
        size_t bytes = 0;
        rq_assert(q->in_flight_count == 0);
        for (queued_write *w; (w = first_of(&q->waiting)) != NULL;) {
                bool follows = q->in_flight_count > 0;
                if (follows && (bytes + w->statements.size > q->limits.batch_bytes_max || w->sequence <= q->alone_to + 1))
                        break;
                rq_list_remove(&w->node);
                rq_list_append(&q->in_flight, &w->node);
                q->in_flight_count++;
                bytes += w->statements.size;
        }
        return q->in_flight_count;
}

/* What is on its way was taken from the front, in order. */
bool write_queue_is_in_flight(const write_queue *q, const queued_write *write) {
        return q->in_flight_count > 0 && write->sequence <= RQ_LIST_ENTRY(q->in_flight.prev, queued_write, node)->sequence;
}

void write_queue_put_back(write_queue *q, bool alone) {
        if (alone && !rq_list_empty(&q->in_flight))
                q->alone_to = RQ_LIST_ENTRY(q->in_flight.prev, queued_write, node)->sequence;
        while (!rq_list_empty(&q->in_flight)) {
                rq_list *last = q->in_flight.prev;
                rq_list_remove(last);
                rq_list_append(q->waiting.next, last); /* before the first */
        }
        q->in_flight_count = 0;
}

queued_write *write_queue_next_ended(write_queue *q) {
        queued_write *w = first_of(&q->in_flight);
        if (w == NULL)
                return NULL;
        rq_list_remove(&w->node);
        q->in_flight_count--;
        q->count--;
        q->bytes -= w->statements.size;
        q->done_sequence = w->sequence;
        return w;
}

/* Behind the string that begins at `at`; SIZE_MAX: it has no end. */
static size_t skip_string(rq_bytes text, size_t at) {
        for (at++; at < text.size; at++) {
                if (text.data[at] == '\\')
                        at++;
                else if (text.data[at] == '"')
                        return at + 1;
        }
        return SIZE_MAX;
}

bool write_queue_next_result(rq_bytes answer, size_t *at, rq_bytes *ret_error) {
        static const char results[] = "{\"results\":[", error[] = "{\"error\":";
        if (*at == 0) {
                if (answer.size < sizeof results - 1 || memcmp(answer.data, results, sizeof results - 1) != 0)
                        return false;
                *at = sizeof results - 1;
        }
        rq_bytes rest = rq_bytes_of(answer.data + *at, answer.size - *at);
        if (rest.size > 0 && rest.data[0] == ',') {
                rest = rq_bytes_of(rest.data + 1, rest.size - 1);
                (*at)++;
        }
        *ret_error = (rq_bytes) {0};
        if (rest.size >= 2 && memcmp(rest.data, "{}", 2) == 0) {
                *at += 2;
                return true;
        }
        if (rest.size <= sizeof error || memcmp(rest.data, error, sizeof error - 1) != 0 || rest.data[sizeof error - 1] != '"')
                return false;
        size_t end = skip_string(rest, sizeof error - 1);
        if (end >= rest.size || rest.data[end] != '}')
                return false;
        *ret_error = rq_bytes_of(rest.data + sizeof error - 1, end - (sizeof error - 1));
        *at += end + 1;
        return true;
}
