/* Path and method to operation. Knows nothing of bodies and parameters.
 * Matching is literal and case-sensitive, no path is cleaned; most paths match
 * as prefixes (docs/http-api.md, Paths). */
#ifndef RQ_GATEWAY_ROUTE_H
#define RQ_GATEWAY_ROUTE_H

#include <stdbool.h>

#include "base/bytes.h"
#include "users/permissions.h"

typedef enum route_op {
        OP_EXECUTE, OP_QUERY, OP_REQUEST, OP_SQL, OP_BACKUP, OP_LOAD, OP_REMOVE, OP_STATUS, OP_NODES, OP_READYZ,
        OP_BOOT, OP_SNAPSHOT, OP_REAP, OP_LEADER, OP_LICENSES, OP_VARS, OP_CONSOLE, OP_CONSOLE_BARE, OP_ROOT,
} route_op;

/* Bits; METHOD_OTHER is every verb without a meaning here. */
enum {
        METHOD_GET    = 1 << 0,
        METHOD_HEAD   = 1 << 1,
        METHOD_POST   = 1 << 2,
        METHOD_DELETE = 1 << 3,
        METHOD_OPTIONS = 1 << 4,
        METHOD_OTHER  = 1 << 5,
        METHOD_ANY    = 0xff,
};

#define ROUTE_OPEN (UINT32_C(1) << 31) /* for everybody, whoever he is */

typedef struct route {
        const char *path;
        bool prefix;
        route_op op;
        unsigned methods;   /* allowed */
        const char *allow;  /* text of the Allow header of a 405 */
        bool json;          /* a 405 already has the JSON content type */
        rq_permissions needs; /* all of these, or ROUTE_OPEN; 0: nobody gets in */
} route;

const route *route_at(size_t index); /* the table; NULL: its end */

/* path: percent-decoded. NULL: 404. */
const route *route_find(rq_bytes path);

/* Percent-decoding in place, for paths: '+' stays. Errors: RQ_EINVAL (an
 * escape that is none). */
rq_err route_decode_path(char *path, size_t *size);

#endif
