/* The first 100 bytes of a SQLite database file: may such a file be a store's
 * database? From files that clients load and that other nodes send, so every byte is
 * doubted. Fields: https://sqlite.org/fileformat2.html, section 1.3. What is behind
 * them isn't looked at. */
#ifndef RQ_STORE_DATABASE_HEADER_H
#define RQ_STORE_DATABASE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DATABASE_HEADER_BYTES = 100, DATABASE_HEADER_PROBLEM_BYTES = 160 };

typedef struct database_header {
        uint32_t page_size;
        uint64_t pages; /* that the content is on; the file may have more bytes behind them */
} database_header;

/* bytes: the file's first ones, as many as there are of the 100; file_bytes: its
 * size. False: *ret_problem says why not, in a few words; else it is "". */
bool database_header_judge(const uint8_t *bytes, size_t size, uint64_t file_bytes, database_header *ret_header,
                           char ret_problem[static DATABASE_HEADER_PROBLEM_BYTES]);

#endif
