#include "certificates.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct test_authority {
        X509 *cert;
        EVP_PKEY *key;
};

static void put_name(X509 *cert, const char *common_name) {
        X509_NAME *name = X509_get_subject_name(cert);
        rq_assert(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *) common_name, -1, -1, 0) == 1);
}

static void put_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
        X509V3_CTX context;
        X509V3_set_ctx_nodb(&context);
        X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
        rq_assert(extension != NULL && X509_add_ext(cert, extension, -1) == 1);
        X509_EXTENSION_free(extension);
}

static X509 *make(const char *common_name, EVP_PKEY *key, int days) {
        X509 *cert = X509_new();
        uint64_t serial = 0;
        const long day = 24 * 3600;
        rq_assert(cert != NULL && RAND_bytes((unsigned char *) &serial, 7) == 1);
        rq_assert(X509_set_version(cert, 2) == 1 && ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial) == 1);
        (void) X509_gmtime_adj(X509_getm_notBefore(cert), days < 0 ? days * day - 3600 : -3600);
        (void) X509_gmtime_adj(X509_getm_notAfter(cert), days < 0 ? -3600 : days * day);
        rq_assert(X509_set_pubkey(cert, key) == 1);
        put_name(cert, common_name);
        return cert;
}

test_authority *test_authority_new(const char *common_name) {
        test_authority *authority = calloc(1, sizeof *authority);
        rq_assert(authority != NULL);
        authority->key = EVP_EC_gen("P-256");
        rq_assert(authority->key != NULL);
        authority->cert = make(common_name, authority->key, 30);
        rq_assert(X509_set_issuer_name(authority->cert, X509_get_subject_name(authority->cert)) == 1);
        put_extension(authority->cert, authority->cert, NID_basic_constraints, "critical,CA:TRUE");
        put_extension(authority->cert, authority->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
        rq_assert(X509_sign(authority->cert, authority->key, EVP_sha256()) > 0);
        return authority;
}

test_authority *test_authority_free(test_authority *authority) {
        X509_free(authority->cert);
        EVP_PKEY_free(authority->key);
        free(authority);
        return NULL;
}

void test_authority_write(const test_authority *authority, const char *path, bool append) {
        FILE *file = fopen(path, append ? "a" : "w");
        rq_assert(file != NULL && PEM_write_X509(file, authority->cert) == 1 && fclose(file) == 0);
}

static void write_key(EVP_PKEY *key, const char *passphrase, const char *path) {
        FILE *file = fopen(path, "w");
        rq_assert(file != NULL);
        if (passphrase == NULL)
                rq_assert(PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
        else
                rq_assert(PEM_write_PKCS8PrivateKey(file, key, EVP_aes_256_cbc(), passphrase, (int) strlen(passphrase), NULL, NULL) == 1);
        rq_assert(fclose(file) == 0);
}

void test_authority_issue(const test_authority *authority, const test_certificate *what, const char *cert_path, const char *key_path) {
        char new_path[4096];
        EVP_PKEY *key = EVP_EC_gen("P-256");
        rq_assert(key != NULL);
        X509 *cert = make(what->common_name, key, what->days);
        rq_assert(X509_set_issuer_name(cert, X509_get_subject_name(authority->cert)) == 1);
        if (what->names != NULL)
                put_extension(cert, authority->cert, NID_subject_alt_name, what->names);
        if (what->usage != NULL)
                put_extension(cert, authority->cert, NID_ext_key_usage, what->usage);
        rq_assert(X509_sign(cert, authority->key, EVP_sha256()) > 0);
        (void) snprintf(new_path, sizeof new_path, "%s.new", key_path);
        write_key(key, what->passphrase, new_path);
        rq_assert(rename(new_path, key_path) == 0);
        (void) snprintf(new_path, sizeof new_path, "%s.new", cert_path);
        FILE *file = fopen(new_path, "w");
        rq_assert(file != NULL && PEM_write_X509(file, cert) == 1 && fclose(file) == 0 && rename(new_path, cert_path) == 0);
        X509_free(cert);
        EVP_PKEY_free(key);
}
