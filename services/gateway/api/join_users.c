/* Users and joining: this node's consensus, leading, asks whether a node may join as it shows itself; and is
 * told what to show when it joins a cluster itself (-join-as). Neither has anything to do with a client. */
#include "api/api.h"

#include <string.h>

#include "base/cleanup.h"
#include "consensus.pb-c.h"

enum { JOIN_MINOR = 5, PACKED_BYTES_MAX = 32 };

static void answer(gateway *gw, uint64_t request_id, Rq__JoinChecked__Verdict verdict) {
        ipc_link *link = ipc_connector_link(gw->consensus);
        uint8_t packed[PACKED_BYTES_MAX];
        Rq__JoinChecked body = RQ__JOIN_CHECKED__INIT;
        body.verdict = verdict;
        const size_t size = rq__join_checked__pack(&body, packed);
        if (link != NULL) /* what is lost is asked again */
                (void) ipc_link_send(link, IPC_JOIN_CHECKED, request_id, rq_bytes_of(packed, size), (rq_bytes) {0});
}

/* Until the password is checked; no place: ask again. */
static void wait_for_access(gateway *gw, uint64_t request_id, bool read_replica, uint64_t check) {
        for (size_t i = 0; i < GATEWAY_JOINS_MAX; i++)
                if (gw->joins[i].check == 0) {
                        gw->joins[i] = (gateway_join) { .check = check, .request_id = request_id, .read_replica = read_replica };
                        return;
                }
        answer(gw, request_id, RQ__JOIN_CHECKED__VERDICT__BUSY);
}

rq_err join_users_on_check(void *arg, ipc_link *link, const ipc_frame *frame) {
        gateway *gw = arg;
        (void) link;
        Rq__JoinCheck *message = rq__join_check__unpack(NULL, frame->body.size, frame->body.data);
        if (message == NULL)
                return RQ_EPROTO;
        const bool read_replica = message->read_replica;
        const access_answer a = access_check_join(gw->access, frame->payload, message->address, read_replica);
        rq__join_check__free_unpacked(message, NULL);
        switch (a.verdict) {
        case ACCESS_GRANTED: answer(gw, frame->request_id, RQ__JOIN_CHECKED__VERDICT__GRANTED); break;
        case ACCESS_DENIED: answer(gw, frame->request_id, RQ__JOIN_CHECKED__VERDICT__DENIED); break;
        case ACCESS_LATER: wait_for_access(gw, frame->request_id, read_replica, a.check); break;
        case ACCESS_SLOWED: answer(gw, frame->request_id, RQ__JOIN_CHECKED__VERDICT__SLOWED); break;
        case ACCESS_BUSY: answer(gw, frame->request_id, RQ__JOIN_CHECKED__VERDICT__BUSY); break;
        }
        return RQ_OK;
}

void join_users_on_access(gateway *gw, uint64_t check, rq_permissions may) {
        for (size_t i = 0; i < GATEWAY_JOINS_MAX; i++) {
                const gateway_join j = gw->joins[i];
                if (j.check != check)
                        continue;
                gw->joins[i].check = 0;
                answer(gw, j.request_id, access_may_join(may, j.read_replica) ? RQ__JOIN_CHECKED__VERDICT__GRANTED : RQ__JOIN_CHECKED__VERDICT__DENIED);
        }
}

void join_users_on_link_down(gateway *gw) {
        for (size_t i = 0; i < GATEWAY_JOINS_MAX; i++)
                gw->joins[i].check = 0;
}

void join_users_tell(gateway *gw) {
        RQ_CLEANUP(rq_buf_done) rq_buf credentials = {0}, problem = {0};
        ipc_link *link = ipc_connector_link(gw->consensus);
        if (gw->config->join_as[0] == '\0' || !access_is_on(gw->access) || link == NULL || ipc_link_protocol_minor(link) < JOIN_MINOR)
                return;
        rq_err r = access_credentials_of(gw->access, gw->config->join_as, &credentials, &problem);
        if (r == RQ_ECONFIG) /* at the start it is refused: it has changed since, and what was told before stays */
                gateway_log_error(gw, rq_buf_append(&problem, "", 1) >= 0 ? (const char *) problem.data : "-join-as: out of memory");
        if (r >= 0)
                (void) ipc_link_send(link, IPC_JOIN_CREDENTIALS, 0, (rq_bytes) {0}, rq_buf_bytes(&credentials));
        if (credentials.data != NULL)
                explicit_bzero(credentials.data, credentials.capacity);
}
