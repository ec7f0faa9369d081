#include "io/database_file.h"

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/checksum.h"
#include "base/cleanup.h"

/* https://sqlite.org/fileformat2.html, section 1.3 */
enum {
        NEW_PAGE_BYTES   = 4096,
        HEADER_BYTES     = 100,
        OFFSET_PAGE_SIZE = 16,
        OFFSET_COUNTER   = 24,

        LOCK_FIRST = 0x40000000, /* PENDING_BYTE; RESERVED and SHARED follow */
        LOCK_COUNT = 512,
};

static void make_page1(uint8_t page[static NEW_PAGE_BYTES]) {
        memset(page, 0, NEW_PAGE_BYTES);
        memcpy(page, "SQLite format 3", 16);
        page[OFFSET_PAGE_SIZE] = NEW_PAGE_BYTES >> 8;
        database_page1_seal(page);
        page[21] = 64; /* payload fractions: fixed by the format */
        page[22] = 32;
        page[23] = 32;
        page[31] = 1;    /* pages */
        page[100] = 0x0d; /* an empty leaf of a table: the schema */
        page[105] = NEW_PAGE_BYTES >> 8;
}

rq_err database_file_create(const files_io *io, int folder_fd) {
        uint8_t page[NEW_PAGE_BYTES];
        make_page1(page);
        return files_io_replace(io, folder_fd, DATABASE_FILE_NAME, DATABASE_FILE_NEW_NAME, rq_bytes_of(page, sizeof page));
}

rq_err database_file_is_new(const files_io *io, int fd, bool *ret_new) {
        uint8_t expected[NEW_PAGE_BYTES], found[NEW_PAGE_BYTES + 1];
        size_t size;
        rq_err r = files_io_read_at(io, fd, found, sizeof found, 0, &size);
        if (r < 0)
                return r;
        make_page1(expected);
        *ret_new = size == sizeof expected && memcmp(found, expected, size) == 0;
        return RQ_OK;
}

rq_err database_file_facts(const files_io *io, int fd, database_facts *ret_facts) {
        RQ_CLEANUP(rq_freep) uint8_t *page = NULL;
        database_facts facts = {0};
        uint8_t header[HEADER_BYTES];
        struct stat st;
        uint32_t counter;
        size_t size;
        rq_err r;

        if (fstat(fd, &st) < 0)
                return files_io_error(errno);
        facts.bytes = (uint64_t) st.st_size;
        r = files_io_read_at(io, fd, header, sizeof header, 0, &size);
        if (r < 0)
                return r;
        if (size < sizeof header)
                return RQ_ECORRUPT;
        facts.page_size = (uint32_t) header[OFFSET_PAGE_SIZE] << 8 | header[OFFSET_PAGE_SIZE + 1];
        if (facts.page_size == 1)
                facts.page_size = 65536;
        memcpy(&counter, header + OFFSET_COUNTER, sizeof counter);
        facts.change_counter = be32toh(counter);
        page = malloc(facts.page_size);
        if (page == NULL)
                return facts.page_size == 0 ? RQ_ECORRUPT : RQ_ENOMEM;
        r = files_io_read_at(io, fd, page, facts.page_size, 0, &size);
        if (r < 0)
                return r;
        if (size < facts.page_size || facts.page_size < 512)
                return RQ_ECORRUPT;
        facts.page1_crc = rq_crc32c(0, page, size);
        *ret_facts = facts;
        return RQ_OK;
}

bool database_facts_equal(const database_facts *a, const database_facts *b) {
        return a->bytes == b->bytes && a->page_size == b->page_size && a->change_counter == b->change_counter &&
               a->page1_crc == b->page1_crc;
}

rq_err database_file_lock(int fd) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_FIRST, .l_len = LOCK_COUNT };
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
                return RQ_OK;
        return errno == EAGAIN || errno == EACCES ? RQ_EBUSY : rq_err_from_errno(errno);
}
