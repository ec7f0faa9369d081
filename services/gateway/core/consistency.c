#include "core/consistency.h"

#include <strings.h>

read_level read_level_of(rq_bytes text) {
        static const struct { const char *name; read_level level; } names[] = {
                { "none", READ_NONE }, { "weak", READ_WEAK }, { "strong", READ_STRONG },
                { "linearizable", READ_LINEARIZABLE }, { "auto", READ_AUTO },
        };
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
                if (text.size == strlen(names[i].name) && strncasecmp((const char *) text.data, names[i].name, text.size) == 0)
                        return names[i].level;
        return READ_WEAK;
}

read_level read_level_resolve(read_level level, bool fresh, node_role role) {
        if (level == READ_AUTO)
                level = role == ROLE_LEARNER ? READ_NONE : READ_WEAK;
        if (level == READ_NONE && fresh)
                level = READ_LINEARIZABLE;
        return level;
}
