/* A folder whose promises may be lost can't be used by a voter any more (architecture
 * rule 8). Its files are kept, in a folder within, and the node begins as a new one. */
#ifndef RQ_CONSENSUS_IO_FOLDER_ASIDE_H
#define RQ_CONSENSUS_IO_FOLDER_ASIDE_H

#include <stdbool.h>

#include "folder/aside.h"
#include "io/log_io.h"

/* That has happened: this node may join a cluster, and never form one. */
bool folder_aside_is_there(int dir_fd);

/* Moves all files but the lock and the starts (starts_file.h), which say where there are members; the identity last, so that a start finds what is left
 * unusable, and comes here again. Each time to a place of its own, ret_place ("aside/2"): nothing that is there is
 * overwritten. Nothing of them may be open. Errors: RQ_EIO and the like. */
rq_err folder_aside_move(const log_io *io, int dir_fd, char ret_place[static RQ_ASIDE_PLACE_BYTES]);

#endif
