#include "core/answers.h"

#include <stdlib.h>

void answers_done(answers *list) {
        free(list->v);
        *list = (answers) {0};
}

void answers_add(answers *list, request_origin to, answer_outcome outcome, answer_reason reason,
                 uint64_t index, const char *text) {
        if (list->count == list->capacity) {
                size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
                answer *more = reallocarray(list->v, capacity, sizeof *more);
                if (more == NULL)
                        return;
                list->v = more;
                list->capacity = capacity;
        }
        list->v[list->count++] = (answer) { .to = to, .outcome = outcome, .reason = reason, .index = index, .text = text };
}
