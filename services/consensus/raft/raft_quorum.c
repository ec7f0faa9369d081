#include "raft/raft_quorum.h"

#include <assert.h>

uint32_t raft_quorum_size(uint32_t voter_count) {
        assert(voter_count >= 1);
        return voter_count / 2 + 1;
}

bool raft_quorum_votes(const bool *granted, uint32_t voter_count) {
        uint32_t yes = 0;
        for (uint32_t i = 0; i < voter_count; i++)
                yes += granted[i] ? 1 : 0;
        return yes >= raft_quorum_size(voter_count);
}

uint64_t raft_quorum_reached(const uint64_t *values, uint32_t voter_count) {
        uint64_t falling[RAFT_VOTERS_MAX];
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
