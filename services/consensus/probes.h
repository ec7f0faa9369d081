/* Which members can be reached now: each that is connected is asked (PING), and what it takes to answer is
 * told; who doesn't within PROBE_WAIT_US can't. What a broken connection hasn't told yet (a process that
 * was just killed, one that hangs) shows so. For /nodes and /leader. */
#ifndef RQ_CONSENSUS_PROBES_H
#define RQ_CONSENSUS_PROBES_H

#include "service.h"

/* From a gateway; answered with STATUS. At once, by what the connections say, if too many are under way. */
void probes_add(consensus *c, uint32_t gateway, uint64_t request_id);

/* What is over is answered. */
void probes_turn(consensus *c);
uint64_t probes_deadline_us(const consensus *c); /* UINT64_MAX: none */

/* What this probe knows of a member; false: nothing, the connection says all there is. */
bool probes_view(const consensus_probe *probe, raft_id id, bool *ret_answered, uint32_t *ret_rtt_us);

/* From the peers' callbacks. */
void probes_on_pong(consensus *c, raft_id from, uint64_t number);
void probes_on_down(consensus *c, raft_id id);

#endif
