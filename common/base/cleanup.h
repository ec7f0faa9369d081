/* Scope cleanup and hand-over, after systemd's coding style: a function owns
 * what it declares with RQ_CLEANUP until it takes it out with RQ_TAKE. */
#ifndef RQ_BASE_CLEANUP_H
#define RQ_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define RQ_CLEANUP(function) __attribute__((cleanup(function)))

/* Value of the variable, which is set to its empty value. */
#define RQ_TAKE(variable, empty)                \
        __extension__({                         \
                typeof(variable) *taken_ = &(variable); \
                typeof(variable) value_ = *taken_;      \
                *taken_ = (empty);              \
                value_;                         \
        })

static inline void rq_closep(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
        *fd = -1;
}

static inline void rq_freep(void *pointer_to_pointer) {
        free(*(void **) pointer_to_pointer);
        *(void **) pointer_to_pointer = NULL;
}

#endif
