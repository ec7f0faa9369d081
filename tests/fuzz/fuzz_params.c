/* Query strings and paths against core/params.c and core/route.c: what is
 * taken points into the text and says what was sent; what isn't has one line of
 * text that says why. */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "core/params.h"
#include "core/route.h"

static void check_inside(rq_bytes value, const char *text, size_t size) {
        if (value.data == NULL) {
                rq_assert(value.size == 0);
                return;
        }
        const char *at = (const char *) value.data;
        rq_assert(at >= text && at <= text + size && value.size <= (size_t) (text + size - at));
}

static void check_problem(const char problem[static PARAMS_PROBLEM_BYTES]) {
        size_t size = strnlen(problem, PARAMS_PROBLEM_BYTES);
        rq_assert(size > 0 && size < PARAMS_PROBLEM_BYTES);
        for (size_t i = 0; i < size; i++)
                rq_assert(problem[i] >= ' ' && problem[i] < 0x7f);
}

/* A copy of its own size: a read behind it is seen. */
static char *copy_of(const uint8_t *data, size_t size) {
        char *copy = malloc(size > 0 ? size : 1);
        rq_assert(copy != NULL);
        if (size > 0)
                memcpy(copy, data, size);
        return copy;
}

static void fuzz_query(const uint8_t *data, size_t size) {
        char problem[PARAMS_PROBLEM_BYTES], again_problem[PARAMS_PROBLEM_BYTES];
        char *text = copy_of(data, size), *again_text = copy_of(data, size);
        params p, again;
        rq_err r = params_parse(text, size, &p, problem);
        rq_assert(params_parse(again_text, size, &again, again_problem) == r && (r == RQ_OK || r == RQ_EINVAL));
        if (r < 0) {
                check_problem(problem);
                rq_assert(strcmp(problem, again_problem) == 0);
        } else {
                const rq_bytes values[] = { p.q, p.level, p.key, p.ver, p.fmt };
                for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
                        check_inside(values[i], text, size);
                rq_assert(!p.has_q || p.q.size > 0);
                rq_assert(!p.freshness_strict || p.has_freshness);
                rq_assert(rq_bytes_equal(p.q, again.q) && p.timeout_ns == again.timeout_ns && p.min_index == again.min_index);
        }
        free(text);
        free(again_text);
}

static void fuzz_path(const uint8_t *data, size_t size) {
        char *path = copy_of(data, size);
        size_t decoded = size;
        rq_err r = route_decode_path(path, &decoded);
        rq_assert(r == RQ_OK || r == RQ_EINVAL);
        rq_assert(decoded <= size);
        if (r == RQ_OK) {
                const route *found = route_find(rq_bytes_of(path, decoded));
                rq_assert(found == NULL || strlen(found->path) <= decoded);
        }
        free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        fuzz_query(data, size);
        fuzz_path(data, size);
        return 0;
}
