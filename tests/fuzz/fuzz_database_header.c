/* The first bytes of files that clients load and other nodes send. First 8 bytes:
 * the size the file is said to have. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "core/database_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        uint64_t file_bytes;
        char problem[DATABASE_HEADER_PROBLEM_BYTES];
        database_header header = {0};
        if (size < sizeof file_bytes)
                return 0;
        memcpy(&file_bytes, data, sizeof file_bytes);
        bool taken = database_header_judge(data + sizeof file_bytes, size - sizeof file_bytes, file_bytes, &header, problem);
        rq_assert(taken == (problem[0] == '\0') && strnlen(problem, sizeof problem) < sizeof problem);
        if (taken)
                rq_assert(header.page_size >= 512 && header.page_size <= 65536 && header.pages > 0 && header.pages * header.page_size <= file_bytes);
        return 0;
}
