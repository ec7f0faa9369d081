#include "config/config.h"

#include <ctype.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/utsname.h>
#include <syslog.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "config/catalog.h"

/* Only --version asks for it. Weak, so that a program without a database
 * doesn't load the library for its name's sake. */
#pragma weak sqlite3_libversion

/* In order of precedence. */
typedef enum origin { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_COMMAND_LINE } origin;

typedef struct flag_value {
        char *text;
        int64_t number;
        origin from;
        uint32_t line; /* in the file */
} flag_value;

struct rq_config {
        flag_value *values; /* one for each flag of the catalog */
        char *data_dir, *run_dir;
        char http_adv_addr[RQ_ADDRESS_BYTES_MAX]; /* without -http-adv-addr */
        char api_addr[RQ_ADDRESS_BYTES_MAX + 8];
};

typedef struct loader {
        rq_config *config;
        rq_buf problem;
        const char *file; /* being read; borrowed from config */
} loader;

static size_t flag_index(const char *name) {
        size_t i = rq_flag_find(rq_bytes_text(name));
        rq_assert(i < rq_flag_count());
        return i;
}

static const flag_value *value_of(const rq_config *config, const char *name) {
        return &config->values[flag_index(name)];
}

static const char *text_of(const rq_config *config, const char *name) { return value_of(config, name)->text; }
static int64_t number_of(const rq_config *config, const char *name) { return value_of(config, name)->number; }

/* The one line that the caller shows. */
#define complain(problem, ...) (rq_buf_printf(problem, __VA_ARGS__) < 0 ? RQ_ENOMEM : RQ_ECONFIG)

/* --- values --------------------------------------------------------------- */

enum { WHERE_BYTES = PATH_MAX + 128, LINE_BYTES_MAX = 64 * 1024 };

static void environment_name(const char *name, char *out, size_t size) {
        size_t used = (size_t) snprintf(out, size, "RQ_%s", name);
        for (size_t i = 3; i < used && i + 1 < size; i++)
                out[i] = out[i] == '-' ? '_' : (char) toupper((unsigned char) out[i]);
}

static void where_text(const rq_config *config, const rq_flag *flag, origin from, uint32_t line, char *out, size_t size) {
        switch (from) {
        case ORIGIN_DEFAULT:
        case ORIGIN_COMMAND_LINE: (void) snprintf(out, size, "-%s", flag->name); break;
        case ORIGIN_ENVIRONMENT: environment_name(flag->name, out, size); break;
        case ORIGIN_FILE: (void) snprintf(out, size, "%s:%u: %s", text_of(config, "config"), line, flag->name); break;
        }
}

/* Also checks a value that a stronger origin has overruled already: a mistake
 * in the file must not show up only when a flag is taken off. */
static rq_err set_value(loader *l, size_t index, const char *text, origin from, uint32_t line) {
        const rq_flag *flag = rq_flag_at(index);
        flag_value *value = &l->config->values[index];
        char where[WHERE_BYTES], complaint[PATH_MAX + 256];
        int64_t number;

        if (rq_flag_read(flag, text, &number, complaint, sizeof complaint) < 0) {
                where_text(l->config, flag, from, line, where, sizeof where);
                return complain(&l->problem, "%s: %s", where, complaint);
        }
        if (from < value->from)
                return RQ_OK;
        char *copy = strdup(text);
        if (copy == NULL)
                return RQ_ENOMEM;
        free(value->text);
        *value = (flag_value) { .text = copy, .number = number, .from = from, .line = line };
        return RQ_OK;
}

static rq_err set_defaults(loader *l) {
        rq_err r = RQ_OK;
        for (size_t i = 0; i < rq_flag_count() && r == RQ_OK; i++) {
                r = set_value(l, i, rq_flag_at(i)->initial, ORIGIN_DEFAULT, 0);
                rq_assert(r != RQ_ECONFIG); /* the catalog would be wrong */
        }
        return r;
}

/* --- sources -------------------------------------------------------------- */

static rq_err unknown_flag(loader *l, const char *where, const char *prefix, rq_bytes name) {
        while (name.size > 0 && name.data[0] == '-')
                name = rq_bytes_of(name.data + 1, name.size - 1);
        const rq_flag *nearest = rq_flag_nearest(name);
        char wanted[64];
        if (nearest == NULL)
                return complain(&l->problem, "%s: no such flag (--help shows all)", where);
        (void) snprintf(wanted, sizeof wanted, "%s%s", prefix, nearest->name);
        if (strcmp(prefix, "RQ_") == 0)
                environment_name(nearest->name, wanted, sizeof wanted);
        return complain(&l->problem, "%s: no such flag; did you mean %s?", where, wanted);
}

/* argv[*i] is a flag; takes its value too and leaves *i at the last word used. */
static rq_err read_flag(loader *l, int argc, char **argv, int *i) {
        const char *word = argv[*i];
        const char *name = word + (word[1] == '-' ? 2 : 1);
        const char *equals = strchr(name, '=');
        size_t name_size = equals != NULL ? (size_t) (equals - name) : strlen(name);

        if (name_size == 0 || name[0] == '-')
                return complain(&l->problem, "bad flag syntax: %s", word);
        if (name_size == 1 && name[0] == 'h' && equals == NULL)
                name = "help", name_size = 4;
        size_t index = rq_flag_find(rq_bytes_of(name, name_size));
        if (index == rq_flag_count())
                return unknown_flag(l, word, "-", rq_bytes_of(name, name_size));

        const char *value = equals != NULL ? equals + 1 : "true";
        if (equals == NULL && rq_flag_at(index)->type != RQ_FLAG_BOOL) {
                if (*i + 1 >= argc)
                        return complain(&l->problem, "flag needs an argument: -%s", rq_flag_at(index)->name);
                value = argv[++*i];
        }
        return set_value(l, index, value, ORIGIN_COMMAND_LINE, 0);
}

static rq_err read_command_line(loader *l, int argc, char **argv) {
        int i = 1;
        for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
                if (strcmp(argv[i], "--") == 0) {
                        i++;
                        break;
                }
                rq_err r = read_flag(l, argc, argv, &i);
                if (r < 0)
                        return r;
        }
        if (i >= argc)
                return RQ_OK;
        if (i + 1 < argc) {
                rq_err r = complain(&l->problem, "arguments after data directory (%s) are not accepted ([", argv[i]);
                for (int k = i + 1; k < argc && r == RQ_ECONFIG; k++)
                        r = complain(&l->problem, "%s%s", argv[k], k + 1 < argc ? " " : "])");
                return r;
        }
        if (value_of(l->config, "data-dir")->from == ORIGIN_COMMAND_LINE)
                return complain(&l->problem, "data directory given twice: -data-dir %s and %s", text_of(l->config, "data-dir"), argv[i]);
        return set_value(l, flag_index("data-dir"), argv[i], ORIGIN_COMMAND_LINE, 0);
}

static bool is_no_configuration(const char *variable) {
        return strncmp(variable, "RQ_INTERNAL_", 12) == 0 || strncmp(variable, "RQ_TEST_", 8) == 0;
}

static rq_err read_environment(loader *l) {
        for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
                const char *equals = strchr(*entry, '=');
                if (strncmp(*entry, "RQ_", 3) != 0 || equals == NULL || is_no_configuration(*entry))
                        continue;
                char where[128], name[128];
                (void) snprintf(where, sizeof where, "%.*s", (int) (equals - *entry), *entry);
                (void) snprintf(name, sizeof name, "%s", where + 3);
                for (char *p = name; *p != '\0'; p++)
                        *p = *p == '_' ? '-' : (char) tolower((unsigned char) *p);

                size_t index = rq_flag_find(rq_bytes_text(name));
                if (index == rq_flag_count())
                        return unknown_flag(l, where, "RQ_", rq_bytes_text(name));
                if (rq_flag_at(index)->command_line_only)
                        return complain(&l->problem, "%s: only on the command line", where);
                rq_err r = set_value(l, index, equals + 1, ORIGIN_ENVIRONMENT, 0);
                if (r < 0)
                        return r;
        }
        return RQ_OK;
}

static char *trim(char *text) {
        while (isspace((unsigned char) *text))
                text++;
        size_t size = strlen(text);
        while (size > 0 && isspace((unsigned char) text[size - 1]))
                text[--size] = '\0';
        return text;
}

/* A '#' at the start of the line or behind a blank begins a comment. */
static void cut_comment(char *line) {
        for (char *p = line; *p != '\0'; p++)
                if (*p == '#' && (p == line || isspace((unsigned char) p[-1]))) {
                        *p = '\0';
                        return;
                }
}

static rq_err read_file_line(loader *l, char *line, uint32_t number, uint32_t *seen) {
        char where[WHERE_BYTES];
        cut_comment(line);
        line = trim(line);
        if (*line == '\0')
                return RQ_OK;

        char *equals = strchr(line, '=');
        if (equals == NULL)
                return complain(&l->problem, "%s:%u: expected 'name = value', found \"%s\"", l->file, number, line);
        *equals = '\0';
        char *name = trim(line), *value = trim(equals + 1);
        (void) snprintf(where, sizeof where, "%s:%u: %s", l->file, number, name);
        size_t index = rq_flag_find(rq_bytes_text(name));
        if (index == rq_flag_count())
                return unknown_flag(l, where, "", rq_bytes_text(name));
        if (rq_flag_at(index)->command_line_only || rq_flag_at(index)->not_in_file)
                return complain(&l->problem, "%s: not in a file", where);
        if (seen[index] != 0)
                return complain(&l->problem, "%s: is there already in line %u", where, seen[index]);
        seen[index] = number;
        return set_value(l, index, value, ORIGIN_FILE, number);
}

static void fclosep(FILE **file) {
        if (*file != NULL)
                (void) fclose(*file);
}

/* With what ends it, and a NUL behind. 0: nothing is left. LINE_BYTES_MAX: it is longer than that. */
static size_t read_line(FILE *file, char line[static LINE_BYTES_MAX + 1]) {
        size_t size = 0;
        int c = 0;
        while (size < LINE_BYTES_MAX && c != '\n' && (c = getc(file)) != EOF)
                line[size++] = (char) c;
        line[size] = '\0';
        return size;
}

static rq_err read_file(loader *l) {
        RQ_CLEANUP(fclosep) FILE *file = NULL;
        RQ_CLEANUP(rq_freep) char *line = malloc(LINE_BYTES_MAX + 1);
        RQ_CLEANUP(rq_freep) uint32_t *seen = calloc(rq_flag_count(), sizeof *seen);
        size_t size;
        rq_err r = RQ_OK;

        l->file = text_of(l->config, "config");
        if (l->file[0] == '\0')
                return RQ_OK;
        if (seen == NULL || line == NULL)
                return RQ_ENOMEM;
        file = fopen(l->file, "re");
        if (file == NULL)
                return complain(&l->problem, "cannot read configuration file %s: %s", l->file, strerror(errno));
        errno = 0;
        for (uint32_t number = 1; r == RQ_OK && (size = read_line(file, line)) > 0; number++) {
                if (strlen(line) != size)
                        return complain(&l->problem, "%s:%u: not a text file", l->file, number);
                if (size == LINE_BYTES_MAX)
                        return complain(&l->problem, "%s:%u: a line of %d bytes or more", l->file, number, LINE_BYTES_MAX);
                /* Some editors begin a text with this mark. */
                bool marked = number == 1 && strncmp(line, "\xEF\xBB\xBF", 3) == 0;
                r = read_file_line(l, marked ? line + 3 : line, number, seen);
        }
        if (r == RQ_OK && ferror(file))
                return complain(&l->problem, "cannot read configuration file %s: %s", l->file, strerror(errno));
        return r;
}

/* --- actions --------------------------------------------------------------- */

static bool has_default(const rq_config *c, size_t index) {
        const rq_flag *flag = rq_flag_at(index);
        const flag_value *value = &c->values[index];
        int64_t number = 0;
        char complaint[256];
        if (flag->type == RQ_FLAG_STRING)
                return flag->choices != NULL ? strcasecmp(value->text, flag->initial) == 0 : strcmp(value->text, flag->initial) == 0;
        if (rq_flag_read(flag, flag->initial, &number, complaint, sizeof complaint) < 0)
                rq_assert(false);
        return value->number == number;
}

/* What is not built yet is refused aloud: a flag that silently does nothing
 * (-auth!) would be worse than none. */
static rq_err check_available(const rq_config *c, rq_buf *problem) {
        char where[WHERE_BYTES];
        for (size_t i = 0; i < rq_flag_count(); i++) {
                const rq_flag *flag = rq_flag_at(i);
                where_text(c, flag, c->values[i].from, c->values[i].line, where, sizeof where);
                if (flag->status == RQ_FLAG_LATER && !has_default(c, i))
                        return complain(problem, "%s: not available yet", where);
        }
        return RQ_OK;
}

/* Absolute, without "//", "/./" and a last '/'; ".." stays, a link may be before it. */
static rq_err absolute_path(const char *path, char **ret_path, rq_buf *problem) {
        RQ_CLEANUP(rq_freep) char *base = NULL;
        RQ_CLEANUP(rq_freep) char *joined = NULL;
        if (path[0] != '/') {
                base = getcwd(NULL, 0);
                if (base == NULL)
                        return complain(problem, "%s: the current directory is unknown: %s", path, strerror(errno));
        }
        if (asprintf(&joined, "%s/%s", base != NULL ? base : "", path) < 0) {
                joined = NULL;
                return RQ_ENOMEM;
        }

        char *out = joined;
        for (const char *p = joined; *p != '\0';) {
                size_t size = strcspn(p + 1, "/") + 1; /* "/part" */
                if (size > 1 && !(size == 2 && p[1] == '.')) {
                        memmove(out, p, size);
                        out += size;
                }
                p += size;
        }
        if (out == joined)
                *out++ = '/';
        *out = '\0';
        *ret_path = RQ_TAKE(joined, NULL);
        return RQ_OK;
}

static rq_err derive_folders(rq_config *config, rq_buf *problem) {
        RQ_CLEANUP(rq_freep) char *data_dir = strdup(text_of(config, "data-dir"));
        if (data_dir == NULL)
                return RQ_ENOMEM;
        const char *trimmed = trim(data_dir), *run_dir = text_of(config, "run-dir");
        if (trimmed[0] == '\0')
                return complain(problem, "data directory path is required");

        rq_err r = absolute_path(trimmed, &config->data_dir, problem);
        if (r == RQ_OK && run_dir[0] != '\0')
                r = absolute_path(run_dir, &config->run_dir, problem);
        else if (r == RQ_OK && asprintf(&config->run_dir, "%s/run", config->data_dir) < 0) {
                config->run_dir = NULL;
                r = RQ_ENOMEM;
        }
        return r;
}

/* What clients are told to call can't be a socket of this machine. */
static void derive_http_adv_addr(rq_config *config) {
        char address[RQ_ADDRESS_BYTES_MAX];
        const char *path;
        for (size_t at = 0; rq_address_next(text_of(config, "http-addr"), &at, address);)
                if (!rq_address_is_unix(address, &path)) {
                        (void) strcpy(config->http_adv_addr, address);
                        break;
                }
        (void) snprintf(config->api_addr, sizeof config->api_addr, "%s%s", text_of(config, "http-cert")[0] != '\0' ? "https://" : "",
                        rq_config_http_adv_addr(config));
}

/* The value that counts: a default that depends on other flags is filled in. */
static const char *effective_text(const rq_config *c, const char *name) {
        if (strcmp(name, "data-dir") == 0 && c->data_dir != NULL)
                return c->data_dir;
        if (strcmp(name, "run-dir") == 0 && c->run_dir != NULL)
                return c->run_dir;
        if (strcmp(name, "node-id") == 0)
                return rq_config_node_id(c);
        if (strcmp(name, "http-adv-addr") == 0)
                return rq_config_http_adv_addr(c);
        if (strcmp(name, "raft-adv-addr") == 0)
                return rq_config_raft_adv_addr(c);
        return text_of(c, name);
}

/* A file that -config takes, as far as nothing is secret. */
static void print_config(const rq_config *c) {
        for (size_t i = 0; i < rq_flag_count(); i++) {
                const rq_flag *flag = rq_flag_at(i);
                const flag_value *value = &c->values[i];
                char variable[128];
                if (flag->command_line_only)
                        continue;
                const char *text = effective_text(c, flag->name);
                if (flag->secret && text[0] != '\0')
                        text = "(not shown)";
                (void) printf("%s%s = %s  # ", flag->not_in_file ? "# " : "", flag->name, text);
                switch (value->from) {
                case ORIGIN_DEFAULT: (void) printf("default"); break;
                case ORIGIN_FILE: (void) printf("%s:%u", text_of(c, "config"), value->line); break;
                case ORIGIN_ENVIRONMENT:
                        environment_name(flag->name, variable, sizeof variable);
                        (void) printf("%s in the environment", variable);
                        break;
                case ORIGIN_COMMAND_LINE: (void) printf("command line"); break;
                }
                (void) printf("%s\n", flag->status == RQ_FLAG_NO_EFFECT ? " [no effect yet]" : "");
        }
}

static void print_version(const char *program) {
        struct utsname system = {0};
        (void) uname(&system);
        (void) printf("%s %s %s %s", program, RQ_VERSION, system.sysname, system.machine);
        if (sqlite3_libversion != NULL)
                (void) printf(" sqlite%s", sqlite3_libversion());
#ifdef __clang__
        (void) printf(" (compiler %s)\n", __VERSION__);
#else
        (void) printf(" (compiler gcc %s)\n", __VERSION__);
#endif
}

/* A service shows the flags it uses, the launcher all: it passes them on. */
static uint32_t flags_of_program(const char *program) {
        static const struct { const char *program; uint32_t user; } users[] = {
                { "rq-gateway", RQ_USED_GATEWAY }, { "rq-consensus", RQ_USED_CONSENSUS }, { "rq-store", RQ_USED_STORE },
        };
        for (size_t i = 0; i < sizeof users / sizeof users[0]; i++)
                if (strcmp(program, users[i].program) == 0)
                        return users[i].user;
        return 0;
}

static void print_help(const char *program) {
        uint32_t users = flags_of_program(program);
        (void) printf("Usage: %s [flags] DATA_DIR\n", program);
        if (strcmp(program, "rqd") == 0)
                (void) printf("       rqd doctor [--json] [--quick] [flags] [DATA_DIR]    check the host and the node\n"
                              "       rqd recover [--yes] DATA_DIR    go on with this node alone when a majority is lost for good\n"
                              "       rqd help, rqd version\n");
        (void) printf("\n"
                      "Every flag can also stand in a file (-config FILE: 'http-addr = localhost:4001') or in the\n"
                      "environment (RQ_HTTP_ADDR). The command line counts more than the environment, and that more\n"
                      "than the file. Times are written 300ms, 5s, 1h30m; sizes 4096, 512KiB, 64MiB.\n");
        if (users != 0)
                (void) printf("All programs of a node take the same flags; these are the ones that %s uses.\n", program);
        rq_flag_print_help(stdout, users);
}

/* Everything is read and checked, or an action that needs no more was printed. */
static rq_err load(loader *l, const char *program, int argc, char **argv, rq_config_action *ret_action) {
        rq_config *c = l->config;
        rq_err r = set_defaults(l);
        if (r == RQ_OK)
                r = read_command_line(l, argc, argv);
        if (r == RQ_OK && (number_of(c, "help") != 0 || number_of(c, "version") != 0)) {
                if (number_of(c, "help") != 0)
                        print_help(program);
                else
                        print_version(program);
                *ret_action = RQ_CONFIG_DONE;
                return RQ_OK;
        }
        if (r == RQ_OK)
                r = read_environment(l);
        if (r == RQ_OK)
                r = read_file(l);
        if (r == RQ_OK)
                r = derive_folders(c, &l->problem);
        derive_http_adv_addr(c);
        if (r == RQ_OK)
                r = rq_flag_rules(c, &l->problem);
        if (r == RQ_OK)
                r = check_available(c, &l->problem);
        if (r < 0)
                return r;

        *ret_action = RQ_CONFIG_RUN;
        if (number_of(c, "print-config") != 0) {
                print_config(c);
                *ret_action = RQ_CONFIG_DONE;
        } else if (number_of(c, "check-config") != 0) {
                *ret_action = RQ_CONFIG_CHECK;
        }
        return RQ_OK;
}

static void config_freep(rq_config **config) { *config = rq_config_free(*config); }

rq_err rq_config_load(const char *program, int argc, char **argv,
                      rq_config **ret_config, rq_config_action *ret_action, rq_buf *ret_problem) {
        RQ_CLEANUP(config_freep) rq_config *config = calloc(1, sizeof *config);
        if (config == NULL)
                return RQ_ENOMEM;
        config->values = calloc(rq_flag_count(), sizeof *config->values);
        if (config->values == NULL)
                return RQ_ENOMEM;

        loader l = { .config = config };
        rq_config_action action = RQ_CONFIG_RUN;
        rq_err r = load(&l, program, argc, argv, &action);
        if (r == RQ_OK) {
                *ret_action = action;
                *ret_config = action != RQ_CONFIG_DONE ? RQ_TAKE(config, NULL) : NULL;
                (void) fflush(stdout);
        } else if (r == RQ_ECONFIG) {
                *ret_problem = RQ_TAKE(l.problem, (rq_buf) {0});
        }
        rq_buf_done(&l.problem);
        return r;
}

rq_config *rq_config_free(rq_config *config) {
        if (config == NULL)
                return NULL;
        for (size_t i = 0; config->values != NULL && i < rq_flag_count(); i++)
                free(config->values[i].text);
        free(config->values);
        free(config->data_dir);
        free(config->run_dir);
        free(config);
        return NULL;
}

/* --- values for the programs ----------------------------------------------- */

static const flag_value *typed(const rq_config *config, const char *name, rq_flag_type type) {
        size_t i = flag_index(name);
        rq_assert(rq_flag_at(i)->type == type || (type == RQ_FLAG_INT && rq_flag_at(i)->type == RQ_FLAG_SIZE));
        return &config->values[i];
}

const char *rq_config_string(const rq_config *config, const char *name) { return typed(config, name, RQ_FLAG_STRING)->text; }
bool rq_config_bool(const rq_config *config, const char *name) { return typed(config, name, RQ_FLAG_BOOL)->number != 0; }
int64_t rq_config_int(const rq_config *config, const char *name) { return typed(config, name, RQ_FLAG_INT)->number; }

int64_t rq_config_duration_us(const rq_config *config, const char *name) {
        return typed(config, name, RQ_FLAG_DURATION)->number / 1000;
}

rq_raft_times rq_config_raft_times(const rq_config *config) {
        uint64_t heartbeat_us = (uint64_t) rq_config_duration_us(config, "raft-commit-timeout");
        uint64_t election_us = (uint64_t) rq_config_duration_us(config, "raft-heartbeat-timeout");
        uint64_t lease_us = (uint64_t) rq_config_duration_us(config, "raft-leader-lease-timeout");
        if (lease_us == 0)
                lease_us = election_us / 4 * 3;
        return (rq_raft_times) {
                .heartbeat_us = heartbeat_us < election_us / 5 ? heartbeat_us : election_us / 5,
                .election_us = election_us,
                .lease_us = lease_us < election_us / 10 * 9 ? lease_us : election_us / 10 * 9,
        };
}

bool rq_config_is_set(const rq_config *config, const char *name) {
        return value_of(config, name)->from != ORIGIN_DEFAULT;
}

rq_err rq_config_without_effect(const rq_config *config, const char *program, rq_buf *ret_names) {
        uint32_t users = flags_of_program(program);
        RQ_CLEANUP(rq_buf_done) rq_buf names = {0};
        rq_err r = RQ_OK;
        for (size_t i = 0; i < rq_flag_count() && r >= 0; i++) {
                const rq_flag *flag = rq_flag_at(i);
                if (flag->status == RQ_FLAG_NO_EFFECT && (users == 0 || (flag->used_by & users) != 0) && !has_default(config, i))
                        r = rq_buf_printf(&names, "%s-%s", names.size > 0 ? ", " : "", flag->name);
        }
        if (r >= 0)
                *ret_names = RQ_TAKE(names, (rq_buf) {0});
        return r;
}

static bool is_file(const rq_flag *flag) { return flag->value != NULL && (strcmp(flag->value, "FILE") == 0 || strcmp(flag->value, "PATHS") == 0); }

bool rq_config_names_files(const rq_config *config) {
        for (size_t i = 0; i < rq_flag_count(); i++) {
                const rq_flag *flag = rq_flag_at(i);
                if (is_file(flag) && flag->status == RQ_FLAG_AVAILABLE && !flag->not_in_file && config->values[i].text[0] != '\0')
                        return true;
        }
        return false;
}

static bool fits_a_line(const char *text) { return strpbrk(text, "#\r\n") == NULL && !isspace((unsigned char) text[0]); }

/* A file, whose name may have a comma, or several, with commas. Appends. */
static rq_err append_paths(const rq_flag *flag, const char *list, rq_buf *text, rq_buf *problem) {
        const char *separator = strcmp(flag->value, "PATHS") == 0 ? "," : "";
        RQ_CLEANUP(rq_freep) char *copy = strdup(list);
        rq_err r = copy != NULL ? RQ_OK : RQ_ENOMEM;
        const char *one, *comma = "";
        for (char *rest = copy; r >= 0 && (one = strsep(&rest, separator)) != NULL; comma = ",") {
                RQ_CLEANUP(rq_freep) char *path = NULL;
                if (one[0] != '\0')
                        r = absolute_path(one, &path, problem);
                if (r >= 0)
                        r = rq_buf_printf(text, "%s%s", comma, path != NULL ? path : "");
        }
        return r;
}

rq_err rq_config_text(const rq_config *config, rq_buf *text) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        rq_err r = RQ_OK;
        for (size_t i = 0; i < rq_flag_count() && r >= 0; i++) {
                const rq_flag *flag = rq_flag_at(i);
                const char *value = config->values[i].text;
                bool place = strcmp(flag->name, "data-dir") == 0 || strcmp(flag->name, "run-dir") == 0;
                if (place || flag->command_line_only || flag->not_in_file || flag->secret || has_default(config, i) || !fits_a_line(value))
                        continue;
                r = rq_buf_printf(text, "%s = ", flag->name);
                if (r >= 0 && is_file(flag))
                        r = append_paths(flag, value, text, &problem);
                else if (r >= 0)
                        r = rq_buf_append_text(text, value);
                if (r >= 0)
                        r = rq_buf_append_text(text, "\n");
        }
        return r;
}

int rq_config_log_level(const rq_config *config) {
        static const struct { const char *name; int priority; } levels[] = {
                { "error", LOG_ERR }, { "warning", LOG_WARNING }, { "notice", LOG_NOTICE },
                { "info", LOG_INFO }, { "debug", LOG_DEBUG },
        };
        for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
                if (strcasecmp(text_of(config, "log-level"), levels[i].name) == 0)
                        return levels[i].priority;
        rq_assert(false); /* the catalog lets nothing else pass */
        return LOG_INFO;
}

static const char *first_given(const rq_config *config, const char *name, const char *otherwise) {
        const char *text = text_of(config, name);
        return text[0] != '\0' ? text : text_of(config, otherwise);
}

const char *rq_config_data_dir(const rq_config *config) { return config->data_dir; }
const char *rq_config_run_dir(const rq_config *config) { return config->run_dir; }
const char *rq_config_http_adv_addr(const rq_config *config) {
        const char *given = text_of(config, "http-adv-addr");
        return given[0] != '\0' ? given : config->http_adv_addr;
}
const char *rq_config_api_addr(const rq_config *config) { return config->api_addr; }
const char *rq_config_raft_adv_addr(const rq_config *config) { return first_given(config, "raft-adv-addr", "raft-addr"); }

const char *rq_config_node_id(const rq_config *config) {
        const char *id = text_of(config, "node-id");
        return id[0] != '\0' ? id : rq_config_raft_adv_addr(config);
}
