/* Stages a database that comes in chunks, as the file of swap.h, on a thread of its
 * own: unpacks, checks, writes, and at the end compares it with what was announced.
 * Replaces nothing: files_swap() does.
 *
 * All calls are the loop's. */
#ifndef RQ_STORE_INSTALL_H
#define RQ_STORE_INSTALL_H

#include "core/snapshot_chunk.h"
#include "io/image.h"
#include "io/state_file.h"
#include "loop/loop.h"

typedef struct install install;

typedef enum install_phase { INSTALL_STAGING, INSTALL_STAGED, INSTALL_FAILED } install_phase;

/* id, state: as announced; state->database is what the file must look like. wake
 * is signalled whenever something has changed. folder_fd must stay open. Errors: RQ_ENOMEM. */
rq_err install_new(const files_io *io, int folder_fd, const image_id *id, const state_file *state, rq_wake *wake,
                   install **ret_install);

/* Waits for the chunk at hand. What was staged stays in the folder: swap_discard(). */
install *install_free(install *i); /* NULL is fine */

const image_id *install_id(const install *i);
const state_file *install_state(const install *i);

/* Takes the chunk. Errors: RQ_EFULL (more than SNAPSHOT_WINDOW_BYTES wait: the
 * sender goes beyond its credit), RQ_EPROTO (doesn't follow the one before it,
 * larger than a chunk may be, beyond the end); the chunk is freed. */
rq_err install_put(install *i, snapshot_chunk *take_chunk);

/* Where the next chunk must begin. */
uint64_t install_next(const install *i);

/* *ret_offset: what is written. FAILED: *ret_problem says why; static text. */
install_phase install_phase_of(install *i, uint64_t *ret_offset, const char **ret_problem);

#endif
