/* What users may be allowed to do, by rqlite's names; users.h reads them. */
#ifndef RQ_USERS_PERMISSIONS_H
#define RQ_USERS_PERMISSIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Bits. */
typedef uint32_t rq_permissions;
enum {
        RQ_MAY_ALL               = 1 << 0,
        RQ_MAY_JOIN              = 1 << 1, /* these two: on the node's port */
        RQ_MAY_JOIN_READ_REPLICA = 1 << 3, /* also by the older name join-read-only */
        RQ_MAY_REMOVE            = 1 << 4,
        RQ_MAY_EXECUTE           = 1 << 5,
        RQ_MAY_QUERY             = 1 << 6,
        RQ_MAY_STATUS            = 1 << 7,
        RQ_MAY_READY             = 1 << 8,
        RQ_MAY_BACKUP            = 1 << 9,
        RQ_MAY_LOAD              = 1 << 10,
        RQ_MAY_SNAPSHOT          = 1 << 11,
        RQ_MAY_LEADER_OPS        = 1 << 12,
        RQ_MAY_UI                = 1 << 13,
};

/* has covers all of needed; nothing is covered by needing nothing. */
static inline bool rq_permissions_cover(rq_permissions has, rq_permissions needed) {
        return needed != 0 && ((has & RQ_MAY_ALL) != 0 || (has & needed) == needed);
}

#endif
