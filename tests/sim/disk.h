/* A disk in memory behind log_io: what is written is in the page cache until a
 * sync, and a power cut keeps any part of the rest, sector by sector; names are
 * kept in order, as a journal does. Never closes a descriptor: log_io has no close.
 *
 * Effects can be counted down, so that a machine dies between any two of them. */
#ifndef RQ_SIM_DISK_H
#define RQ_SIM_DISK_H

#include "base/rng.h"
#include "io/log_io.h"

typedef struct disk disk;

/* rng: borrowed. NULL: out of memory. */
disk *disk_new(rq_rng *rng);
disk *disk_free(disk *d);
const log_io *disk_io(disk *d);

/* After so many more effects everything fails and has none, until disk_revive(). */
void disk_die_after(disk *d, uint32_t effects);
void disk_revive(disk *d);
bool disk_is_dead(const disk *d);
/* What wasn't synced may be lost. */
void disk_power_cut(disk *d);
/* Files that have no name go: no process has them open any more. */
void disk_collect(disk *d);
/* All files go. */
void disk_wipe(disk *d);

void disk_set_full(disk *d, bool full);
void disk_fail_next_sync(disk *d);  /* EIO; what it should have kept never gets durable unless it is written again */
void disk_fail_next_write(disk *d);
/* Flips a bit of a closed segment of the log. The last one and the hard state are
 * spared: there rot can't be told from a torn write. False: there is none. */
bool disk_rot(disk *d);
/* Of all files, for bounds. */
uint64_t disk_bytes(const disk *d);

#endif
