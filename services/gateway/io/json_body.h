/* A request body in JSON, piece by piece as it comes from the socket, to
 * statements (io/statement.h). What is accepted and what is said to the rest:
 * docs/http-api.md, Request bodies. Never holds the body: only the string that
 * is being read and what was made of it. */
#ifndef RQ_GATEWAY_JSON_BODY_H
#define RQ_GATEWAY_JSON_BODY_H

#include <stdbool.h>

#include "base/bytes.h"

typedef struct json_body json_body;

enum { JSON_BODY_PROBLEM_BYTES = 128 };
#define JSON_BODY_NO_STATEMENTS "no statements" /* the problem of an empty list */

typedef struct json_body_result {
        uint32_t statement_count;
        bool all_may_be_read;    /* by the first word of each statement */
        bool refused_pragma;     /* core/sql_hint.h, of any statement */
        char problem[JSON_BODY_PROBLEM_BYTES]; /* not empty: the text of a 400 */
} json_body_result;

rq_err json_body_new(json_body **ret_body); /* Errors: RQ_ENOMEM */
json_body *json_body_free(json_body *body); /* accepts NULL, returns NULL */

/* One body after another with the same object. Statements are appended to
 * *out, which is borrowed until end. Errors of all: RQ_ENOMEM; RQ_ETOOBIG: the
 * statements are above STATEMENTS_BYTES_MAX, the rest of the body is not looked
 * at. What else is wrong with the body is told by end. */
rq_err json_body_begin(json_body *body, rq_buf *out);
rq_err json_body_feed(json_body *body, rq_bytes piece);
rq_err json_body_end(json_body *body, json_body_result *ret_result);

/* After begin, instead of end: the client is gone. */
void json_body_abandon(json_body *body);

#endif
