/* Results of writes on their way to the gateways that wait for them: small ones
 * at once, large ones in pieces as credits allow, those of an absent gateway
 * when it comes back soon. */
#ifndef RQ_STORE_RESULTS_H
#define RQ_STORE_RESULTS_H

#include "gateways.h"
#include "io/applier.h"

typedef struct results results;

/* Borrows g. Errors: RQ_ENOMEM. */
rq_err results_new(gateways *g, results **ret_results);
results *results_free(results *r);

/* Sends, keeps or drops each result of out, and takes its spill files. */
void results_deliver(results *r, apply_output *out);

/* Sends what was kept for a gateway that has just connected. */
void results_gateway_up(results *r, gateway *gw);

void results_credit(results *r, request *req, uint64_t bytes);
void results_cancel(results *r, request *req);

/* About each second: drops what nobody takes. */
void results_tick(results *r);

typedef struct results_stats {
        uint64_t sent, sent_bytes, kept_dropped, starved, refused;
        size_t kept_count, kept_bytes, flow_count, flow_bytes;
} results_stats;
void results_stats_get(const results *r, results_stats *ret_stats);

#endif
