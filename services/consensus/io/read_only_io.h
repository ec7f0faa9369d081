/* The kernel's calls without those that change anything, for looking into a folder that is to stay as it is. Opening
 * one writes again what is there already (hardstate.h, log_recover.h): that succeeds and does nothing. What would
 * make, rename or delete a file fails with EROFS. */
#ifndef RQ_CONSENSUS_IO_READ_ONLY_IO_H
#define RQ_CONSENSUS_IO_READ_ONLY_IO_H

#include "io/log_io.h"

const log_io *log_io_read_only(void);

#endif
