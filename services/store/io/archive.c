#include "io/archive.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "base/cleanup.h"

enum {
        ZIP_LOCAL_BYTES = 30, ZIP_CENTRAL_BYTES = 46, ZIP_END_BYTES = 22, ZIP_COMMENT_MAX = 65535, /* APPNOTE 4.3 */
        ZIP_STORED = 0, ZIP_DEFLATED = 8,
        TAR_BLOCK = 512, TAR_NAME = 100, TAR_SIZE_AT = 124, TAR_SIZE = 12, TAR_TYPE_AT = 156,      /* POSIX, ustar */
        RAW_DEFLATE = -MAX_WBITS, GZIP = 16 + MAX_WBITS,
};

typedef struct reader {
        rq_err (*on_library)(void *arg, const char *name, int take_fd);
        void *arg;
        size_t unpacked;
        const char *why;
} reader;

static rq_err wrong(reader *r, rq_err err, const char *why) {
        r->why = why;
        return err;
}

bool archive_is_one(rq_bytes head) {
        return (head.size >= 4 && memcmp(head.data, "PK\3\4", 4) == 0) || (head.size >= 2 && head.data[0] == 0x1f && head.data[1] == 0x8b);
}

/* --- a library -------------------------------------------------------------- */

/* NULL: it is none. */
static const char *library_name(rq_bytes path, char name[static ARCHIVE_NAME_MAX + 1]) {
        size_t begin = path.size;
        while (begin > 0 && path.data[begin - 1] != '/')
                begin--;
        const size_t size = path.size - begin;
        if (size <= 3 || size > ARCHIVE_NAME_MAX || memchr(path.data + begin, '\0', size) != NULL || memcmp(path.data + path.size - 3, ".so", 3) != 0)
                return NULL;
        memcpy(name, path.data + begin, size);
        name[size] = '\0';
        return name;
}

static rq_err tell(reader *r, const char *name, rq_bytes content) {
        RQ_CLEANUP(rq_closep) int fd = memfd_create(name, MFD_CLOEXEC);
        if (fd < 0)
                return rq_err_from_errno(errno);
        for (size_t done = 0; done < content.size;) {
                const ssize_t n = write(fd, content.data + done, content.size - done);
                if (n < 0)
                        return rq_err_from_errno(errno);
                done += (size_t) n;
        }
        return r->on_library(r->arg, name, RQ_TAKE(fd, -1));
}

/* All of it; size_max: what may come out. */
static rq_err inflate_all(reader *r, rq_bytes packed, int window_bits, size_t size_max, rq_buf *out) {
        enum { STEP = 1024 * 1024 };
        z_stream z = { .next_in = (Bytef *) (uintptr_t) packed.data, .avail_in = (uInt) packed.size }; /* at most ARCHIVE_BYTES_MAX */
        int code = Z_OK;
        rq_err err = RQ_OK;
        if (inflateInit2(&z, window_bits) != Z_OK)
                return RQ_ENOMEM;
        while (err >= 0 && code == Z_OK) {
                err = rq_buf_reserve(out, STEP);
                if (err < 0)
                        break;
                z.next_out = out->data + out->size;
                z.avail_out = STEP;
                code = inflate(&z, Z_NO_FLUSH);
                out->size += STEP - z.avail_out;
                if (out->size > size_max)
                        err = wrong(r, RQ_ETOOBIG, "unpacked it is larger than it says, or than 256 MiB");
        }
        (void) inflateEnd(&z);
        return err < 0 ? err : code == Z_STREAM_END ? RQ_OK : wrong(r, RQ_ECORRUPT, "it is damaged, or cut short");
}

/* --- zip -------------------------------------------------------------------- */

static rq_err read_zip_entry(reader *r, rq_bytes archive, const uint8_t *central, const char *name) {
        RQ_CLEANUP(rq_buf_done) rq_buf out = {0};
        const uint16_t method = rq_get_u16(central + 10);
        const size_t packed = rq_get_u32(central + 20), size = rq_get_u32(central + 24), at = rq_get_u32(central + 42);
        if (at > archive.size || archive.size - at < ZIP_LOCAL_BYTES || memcmp(archive.data + at, "PK\3\4", 4) != 0)
                return wrong(r, RQ_ECORRUPT, "its directory names a place where no file is");
        const size_t data = at + ZIP_LOCAL_BYTES + rq_get_u16(archive.data + at + 26) + rq_get_u16(archive.data + at + 28);
        if (data > archive.size || packed > archive.size - data || (method == ZIP_STORED && packed != size))
                return wrong(r, RQ_ECORRUPT, "it is cut short");
        if (size > ARCHIVE_BYTES_MAX - r->unpacked)
                return wrong(r, RQ_ETOOBIG, "unpacked it is larger than 256 MiB");
        r->unpacked += size;
        rq_bytes content = rq_bytes_of(archive.data + data, packed);
        if (method != ZIP_STORED && method != ZIP_DEFLATED)
                return wrong(r, RQ_ECORRUPT, "a file of it is packed in a way that isn't known here (deflate is), or encrypted");
        if (method == ZIP_DEFLATED) {
                rq_err err = inflate_all(r, content, RAW_DEFLATE, size, &out);
                if (err < 0)
                        return err;
                content = rq_buf_bytes(&out);
        }
        if (content.size != size || crc32(0, content.data, (uInt) content.size) != rq_get_u32(central + 16))
                return wrong(r, RQ_ECORRUPT, "a file of it hasn't its checksum");
        return tell(r, name, content);
}

static rq_err read_zip(reader *r, rq_bytes archive) {
        char name[ARCHIVE_NAME_MAX + 1];
        size_t end = archive.size, searched = 0;
        for (end = archive.size - (archive.size < ZIP_END_BYTES ? archive.size : ZIP_END_BYTES); memcmp(archive.data + end, "PK\5\6", 4) != 0; end--)
                if (end == 0 || ++searched > ZIP_COMMENT_MAX)
                        return wrong(r, RQ_ECORRUPT, "it has no directory: it is cut short");
        if (archive.size - end < ZIP_END_BYTES)
                return wrong(r, RQ_ECORRUPT, "it is cut short");
        size_t at = rq_get_u32(archive.data + end + 16);
        for (uint16_t left = rq_get_u16(archive.data + end + 10); left > 0; left--) {
                if (at > archive.size || archive.size - at < ZIP_CENTRAL_BYTES || memcmp(archive.data + at, "PK\1\2", 4) != 0)
                        return wrong(r, RQ_ECORRUPT, "its directory is damaged");
                const uint8_t *central = archive.data + at;
                const size_t name_size = rq_get_u16(central + 28);
                at += ZIP_CENTRAL_BYTES + name_size + rq_get_u16(central + 30) + rq_get_u16(central + 32);
                if (at > archive.size)
                        return wrong(r, RQ_ECORRUPT, "its directory is damaged");
                if (library_name(rq_bytes_of(central + ZIP_CENTRAL_BYTES, name_size), name) == NULL)
                        continue;
                rq_err err = read_zip_entry(r, archive, central, name);
                if (err < 0)
                        return err;
        }
        return RQ_OK;
}

/* --- tar -------------------------------------------------------------------- */

static bool read_octal(const uint8_t *text, size_t size, size_t *ret_value) {
        size_t value = 0, i = 0;
        while (i < size && text[i] == ' ')
                i++;
        for (; i < size && text[i] >= '0' && text[i] <= '7'; i++) {
                if (value > ARCHIVE_BYTES_MAX)
                        return false;
                value = value * 8 + (size_t) (text[i] - '0');
        }
        *ret_value = value;
        return i == size || text[i] == '\0' || text[i] == ' ';
}

/* "LENGTH path=NAME\n" among other records (POSIX, pax extended header); empty: there is none. */
static rq_bytes pax_path(rq_bytes records) {
        static const char key[] = "path=";
        const size_t key_size = sizeof key - 1;
        rq_bytes path = {0};
        while (records.size > 0) {
                size_t length = 0, at = 0;
                for (; at < records.size && records.data[at] >= '0' && records.data[at] <= '9' && length <= records.size; at++)
                        length = length * 10 + (size_t) (records.data[at] - '0');
                if (at >= records.size || records.data[at] != ' ' || length > records.size || length <= at + 1)
                        break;
                at++;
                if (length - at > key_size && memcmp(records.data + at, key, key_size) == 0)
                        path = rq_bytes_of(records.data + at + key_size, length - at - key_size - 1);
                records = rq_bytes_of(records.data + length, records.size - length);
        }
        return path;
}

/* What one says of the name of the file behind it: names longer than 100 bytes. False: it is a file itself. */
static bool is_name_header(uint8_t type, rq_bytes content, rq_bytes *ret_name) {
        if (type == 'L') /* GNU tar */
                *ret_name = rq_bytes_of(content.data, strnlen((const char *) content.data, content.size));
        else if (type == 'x')
                *ret_name = pax_path(content);
        return type == 'L' || type == 'x' || type == 'g';
}

static rq_err read_tar(reader *r, rq_bytes archive) {
        RQ_CLEANUP(rq_buf_done) rq_buf tar = {0};
        char name[ARCHIVE_NAME_MAX + 1];
        rq_bytes told = {0}; /* name of the next file; empty: its own header has it */
        rq_err err = inflate_all(r, archive, GZIP, ARCHIVE_BYTES_MAX, &tar);
        for (size_t at = 0; err >= 0 && tar.size - at >= TAR_BLOCK && tar.data[at] != '\0';) {
                const uint8_t *header = tar.data + at;
                const size_t room = tar.size - at - TAR_BLOCK;
                size_t size;
                if (!read_octal(header + TAR_SIZE_AT, TAR_SIZE, &size) || size > room)
                        return wrong(r, RQ_ECORRUPT, "it is no tar, or it is cut short");
                const bool is_file = header[TAR_TYPE_AT] == '0' || header[TAR_TYPE_AT] == '\0';
                const rq_bytes content = rq_bytes_of(header + TAR_BLOCK, size);
                if (!is_name_header(header[TAR_TYPE_AT], content, &told)) {
                        const rq_bytes path = told.size > 0 ? told : rq_bytes_of(header, strnlen((const char *) header, TAR_NAME));
                        if (is_file && library_name(path, name) != NULL)
                                err = tell(r, name, content);
                        told = (rq_bytes) {0};
                }
                const size_t whole = (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
                at += TAR_BLOCK + (whole < room ? whole : room);
        }
        return err;
}

rq_err archive_read(rq_bytes archive, rq_err (*on_library)(void *arg, const char *name, int take_fd), void *arg, const char **ret_why) {
        reader r = { .on_library = on_library, .arg = arg, .why = "" };
        rq_err err = archive.size > ARCHIVE_BYTES_MAX ? wrong(&r, RQ_ETOOBIG, "larger than 256 MiB")
                   : archive.size < ZIP_END_BYTES ? wrong(&r, RQ_ECORRUPT, "it is cut short")
                   : archive.data[0] == 'P' ? read_zip(&r, archive) : read_tar(&r, archive);
        *ret_why = r.why;
        return err;
}
