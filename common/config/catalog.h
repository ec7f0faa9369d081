/* The one table of flags: name, type, default, limits, who uses it, whether it
 * does anything yet, and the rules between flags. Knows nothing of where a
 * value came from (config.c). */
#ifndef RQ_CONFIG_CATALOG_H
#define RQ_CONFIG_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "config/config.h"

typedef enum rq_flag_type {
        RQ_FLAG_BOOL,     /* Go's words: 1 t T true TRUE True, and 0 f ... */
        RQ_FLAG_STRING,
        RQ_FLAG_INT,
        RQ_FLAG_SIZE,     /* bytes; "64MiB", "4KiB", "1GiB", "4096" */
        RQ_FLAG_DURATION, /* Go's syntax; number is nanoseconds */
} rq_flag_type;

typedef enum rq_flag_status {
        RQ_FLAG_AVAILABLE,
        RQ_FLAG_LATER,   /* only its default is accepted: "not available yet" */
        RQ_FLAG_IGNORED, /* accepted for rqlite's sake, without effect */
        RQ_FLAG_NO_EFFECT, /* checked, but nothing comes of it yet; said so at the start */
} rq_flag_status;

typedef enum rq_flag_group {
        RQ_GROUP_GENERAL,
        RQ_GROUP_HTTP,
        RQ_GROUP_RAFT,
        RQ_GROUP_CLUSTER,
        RQ_GROUP_FEATURES,
        RQ_GROUP_LIMITS,
        RQ_GROUP_PROCESS,
        RQ_GROUP_ACTIONS,
        RQ_GROUP_COUNT,
} rq_flag_group;

/* Who uses a flag: bits of used_by. */
enum {
        RQ_USED_GATEWAY   = 1 << 0,
        RQ_USED_CONSENSUS = 1 << 1,
        RQ_USED_STORE     = 1 << 2,
        RQ_USED_LAUNCHER  = 1 << 3,
        RQ_USED_ALL       = 0xf,
};

typedef struct rq_flag {
        const char *name;          /* without dash */
        const char *value;         /* what the value is called in the help; NULL for a bool */
        const char *initial;       /* default, as text */
        const char *help;
        const char *choices;       /* "plain|json": any case; NULL: free */
        rq_flag_type type;
        rq_flag_status status;
        rq_flag_group group;
        uint32_t used_by;
        int64_t min, max;          /* of numbers; max 0: no limit of its own */
        bool zero_off;             /* 0 is fine although below min: turns it off */
        bool command_line_only;
        bool not_in_file;
        bool secret;               /* --print-config does not show it */
} rq_flag;

size_t rq_flag_count(void);
const rq_flag *rq_flag_at(size_t index);

/* Index of a flag, or rq_flag_count() if there is none of that name. */
size_t rq_flag_find(rq_bytes name);

/* Heading of a group in the help and in the man pages. */
const char *rq_flag_group_title(rq_flag_group group);

/* The flag whose name is closest to a mistyped one; NULL if none is close. */
const rq_flag *rq_flag_nearest(rq_bytes name);

/* Reads a value of the flag's type and checks its limits. For a string
 * *ret_number is 0. On RQ_ECONFIG, complaint has words without the flag's name:
 * "\"abc\" is not a whole number". Errors: RQ_ECONFIG. */
rq_err rq_flag_read(const rq_flag *flag, const char *text, int64_t *ret_number,
                    char *complaint, size_t complaint_size);

/* What flags may not say together. problem gets one line.
 * Errors: RQ_ECONFIG, RQ_ENOMEM. */
rq_err rq_flag_rules(const rq_config *config, rq_buf *problem);

/* Flags in groups, with defaults; of those only that one of users (RQ_USED_...)
 * uses. 0: all there are. */
void rq_flag_print_help(FILE *out, uint32_t users);

#endif
