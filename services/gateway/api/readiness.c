/* /readyz: one line for each check, in order, up to the first that fails. */
#include "api/api.h"
#include "backend.h"
#include "base/cleanup.h"

#define NODE_OK   "[+]node ok"
#define LEADER_OK NODE_OK "\n[+]leader ok"
#define STORE_OK  LEADER_OK "\n[+]store ok"

enum { READY_WAIT_MS = 5000 };

static void answer(exchange *ex, unsigned status, const char *lines, rq_bytes more) {
        http_conn *conn = ex->conn;
        const http_head head = { .status = status, .content_type = API_TEXT };
        exchange_free(ex);
        http_answer(conn, &head, rq_bytes_text(lines), more);
}

/* The leader that was known can't be asked, or leads no more. */
static bool answer_without_leader(exchange *ex, unsigned status) {
        if (status == 200 || (ex->failed_for != FAILED_NO_LEADER && ex->failed_for != FAILED_NOT_LEADER))
                return false;
        answer(ex, 503, NODE_OK "\n[+]leader not contactable: leader not found", (rq_bytes) {0});
        return true;
}

static void on_db_checked(exchange *ex, unsigned status, rq_bytes result) {
        if (answer_without_leader(ex, status))
                return;
        bool synced = ex->params.sync, good = status == 200 && memmem(result.data, result.size, "\"error\"", 7) == NULL;
        RQ_CLEANUP(rq_buf_done) rq_buf more = {0};
        bool complete = good || rq_buf_append_bytes(&more, result) >= 0;
        rq_bytes why = rq_buf_bytes(&more);
        if (good)
                answer(ex, 200, synced ? STORE_OK "\n[+]sync ok\n[+]db ok" : STORE_OK "\n[+]db ok", (rq_bytes) {0});
        else
                answer(ex, 503, synced ? STORE_OK "\n[+]sync ok\n[+]db not ok: " : STORE_OK "\n[+]db not ok: ", complete ? why : (rq_bytes) {0});
}

/* sync and db are one read here: a read that waited for what a majority has
 * committed shows both. */
static void on_sync_checked(exchange *ex, unsigned status, rq_bytes result) {
        if (status == 200) {
                on_db_checked(ex, status, result);
                return;
        }
        if (answer_without_leader(ex, status))
                return;
        RQ_CLEANUP(rq_buf_done) rq_buf more = {0};
        bool complete = rq_buf_append_bytes(&more, result) >= 0;
        answer(ex, 503, STORE_OK "\n[+]sync ", complete ? rq_buf_bytes(&more) : (rq_bytes) {0});
}

/* Through consensus, and behind everything that is committed: a node whose
 * services hang, or whose writer is stuck, isn't ready. */
static void check_db(exchange *ex) {
        rq_list_remove(&ex->waiting);
        wheel_cancel(&ex->gw->deadlines, &ex->deadline);
        ex->state = EX_RECEIVING;
        if (ex->params.sync)
                backend_start_internal(ex, WAY_READ, READ_LINEARIZABLE, "SELECT 1", on_sync_checked);
        else
                backend_start_internal(ex, WAY_READ, READ_WEAK, "SELECT 1", on_db_checked);
}

/* Who has just joined, and counts in no majority yet, is no reason to go on to the next node. */
static bool is_ready(const node_view *node) { return node->ready && !node->catching_up; }

void readiness_begin(exchange *ex) {
        const node_view *node = &ex->gw->node;
        if (ex->params.noleader) {
                answer(ex, 200, NODE_OK, (rq_bytes) {0});
        } else if (!node->known || node->leader_id[0] == '\0') {
                answer(ex, 503, NODE_OK "\n[+]leader does not exist", (rq_bytes) {0});
        } else if (is_ready(node)) {
                check_db(ex);
        } else {
                /* A leader was just found, or this node taken in, and it is about to be ready: whoever has
                 * seen it in /status expects to see it here, too. */
                uint64_t limit_us = READY_WAIT_MS * 1000, patience_us = ex->deadline_us - ex->started_ns / 1000;
                ex->state = EX_READINESS;
                rq_list_append(&ex->gw->readiness, &ex->waiting);
                gateway_set_deadline(ex->gw, ex, patience_us < limit_us ? patience_us : limit_us);
        }
}

void readiness_on_node_state(gateway *gw) {
        const node_view *node = &gw->node;
        bool lost = !node->known || node->leader_id[0] == '\0';
        if (!lost && !is_ready(node))
                return;
        while (!rq_list_empty(&gw->readiness)) {
                exchange *ex = RQ_LIST_ENTRY(gw->readiness.next, exchange, waiting);
                if (lost)
                        answer(ex, 503, NODE_OK "\n[+]leader does not exist", (rq_bytes) {0});
                else
                        check_db(ex);
        }
}

void readiness_on_deadline(exchange *ex) { answer(ex, 503, LEADER_OK "\n[+]store not ready", (rq_bytes) {0}); }
