#include "core/allowed.h"

#include <stdlib.h>
#include <strings.h>

/* What SQLite 3.40 has, the oldest that a node may have: by a newer one the same entry would work on some nodes and fail on
 * others (docs/decisions/0014). Sorted as strcasecmp sorts; the unit test checks it. */
static const char *const functions[] = {
        "->", "->>", "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "avg", "bm25", "ceil", "ceiling",
        "changes", "char", "coalesce", "cos", "cosh", "count", "cume_dist", "current_date", "current_time",
        "current_timestamp", "date", "datetime", "degrees", "dense_rank", "exp", "first_value", "floor", "format", "fts5",
        "geopoly_area", "geopoly_bbox", "geopoly_blob", "geopoly_ccw", "geopoly_contains_point", "geopoly_group_bbox",
        "geopoly_json", "geopoly_overlap", "geopoly_regular", "geopoly_svg", "geopoly_within", "geopoly_xform", "glob",
        "group_concat", "hex", "highlight", "ifnull", "iif", "instr", "json", "json_array", "json_array_length",
        "json_extract", "json_group_array", "json_group_object", "json_insert", "json_object", "json_patch", "json_quote",
        "json_remove", "json_replace", "json_set", "json_type", "json_valid", "julianday", "lag", "last_insert_rowid",
        "last_value", "lead", "length", "like", "likelihood", "likely", "ln", "log", "log10", "log2", "lower", "ltrim",
        "match", "matchinfo", "max", "min", "mod", "nth_value", "ntile", "nullif", "offsets", "optimize", "percent_rank",
        "pi", "pow", "power", "printf", "quote", "radians", "random", "randomblob", "rank", "replace", "round", "row_number",
        "rtreecheck", "rtreedepth", "rtreenode", "rtrim", "sign", "sin", "sinh", "snippet", "soundex", "sqrt", "strftime",
        "substr", "substring", "sum", "tan", "tanh", "time", "total", "total_changes", "trim", "trunc", "typeof", "unicode",
        "unixepoch", "unlikely", "upper", "zeroblob",
};

/* Sorted likewise: since SQLite 3.41 or later. */
static const char *const newer_functions[] = {
        "concat", "concat_ws", "if", "json_error_position", "json_pretty", "jsonb", "jsonb_array", "jsonb_extract",
        "jsonb_group_array", "jsonb_group_object", "jsonb_insert", "jsonb_object", "jsonb_patch", "jsonb_remove",
        "jsonb_replace", "jsonb_set", "octet_length", "string_agg", "timediff", "unhex", "unistr",
        "unistr_quote",
};

/* Sorted likewise. */
static const char *const brief_functions[] = {
        "abs", "avg", "ceil", "ceiling", "coalesce", "count", "current_date", "current_time", "current_timestamp", "date",
        "datetime", "floor", "ifnull", "iif", "julianday", "length", "lower", "ltrim", "max", "min", "mod", "nullif", "round",
        "rtrim", "sign", "strftime", "substr", "substring", "sum", "time", "total", "trim", "trunc", "typeof", "unixepoch",
        "upper",
};

/* The first is for readers. */
static const char *modules[] = {
        "dbstat", "fts3", "fts4", "fts4aux", "fts5", "fts5vocab", "geopoly", "json_each", "json_tree", "rtree", "rtree_i32", NULL,
};

static const struct {
        const char *name;
        allowed_pragma how;
} pragmas[] = {
        { "application_id", PRAGMA_WRITE },
        { "auto_vacuum", PRAGMA_READ },
        { "data_version", PRAGMA_READ }, /* full-text tables ask for it themselves */
        { "encoding", PRAGMA_READ },
        { "foreign_key_check", PRAGMA_READ_ARG },
        { "foreign_key_list", PRAGMA_READ_ARG },
        { "foreign_keys", PRAGMA_FOREIGN_KEYS },
        { "freelist_count", PRAGMA_READ },
        { "index_info", PRAGMA_READ_ARG },
        { "index_list", PRAGMA_READ_ARG },
        { "index_xinfo", PRAGMA_READ_ARG },
        { "integrity_check", PRAGMA_READ_ARG },
        { "journal_mode", PRAGMA_READ },
        { "page_count", PRAGMA_READ },
        { "page_size", PRAGMA_READ }, /* so do R-trees */
        { "quick_check", PRAGMA_READ_ARG },
        { "schema_version", PRAGMA_READ },
        { "synchronous", PRAGMA_READ },
        { "table_info", PRAGMA_READ_ARG },
        { "table_list", PRAGMA_READ_ARG },
        { "table_xinfo", PRAGMA_READ_ARG },
        { "user_version", PRAGMA_WRITE },
};

static int compare(const void *key, const void *element) {
        return strcasecmp(key, *(const char *const *) element);
}

bool allowed_function(const char *name) {
        return bsearch(name, functions, sizeof functions / sizeof functions[0], sizeof functions[0], compare) != NULL;
}

bool allowed_is_newer_function(const char *name) {
        return bsearch(name, newer_functions, sizeof newer_functions / sizeof newer_functions[0], sizeof newer_functions[0], compare) != NULL;
}

bool allowed_brief_function(const char *name) {
        return bsearch(name, brief_functions, sizeof brief_functions / sizeof brief_functions[0], sizeof brief_functions[0], compare) != NULL;
}

bool allowed_module(const char *name) {
        return bsearch(name, modules + 1, sizeof modules / sizeof modules[0] - 2, sizeof modules[0], compare) != NULL;
}

const char **allowed_modules(bool reader) { return reader ? modules : modules + 1; }

allowed_pragma allowed_pragma_of(const char *name) {
        for (size_t i = 0; i < sizeof pragmas / sizeof pragmas[0]; i++)
                if (strcasecmp(name, pragmas[i].name) == 0)
                        return pragmas[i].how;
        return PRAGMA_REFUSED;
}
