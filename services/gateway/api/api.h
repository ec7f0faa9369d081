/* The endpoints: what is done with a request once path, method and parameters
 * are known to be good. Called by dispatch.c; whoever has an exchange answers it. */
#ifndef RQ_GATEWAY_API_H
#define RQ_GATEWAY_API_H

#include <jansson.h>

#include "gateway.h"

#define API_JSON "application/json; charset=utf-8"
#define API_TEXT "text/plain; charset=utf-8"

/* A request that needs no other service: answered at once. false: not one of these.
 * path: decoded. */
bool api_answer_plain(gateway *gw, http_conn *conn, const route *r, rq_bytes path);

/* The rest, in three steps; the exchange may be gone after each. */
void api_begin(exchange *ex);                    /* headers are complete */
void api_body(exchange *ex, rq_bytes piece);
void api_complete(exchange *ex);

/* Answer with a JSON document and free the exchange. */
void api_answer_json(exchange *ex, rq_buf *take_document);
void api_answer_text(exchange *ex, unsigned status, const char *text);

/* data.c: /db/execute, /db/query, /db/request, /db/sql */
void data_begin(exchange *ex);
void data_body(exchange *ex, rq_bytes piece);
void data_complete(exchange *ex);

/* Is to be served by the leader, and the client would rather go there itself
 * (`redirect`): true, unless this node leads: answered, or it waits for a leader to send it to;
 * again is then called to begin anew. */
bool api_redirect(exchange *ex, void (*again)(exchange *ex));

/* leader_wait.c: while leadership moves */
bool leader_is_known(const gateway *gw);
/* While none is known: until when it is worth while to wait for one. One who hands over, or is lost, is followed by another
 * one within this time, and a service that is restarted is back. Monotonic. */
uint64_t leader_expected_until_us(const gateway *gw);
bool leader_note(gateway *gw);          /* the node's state may have changed. true: a leader was found */
/* Waits for a leader (EX_LEADER): again is called once when one is known, and when the time is over, also that of the client. False:
 * it is over; nothing was done. Times are counted from the first call for this exchange. */
bool leader_wait(exchange *ex, void (*again)(exchange *ex));
void leader_wait_on_node_state(gateway *gw);
void leader_wait_on_deadline(exchange *ex);

/* queue.c: /db/execute?queue */
rq_err queue_init(gateway *gw);
void queue_done(gateway *gw);           /* what is in it is lost, and the log says so */
void queue_accept(exchange *ex);        /* its statements are complete */
void queue_on_deadline(exchange *ex);   /* EX_PARKED, EX_QUEUED */
void queue_on_node_state(gateway *gw, bool leader_found);
void queue_stop(gateway *gw);           /* from now on nothing waits for company */
bool queue_give_up(gateway *gw);        /* tells those who wait that it ends before their write was made; false: nobody did */
/* Before a hand-over: stepdown_on_flushed() is called when what is queued now has
 * been made, or the patience is over. false: nothing is queued. */
bool queue_flush_before(exchange *ex, uint64_t patience_us);
void queue_status(const gateway *gw, json_t *queue);

/* join_users.c: may a node join (-auth), and as whom this one does (-join-as) */
rq_err join_users_on_check(void *arg, ipc_link *link, const ipc_frame *frame); /* IPC_JOIN_CHECK; arg: the gateway */
void join_users_on_access(gateway *gw, uint64_t check, rq_permissions may);
void join_users_on_link_down(gateway *gw);
void join_users_tell(gateway *gw);      /* consensus: when it is there, and when the users have changed */

/* documents.c: STATUS of consensus and store, as json_t, NULL where there is none */
enum { DOCUMENT_CONSENSUS = 0, DOCUMENT_STORE = 1 };
void documents_ask(exchange *ex, bool of_store_too);
void documents_on_status(exchange *ex, int which, rq_bytes json);
void documents_on_link_down(gateway *gw, int which);
void documents_on_deadline(exchange *ex);

/* status.c */
void status_complete(exchange *ex);
void vars_complete(exchange *ex);

/* familiar.c: names that tools of rqlite know. store: of /status; document: the store's */
void familiar_status(const gateway *gw, json_t *store);
void familiar_vars(json_t *db, json_t *store, json_t *document);

/* snapshot.c: POST /snapshot */
void snapshot_begin(exchange *ex);
void snapshot_on_documents(exchange *ex);
void snapshot_on_deadline(exchange *ex);

/* console.c; path: decoded */
void console_answer(http_conn *conn, rq_bytes path);

/* nodes.c: /nodes, GET /leader */
void nodes_complete(exchange *ex);
void leader_complete(exchange *ex);
void leader_on_documents(exchange *ex);

/* backup.c: /db/backup */
void backup_complete(exchange *ex);

/* load.c: /db/load, /boot */
void load_begin(exchange *ex);
void load_body(exchange *ex, rq_bytes piece);
void load_complete(exchange *ex);
void load_on_gone(exchange *ex);                                     /* the client; the exchange is freed */
rq_err load_send(exchange *chunk, ipc_link *link, uint64_t timeout_us);

/* stepdown.c: POST /leader */
void stepdown_body(exchange *ex, rq_bytes piece);
void stepdown_complete(exchange *ex);
void stepdown_on_done(exchange *ex, unsigned outcome, const char *text); /* of TransferDone */
void stepdown_on_failed(exchange *ex, const failure *f);
void stepdown_on_link_down(gateway *gw);
void stepdown_on_deadline(exchange *ex);
void stepdown_on_flushed(exchange *ex);

/* remove.c: DELETE /remove */
void remove_body(exchange *ex, rq_bytes piece);
void remove_complete(exchange *ex);
void remove_on_done(exchange *ex, unsigned outcome, const char *text); /* of RemoveDone */
void remove_on_link_down(gateway *gw);
void remove_on_deadline(exchange *ex);

/* readiness.c */
void readiness_begin(exchange *ex);
void readiness_on_node_state(gateway *gw);
void readiness_on_deadline(exchange *ex);

/* licenses.c */
extern const char licenses_text[];

#endif
