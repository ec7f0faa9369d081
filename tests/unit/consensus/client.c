#include "client.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "log/log.h"
#include "service.h"

static rq_err on_request_failed(void *arg, ipc_link *link, const ipc_frame *frame) {
        client *c = arg;
        (void) link;
        Rq__RequestFailed *f = rq__request_failed__unpack(NULL, frame->body.size, frame->body.data);
        rq_assert(f != NULL && frame->request_id < CLIENT_REQUESTS);
        client_request *r = &c->requests[frame->request_id];
        r->failed = true;
        r->outcome = f->outcome;
        r->reason = f->reason;
        r->failed_index = f->index;
        (void) snprintf(c->failed_text, sizeof c->failed_text, "%s", f->text);
        rq__request_failed__free_unpacked(f, NULL);
        return RQ_OK;
}

static rq_err on_node_state(void *arg, ipc_link *link, const ipc_frame *frame) {
        client *c = arg;
        (void) link;
        Rq__NodeState *s = rq__node_state__unpack(NULL, frame->body.size, frame->body.data);
        rq_assert(s != NULL);
        c->ready = s->ready;
        rq__node_state__free_unpacked(s, NULL);
        return RQ_OK;
}

static rq_err on_status(void *arg, ipc_link *link, const ipc_frame *frame) {
        client *c = arg;
        (void) link;
        c->status.size = 0;
        (void) rq_buf_append_bytes(&c->status, frame->payload);
        (void) rq_buf_append(&c->status, "", 1);
        c->status_came = true;
        return RQ_OK;
}

static void take_record(client *c, const record_header *header, rq_bytes body, uint32_t *place) {
        rq_assert(header->index == c->applied + 1);
        rq_assert(header->term >= c->applied_term && header->clock_us > c->clock_us);
        if (c->applied == 0 && rq_uuid_is_zero(&c->database_id))
                c->database_id = header->database_id;
        rq_assert(rq_uuid_equal(&c->database_id, &header->database_id));
        c->applied = header->index;
        c->applied_term = header->term;
        c->clock_us = header->clock_us;
        /* A log begins with who its members are, which a store passes by. */
        rq_assert(header->index != 1 || header->kind == RECORD_CONFIGURATION);
        rq_assert(header->feature_level == 1 && header->flags == (header->kind == RECORD_SQL ? RECORD_CRITICAL : 0));
        c->noops += header->kind == RECORD_NOOP;
        c->barriers += header->kind == RECORD_BARRIER;
        ++*place;
        if (header->kind == RECORD_SQL) {
                uint64_t id = rq_get_u64(body.data);
                rq_assert(id < CLIENT_REQUESTS);
                for (size_t i = 8; i < body.size; i++)
                        rq_assert(body.data[i] == (uint8_t) id);
                c->requests[id].committed_index = header->index;
                if (c->on_committed != NULL)
                        c->on_committed(c, id);
        }
}

static rq_err on_committed(void *arg, ipc_link *link, const ipc_frame *frame) {
        client *c = arg;
        (void) link;
        Rq__Committed *m = rq__committed__unpack(NULL, frame->body.size, frame->body.data);
        rq_assert(m != NULL && m->stream_id.len == RQ_UUID_BYTES);
        if (c->stream_open)
                rq_assert(memcmp(c->stream_id.bytes, m->stream_id.data, RQ_UUID_BYTES) == 0);
        memcpy(c->stream_id.bytes, m->stream_id.data, RQ_UUID_BYTES);
        c->stream_open = true;
        rq_assert(m->first_index == c->applied + 1 && m->previous_index == c->applied && m->previous_term == c->applied_term);
        rq_assert(m->commit_index >= c->commit_seen || c->commit_seen == 0);
        c->commit_seen = m->commit_index;
        c->batches++;
        uint32_t count = 0;
        for (size_t at = 0; at < frame->payload.size;) {
                record_header header;
                rq_bytes body;
                rq_err r = record_decode(rq_bytes_of(frame->payload.data + at, frame->payload.size - at), &header, &body);
                rq_assert(r >= 0);
                take_record(c, &header, body, &count);
                at += RECORD_HEADER_BYTES + body.size;
        }
        rq_assert(count == m->count && c->applied <= m->commit_index);
        c->unacknowledged_bytes += frame->payload.size;
        if (c->unacknowledged_bytes > c->unacknowledged_bytes_max)
                c->unacknowledged_bytes_max = c->unacknowledged_bytes;
        rq__committed__free_unpacked(m, NULL);
        return RQ_OK;
}

static rq_err on_read_at(void *arg, ipc_link *link, const ipc_frame *frame) {
        client *c = arg;
        (void) link;
        Rq__ReadAt *m = rq__read_at__unpack(NULL, frame->body.size, frame->body.data);
        rq_assert(m != NULL && frame->request_id < CLIENT_REQUESTS);
        rq_assert(m->gateway.len == RQ_UUID_BYTES && memcmp(m->gateway.data, c->incarnation.bytes, RQ_UUID_BYTES) == 0);
        rq_assert(rq_bytes_equal(frame->payload, rq_bytes_text("a query")));
        c->requests[frame->request_id].read_index = m->index;
        rq__read_at__free_unpacked(m, NULL);
        return RQ_OK;
}

static rq_err on_misfit(void *arg, ipc_link *link, const ipc_frame *frame) {
        client *c = arg;
        (void) link;
        Rq__Misfit *m = rq__misfit__unpack(NULL, frame->body.size, frame->body.data);
        rq_assert(m != NULL);
        (void) snprintf(c->misfit, sizeof c->misfit, "%s", m->reason);
        rq__misfit__free_unpacked(m, NULL);
        return RQ_OK;
}

static const ipc_rule gateway_rules[] = {
        { IPC_REQUEST_FAILED, IPC_CONSENSUS, 4096, 0, on_request_failed },
        { IPC_NODE_STATE, IPC_CONSENSUS, 4096, 0, on_node_state },
        { IPC_STATUS, IPC_CONSENSUS, 0, 1024 * 1024, on_status },
};

static const ipc_rule store_rules[] = {
        { IPC_COMMITTED, IPC_CONSENSUS, 4096, IPC_PAYLOAD_BYTES_MAX, on_committed },
        { IPC_READ_AT, IPC_CONSENSUS, 4096, IPC_PAYLOAD_BYTES_MAX, on_read_at },
        { IPC_MISFIT, IPC_CONSENSUS, 256, 0, on_misfit },
};

static void on_gateway_link(void *arg, ipc_link *link) {
        (void) arg;
        (void) link;
}

static void on_gateway_down(void *arg, ipc_link *link) {
        client *c = arg;
        (void) link;
        c->ready = false;
}

static void send_message(ipc_link *link, ipc_type type, uint64_t id, const ProtobufCMessage *m, rq_bytes payload) {
        uint8_t packed[512];
        rq_assert(protobuf_c_message_get_packed_size(m) <= sizeof packed);
        size_t size = protobuf_c_message_pack(m, packed);
        rq_err r = ipc_link_send(link, type, id, rq_bytes_of(packed, size), payload);
        rq_assert(r >= 0);
}

void client_fetch(client *c, uint64_t from_index, uint64_t term) {
        Rq__Fetch f = RQ__FETCH__INIT;
        f.from_index = from_index;
        f.applied_term = term;
        if (!rq_uuid_is_zero(&c->database_id))
                f.database_id = (ProtobufCBinaryData) { .data = c->database_id.bytes, .len = RQ_UUID_BYTES };
        f.clock_us = c->clock_us;
        f.checkpoint_index = c->checkpoint;
        c->stream_open = false;
        c->misfit[0] = '\0';
        c->unacknowledged_bytes = 0;
        send_message(c->store_link, IPC_FETCH, 0, &f.base, (rq_bytes) {0});
}

static void on_store_up(void *arg, ipc_link *link) {
        client *c = arg;
        c->store_link = link;
        c->stream_open = false;
        if (!c->fetch_by_hand)
                client_fetch(c, c->applied + 1, c->applied_term);
}

static void on_store_down(void *arg, ipc_link *link) {
        client *c = arg;
        if (c->store_link == link)
                c->store_link = NULL;
}

void client_applied(client *c) {
        Rq__Applied a = RQ__APPLIED__INIT;
        a.applied_index = c->applied;
        if (c->checkpoints)
                c->checkpoint = c->applied;
        a.checkpoint_index = c->checkpoint;
        c->acknowledged = c->applied;
        c->unacknowledged_bytes = 0;
        if (c->store_link != NULL)
                send_message(c->store_link, IPC_APPLIED, 0, &a.base, (rq_bytes) {0});
}

static void on_store_turn_end(void *arg, ipc_link *link) {
        client *c = arg;
        (void) link;
        if (!c->mute && c->stream_open && c->acknowledged != c->applied)
                client_applied(c);
}

static void on_tick(void *arg) {
        client *c = arg;
        rq_timer_set(&c->tick, 2000);
}

static void store_listen(client *c) {
        const ipc_identity self = { .role = IPC_STORE, .incarnation = rq_uuid_random() };
        const ipc_handlers handlers = {
                .rules = store_rules, .rule_count = sizeof store_rules / sizeof store_rules[0],
                .on_up = on_store_up, .on_down = on_store_down, .on_turn_end = on_store_turn_end, .arg = c,
        };
        rq_err r = ipc_listen(c->loop, c->run_dir_fd, IPC_SOCKET_STORE, &self, &handlers, &c->store);
        rq_assert(r >= 0);
}

client *client_new(const char *dir, bool with_store) {
        client *c = calloc(1, sizeof *c);
        rq_assert(c != NULL);
        c->requests = calloc(CLIENT_REQUESTS, sizeof *c->requests);
        rq_assert(c->requests != NULL);
        (void) mkdir(dir, 0700);
        c->run_dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rq_assert(c->run_dir_fd >= 0 && rq_loop_new(&c->loop) >= 0);
        rq_assert(rq_timer_init(&c->tick, c->loop, on_tick, c) >= 0);
        c->incarnation = rq_uuid_random();
        const ipc_identity self = { .role = IPC_GATEWAY, .incarnation = c->incarnation };
        const ipc_handlers handlers = {
                .rules = gateway_rules, .rule_count = sizeof gateway_rules / sizeof gateway_rules[0],
                .on_up = on_gateway_link, .on_down = on_gateway_down, .arg = c,
        };
        if (with_store)
                store_listen(c);
        rq_err r = ipc_connect(c->loop, c->run_dir_fd, IPC_SOCKET_CONSENSUS, &self, &handlers, &c->gateway);
        rq_assert(r >= 0);
        on_tick(c);
        return c;
}

void client_store_restart(client *c) {
        c->store = ipc_listener_free(c->store);
        c->stream_open = false;
        store_listen(c);
}

client *client_free(client *c) {
        c->gateway = ipc_connector_free(c->gateway);
        c->store = ipc_listener_free(c->store);
        rq_timer_done(&c->tick);
        c->loop = rq_loop_free(c->loop);
        (void) close(c->run_dir_fd);
        rq_buf_done(&c->status);
        free(c->requests);
        free(c);
        return NULL;
}

void client_propose(client *c, uint64_t request_id, size_t bytes, uint64_t timeout_us) {
        client_propose_kind(c, RECORD_SQL, request_id, bytes, timeout_us);
}

void client_propose_kind(client *c, uint32_t kind, uint64_t request_id, size_t bytes, uint64_t timeout_us) {
        Rq__Propose p = RQ__PROPOSE__INIT;
        p.kind = kind;
        p.timeout_us = timeout_us;
        rq_assert(bytes >= 8);
        RQ_CLEANUP(rq_buf_done) rq_buf body = {0};
        rq_assert(rq_buf_reserve(&body, bytes) >= 0);
        memset(body.data, (uint8_t) request_id, bytes);
        rq_put_u64(body.data, request_id);
        send_message(ipc_connector_link(c->gateway), IPC_PROPOSE, request_id, &p.base, rq_bytes_of(body.data, bytes));
}

void client_read(client *c, uint64_t request_id, Rq__ReadLevel level) {
        Rq__Read r = RQ__READ__INIT;
        r.level = level;
        r.timeout_us = 2000000;
        send_message(ipc_connector_link(c->gateway), IPC_READ, request_id, &r.base, rq_bytes_text("a query"));
}

void client_get_status(client *c) {
        c->status_came = false;
        rq_err r = ipc_link_send(ipc_connector_link(c->gateway), IPC_STATUS_GET, 0, (rq_bytes) {0}, (rq_bytes) {0});
        rq_assert(r >= 0);
        rq_assert(client_wait(c, &c->status_came));
}

bool client_wait(client *c, const bool *flag) {
        uint64_t end_us = rq_clock_mono_us() + 10000000;
        while (!*flag && rq_clock_mono_us() < end_us)
                (void) event_base_loop(rq_loop_base(c->loop), EVLOOP_ONCE);
        return *flag;
}

bool client_wait_number(client *c, const uint64_t *number, uint64_t wanted) {
        uint64_t end_us = rq_clock_mono_us() + 10000000;
        while (*number < wanted && rq_clock_mono_us() < end_us)
                (void) event_base_loop(rq_loop_base(c->loop), EVLOOP_ONCE);
        return *number >= wanted;
}

void client_turn(client *c, uint32_t ms) {
        uint64_t end_us = rq_clock_mono_us() + ms * 1000u;
        while (rq_clock_mono_us() < end_us)
                (void) event_base_loop(rq_loop_base(c->loop), EVLOOP_ONCE);
}

static void on_signal(evutil_socket_t fd, short what, void *arg) {
        (void) fd;
        (void) what;
        consensus_stop(*(consensus **) arg);
}

static void on_stopped(void *arg) { rq_loop_stop(arg); }

static int serve(const char *dir, const log_io *io, const char *raft_listen_addr, uint32_t expect) {
        rq_loop *loop;
        consensus *c = NULL;
        if (rq_loop_new(&loop) < 0)
                return 1;
        consensus_options options = {
                .loop = loop, .io = io, .dir_path = dir, .incarnation = rq_uuid_random(),
                .dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                .run_dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                .config = {
                        .node_id = "n1", .raft_addr = "localhost:4002", .raft_listen_addr = raft_listen_addr, .api_addr = "localhost:4001", .join = expect > 1 ? "localhost:4002,127.0.0.1:1" : "", .bootstrap_expect = expect,
                        .heartbeat_us = 100000, .election_us = 500000, .lease_us = 375000, .disk_stall_us = 60000000, .step_down = true,
                },
                .on_stopped = on_stopped, .arg = loop,
        };
        rq_err r = consensus_new(&options, &c);
        if (r < 0) {
                (void) rq_loop_free(loop);
                return r == RQ_ECORRUPT ? 3 : r == RQ_EVERSION ? 4 : r == RQ_ECONFIG ? 5 : 1;
        }
        struct event *term = evsignal_new(rq_loop_base(loop), SIGTERM, on_signal, &c);
        (void) event_add(term, NULL);
        rq_loop_run(loop);
        event_free(term);
        (void) consensus_free(c);
        (void) close(options.dir_fd);
        (void) close(options.run_dir_fd);
        (void) rq_loop_free(loop);
        return 0;
}

pid_t service_start(const char *dir, const log_io *io, int log_level) { return service_start_at(dir, io, log_level, "127.0.0.1:0", 0); }

pid_t service_start_at(const char *dir, const log_io *io, int log_level, const char *raft_listen_addr, uint32_t expect) {
        (void) mkdir(dir, 0700);
        (void) fflush(NULL);
        pid_t pid = fork();
        rq_assert(pid >= 0);
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                rq_log_open("rq-consensus", RQ_LOG_PLAIN, log_level);
                int code = serve(dir, io, raft_listen_addr, expect);
                (void) fflush(NULL);
                exit(code);
        }
        return pid;
}

int service_kill(pid_t pid, int signal) {
        int status;
        if (signal != 0)
                (void) kill(pid, signal);
        rq_assert(waitpid(pid, &status, 0) == pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

char *temporary_dir(char *template_text) {
        rq_assert(mkdtemp(template_text) != NULL);
        return template_text;
}

void remove_dir(const char *dir) {
        DIR *d = opendir(dir);
        rq_assert(d != NULL);
        for (const struct dirent *e; (e = readdir(d)) != NULL;)
                (void) unlinkat(dirfd(d), e->d_name, 0);
        (void) closedir(d);
        (void) rmdir(dir);
}
