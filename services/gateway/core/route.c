#include "core/route.h"

#include "core/percent.h"

#define P true  /* matches as a prefix */
#define E false /* matches exactly */

static const route routes[] = {
        /* Data first: a linear search is shortest for what is asked most. */
        { "/db/execute", P, OP_EXECUTE, METHOD_POST, "POST", true, RQ_MAY_EXECUTE },
        { "/db/query", P, OP_QUERY, METHOD_GET | METHOD_POST, "GET, POST", true, RQ_MAY_QUERY },
        { "/db/request", P, OP_REQUEST, METHOD_POST, "POST", true, RQ_MAY_QUERY | RQ_MAY_EXECUTE },
        { "/db/sql", P, OP_SQL, METHOD_GET | METHOD_POST, "GET, POST", true, RQ_MAY_QUERY },
        { "/db/backup", P, OP_BACKUP, METHOD_GET, "GET", false, RQ_MAY_BACKUP },
        { "/db/load", P, OP_LOAD, METHOD_POST, "POST", false, RQ_MAY_LOAD },
        { "/remove", P, OP_REMOVE, METHOD_DELETE, "DELETE", false, RQ_MAY_REMOVE },
        { "/status", P, OP_STATUS, METHOD_GET | METHOD_HEAD, "GET, HEAD", true, RQ_MAY_STATUS },
        { "/nodes", P, OP_NODES, METHOD_GET, "GET", true, RQ_MAY_STATUS },
        { "/readyz", P, OP_READYZ, METHOD_GET | METHOD_HEAD, "GET, HEAD", false, RQ_MAY_READY },
        { "/boot", E, OP_BOOT, METHOD_POST, "POST", false, RQ_MAY_LOAD },
        { "/snapshot", E, OP_SNAPSHOT, METHOD_POST, "POST", false, RQ_MAY_SNAPSHOT },
        { "/reap", E, OP_REAP, METHOD_POST, "POST", true, RQ_MAY_SNAPSHOT },
        { "/leader", E, OP_LEADER, METHOD_GET | METHOD_POST, "GET, POST", true, RQ_MAY_LEADER_OPS },
        { "/licenses", E, OP_LICENSES, METHOD_GET, "GET", false, RQ_MAY_STATUS },
        { "/debug/vars", E, OP_VARS, METHOD_ANY, NULL, true, RQ_MAY_STATUS },
        { "/console", E, OP_CONSOLE_BARE, METHOD_ANY, NULL, false, ROUTE_OPEN },
        { "/console", P, OP_CONSOLE, METHOD_GET | METHOD_HEAD, "GET, HEAD", false, RQ_MAY_UI },
        { "/", E, OP_ROOT, METHOD_ANY, NULL, false, ROUTE_OPEN },
        { "", E, OP_ROOT, METHOD_ANY, NULL, false, ROUTE_OPEN },
};

enum { ROUTE_COUNT = sizeof routes / sizeof routes[0] };

const route *route_at(size_t index) { return index < ROUTE_COUNT ? &routes[index] : NULL; }

const route *route_find(rq_bytes path) {
        for (size_t i = 0; i < ROUTE_COUNT; i++) {
                const route *r = &routes[i];
                size_t size = strlen(r->path);
                if ((r->prefix ? path.size >= size : path.size == size) && memcmp(path.data, r->path, size) == 0)
                        return r;
        }
        return NULL;
}

rq_err route_decode_path(char *path, size_t *size) {
        return percent_decode(path, size, false, NULL) ? RQ_OK : RQ_EINVAL;
}
