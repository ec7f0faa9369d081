/* What a client is told when its request gets no result. The rule behind the
 * table: a client must learn whether something happened. 503: nothing did, and
 * the request may be sent again; 504: nobody knows; 500: it did, or it can't. */
#ifndef RQ_GATEWAY_FAILURE_H
#define RQ_GATEWAY_FAILURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/* Numbers as in RequestFailed of proto/consensus.proto. */
typedef enum failure_outcome { FAILED_REFUSED = 0, FAILED_DROPPED = 1, FAILED_UNKNOWN = 2, FAILED_COMMITTED = 3 } failure_outcome;
typedef enum failure_reason {
        FAILED_OTHER = 0, FAILED_NO_LEADER = 1, FAILED_NOT_LEADER = 2, FAILED_OVERLOADED = 3, FAILED_TIMEOUT = 4,
        FAILED_DISK_FULL = 5, FAILED_STALE = 6, FAILED_STOPPING = 7, FAILED_NEEDS_LOG = 8, FAILED_INVALID = 9,
        FAILED_STORE_FAILED = 10,
} failure_reason;

typedef struct failure {
        failure_outcome outcome;
        failure_reason reason;
        uint64_t index;   /* with FAILED_COMMITTED */
        rq_bytes text;    /* what the other service said; may be empty */
        bool write;       /* a read leaves nothing behind, whatever becomes of it */
} failure;

enum { FAILURE_TEXT_BYTES = 512 };

typedef struct failure_answer {
        unsigned status;
        unsigned retry_after_s;  /* 0: no header */
        bool json;               /* text is a JSON body, else plain text */
        bool server_error;       /* worth a line in the log */
        char text[FAILURE_TEXT_BYTES];
} failure_answer;

void failure_answer_of(const failure *f, failure_answer *ret_answer);

#endif
