#include "io/http_get.h"

#include <curl/curl.h>
#include <stdio.h>

#include "base/cleanup.h"

static void curl_freep(CURL **curl) {
        if (*curl != NULL)
                curl_easy_cleanup(*curl);
}

static size_t on_body(char *data, size_t one, size_t count, void *arg) {
        rq_buf *body = arg;
        size_t size = one * count;
        if (size > HTTP_GET_BYTES_MAX - body->size || rq_buf_append(body, data, size) < 0)
                return 0; /* ends the transfer */
        return size;
}

rq_err http_get(const char *url, const http_user *user, http_got *ret_got, char problem[static HTTP_GET_PROBLEM_BYTES]) {
        RQ_CLEANUP(curl_freep) CURL *curl = curl_easy_init();
        RQ_CLEANUP(rq_buf_done) rq_buf body = {0};
        char text[CURL_ERROR_SIZE] = "";
        if (curl == NULL) {
                (void) snprintf(problem, HTTP_GET_PROBLEM_BYTES, "out of memory");
                return RQ_ENOMEM;
        }
        (void) curl_easy_setopt(curl, CURLOPT_URL, url);
        (void) curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        (void) curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
        (void) curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        (void) curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long) HTTP_GET_MS);
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
                return code == CURLE_WRITE_ERROR ? RQ_ETOOBIG : RQ_EPIPE;
        }
        struct curl_header *header;
        http_got got = { .by_rq = curl_easy_header(curl, "X-Rqlite-Version", 0, CURLH_HEADER, -1, &header) == CURLHE_OK };
        (void) curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &got.status);
        got.body = RQ_TAKE(body, (rq_buf) {0});
        *ret_got = got;
        return RQ_OK;
}
