#include "starts.h"

static starts_seen *find(starts_file *file, const rq_uuid *disk_uuid) {
        for (uint32_t i = 0; i < file->seen_count; i++)
                if (rq_uuid_equal(&file->seen[i].disk_uuid, disk_uuid))
                        return &file->seen[i];
        return NULL;
}

/* Its own memory of the start that we know. What is too long ago for it can't be compared. */
static bool remembers(const peer_start *start, const start_mark *known) {
        const uint64_t ago = start->number - known->number;
        return ago > PEER_START_EARLIER || start->earlier[ago - 1] == (uint32_t) known->nonce;
}

starts_verdict starts_judge(const starts_file *file, const rq_uuid *disk_uuid, const peer_start *start) {
        const starts_seen *seen = find((starts_file *) (uintptr_t) file, disk_uuid);
        if (start->number == 0)
                return STARTS_SAME;
        if (seen == NULL)
                return STARTS_NEW;
        if (start->number == seen->mark.number)
                return start->nonce == seen->mark.nonce ? STARTS_SAME : STARTS_OLD_COPY;
        return start->number > seen->mark.number && remembers(start, &seen->mark) ? STARTS_NEW : STARTS_OLD_COPY;
}

bool starts_is_ours(const starts_file *file, const start_mark *mark) {
        if (mark->number >= file->own.number)
                return mark->number == file->own.number && mark->nonce == file->own.nonce;
        const uint64_t ago = file->own.number - mark->number;
        return ago > STARTS_EARLIER || file->earlier[ago - 1] == mark->nonce;
}

void starts_note(starts_file *file, const rq_uuid *disk_uuid, const start_mark *mark, const membership *members) {
        starts_seen *seen = find(file, disk_uuid);
        if (seen == NULL && file->seen_count == STARTS_SEEN_MAX) {
                uint32_t out = 0;
                while (out + 1 < file->seen_count && members != NULL &&
                       membership_find(members, membership_raft_id(&file->seen[out].disk_uuid)) != NULL)
                        out++;
                memmove(&file->seen[out], &file->seen[out + 1], (file->seen_count - out - 1) * sizeof file->seen[0]);
                file->seen_count--;
        }
        if (seen == NULL)
                seen = &file->seen[file->seen_count++];
        *seen = (starts_seen) { .disk_uuid = *disk_uuid, .mark = *mark };
}

static void keep(starts *s, raft_id id, raft_term term, raft_index index) {
        const uint32_t count = sizeof s->promises / sizeof s->promises[0];
        start_promise *p = NULL;
        for (uint32_t i = 0; i < count && p == NULL; i++)
                if (s->promises[i].id == id || s->promises[i].id == 0)
                        p = &s->promises[i];
        if (p == NULL)
                p = &s->promises[s->promise_next++ % count];
        if (p->id != id)
                *p = (start_promise) { .id = id };
        if (term > p->term)
                *p = (start_promise) { .id = id, .term = term, .index = index };
        else if (term == p->term && index > p->index)
                p->index = index;
}

void starts_take_promise(starts *s, const raft_message *m) {
        if (m->type == RAFT_MSG_APPEND_REPLY && !m->append_reply.rejected && m->append_reply.index > 0)
                keep(s, m->from, m->term, m->append_reply.index);
        else if (m->type == RAFT_MSG_HEARTBEAT_REPLY && m->heartbeat_reply.index > 0)
                keep(s, m->from, m->term, m->heartbeat_reply.index);
        else if (m->type == RAFT_MSG_VOTE_REPLY && m->vote_reply.granted && !m->vote_reply.pre)
                keep(s, m->from, m->term, 0);
}

/* What it promised in a term stands until a later one: another leader may have taken it back then. */
bool starts_keeps_promise(const starts *s, raft_id id, const peer_start *start) {
        for (size_t i = 0; i < sizeof s->promises / sizeof s->promises[0]; i++) {
                const start_promise *p = &s->promises[i];
                if (p->id == id)
                        return start->term > p->term || (start->term == p->term && start->index >= p->index);
        }
        return true;
}
