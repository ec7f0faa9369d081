#include "tls/tls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

enum {
        FILE_BYTES_MAX      = 1024 * 1024,
        PEER_CHAIN_BYTES_MAX = 32 * 1024, /* of certificates that the other side shows; before it is known */
        NAME_BYTES_MAX      = 256,
        HOST_BYTES_MAX      = 256,
};

#define SUITES_OF_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"

typedef struct file_mark {
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec modified, changed;
        bool there;
} file_mark;

typedef enum tls_file { CERT, KEY, CA, FILES } tls_file;

static const char *const flag_ends[FILES] = { "cert", "key", "ca-cert" };

typedef struct file_marks { file_mark of[FILES]; } file_marks;

struct rq_tls {
        char *flags, *files[FILES], *client_common_name, *server_name;
        bool verify_client, no_verify, resumption;
        SSL_CTX *context;
        int64_t expires_s;
        file_marks loaded;
        file_marks refused;    /* what was there when it couldn't be loaded */
        bool is_refused, refusal_told;
};

/* --- files ------------------------------------------------------------------ */

#define complain(problem, ...) (rq_buf_printf(problem, __VA_ARGS__) < 0 ? RQ_ENOMEM : RQ_ECONFIG)

static rq_err refuse(const rq_tls *tls, tls_file file, rq_buf *problem, const char *format, ...) __attribute__((format(printf, 4, 5)));

static rq_err refuse(const rq_tls *tls, tls_file file, rq_buf *problem, const char *format, ...) {
        char reason[512];
        va_list args;
        va_start(args, format);
        (void) vsnprintf(reason, sizeof reason, format, args);
        va_end(args);
        ERR_clear_error();
        return complain(problem, "-%s-%s: %s: %s", tls->flags, flag_ends[file], tls->files[file], reason);
}

static file_mark mark_of(const char *path) {
        struct stat s;
        if (path == NULL || stat(path, &s) != 0)
                return (file_mark) {0};
        return (file_mark) { .device = s.st_dev, .inode = s.st_ino, .size = s.st_size, .modified = s.st_mtim, .changed = s.st_ctim, .there = true };
}

static file_marks marks_of(const rq_tls *tls) {
        file_marks marks;
        for (size_t i = 0; i < FILES; i++)
                marks.of[i] = mark_of(tls->files[i]);
        return marks;
}

static bool same_time(struct timespec a, struct timespec b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

static bool same_marks(const file_marks *a, const file_marks *b) {
        for (size_t i = 0; i < FILES; i++) {
                const file_mark *x = &a->of[i], *y = &b->of[i];
                if (x->there != y->there || x->device != y->device || x->inode != y->inode || x->size != y->size ||
                    !same_time(x->modified, y->modified) || !same_time(x->changed, y->changed))
                        return false;
        }
        return true;
}

static void bio_freep(BIO **bio) { (void) BIO_free(*bio); }
static void wipe(rq_buf *buf) {
        if (buf->data != NULL)
                OPENSSL_cleanse(buf->data, buf->capacity);
        rq_buf_done(buf);
}

/* The whole file: no FIFO that would hang, nothing endless. The content may be a key: the caller wipes it. */
static rq_err read_file(const rq_tls *tls, tls_file file, rq_buf *content, rq_buf *problem) {
        RQ_CLEANUP(rq_closep) int fd = open(tls->files[file], O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        struct stat s;
        if (fd < 0 || fstat(fd, &s) != 0)
                return refuse(tls, file, problem, "cannot be read: %s", strerror(errno));
        if (!S_ISREG(s.st_mode))
                return refuse(tls, file, problem, "is not a regular file");
        if (s.st_size > FILE_BYTES_MAX)
                return refuse(tls, file, problem, "is larger than 1 MiB");
        rq_err r = rq_buf_reserve(content, FILE_BYTES_MAX + 1);
        while (r >= 0) {
                ssize_t got = read(fd, content->data + content->size, content->capacity - content->size);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return refuse(tls, file, problem, "cannot be read: %s", strerror(errno));
                if (got == 0)
                        return RQ_OK;
                content->size += (size_t) got;
                if (content->size > FILE_BYTES_MAX)
                        return refuse(tls, file, problem, "is larger than 1 MiB");
        }
        return r;
}

/* A key with a passphrase would ask for it on a terminal. */
static int no_passphrase(char *buf, int size, int writes, void *arg) {
        (void) buf;
        (void) size;
        (void) writes;
        (void) arg;
        return -1;
}

static int64_t time_of(const ASN1_TIME *time) {
        struct tm parts;
        if (time == NULL || ASN1_TIME_to_tm(time, &parts) != 1)
                return 0;
        return (int64_t) timegm(&parts);
}

/* Ours first, then what leads from it to a root. */
static rq_err load_cert(const rq_tls *tls, SSL_CTX *context, int64_t *ret_expires_s, rq_buf *problem) {
        RQ_CLEANUP(rq_buf_done) rq_buf content = {0};
        rq_err r = read_file(tls, CERT, &content, problem);
        if (r < 0)
                return r;
        RQ_CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(content.data, (int) content.size);
        if (bio == NULL)
                return RQ_ENOMEM;
        X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
        if (cert == NULL)
                return refuse(tls, CERT, problem, "has no certificate in PEM form");
        *ret_expires_s = time_of(X509_get0_notAfter(cert));
        int ok = SSL_CTX_use_certificate(context, cert);
        X509_free(cert);
        if (ok != 1) {
                const char *reason = ERR_reason_error_string(ERR_peek_last_error());
                return refuse(tls, CERT, problem, "can't be used: %s", reason != NULL ? reason : "unknown reason");
        }
        for (;;) {
                X509 *next = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
                if (next == NULL)
                        break;
                if (SSL_CTX_add0_chain_cert(context, next) != 1) {
                        X509_free(next);
                        return RQ_ENOMEM;
                }
        }
        const unsigned long last = ERR_peek_last_error();
        if (ERR_GET_LIB(last) != ERR_LIB_PEM || ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
                return refuse(tls, CERT, problem, "a certificate behind the first one is damaged");
        ERR_clear_error();
        return RQ_OK;
}

static rq_err load_key(const rq_tls *tls, SSL_CTX *context, rq_buf *problem) {
        RQ_CLEANUP(wipe) rq_buf content = {0};
        rq_err r = read_file(tls, KEY, &content, problem);
        if (r < 0)
                return r;
        RQ_CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(content.data, (int) content.size);
        if (bio == NULL)
                return RQ_ENOMEM;
        const bool encrypted = memmem(content.data, content.size, "ENCRYPTED", 9) != NULL;
        EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
        if (key == NULL)
                return refuse(tls, KEY, problem, encrypted ? "has a passphrase, it must be without" : "has no private key in PEM form");
        const bool fits = X509_check_private_key(SSL_CTX_get0_certificate(context), key) == 1;
        const bool used = fits && SSL_CTX_use_PrivateKey(context, key) == 1;
        EVP_PKEY_free(key);
        if (!fits)
                return refuse(tls, KEY, problem, "doesn't belong to the certificate of -%s-cert %s", tls->flags, tls->files[CERT]);
        return used ? RQ_OK : refuse(tls, KEY, problem, "can't be used");
}

static rq_err load_ca(const rq_tls *tls, SSL_CTX *context, rq_buf *problem) {
        RQ_CLEANUP(rq_buf_done) rq_buf content = {0};
        size_t count = 0;
        if (tls->files[CA] == NULL)
                return SSL_CTX_set_default_verify_paths(context) == 1 ? RQ_OK : RQ_ENOMEM;
        rq_err r = read_file(tls, CA, &content, problem);
        if (r < 0)
                return r;
        RQ_CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(content.data, (int) content.size);
        if (bio == NULL)
                return RQ_ENOMEM;
        for (;; count++) {
                X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
                if (cert == NULL)
                        break;
                const bool added = X509_STORE_add_cert(SSL_CTX_get_cert_store(context), cert) == 1 &&
                                   (!tls->verify_client || SSL_CTX_add_client_CA(context, cert) == 1);
                X509_free(cert);
                if (!added)
                        return RQ_ENOMEM;
        }
        const unsigned long last = ERR_peek_last_error();
        if (count > 0 && (ERR_GET_LIB(last) != ERR_LIB_PEM || ERR_GET_REASON(last) != PEM_R_NO_START_LINE))
                return refuse(tls, CA, problem, "a certificate behind the first %zu is damaged", count);
        if (count == 0)
                return refuse(tls, CA, problem, "has no certificate in PEM form");
        ERR_clear_error();
        return RQ_OK;
}

static rq_err configure(const rq_tls *tls, SSL_CTX *context) {
        static const unsigned char session_context[] = "rq";
        if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(context, SUITES_OF_1_2) != 1)
                return RQ_ENOMEM;
        (void) SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
        (void) SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_max_cert_list(context, PEER_CHAIN_BYTES_MAX);
        if (tls->resumption && !tls->verify_client) {
                (void) SSL_CTX_set_session_id_context(context, session_context, sizeof session_context - 1);
                return RQ_OK;
        }
        /* Who is resumed isn't looked at again: not its certificate, not the CA of today. */
        (void) SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        (void) SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        return SSL_CTX_set_num_tickets(context, 0) == 1 ? RQ_OK : RQ_ENOMEM;
}

static rq_err load(rq_tls *tls, rq_buf *problem) {
        int64_t expires_s = 0;
        SSL_CTX *context = SSL_CTX_new(TLS_method());
        if (context == NULL)
                return RQ_ENOMEM;
        rq_err r = configure(tls, context);
        if (r >= 0)
                r = load_cert(tls, context, &expires_s, problem);
        if (r >= 0)
                r = load_key(tls, context, problem);
        if (r >= 0)
                r = load_ca(tls, context, problem);
        if (r < 0) {
                SSL_CTX_free(context);
                ERR_clear_error();
                return r;
        }
        SSL_CTX_free(tls->context); /* connections made with it keep it */
        tls->context = context;
        tls->expires_s = expires_s;
        return RQ_OK;
}

/* --- life ------------------------------------------------------------------- */

static bool is_given(const char *text) { return text != NULL && text[0] != '\0'; }

/* *ret NULL if not given. */
static bool copy(const char *text, char **ret) {
        *ret = is_given(text) ? strdup(text) : NULL;
        return *ret != NULL || !is_given(text);
}

rq_err rq_tls_new(const rq_tls_options *options, rq_tls **ret_tls, rq_buf *problem) {
        rq_tls *tls = calloc(1, sizeof *tls);
        if (tls == NULL)
                return RQ_ENOMEM;
        tls->verify_client = options->verify_client;
        tls->no_verify = options->no_verify;
        tls->resumption = options->resumption;
        rq_err r = copy(options->flags, &tls->flags) && copy(options->cert_file, &tls->files[CERT]) && copy(options->key_file, &tls->files[KEY]) &&
                   copy(options->ca_file, &tls->files[CA]) && copy(options->client_common_name, &tls->client_common_name) &&
                   copy(options->server_name, &tls->server_name) ? RQ_OK : RQ_ENOMEM;
        if (r >= 0 && (tls->files[CERT] == NULL || tls->files[KEY] == NULL))
                r = complain(problem, "-%s-cert and -%s-key are both needed", tls->flags, tls->flags);
        if (r >= 0) {
                tls->loaded = marks_of(tls); /* before reading: what changes meanwhile is seen at the next look */
                r = load(tls, problem);
        }
        if (r < 0) {
                (void) rq_tls_free(tls);
                return r;
        }
        *ret_tls = tls;
        return RQ_OK;
}

rq_tls *rq_tls_free(rq_tls *tls) {
        if (tls == NULL)
                return NULL;
        SSL_CTX_free(tls->context);
        for (size_t i = 0; i < FILES; i++)
                free(tls->files[i]);
        free(tls->flags);
        free(tls->client_common_name);
        free(tls->server_name);
        free(tls);
        return NULL;
}

rq_err rq_tls_refresh(rq_tls *tls, bool forced, rq_buf *problem) {
        const file_marks marks = marks_of(tls);
        const bool again = tls->is_refused && same_marks(&marks, &tls->refused);
        if (!forced && (again ? tls->refusal_told : same_marks(&marks, &tls->loaded))) {
                tls->is_refused = again; /* the old files may be back */
                return RQ_EAGAIN;
        }
        rq_err r = load(tls, problem);
        if (r >= 0) {
                tls->loaded = marks;
                tls->is_refused = false;
                return RQ_OK;
        }
        if (r != RQ_ECONFIG)
                return r;
        tls->refusal_told = again || forced;
        tls->refused = marks;
        tls->is_refused = true;
        if (!tls->refusal_told)
                problem->size = 0;
        return tls->refusal_told ? RQ_ECONFIG : RQ_EAGAIN;
}

/* --- connections ------------------------------------------------------------ */

static void common_name_of(X509 *cert, char *text, size_t size) {
        text[0] = '\0';
        if (cert == NULL || X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, text, (int) size) < 0)
                text[0] = '\0';
}

/* Beside what OpenSSL has checked: the exact common name of a client. Said within the
 * handshake, so that the other side hears of it, too. */
static int on_verify(int ok, X509_STORE_CTX *store) {
        const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
        const rq_tls *tls = SSL_get_app_data(ssl);
        char name[NAME_BYTES_MAX];
        if (ok != 1 || X509_STORE_CTX_get_error_depth(store) != 0 || tls->client_common_name == NULL)
                return ok;
        X509 *cert = X509_STORE_CTX_get_current_cert(store);
        common_name_of(cert, name, sizeof name);
        /* A name with a NUL in it, which text would end at, is another one. */
        if (strcmp(name, tls->client_common_name) == 0 &&
            X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, NULL, 0) == (int) strlen(name))
                return 1;
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
}

rq_err rq_tls_accept(rq_tls *tls, SSL **ret_ssl) {
        SSL *ssl = SSL_new(tls->context);
        if (ssl == NULL)
                return RQ_ENOMEM;
        (void) SSL_set_app_data(ssl, tls);
        if (tls->verify_client)
                SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
        SSL_set_accept_state(ssl);
        *ret_ssl = ssl;
        return RQ_OK;
}

static bool is_literal(const char *host) {
        struct in6_addr address;
        return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

/* Names in the subject don't count (RFC 9525): only alternative names say what kind they are. */
static bool expect_host(SSL *ssl, const char *host) {
        X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
        if (is_literal(host))
                return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
        return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

rq_err rq_tls_connect(rq_tls *tls, const char *host, SSL **ret_ssl) {
        const char *expected = tls->server_name != NULL ? tls->server_name : host;
        if (strlen(expected) == 0 || strlen(expected) >= HOST_BYTES_MAX)
                return RQ_EINVAL;
        SSL *ssl = SSL_new(tls->context);
        if (ssl == NULL)
                return RQ_ENOMEM;
        (void) SSL_set_app_data(ssl, tls);
        SSL_set_connect_state(ssl);
        if (tls->no_verify) {
                if (!is_literal(expected))
                        (void) SSL_set_tlsext_host_name(ssl, expected);
        } else {
                SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
                if (!expect_host(ssl, expected)) {
                        SSL_free(ssl);
                        ERR_clear_error();
                        return RQ_EINVAL;
                }
        }
        *ret_ssl = ssl;
        return RQ_OK;
}

/* --- words ------------------------------------------------------------------ */

static void describe_verdict(const SSL *ssl, long verdict, char *text, size_t size) {
        const rq_tls *tls = SSL_get_app_data(ssl);
        switch (verdict) {
        case X509_V_ERR_APPLICATION_VERIFICATION:
                (void) snprintf(text, size, "its certificate hasn't the common name \"%s\"", tls->client_common_name);
                return;
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
                (void) snprintf(text, size, "its certificate is not for the host that was expected there (subject alternative names)");
                return;
        case X509_V_ERR_CERT_HAS_EXPIRED:
                (void) snprintf(text, size, "its certificate has expired");
                return;
        case X509_V_ERR_INVALID_PURPOSE:
                (void) snprintf(text, size, "its certificate is not allowed for this use (extended key usage: nodes need serverAuth and clientAuth)");
                return;
        default:
                (void) snprintf(text, size, "its certificate is not trusted: %s", X509_verify_cert_error_string(verdict));
        }
}

/* What the other side has said about us (alerts), and what it is if it isn't TLS. */
static const char *known_reason(int reason) {
        switch (reason) {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return "it showed no certificate";
        case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED: return "it wants a certificate from this node";
        case SSL_R_TLSV1_ALERT_UNKNOWN_CA: return "it doesn't trust this node's certificate (unknown CA)";
        case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
        case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
        case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
        case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE: return "it refuses this node's certificate, or has no cipher in common";
        case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED: return "it says that this node's certificate has expired";
        case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
                return "it says that this node's certificate is not allowed for this use (extended key usage: nodes need serverAuth and clientAuth)";
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_HTTP_REQUEST:
        case SSL_R_HTTPS_PROXY_REQUEST: return "it doesn't speak TLS";
        default: return NULL;
        }
}

const char *rq_tls_failure(const SSL *ssl, char *text, size_t size) {
        const unsigned long error = ERR_peek_last_error();
        const long verdict = SSL_get_verify_result(ssl);
        const char *known = known_reason(ERR_GET_REASON(error)), *reason = ERR_reason_error_string(error);
        if (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED && verdict != X509_V_OK)
                describe_verdict(ssl, verdict, text, size);
        else if (known != NULL)
                (void) snprintf(text, size, "%s", known);
        else
                (void) snprintf(text, size, "%s", reason != NULL ? reason : "it closed the connection during the handshake");
        ERR_clear_error();
        return text;
}

int64_t rq_tls_expires_s(const rq_tls *tls) { return tls->expires_s; }
const char *rq_tls_cert_file(const rq_tls *tls) { return tls->files[CERT]; }

const char *rq_tls_describe(const rq_tls *tls, char *text, size_t size) {
        const char *ca = tls->files[CA], *name = tls->client_common_name;
        (void) snprintf(text, size, "cert: %s, key: %s%s%s%s%s%s%s%s", tls->files[CERT], tls->files[KEY], ca != NULL ? ", CA cert: " : "",
                        ca != NULL ? ca : "", tls->verify_client ? ", mutual TLS enabled" : ", mutual TLS disabled",
                        name != NULL ? ", required client common name: \"" : "", name != NULL ? name : "", name != NULL ? "\"" : "",
                        tls->no_verify ? ", certificates of servers not verified" : "");
        return text;
}
