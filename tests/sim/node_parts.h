/* Between the files of a node. */
#ifndef RQ_SIM_NODE_PARTS_H
#define RQ_SIM_NODE_PARTS_H

#include "node.h"

/* Records behind the last one of the shadow log. */
void node_shadow_add(world *w, sim_node *n, rq_bytes records);

/* If there is something to write and nothing is being written. */
void node_begin_batch(world *w, sim_node *n);

/* One of the turn's; false: the process has died before it. */
bool node_effect(sim_node *n);
void node_send_answers(world *w, sim_node *n);

/* Driver and log of a process that goes on; open: as a start does, and what is left of a
 * snapshot's install is finished. Errors: see rebase.h, log_recover(). */
void node_close_folder(world *w, sim_node *n);
rq_err node_open_folder(world *w, sim_node *n);

#endif
