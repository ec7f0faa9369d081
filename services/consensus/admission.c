#include "admission.h"

#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "consensus.pb-c.h"
#include "log/log_fields.h"

enum {
        JOIN_MINOR        = 5,
        ADDRESS_BYTES_MAX = 256,
        GRANTED_US        = 5000000,  /* a join takes several questions */
        DENIED_US         = 1000000,  /* no faster than wrong passwords are slowed to */
        ANSWER_WAIT_US    = 35000000, /* longer than 64 hashes take; a broken link forgets sooner */
};

static const char unauthorized[] = "unauthorized (it shows no user of -auth who may join as that, see -join-as)";

void admission_init(consensus_admission *a) {
        *a = (consensus_admission) { .limit = { .interval_ms = 10000, .burst = 5 } };
        rq_random_bytes(&a->key, sizeof a->key);
}

static void wipe(rq_buf *buf) {
        if (buf->data != NULL)
                explicit_bzero(buf->data, buf->capacity);
        rq_buf_done(buf);
}

void admission_done(consensus_admission *a) { wipe(&a->credentials); }

/* --- the leader ------------------------------------------------------------- */

static bool hash_of(const consensus_admission *a, const peer_hello *from, const peers_join *join, rq_hash128 *ret_hash) {
        uint8_t text[RQ_UUID_BYTES + 1 + PEER_JOIN_CREDENTIALS_MAX];
        if (join->credentials.size > PEER_JOIN_CREDENTIALS_MAX)
                return false;
        memcpy(text, from->disk_uuid.bytes, RQ_UUID_BYTES);
        text[RQ_UUID_BYTES] = join->stays;
        if (join->credentials.size > 0)
                memcpy(text + RQ_UUID_BYTES + 1, join->credentials.data, join->credentials.size);
        *ret_hash = rq_keyed_hash(&a->key, rq_bytes_of(text, RQ_UUID_BYTES + 1 + join->credentials.size));
        explicit_bzero(text, sizeof text);
        return true;
}

static ipc_link *gateway_link(const consensus *c) {
        for (int i = 0; i < CONSENSUS_GATEWAYS_MAX; i++)
                if (c->gateways[i].link != NULL && ipc_link_protocol_minor(c->gateways[i].link) >= JOIN_MINOR)
                        return c->gateways[i].link;
        return NULL;
}

static rq_err send_check(ipc_link *link, uint64_t number, const peers_join *join) {
        char address[ADDRESS_BYTES_MAX];
        uint8_t packed[ADDRESS_BYTES_MAX + 32];
        Rq__JoinCheck body = RQ__JOIN_CHECK__INIT;
        (void) snprintf(address, sizeof address, "%s", join->address);
        body.address = address;
        body.read_replica = join->stays;
        rq_assert(rq__join_check__get_packed_size(&body) <= sizeof packed);
        const size_t size = rq__join_check__pack(&body, packed);
        return ipc_link_send(link, IPC_JOIN_CHECK, number, rq_bytes_of(packed, size), join->credentials);
}

/* NULL: all wait for an answer. */
static struct admission_place *free_place(consensus_admission *a, uint64_t now_us) {
        struct admission_place *oldest = NULL;
        for (size_t i = 0; i < ADMISSION_PLACES; i++) {
                struct admission_place *p = &a->places[i];
                if (p->number == 0 || p->until_us <= now_us)
                        return p;
                if (p->answered && (oldest == NULL || p->until_us < oldest->until_us))
                        oldest = p;
        }
        return oldest;
}

static struct admission_place *find(consensus_admission *a, rq_hash128 what, uint64_t now_us) {
        for (size_t i = 0; i < ADMISSION_PLACES; i++) {
                struct admission_place *p = &a->places[i];
                if (p->number != 0 && p->until_us > now_us && rq_hash128_equal(p->what, what))
                        return p;
        }
        return NULL;
}

static admission_verdict ask_gateway(consensus *c, rq_hash128 what, const peers_join *join, uint64_t now_us, const char **ret_why) {
        consensus_admission *a = &c->admission;
        ipc_link *link = gateway_link(c);
        struct admission_place *p = free_place(a, now_us);
        *ret_why = "who asks is being checked";
        if (link == NULL)
                *ret_why = "its gateway, which checks users, isn't there";
        else if (p == NULL)
                *ret_why = "too many nodes are being checked";
        else if (send_check(link, a->last_number + 1, join) >= 0)
                *p = (struct admission_place) { .number = ++a->last_number, .what = what, .until_us = now_us + ANSWER_WAIT_US };
        return ADMISSION_LATER;
}

admission_verdict admission_ask(consensus *c, const peer_hello *from, const peers_join *join, const char **ret_why) {
        const uint64_t now_us = rq_clock_mono_us();
        rq_hash128 what;
        uint32_t more;
        *ret_why = "";
        if (!c->o.config.users)
                return ADMISSION_GRANTED;
        *ret_why = unauthorized;
        if (!hash_of(&c->admission, from, join, &what))
                return ADMISSION_DENIED;
        const struct admission_place *p = find(&c->admission, what, now_us);
        if (p == NULL)
                return ask_gateway(c, what, join, now_us, ret_why);
        if (!p->answered) {
                *ret_why = "who asks is being checked";
                return ADMISSION_LATER;
        }
        if (!p->granted && rq_log_allowed(&c->admission.limit, &more))
                rq_log_event(LOG_WARNING, RQ_MSG_LOGIN_REFUSED, "Refused to take in node \"%s\" from %s as a %s: it shows no user who may (%u more)", from->node_id, join->address,
                             join->stays ? "read replica" : "voter", more);
        return p->granted ? ADMISSION_GRANTED : ADMISSION_DENIED;
}

void admission_gateway_gone(consensus_admission *a) {
        for (size_t i = 0; i < ADMISSION_PLACES; i++)
                if (!a->places[i].answered)
                        a->places[i].number = 0;
}

rq_err admission_on_checked(void *arg, ipc_link *link, const ipc_frame *frame) {
        consensus *c = arg;
        const uint64_t now_us = rq_clock_mono_us();
        (void) link;
        Rq__JoinChecked *body = rq__join_checked__unpack(rq_arena_allocator(c->arena), frame->body.size, frame->body.data);
        if (body == NULL)
                return RQ_EPROTO;
        const Rq__JoinChecked__Verdict verdict = body->verdict;
        rq_arena_reset(c->arena);
        for (size_t i = 0; i < ADMISSION_PLACES; i++) {
                struct admission_place *p = &c->admission.places[i];
                if (p->number != frame->request_id || p->number == 0)
                        continue;
                p->answered = true;
                p->granted = verdict == RQ__JOIN_CHECKED__VERDICT__GRANTED;
                p->until_us = now_us + (p->granted ? GRANTED_US : DENIED_US);
                if (verdict == RQ__JOIN_CHECKED__VERDICT__BUSY)
                        p->number = 0; /* the next question asks anew */
        }
        return RQ_OK;
}

/* --- the node that joins ---------------------------------------------------- */

bool admission_credentials(void *arg, rq_bytes *ret_credentials) {
        const consensus *c = arg;
        *ret_credentials = rq_buf_bytes(&c->admission.credentials);
        return c->admission.has_credentials || !c->o.config.joins_as_user;
}

rq_err admission_on_credentials(void *arg, ipc_link *link, const ipc_frame *frame) {
        consensus *c = arg;
        rq_buf told = {0};
        (void) link;
        if (frame->payload.size > PEER_JOIN_CREDENTIALS_MAX)
                return RQ_EPROTO;
        rq_err r = rq_buf_append_bytes(&told, frame->payload);
        if (r < 0)
                return r;
        wipe(&c->admission.credentials);
        c->admission.credentials = told;
        c->admission.has_credentials = true;
        return RQ_OK;
}
