#include "probes.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "dispatch.h"
#include "status.h"

enum { PROBE_WAIT_US = 700000 /* the gateway waits a second for a STATUS */ };

static void send_status(consensus *c, uint32_t gateway_number, uint64_t request_id, const consensus_probe *probe) {
        RQ_CLEANUP(rq_buf_done) rq_buf document = {0};
        const consensus_gateway *gateway = consensus_gateway_of(c, gateway_number);
        if (gateway != NULL && status_document(c, probe, &document) >= 0)
                (void) ipc_link_send(gateway->link, IPC_STATUS, request_id, (rq_bytes) {0}, rq_buf_bytes(&document));
}

static consensus_probe *free_place(consensus *c) {
        for (size_t i = 0; i < CONSENSUS_PROBES_MAX; i++)
                if (!c->probes[i].pending)
                        return &c->probes[i];
        return NULL;
}

static void ask_members(consensus *c, consensus_probe *probe) {
        const membership *m = driver_membership(c->driver, NULL);
        for (uint32_t i = 0; m != NULL && i < m->count; i++) {
                const raft_id id = membership_raft_id(&m->members[i].disk_uuid);
                if (id == c->raft_id || peers_send_ping(c->peers, id, probe->number) < 0)
                        continue; /* not connected, or an older build, which doesn't answer */
                probe->asked[probe->count++] = (consensus_probed) { .id = id };
                probe->open_count++;
        }
}

void probes_add(consensus *c, uint32_t gateway, uint64_t request_id) {
        consensus_probe *probe = free_place(c);
        if (probe == NULL) {
                send_status(c, gateway, request_id, NULL);
                return;
        }
        const uint64_t now_us = rq_clock_mono_us();
        *probe = (consensus_probe) {
                .gateway = gateway, .request_id = request_id, .number = ++c->probe_number,
                .begin_us = now_us, .deadline_us = now_us + PROBE_WAIT_US, .pending = true,
        };
        ask_members(c, probe);
        consensus_wake(c);
}

static void settle(consensus_probe *probe, raft_id id, bool answered) {
        for (uint32_t i = 0; i < probe->count; i++) {
                consensus_probed *one = &probe->asked[i];
                if (one->id != id || one->over)
                        continue;
                one->over = true;
                one->answered = answered;
                one->rtt_us = (uint32_t) (rq_clock_mono_us() - probe->begin_us);
                probe->open_count--;
        }
}

void probes_on_pong(consensus *c, raft_id from, uint64_t number) {
        for (size_t i = 0; i < CONSENSUS_PROBES_MAX; i++)
                if (c->probes[i].pending && c->probes[i].number == number)
                        settle(&c->probes[i], from, true);
        consensus_wake(c);
}

void probes_on_down(consensus *c, raft_id id) {
        for (size_t i = 0; i < CONSENSUS_PROBES_MAX; i++)
                if (c->probes[i].pending)
                        settle(&c->probes[i], id, false);
}

void probes_turn(consensus *c) {
        uint64_t now_us = 0;
        for (size_t i = 0; i < CONSENSUS_PROBES_MAX; i++) {
                consensus_probe *probe = &c->probes[i];
                if (!probe->pending)
                        continue;
                if (now_us == 0)
                        now_us = rq_clock_mono_us();
                if (probe->open_count > 0 && now_us < probe->deadline_us)
                        continue;
                probe->pending = false;
                send_status(c, probe->gateway, probe->request_id, probe);
        }
}

uint64_t probes_deadline_us(const consensus *c) {
        uint64_t due_us = UINT64_MAX;
        for (size_t i = 0; i < CONSENSUS_PROBES_MAX; i++)
                if (c->probes[i].pending && c->probes[i].deadline_us < due_us)
                        due_us = c->probes[i].deadline_us;
        return due_us;
}

bool probes_view(const consensus_probe *probe, raft_id id, bool *ret_answered, uint32_t *ret_rtt_us) {
        for (uint32_t i = 0; i < probe->count; i++)
                if (probe->asked[i].id == id) {
                        *ret_answered = probe->asked[i].answered;
                        *ret_rtt_us = probe->asked[i].rtt_us;
                        return true;
                }
        return false;
}
