#include "core/compaction.h"

size_t compaction_count(const uint64_t *last_indexes, size_t segment_count, uint64_t checkpoint_index) {
        size_t below = 0;
        while (below + 1 < segment_count && last_indexes[below] <= checkpoint_index)
                below++;
        return below > COMPACTION_KEEP_SEGMENTS ? below - COMPACTION_KEEP_SEGMENTS : 0;
}
