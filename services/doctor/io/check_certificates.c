#include <errno.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "core/judge.h"
#include "io/checks.h"

static const char check[] = "certificates";

static void fclosep(FILE **file) {
        if (*file != NULL)
                (void) fclose(*file);
}
static void x509_freep(X509 **x) { X509_free(*x); }
static void pkey_freep(EVP_PKEY **key) { EVP_PKEY_free(*key); }

static bool read_asn1_time(const ASN1_TIME *time, int64_t *ret_seconds) {
        struct tm tm;
        if (ASN1_TIME_to_tm(time, &tm) != 1)
                return false;
        *ret_seconds = (int64_t) timegm(&tm);
        return true;
}

static void judge_one(findings *f, const char *flag, const char *path, const X509 *x, int64_t now) {
        int64_t from, to, days;
        char subject[256] = "";
        (void) X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof subject);
        if (!read_asn1_time(X509_get0_notBefore(x), &from) || !read_asn1_time(X509_get0_notAfter(x), &to)) {
                (void) findings_add(f, check, FINDING_CRITICAL, "-%s %s: %s has no valid dates", flag, path, subject);
                return;
        }
        finding_state state = judge_certificate(now, from, to, &days);
        finding *found;
        if (now < from)
                found = findings_add(f, check, state, "-%s %s: %s isn't valid yet", flag, path, subject);
        else if (now > to)
                found = findings_add(f, check, state, "-%s %s: %s has expired %" PRId64 " days ago", flag, path, subject, -days);
        else
                found = findings_add(f, check, state, "-%s %s: %s is valid for %" PRId64 " more days", flag, path, subject, days);
        finding_value(found, "days_left", days);
        if (now < from)
                finding_remedy(found, "is the clock right? Else take a certificate that is valid now");
        else if (state != FINDING_OK)
                finding_remedy(found, "replace it and reload; connections fail once it has expired");
}

/* All certificates of the file: a chain, or CAs. *ret_first is the caller's. */
static void check_file(findings *f, const char *flag, const char *path, X509 **ret_first) {
        RQ_CLEANUP(fclosep) FILE *file = fopen(path, "re");
        int64_t now = (int64_t) (rq_clock_wall_us() / 1000000);
        size_t count = 0;
        X509 *x;
        if (file == NULL) {
                (void) findings_add(f, check, errno == EACCES ? FINDING_UNKNOWN : FINDING_CRITICAL, "-%s %s: %s", flag, path, strerror(errno));
                return;
        }
        for (; (x = PEM_read_X509(file, NULL, NULL, NULL)) != NULL; count++) {
                judge_one(f, flag, path, x, now);
                if (*ret_first == NULL)
                        *ret_first = x;
                else
                        X509_free(x);
        }
        unsigned long error = ERR_peek_last_error();
        bool ended = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
        ERR_clear_error();
        if (count == 0 || !ended)
                finding_remedy(findings_add(f, check, FINDING_CRITICAL, "-%s %s: %s", flag, path,
                                            count == 0 ? "no certificate is in it" : "a certificate in it is damaged"), "it must be PEM: BEGIN CERTIFICATE");
}

static int no_password(char *buf, int size, int rwflag, void *arg) {
        (void) buf;
        (void) size;
        (void) rwflag;
        (void) arg;
        return 0; /* never ask on the terminal */
}

static void check_key(findings *f, const char *flag, const char *path, X509 *certificate) {
        RQ_CLEANUP(fclosep) FILE *file = fopen(path, "re");
        RQ_CLEANUP(pkey_freep) EVP_PKEY *key = NULL;
        if (file == NULL) {
                (void) findings_add(f, check, errno == EACCES ? FINDING_UNKNOWN : FINDING_CRITICAL, "-%s %s: %s", flag, path, strerror(errno));
                return;
        }
        key = PEM_read_PrivateKey(file, NULL, no_password, NULL);
        if (key == NULL)
                (void) findings_add(f, check, FINDING_CRITICAL, "-%s %s: no private key is in it, or one with a password", flag, path);
        else if (certificate != NULL && X509_check_private_key(certificate, key) != 1)
                finding_remedy(findings_add(f, check, FINDING_CRITICAL, "-%s %s belongs to another certificate", flag, path),
                               "certificate and key must be made together");
        else
                (void) findings_add(f, check, FINDING_OK, "-%s %s fits its certificate", flag, path);
        ERR_clear_error();
}

void check_certificates(findings *f, const rq_config *config) {
        static const struct { const char *cert, *key, *ca; } sets[] = {
                { "http-cert", "http-key", "http-ca-cert" }, { "node-cert", "node-key", "node-ca-cert" },
        };
        for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
                RQ_CLEANUP(x509_freep) X509 *certificate = NULL, *ca = NULL;
                if (rq_config_string(config, sets[i].cert)[0] != '\0')
                        check_file(f, sets[i].cert, rq_config_string(config, sets[i].cert), &certificate);
                if (rq_config_string(config, sets[i].key)[0] != '\0')
                        check_key(f, sets[i].key, rq_config_string(config, sets[i].key), certificate);
                if (rq_config_string(config, sets[i].ca)[0] != '\0')
                        check_file(f, sets[i].ca, rq_config_string(config, sets[i].ca), &ca);
        }
}
