/* Reads an image (image.h) on a thread of its own and makes chunks of it, packed
 * where that makes them smaller, as far as the receiver has given room.
 *
 * All calls are the loop's. */
#ifndef RQ_STORE_IMAGE_PUMP_H
#define RQ_STORE_IMAGE_PUMP_H

#include "core/snapshot_chunk.h"
#include "io/image.h"
#include "loop/loop.h"

typedef struct image_pump image_pump;

/* Takes the image, also on failure. wake is signalled when chunks are there, or it
 * has failed. Errors: RQ_ENOMEM. */
rq_err image_pump_new(image *take_image, rq_wake *wake, image_pump **ret_pump);
image_pump *image_pump_free(image_pump *p); /* NULL is fine; waits for the chunk at hand */

const image_facts *image_pump_facts(const image_pump *p);

/* Goes on at from (the beginning of a chunk; UINT64_MAX: where it is), and makes chunks that
 * begin below until. What was made and isn't taken is dropped if from isn't what
 * would come next. Below released nothing will be asked for again. */
void image_pump_read(image_pump *p, uint64_t from, uint64_t until, uint64_t released);

/* The next chunk, the caller's to free(); NULL: none is ready. */
snapshot_chunk *image_pump_take(image_pump *p);

/* NULL: it works. Else it makes no chunks any more. Static text. */
const char *image_pump_problem(image_pump *p);

#endif
