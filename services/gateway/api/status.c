/* /status and /debug/vars: the documents of consensus and store (documents.c)
 * with what the gateway knows itself. The contract for these documents is in
 * README.md of this folder. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>

#include "api/api.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "build_info.h"
#include "io/run_file.h"

#define NO_ANSWER "no answer from the service"

static void set_text(json_t *object, const char *key, const char *text) {
        (void) json_object_set_new(object, key, json_string(text));
}

static void set_number(json_t *object, const char *key, uint64_t value) {
        (void) json_object_set_new(object, key, json_integer((json_int_t) value));
}

/* Creates and returns an object under a key; NULL (accepted by all setters) if
 * there is no memory. */
static json_t *add_object(json_t *object, const char *key) {
        json_t *child = json_object();
        return json_object_set_new(object, key, child) == 0 ? child : NULL;
}

static void set_time(json_t *object, const char *key, uint64_t wall_us) {
        char text[64];
        time_t seconds = (time_t) (wall_us / 1000000);
        struct tm tm;
        (void) gmtime_r(&seconds, &tm);
        size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
        (void) snprintf(text + n, sizeof text - n, ".%06uZ", (unsigned) (wall_us % 1000000));
        set_text(object, key, text);
}

/* --- sections --------------------------------------------------------------- */

static void add_build(json_t *root) {
        json_t *build = add_object(root, "build");
        set_text(build, "version", RQ_VERSION);
        set_text(build, "commit", BUILD_COMMIT);
        set_text(build, "build_time", BUILD_TIME);
        set_text(build, "compiler_command", "cc");
        set_text(build, "compiler_toolchain", BUILD_COMPILER);
}

static void add_cluster(json_t *root, const gateway *gw) {
        json_t *cluster = add_object(root, "cluster");
        set_text(cluster, "addr", gw->config->raft_adv_addr);
        set_text(cluster, "api_addr", gw->config->http_adv_addr);
        set_text(cluster, "https", gw->tls != NULL ? "true" : "false");
}

static void add_tls(json_t *http, const gateway *gw) {
        const rq_tls_options *options = &gw->config->tls;
        json_t *tls = add_object(http, "tls");
        set_text(tls, "enabled", gw->tls != NULL ? "true" : "false");
        if (gw->tls == NULL)
                return;
        set_text(tls, "cert_file", options->cert_file);
        set_text(tls, "key_file", options->key_file);
        set_text(tls, "ca_file", options->ca_file);
        set_text(tls, "client_auth", options->verify_client ? "RequireAndVerifyClientCert" : "NoClientCert");
        set_text(tls, "next_protos", "[http/1.1]");
        set_time(tls, "expires", (uint64_t) rq_tls_expires_s(gw->tls) * 1000000);
}

static void add_http(json_t *root, const gateway *gw) {
        json_t *http = add_object(root, "http"), *cluster;
        char text[32];
        set_text(http, "bind_addr", http_server_address(gw->http));
        set_text(http, "auth", access_is_on(gw->access) ? "enabled" : "disabled");
        if (gw->config->http_allow_origin[0] != '\0')
                set_text(http, "allow_origin", gw->config->http_allow_origin);
        cluster = add_object(http, "cluster");
        set_text(cluster, "local_node_addr", gw->config->raft_adv_addr);
        set_text(cluster, "timeout", rq_duration_text(TIMEOUT_DEFAULT_S * INT64_C(1000000000), text, sizeof text));
        queue_status(gw, add_object(add_object(http, "queue"), "_default"));
        add_tls(http, gw);
        set_number(http, "connections", gw->metrics.gateway.connections_open);
        set_number(http, "connections_max", gw->config->max_connections);
        set_number(http, "requests_in_flight", gw->metrics.gateway.requests_in_flight);
        set_number(http, "requests_in_flight_max", gw->config->max_inflight);
        set_number(http, "body_bytes_max", gw->config->max_body_bytes);
}

static void add_node(json_t *root, const gateway *gw) {
        json_t *node = add_object(root, "node");
        char text[32];
        set_time(node, "start_time", gw->started_wall_us);
        set_time(node, "current_time", rq_clock_wall_us());
        if (gw->last_backup_wall_us > 0)
                set_time(root, "last_backup_time", gw->last_backup_wall_us);
        set_text(node, "uptime", rq_duration_text((int64_t) (rq_clock_mono_us() - gw->started_mono_us) * 1000, text, sizeof text));
}

static void add_os(json_t *root) {
        json_t *os = add_object(root, "os"), *runtime = add_object(root, "runtime");
        char path[4096], host[256] = "";
        struct utsname name;
        ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
        path[size > 0 ? size : 0] = '\0';
        (void) gethostname(host, sizeof host - 1);
        set_text(os, "executable", path);
        set_text(os, "hostname", host);
        set_number(os, "page_size", (uint64_t) sysconf(_SC_PAGESIZE));
        set_number(os, "pid", (uint64_t) getpid());
        set_number(os, "ppid", (uint64_t) getppid());
        if (uname(&name) == 0) {
                set_text(runtime, "GOOS", "linux");
                set_text(runtime, "GOARCH", strcmp(name.machine, "x86_64") == 0 ? "amd64" : strcmp(name.machine, "aarch64") == 0 ? "arm64" : name.machine);
                set_text(runtime, "kernel", name.release);
        }
        set_number(runtime, "num_cpu", (uint64_t) get_nprocs());
        set_text(runtime, "version", "gcc " __VERSION__);
}

/* Our own: which processes this node is made of, as their launcher knows it. */
static void add_services(json_t *root, const gateway *gw) {
        json_t *services = run_file_json(gw->run_dir_fd, "launcher.json");
        if (services == NULL)
                services = json_object();
        if (json_object_set_new(root, "services", services) != 0)
                return;
        json_t *links = add_object(services, "links");
        set_text(links, "rq-consensus", ipc_connector_link(gw->consensus) != NULL ? "up" : "down");
        set_text(links, "rq-store", ipc_connector_link(gw->store) != NULL ? "up" : "down");
}

static void merge_document(json_t *store, json_t *root, const char *service, json_t *document) {
        const char *error = json_string_value(json_object_get(document, "error"));
        if (document == NULL)
                error = NO_ANSWER;
        if (error != NULL)
                set_text(add_object(json_object_get(root, "services"), service), "error", error);
        else
                (void) json_object_update_recursive(store, document);
}

static void set_missing_text(json_t *object, const char *key, const char *text) {
        if (json_object_get(object, key) == NULL)
                set_text(object, key, text);
}

static void add_store(json_t *root, const exchange *ex) {
        const gateway *gw = ex->gw;
        const node_view *view = &gw->node;
        json_t *store = add_object(root, "store"), *extensions;

        merge_document(store, root, "consensus", ex->documents[DOCUMENT_CONSENSUS]);
        merge_document(store, root, "store", ex->documents[DOCUMENT_STORE]);
        familiar_status(gw, store);
        /* What clients find the leader by is there in any case, and right as of
         * now: the documents may be older than the last change. */
        set_text(store, "node_id", gw->config->node_id);
        set_text(store, "addr", gw->config->raft_adv_addr);
        json_t *leader = add_object(store, "leader");
        set_text(leader, "node_id", view->known ? view->leader_id : "");
        set_text(leader, "addr", view->known ? view->leader_raft_addr : "");
        (void) json_object_set_new(store, "ready", json_boolean(view->known && view->ready));
        if (json_object_get(store, "nodes") == NULL)
                (void) json_object_set_new(store, "nodes", json_array());
        if (json_object_get(store, "open") == NULL)
                (void) json_object_set_new(store, "open", ex->documents[DOCUMENT_STORE] != NULL ? json_object() : json_false());
        if (json_object_get(store, "sqlite3") == NULL)
                set_text(add_object(store, "sqlite3"), "error", NO_ANSWER);
        if (json_object_get(store, "raft") == NULL)
                set_text(add_object(store, "raft"), "error", NO_ANSWER);

        extensions = json_object_get(json_object_get(store, "sqlite3"), "extensions");
        json_t *section = add_object(root, "extensions");
        set_text(section, "dir", gw->config->extensions_path);
        (void) json_object_set_new(section, "names", json_is_array(extensions) ? json_incref(extensions) : json_array());
        set_missing_text(store, "dir", "");
}

/* a.b.c: descends; a scalar on the way ends it. */
static json_t *find_key(json_t *root, rq_bytes key) {
        while (key.size > 0 && json_is_object(root)) {
                const uint8_t *dot = memchr(key.data, '.', key.size);
                size_t size = dot != NULL ? (size_t) (dot - key.data) : key.size;
                root = json_object_getn(root, (const char *) key.data, size);
                key = dot != NULL ? rq_bytes_of(dot + 1, key.size - size - 1) : (rq_bytes) {0};
        }
        return root;
}

static void answer_json(exchange *ex, json_t *json, size_t flags) {
        char *text = json_dumps(json, flags | JSON_ENCODE_ANY | JSON_SORT_KEYS);
        RQ_CLEANUP(rq_buf_done) rq_buf document = {0};
        rq_err r = text != NULL ? rq_buf_append_text(&document, text) : RQ_ENOMEM;
        free(text);
        if (r < 0)
                api_answer_text(ex, 503, rq_err_text(r));
        else
                api_answer_json(ex, &document);
}

void status_complete(exchange *ex) {
        json_auto_t *root = json_object();
        json_auto_t *nothing = json_object();
        add_build(root);
        add_cluster(root, ex->gw);
        add_http(root, ex->gw);
        add_node(root, ex->gw);
        add_os(root);
        add_services(root, ex->gw);
        add_store(root, ex);

        if (ex->params.has_key && ex->params.key.size > 0) {
                json_t *found = find_key(root, ex->params.key);
                answer_json(ex, found != NULL ? found : nothing, JSON_COMPACT);
        } else {
                answer_json(ex, root, ex->params.pretty ? JSON_INDENT(4) : JSON_COMPACT);
        }
}

/* --- /debug/vars ------------------------------------------------------------ */

typedef const char *counter_at(const metrics *m, unsigned place, uint64_t *ret_value);

static void add_counters(json_t *root, const char *key, const metrics *m, counter_at *at) {
        json_t *section = add_object(root, key);
        uint64_t value;
        const char *name;
        for (unsigned i = 0; (name = at(m, i, &value)) != NULL; i++)
                set_number(section, name, value);
}

/* One line for each top-level key, as expvar has it. */
static rq_err print_vars(const json_t *root, rq_bytes only, bool has_only, rq_buf *out) {
        const char *separator = "";
        const char *key;
        json_t *value;
        rq_err r = rq_buf_append_text(out, "{\n");
        for (void *i = json_object_iter((json_t *) root); i != NULL && r >= 0; i = json_object_iter_next((json_t *) root, i)) {
                key = json_object_iter_key(i);
                value = json_object_iter_value(i);
                if (has_only && !rq_bytes_equal(only, rq_bytes_text(key)))
                        continue;
                RQ_CLEANUP(rq_freep) char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS);
                if (text == NULL)
                        return RQ_ENOMEM;
                r = rq_buf_printf(out, "%s\"%s\": %s", separator, key, text);
                separator = ",\n";
        }
        return r < 0 ? r : rq_buf_append_text(out, "\n}\n");
}

void vars_complete(exchange *ex) {
        json_auto_t *root = json_object();
        RQ_CLEANUP(rq_buf_done) rq_buf document = {0};
        metrics *m = &ex->gw->metrics;
        m->gateway.link_consensus_up = ipc_connector_link(ex->gw->consensus) != NULL;
        m->gateway.link_store_up = ipc_connector_link(ex->gw->store) != NULL;
        m->http.auth_ok = m->gateway.requests_received; /* as rqlite counts without users */

        /* Not the command line itself: it may hold what is nobody's business. */
        (void) json_object_set_new(root, "cmdline", json_pack("[s]", "rq-gateway"));
        add_counters(root, "http", m, metrics_http_at);
        add_counters(root, "gateway", m, metrics_gateway_at);
        add_counters(root, "queue", m, metrics_queue_at);
        (void) add_object(root, "cluster");
        (void) json_object_update(json_object_get(root, "cluster"), json_object_get(ex->documents[DOCUMENT_CONSENSUS], "cluster"));
        (void) add_object(root, "db");
        (void) add_object(root, "store");
        (void) json_object_update(json_object_get(root, "db"), json_object_get(ex->documents[DOCUMENT_STORE], "counters"));
        (void) json_object_update(json_object_get(root, "store"), json_object_get(ex->documents[DOCUMENT_STORE], "checkpoints"));
        (void) json_object_update(json_object_get(root, "store"), json_object_get(ex->documents[DOCUMENT_CONSENSUS], "counters"));
        familiar_vars(json_object_get(root, "db"), json_object_get(root, "store"), ex->documents[DOCUMENT_STORE]);

        rq_err r = print_vars(root, ex->params.key, ex->params.has_key && ex->params.key.size > 0, &document);
        if (r < 0)
                api_answer_text(ex, 503, rq_err_text(r));
        else
                api_answer_json(ex, &document);
}
