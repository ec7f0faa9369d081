/* What outcomes depend on beside the log and the database (hazard 10): SQLite's
 * version and build, the machine's floating point, the extensions, -fk. Nodes
 * tell each other; where it differs, the same entry may have another outcome. */
#ifndef RQ_STORE_PROFILE_H
#define RQ_STORE_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/extensions.h"

enum { PROFILE_VERSION_BYTES = 32 };

typedef struct execution_profile {
        uint64_t digest;                      /* of all of it; never 0 */
        uint32_t extensions;                  /* of names and contents, in their order; 0: none */
        char sqlite_version[PROFILE_VERSION_BYTES];
} execution_profile;

/* e may be NULL. Runs some SQL in memory, about a millisecond. Errors: RQ_ENOMEM. */
rq_err execution_profile_of(const extensions *e, bool foreign_keys, execution_profile *ret_profile);

#endif
