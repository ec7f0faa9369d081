/* Configuration of every program: one catalog of flags, read from the
 * defaults, a file (-config FILE), the environment (RQ_ + flag in capitals,
 * '-' as '_') and the command line, each over the one before. All services
 * and the launcher take the same flags and the same file; each uses its own.
 * Form of flags: -name value, -name=value, --name...; booleans never consume
 * the next word (rqlited's rules: operations.md section 1). */
#ifndef RQ_CONFIG_CONFIG_H
#define RQ_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

typedef struct rq_config rq_config;

typedef enum rq_config_action {
        RQ_CONFIG_RUN,     /* go on */
        RQ_CONFIG_CHECK,   /* --check-config: all that can be told without the files that it names is right */
        RQ_CONFIG_DONE,    /* --version, --help, --print-config: was printed; exit 0 */
} rq_config_action;

/* Exit codes of all programs, documented in docs/operations.md. */
enum {
        RQ_EXIT_OK      = 0,
        RQ_EXIT_FAILURE = 1,  /* run-time failure; a supervisor should restart */
        RQ_EXIT_CONFIG  = 78, /* EX_CONFIG: restarting cannot help */
};

/* program: name shown in messages. On RQ_ECONFIG, *ret_problem (owned by the
 * caller) has one line that says what is wrong, where (flag, variable, or
 * file:line) and what would be right; a NUL follows its bytes. With
 * RQ_CONFIG_DONE *ret_config is NULL. Errors: RQ_ECONFIG, RQ_ENOMEM.
 *
 * Variables with the prefix RQ_INTERNAL_ (between rqd and the services that it
 * starts) and RQ_TEST_ (marks of test harnesses) are no configuration; any
 * other unknown RQ_ variable is an error. The data directory may also be given as
 * data-dir in the file or RQ_DATA_DIR. */
rq_err rq_config_load(const char *program, int argc, char **argv,
                      rq_config **ret_config, rq_config_action *ret_action, rq_buf *ret_problem);
rq_config *rq_config_free(rq_config *config);

/* Value of a flag, by its name without dash. The name must be in the catalog
 * and of that type (else assertion). Strings: valid as long as the config. A
 * search through the catalog: read what a request needs once, at the start. */
const char *rq_config_string(const rq_config *config, const char *name);
bool rq_config_bool(const rq_config *config, const char *name);
int64_t rq_config_int(const rq_config *config, const char *name);      /* also sizes, in bytes */
int64_t rq_config_duration_us(const rq_config *config, const char *name);
/* Was it given (file, environment or command line), even with its default? */
bool rq_config_is_set(const rq_config *config, const char *name);
/* Flags that have no effect yet and don't have their default, of those that
 * this program uses (rqd: all): "-join-attempts, -raft-election-timeout", a NUL
 * behind it; empty: none. Errors: RQ_ENOMEM. */
rq_err rq_config_without_effect(const rq_config *config, const char *program, rq_buf *ret_names);
/* Does any flag name a file that a service reads, other than -config? */
bool rq_config_names_files(const rq_config *config);
/* What differs from the defaults, as a file that -config takes, with absolute paths: without the data directory, -run-dir
 * and what is secret, and what a line can't hold. Appends to *text. Errors: RQ_ENOMEM. */
rq_err rq_config_text(const rq_config *config, rq_buf *text);
/* -log-level as a syslog priority. */
int rq_config_log_level(const rq_config *config);

/* Derived: absolute data directory; runtime directory for sockets
 * (-run-dir, default DATA_DIR/run); effective values with rqlite's rules. */
const char *rq_config_data_dir(const rq_config *config);
const char *rq_config_run_dir(const rq_config *config);
enum { RQ_NODE_ID_BYTES_MAX = 255 }; /* UTF-8 without control characters */
const char *rq_config_node_id(const rq_config *config);       /* -node-id, default: advertised Raft address */
const char *rq_config_http_adv_addr(const rq_config *config); /* -http-adv-addr, default the first host:port of -http-addr */
const char *rq_config_raft_adv_addr(const rq_config *config);
/* What nodes tell each other of it: with "https://" before it if -http-cert is there. */
const char *rq_config_api_addr(const rq_config *config);

/* "host:port", "[v6]:port" or ":port" into its parts, by Go's rules; the port
 * is decimal and below 65536. Errors: RQ_EINVAL (nothing written). */
enum { RQ_HOST_BYTES_MAX = 256, RQ_PORT_BYTES_MAX = 6 };
rq_err rq_address_split(const char *address, char ret_host[static RQ_HOST_BYTES_MAX],
                        char ret_port[static RQ_PORT_BYTES_MAX]);

/* The next address of a list with commas, such as -join has, without blanks
 * around it: *at begins at 0. False: no more. One that is too long comes as "".
 * With -bootstrap-expect above 0 the rules between flags have seen to it that
 * -join, if given, has as many, all different, all host:port, and among them this
 * node's (above 1: given, and with its advertised Raft address). */
enum { RQ_ADDRESS_BYTES_MAX = RQ_HOST_BYTES_MAX + RQ_PORT_BYTES_MAX + 3 };
bool rq_address_next(const char *list, size_t *at, char ret_address[static RQ_ADDRESS_BYTES_MAX]);

/* "unix:/path" of -http-addr; *ret_path points into address. */
bool rq_address_is_unix(const char *address, const char **ret_path);

/* What the flags -raft-commit-timeout, -raft-heartbeat-timeout and
 * -raft-leader-lease-timeout come to: a leader is heard at least five times
 * within election_us, and its lease ends before anybody else may be elected
 * (9/10 of election_us at most: clocks may run that much apart). */
typedef struct rq_raft_times {
        uint64_t heartbeat_us; /* between two heartbeats of a leader */
        uint64_t election_us;  /* silence of the leader that makes a follower campaign */
        uint64_t lease_us;     /* how long a majority's word lets a leader serve weak reads by itself */
} rq_raft_times;
rq_raft_times rq_config_raft_times(const rq_config *config);

/* Go's duration syntax ("1h2m3.5s", "0", "-1s"). Errors: RQ_EINVAL, also on overflow.
 * Used for flags and for URL parameters. Result in nanoseconds. */
rq_err rq_duration_parse(rq_bytes text, int64_t *ret_ns);

/* Go's formatting of a duration ("1m30s", "1.5ms", "0s"); buf >= 32 bytes. */
char *rq_duration_text(int64_t ns, char *buf, size_t size);

#endif
