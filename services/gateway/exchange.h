/* One HTTP request in work: what was asked, how far it is, and until when. From
 * complete headers to the end of the answer. Kept in a pool; the id under which
 * other services know it names the place in the pool and how often the place
 * was used, so that a late answer to an earlier use finds nobody. */
#ifndef RQ_GATEWAY_EXCHANGE_H
#define RQ_GATEWAY_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/list.h"
#include "core/consistency.h"
#include "core/failure.h"
#include "core/params.h"
#include "core/route.h"
#include "core/wheel.h"
#include "io/http_conn.h"
#include "io/json_body.h"

typedef struct gateway gateway;
typedef struct gzip gzip;
typedef struct load load;
typedef struct exchange exchange;

typedef enum exchange_state {
        EX_RECEIVING,   /* the body comes */
        EX_WAITING,     /* for a link; nothing was sent */
        EX_SENT,        /* nothing came back yet */
        EX_STREAMING,   /* a part of the result came */
        EX_STATUS,      /* documents of the other services were asked for */
        EX_READINESS,   /* for the node's state to change */
        EX_TRANSFER,    /* for consensus to have handed leadership over */
        EX_SNAPSHOT,    /* for the store's checkpoint */
        EX_PARKED,      /* a queued write, for a leader or for room in the queue */
        EX_QUEUED,      /* for a queued write to be made (core/write_queue.h) */
        EX_REMOVE,      /* for consensus to have removed a member */
        EX_LEADER,      /* for a leader to be known; nothing was sent */
        EX_ACCESS,      /* its password is being checked; nothing was done */
} exchange_state;

typedef enum exchange_way {
        WAY_PROPOSE,    /* consensus: through the log */
        WAY_READ,       /* consensus: a read that needs an index */
        WAY_QUERY,      /* store: a read that needs none */
} exchange_way;

/* Of an internal request: its result, whole unless result_cut, or what went wrong (status != 200). */
typedef void exchange_done(exchange *ex, unsigned status, rq_bytes result);

struct exchange {
        gateway *gw;
        http_conn *conn;
        uint64_t id;            /* as others know it */
        uint32_t place, uses;
        const route *route;
        params params;
        exchange_state state;
        exchange_way way;
        read_level level;
        wheel_entry deadline;
        rq_list waiting;        /* of gw->waiting, gw->readiness, gw->leader_waits or gw->queue.parked */
        rq_list arriving;       /* of gw->arriving, while its body comes */
        uint64_t started_ns;
        uint64_t deadline_us;   /* monotonic: the client's patience */

        json_body *body;        /* while it comes */
        rq_buf text;            /* a body that is SQL; any small body; a result that is collected */
        rq_buf statements;      /* io/statement.h */
        rq_buf groups;          /* of a batch of queued writes: message_put_group() */
        rq_buf location;        /* target as sent, kept for a redirection */
        uint64_t body_bytes;    /* of the body, so far */
        uint64_t charged_bytes; /* its part of gateway.body_bytes */
        uint32_t links_lost;    /* a read: how often a link broke under it */
        uint32_t statement_count;
        bool all_may_be_read;
        bool is_text, wants_body;
        bool link_lost;         /* a write whose link to consensus broke, */
        uint64_t lost_at;       /* at this break (gateway.breaks) */
        bool proposed_here;     /* while this node led: it is in its log, or nowhere */
        bool store_lost;        /* the link to the store broke since it was sent */
        bool tried_log;         /* a request that was a read by its first words, and had to be proposed */

        bool is_file;           /* the result is bytes of a file, not JSON, */
        const char *file_type;  /* of this content type */
        gzip *gzip;             /* not NULL: and is compressed on its way */
        load *load;             /* api/load.c: a body on its way to the log, or a piece of it */

        uint64_t credit_due;    /* bytes passed on, not yet given back to the store */
        uint64_t leader_until_us; /* a leader is waited for, or was; 0: not yet. Monotonic */
        void (*on_leader)(exchange *ex); /* EX_LEADER: what is done then */
        uint64_t access_check;  /* EX_ACCESS: which one is waited for, */
        rq_bytes path;          /* and the path, decoded, in the connection's memory */
        exchange_done *done;    /* not NULL: collect, don't answer */
        failure_reason failed_for; /* for done, with a status that isn't 200 */
        failure_outcome failed_how; /* likewise */
        uint64_t done_index;    /* for done: of the entry, as far as it is known */
        bool result_cut;        /* for done: text is only the begin of the result */
        struct queued_write *queued; /* EX_QUEUED; it knows this exchange as its waiter */
        uint64_t snapshot_index; /* what the checkpoint must reach */
        void *documents[2];     /* EX_STATUS: json_t of consensus and store */
        bool document_asked[2];
};

typedef struct exchange_pool {
        exchange **places;
        uint32_t place_count, used_count;
        uint32_t *free_places;
        uint32_t free_count;
} exchange_pool;

enum { EXCHANGES_MAX = 1 << 20 };

void exchange_pool_done(exchange_pool *pool); /* all must be free */

/* Errors: RQ_ENOMEM, RQ_EFULL. */
rq_err exchange_new(gateway *gw, http_conn *conn, exchange **ret_exchange);
void exchange_free(exchange *ex);

/* Another id: what still comes under the old one is for nobody. */
void exchange_renew_id(exchange *ex);

/* NULL: answered, given up, or of an earlier use. */
exchange *exchange_find(const exchange_pool *pool, uint64_t id);

/* Walk over all in use: *cursor starts at 0; NULL at the end. */
exchange *exchange_next(const exchange_pool *pool, uint32_t *cursor);

#endif
