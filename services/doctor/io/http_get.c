#include "io/http_get.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static void curl_freep(CURL **curl) {
        if (*curl != NULL)
                curl_easy_cleanup(*curl);
}

static void slist_freep(struct curl_slist **list) { curl_slist_free_all(*list); }

/* The alerts of TLS 1.3 and 1.2. */
static bool is_for_want_of_certificate(const char *text) {
        return strstr(text, "certificate required") != NULL || strstr(text, "handshake failure") != NULL;
}

static size_t on_body(char *data, size_t one, size_t count, void *arg) {
        rq_buf *body = arg;
        size_t size = one * count;
        if (size > HTTP_GET_BYTES_MAX - body->size || rq_buf_append(body, data, size) < 0)
                return 0; /* ends the transfer */
        return size;
}

rq_err http_get(const char *url, const char *way, const http_user *user, http_got *ret_got, char problem[static HTTP_GET_PROBLEM_BYTES]) {
        RQ_CLEANUP(curl_freep) CURL *curl = curl_easy_init();
        RQ_CLEANUP(rq_buf_done) rq_buf body = {0};
        RQ_CLEANUP(slist_freep) struct curl_slist *connect_to = NULL;
        char text[CURL_ERROR_SIZE] = "", there[HTTP_WAY_BYTES + 2];
        if (curl == NULL) {
                (void) snprintf(problem, HTTP_GET_PROBLEM_BYTES, "out of memory");
                return RQ_ENOMEM;
        }
        (void) curl_easy_setopt(curl, CURLOPT_URL, url);
        (void) curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        (void) curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
        (void) curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        (void) curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long) HTTP_GET_MS);
        if (strncmp(way, "unix:", 5) == 0) {
                (void) curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, way + 5);
        } else if (way[0] != '\0') {
                (void) snprintf(there, sizeof there, "::%s", way); /* of any host and port */
                connect_to = curl_slist_append(NULL, there);
                (void) curl_easy_setopt(curl, CURLOPT_CONNECT_TO, connect_to);
        }
        if (user->cert_file != NULL)
                (void) curl_easy_setopt(curl, CURLOPT_SSLCERT, user->cert_file);
        if (user->key_file != NULL)
                (void) curl_easy_setopt(curl, CURLOPT_SSLKEY, user->key_file);
        if (user->name_password[0] == '\0') {
                (void) curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
                (void) curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
        } else {
                (void) curl_easy_setopt(curl, CURLOPT_USERPWD, user->name_password);
                if (user->ca_file[0] != '\0')
                        (void) curl_easy_setopt(curl, CURLOPT_CAINFO, user->ca_file);
        }
        (void) curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
        (void) curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
        (void) curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
        CURLcode code = curl_easy_perform(curl);
        if (code != CURLE_OK) {
                (void) snprintf(problem, HTTP_GET_PROBLEM_BYTES, "%s", text[0] != '\0' ? text : curl_easy_strerror(code));
                if (is_for_want_of_certificate(problem))
                        return RQ_EACCES;
                return code == CURLE_WRITE_ERROR ? RQ_ETOOBIG : RQ_EPIPE;
        }
        struct curl_header *header;
        http_got got = { .by_rq = curl_easy_header(curl, "X-Rqlite-Version", 0, CURLH_HEADER, -1, &header) == CURLHE_OK };
        (void) curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &got.status);
        got.body = RQ_TAKE(body, (rq_buf) {0});
        *ret_got = got;
        return RQ_OK;
}
