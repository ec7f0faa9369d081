#include "core/findings.h"

#include <stdarg.h>
#include <stdio.h>

/* Some of it was said by others: nothing that a terminal obeys. */
static void make_harmless(char *text) {
        for (; *text != '\0'; text++)
                if ((unsigned char) *text < 0x20 || *text == 0x7f)
                        *text = '?';
}

finding *findings_add(findings *f, const char *name, finding_state state, const char *format, ...) {
        if (f->count < FINDINGS_MAX)
                f->count++;
        finding *added = &f->list[f->count - 1];
        va_list args;
        *added = (finding) { .state = state };
        (void) snprintf(added->name, sizeof added->name, "%s", name);
        va_start(args, format);
        (void) vsnprintf(added->text, sizeof added->text, format, args);
        va_end(args);
        make_harmless(added->text);
        return added;
}

void finding_remedy(finding *f, const char *format, ...) {
        va_list args;
        va_start(args, format);
        (void) vsnprintf(f->remedy, sizeof f->remedy, format, args);
        va_end(args);
        make_harmless(f->remedy);
}

void finding_value(finding *f, const char *name, int64_t number) {
        if (f->value_count == FINDING_VALUES_MAX)
                return;
        f->values[f->value_count].name = name;
        f->values[f->value_count++].number = number;
}

finding_state finding_worse(finding_state a, finding_state b) {
        static const int rank[FINDING_STATES] = { [FINDING_OK] = 0, [FINDING_UNKNOWN] = 1, [FINDING_WARNING] = 2, [FINDING_CRITICAL] = 3 };
        return rank[a] >= rank[b] ? a : b;
}

finding_state findings_worst(const findings *f) {
        finding_state worst = FINDING_OK;
        for (size_t i = 0; i < f->count; i++)
                worst = finding_worse(worst, f->list[i].state);
        return worst;
}

size_t findings_of_state(const findings *f, finding_state state) {
        size_t count = 0;
        for (size_t i = 0; i < f->count; i++)
                count += f->list[i].state == state;
        return count;
}

const finding *findings_first_worst(const findings *f) {
        finding_state worst = findings_worst(f);
        for (size_t i = 0; i < f->count; i++)
                if (f->list[i].state == worst)
                        return &f->list[i];
        return NULL;
}

const char *finding_state_name(finding_state state) {
        static const char *const names[FINDING_STATES] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };
        return names[state];
}
