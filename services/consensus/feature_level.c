#include "feature_level.h"

#include <ctype.h>
#include <stdio.h>

#include "log_entry.pb-c.h"
#include "record.h"

enum { MEMBER_TEXT_MAX = 200 };

static bool is_word_byte(char c) { return isalnum((unsigned char) c) || c == '_' || (unsigned char) c >= 0x80; }

static bool says(const char *text, size_t size, const char *word) {
        const size_t length = strlen(word);
        for (size_t i = 0; i + length <= size; i++)
                if ((i == 0 || !is_word_byte(text[i - 1])) && strncasecmp(text + i, word, length) == 0 &&
                    (i + length == size || !is_word_byte(text[i + length])))
                        return true;
        return false;
}

/* Nothing but these opens a transaction. */
static bool opens_transaction(ProtobufCBinaryData sql) {
        const char *text = (const char *) sql.data;
        return says(text, sql.len, "BEGIN") || says(text, sql.len, "SAVEPOINT");
}

static uint32_t needed_by_sql(rq_bytes body, rq_arena *arena) {
        const Rq__SqlEntry *entry = rq__sql_entry__unpack(rq_arena_allocator(arena), body.size, body.data);
        if (entry == NULL) /* the store has its say about it */
                return FEATURE_LEVEL_BASE;
        if (entry->n_groups > 0)
                return FEATURE_LEVEL_LOADS_AND_GROUPS;
        for (size_t i = 0; i < entry->n_statements; i++)
                if (opens_transaction(entry->statements[i]->sql))
                        return FEATURE_LEVEL_LOADS_AND_GROUPS;
        return FEATURE_LEVEL_BASE;
}

uint32_t feature_level_needed(uint8_t kind, rq_bytes body, rq_arena *arena) {
        if (kind == RECORD_SQL)
                return needed_by_sql(body, arena);
        return kind == RECORD_LOAD_CHUNK || kind == RECORD_ABORT_GROUP ? FEATURE_LEVEL_LOADS_AND_GROUPS : FEATURE_LEVEL_BASE;
}

void feature_level_update(consensus *c) {
        const membership *m = driver_membership(c->driver, NULL);
        const char *oldest = c->identity.node_id;
        c->levels.lowest = PEER_FEATURE_LEVEL;
        for (uint32_t i = 0; m != NULL && i < m->count; i++) {
                const member *one = &m->members[i];
                const starts_seen *seen = starts_find(&c->starts.file, &one->disk_uuid);
                if (seen == NULL || seen->level == 0 || seen->level >= c->levels.lowest)
                        continue;
                c->levels.lowest = seen->level;
                oldest = one->node_id;
        }
        (void) snprintf(c->levels.oldest, sizeof c->levels.oldest, "%s", oldest);
}

rq_err feature_level_admit(const consensus *c, uint8_t kind, rq_bytes body) {
        if (c->levels.lowest >= PEER_FEATURE_LEVEL) /* all know what this build does: nothing is looked into */
                return RQ_OK;
        const uint32_t needed = feature_level_needed(kind, body, c->arena);
        rq_arena_reset(c->arena);
        return needed > c->levels.lowest ? RQ_EVERSION : RQ_OK;
}

void feature_level_say_why(const consensus *c, char *text, size_t size) {
        (void) snprintf(text, size, "all members must run a version of feature level %d before loads, queued writes and BEGIN: node \"%.*s\" "
                        "runs one of level %u, or did when it was last there", PEER_FEATURE_LEVEL, MEMBER_TEXT_MAX, c->levels.oldest, c->levels.lowest);
}
