/* Read levels: what a client asks for, and which way a read goes on a node in
 * a given role. What a level costs and promises: docs/http-api.md, Reads. */
#ifndef RQ_GATEWAY_CONSISTENCY_H
#define RQ_GATEWAY_CONSISTENCY_H

#include <stdbool.h>

#include "base/bytes.h"

typedef enum read_level { READ_NONE, READ_WEAK, READ_LINEARIZABLE, READ_STRONG, READ_AUTO } read_level;
typedef enum node_role { ROLE_UNKNOWN, ROLE_FOLLOWER, ROLE_CANDIDATE, ROLE_LEADER, ROLE_LEARNER } node_role;

/* Any case; unknown or empty is weak, never an error. */
read_level read_level_of(rq_bytes text);

/* What a level comes to here: AUTO is none on a learner, weak elsewhere. NONE
 * with a bound on staleness is for consensus to judge, also where it leads: it
 * knows when leader or majority were heard. It comes as LINEARIZABLE, which is
 * always fresh enough, with the bound beside it (proto/README.md). */
read_level read_level_resolve(read_level level, bool fresh, node_role role);

#endif
