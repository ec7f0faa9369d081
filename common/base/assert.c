#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void rq_assert_failed(const char *expression, const char *file, int line) {
        fprintf(stderr, "<0>assertion failed: %s at %s:%d\n", expression, file, line);
        abort();
}
