/* The kernel's calls with failures put in: the n-th call that changes something
 * fails once; or the disk is full until it is told otherwise. */
#ifndef RQ_TESTS_CONSENSUS_FAULT_IO_H
#define RQ_TESTS_CONSENSUS_FAULT_IO_H

#include <stdatomic.h>

#include "io/log_io.h"

typedef struct fault_io {
        log_io io;
        atomic_long countdown;     /* calls until one fails; below 0: none does */
        int failure;               /* its errno */
        atomic_bool fail_syncs;    /* only fdatasync and fsync count */
        atomic_bool full;          /* fallocate fails, free_bytes is 0 */
        atomic_bool writes_full;   /* pwritev fails, too, as on a file system that copies on write */
        atomic_long calls, syncs;
} fault_io;

void fault_io_init(fault_io *f);

#endif
