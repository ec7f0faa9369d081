#include "core/entries.h"

#include <stdlib.h>

#include "base/assert.h"

enum { CHUNK_BYTES = 1024 * 1024, STAGED_MAX = ENTRIES_COUNT_MAX };

/* Filled from the front and never reused before it is freed: a reader of what
 * lies in it needs no copy. */
typedef struct chunk {
        struct chunk *next;
        uint32_t entry_count; /* held or staged */
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
        uint32_t staged_bytes[STAGED_MAX];
        uint64_t bytes;                /* held and staged */
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

rq_err entries_stage(entries *e, rq_bytes body) {
        if (e->last - e->first + 1 + e->staged >= ENTRIES_COUNT_MAX)
                return RQ_EFULL;
        size_t size = RECORD_HEADER_BYTES + body.size;
        chunk *c = chunk_for(e, size);
        if (c == NULL)
                return RQ_ENOMEM;
        if (body.size > 0)
                memcpy(c->bytes + c->used + RECORD_HEADER_BYTES, body.data, body.size);
        *slot_of(e, e->last + 1 + e->staged) = (slot) { .in = c, .offset = (uint32_t) c->used, .bytes = (uint32_t) size };
        e->staged_bytes[e->staged++] = (uint32_t) size;
        c->used += size;
        c->entry_count++;
        e->bytes += size;
        return RQ_OK;
}

uint32_t entries_staged(const entries *e) { return e->staged; }
const uint32_t *entries_staged_bytes(const entries *e) { return e->staged_bytes; }

void entries_accept(entries *e, record_header *header) {
        rq_assert(e->staged > 0 && header->index == e->last + 1);
        const slot *s = slot_of(e, header->index);
        uint8_t *record = s->in->bytes + s->offset;
        record_header_encode(record, header, rq_bytes_of(record + RECORD_HEADER_BYTES, s->bytes - RECORD_HEADER_BYTES));
        e->last++;
        e->staged--;
}

static void free_oldest(entries *e) {
        while (e->oldest != e->newest && e->oldest->entry_count == 0) {
                chunk *next = e->oldest->next;
                free(e->oldest);
                e->oldest = next;
        }
}

static void forget(entries *e, uint64_t index) {
        slot *s = slot_of(e, index);
        e->bytes -= s->bytes;
        s->in->entry_count--;
        *s = (slot) {0};
}

void entries_unstage(entries *e) {
        for (; e->staged > 0; e->staged--)
                forget(e, e->last + e->staged);
}

void entries_truncate(entries *e, uint64_t index) {
        rq_assert(e->staged == 0 && index > 0);
        for (; e->last >= index && e->last >= e->first; e->last--)
                forget(e, e->last);
        if (e->first > index) {
                e->first = index;
                e->last = index - 1;
        }
}

void entries_trim(entries *e, uint64_t durable_index) {
        /* Half of the places stay free for what comes in. */
        while (e->first <= e->last && e->first <= durable_index &&
               (e->bytes > ENTRIES_BYTES || e->last - e->first >= ENTRIES_COUNT_MAX / 2))
                forget(e, e->first++);
        free_oldest(e);
}

uint64_t entries_first(const entries *e) { return e->first; }
uint64_t entries_last(const entries *e) { return e->last; }
uint64_t entries_bytes(const entries *e) { return e->bytes; }

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
