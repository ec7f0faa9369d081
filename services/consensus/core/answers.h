/* Failures on their way to gateways. Outcomes and reasons as in
 * proto/consensus.proto, RequestFailed; dispatch.c proves that they agree. */
#ifndef RQ_CONSENSUS_CORE_ANSWERS_H
#define RQ_CONSENSUS_CORE_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum answer_outcome {
        OUTCOME_REFUSED,   /* nothing happened */
        OUTCOME_DROPPED,   /* was overwritten: nothing happened */
        OUTCOME_UNKNOWN,
        OUTCOME_COMMITTED, /* happened; its result is lost */
} answer_outcome;

typedef enum answer_reason {
        REASON_OTHER,
        REASON_NO_LEADER,
        REASON_NOT_LEADER,
        REASON_OVERLOADED,
        REASON_TIMEOUT,
        REASON_DISK_FULL,
        REASON_STALE,
        REASON_STOPPING,
        REASON_NEEDS_LOG,
        REASON_INVALID,
        REASON_STORE_FAILED,
} answer_reason;

/* Who asked: a gateway's number with the service, and its request. */
typedef struct request_origin {
        uint32_t gateway;
        uint64_t request_id;
} request_origin;

typedef struct answer {
        request_origin to;
        answer_outcome outcome;
        answer_reason reason;
        uint64_t index;    /* with COMMITTED */
        const char *text;  /* static: one sentence for the client */
} answer;

typedef struct answers {
        answer *v;
        size_t count, capacity;
} answers;

void answers_done(answers *list);

/* Without memory the answer is lost: the gateway's deadline stands in for it. */
void answers_add(answers *list, request_origin to, answer_outcome outcome, answer_reason reason,
                 uint64_t index, const char *text);

#endif
