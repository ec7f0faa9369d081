/* The data folder's life within the service: opened at the start, and opened
 * anew when the node has been taken into a cluster. */
#ifndef RQ_CONSENSUS_FOLDER_H
#define RQ_CONSENSUS_FOLDER_H

#include "service.h"

/* Identity, log, driver, writer; c->unformed says whether it is in no cluster
 * yet. Errors, logged: see founding_open(). */
rq_err folder_open(consensus *c);

/* Also what folder_open() has left half done. */
void folder_close(consensus *c);

/* Goes over to another founding, at the end of the loop's turn: this node is
 * virgin in its own. Copies the record. Errors: RQ_ENOMEM. */
rq_err folder_adopt_later(consensus *c, rq_bytes record);

/* Tells peers and gateways, and connects to the store, by what the folder says. */
rq_err folder_announce(consensus *c);

/* The folder holds a founding: go on with it. */
void folder_reopen(consensus *c);

#endif
