/* How much of the log may go. A rule, nothing else. */
#ifndef RQ_CONSENSUS_CORE_COMPACTION_H
#define RQ_CONSENSUS_CORE_COMPACTION_H

#include <stddef.h>
#include <stdint.h>

enum { COMPACTION_KEEP_SEGMENTS = 2 }; /* below the checkpoint, for a store or peer that falls behind */

/* How many of the oldest segments may be dropped. last_indexes: of each segment,
 * ascending. Hazard 26: never one with entries above the own store's checkpoint,
 * and never the last one. */
size_t compaction_count(const uint64_t *last_indexes, size_t segment_count, uint64_t checkpoint_index);

#endif
