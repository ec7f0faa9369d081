/* Loading extensions: what is found, what they bring, what is refused. */
#include "entries.h"

#include <zlib.h>

#include "base/cleanup.h"
#include "io/connection.h"
#include "io/extensions.h"

#define GOOD   RQ_TEST_LIB_DIR "/rot13.so"
#define BROKEN RQ_TEST_LIB_DIR "/broken/broken.so"

static extensions *opened(const char *paths) {
        extensions *e = NULL;
        rq_buf problem = {0};
        rq_err r = extensions_open(paths, &e, &problem);
        if (r < 0)
                fail_msg("%.*s", (int) problem.size, (const char *) problem.data);
        rq_buf_done(&problem);
        return e;
}

static void assert_refused(const char *paths, const char *part) {
        extensions *e = NULL;
        rq_buf problem = {0};
        assert_int_equal(extensions_open(paths, &e, &problem), RQ_ECONFIG);
        assert_int_equal(rq_buf_append(&problem, "", 1), RQ_OK);
        if (strstr((const char *) problem.data, part) == NULL)
                fail_msg("%s isn't in %s", part, (const char *) problem.data);
        rq_buf_done(&problem);
}

static void test_files_and_folders(void **state) {
        uint32_t crc32c, again;
        (void) state;
        extensions *none = opened(""), *file = opened(GOOD), *folder = opened(RQ_TEST_LIB_DIR ",");
        assert_null(extensions_at(none, 0, &crc32c));
        assert_string_equal(extensions_at(file, 0, &crc32c), "rot13.so");
        assert_string_equal(extensions_at(folder, 0, &again), "rot13.so");
        assert_null(extensions_at(folder, 1, &again));
        assert_int_equal(crc32c, again);
        assert_true(extensions_has(file, "ROT13"));
        assert_false(extensions_has(file, "dice") || extensions_has(file, "upper") || extensions_has(none, "rot13") || extensions_has(NULL, "rot13"));
        (void) extensions_free(none);
        (void) extensions_free(file);
        (void) extensions_free(folder);
        (void) extensions_free(NULL);
}

static void test_what_is_wrong_is_said(void **state) {
        (void) state;
        assert_refused("/nothing/there.so", "/nothing/there.so: No such file");
        assert_refused(GOOD "," BROKEN, "no luck today");
        assert_refused(RQ_SOURCE_DIR "/CMakeLists.txt", "CMakeLists.txt");
        assert_refused("/dev/null", "neither a file nor a folder");
}

/* --- archives --------------------------------------------------------------- */

static char archive_path[64];

static void read_file(const char *path, rq_buf *out) {
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        for (size_t n = 1; n > 0; out->size += n) {
                assert_int_equal(rq_buf_reserve(out, 65536), RQ_OK);
                n = fread(out->data + out->size, 1, 65536, f);
        }
        assert_int_equal(fclose(f), 0);
}

static void write_archive(rq_bytes bytes) {
        FILE *f = fopen(archive_path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(bytes.data, 1, bytes.size, f), bytes.size);
        assert_int_equal(fclose(f), 0);
}

static void pack(rq_bytes content, int window_bits, rq_buf *out) {
        z_stream z = { .next_in = (Bytef *) (uintptr_t) content.data, .avail_in = (uInt) content.size };
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
        assert_int_equal(rq_buf_reserve(out, content.size + 4096), RQ_OK);
        z.next_out = out->data + out->size;
        z.avail_out = (uInt) (content.size + 4096);
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        out->size += z.total_out;
        (void) deflateEnd(&z);
}

/* One file, as zip(1) writes it. */
static void make_zip(const char *name, rq_bytes content, bool deflated, rq_buf *out) {
        uint8_t local[30] = "PK\3\4", central[46] = "PK\1\2", end[22] = "PK\5\6";
        rq_buf packed = {0};
        if (deflated)
                pack(content, -MAX_WBITS, &packed);
        else
                assert_int_equal(rq_buf_append_bytes(&packed, content), RQ_OK);
        rq_put_u16(local + 8, deflated ? 8 : 0);
        rq_put_u16(central + 10, deflated ? 8 : 0);
        rq_put_u32(central + 16, (uint32_t) crc32(0, content.data, (uInt) content.size));
        rq_put_u32(local + 14, rq_get_u32(central + 16));
        rq_put_u32(central + 20, (uint32_t) packed.size);
        rq_put_u32(central + 24, (uint32_t) content.size);
        rq_put_u16(local + 26, (uint16_t) strlen(name));
        rq_put_u16(central + 28, (uint16_t) strlen(name));
        assert_int_equal(rq_buf_append(out, local, sizeof local), RQ_OK);
        assert_int_equal(rq_buf_append_text(out, name), RQ_OK);
        assert_int_equal(rq_buf_append_bytes(out, rq_buf_bytes(&packed)), RQ_OK);
        rq_put_u16(end + 8, 1);
        rq_put_u16(end + 10, 1);
        rq_put_u32(end + 12, (uint32_t) (sizeof central + strlen(name)));
        rq_put_u32(end + 16, (uint32_t) out->size);
        assert_int_equal(rq_buf_append(out, central, sizeof central), RQ_OK);
        assert_int_equal(rq_buf_append_text(out, name), RQ_OK);
        assert_int_equal(rq_buf_append(out, end, sizeof end), RQ_OK);
        rq_buf_done(&packed);
}

static void put_tar(rq_buf *tar, char type, const char *name, rq_bytes content) {
        uint8_t block[512] = {0};
        (void) snprintf((char *) block, 100, "%s", name);
        (void) snprintf((char *) block + 124, 12, "%011o", (unsigned) content.size);
        block[156] = (uint8_t) type;
        assert_int_equal(rq_buf_append(tar, block, sizeof block), RQ_OK);
        assert_int_equal(rq_buf_append_bytes(tar, content), RQ_OK);
        memset(block, 0, sizeof block);
        assert_int_equal(rq_buf_append(tar, block, (512 - content.size % 512) % 512), RQ_OK);
}

static void end_tar_gz(rq_buf *tar, rq_buf *out) {
        static const uint8_t end[1024];
        assert_int_equal(rq_buf_append(tar, end, sizeof end), RQ_OK);
        pack(rq_buf_bytes(tar), 16 + MAX_WBITS, out);
        rq_buf_done(tar);
}

static void make_tar_gz(const char *name, rq_bytes content, rq_buf *out) {
        rq_buf tar = {0};
        put_tar(&tar, '0', name, content);
        end_tar_gz(&tar, out);
}

/* A header has room for 100 bytes of a name: what comes before it has all of it, in one of two ways. */
static void make_tar_gz_of_long_name(bool gnu, rq_bytes content, rq_buf *out) {
        char path[160], records[400];
        rq_buf tar = {0};
        (void) snprintf(path, sizeof path, "%0120d/rot13.so", 0);
        if (gnu) {
                put_tar(&tar, 'L', "././@LongLink", rq_bytes_of((const uint8_t *) path, strlen(path) + 1));
        } else {
                const size_t length = 4 + 5 + strlen(path) + 1;
                (void) snprintf(records, sizeof records, "13 atime=1.5\n%zu path=%s\n14 mtime=1.25\n", length, path);
                put_tar(&tar, 'g', "pax_global_header", rq_bytes_text("16 comment=none\n"));
                put_tar(&tar, 'x', "PaxHeaders/rot13.so", rq_bytes_text(records));
        }
        put_tar(&tar, '0', path, content);
        put_tar(&tar, '0', "README", rq_bytes_text("its own name again")); /* no library */
        end_tar_gz(&tar, out);
}

/* Cut short anywhere it is refused; with a bit turned it is refused, or the bit didn't matter. */
static void damage(const rq_buf *whole) {
        RQ_CLEANUP(rq_buf_done) rq_buf copy = {0};
        rq_buf problem = {0};
        extensions *e;
        for (size_t i = 0; i < 40; i++) {
                write_archive(rq_bytes_of(whole->data, 4 + (whole->size - 24) * i / 40));
                assert_int_equal(extensions_open(archive_path, &e, &problem), RQ_ECONFIG);
        }
        assert_int_equal(rq_buf_append_bytes(&copy, rq_buf_bytes(whole)), RQ_OK);
        for (size_t i = 0; i < 120; i++) { /* the headers, in front and behind */
                uint8_t *at = copy.data + (i < 40 ? 4 + i : copy.size - (i - 39));
                *at ^= 0x81;
                write_archive(rq_buf_bytes(&copy));
                rq_err r = extensions_open(archive_path, &e, &problem);
                assert_true(r == RQ_OK || r == RQ_ECONFIG);
                if (r == RQ_OK)
                        (void) extensions_free(e);
                *at ^= 0x81;
        }
        rq_buf_done(&problem);
}

static void test_archives(void **state) {
        rq_buf library = {0}, archive = {0};
        uint32_t crc32c, inside;
        (void) state;
        (void) strcpy(archive_path, "/tmp/rq-test-archive-XXXXXX");
        int fd = mkstemp(archive_path);
        assert_true(fd >= 0 && close(fd) == 0);
        read_file(GOOD, &library);
        extensions *file = opened(GOOD);
        assert_non_null(extensions_at(file, 0, &crc32c));
        for (int kind = 0; kind < 5; kind++) {
                archive.size = 0;
                if (kind < 2)
                        make_zip(kind == 0 ? "rot13.so" : "a/folder/rot13.so", rq_buf_bytes(&library), kind == 1, &archive);
                else if (kind == 2)
                        make_tar_gz("./rot13.so", rq_buf_bytes(&library), &archive);
                else
                        make_tar_gz_of_long_name(kind == 3, rq_buf_bytes(&library), &archive);
                write_archive(rq_buf_bytes(&archive));
                extensions *e = opened(archive_path);
                assert_string_equal(extensions_at(e, 0, &inside), "rot13.so");
                assert_true(inside == crc32c && extensions_at(e, 1, &inside) == NULL && extensions_has(e, "rot13"));
                sqlite3 *db;
                assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
                assert_int_equal(extensions_load(e, db), RQ_OK);
                assert_int_equal(sqlite3_exec(db, "SELECT rot13('x')", NULL, NULL, NULL), SQLITE_OK);
                (void) sqlite3_close(db);
                (void) extensions_free(e);
                damage(&archive);
        }
        archive.size = 0;
        make_zip("README", rq_bytes_text("nothing here"), false, &archive);
        write_archive(rq_buf_bytes(&archive));
        assert_refused(archive_path, "there is no *.so in it");
        /* Extended headers that are nonsense name nothing, and nobody reads outside. */
        static const char *const nonsense[] = { "", "5", " path=x.so\n", "99999999999999999999 path=x.so\n", "7 path=x.so\n", "0 path=x\n", "3 \n", "\n\n\n" };
        for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
                rq_buf tar = {0};
                archive.size = 0;
                put_tar(&tar, 'x', "PaxHeaders/x", rq_bytes_text(nonsense[i]));
                put_tar(&tar, '0', "README", rq_bytes_text("nothing here"));
                end_tar_gz(&tar, &archive);
                write_archive(rq_buf_bytes(&archive));
                assert_refused(archive_path, "there is no *.so in it");
        }
        (void) unlink(archive_path);
        (void) extensions_free(file);
        rq_buf_done(&archive);
        rq_buf_done(&library);
}

/* Deterministic functions in writes, all in reads, load_extension() nowhere. */
static void test_writes_may_use_what_is_deterministic(void **state) {
        (void) state;
        bench *b = bench_new();
        extensions *e = opened(GOOD);
        b->extensions = e;
        bench_open(b);
        entry(b, "CREATE TABLE t(v TEXT CHECK (rot13(v) <> 'ab'))", "INSERT INTO t VALUES(rot13('Hello'))", "INSERT INTO t VALUES('no')",
              "INSERT INTO t VALUES(dice())", "INSERT INTO t VALUES(load_extension('" GOOD "'))");
        request(b, "SELECT v FROM t");
        assert_answers(b,
                "{\"results\":[{},{\"last_insert_id\":1,\"rows_affected\":1},{\"error\":\"CHECK constraint failed: rot13(v) \\u003c\\u003e 'ab'\"},"
                "{\"error\":\"function dice is not available in a write: its result may differ between nodes\"},"
                "{\"error\":\"function load_extension is not available in a write: its result may differ between nodes\"}]\n"
                "{\"results\":[{\"columns\":[\"v\"],\"types\":[\"text\"],\"values\":[[\"Uryyb\"]]}]\n");
        sqlite3 *db;
        assert_int_equal(files_open_reader(b->files, &db), RQ_OK);
        assert_int_equal(sqlite3_exec(db, "SELECT rot13(v), dice() FROM t", NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, "SELECT load_extension('" GOOD "')", NULL, NULL, NULL), SQLITE_ERROR);
        (void) sqlite3_close(db);
        bench_free(b);
        (void) extensions_free(e);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_files_and_folders),
                cmocka_unit_test(test_what_is_wrong_is_said), cmocka_unit_test(test_archives),
                cmocka_unit_test(test_writes_may_use_what_is_deterministic),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
