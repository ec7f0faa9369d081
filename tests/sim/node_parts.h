/* Between the files of a node. */
#ifndef RQ_SIM_NODE_PARTS_H
#define RQ_SIM_NODE_PARTS_H

#include "node.h"

/* Records behind the last one of the shadow log. */
void node_shadow_add(world *w, sim_node *n, rq_bytes records);

/* If there is something to write and nothing is being written. */
void node_begin_batch(world *w, sim_node *n);

#endif
