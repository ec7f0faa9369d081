/* A port's TLS: files that are refused with their reason, whom a handshake believes, and files that
 * change under it. Handshakes run in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "certificates.h"
#include "tls/tls.h"

static char folder[] = "/tmp/rq-test-tls-XXXXXX";
static test_authority *authority, *stranger;
static char ca[64], cert[64], key[64], other_cert[64], other_key[64], stranger_ca[64], junk[64];
static rq_buf problem;

static const test_certificate usual = { .common_name = "node", .names = "DNS:node1.example, DNS:localhost, IP:127.0.0.1", .days = 20 };

static int set_up(void **state) {
        (void) state;
        return 0;
}

static const char *problem_text(void) {
        assert_int_equal(rq_buf_append(&problem, "", 1), RQ_OK);
        problem.size--;
        return (const char *) problem.data;
}

static int tear_down(void **state) {
        (void) state;
        rq_buf_done(&problem);
        return 0;
}

static rq_tls_options options(void) { return (rq_tls_options) { .flags = "node", .cert_file = cert, .key_file = key, .ca_file = ca }; }

static rq_tls *load(const rq_tls_options *o) {
        rq_tls *tls = NULL;
        problem.size = 0;
        if (rq_tls_new(o, &tls, &problem) < 0)
                fail_msg("%s", problem_text());
        return tls;
}

static void assert_refused(const rq_tls_options *o, const char *flag, const char *file, const char *reason) {
        rq_tls *tls = NULL;
        problem.size = 0;
        assert_int_equal(rq_tls_new(o, &tls, &problem), RQ_ECONFIG);
        if (strstr(problem_text(), flag) == NULL || strstr(problem_text(), file) == NULL || strstr(problem_text(), reason) == NULL)
                fail_msg("expected %s %s %s: %s", flag, file, reason, problem_text());
}

static void write_text(const char *path, const char *text, const char *mode) {
        FILE *file = fopen(path, mode);
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

/* --- handshakes in memory ------------------------------------------------------ */

typedef struct pair {
        SSL *server, *client;
        int server_result, client_result;
        char server_problem[256], client_problem[256];
} pair;

static int step(SSL *ssl, int result, char text[static 256]) {
        if (result != 0)
                return result;
        ERR_clear_error();
        int r = SSL_do_handshake(ssl);
        if (r == 1)
                return 1;
        if (SSL_get_error(ssl, r) == SSL_ERROR_WANT_READ)
                return 0;
        (void) rq_tls_failure(ssl, text, 256);
        return -1;
}

/* What a client hears of a refusal comes behind its own part of the handshake (TLS 1.3). */
static void hear(pair *p) {
        char byte;
        if (p->client_result != 1 || p->server_result == 1)
                return;
        ERR_clear_error();
        int r = SSL_read(p->client, &byte, 1);
        if (r <= 0 && SSL_get_error(p->client, r) == SSL_ERROR_SSL) {
                p->client_result = -1;
                (void) rq_tls_failure(p->client, p->client_problem, sizeof p->client_problem);
        }
}

static pair shake(rq_tls *server, rq_tls *client, const char *host) {
        pair p = {0};
        BIO *near = NULL, *far = NULL;
        assert_int_equal(rq_tls_accept(server, &p.server), RQ_OK);
        assert_int_equal(rq_tls_connect(client, host, &p.client), RQ_OK);
        assert_int_equal(BIO_new_bio_pair(&near, 0, &far, 0), 1);
        SSL_set_bio(p.server, near, near);
        SSL_set_bio(p.client, far, far);
        for (int i = 0; i < 20; i++) {
                p.client_result = step(p.client, p.client_result, p.client_problem);
                p.server_result = step(p.server, p.server_result, p.server_problem);
        }
        hear(&p);
        return p;
}

static void done(pair *p) {
        SSL_free(p->server);
        SSL_free(p->client);
}

static void assert_shakes(rq_tls *server, rq_tls *client, const char *host) {
        pair p = shake(server, client, host);
        char text[4] = "";
        if (p.server_result != 1 || p.client_result != 1)
                fail_msg("server: %d %s, client: %d %s", p.server_result, p.server_problem, p.client_result, p.client_problem);
        assert_int_equal(SSL_write(p.client, "abc", 3), 3);
        assert_int_equal(SSL_read(p.server, text, 3), 3);
        assert_string_equal(text, "abc");
        assert_int_equal(SSL_version(p.client), TLS1_3_VERSION);
        done(&p);
}

static void assert_fails(rq_tls *server, rq_tls *client, const char *host, const char *server_says, const char *client_says) {
        pair p = shake(server, client, host);
        if (p.server_result == 1 || p.client_result == 1 || strstr(p.server_problem, server_says) == NULL || strstr(p.client_problem, client_says) == NULL)
                fail_msg("server: %d %s, client: %d %s", p.server_result, p.server_problem, p.client_result, p.client_problem);
        done(&p);
}

/* --- tests ---------------------------------------------------------------------- */

static void test_files_that_cannot_be_used(void **state) {
        char path[128];
        (void) state;
        rq_tls_options o = options();
        o.cert_file = "/nowhere/cert.pem";
        assert_refused(&o, "-node-cert", "/nowhere/cert.pem", "No such file or directory");
        o.cert_file = folder;
        assert_refused(&o, "-node-cert", folder, "not a regular file");
        (void) snprintf(path, sizeof path, "%s/fifo", folder);
        assert_int_equal(mkfifo(path, 0600), 0);
        o.cert_file = path;
        assert_refused(&o, "-node-cert", path, "not a regular file");
        write_text(junk, "nothing of that kind\n", "w");
        o.cert_file = junk;
        assert_refused(&o, "-node-cert", junk, "no certificate in PEM form");
        o = options();
        o.key_file = junk;
        assert_refused(&o, "-node-key", junk, "no private key in PEM form");
        o.key_file = other_key;
        assert_refused(&o, "-node-key", other_key, "doesn't belong to the certificate");
        o = options();
        o.ca_file = junk;
        assert_refused(&o, "-node-ca-cert", junk, "no certificate in PEM form");
        o.key_file = "";
        assert_refused(&o, "-node-cert", "-node-key", "both needed");
        assert_int_equal(truncate(junk, 2 * 1024 * 1024), 0);
        o = options();
        o.cert_file = junk;
        assert_refused(&o, "-node-cert", junk, "larger than 1 MiB");
}

static void test_files_with_something_wrong_in_them(void **state) {
        char path[128], pass_key[128];
        (void) state;
        const test_certificate secret = { .common_name = "node", .days = 20, .passphrase = "secret" };
        (void) snprintf(path, sizeof path, "%s/pass-cert.pem", folder);
        (void) snprintf(pass_key, sizeof pass_key, "%s/pass-key.pem", folder);
        test_authority_issue(authority, &secret, path, pass_key);
        rq_tls_options o = options();
        o.cert_file = path;
        o.key_file = pass_key;
        assert_refused(&o, "-node-key", pass_key, "passphrase");
        /* A damaged one behind a good one. */
        test_authority_write(authority, path, false);
        write_text(path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a");
        o = options();
        o.ca_file = path;
        assert_refused(&o, "-node-ca-cert", path, "behind the first 1 is damaged");
}

static void test_who_is_believed(void **state) {
        (void) state;
        rq_tls_options o = options();
        rq_tls *tls = load(&o);
        assert_shakes(tls, tls, "localhost");
        assert_shakes(tls, tls, "127.0.0.1");
        assert_fails(tls, tls, "node2.example", "", "not for the host");
        assert_fails(tls, tls, "127.0.0.2", "", "not for the host");
        assert_fails(tls, tls, "node", "", "not for the host"); /* the common name is no host */
        o.server_name = "node1.example";
        rq_tls *named = load(&o);
        assert_shakes(tls, named, "10.1.2.3");
        o = options();
        o.ca_file = stranger_ca;
        rq_tls *foreign = load(&o);
        assert_fails(tls, foreign, "localhost", "doesn't trust this node's certificate", "not trusted");
        o.no_verify = true;
        rq_tls *careless = load(&o);
        assert_shakes(tls, careless, "node2.example");
        o = options();
        o.ca_file = NULL; /* the system's roots don't know us */
        rq_tls *system = load(&o);
        assert_fails(tls, system, "localhost", "", "not trusted");
        rq_tls *all[] = { tls, named, foreign, careless, system };
        for (size_t i = 0; i < 5; i++)
                (void) rq_tls_free(all[i]);
}

static void test_clients_must_show_who_they_are(void **state) {
        char path[64], path_key[64];
        (void) state;
        rq_tls_options o = options();
        rq_tls *client = load(&o);
        o.verify_client = true;
        rq_tls *mutual = load(&o);
        assert_shakes(mutual, client, "localhost");
        o.client_common_name = "node";
        rq_tls *named = load(&o);
        assert_shakes(named, client, "localhost");
        o.client_common_name = "nod";
        rq_tls *misnamed = load(&o);
        assert_fails(misnamed, client, "localhost", "hasn't the common name \"nod\"", "");
        /* Signed by somebody else. */
        o = options();
        o.cert_file = other_cert;
        o.key_file = other_key;
        rq_tls *foreign = load(&o);
        assert_fails(mutual, foreign, "localhost", "not trusted", "unknown CA");
        /* Over. */
        (void) snprintf(path, sizeof path, "%s/old.pem", folder);
        (void) snprintf(path_key, sizeof path_key, "%s/old-key.pem", folder);
        const test_certificate old = { .common_name = "node", .names = usual.names, .days = -3 };
        test_authority_issue(authority, &old, path, path_key);
        o.cert_file = path;
        o.key_file = path_key;
        rq_tls *expired = load(&o);
        assert_true(rq_tls_expires_s(expired) < (int64_t) (rq_clock_wall_us() / 1000000));
        assert_fails(mutual, expired, "localhost", "has expired", "expired");
        assert_fails(expired, client, "localhost", "", "has expired");
        /* For servers only. */
        const test_certificate server_only = { .common_name = "node", .names = usual.names, .usage = "serverAuth", .days = 3 };
        test_authority_issue(authority, &server_only, path, path_key);
        rq_tls *one_use = load(&o);
        assert_shakes(one_use, client, "localhost");
        assert_fails(mutual, one_use, "localhost", "not allowed for this use", "");
        rq_tls *all[] = { client, mutual, named, misnamed, foreign, expired, one_use };
        for (size_t i = 0; i < 7; i++)
                (void) rq_tls_free(all[i]);
}

/* A client without any certificate, and one with an old version: OpenSSL's own. */
static void test_anonymous_and_old_clients(void **state) {
        (void) state;
        rq_tls_options o = options();
        o.verify_client = true;
        rq_tls *mutual = load(&o);
        for (int old = 0; old < 2; old++) {
                SSL_CTX *context = SSL_CTX_new(TLS_method());
                pair p = { .client = SSL_new(context) };
                BIO *near = NULL, *far = NULL;
                assert_int_equal(rq_tls_accept(mutual, &p.server), RQ_OK);
                assert_int_equal(BIO_new_bio_pair(&near, 0, &far, 0), 1);
                SSL_set_bio(p.server, near, near);
                SSL_set_bio(p.client, far, far);
                SSL_set_connect_state(p.client);
                if (old) {
                        SSL_set_security_level(p.client, 0);
                        assert_int_equal(SSL_set_min_proto_version(p.client, TLS1_1_VERSION), 1);
                        assert_int_equal(SSL_set_max_proto_version(p.client, TLS1_1_VERSION), 1);
                }
                for (int i = 0; i < 20; i++) {
                        p.client_result = step(p.client, p.client_result, p.server_problem); /* its own words don't matter */
                        p.server_problem[0] = '\0';
                        p.server_result = step(p.server, p.server_result, p.server_problem);
                        if (p.server_result != 0)
                                break;
                }
                assert_int_equal(p.server_result, -1);
                if (!old)
                        assert_string_equal(p.server_problem, "it showed no certificate");
                done(&p);
                SSL_CTX_free(context);
        }
        (void) rq_tls_free(mutual);
}

static long serial_seen(rq_tls *server, rq_tls *client) {
        pair p = shake(server, client, "localhost");
        assert_true(p.server_result == 1 && p.client_result == 1);
        const unsigned char *der;
        X509 *seen = SSL_get0_peer_certificate(p.client);
        assert_non_null(seen);
        const ASN1_INTEGER *serial = X509_get0_serialNumber(seen);
        der = ASN1_STRING_get0_data(serial);
        const long value = der[0] << 16 | der[1] << 8 | der[2];
        done(&p);
        return value;
}

static void test_files_that_change(void **state) {
        (void) state;
        char text[4] = "", half[64], half_key[64];
        rq_tls_options o = options();
        (void) snprintf(half, sizeof half, "%s/half.pem", folder);
        (void) snprintf(half_key, sizeof half_key, "%s/half-key.pem", folder);
        test_authority_issue(authority, &usual, half, half_key);
        o.cert_file = half;
        o.key_file = half_key;
        rq_tls *tls = load(&o);
        pair kept = shake(tls, tls, "localhost");
        assert_true(kept.server_result == 1 && kept.client_result == 1);
        const long first = serial_seen(tls, tls);
        problem.size = 0;
        assert_int_equal(rq_tls_refresh(tls, false, &problem), RQ_EAGAIN);

        test_authority_issue(authority, &usual, half, half_key);
        assert_int_equal(rq_tls_refresh(tls, false, &problem), RQ_OK);
        const long second = serial_seen(tls, tls);
        assert_true(first != second);
        assert_int_equal(rq_tls_refresh(tls, false, &problem), RQ_EAGAIN);
        assert_int_equal(rq_tls_refresh(tls, true, &problem), RQ_OK);

        /* The key of another: for a moment that is nobody's fault; then it is told, once. */
        char new_key[64];
        (void) snprintf(new_key, sizeof new_key, "%s/new-key.pem", folder);
        test_authority_issue(authority, &usual, junk, new_key);
        assert_int_equal(rename(new_key, half_key), 0);
        assert_int_equal(rq_tls_refresh(tls, false, &problem), RQ_EAGAIN);
        assert_int_equal(rq_tls_refresh(tls, false, &problem), RQ_ECONFIG);
        assert_non_null(strstr(problem_text(), "doesn't belong to the certificate"));
        assert_int_equal(rq_tls_refresh(tls, false, &problem), RQ_EAGAIN);
        assert_int_equal(serial_seen(tls, tls), second);
        problem.size = 0;
        assert_int_equal(rq_tls_refresh(tls, true, &problem), RQ_ECONFIG); /* who asks is told */
        assert_int_equal(rename(junk, half), 0);
        assert_int_equal(rq_tls_refresh(tls, false, &problem), RQ_OK);
        assert_true(serial_seen(tls, tls) != second);

        assert_int_equal(unlink(half), 0);
        assert_int_equal(rq_tls_refresh(tls, false, &problem), RQ_EAGAIN);
        assert_int_equal(rq_tls_refresh(tls, false, &problem), RQ_ECONFIG);
        /* What was connected goes on. */
        assert_int_equal(SSL_write(kept.server, "abc", 3), 3);
        assert_int_equal(SSL_read(kept.client, text, 3), 3);
        done(&kept);
        (void) rq_tls_free(tls);
}

/* From one authority to the next, with both believed in between. */
static void test_an_authority_that_changes(void **state) {
        char path[64];
        (void) state;
        (void) snprintf(path, sizeof path, "%s/roots.pem", folder);
        test_authority_write(authority, path, false);
        rq_tls_options o = options();
        o.ca_file = path;
        o.verify_client = true;
        rq_tls *node = load(&o);
        o = options();
        o.cert_file = other_cert;
        o.key_file = other_key;
        rq_tls *moved = load(&o);
        assert_fails(node, moved, "localhost", "not trusted", "");
        test_authority_write(stranger, path, true);
        assert_int_equal(rq_tls_refresh(node, false, &problem), RQ_OK);
        assert_shakes(node, moved, "localhost");
        assert_shakes(node, node, "localhost");
        test_authority_write(stranger, path, false);
        assert_int_equal(rq_tls_refresh(node, false, &problem), RQ_OK);
        assert_fails(node, node, "localhost", "", "not trusted");
        (void) rq_tls_free(node);
        (void) rq_tls_free(moved);
}

static void test_hosts_that_no_certificate_is_for(void **state) {
        (void) state;
        char longer[400];
        SSL *ssl = NULL;
        rq_tls_options o = options();
        rq_tls *tls = load(&o);
        memset(longer, 'a', sizeof longer - 1);
        longer[sizeof longer - 1] = '\0';
        assert_int_equal(rq_tls_connect(tls, "", &ssl), RQ_EINVAL);
        assert_int_equal(rq_tls_connect(tls, longer, &ssl), RQ_EINVAL);
        char text[512];
        assert_non_null(strstr(rq_tls_describe(tls, text, sizeof text), "mutual TLS disabled"));
        (void) rq_tls_free(tls);
}

static int make_files(void **state) {
        (void) state;
        if (mkdtemp(folder) == NULL)
                return -1;
        const struct { char *path; const char *name; } files[] = {
                { ca, "ca" }, { cert, "cert" }, { key, "key" }, { other_cert, "other" }, { other_key, "other-key" },
                { stranger_ca, "stranger-ca" }, { junk, "junk" },
        };
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
                (void) snprintf(files[i].path, 64, "%s/%s.pem", folder, files[i].name);
        authority = test_authority_new("Test CA");
        stranger = test_authority_new("Another CA");
        test_authority_write(authority, ca, false);
        test_authority_write(stranger, stranger_ca, false);
        test_authority_issue(authority, &usual, cert, key);
        test_authority_issue(stranger, &usual, other_cert, other_key);
        return 0;
}

static int remove_files(void **state) {
        char command[128];
        (void) state;
        authority = test_authority_free(authority);
        stranger = test_authority_free(stranger);
        (void) snprintf(command, sizeof command, "rm -rf %s", folder);
        return system(command);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_files_that_cannot_be_used), TEST(test_files_with_something_wrong_in_them), TEST(test_who_is_believed),
                TEST(test_clients_must_show_who_they_are), TEST(test_anonymous_and_old_clients), TEST(test_files_that_change),
                TEST(test_an_authority_that_changes), TEST(test_hosts_that_no_certificate_is_for),
        };
        return cmocka_run_group_tests(tests, make_files, remove_files);
}
