/* Members of /status and /debug/vars under the names by which tools of rqlite
 * look for them, from what consensus and store tell under their own. What has no
 * like here (parts of the Go runtime, its Raft library) is left out. */
#include <stdio.h>
#include <string.h>

#include "api/api.h"

/* The same value under another name, unless that is there already. */
static void copy(json_t *from, const char *name, json_t *to, const char *familiar) {
        json_t *value = json_object_get(from, name);
        if (value != NULL && json_object_get(to, familiar) == NULL)
                (void) json_object_set(to, familiar, value);
}

static json_int_t number(json_t *object, const char *name) { return json_integer_value(json_object_get(object, name)); }

static void set_duration(json_t *object, const char *name, uint64_t us) {
        char text[32];
        (void) json_object_set_new(object, name, json_string(rq_duration_text((int64_t) us * 1000, text, sizeof text)));
}

/* "1.2 MB", in powers of 1000. */
static void set_size(json_t *object, const char *name, const char *friendly, json_int_t bytes) {
        static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
        double value = (double) bytes;
        size_t unit = 0;
        char text[32];
        for (; value >= 1000 && unit + 1 < sizeof units / sizeof units[0]; unit++)
                value /= 1000;
        (void) snprintf(text, sizeof text, unit > 0 && value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
        if (name != NULL)
                (void) json_object_set_new(object, name, json_integer(bytes));
        (void) json_object_set_new(object, friendly, json_string(text));
}

/* The live file is the snapshot, as of the last checkpoint: there is one, or none. */
static json_t *snapshots(json_t *store) {
        json_t *list = json_array();
        json_int_t index = number(store, "checkpoint_index");
        char id[64];
        (void) snprintf(id, sizeof id, "%lld-%lld", (long long) number(json_object_get(store, "raft"), "last_snapshot_term"), (long long) index);
        if (index > 0)
                (void) json_array_append_new(list, json_string(id));
        return list;
}

/* A node without a vote follows, to rqlite, and `voter` says the rest. */
static void name_state(json_t *raft) {
        const char *state = json_string_value(json_object_get(raft, "state"));
        bool learner = state != NULL && strcmp(state, "Learner") == 0;
        if (state == NULL)
                return;
        (void) json_object_set_new(raft, "learner", json_boolean(learner));
        if (learner) {
                (void) json_object_set_new(raft, "state", json_string("Follower"));
                (void) json_object_set_new(raft, "voter", json_false());
        }
}

void familiar_status(const gateway *gw, json_t *store) {
        const gateway_config *config = gw->config;
        json_t *sqlite = json_object_get(store, "sqlite3"), *raft = json_object_get(store, "raft");
        json_int_t database = number(sqlite, "db_size") + number(sqlite, "wal_size"), log = number(raft, "log_size");
        const char *fk = json_string_value(json_object_get(sqlite, "fk_constraints"));

        name_state(raft);
        copy(store, "applied_index", store, "db_applied_index");
        copy(store, "applied_index", store, "fsm_index");
        copy(store, "applied_term", store, "fsm_term");
        (void) json_object_set_new(store, "db_conf", json_pack("{s:b}", "fk_constraints", fk != NULL && strcmp(fk, "enabled") == 0));
        set_size(store, "dir_size", "dir_size_friendly", database + log);
        if (json_is_object(raft) && json_object_get(raft, "log_size") != NULL)
                set_size(raft, NULL, "log_size_friendly", log);
        set_duration(store, "heartbeat_timeout", config->heartbeat_timeout_us);
        set_duration(store, "election_timeout", config->heartbeat_timeout_us);
        set_duration(store, "commit_timeout", config->commit_timeout_us);
        set_duration(store, "snapshot_interval", config->checkpoint_interval_us);
        (void) json_object_set_new(store, "snapshot_threshold", json_integer((json_int_t) config->checkpoint_entries));

        json_t *kept = json_object(), *dir = json_object_get(store, "dir");
        if (dir != NULL)
                (void) json_object_set(kept, "dir", dir);
        (void) json_object_set_new(kept, "dir_size", json_integer(database));
        (void) json_object_set_new(kept, "snapshots", snapshots(store));
        (void) json_object_set_new(store, "snapshot_store", kept);
}

void familiar_vars(json_t *db, json_t *store, json_t *document) {
        json_t *made = json_object_get(document, "checkpoints");
        copy(db, "queries_failed", db, "query_errors");
        copy(made, "count", db, "checkpoints");
        copy(made, "count", store, "num_snapshots");
        /* At the start the file that is there goes on: nothing is restored. */
        json_t *opened = json_object_get(document, "opened_index");
        if (opened != NULL) {
                (void) json_object_set_new(store, "num_restores_start", json_integer(0));
                (void) json_object_set_new(store, "num_restores_start_skipped", json_integer(json_integer_value(opened) > 0));
        }
        copy(json_object_get(document, "snapshots"), "installed", store, "num_restores");
        if (json_object_get(store, "num_restores") == NULL)
                (void) json_object_set_new(store, "num_restores", json_integer(0));
}
