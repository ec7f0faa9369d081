#include "config/catalog.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/edit_distance.h"
#include "config/config.h"

#define MS       INT64_C(1000000)
#define SECOND   (1000 * MS)
#define GATEWAY   RQ_USED_GATEWAY
#define CONSENSUS RQ_USED_CONSENSUS
#define STORE     RQ_USED_STORE
#define LAUNCHER  RQ_USED_LAUNCHER

/* Rows of one form each, so that a line of the table reads like the help. */
#define TEXT(n, v, d, by, h, ...)     { .name = n, .value = v, .initial = d, .used_by = by, .help = h, .type = RQ_FLAG_STRING, __VA_ARGS__ }
#define SWITCH(n, d, by, h, ...)      { .name = n, .initial = d, .used_by = by, .help = h, .type = RQ_FLAG_BOOL, __VA_ARGS__ }
#define NUMBER(n, d, by, h, ...)      { .name = n, .value = "N", .initial = d, .used_by = by, .help = h, .type = RQ_FLAG_INT, __VA_ARGS__ }
#define BYTES(n, d, by, h, ...)       { .name = n, .value = "SIZE", .initial = d, .used_by = by, .help = h, .type = RQ_FLAG_SIZE, __VA_ARGS__ }
#define DURATION(n, d, by, h, ...)    { .name = n, .value = "TIME", .initial = d, .used_by = by, .help = h, .type = RQ_FLAG_DURATION, __VA_ARGS__ }
#define ACTION(n, h)                  { .name = n, .initial = "false", .used_by = RQ_USED_ALL, .help = h, .type = RQ_FLAG_BOOL, \
                                        .group = RQ_GROUP_ACTIONS, .command_line_only = true }
#define IN(g)   .group = RQ_GROUP_##g
#define LATER   .status = RQ_FLAG_LATER
#define IGNORED .status = RQ_FLAG_IGNORED
#define NO_EFFECT .status = RQ_FLAG_NO_EFFECT

enum { UNIX_PATH_BYTES_MAX = 107 }; /* sun_path, without its end */
enum { CLUSTER_NODES_MAX = 15 }; /* voters of one majority: consensus' limit */

static const rq_flag flags[] = {
        TEXT("data-dir", "DIR", "", RQ_USED_ALL, "data directory; the same as the last word of the command line", IN(GENERAL)),
        TEXT("config", "FILE", "", RQ_USED_ALL, "read flags from FILE, one 'name = value' a line", IN(GENERAL), .not_in_file = true),
        TEXT("run-dir", "DIR", "", RQ_USED_ALL, "sockets and state of the running node (default DATA_DIR/run)", IN(GENERAL)),
        TEXT("node-id", "NAME", "", CONSENSUS | GATEWAY, "stable name of this node (default: the advertised Raft address)", IN(GENERAL)),
        SWITCH("fk", "false", STORE, "turn on foreign keys on every connection; must agree on all nodes", IN(GENERAL)),
        NUMBER("db-max-ro-conns", "256", STORE, "most read-only SQLite connections; 0 and more than 256 mean 256", IN(GENERAL), .max = 1000000),
        DURATION("auto-optimize-int", "24h", STORE, "how often to run PRAGMA optimize", IN(GENERAL), LATER),
        DURATION("auto-vacuum-int", "0s", STORE, "how often to VACUUM; 0: never", IN(GENERAL), LATER),
        TEXT("extensions-path", "PATHS", "", STORE | GATEWAY, "SQLite extensions to load: files, folders, zip and tar.gz archives, with commas; the same on all nodes", IN(GENERAL)),
        TEXT("cpu-profile", "FILE", "", 0, "profile of the Go runtime", IN(GENERAL), IGNORED),
        TEXT("mem-profile", "FILE", "", 0, "profile of the Go runtime", IN(GENERAL), IGNORED),
        TEXT("trace-profile", "FILE", "", 0, "profile of the Go runtime", IN(GENERAL), IGNORED),

        TEXT("http-addr", "ADDRESSES", "localhost:4001", GATEWAY, "where to serve the HTTP API: host:port or unix:/PATH, or several with commas", IN(HTTP)),
        TEXT("http-adv-addr", "HOST:PORT", "", GATEWAY, "HTTP address told to clients and other nodes (default: the first host:port of -http-addr)", IN(HTTP)),
        TEXT("http-unix-mode", "OCTAL", "0660", GATEWAY, "permissions of the unix sockets in -http-addr", IN(HTTP)),
        TEXT("http-unix-group", "GROUP", "", GATEWAY, "group of the unix sockets in -http-addr (default: the process's)", IN(HTTP)),
        TEXT("http-allow-origin", "ORIGIN", "", GATEWAY, "value of Access-Control-Allow-Origin", IN(HTTP)),
        DURATION("http-idle-timeout", "2m", GATEWAY, "close a connection without a request after this", IN(HTTP), .min = MS),
        TEXT("http-cert", "FILE", "", GATEWAY | CONSENSUS, "certificate; turns the port to HTTPS", IN(HTTP)),
        TEXT("http-key", "FILE", "", GATEWAY, "key of -http-cert", IN(HTTP)),
        TEXT("http-ca-cert", "FILE", "", GATEWAY, "CA of client certificates", IN(HTTP)),
        SWITCH("http-verify-client", "false", GATEWAY, "demand a client certificate", IN(HTTP)),
        TEXT("http-verify-common-name", "NAME", "", GATEWAY, "common name a client certificate must have", IN(HTTP)),
        TEXT("auth", "FILE", "", GATEWAY | CONSENSUS, "users, passwords and permissions", IN(HTTP)),

        TEXT("raft-addr", "HOST:PORT", "localhost:4002", CONSENSUS, "where to listen for other nodes", IN(RAFT)),
        TEXT("raft-adv-addr", "HOST:PORT", "", CONSENSUS | GATEWAY, "Raft address told to other nodes (default: -raft-addr)", IN(RAFT)),
        TEXT("raft-log-level", "LEVEL", "WARN", CONSENSUS, "how much Raft logs: ERROR, WARN, INFO or DEBUG (see -log-level)", IN(RAFT), NO_EFFECT, .choices = "ERROR|WARN|INFO|DEBUG"),
        DURATION("raft-apply-timeout", "10s", CONSENSUS, "longest wait of a write for its place in the log (the timeout of a request limits all of it)", IN(RAFT), NO_EFFECT, .min = MS),
        NUMBER("raft-snap", "8192", STORE, "new log entries that trigger a checkpoint", IN(RAFT), .min = 1),
        BYTES("raft-snap-wal-size", "4194304", STORE, "size of the SQLite WAL that triggers a checkpoint; 0: none does", IN(RAFT)),
        BYTES("raft-log-keep-size", "536870912", CONSENSUS, "log kept for members that are away; who needs more gets a snapshot", IN(RAFT), .min = 65536),
        DURATION("raft-snap-int", "10s", STORE, "how often both triggers are looked at", IN(RAFT), .min = 5 * MS),
        DURATION("raft-heartbeat-timeout", "500ms", CONSENSUS, "silence of the leader after which a follower campaigns, within twice that; of a majority: the leader steps down", IN(RAFT), .min = 5 * MS),
        DURATION("raft-election-timeout", "1s", CONSENSUS, "how long a candidate waits for votes (as long as -raft-heartbeat-timeout says)", IN(RAFT), NO_EFFECT, .min = 5 * MS),
        DURATION("raft-leader-lease-timeout", "0s", CONSENSUS, "how long a leader goes on serving weak reads by itself without hearing a majority; 0: 3/4 of -raft-heartbeat-timeout", IN(RAFT), .min = 5 * MS, .zero_off = true),
        DURATION("raft-commit-timeout", "100ms", CONSENSUS, "longest silence of an idle leader; at most 1/5 of -raft-heartbeat-timeout is used", IN(RAFT), .min = MS),
        SWITCH("raft-shutdown-stepdown", "true", CONSENSUS, "hand leadership over before stopping", IN(RAFT)),
        SWITCH("raft-remove-shutdown", "false", CONSENSUS, "stop Raft when this node is removed from the cluster", IN(RAFT), NO_EFFECT),
        SWITCH("raft-cluster-remove-shutdown", "false", CONSENSUS, "leave the cluster when stopping", IN(RAFT)),
        SWITCH("raft-non-voter", "false", CONSENSUS, "run as a read replica", IN(RAFT)),
        DURATION("raft-reap-node-timeout", "0s", CONSENSUS, "remove unreachable voters after this", IN(RAFT)),
        DURATION("raft-reap-read-only-node-timeout", "0s", CONSENSUS, "remove unreachable read replicas after this", IN(RAFT)),
        DURATION("cluster-connect-timeout", "30s", CONSENSUS, "longest wait for a connection to another node", IN(RAFT), NO_EFFECT, .min = MS),
        SWITCH("compress-snap-transport", "false", CONSENSUS, "compress snapshots on the wire: always done, with zstd", IN(RAFT), IGNORED),
        TEXT("node-cert", "FILE", "", CONSENSUS, "certificate; turns on TLS between nodes", IN(RAFT)),
        TEXT("node-key", "FILE", "", CONSENSUS, "key of -node-cert", IN(RAFT)),
        TEXT("node-ca-cert", "FILE", "", CONSENSUS, "CA of the other nodes", IN(RAFT)),
        SWITCH("node-no-verify", "false", CONSENSUS, "accept any certificate of another node", IN(RAFT)),
        SWITCH("node-verify-client", "false", CONSENSUS, "demand a certificate of connecting nodes", IN(RAFT)),
        TEXT("node-verify-server-name", "NAME", "", CONSENSUS, "host name expected in certificates of other nodes", IN(RAFT)),
        TEXT("node-verify-common-name", "NAME", "", CONSENSUS, "common name a connecting node must have", IN(RAFT)),
        SWITCH("node-tls-transition", "false", CONSENSUS, "beside TLS between nodes let in nodes without it, and go to them: while the nodes change over", IN(RAFT)),

        NUMBER("bootstrap-expect", "0", CONSENSUS, "nodes that form the new cluster together, all named by -join; 0, 1: this one alone", IN(CLUSTER), .max = CLUSTER_NODES_MAX),
        DURATION("bootstrap-expect-timeout", "2m", CONSENSUS, "give up forming a cluster after this", IN(CLUSTER), .min = MS),
        TEXT("join", "ADDRESSES", "", CONSENSUS, "advertised Raft addresses, with commas: with -bootstrap-expect of all nodes of the new cluster, this one too; else of some nodes of the cluster to join", IN(CLUSTER)),
        NUMBER("join-attempts", "5", CONSENSUS, "how often to try all addresses of a running cluster", IN(CLUSTER), .max = 1000000),
        DURATION("join-interval", "3s", CONSENSUS, "pause between these attempts", IN(CLUSTER)),
        TEXT("join-as", "USER", "", CONSENSUS | GATEWAY, "user of -auth, with the permission join, as whom to join a cluster that has users", IN(CLUSTER)),
        TEXT("disco-mode", "MODE", "", CONSENSUS, "find nodes by consul-kv, etcd-kv, dns or dns-srv", IN(CLUSTER), LATER),
        TEXT("disco-key", "PREFIX", "rqlite", CONSENSUS, "key prefix for -disco-mode", IN(CLUSTER), LATER),
        TEXT("disco-config", "JSON", "", CONSENSUS, "file with, or text of, the settings of -disco-mode", IN(CLUSTER), LATER, .secret = true),

        NUMBER("write-queue-capacity", "1024", GATEWAY, "queued writes: most requests held", IN(FEATURES), .min = 1, .max = 1000000),
        NUMBER("write-queue-batch-size", "128", GATEWAY, "queued writes: so many requests don't wait for more", IN(FEATURES), .min = 1, .max = 1000000),
        DURATION("write-queue-timeout", "50ms", GATEWAY, "queued writes: longest wait for so many", IN(FEATURES), .min = MS),
        SWITCH("write-queue-tx", "false", GATEWAY, "queued writes: each request all or nothing", IN(FEATURES)),
        TEXT("cdc-config", "FILE", "", STORE, "change data capture", IN(FEATURES), LATER, .secret = true),
        TEXT("auto-backup", "FILE", "", GATEWAY, "automatic backups", IN(FEATURES), LATER),
        TEXT("auto-restore", "FILE", "", GATEWAY, "restore into an empty node", IN(FEATURES), LATER),
        TEXT("otlp-endpoint", "HOST:PORT", "", GATEWAY, "push metrics by OTLP/gRPC", IN(FEATURES), LATER),
        DURATION("otlp-interval", "30s", GATEWAY, "how often to push metrics", IN(FEATURES), LATER),
        SWITCH("otlp-insecure", "false", GATEWAY, "push metrics without TLS", IN(FEATURES), LATER),
        SWITCH("otlp-no-verify", "false", GATEWAY, "accept any certificate of the endpoint", IN(FEATURES), LATER),
        TEXT("otlp-ca-cert", "FILE", "", GATEWAY, "CA of the endpoint", IN(FEATURES), LATER),
        TEXT("otlp-cert", "FILE", "", GATEWAY, "client certificate", IN(FEATURES), LATER),
        TEXT("otlp-key", "FILE", "", GATEWAY, "key of -otlp-cert", IN(FEATURES), LATER),

        BYTES("max-body-size", "64MiB", GATEWAY, "largest request body", IN(LIMITS), .min = 1024, .max = INT64_C(64) << 20),
        NUMBER("max-inflight", "10000", GATEWAY, "most requests under way; more are answered 503", IN(LIMITS), .min = 1, .max = 1000000),
        NUMBER("max-connections", "0", GATEWAY, "most client connections; 0: what the limit on open files allows", IN(LIMITS), .min = 0, .max = 1000000),
        NUMBER("max-answer-rows", "0", GATEWAY, "most rows that a read may answer; 0: no limit", IN(LIMITS), .min = 0),
        BYTES("max-answer-size", "0", GATEWAY, "most JSON that a read may answer; 0: no limit", IN(LIMITS), .min = 0),
        BYTES("max-read-memory", "512MiB", STORE, "memory that all reads may take together, and half of it one", IN(LIMITS), .min = INT64_C(16) << 20, .max = INT64_C(1) << 40),
        NUMBER("write-step-budget", "500000000", GATEWAY, "VDBE steps that one write may take", IN(LIMITS), .min = 1000),
        NUMBER("skip-entry", "0", STORE, "index of a write in the log that never ends: it isn't done; the same on all nodes; 0: none", IN(LIMITS), .min = 0),

        TEXT("log-format", "FORM", "plain", RQ_USED_ALL, "lines on stderr: plain or json (the journal gets fields)", IN(PROCESS), .choices = "plain|json"),
        TEXT("log-level", "LEVEL", "info", RQ_USED_ALL, "least urgent record shown: error, warning, notice, info or debug", IN(PROCESS), .choices = "error|warning|notice|info|debug"),
        DURATION("slow-statement", "5s", STORE, "log a statement that takes longer, without literals and parameters; 0: never", IN(PROCESS), .min = MS, .zero_off = true),
        DURATION("watchdog", "10s", LAUNCHER, "silence after which rqd restarts a service; 0: never", IN(PROCESS), .min = 100 * MS, .zero_off = true),

        ACTION("version", "print version and leave"),
        ACTION("help", "print this and leave (also -h)"),
        ACTION("check-config", "say whether the configuration is valid and leave"),
        ACTION("print-config", "print every flag, its value and where it comes from, and leave"),
};

enum { FLAG_COUNT = sizeof flags / sizeof flags[0] };

size_t rq_flag_count(void) { return FLAG_COUNT; }

const rq_flag *rq_flag_at(size_t index) {
        rq_assert(index < FLAG_COUNT);
        return &flags[index];
}

size_t rq_flag_find(rq_bytes name) {
        size_t i = 0;
        while (i < FLAG_COUNT && !rq_bytes_equal(name, rq_bytes_text(flags[i].name)))
                i++;
        return i;
}

const rq_flag *rq_flag_nearest(rq_bytes name) {
        const rq_flag *nearest = NULL;
        size_t least = SIZE_MAX, distance;
        for (size_t i = 0; i < FLAG_COUNT; i++)
                if (rq_is_mistyped(name, rq_bytes_text(flags[i].name), &distance) && distance < least) {
                        nearest = &flags[i];
                        least = distance;
                }
        return nearest;
}

static bool read_bool(const char *text, int64_t *ret_number) {
        static const char *const words[2][6] = {
                { "0", "f", "F", "false", "FALSE", "False" },
                { "1", "t", "T", "true", "TRUE", "True" },
        };
        for (size_t value = 0; value < 2; value++)
                for (size_t i = 0; i < 6; i++)
                        if (strcmp(text, words[value][i]) == 0) {
                                *ret_number = (int64_t) value;
                                return true;
                        }
        return false;
}

static bool read_whole(const char *text, const char **ret_end, int64_t *ret_number) {
        char *end;
        if ((*text < '0' || *text > '9') && *text != '-') /* strtoll also takes blanks and '+' */
                return false;
        errno = 0;
        long long number = strtoll(text, &end, 10);
        if (errno != 0 || end == text)
                return false;
        *ret_number = number;
        *ret_end = end;
        return true;
}

static bool read_size(const char *text, int64_t *ret_number) {
        static const struct { const char *suffix; int64_t bytes; } suffixes[] = {
                { "", 1 }, { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 },
        };
        const char *end;
        int64_t number;
        if (!read_whole(text, &end, &number))
                return false;
        for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
                if (strcmp(end, suffixes[i].suffix) == 0)
                        return !__builtin_mul_overflow(number, suffixes[i].bytes, ret_number);
        return false;
}

static bool is_choice(const char *choices, const char *text) {
        size_t size = strlen(text);
        for (const char *p = choices; *p != '\0';) {
                size_t choice_size = strcspn(p, "|");
                if (choice_size == size && strncasecmp(p, text, size) == 0)
                        return true;
                p += choice_size;
                p += *p == '|';
        }
        return false;
}

static bool read_number(const rq_flag *flag, const char *text, int64_t *ret_number, const char **ret_kind) {
        const char *end;
        switch (flag->type) {
        case RQ_FLAG_BOOL:
                *ret_kind = "true or false";
                return read_bool(text, ret_number);
        case RQ_FLAG_INT:
                *ret_kind = "a whole number";
                return read_whole(text, &end, ret_number) && *end == '\0';
        case RQ_FLAG_SIZE:
                *ret_kind = "a size such as 4096, 512KiB, 64MiB or 1GiB";
                return read_size(text, ret_number);
        case RQ_FLAG_DURATION:
                *ret_kind = "a time such as 300ms, 5s or 1h30m";
                return rq_duration_parse(rq_bytes_text(text), ret_number) == RQ_OK;
        case RQ_FLAG_STRING:
                break;
        }
        rq_assert(flag->type == RQ_FLAG_STRING);
        *ret_number = 0;
        return true;
}

static void number_text(const rq_flag *flag, int64_t number, char *text, size_t size) {
        if (flag->type == RQ_FLAG_DURATION)
                (void) rq_duration_text(number, text, size);
        else
                (void) snprintf(text, size, "%lld", (long long) number);
}

rq_err rq_flag_read(const rq_flag *flag, const char *text, int64_t *ret_number,
                    char *complaint, size_t complaint_size) {
        const char *kind = "";
        char limit[32];
        int64_t number = 0;

        if (!read_number(flag, text, &number, &kind)) {
                (void) snprintf(complaint, complaint_size, "\"%s\" is not %s", text, kind);
                return RQ_ECONFIG;
        }
        if (flag->choices != NULL && !is_choice(flag->choices, text)) {
                (void) snprintf(complaint, complaint_size, "\"%s\" is not one of %s", text, flag->choices);
                return RQ_ECONFIG;
        }
        if (number < flag->min && !(number == 0 && flag->zero_off)) {
                number_text(flag, flag->min, limit, sizeof limit);
                (void) snprintf(complaint, complaint_size, "%s is too small; %sat least %s", text, flag->zero_off ? "0 or " : "", limit);
                return RQ_ECONFIG;
        }
        if (flag->max != 0 && number > flag->max) {
                number_text(flag, flag->max, limit, sizeof limit);
                (void) snprintf(complaint, complaint_size, "%s is too large; at most %s", text, limit);
                return RQ_ECONFIG;
        }
        *ret_number = number;
        return RQ_OK;
}

static void print_flag(FILE *out, const rq_flag *flag) {
        int column = fprintf(out, "  -%s", flag->name);
        if (flag->value != NULL)
                column += fprintf(out, " %s", flag->value);
        if (column > 34)
                column = fprintf(out, "\n") - 1;
        (void) fprintf(out, "%*s%s", 36 - column, "", flag->help);
        if (flag->initial[0] != '\0' && flag->group != RQ_GROUP_ACTIONS)
                (void) fprintf(out, " (default %s)", flag->initial);
        if (flag->status == RQ_FLAG_LATER)
                (void) fprintf(out, " [not available yet]");
        if (flag->status == RQ_FLAG_IGNORED)
                (void) fprintf(out, " [accepted and ignored]");
        if (flag->status == RQ_FLAG_NO_EFFECT)
                (void) fprintf(out, " [no effect yet]");
        (void) fprintf(out, "\n");
}

const char *rq_flag_group_title(rq_flag_group group) {
        static const char *const titles[RQ_GROUP_COUNT] = {
                [RQ_GROUP_GENERAL]  = "General",
                [RQ_GROUP_HTTP]     = "HTTP",
                [RQ_GROUP_RAFT]     = "Between nodes",
                [RQ_GROUP_CLUSTER]  = "Forming a cluster",
                [RQ_GROUP_FEATURES] = "Queued writes, change capture, backup, metrics",
                [RQ_GROUP_LIMITS]   = "Limits",
                [RQ_GROUP_PROCESS]  = "Processes",
                [RQ_GROUP_ACTIONS]  = "Instead of running",
        };
        rq_assert(group < RQ_GROUP_COUNT);
        return titles[group];
}

void rq_flag_print_help(FILE *out, uint32_t users) {
        for (rq_flag_group group = 0; group < RQ_GROUP_COUNT; group++) {
                bool titled = false;
                for (size_t i = 0; i < FLAG_COUNT; i++) {
                        if (flags[i].group != group || (users != 0 && (flags[i].used_by & users) == 0))
                                continue;
                        if (!titled)
                                (void) fprintf(out, "\n%s:\n", rq_flag_group_title(group));
                        titled = true;
                        print_flag(out, &flags[i]);
                }
        }
}

/* --- rules between flags: rqlite's, with its words -------------------------- */

#define complain(problem, ...) (rq_buf_printf(problem, __VA_ARGS__) < 0 ? RQ_ENOMEM : RQ_ECONFIG)

static bool is_given(const rq_config *config, const char *name) { return rq_config_string(config, name)[0] != '\0'; }

rq_err rq_address_split(const char *address, char ret_host[static RQ_HOST_BYTES_MAX],
                        char ret_port[static RQ_PORT_BYTES_MAX]) {
        const char *host = address, *colon = strrchr(address, ':');
        if (colon == NULL)
                return RQ_EINVAL;
        size_t host_size = (size_t) (colon - host), port_size = strlen(colon + 1);
        if (host[0] == '[') {
                if (host_size < 2 || host[host_size - 1] != ']')
                        return RQ_EINVAL;
                host++;
                host_size -= 2;
        } else if (memchr(host, ':', host_size) != NULL) {
                return RQ_EINVAL; /* IPv6 wants brackets */
        }
        if (host_size >= RQ_HOST_BYTES_MAX || memchr(host, '[', host_size) != NULL || memchr(host, ']', host_size) != NULL)
                return RQ_EINVAL;
        if (port_size == 0 || port_size >= RQ_PORT_BYTES_MAX || strspn(colon + 1, "0123456789") != port_size ||
            strtol(colon + 1, NULL, 10) > 65535)
                return RQ_EINVAL;
        memcpy(ret_host, host, host_size);
        ret_host[host_size] = '\0';
        memcpy(ret_port, colon + 1, port_size + 1);
        return RQ_OK;
}

bool rq_address_is_unix(const char *address, const char **ret_path) {
        if (strncmp(address, "unix:", 5) != 0)
                return false;
        *ret_path = address + 5;
        return true;
}

static bool is_unspecified(const char *host) {
        struct in6_addr any6;
        struct in_addr any4;
        if (host[0] == '\0')
                return true;
        if (inet_pton(AF_INET, host, &any4) == 1)
                return any4.s_addr == INADDR_ANY;
        return inet_pton(AF_INET6, host, &any6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&any6);
}

static bool has_scheme(const char *address) {
        return strncasecmp(address, "http://", 7) == 0 || strncasecmp(address, "https://", 8) == 0;
}

/* What would be without effect is more likely a certificate that was forgotten. */
static rq_err check_node_tls(const rq_config *c, rq_buf *problem) {
        static const char *const texts[] = { "node-ca-cert", "node-verify-server-name", "node-verify-common-name" };
        static const char *const switches[] = { "node-no-verify", "node-verify-client", "node-tls-transition" };
        if (is_given(c, "node-cert"))
                return RQ_OK;
        for (size_t i = 0; i < 3; i++) {
                if (is_given(c, texts[i]))
                        return complain(problem, "-%s requires -node-cert and -node-key", texts[i]);
                if (rq_config_bool(c, switches[i]))
                        return complain(problem, "-%s requires -node-cert and -node-key", switches[i]);
        }
        return RQ_OK;
}

static rq_err check_http_tls(const rq_config *c, rq_buf *problem) {
        if (is_given(c, "http-cert"))
                return RQ_OK;
        if (is_given(c, "http-ca-cert"))
                return complain(problem, "-http-ca-cert requires -http-cert and -http-key");
        if (rq_config_bool(c, "http-verify-client"))
                return complain(problem, "-http-verify-client requires -http-cert and -http-key");
        return RQ_OK;
}

static rq_err check_tls(const rq_config *c, rq_buf *problem) {
        static const char *const prefixes[] = { "http", "node", "otlp" };
        char cert[64], key[64], name[64], client[64];
        for (size_t i = 0; i < 3; i++) {
                (void) snprintf(cert, sizeof cert, "%s-cert", prefixes[i]);
                (void) snprintf(key, sizeof key, "%s-key", prefixes[i]);
                if (is_given(c, cert) != is_given(c, key))
                        return complain(problem, "either both -%s and -%s must be set, or neither", cert, key);
        }
        for (size_t i = 0; i < 2; i++) {
                (void) snprintf(name, sizeof name, "%s-verify-common-name", prefixes[i]);
                (void) snprintf(client, sizeof client, "%s-verify-client", prefixes[i]);
                if (is_given(c, name) && !rq_config_bool(c, client))
                        return complain(problem, "-%s requires -%s", name, client);
        }
        rq_err r = check_http_tls(c, problem);
        return r < 0 ? r : check_node_tls(c, problem);
}

static rq_err check_unix_socket(const char *path, rq_buf *problem) {
        if (path[0] != '/')
                return complain(problem, "HTTP bind address not valid (unix:%s); the path of a unix socket begins with /", path);
        if (strlen(path) > UNIX_PATH_BYTES_MAX)
                return complain(problem, "HTTP bind address not valid (unix:%s); the path of a unix socket has at most %d bytes", path,
                                UNIX_PATH_BYTES_MAX);
        return RQ_OK;
}

/* Whether one of those before at is the same. Port 0 is another one each time. */
static bool is_there_before(const char *list, size_t at, const char *address) {
        char other[RQ_ADDRESS_BYTES_MAX];
        size_t size = strlen(address);
        if (size > 2 && strcmp(address + size - 2, ":0") == 0)
                return false;
        for (size_t before = 0; rq_address_next(list, &before, other) && before < at;)
                if (strcmp(address, other) == 0)
                        return true;
        return false;
}

static rq_err check_http_addresses(const rq_config *c, rq_buf *problem) {
        const char *list = rq_config_string(c, "http-addr"), *raft = rq_config_string(c, "raft-addr");
        const char *mode = rq_config_string(c, "http-unix-mode"), *path;
        char address[RQ_ADDRESS_BYTES_MAX], host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        rq_err r = RQ_OK;

        if (strspn(mode, "01234567") != strlen(mode) || mode[0] == '\0' || strtoul(mode, NULL, 8) > 0777)
                return complain(problem, "-http-unix-mode: \"%s\" is not an octal mode, such as 0660", mode);
        if (list[0] == '\0')
                return complain(problem, "HTTP bind address not valid (empty); it must be host:port or unix:/path");
        for (size_t at = 0; r == RQ_OK && rq_address_next(list, &at, address);) {
                if (is_there_before(list, at, address))
                        r = complain(problem, "-http-addr names %s twice", address);
                else if (rq_address_is_unix(address, &path))
                        r = check_unix_socket(path, problem);
                else if (strcmp(address, raft) == 0)
                        r = complain(problem, "HTTP and Raft addresses must differ (both are %s)", address);
                else if (has_scheme(address))
                        r = complain(problem, "HTTP options should not include protocol (http:// or https://)");
                else if (rq_address_split(address, host, port) < 0)
                        r = complain(problem, "HTTP bind address not valid (%s); it must be host:port", address);
        }
        return r;
}

static rq_err check_addresses(const rq_config *c, rq_buf *problem) {
        const char *raft = rq_config_string(c, "raft-addr");
        const char *http_adv = rq_config_http_adv_addr(c), *raft_adv = rq_config_raft_adv_addr(c);
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];

        rq_err r = check_http_addresses(c, problem);
        if (r < 0)
                return r;
        if (has_scheme(http_adv))
                return complain(problem, "HTTP options should not include protocol (http:// or https://)");
        if (http_adv[0] == '\0')
                return complain(problem, "-http-addr names unix sockets only: -http-adv-addr must say what other nodes tell clients about this one");
        if (rq_address_split(http_adv, host, port) < 0)
                return complain(problem, "HTTP advertised HTTP address not valid (%s); it must be host:port", http_adv);
        if (is_unspecified(host))
                return complain(problem, "advertised HTTP address is not routable (%s), specify it via -http-addr or -http-adv-addr",
                                host[0] != '\0' ? host : http_adv);
        if (strrchr(raft, ':') == NULL)
                return complain(problem, "raft bind address not valid (%s); it must be host:port", raft);
        if (rq_address_split(raft, host, port) < 0 || strcmp(port, "0") == 0)
                return complain(problem, "raft bind port not valid (%s); it must be host:port with a number", raft);
        if (strrchr(raft_adv, ':') == NULL)
                return complain(problem, "raft advertised address not valid (%s); it must be host:port", raft_adv);
        if (rq_address_split(raft_adv, host, port) < 0 || strcmp(port, "0") == 0)
                return complain(problem, "raft advertised port is not valid (%s); it must be host:port with a number", raft_adv);
        if (is_unspecified(host))
                return complain(problem, "advertised Raft address is not routable (%s), specify it via -raft-addr or -raft-adv-addr",
                                host[0] != '\0' ? host : raft_adv);
        if (strcmp(http_adv, raft_adv) == 0)
                return complain(problem, "advertised HTTP and Raft addresses must differ (both are %s)", http_adv);
        return RQ_OK;
}

/* Bytes of the UTF-8 character at p that a line of a log, JSON and a shell can show; 0: none. */
static size_t shown_character(const unsigned char *p) {
        if (p[0] < 0x80)
                return p[0] >= 0x20 && p[0] != 0x7f;
        size_t size = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
        for (size_t i = 1; i < size; i++)
                if (p[i] >> 6 != 2) /* also the NUL at the end */
                        return 0;
        bool overlong = p[0] < 0xc2 || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
        bool surrogate = p[0] == 0xed && p[1] >= 0xa0, beyond = p[0] > 0xf4 || (p[0] == 0xf4 && p[1] >= 0x90);
        return overlong || surrogate || beyond ? 0 : size;
}

static rq_err check_node_id(const rq_config *c, rq_buf *problem) {
        const char *id = rq_config_node_id(c);
        if (strlen(id) > RQ_NODE_ID_BYTES_MAX)
                return complain(problem, "-node-id: longer than %d bytes", RQ_NODE_ID_BYTES_MAX);
        for (size_t at = 0, size; id[at] != '\0'; at += size)
                if ((size = shown_character((const unsigned char *) id + at)) == 0)
                        return complain(problem, "-node-id: byte %zu is a control character, or not UTF-8", at + 1);
        return RQ_OK;
}

static rq_err check_times(const rq_config *c, rq_buf *problem) {
        if (rq_config_duration_us(c, "raft-leader-lease-timeout") > rq_config_duration_us(c, "raft-heartbeat-timeout"))
                return complain(problem, "-raft-leader-lease-timeout must not be more than -raft-heartbeat-timeout");
        return RQ_OK;
}

bool rq_address_next(const char *list, size_t *at, char ret_address[static RQ_ADDRESS_BYTES_MAX]) {
        size_t from = *at;
        if (list[0] == '\0' || (from > 0 && list[from - 1] == '\0'))
                return false;
        size_t size = strcspn(list + from, ",");
        *at = from + size + 1;
        while (size > 0 && list[from] == ' ') {
                from++;
                size--;
        }
        while (size > 0 && list[from + size - 1] == ' ')
                size--;
        (void) snprintf(ret_address, RQ_ADDRESS_BYTES_MAX, "%.*s", size < RQ_ADDRESS_BYTES_MAX ? (int) size : 0, list + from);
        return true;
}

typedef struct join_list { size_t count; bool advertised, bound; } join_list; /* which of our addresses it has */

/* rqlite's rules, which are mild: what is no address is found when it is tried. */
static rq_err check_join_list(const rq_config *c, join_list *ret_list, rq_buf *problem) {
        char address[RQ_ADDRESS_BYTES_MAX];
        join_list list = {0};
        for (size_t at = 0; rq_address_next(rq_config_string(c, "join"), &at, address); list.count++) {
                if (strrchr(address, ':') == NULL)
                        return complain(problem, "%s is an invalid join address", address);
                list.advertised = list.advertised || strcmp(address, rq_config_raft_adv_addr(c)) == 0;
                list.bound = list.bound || strcmp(address, rq_config_string(c, "raft-addr")) == 0;
        }
        if ((list.advertised || list.bound) && rq_config_int(c, "bootstrap-expect") == 0)
                return complain(problem, "node cannot join with itself unless bootstrapping");
        *ret_list = list;
        return RQ_OK;
}

/* Every address can be called, and stands there once. */
static rq_err check_founders(const rq_config *c, rq_buf *problem) {
        char address[RQ_ADDRESS_BYTES_MAX], other[RQ_ADDRESS_BYTES_MAX], host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        for (size_t at = 0, place = 0; rq_address_next(rq_config_string(c, "join"), &at, address); place++) {
                if (rq_address_split(address, host, port) < 0 || strcmp(port, "0") == 0 || is_unspecified(host))
                        return complain(problem, "%s is an invalid join address; it must be host:port, as the node advertises it", address);
                for (size_t before = 0, i = 0; i < place && rq_address_next(rq_config_string(c, "join"), &before, other); i++)
                        if (strcmp(address, other) == 0)
                                return complain(problem, "-join names %s twice", address);
        }
        return RQ_OK;
}

/* Ours: who founds a cluster is said by every founder, and the same by all.
 * What isn't said could become two clusters. */
static rq_err check_founding(const rq_config *c, const join_list *list, rq_buf *problem) {
        long long expect = rq_config_int(c, "bootstrap-expect");
        if (expect == 0)
                return RQ_OK; /* joins a running cluster: what is no address is found when it is tried */
        if (expect > 1 && list->count == 0)
                return complain(problem, "-bootstrap-expect %lld needs -join with the Raft addresses of all %lld nodes", expect, expect);
        if (list->count == 0)
                return RQ_OK;
        rq_err r = check_founders(c, problem);
        if (r < 0)
                return r;
        if (list->count != (size_t) expect)
                return complain(problem, "-join names %zu node%s, -bootstrap-expect says %lld: it must name every node of the new cluster, this one too",
                                list->count, list->count == 1 ? "" : "s", expect);
        /* Above one: a further node, with the founders' own flags; it joins what they have founded. */
        if (expect == 1 && !list->advertised && !list->bound)
                return complain(problem, "-join must name this node, too, as it advertises itself: %s", rq_config_raft_adv_addr(c));
        return RQ_OK;
}

static rq_err check_forming(const rq_config *c, rq_buf *problem) {
        static const char *const modes[] = { "consul-kv", "etcd-kv", "dns", "dns-srv" };
        const char *mode = rq_config_string(c, "disco-mode");
        bool voter = !rq_config_bool(c, "raft-non-voter"), known = mode[0] == '\0';
        join_list list = {0};
        int64_t expect = rq_config_int(c, "bootstrap-expect");

        if (expect > 0 && !voter)
                return complain(problem, "bootstrapping only applicable to voting nodes");
        if (is_given(c, "join")) {
                rq_err r = check_join_list(c, &list, problem);
                if (r < 0)
                        return r;
                if (expect == 0 && is_given(c, "auto-restore"))
                        return complain(problem, "auto-restoring cannot be used when joining a cluster");
                if (mode[0] != '\0')
                        return complain(problem, "disco mode cannot be used when also explicitly joining a cluster");
        }
        for (size_t i = 0; i < 4; i++)
                known = known || strcmp(mode, modes[i]) == 0;
        if (!known)
                return complain(problem, "disco mode must be one of consul-kv, etcd-kv, dns, or dns-srv");
        if (strstr(mode, "-kv") != NULL && expect > 0)
                return complain(problem, "bootstrapping not applicable when using %s", mode);
        if (strncmp(mode, "dns", 3) == 0 && expect == 0 && voter)
                return complain(problem, "bootstrap-expect value required when using %s with a voting node", mode);
        if (is_given(c, "cdc-config") && !voter)
                return complain(problem, "CDC cannot be enabled on non-voting nodes");
        /* Who finds nodes otherwise isn't told to name them all, which the rules above forbid. */
        return mode[0] != '\0' ? RQ_OK : check_founding(c, &list, problem);
}

static rq_err check_metrics(const rq_config *c, rq_buf *problem) {
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        const char *endpoint = rq_config_string(c, "otlp-endpoint");
        bool tls = is_given(c, "otlp-ca-cert") || is_given(c, "otlp-cert") || rq_config_bool(c, "otlp-no-verify");
        if (endpoint[0] == '\0') {
                if (tls || rq_config_bool(c, "otlp-insecure"))
                        return complain(problem, "OTLP options require -otlp-endpoint");
                return RQ_OK;
        }
        if (strstr(endpoint, "://") != NULL)
                return complain(problem, "-otlp-endpoint must not include a protocol scheme");
        if (rq_address_split(endpoint, host, port) < 0)
                return complain(problem, "-otlp-endpoint is not a valid address");
        if (rq_config_duration_us(c, "otlp-interval") <= 0)
                return complain(problem, "-otlp-interval must be greater than zero");
        if (rq_config_bool(c, "otlp-insecure") && tls)
                return complain(problem, "-otlp-insecure cannot be used with other OTLP TLS options");
        return RQ_OK;
}

rq_err rq_flag_rules(const rq_config *c, rq_buf *problem) {
        static rq_err (*const checks[])(const rq_config *c, rq_buf *problem) = {
                check_tls, check_addresses, check_node_id, check_times, check_forming, check_metrics,
        };
        for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
                rq_err r = checks[i](c, problem);
                if (r < 0)
                        return r;
        }
        return RQ_OK;
}
