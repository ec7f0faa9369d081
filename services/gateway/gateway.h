/* Private to the gateway: the object and what its parts share. service.c joins
 * the parts, dispatch.c is called by sockets and calls the parts. */
#ifndef RQ_GATEWAY_GATEWAY_H
#define RQ_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>

#include "access.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "config.h"
#include "core/consistency.h"
#include "core/metrics.h"
#include "core/wheel.h"
#include "core/write_queue.h"
#include "exchange.h"
#include "io/http_server.h"
#include "io/json_body.h"
#include "ipc/ipc_endpoint.h"
#include "loop/loop.h"
#include "log/log.h"
#include "tls/tls_watch.h"

enum {
        JSON_BODIES_KEPT       = 64,               /* idle parsers */
        BODY_BYTES_MAX         = 512 * 1024 * 1024, /* of all requests in work together; */
        BODY_BYTES_SMALL       = 64 * 1024,        /* a body up to this is never refused for others */
        LINKS_LOST_MAX         = 2,                /* a read that broke as many is not sent again: it may be why */
        RESULT_CREDIT_BYTES    = 256 * 1024,       /* of a result that may be under way to a slow client */
        CREDIT_BYTES_MIN       = 32 * 1024,        /* given back at a time */
        FILE_CREDIT_BYTES      = 1024 * 1024,      /* of a backup: fewer turns for so many bytes */
        LINK_WAIT_MS           = 3000,             /* for a service that restarts, before anything was sent */
        LOST_LINK_WAIT_MS      = 10000,            /* for the result of a write whose link to consensus broke */
        STATUS_WAIT_MS         = 1000,
        ARRIVING_MS            = 1000,             /* a body that takes longer gives way, if there are too many requests */
        DEADLINE_TICK_MS       = 20,
        TIMEOUT_DEFAULT_S      = 30,
        QUEUE_BYTES_MAX        = 64 * 1024 * 1024, /* of queued writes; */
        QUEUE_BATCH_BYTES_MAX  = 4 * 1024 * 1024,  /* of those in one entry; a single one may be larger */
        QUEUE_BATCH_WAIT_S     = 60,   /* for the outcome of a batch */
        QUEUE_PAUSE_MS         = 250,  /* before a batch that was refused is tried again */
        STOP_WAIT_MS           = 10000,            /* for requests in work, at SIGTERM; */
        STOP_LAST_WORDS_MS     = 500,              /* then for clients to take what they are told of it */
        NODE_TEXT_BYTES        = 256,
        GATEWAY_URL_BYTES      = NODE_TEXT_BYTES + 16,
        GATEWAY_JOINS_MAX      = 16,   /* nodes that want to join, whose password is being checked */
};

/* What consensus says of itself (NODE_STATE); known: since the link is up. */
typedef struct node_view {
        bool known, ready;
        bool catching_up;             /* to become a voter */
        node_role role;
        uint64_t term;
        uint32_t members;             /* of the cluster; 0: not known */
        uint8_t disk_uuid[RQ_UUID_BYTES];
        size_t disk_uuid_size;
        uint64_t epoch;               /* of tokens (hazards 33): another one after every forced recovery */
        char node_id[NODE_TEXT_BYTES];
        char leader_id[NODE_TEXT_BYTES], leader_raft_addr[NODE_TEXT_BYTES], leader_api_addr[NODE_TEXT_BYTES];
} node_view;

/* A question of consensus that waits for a password (api/join_users.c). */
typedef struct gateway_join {
        uint64_t check;               /* 0: free */
        uint64_t request_id;
        bool read_replica;
} gateway_join;

/* Queued writes (api/queue.c). */
typedef struct queue_state {
        write_queue writes;
        rq_timer timer;
        bool timer_set;
        exchange *batch;              /* on its way; NULL: none */
        rq_list parked;               /* exchanges that wait for room, or for a leader */
        uint64_t not_before_us;       /* the batch was refused: a pause */
} queue_state;

typedef struct gateway {
        rq_loop *loop;
        const gateway_config *config;
        int run_dir_fd;
        rq_uuid incarnation;
        http_server *http;
        rq_tls *tls;                  /* NULL: plain */
        rq_tls_watch *tls_watch;
        access_control *access;
        ipc_connector *consensus, *store;
        node_view node;
        metrics metrics;
        uint64_t started_wall_us, started_mono_us;
        uint64_t last_backup_wall_us; /* that was sent whole; 0: none */

        exchange_pool exchanges;
        wheel deadlines;
        rq_timer tick;
        bool tick_set, stopping;
        rq_list waiting;              /* exchanges that wait for a link */
        rq_list arriving;             /* data requests whose body comes, the oldest first */
        rq_list readiness;            /* /readyz that wait for the node's state to change */
        rq_list leader_waits;         /* exchanges that wait for a leader (api/leader_wait.c) */
        uint64_t leaderless_since_us; /* monotonic; 0: a leader is known */
        queue_state queue;
        uint64_t breaks;              /* of the link to consensus, so far */
        uint64_t barriers;            /* the last break that a barrier was sent for */
        uint64_t body_bytes;          /* of all requests in work */
        json_body *bodies[JSON_BODIES_KEPT];
        size_t body_count;
        uint32_t load_count;          /* under way, of /db/load and /boot */
        gateway_join joins[GATEWAY_JOINS_MAX];
        rq_log_limit error_log;

        void (*on_node)(void *arg);   /* node may have changed; NULL: nobody asks */
        void *on_node_arg;
        rq_timer stop_timer;
        void (*on_stopped)(void *arg);
        void *on_stopped_arg;
        bool http_stopped, stopped;   /* no connection is left; on_stopped was called */
        bool gave_up;                 /* the time for what is queued is over */
} gateway;

/* service.c */
rq_err gateway_new(rq_loop *loop, const gateway_config *config, int run_dir_fd, const rq_uuid *incarnation, gateway **ret_gateway);
gateway *gateway_free(gateway *gw);
/* on_stopped: everything was answered, or time is up. */
void gateway_stop(gateway *gw, void (*on_stopped)(void *arg), void *arg);
/* Files that are read again while it runs: users. */
void gateway_reload(gateway *gw);
void gateway_watch_node(gateway *gw, void (*on_node)(void *arg), void *arg);
void gateway_node_changed(gateway *gw);
void gateway_set_deadline(gateway *gw, exchange *ex, uint64_t after_us);
/* What a client calls to reach the HTTP port at an advertised address, which says https:// itself. Returns url. */
const char *gateway_url(const char *address, char url[static GATEWAY_URL_BYTES]);
/* At most a few lines a second, with how many were left out. */
void gateway_log_error(gateway *gw, const char *text);
void gateway_log_request(const exchange *ex, const char *text); /* with its id */

/* Stopping: something has come to its end. */
void gateway_look_stopped(gateway *gw);

/* dispatch.c */
extern const http_handlers gateway_http_handlers; /* without arg */
void gateway_on_access(void *arg, uint64_t check, rq_permissions may); /* arg: the gateway */
void gateway_on_access_deadline(exchange *ex);
extern const ipc_handlers gateway_consensus_handlers, gateway_store_handlers;

#endif
