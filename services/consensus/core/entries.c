#include "core/entries.h"

#include <stdlib.h>

#include "base/assert.h"

enum {
        CHUNK_BYTES = 1024 * 1024,
        PLACES_KEPT = 64, /* for entries_append(): a new term must not need a confirmation to begin, nor the other way round */
};

/* Filled from the front and never reused before it is freed: a reader of what
 * lies in it needs no copy. */
typedef struct chunk {
        struct chunk *next;
        uint32_t entry_count; /* held or staged */
        uint64_t wanted_until; /* 0, or the accepted term whose persist must be confirmed before it goes */
        size_t size, used;
        uint8_t bytes[];
} chunk;

typedef struct slot {
        chunk *in;
        uint32_t offset, bytes;
} slot;

struct entries {
        slot slots[ENTRIES_COUNT_MAX]; /* ring by index: held, then staged */
        uint64_t first, last;          /* held: first .. last */
        uint32_t staged;
        uint64_t bytes;                /* held and staged */
        uint64_t replaced_bytes;       /* in chunks that are wanted until a confirmation */
        uint64_t confirmed_term;
        bool has_gaps;                 /* chunks that aren't the oldest may be free */
        chunk *oldest, *newest;
};

entries *entries_new(uint64_t last_index) {
        entries *e = calloc(1, sizeof *e);
        if (e != NULL) {
                e->first = last_index + 1;
                e->last = last_index;
        }
        return e;
}

entries *entries_free(entries *e) {
        if (e == NULL)
                return NULL;
        for (chunk *c = e->oldest, *next; c != NULL; c = next) {
                next = c->next;
                free(c);
        }
        free(e);
        return NULL;
}

static slot *slot_of(const entries *e, uint64_t index) {
        return (slot *) (uintptr_t) &e->slots[index & (ENTRIES_COUNT_MAX - 1)];
}

static chunk *chunk_for(entries *e, size_t size) {
        if (e->newest != NULL && e->newest->size - e->newest->used >= size)
                return e->newest;
        chunk *c = malloc(sizeof *c + (size > CHUNK_BYTES ? size : CHUNK_BYTES));
        if (c == NULL)
                return NULL;
        *c = (chunk) { .size = size > CHUNK_BYTES ? size : CHUNK_BYTES };
        if (e->newest != NULL)
                e->newest->next = c;
        else
                e->oldest = c;
        e->newest = c;
        return c;
}

/* The chunk has room. */
static void put_slot(entries *e, uint64_t index, chunk *c, size_t size) {
        *slot_of(e, index) = (slot) { .in = c, .offset = (uint32_t) c->used, .bytes = (uint32_t) size };
        c->used += size;
        c->entry_count++;
        e->bytes += size;
}

static uint64_t count_of(const entries *e) { return e->last - e->first + 1 + e->staged; }

rq_err entries_stage(entries *e, rq_bytes body) {
        if (count_of(e) + PLACES_KEPT >= ENTRIES_COUNT_MAX)
                return RQ_EFULL;
        size_t size = RECORD_HEADER_BYTES + body.size;
        chunk *c = chunk_for(e, size);
        if (c == NULL)
                return RQ_ENOMEM;
        if (body.size > 0)
                memcpy(c->bytes + c->used + RECORD_HEADER_BYTES, body.data, body.size);
        put_slot(e, e->last + 1 + e->staged, c, size);
        e->staged++;
        return RQ_OK;
}

uint32_t entries_staged(const entries *e) { return e->staged; }

static rq_bytes body_of(const slot *s) {
        return rq_bytes_of(s->in->bytes + s->offset + RECORD_HEADER_BYTES, s->bytes - RECORD_HEADER_BYTES);
}

rq_bytes entries_staged_body(const entries *e, uint32_t place) {
        rq_assert(place < e->staged);
        return body_of(slot_of(e, e->last + 1 + place));
}

void entries_accept(entries *e, record_header *header) {
        rq_assert(e->staged > 0 && header->index == e->last + 1);
        const slot *s = slot_of(e, header->index);
        record_header_encode(s->in->bytes + s->offset, header, body_of(s));
        e->last++;
        e->staged--;
}

static void free_oldest(entries *e) {
        while (e->oldest != e->newest && e->oldest->entry_count == 0 && e->oldest->wanted_until == 0) {
                chunk *next = e->oldest->next;
                free(e->oldest);
                e->oldest = next;
        }
}

static chunk *forget(entries *e, uint64_t index) {
        slot *s = slot_of(e, index);
        chunk *c = s->in;
        e->bytes -= s->bytes;
        c->entry_count--;
        *s = (slot) {0};
        return c;
}

void entries_unstage(entries *e) {
        for (; e->staged > 0; e->staged--)
                (void) forget(e, e->last + e->staged);
}

rq_err entries_reserve(entries *e, uint32_t count, size_t bytes) {
        if (count > 0 && count_of(e) + count + PLACES_KEPT > ENTRIES_COUNT_MAX)
                return RQ_EFULL;
        return chunk_for(e, bytes) == NULL ? RQ_ENOMEM : RQ_OK;
}

void entries_append(entries *e, record_header *header, rq_bytes body) {
        size_t size = RECORD_HEADER_BYTES + body.size;
        chunk *c = e->newest;
        rq_assert(c != NULL && c->size - c->used >= size && count_of(e) < ENTRIES_COUNT_MAX && header->index == e->last + 1);
        for (uint64_t place = e->staged; place > 0; place--)
                *slot_of(e, e->last + 1 + place) = *slot_of(e, e->last + place);
        uint8_t *record = c->bytes + c->used;
        if (body.size > 0)
                memcpy(record + RECORD_HEADER_BYTES, body.data, body.size);
        record_header_encode(record, header, rq_bytes_of(record + RECORD_HEADER_BYTES, body.size));
        put_slot(e, ++e->last, c, size);
}

void entries_take(entries *e, uint64_t index, rq_bytes records) {
        chunk *c = e->newest;
        rq_assert(e->staged == 0 && index == e->last + 1 && c != NULL && c->size - c->used >= records.size);
        memcpy(c->bytes + c->used, records.data, records.size);
        for (size_t at = 0, size; at < records.size; at += size) {
                size = record_peek_bytes(records.data + at);
                put_slot(e, ++e->last, c, size);
        }
        rq_assert(count_of(e) <= ENTRIES_COUNT_MAX);
}

void entries_truncate(entries *e, uint64_t index, uint64_t accepted_term) {
        rq_assert(e->staged == 0 && index > 0);
        for (; e->last >= index && e->last >= e->first; e->last--) {
                chunk *c = forget(e, e->last);
                if (accepted_term <= e->confirmed_term)
                        continue;
                if (c->wanted_until == 0)
                        e->replaced_bytes += c->size;
                c->wanted_until = accepted_term;
        }
        e->has_gaps = true;
        if (e->first > index)
                e->first = index;
        if (e->last >= index)
                e->last = index - 1;
}

void entries_confirmed(entries *e, uint64_t accepted_term) {
        if (accepted_term <= e->confirmed_term)
                return;
        e->confirmed_term = accepted_term;
        e->has_gaps |= e->replaced_bytes > 0;
}

/* Frees what lost its entries in the middle, too: what is older may stay for long. */
static void free_gaps(entries *e) {
        chunk **at = &e->oldest, *before = NULL;
        while (*at != NULL) {
                chunk *c = *at;
                if (c->wanted_until != 0 && c->wanted_until <= e->confirmed_term) {
                        e->replaced_bytes -= c->size;
                        c->wanted_until = 0;
                }
                if (c->entry_count == 0 && c->wanted_until == 0 && c != e->newest) {
                        *at = c->next;
                        free(c);
                        continue;
                }
                before = c;
                at = &c->next;
        }
        e->newest = before;
        e->has_gaps = false;
}

void entries_trim(entries *e, uint64_t durable_index) {
        /* Half of the places stay free for what comes in. */
        while (e->first <= e->last && e->first <= durable_index &&
               (e->bytes > ENTRIES_BYTES || e->last - e->first >= ENTRIES_COUNT_MAX / 2))
                (void) forget(e, e->first++);
        if (e->has_gaps)
                free_gaps(e);
        else
                free_oldest(e);
}

uint64_t entries_first(const entries *e) { return e->first; }
uint64_t entries_last(const entries *e) { return e->last; }
uint64_t entries_bytes(const entries *e) { return e->bytes; }
uint64_t entries_replaced_bytes(const entries *e) { return e->replaced_bytes; }

rq_bytes entries_piece(const entries *e, uint64_t first_index, uint64_t last_index, size_t bytes_max,
                       uint64_t *ret_last_index) {
        rq_assert(first_index >= e->first && first_index <= last_index && last_index <= e->last);
        const slot *s = slot_of(e, first_index);
        rq_bytes piece = rq_bytes_of(s->in->bytes + s->offset, s->bytes);
        uint64_t index = first_index;
        for (; index < last_index; index++) {
                const slot *next = slot_of(e, index + 1);
                if (next->in != s->in || next->offset != s->offset + piece.size || piece.size + next->bytes > bytes_max)
                        break;
                piece.size += next->bytes;
        }
        *ret_last_index = index;
        return piece;
}
