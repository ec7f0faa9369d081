/* Request bodies against the parser of io/json_body.c: whatever comes, in
 * whatever pieces, the outcome is the same as in one piece, and what is written
 * is what the generated protobuf code reads and writes.
 *
 * First byte: seed of where the body is cut. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/rng.h"
#include "io/json_body.h"
#include "io/statement.h"
#include "store.pb-c.h"

typedef struct outcome { rq_buf run; json_body_result result; } outcome;

static json_body *parser;

/* max: of a piece; pieces in memory of their own, so that reading behind them
 * is seen. */
static outcome parse(const uint8_t *data, size_t size, size_t max, rq_rng *rng) {
        outcome o = {0};
        rq_assert(json_body_begin(parser, &o.run) == RQ_OK);
        while (size > 0) {
                size_t n = 1 + (size_t) rq_rng_below(rng, max);
                n = n < size ? n : size;
                uint8_t *piece = malloc(n);
                memcpy(piece, data, n);
                rq_assert(json_body_feed(parser, rq_bytes_of(piece, n)) == RQ_OK);
                free(piece);
                data += n;
                size -= n;
        }
        rq_assert(json_body_end(parser, &o.result) == RQ_OK);
        return o;
}

static void check_same(const outcome *a, const outcome *b) {
        rq_assert(strcmp(a->result.problem, b->result.problem) == 0);
        if (a->result.problem[0] != '\0')
                return;
        rq_assert(a->result.statement_count == b->result.statement_count && a->result.all_may_be_read == b->result.all_may_be_read);
        rq_assert(rq_bytes_equal(rq_buf_bytes(&a->run), rq_buf_bytes(&b->run)));
}

static void check_encoding(const outcome *o) {
        size_t size = statements_size(rq_buf_bytes(&o->run), STATEMENTS_OF_QUERY);
        uint8_t *bytes = malloc(size + 1), *again = malloc(size + 1);
        rq_assert(statements_copy(bytes, rq_buf_bytes(&o->run), STATEMENTS_OF_QUERY) == bytes + size);
        Rq__Query *query = rq__query__unpack(NULL, size, bytes);
        rq_assert(query != NULL && query->n_statements == o->result.statement_count);
        rq_assert(rq__query__get_packed_size(query) == size && rq__query__pack(query, again) == size);
        rq_assert(memcmp(bytes, again, size) == 0);
        rq__query__free_unpacked(query, NULL);
        free(bytes);
        free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 1)
                return 0;
        if (parser == NULL)
                rq_assert(json_body_new(&parser) == RQ_OK);
        rq_rng rng = rq_rng_seeded(data[0]);
        outcome whole = parse(data + 1, size - 1, SIZE_MAX / 2, &(rq_rng) { .state = 0 });
        outcome cut = parse(data + 1, size - 1, 7, &rng);
        outcome bytes = parse(data + 1, size - 1, 1, &rng);
        check_same(&whole, &cut);
        check_same(&whole, &bytes);
        if (whole.result.problem[0] == '\0')
                check_encoding(&whole);
        rq_buf_done(&whole.run);
        rq_buf_done(&cut.run);
        rq_buf_done(&bytes.run);
        return 0;
}
