/* Members' starts: whether one that says HELLO is the node whose promises count, or an old copy of
 * its folder, which has forgotten some of them and must not vote (decision 0015). What was seen of a member is
 * on this node's disk before the member's connection counts. */
#ifndef RQ_CONSENSUS_STARTS_H
#define RQ_CONSENSUS_STARTS_H

#include "core/membership.h"
#include "io/starts_file.h"
#include "peer/peer_message.h"

/* What a member has promised to this node in this run: its log is durable up to index, in term. */
typedef struct start_promise { raft_id id; raft_term term; raft_index index; } start_promise;

/* What is new of a member costs fsyncs on the loop: so many at once, and then one in so long, whatever it says. */
enum { STARTS_NOTES_AT_ONCE = 5, STARTS_NOTE_INTERVAL_US = 1000000 };
typedef struct start_allowance { raft_id id; uint64_t spent_until_us; } start_allowance;

typedef struct starts {
        starts_file file;
        bool counted;                  /* this run is on disk, and may be told */
        peer_start self;               /* of this run, for HELLO; number 0: it couldn't be written */
        start_promise promises[2 * MEMBERSHIP_COUNT_MAX];
        uint32_t promise_next;         /* the place that is used next if none is free */
        start_allowance allowances[MEMBERSHIP_COUNT_MAX];
} starts;

typedef enum starts_verdict {
        STARTS_SAME,     /* of the run that is known, or of a build that doesn't count */
        STARTS_NEW,      /* a later run: to be written down */
        STARTS_OLD_COPY, /* none that can follow the one that is known */
} starts_verdict;

/* Pure: by what is on disk. */
starts_verdict starts_judge(const starts_file *file, const rq_uuid *disk_uuid, const peer_start *start);
/* Pure: by the start that is known; number 0: none. */
starts_verdict starts_compare(const start_mark *known, const peer_start *start);
/* Pure: NULL: not seen. Borrowed until the next note. */
const starts_seen *starts_find(const starts_file *file, const rq_uuid *disk_uuid);
/* Pure: writes it down in file. members (may be NULL): they are kept when there is no room for all. */
void starts_note(starts_file *file, const rq_uuid *disk_uuid, const start_mark *mark, const membership *members);
/* Likewise, of the feature level. */
void starts_note_level(starts_file *file, const rq_uuid *disk_uuid, uint32_t level, const membership *members);
/* Whether something new of this member may be written now; counts as one. False: later. */
bool starts_may_note(starts *s, raft_id id, uint64_t now_us);
/* Pure: whether this folder's node remembers that start, or can't tell any more: then nobody may say that it doesn't. */
bool starts_is_ours(const starts_file *file, const start_mark *mark);
/* This disk is refused from now on, whatever it says. */
static const start_mark starts_never = { UINT64_MAX, 0 };

/* A message that stands for what is durable at its sender. When there is no room for all, those of members (may be NULL) are
 * kept. */
void starts_take_promise(starts *s, const raft_message *message, const membership *members);
/* False: it has promised more than it knows of. */
bool starts_keeps_promise(const starts *s, raft_id id, const peer_start *start);

#endif
