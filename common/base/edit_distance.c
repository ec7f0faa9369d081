#include "base/edit_distance.h"

#include "base/assert.h"

/* One row of the table at a time. */
size_t rq_edit_distance(rq_bytes a, rq_bytes b) {
        size_t row[RQ_EDIT_WORD_BYTES_MAX + 1];
        rq_assert(a.size <= RQ_EDIT_WORD_BYTES_MAX && b.size <= RQ_EDIT_WORD_BYTES_MAX);
        for (size_t j = 0; j <= b.size; j++)
                row[j] = j;
        for (size_t i = 1; i <= a.size; i++) {
                size_t diagonal = row[0];
                row[0] = i;
                for (size_t j = 1; j <= b.size; j++) {
                        size_t change = diagonal + (a.data[i - 1] != b.data[j - 1]);
                        diagonal = row[j];
                        size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
                        row[j] = change < best ? change : best;
                }
        }
        return row[b.size];
}

bool rq_is_mistyped(rq_bytes word, rq_bytes meant, size_t *ret_distance) {
        if (word.size == 0 || word.size > RQ_EDIT_WORD_BYTES_MAX || meant.size > RQ_EDIT_WORD_BYTES_MAX)
                return false;
        size_t distance_max = word.size < 6 ? 1 : word.size / 3 < 4 ? word.size / 3 : 4;
        size_t distance = rq_edit_distance(word, meant);
        if (distance <= distance_max)
                *ret_distance = distance;
        return distance <= distance_max;
}
