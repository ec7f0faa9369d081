/* Requests that must know who leads, in the moment when nobody does: leadership is being handed over, or its
 * holder was lost. They wait for the next one as writes do in consensus, and no longer than one can be expected. */
#include "api/api.h"
#include "base/clock.h"

bool leader_is_known(const gateway *gw) { return gw->node.known && gw->node.leader_id[0] != '\0'; }

static uint64_t change_takes_us(const gateway *gw) {
        const uint64_t change_us = 3 * gw->config->heartbeat_timeout_us, service_us = LINK_WAIT_MS * 1000;
        return change_us > service_us ? change_us : service_us;
}

uint64_t leader_expected_until_us(const gateway *gw) { return gw->leaderless_since_us + change_takes_us(gw); }

bool leader_note(gateway *gw) {
        const bool known = leader_is_known(gw), was_known = gw->leaderless_since_us == 0;
        if (known)
                gw->leaderless_since_us = 0;
        else if (was_known)
                gw->leaderless_since_us = rq_clock_mono_us();
        return known && !was_known;
}

bool leader_wait(exchange *ex, void (*again)(exchange *ex)) {
        gateway *gw = ex->gw;
        const uint64_t now_us = rq_clock_mono_us();
        if (ex->leader_until_us == 0) {
                /* Known, but not its address; or consensus has just said otherwise: from now on. */
                const uint64_t until_us = leader_is_known(gw) ? now_us + change_takes_us(gw) : leader_expected_until_us(gw);
                ex->leader_until_us = until_us < ex->deadline_us ? until_us : ex->deadline_us;
        }
        if (now_us >= ex->leader_until_us)
                return false;
        ex->state = EX_LEADER;
        ex->on_leader = again;
        rq_list_append(&gw->leader_waits, &ex->waiting);
        gateway_set_deadline(gw, ex, ex->leader_until_us - now_us);
        return true;
}

static void go_on(exchange *ex) {
        void (*again)(exchange *ex) = ex->on_leader;
        rq_list_remove(&ex->waiting);
        wheel_cancel(&ex->gw->deadlines, &ex->deadline);
        ex->state = EX_RECEIVING;
        ex->on_leader = NULL;
        again(ex);
}

void leader_wait_on_node_state(gateway *gw) {
        if (!leader_is_known(gw))
                return;
        rq_list now;
        rq_list_init(&now);
        while (!rq_list_empty(&gw->leader_waits)) {
                rq_list *node = gw->leader_waits.next;
                rq_list_remove(node);
                rq_list_append(&now, node);
        }
        while (!rq_list_empty(&now))
                go_on(RQ_LIST_ENTRY(now.next, exchange, waiting));
}

/* Its time is over: it asks once more, and answers what it finds. */
void leader_wait_on_deadline(exchange *ex) { go_on(ex); }
