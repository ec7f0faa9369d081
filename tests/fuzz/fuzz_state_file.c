/* libFuzzer: state and intent are read at every start; whatever a disk gives
 * back must be refused or mean what it says. The checksum is put right first,
 * or nothing would get behind it. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "io/intent.h"
#include "io/state_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_state(uint8_t *bytes, size_t size) {
        state_file state, again;
        rq_buf encoded = {0};
        size_t offset = 0;
        if (size >= 20) {
                rq_put_u32(bytes + 12, (uint32_t) size);
                rq_put_u32(bytes + size - 4, rq_crc32c(0, bytes, size - 4));
        }
        if (state_file_decode(rq_bytes_of(bytes, size), &state, &offset) < 0) {
                rq_assert(offset <= size);
                return;
        }
        rq_assert(state_file_encode(&state, &encoded) == RQ_OK);
        rq_assert(state_file_decode(rq_buf_bytes(&encoded), &again, &offset) == RQ_OK);
        rq_assert(again.position.index == state.position.index && again.generation == state.generation);
        rq_buf_done(&encoded);
}

static void fuzz_intent(const uint8_t *data, size_t size) {
        uint8_t bytes[INTENT_BYTES] = {0}, again[INTENT_BYTES];
        intent in, same;
        memcpy(bytes, data, size < sizeof bytes ? size : sizeof bytes);
        rq_put_u32(bytes + 12, rq_crc32c(0, bytes + 16, sizeof bytes - 16));
        if (intent_decode(bytes, &in) < 0)
                return;
        intent_encode(&in, again);
        rq_assert(intent_decode(again, &same) == RQ_OK && same.generation == in.generation && same.position.index == in.position.index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        uint8_t *copy = malloc(size + 1);
        rq_assert(copy != NULL);
        memcpy(copy, data, size);
        fuzz_state(copy, size);
        fuzz_intent(data, size);
        free(copy);
        return 0;
}
