/* With -auth: may this node join? The users are the gateway's, who alone reads their file: the leader's
 * consensus asks its gateway, and the joining node's gateway tells its consensus what to show (-join-as).
 * Nothing waits: as long as there is no answer the joining node is told to ask again, which it does. */
#ifndef RQ_CONSENSUS_ADMISSION_H
#define RQ_CONSENSUS_ADMISSION_H

#include "service.h"

void admission_init(consensus_admission *a);
void admission_done(consensus_admission *a); /* wipes what it was told */

typedef enum admission_verdict {
        ADMISSION_GRANTED,
        ADMISSION_DENIED,
        ADMISSION_LATER,   /* the question is on its way */
} admission_verdict;

/* Of this leader. Without -auth everybody is granted. why: a constant text, unless granted. */
admission_verdict admission_ask(consensus *c, const peer_hello *from, const peers_join *join, const char **ret_why);

/* What this node shows; see joining.h. arg: the consensus. */
bool admission_credentials(void *arg, rq_bytes *ret_credentials);

/* A gateway is gone: what it was asked is asked anew. */
void admission_gateway_gone(consensus_admission *a);

/* IPC_JOIN_CHECKED and IPC_JOIN_CREDENTIALS. Errors: RQ_EPROTO, RQ_ENOMEM. */
rq_err admission_on_checked(void *arg, ipc_link *link, const ipc_frame *frame);
rq_err admission_on_credentials(void *arg, ipc_link *link, const ipc_frame *frame);

#endif
