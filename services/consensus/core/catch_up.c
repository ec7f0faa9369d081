#include "core/catch_up.h"

#include <stddef.h>

static catch_up_round *find(catch_up *c, raft_id id) {
        for (uint32_t i = 0; i < c->count; i++)
                if (c->v[i].id == id)
                        return &c->v[i];
        return NULL;
}

bool catch_up_look(catch_up *c, raft_id id, raft_index match, raft_index last, uint64_t now_us, uint64_t round_us_max) {
        catch_up_round *r = find(c, id);
        if (r == NULL) {
                if (c->count == RAFT_MEMBERS_MAX)
                        c->count = 0;
                c->v[c->count++] = (catch_up_round) { .id = id, .target = last, .begun_us = now_us, .count = 1 };
                return false;
        }
        if (match < r->target)
                return false;
        if (now_us - r->begun_us < round_us_max)
                return true;
        r->target = last;
        r->begun_us = now_us;
        r->count++;
        return false;
}

uint32_t catch_up_rounds(const catch_up *c, raft_id id) {
        const catch_up_round *r = find((catch_up *) (uintptr_t) c, id);
        return r == NULL ? 0 : r->count;
}
