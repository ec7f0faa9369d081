#include "trace.h"

#include <inttypes.h>

#include "base/checksum.h"

/* Name, and what its flag means. */
static const struct { const char *name, *flag; } events[TRACE_EVENT_COUNT] = {
        [TRACE_INIT_STATE]                = { "InitState", NULL },
        [TRACE_BECOME_FOLLOWER]           = { "BecomeFollower", NULL },
        [TRACE_BECOME_PRE_CANDIDATE]      = { "BecomePreCandidate", NULL },
        [TRACE_BECOME_CANDIDATE]          = { "BecomeCandidate", NULL },
        [TRACE_BECOME_LEADER]             = { "BecomeLeader", NULL },
        [TRACE_REPLICATE]                 = { "Replicate", NULL },
        [TRACE_COMMIT]                    = { "Commit", NULL },
        [TRACE_CHANGE_CONF]               = { "ChangeConf", NULL },
        [TRACE_PERSIST]                   = { "Persist", "hard" },
        [TRACE_PERSISTED]                 = { "Persisted", NULL },
        [TRACE_SEND_VOTE_REQUEST]         = { "SendRequestVoteRequest", "pre" },
        [TRACE_SEND_VOTE_RESPONSE]        = { "SendRequestVoteResponse", "granted" },
        [TRACE_SEND_APPEND_REQUEST]       = { "SendAppendEntriesRequest", NULL },
        [TRACE_SEND_APPEND_RESPONSE]      = { "SendAppendEntriesResponse", "rejected" },
        [TRACE_SEND_HEARTBEAT]            = { "SendHeartbeat", NULL },
        [TRACE_SEND_HEARTBEAT_RESPONSE]   = { "SendHeartbeatResponse", NULL },
        [TRACE_SEND_TIMEOUT_NOW]          = { "SendTimeoutNow", NULL },
        [TRACE_SEND_READ]                 = { "SendReadIndexRequest", "weak" },
        [TRACE_SEND_READ_RESPONSE]        = { "SendReadIndexResponse", "refused" },
        [TRACE_SEND_TRANSFER]             = { "SendTransfer", NULL },
        [TRACE_SEND_FORWARD]              = { "SendForward", NULL },
        [TRACE_SEND_FORWARD_REFUSED]      = { "SendForwardRefused", NULL },
        [TRACE_RECEIVE_VOTE_REQUEST]      = { "ReceiveRequestVoteRequest", "pre" },
        [TRACE_RECEIVE_VOTE_RESPONSE]     = { "ReceiveRequestVoteResponse", "granted" },
        [TRACE_RECEIVE_APPEND_REQUEST]    = { "ReceiveAppendEntriesRequest", NULL },
        [TRACE_RECEIVE_APPEND_RESPONSE]   = { "ReceiveAppendEntriesResponse", "rejected" },
        [TRACE_RECEIVE_HEARTBEAT]         = { "ReceiveHeartbeat", NULL },
        [TRACE_RECEIVE_HEARTBEAT_RESPONSE] = { "ReceiveHeartbeatResponse", NULL },
        [TRACE_RECEIVE_TIMEOUT_NOW]       = { "ReceiveTimeoutNow", NULL },
        [TRACE_RECEIVE_READ]              = { "ReceiveReadIndexRequest", "weak" },
        [TRACE_RECEIVE_READ_RESPONSE]     = { "ReceiveReadIndexResponse", "refused" },
        [TRACE_RECEIVE_TRANSFER]          = { "ReceiveTransfer", NULL },
        [TRACE_RECEIVE_FORWARD]           = { "ReceiveForward", NULL },
        [TRACE_RECEIVE_FORWARD_REFUSED]   = { "ReceiveForwardRefused", NULL },
        [TRACE_PEER_DOWN]                 = { "PeerDown", "refused" },
        [TRACE_LINK_UP]                   = { "LinkUp", NULL },
        [TRACE_WRITE]                     = { "Write", NULL },
        [TRACE_READ]                      = { "Read", NULL },
        [TRACE_ANSWER]                    = { "Answer", NULL },
        [TRACE_RESULT]                    = { "Result", NULL },
        [TRACE_GIVE_UP]                   = { "GiveUp", NULL },
        [TRACE_APPLIED]                   = { "Applied", NULL },
        [TRACE_FETCH]                     = { "Fetch", NULL },
        [TRACE_CHECKPOINT]                = { "Checkpoint", NULL },
        [TRACE_COMPACT]                   = { "Compact", NULL },
        [TRACE_FAULT]                     = { "Fault", NULL },
        [TRACE_HEAL]                      = { "Heal", NULL },
        [TRACE_RESTART]                   = { "Restart", NULL },
        [TRACE_REFUSED_TO_START]          = { "RefusedToStart", NULL },
        [TRACE_STORAGE_FAILED]            = { "StorageFailed", NULL },
        [TRACE_SNAPSHOT_OFFER]            = { "SendSnapshotOffer", NULL },
        [TRACE_SNAPSHOT_REPLY]            = { "SendSnapshotResponse", "done" },
        [TRACE_SNAPSHOT_WANTED]           = { "SendSnapshotWanted", NULL },
        [TRACE_SNAPSHOT_INSTALLED]        = { "SnapshotInstalled", NULL },
        [TRACE_REBASED]                   = { "Rebased", NULL },
        [TRACE_SAYS]                      = { "Says", NULL },
};

static void print_record(const trace_record *r, FILE *out) {
        (void) fprintf(out, "{\"t\":%" PRIu64 ",\"event\":\"%s\"", r->at_us, events[r->event].name);
        if (r->node != TRACE_NOBODY)
                (void) fprintf(out, ",\"nid\":%u", r->node);
        if (r->peer != TRACE_NOBODY)
                (void) fprintf(out, ",\"peer\":%u", r->peer);
        (void) fprintf(out, ",\"term\":%" PRIu64 ",\"index\":%" PRIu64 ",\"count\":%" PRIu64, r->term, r->index,
                       r->count);
        if (events[r->event].flag != NULL)
                (void) fprintf(out, ",\"%s\":%s", events[r->event].flag, r->flag ? "true" : "false");
        if (r->note != NULL)
                (void) fprintf(out, ",\"note\":\"%s\"", r->note);
        (void) fputs("}\n", out);
}

void trace_add(trace *t, const trace_record *r) {
        uint64_t small = (uint64_t) r->event << 24 | (uint64_t) r->node << 16 | (uint64_t) r->peer << 8 | r->flag;
        t->hash = rq_hash_mix(rq_hash_mix(t->hash, r->at_us ^ small << 32), r->term ^ r->index << 20 ^ r->count << 44);
        t->kept[t->written++ % TRACE_KEPT] = *r;
        if (t->out != NULL)
                print_record(r, t->out);
}

void trace_print_last(const trace *t, FILE *out, unsigned count) {
        uint64_t first = t->written > count ? t->written - count : 0;
        if (t->written > TRACE_KEPT && first < t->written - TRACE_KEPT)
                first = t->written - TRACE_KEPT;
        for (uint64_t i = first; i < t->written; i++)
                print_record(&t->kept[i % TRACE_KEPT], out);
}
