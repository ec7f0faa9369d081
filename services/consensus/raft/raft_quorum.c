#include "raft/raft_quorum.h"

#include <assert.h>

uint32_t raft_quorum_size(uint32_t voter_count) {
        assert(voter_count >= 1);
        return voter_count / 2 + 1;
}

uint64_t raft_quorum_reached(const uint64_t *values, uint32_t voter_count) {
        uint64_t falling[RAFT_VOTERS_MAX] = {0};
        assert(voter_count >= 1 && voter_count <= RAFT_VOTERS_MAX);

        /* Insertion: a few numbers, mostly sorted already. */
        for (uint32_t i = 0; i < voter_count; i++) {
                uint32_t at = i;
                for (; at > 0 && falling[at - 1] < values[i]; at--)
                        falling[at] = falling[at - 1];
                falling[at] = values[i];
        }
        return falling[raft_quorum_size(voter_count) - 1];
}

uint64_t raft_quorum_reached_in(const raft_configuration *c, const uint64_t *values) {
        uint64_t incoming[RAFT_VOTERS_MAX], outgoing[RAFT_VOTERS_MAX];
        uint32_t incoming_count = 0, outgoing_count = 0;
        for (uint32_t i = 0; i < c->count; i++) {
                if (c->members[i].voter && incoming_count < RAFT_VOTERS_MAX)
                        incoming[incoming_count++] = values[i];
                if (c->joint && c->members[i].outgoing && outgoing_count < RAFT_VOTERS_MAX)
                        outgoing[outgoing_count++] = values[i];
        }
        uint64_t reached = raft_quorum_reached(incoming, incoming_count);
        if (!c->joint)
                return reached;
        uint64_t reached_by_old = raft_quorum_reached(outgoing, outgoing_count);
        return reached < reached_by_old ? reached : reached_by_old;
}
