#include "core/route.h"

#include "core/percent.h"

#define P true  /* matches as a prefix */
#define E false /* matches exactly */

static const route routes[] = {
        /* Data first: a linear search is shortest for what is asked most. */
        { "/db/execute", P, OP_EXECUTE, METHOD_POST, "POST", true },
        { "/db/query", P, OP_QUERY, METHOD_GET | METHOD_POST, "GET, POST", true },
        { "/db/request", P, OP_REQUEST, METHOD_POST, "POST", true },
        { "/db/sql", P, OP_SQL, METHOD_GET | METHOD_POST, "GET, POST", true },
        { "/db/backup", P, OP_BACKUP, METHOD_GET, "GET", false },
        { "/db/load", P, OP_LOAD, METHOD_POST, "POST", false },
        { "/remove", P, OP_REMOVE, METHOD_DELETE, "DELETE", false },
        { "/status", P, OP_STATUS, METHOD_GET | METHOD_HEAD, "GET, HEAD", true },
        { "/nodes", P, OP_NODES, METHOD_GET, "GET", true },
        { "/readyz", P, OP_READYZ, METHOD_GET | METHOD_HEAD, "GET, HEAD", false },
        { "/boot", E, OP_BOOT, METHOD_POST, "POST", false },
        { "/snapshot", E, OP_SNAPSHOT, METHOD_POST, "POST", false },
        { "/reap", E, OP_REAP, METHOD_POST, "POST", true },
        { "/leader", E, OP_LEADER, METHOD_GET | METHOD_POST, "GET, POST", true },
        { "/licenses", E, OP_LICENSES, METHOD_GET, "GET", false },
        { "/debug/vars", E, OP_VARS, METHOD_ANY, NULL, true },
        { "/console", E, OP_CONSOLE_BARE, METHOD_ANY, NULL, false },
        { "/console", P, OP_CONSOLE, METHOD_GET | METHOD_HEAD, "GET, HEAD", false },
        { "/", E, OP_ROOT, METHOD_ANY, NULL, false },
        { "", E, OP_ROOT, METHOD_ANY, NULL, false },
};

const route *route_find(rq_bytes path) {
        for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
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
