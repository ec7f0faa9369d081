/* The endpoints: what is done with a request once path, method and parameters
 * are known to be good. Called by dispatch.c; whoever has an exchange answers it. */
#ifndef RQ_GATEWAY_API_H
#define RQ_GATEWAY_API_H

#include "gateway.h"

#define API_JSON "application/json; charset=utf-8"
#define API_TEXT "text/plain; charset=utf-8"

/* A request that needs no other service: answered at once. false: not one of these. */
bool api_answer_plain(gateway *gw, http_conn *conn, const route *r, const params *p);

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
 * (`redirect`): answered, and true, unless this node leads. */
bool api_redirect(exchange *ex);

/* documents.c: STATUS of consensus and store, as json_t, NULL where there is none */
enum { DOCUMENT_CONSENSUS = 0, DOCUMENT_STORE = 1 };
void documents_ask(exchange *ex, bool of_store_too);
void documents_on_status(exchange *ex, int which, rq_bytes json);
void documents_on_link_down(gateway *gw, int which);
void documents_on_deadline(exchange *ex);

/* status.c */
void status_complete(exchange *ex);
void vars_complete(exchange *ex);

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
