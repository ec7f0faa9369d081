#include "starts.h"

const starts_seen *starts_find(const starts_file *file, const rq_uuid *disk_uuid) {
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

starts_verdict starts_compare(const start_mark *known, const peer_start *start) {
        if (start->number == 0)
                return STARTS_SAME;
        if (known->number == 0)
                return STARTS_NEW;
        if (start->number == known->number)
                return start->nonce == known->nonce ? STARTS_SAME : STARTS_OLD_COPY;
        return start->number > known->number && remembers(start, known) ? STARTS_NEW : STARTS_OLD_COPY;
}

starts_verdict starts_judge(const starts_file *file, const rq_uuid *disk_uuid, const peer_start *start) {
        const starts_seen *seen = starts_find(file, disk_uuid);
        return starts_compare(seen != NULL ? &seen->mark : &(start_mark) {0}, start);
}

bool starts_is_ours(const starts_file *file, const start_mark *mark) {
        if (mark->number >= file->own.number)
                return mark->number == file->own.number && mark->nonce == file->own.nonce;
        const uint64_t ago = file->own.number - mark->number;
        return ago > STARTS_EARLIER || file->earlier[ago - 1] == mark->nonce;
}

static starts_seen *place_of(starts_file *file, const rq_uuid *disk_uuid, const membership *members) {
        starts_seen *seen = (starts_seen *) (uintptr_t) starts_find(file, disk_uuid);
        if (seen != NULL)
                return seen;
        if (file->seen_count == STARTS_SEEN_MAX) {
                uint32_t out = 0;
                while (out + 1 < file->seen_count && members != NULL &&
                       membership_find(members, membership_raft_id(&file->seen[out].disk_uuid)) != NULL)
                        out++;
                memmove(&file->seen[out], &file->seen[out + 1], (file->seen_count - out - 1) * sizeof file->seen[0]);
                file->seen_count--;
        }
        seen = &file->seen[file->seen_count++];
        *seen = (starts_seen) { .disk_uuid = *disk_uuid };
        return seen;
}

void starts_note(starts_file *file, const rq_uuid *disk_uuid, const start_mark *mark, const membership *members) {
        place_of(file, disk_uuid, members)->mark = *mark;
}

void starts_note_level(starts_file *file, const rq_uuid *disk_uuid, uint32_t level, const membership *members) {
        place_of(file, disk_uuid, members)->level = level;
}

/* Of one that isn't known yet all is still to be spent; it takes the place of who has spent least lately. */
bool starts_may_note(starts *s, raft_id id, uint64_t now_us) {
        start_allowance *a = &s->allowances[0];
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX && a->id != id; i++)
                if (s->allowances[i].id == id || s->allowances[i].spent_until_us < a->spent_until_us)
                        a = &s->allowances[i];
        if (a->id != id)
                *a = (start_allowance) { .id = id };
        const uint64_t from_us = a->spent_until_us > now_us ? a->spent_until_us : now_us;
        if (from_us - now_us > (STARTS_NOTES_AT_ONCE - 1) * (uint64_t) STARTS_NOTE_INTERVAL_US)
                return false;
        a->spent_until_us = from_us + STARTS_NOTE_INTERVAL_US;
        return true;
}

/* Members are half as many as there are places. */
static start_promise *least_wanted(starts *s, const membership *members) {
        const uint32_t count = sizeof s->promises / sizeof s->promises[0];
        start_promise *p = NULL;
        for (uint32_t i = 0; i < count; i++) {
                p = &s->promises[s->promise_next++ % count];
                if (members == NULL || membership_find(members, p->id) == NULL)
                        break;
        }
        return p;
}

static void keep(starts *s, raft_id id, raft_term term, raft_index index, const membership *members) {
        const uint32_t count = sizeof s->promises / sizeof s->promises[0];
        start_promise *p = NULL;
        for (uint32_t i = 0; i < count && p == NULL; i++)
                if (s->promises[i].id == id || s->promises[i].id == 0)
                        p = &s->promises[i];
        if (p == NULL)
                p = least_wanted(s, members);
        if (p->id != id)
                *p = (start_promise) { .id = id };
        if (term > p->term)
                *p = (start_promise) { .id = id, .term = term, .index = index };
        else if (term == p->term && index > p->index)
                p->index = index;
}

void starts_take_promise(starts *s, const raft_message *m, const membership *members) {
        if (m->type == RAFT_MSG_APPEND_REPLY && !m->append_reply.rejected && m->append_reply.index > 0)
                keep(s, m->from, m->term, m->append_reply.index, members);
        else if (m->type == RAFT_MSG_HEARTBEAT_REPLY && m->heartbeat_reply.index > 0)
                keep(s, m->from, m->term, m->heartbeat_reply.index, members);
        else if (m->type == RAFT_MSG_VOTE_REPLY && m->vote_reply.granted && !m->vote_reply.pre)
                keep(s, m->from, m->term, 0, members);
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
