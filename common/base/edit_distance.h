/* How far a word is from another one, for advice to who has mistyped it. */
#ifndef RQ_BASE_EDIT_DISTANCE_H
#define RQ_BASE_EDIT_DISTANCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

enum { RQ_EDIT_WORD_BYTES_MAX = 48 };

/* Levenshtein's: letters put in, left out or changed. Both at most RQ_EDIT_WORD_BYTES_MAX bytes. */
size_t rq_edit_distance(rq_bytes a, rq_bytes b);

/* A third of the letters may be wrong, at most four, of a short word one; else the advice is noise. false: also of
 * a word that is empty or too long. *ret_distance is set if true. */
bool rq_is_mistyped(rq_bytes word, rq_bytes meant, size_t *ret_distance);

#endif
