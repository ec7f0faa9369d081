#include "snapshot_verdict.h"

snapshot_verdict snapshot_judge(const snapshot_facts *f, snapshot_stage stage) {
        /* The store would not fit, and what is committed must not be lost. */
        if (!f->has)
                return f->index <= f->commit ? SNAPSHOT_OF_NO_USE : SNAPSHOT_WELCOME;
        if (stage == SNAPSHOT_INSTALLED)
                return SNAPSHOT_NOT_NEEDED; /* the log goes on behind it */
        if (f->misfit)
                return SNAPSHOT_WELCOME;
        return f->open ? SNAPSHOT_NOT_NEEDED : SNAPSHOT_OF_NO_USE; /* the store isn't there yet: asked again */
}
