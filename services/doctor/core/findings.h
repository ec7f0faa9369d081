/* What the checks found. Pure. */
#ifndef RQ_DOCTOR_CORE_FINDINGS_H
#define RQ_DOCTOR_CORE_FINDINGS_H

#include <stddef.h>
#include <stdint.h>

/* The exit codes of monitoring plugins. */
typedef enum finding_state { FINDING_OK = 0, FINDING_WARNING = 1, FINDING_CRITICAL = 2, FINDING_UNKNOWN = 3 } finding_state;
enum { FINDING_STATES = 4 };

enum { FINDINGS_MAX = 192, FINDING_VALUES_MAX = 6 };

typedef struct finding {
        finding_state state;
        char name[32];     /* "disk.sync": the check; stable, for programs */
        char text[512];    /* what is so */
        char remedy[320];  /* what to do; "": nothing */
        struct { const char *name; int64_t number; } values[FINDING_VALUES_MAX]; /* names: literals */
        size_t value_count;
} finding;

typedef struct findings {
        finding list[FINDINGS_MAX];
        size_t count;      /* what is beyond the list replaces the last one */
} findings;

/* Returns the finding, for remedy and values. */
finding *findings_add(findings *f, const char *name, finding_state state, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
void finding_remedy(finding *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
void finding_value(finding *f, const char *name, int64_t number);

/* CRITICAL before WARNING before UNKNOWN before OK. */
finding_state findings_worst(const findings *f);
finding_state finding_worse(finding_state a, finding_state b);
size_t findings_of_state(const findings *f, finding_state state);

/* The first one of the worst state; NULL: there is none at all. */
const finding *findings_first_worst(const findings *f);

const char *finding_state_name(finding_state state);

#endif
