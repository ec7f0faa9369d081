/* A gateway on a loopback port with a fake node behind it, all in one loop on a
 * thread of its own; the test is the client, with blocking sockets. */
#ifndef RQ_TESTS_HARNESS_H
#define RQ_TESTS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "fake_node.h"
#include "gateway.h"

typedef struct harness {
        char dir[64];
        int dir_fd, port;
        rq_loop *loop;
        rq_wake wake;
        fake_node fake;
        gateway_config config;
        gateway *gw;
        pthread_t thread;
        sem_t done;
        void (*job)(struct harness *h, const void *arg);
        const void *job_arg;
        bool stopped;
} harness;

static inline void harness_on_wake(void *arg) {
        harness *h = arg;
        h->job(h, h->job_arg);
        (void) sem_post(&h->done);
}

/* Runs job on the loop's thread and waits for it. */
static inline void harness_do(harness *h, void (*job)(harness *h, const void *arg), const void *arg) {
        h->job = job;
        h->job_arg = arg;
        rq_wake_signal(&h->wake);
        (void) sem_wait(&h->done);
}

static inline void *harness_run(void *arg) {
        rq_loop_run(((harness *) arg)->loop);
        return NULL;
}

/* Until look, on the loop's thread, has set the bool that it gets. */
static inline void harness_wait(harness *h, void (*look)(harness *h, const void *ret_there)) {
        bool there = false;
        for (int i = 0; i < 20000 && !there; i++) {
                harness_do(h, look, &there);
                if (!there)
                        (void) usleep(1000);
        }
        assert_true(there);
}

/* The node's state that was sent last is here. */
static inline void job_state_is_here(harness *h, const void *ret_there) {
        *(bool *) (uintptr_t) ret_there = h->gw->node.known && h->gw->node.term == h->fake.states_sent;
}

static inline void job_is_linked(harness *h, const void *arg) {
        *(bool *) (uintptr_t) arg = h->gw->node.known && ipc_connector_link(h->gw->store) != NULL;
}

static inline void harness_wait_linked(harness *h) { harness_wait(h, job_is_linked); }

/* tune may change config and fake before all starts; NULL: defaults. */
static inline harness *harness_new(void (*tune)(harness *h)) {
        harness *h = calloc(1, sizeof *h);
        assert_non_null(h);
        (void) strcpy(h->dir, "/tmp/rq-test-gateway-XXXXXX");
        assert_non_null(mkdtemp(h->dir));
        h->dir_fd = open(h->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(rq_loop_new(&h->loop), RQ_OK);
        assert_int_equal(rq_wake_init(&h->wake, h->loop, harness_on_wake, h), RQ_OK);
        (void) sem_init(&h->done, 0, 0);
        h->fake.loop = h->loop;
        h->config = (gateway_config) {
                .http_place = { .addresses = "127.0.0.1:0", .unix_mode = 0600, .unix_group = "" }, .http_adv_addr = "127.0.0.1:4001", .http_allow_origin = "", .auth_file = "", .join_as = "", .api_addr = "127.0.0.1:4001", .tls = { .flags = "http", .cert_file = "", .key_file = "" }, .raft_adv_addr = "127.0.0.1:4002",
                .node_id = "n1", .http_idle_timeout_us = 60000000, .max_body_bytes = 4 * 1024 * 1024, .write_step_budget = 1234567,
                .max_inflight = 1000, .max_connections = 500,
        };
        if (tune != NULL)
                tune(h);
        assert_int_equal(fake_open_store(&h->fake, h->dir_fd), RQ_OK);
        assert_int_equal(fake_open_consensus(&h->fake, h->dir_fd), RQ_OK);
        rq_uuid incarnation = rq_uuid_random();
        assert_int_equal(gateway_new(h->loop, &h->config, h->dir_fd, &incarnation, &h->gw), RQ_OK);
        h->port = atoi(strrchr(http_server_address(h->gw->http), ':') + 1);
        assert_int_equal(pthread_create(&h->thread, NULL, harness_run, h), 0);
        harness_wait_linked(h);
        return h;
}

static inline void job_stop_loop(harness *h, const void *arg) {
        (void) arg;
        rq_loop_stop(h->loop);
}

static inline void harness_free(harness *h) {
        harness_do(h, job_stop_loop, NULL);
        (void) pthread_join(h->thread, NULL);
        (void) gateway_free(h->gw);
        (void) ipc_listener_free(h->fake.consensus);
        (void) ipc_listener_free(h->fake.store);
        rq_wake_done(&h->wake);
        (void) rq_loop_free(h->loop);
        (void) sem_destroy(&h->done);
        (void) unlinkat(h->dir_fd, IPC_SOCKET_CONSENSUS, 0);
        (void) unlinkat(h->dir_fd, IPC_SOCKET_STORE, 0);
        (void) unlinkat(h->dir_fd, "launcher.json", 0);
        (void) close(h->dir_fd);
        (void) rmdir(h->dir);
        free(h);
}

/* --- the client ------------------------------------------------------------- */

typedef struct client { int fd; char buf[64 * 1024]; size_t size; } client;

typedef struct reply {
        int status;      /* 0: the connection ended first */
        char head[4096];
        rq_buf body;     /* NUL-terminated */
        bool cut;        /* ended inside the body */
} reply;

static inline client *client_new(const harness *h) {
        client *c = calloc(1, sizeof *c);
        const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t) h->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        const struct timeval limit = { .tv_sec = 20 };
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void) setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        assert_int_equal(connect(c->fd, (const struct sockaddr *) &address, sizeof address), 0);
        return c;
}

static inline void client_free(client *c) {
        (void) close(c->fd);
        free(c);
}

static inline void client_send_bytes(client *c, const void *data, size_t size) {
        for (size_t at = 0; at < size;) {
                ssize_t n = send(c->fd, (const char *) data + at, size - at, MSG_NOSIGNAL);
                if (n <= 0)
                        return; /* the other side may have said its last word */
                at += (size_t) n;
        }
}

static inline void client_send(client *c, const char *text) { client_send_bytes(c, text, strlen(text)); }

static inline bool client_fill(client *c) {
        if (c->size == sizeof c->buf)
                return false;
        ssize_t n = recv(c->fd, c->buf + c->size, sizeof c->buf - c->size, 0);
        if (n > 0)
                c->size += (size_t) n;
        return n > 0;
}

static inline void client_take(client *c, rq_buf *to, size_t size) {
        if (to != NULL)
                (void) rq_buf_append(to, c->buf, size);
        memmove(c->buf, c->buf + size, c->size - size);
        c->size -= size;
}

/* Up to and with the end mark; false: the connection ended first. */
static inline bool client_take_until(client *c, rq_buf *to, const char *end) {
        char *at;
        while ((at = memmem(c->buf, c->size, end, strlen(end))) == NULL)
                if (!client_fill(c))
                        return false;
        client_take(c, to, (size_t) (at - c->buf) + strlen(end));
        return true;
}

static inline bool client_take_count(client *c, rq_buf *to, size_t count) {
        while (count > 0) {
                if (c->size == 0 && !client_fill(c))
                        return false;
                size_t n = c->size < count ? c->size : count;
                client_take(c, to, n);
                count -= n;
        }
        return true;
}

static inline const char *reply_header(const reply *r, const char *name) {
        static char value[512];
        char pattern[64];
        (void) snprintf(pattern, sizeof pattern, "\r\n%s: ", name);
        const char *at = strstr(r->head, pattern);
        if (at == NULL)
                return NULL;
        at += strlen(pattern);
        size_t size = strcspn(at, "\r");
        (void) snprintf(value, sizeof value, "%.*s", (int) size, at);
        return value;
}

static inline reply client_reply_to(client *c, bool no_body) {
        reply r = {0};
        rq_buf head = {0};
        if (client_take_until(c, &head, "\r\n\r\n")) {
                (void) snprintf(r.head, sizeof r.head, "%.*s", (int) head.size, (const char *) head.data);
                (void) sscanf(r.head, "HTTP/1.1 %d", &r.status);
                const char *length = reply_header(&r, "Content-Length");
                size_t size = length != NULL ? strtoul(length, NULL, 10) : 0;
                if (no_body || r.status == 100) {
                        r.cut = false;
                } else if (length != NULL) {
                        r.cut = !client_take_count(c, &r.body, size);
                } else if (reply_header(&r, "Transfer-Encoding") != NULL) {
                        for (;;) {
                                rq_buf line = {0};
                                bool good = client_take_until(c, &line, "\r\n");
                                size = good ? strtoul((const char *) line.data, NULL, 16) : 0;
                                rq_buf_done(&line);
                                good = good && client_take_count(c, &r.body, size) && client_take_count(c, NULL, 2);
                                r.cut = !good;
                                if (!good || size == 0)
                                        break;
                        }
                } else {
                        while (client_fill(c))
                                client_take(c, &r.body, c->size);
                }
        }
        rq_buf_done(&head);
        (void) rq_buf_append(&r.body, "", 1);
        r.body.size--;
        return r;
}

static inline reply client_reply(client *c) { return client_reply_to(c, false); }
static inline const char *reply_text(const reply *r) { return (const char *) r->body.data; }
static inline void reply_done(reply *r) { rq_buf_done(&r->body); }

static inline void client_request(client *c, const char *method, const char *target, const char *headers, const char *body) {
        rq_buf text = {0};
        (void) rq_buf_printf(&text, "%s %s HTTP/1.1\r\nHost: x\r\n%s", method, target, headers);
        if (body != NULL)
                (void) rq_buf_printf(&text, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
        else
                (void) rq_buf_append_text(&text, "\r\n");
        client_send_bytes(c, text.data, text.size);
        rq_buf_done(&text);
}

/* One request on a connection of its own. */
static inline reply ask(const harness *h, const char *method, const char *target, const char *body) {
        client *c = client_new(h);
        client_request(c, method, target, "", body);
        reply r = client_reply_to(c, strcmp(method, "HEAD") == 0);
        client_free(c);
        return r;
}

static inline void expect_answer(const harness *h, const char *method, const char *target, const char *body, int status, const char *text) {
        reply r = ask(h, method, target, body);
        if (r.status != status || strcmp(reply_text(&r), text) != 0)
                print_error("%s %s: %d %s\n", method, target, r.status, reply_text(&r));
        assert_int_equal(r.status, status);
        assert_string_equal(reply_text(&r), text);
        reply_done(&r);
}

/* As expect_answer(), the text only has to hold a part. */
static inline void expect_part(const harness *h, const char *method, const char *target, const char *body, int status, const char *part) {
        reply r = ask(h, method, target, body);
        if (r.status != status || strstr(reply_text(&r), part) == NULL)
                print_error("%s %s: %d %s\n", method, target, r.status, reply_text(&r));
        assert_int_equal(r.status, status);
        assert_non_null(strstr(reply_text(&r), part));
        reply_done(&r);
}

#endif
