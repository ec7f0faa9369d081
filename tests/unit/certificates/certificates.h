/* Certificates for tests, made on the spot: an authority, and what it signs. Files are PEM in a
 * folder of the test's. Failures end the program. */
#ifndef RQ_TEST_CERTIFICATES_H
#define RQ_TEST_CERTIFICATES_H

#include <stdbool.h>

typedef struct test_authority test_authority;

test_authority *test_authority_new(const char *common_name);
test_authority *test_authority_free(test_authority *authority);
/* Its own certificate; append: behind what is in the file. */
void test_authority_write(const test_authority *authority, const char *path, bool append);

typedef struct test_certificate {
        const char *common_name;
        const char *names;       /* as in openssl.cnf: "DNS:localhost, IP:127.0.0.1"; NULL: none */
        const char *usage;       /* extended key usage: "serverAuth,clientAuth"; NULL: any */
        int days;                /* valid from an hour ago, for so many days; negative: over since then */
        const char *passphrase;  /* of the key; NULL: none */
} test_certificate;

/* Certificate and key of a fresh pair, each into its file by rename. */
void test_authority_issue(const test_authority *authority, const test_certificate *what, const char *cert_path, const char *key_path);

#endif
