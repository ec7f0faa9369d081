#include "core/database_header.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
        PAGE_SIZE_AT     = 16,
        VERSIONS_AT      = 18, /* for writing, for reading */
        RESERVED_AT      = 20,
        CHANGES_AT       = 24,
        PAGES_AT         = 28,
        ENCODING_AT      = 56,
        VALID_FOR_AT     = 92,
        VERSION_ROLLBACK = 1,
        VERSION_WAL      = 2,
        PAGE_BYTES_MIN   = 512,
        PAGE_BYTES_MAX   = 65536,
        USABLE_BYTES_MIN = 480,
        ENCODING_UTF8    = 1, /* 0: nothing was ever written */
        ENCODING_MAX     = 3,
};

static const uint8_t magic[16] = "SQLite format 3";

__attribute__((format(printf, 2, 3)))
static bool bad(char *problem, const char *format, ...) {
        va_list args;
        va_start(args, format);
        (void) vsnprintf(problem, DATABASE_HEADER_PROBLEM_BYTES, format, args);
        va_end(args);
        return false;
}

static uint32_t get_be32(const uint8_t *p) { return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3]; }

static uint32_t page_size_of(const uint8_t *h) {
        uint32_t size = (uint32_t) h[PAGE_SIZE_AT] << 8 | h[PAGE_SIZE_AT + 1];
        return size == 1 ? PAGE_BYTES_MAX : size;
}

/* Programs before SQLite 3.7 didn't keep the number of pages. */
static uint64_t pages_of(const uint8_t *h, uint64_t file_bytes, uint32_t page_size) {
        uint32_t pages = get_be32(h + PAGES_AT);
        return pages > 0 && get_be32(h + CHANGES_AT) == get_be32(h + VALID_FOR_AT) ? pages : file_bytes / page_size;
}

bool database_header_judge(const uint8_t *bytes, size_t size, uint64_t file_bytes, database_header *ret_header,
                           char ret_problem[static DATABASE_HEADER_PROBLEM_BYTES]) {
        ret_problem[0] = '\0';
        if (size < DATABASE_HEADER_BYTES || file_bytes < DATABASE_HEADER_BYTES || memcmp(bytes, magic, sizeof magic) != 0)
                return bad(ret_problem, "not a SQLite database file: it does not begin with \"SQLite format 3\"");
        uint32_t page = page_size_of(bytes), encoding = get_be32(bytes + ENCODING_AT);
        if (page < PAGE_BYTES_MIN || (page & (page - 1)) != 0)
                return bad(ret_problem, "damaged header: a page size of %u bytes", page);
        if (page - bytes[RESERVED_AT] < USABLE_BYTES_MIN)
                return bad(ret_problem, "damaged header: %u of the %u bytes of a page are reserved", bytes[RESERVED_AT], page);
        for (size_t i = VERSIONS_AT; i < VERSIONS_AT + 2; i++)
                if (bytes[i] != VERSION_ROLLBACK && bytes[i] != VERSION_WAL)
                        return bad(ret_problem, "of a format that this version doesn't know: %u", bytes[i]);
        if (encoding > ENCODING_MAX)
                return bad(ret_problem, "damaged header: text encoding %u", encoding);
        if (encoding > ENCODING_UTF8)
                return bad(ret_problem, "its text is UTF-16, only UTF-8 is supported: dump it as SQL and load that");
        uint64_t pages = pages_of(bytes, file_bytes, page);
        if (pages == 0 || file_bytes < pages * page)
                return bad(ret_problem, "cut off: it has %llu bytes, its header says %llu", (unsigned long long) file_bytes,
                           (unsigned long long) (pages == 0 ? page : pages * page));
        *ret_header = (database_header) { .page_size = page, .pages = pages };
        return true;
}
