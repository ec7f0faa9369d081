/* The file of users: rqlite's form; what is wrong is said with its place; no entry
 * takes anything over from another; a hash is no password. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <crypt.h>
#include <unistd.h>

#include "users/password.h"
#include "users/users.h"

static char path[64];

static int make_path(void **state) {
        (void) state;
        (void) strcpy(path, "/tmp/rq-test-users-XXXXXX");
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        return close(fd);
}

static int remove_path(void **state) {
        (void) state;
        return unlink(path);
}

static void put(const char *text) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fputs(text, f) >= 0, 1);
        assert_int_equal(fclose(f), 0);
}

static rq_users *read_good(const char *text) {
        rq_users *users = NULL;
        rq_buf problem = {0};
        put(text);
        rq_err r = rq_users_read(path, &users, &problem);
        if (r < 0)
                print_error("%.*s\n", (int) problem.size, (const char *) problem.data);
        assert_int_equal(r, RQ_OK);
        return users;
}

static const rq_user *user(const rq_users *users, const char *name) { return rq_users_find(users, rq_bytes_text(name)); }

static void test_reads(void **state) {
        rq_users *users = read_good("[{\"username\":\"bob\",\"password\":\"s3cret\",\"perms\":[\"all\"]},"
                                    " {\"username\":\"ann\",\"password\":\"$6x\",\"perms\":[\"query\",\"status\"]},"
                                    " {\"username\":\"*\",\"perms\":[\"ready\"]}]");
        (void) state;
        assert_int_equal(rq_users_count(users), 2);
        assert_int_equal(user(users, "bob")->may, RQ_MAY_ALL);
        assert_string_equal(user(users, "ann")->password, "$6x"); /* a dollar alone is no hash */
        assert_false(user(users, "ann")->is_hashed);
        assert_int_equal(user(users, "ann")->may, RQ_MAY_QUERY | RQ_MAY_STATUS);
        assert_int_equal(rq_users_everybody(users), RQ_MAY_READY);
        assert_null(user(users, "*"));
        assert_null(user(users, "bo"));
        assert_null(user(users, "bobb"));
        assert_null(user(users, ""));
        assert_null(rq_users_any_hashed(users));
        users = rq_users_free(users);
        users = read_good("[]");
        assert_int_equal(rq_users_count(users), 0);
        assert_null(rq_users_free(users));
}

/* rqlite's loader gives eve all that bob may. */
static void test_nothing_is_inherited(void **state) {
        rq_users *users = read_good("[{\"username\":\"bob\",\"password\":\"p\",\"perms\":[\"all\"]},{\"username\":\"eve\",\"password\":\"e\"}]");
        (void) state;
        assert_int_equal(user(users, "eve")->may, 0);
        assert_string_equal(user(users, "eve")->password, "e");
        assert_false(rq_permissions_cover(user(users, "eve")->may, RQ_MAY_QUERY));
        users = rq_users_free(users);
}

static void test_covering(void **state) {
        (void) state;
        assert_true(rq_permissions_cover(RQ_MAY_ALL, RQ_MAY_QUERY | RQ_MAY_EXECUTE));
        assert_false(rq_permissions_cover(RQ_MAY_QUERY, RQ_MAY_QUERY | RQ_MAY_EXECUTE));
        assert_true(rq_permissions_cover(RQ_MAY_QUERY | RQ_MAY_EXECUTE | RQ_MAY_UI, RQ_MAY_QUERY | RQ_MAY_EXECUTE));
        assert_false(rq_permissions_cover(RQ_MAY_ALL, 0)); /* what nothing was said of is for nobody */
}

static void test_refusals(void **state) {
        static const struct { const char *text, *wanted; } rows[] = {
                { "{\"username\":\"bob\"}", ": must be an array of users" },
                { "[1]", ": entry 1: must be an object with" },
                { "[{\"username\":\"a\",\"password\":\"x\"},{\"password\":\"x\"}]", ": entry 2: lacks \"username\"" },
                { "[{\"username\":7,\"password\":\"x\"}]", ": entry 1: \"username\" must be a string" },
                { "[{\"username\":\"\",\"password\":\"x\"}]", ": entry 1: \"username\" is empty" },
                { "[{\"username\":\"a:b\",\"password\":\"x\"}]", ": entry 1: \"username\" has a colon" },
                { "[{\"username\":\"bob\",\"perms\":[]}]", ": entry 1 (bob): lacks \"password\"" },
                { "[{\"username\":\"bob\",\"password\":\"\"}]", ": entry 1 (bob): \"password\" is empty" },
                { "[{\"username\":\"bob\",\"password\":1}]", ": entry 1 (bob): \"password\" must be a string" },
                { "[{\"username\":\"bob\",\"password\":\"x\",\"perms\":\"all\"}]", ": entry 1 (bob): \"perms\" must be an array of strings" },
                { "[{\"username\":\"bob\",\"password\":\"x\",\"perms\":[\"query\",1]}]", ": entry 1 (bob): permission 2 of \"perms\" must be a string" },
                { "[{\"username\":\"bob\",\"password\":\"x\",\"perms\":[\"qeury\"]}]", "(bob): there is no permission \"qeury\"; there are all, execute, query," },
                { "[{\"username\":\"bob\",\"password\":\"x\",\"permissions\":[]}]", ": entry 1 (bob): has no use for \"permissions\"" },
                { "[{\"username\":\"bob\",\"password\":\"x\"},{\"username\":\"bob\",\"password\":\"y\"}]", ": user \"bob\" is there twice" },
                { "[{\"username\":\"*\"},{\"username\":\"*\"}]", ": entry 2 (*): is there already" },
                { "[{\"username\":\"bob\",\"password\":\"x\",\"password\":\"y\"}]", ":1: not valid JSON" },
                { "[\n{\"username\":\"bob\",\n\"password\":s3cret}]", ":3: not valid JSON, column" },
                { "[{\"username\":\"bob\",\"password\":\"$1$ab$0123456789012345678901\"}]", ": entry 1 (bob): \"password\" looks like a hash, but of no kind" },
                { "[{\"username\":\"bob\",\"password\":\"$argon2id$v=19$x\"}]", ": entry 1 (bob): \"password\" looks like a hash, but of no kind" },
                { "[{\"username\":\"bob\",\"password\":\"$6$abcdefgh$abc\"}]", ": entry 1 (bob): \"password\" is a hash of the wrong length" },
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                rq_users *users = NULL;
                rq_buf problem = {0};
                put(rows[i].text);
                assert_int_equal(rq_users_read(path, &users, &problem), RQ_ECONFIG);
                assert_int_equal(rq_buf_append(&problem, "", 1), RQ_OK);
                if (strstr((char *) problem.data, rows[i].wanted) == NULL)
                        print_error("%s\n", (char *) problem.data);
                assert_non_null(strstr((char *) problem.data, rows[i].wanted));
                assert_memory_equal(problem.data, path, strlen(path));
                assert_null(strstr((char *) problem.data, "s3cret")); /* never a password */
                rq_buf_done(&problem);
        }
}

static void test_missing_file(void **state) {
        rq_users *users = NULL;
        rq_buf problem = {0};
        (void) state;
        assert_int_equal(rq_users_read("/nowhere/users.json", &users, &problem), RQ_ECONFIG);
        assert_non_null(memmem(problem.data, problem.size, "/nowhere/users.json: No such file", 33));
        problem.size = 0;
        assert_int_equal(rq_users_read("/tmp", &users, &problem), RQ_ECONFIG);
        rq_buf_done(&problem);
}

/* Each kind at its cheapest, made by crypt(3) itself. */
static void test_hashes(void **state) {
        static const char *const kinds[] = { "$y$", "$2b$", "$2y$", "$6$", "$5$" };
        (void) state;
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
                char salt[CRYPT_GENSALT_OUTPUT_SIZE];
                struct crypt_data data = {0};
                unsigned long cost = kinds[i][1] == 'y' ? 1 : kinds[i][1] == '2' ? 4 : 1000;
                assert_non_null(crypt_gensalt_rn(kinds[i], cost, NULL, 0, salt, sizeof salt));
                const char *hash = crypt_r("open sesame", salt, &data);
                assert_int_equal(rq_password_form_of(hash), RQ_PASSWORD_HASHED);
                assert_true(rq_password_fits_hash(hash, rq_bytes_text("open sesame")));
                assert_false(rq_password_fits_hash(hash, rq_bytes_text("open sesamf")));
                assert_false(rq_password_fits_hash(hash, rq_bytes_text("")));
                assert_false(rq_password_fits_hash(hash, rq_bytes_of("open sesame", 12))); /* with its zero byte */
                assert_false(rq_password_fits_hash(hash, rq_bytes_text(hash)));            /* the hash itself never logs in */
        }
}

/* -join-as: what the user shows; a hash is nothing to show. */
static void test_credentials(void **state) {
        rq_users *users = read_good("[{\"username\":\"joe\",\"password\":\"p:w\",\"perms\":[\"join\"]},"
                                    " {\"username\":\"hal\",\"password\":\"$5$salt$Gcm6FsVtF/Qa77ZKD.iwsJlCVPY0XSMgLJL0Hnww/c1\",\"perms\":[\"join-read-only\"]}]");
        rq_buf shown = {0}, problem = {0};
        (void) state;
        assert_int_equal(rq_users_credentials(users, "f.json", "joe", &shown, &problem), RQ_OK);
        assert_true(rq_bytes_equal(rq_buf_bytes(&shown), rq_bytes_text("joe:p:w")) && problem.size == 0);
        shown.size = 0;
        assert_int_equal(rq_users_credentials(users, "f.json", "nobody", &shown, &problem), RQ_ECONFIG);
        assert_int_equal(rq_users_credentials(users, "f.json", "hal", &shown, &problem), RQ_ECONFIG);
        assert_int_equal(rq_buf_append(&problem, "", 1), RQ_OK);
        assert_non_null(strstr((const char *) problem.data, "-join-as nobody: f.json has no user of that name"));
        assert_non_null(strstr((const char *) problem.data, "-join-as hal: the password in f.json is hashed"));
        assert_true(shown.size == 0 && strstr((const char *) problem.data, "$5$") == NULL);
        assert_int_equal(user(users, "hal")->may, RQ_MAY_JOIN_READ_REPLICA); /* its older name */
        rq_buf_done(&shown);
        rq_buf_done(&problem);
        (void) rq_users_free(users);
}

static void test_equal(void **state) {
        (void) state;
        assert_true(rq_password_equal("abc", rq_bytes_text("abc")));
        assert_false(rq_password_equal("abc", rq_bytes_text("abd")));
        assert_false(rq_password_equal("abc", rq_bytes_text("ab")));
        assert_false(rq_password_equal("abc", rq_bytes_text("abcd")));
        assert_false(rq_password_equal("abc", rq_bytes_of("abc", 4)));
        assert_false(rq_password_equal("abc", rq_bytes_text("")));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reads), cmocka_unit_test(test_nothing_is_inherited), cmocka_unit_test(test_covering),
                cmocka_unit_test(test_refusals), cmocka_unit_test(test_missing_file), cmocka_unit_test(test_hashes), cmocka_unit_test(test_equal), cmocka_unit_test(test_credentials),
        };
        return cmocka_run_group_tests(tests, make_path, remove_path);
}
