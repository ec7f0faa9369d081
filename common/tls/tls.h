/* What one port needs for TLS: certificate, key, CA, and whom it believes. Read from
 * PEM files, and read anew when these change: connections made before go on with
 * what they were made with. Knows neither sockets nor the loop: it makes SSL
 * objects of OpenSSL, which whoever has the connection drives.
 *
 * TLS 1.2 at least; of 1.2 only suites with forward secrecy and AEAD. No renegotiation.
 * Belongs to one thread. */
#ifndef RQ_TLS_TLS_H
#define RQ_TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct ssl_st; /* OpenSSL's SSL */

typedef struct rq_tls rq_tls;

/* Text may be NULL or "": not given. All is copied. */
typedef struct rq_tls_options {
        const char *flags;         /* "node", "http": messages name -node-cert, -node-key, … */
        const char *cert_file;     /* ours, then its intermediates; required */
        const char *key_file;      /* required, without a passphrase */
        const char *ca_file;       /* who vouches for the other side; not given: the system's roots */
        bool verify_client;        /* accepting: the other side must show a certificate that ca_file vouches for */
        const char *client_common_name; /* … with exactly this common name; needs verify_client */
        bool no_verify;            /* connecting: take any certificate */
        const char *server_name;   /* connecting: expected in the certificate instead of the host that was dialled */
        bool resumption;           /* sessions may be resumed (clients that come again); never with verify_client */
} rq_tls_options;

/* Reads and checks the files. problem gets one line that names flag, file and reason.
 * Errors: RQ_ECONFIG, RQ_ENOMEM. */
rq_err rq_tls_new(const rq_tls_options *options, rq_tls **ret_tls, rq_buf *problem);

/* Accepts NULL, returns it. SSL objects that it has made must be gone. */
rq_tls *rq_tls_free(rq_tls *tls);

/* Reads the files again if one has changed (name, size or time), or if forced; costs three
 * stat() otherwise. RQ_OK: what is made from now on uses the new ones. RQ_EAGAIN: nothing has
 * changed, or what is there doesn't fit yet: certificate and key can't be replaced at one
 * instant, so a mismatch is told only when it is still there at the next call, and once.
 * RQ_ECONFIG: they are no good, problem says why, the old ones stay in use. RQ_ENOMEM. */
rq_err rq_tls_refresh(rq_tls *tls, bool forced, rq_buf *problem);

/* An SSL for a connection that was accepted; SSL_free() is the caller's. Errors: RQ_ENOMEM. */
rq_err rq_tls_accept(rq_tls *tls, struct ssl_st **ret_ssl);

/* The same for one to host, a name or a literal address: the certificate must be for it (or for server_name),
 * by its subject alternative names. Errors: RQ_ENOMEM, RQ_EINVAL (no host that a certificate can be for). */
rq_err rq_tls_connect(rq_tls *tls, const char *host, struct ssl_st **ret_ssl);

/* Why a handshake or a connection failed, in words about the other side ("its certificate …"); after an error of SSL_…,
 * before the next call of OpenSSL. Empties OpenSSL's queue of errors. Returns text. */
const char *rq_tls_failure(const struct ssl_st *ssl, char *text, size_t size);

/* For log and status. The end of our certificate's validity, in seconds since 1970. */
int64_t rq_tls_expires_s(const rq_tls *tls);
const char *rq_tls_cert_file(const rq_tls *tls);
/* "cert: C, key: K, CA cert: A, mutual TLS enabled, …", as rqlited says it. Returns text. */
const char *rq_tls_describe(const rq_tls *tls, char *text, size_t size);

#endif
