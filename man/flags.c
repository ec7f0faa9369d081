/* rq-flags: the catalog of flags in the forms that a build needs: as a part of a
 * man page, and as completions of bash and zsh. Not installed.
 *
 *   rq-flags man PROGRAM IN OUT    a page: those that PROGRAM uses
 *   rq-flags bash|zsh - IN OUT     completions
 *
 * OUT is IN with the flags in the place of the line @FLAGS@.
 *
 *   rq-flags list                  name TAB default TAB program...; for tests */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/catalog.h"

static const struct { const char *name; uint32_t user; } programs[] = {
        { "rqd", 0 }, { "rq-consensus", RQ_USED_CONSENSUS }, { "rq-store", RQ_USED_STORE }, { "rq-gateway", RQ_USED_GATEWAY },
};
enum { PROGRAM_COUNT = sizeof programs / sizeof programs[0] };

/* rqd passes all flags on. */
static bool uses(size_t program, const rq_flag *flag) {
        return programs[program].user == 0 || (flag->used_by & programs[program].user) != 0;
}

static bool is_action(const rq_flag *flag) { return flag->group == RQ_GROUP_ACTIONS; }

/* --- man pages ----------------------------------------------------------------- */

/* A sentence. A backslash would begin an escape. */
static void put_sentence(const char *text) {
        (void) putchar(toupper((unsigned char) text[0]));
        for (text++; *text != '\0'; text++) {
                if (*text == '\\')
                        (void) fputs("\\e", stdout);
                else
                        (void) putchar(*text);
        }
        (void) fputs(".\n", stdout);
}

static void put_limit(const rq_flag *flag, int64_t number, const char *word) {
        static const struct { const char *suffix; int64_t unit; } sizes[] = { { "GiB", 1 << 30 }, { "MiB", 1 << 20 }, { "KiB", 1 << 10 }, { "", 1 } };
        char text[32];
        size_t i = 0;
        if (flag->type == RQ_FLAG_DURATION) {
                (void) printf("%s %s.\n", word, rq_duration_text(number, text, sizeof text));
                return;
        }
        while (flag->type == RQ_FLAG_SIZE ? number % sizes[i].unit != 0 : sizes[i].unit != 1)
                i++;
        (void) printf("%s %lld%s.\n", word, (long long) (number / sizes[i].unit), sizes[i].suffix);
}

static void put_man(size_t program) {
        for (rq_flag_group group = 0; group < RQ_GROUP_COUNT; group++) {
                bool titled = false;
                for (size_t i = 0; i < rq_flag_count(); i++) {
                        const rq_flag *flag = rq_flag_at(i);
                        if (flag->group != group || !uses(program, flag))
                                continue;
                        if (!titled)
                                (void) printf(".Ss %s\n.Bl -tag -width Ds\n", rq_flag_group_title(group));
                        titled = true;
                        (void) printf(".It Fl %s%s%s%s\n", is_action(flag) ? "-" : "", flag->name,
                                      flag->value != NULL ? " Ar " : "", flag->value != NULL ? flag->value : "");
                        put_sentence(flag->help);
                        if (flag->initial[0] != '\0' && !is_action(flag))
                                (void) printf("Default: %s.\n", flag->initial);
                        if (flag->min > 0)
                                put_limit(flag, flag->min, flag->zero_off ? "0, or at least" : "At least");
                        if (flag->max > 0)
                                put_limit(flag, flag->max, "At most");
                        if (flag->status == RQ_FLAG_LATER)
                                (void) puts("Not available yet.");
                        if (flag->status == RQ_FLAG_IGNORED)
                                (void) puts("Accepted and ignored.");
                        if (flag->status == RQ_FLAG_NO_EFFECT)
                                (void) puts("Checked, but without effect yet.");
                }
                if (titled)
                        (void) puts(".El");
        }
}

/* --- completions ---------------------------------------------------------------- */

typedef enum value_kind { VALUE_NONE, VALUE_FILE, VALUE_FOLDER, VALUE_CHOICE, VALUE_FREE } value_kind;

static value_kind kind_of(const rq_flag *flag) {
        if (flag->type == RQ_FLAG_BOOL)
                return VALUE_NONE;
        if (flag->choices != NULL)
                return VALUE_CHOICE;
        if (strcmp(flag->value, "FILE") == 0)
                return VALUE_FILE;
        return strcmp(flag->value, "DIR") == 0 ? VALUE_FOLDER : VALUE_FREE;
}

static void put_choices(const char *choices, char between) {
        for (; *choices != '\0'; choices++)
                (void) putchar(*choices == '|' ? between : *choices);
}

/* An arm of a case for each way to complete a value; then a list of flags for
 * each program. What is not available yet is not offered. */
static void put_bash(void) {
        static const struct { value_kind kind; const char *arm; } arms[] = {
                { VALUE_FILE, "_rq_files -f" }, { VALUE_FOLDER, "_rq_files -d" }, { VALUE_FREE, ":" },
        };
        (void) puts("_rq_value() {\n  case $1 in");
        for (size_t a = 0; a < sizeof arms / sizeof arms[0]; a++) {
                const char *between = "    ";
                for (size_t i = 0; i < rq_flag_count(); i++)
                        if (kind_of(rq_flag_at(i)) == arms[a].kind) {
                                (void) printf("%s%s", between, rq_flag_at(i)->name);
                                between = "|";
                        }
                (void) printf(") %s ;;\n", arms[a].arm);
        }
        for (size_t i = 0; i < rq_flag_count(); i++)
                if (kind_of(rq_flag_at(i)) == VALUE_CHOICE) {
                        (void) printf("    %s) _rq_words '", rq_flag_at(i)->name);
                        put_choices(rq_flag_at(i)->choices, ' ');
                        (void) puts("' ;;");
                }
        (void) puts("    *) return 1 ;;\n  esac\n}\n\n_rq_flags() {\n  case $1 in");
        for (size_t p = 0; p < PROGRAM_COUNT; p++) {
                (void) printf("    %s) echo '", programs[p].name);
                for (size_t i = 0; i < rq_flag_count(); i++) {
                        const rq_flag *flag = rq_flag_at(i);
                        if (uses(p, flag) && flag->status != RQ_FLAG_LATER)
                                (void) printf(" %s%s", is_action(flag) ? "--" : "-", flag->name);
                }
                (void) puts("' ;;");
        }
        (void) puts("  esac\n}");
}

/* Within '[...]' of a spec, in single quotes. */
static void put_zsh_text(const char *text) {
        for (; *text != '\0'; text++) {
                if (*text == '\'')
                        (void) fputs("'\\''", stdout);
                else if (strchr("[]:\\", *text) != NULL)
                        (void) printf("\\%c", *text);
                else
                        (void) putchar(*text);
        }
}

static void put_zsh(void) {
        static const char *const actions[] = { [VALUE_FILE] = "_files", [VALUE_FOLDER] = "_files -/", [VALUE_FREE] = " " };
        for (size_t p = 0; p < PROGRAM_COUNT; p++) {
                (void) printf("  %s) flags=(\n", programs[p].name);
                for (size_t i = 0; i < rq_flag_count(); i++) {
                        const rq_flag *flag = rq_flag_at(i);
                        value_kind kind = kind_of(flag);
                        if (!uses(p, flag) || flag->status == RQ_FLAG_LATER)
                                continue;
                        (void) printf("    '%s%s%s[", is_action(flag) ? "--" : "-", flag->name, kind == VALUE_NONE ? "" : "=");
                        put_zsh_text(flag->help);
                        (void) putchar(']');
                        if (kind != VALUE_NONE) {
                                (void) putchar(':');
                                put_zsh_text(flag->value);
                                (void) putchar(':');
                        }
                        if (kind == VALUE_CHOICE) {
                                (void) putchar('(');
                                put_choices(flag->choices, ' ');
                                (void) putchar(')');
                        } else if (kind != VALUE_NONE) {
                                (void) fputs(actions[kind], stdout);
                        }
                        (void) puts("'");
                }
                (void) puts("  ) ;;");
        }
}

static void put_list(void) {
        for (size_t i = 0; i < rq_flag_count(); i++) {
                const rq_flag *flag = rq_flag_at(i);
                (void) printf("%s\t%s\t", flag->name, is_action(flag) ? "" : flag->initial);
                for (size_t p = 0; p < PROGRAM_COUNT; p++)
                        if (uses(p, flag))
                                (void) printf("%s ", programs[p].name);
                (void) puts("");
        }
}

/* --- the whole file --------------------------------------------------------------- */

static int fill(const char *form, size_t program) {
        char *line = NULL;
        size_t capacity = 0;
        bool found = false;
        while (getline(&line, &capacity, stdin) >= 0) {
                if (strcmp(line, "@FLAGS@\n") != 0) {
                        (void) fputs(line, stdout);
                        continue;
                }
                found = true;
                if (strcmp(form, "man") == 0)
                        put_man(program);
                else if (strcmp(form, "bash") == 0)
                        put_bash();
                else
                        put_zsh();
        }
        free(line);
        if (!found && strcmp(form, "man") != 0) /* not every page has flags */
                (void) fprintf(stderr, "rq-flags: no line @FLAGS@ in the input\n");
        return found || strcmp(form, "man") == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
        size_t program = 0;
        if (argc == 2 && strcmp(argv[1], "list") == 0) {
                put_list();
                return EXIT_SUCCESS;
        }
        if (argc != 5 || (strcmp(argv[1], "man") != 0 && strcmp(argv[1], "bash") != 0 && strcmp(argv[1], "zsh") != 0)) {
                (void) fprintf(stderr, "Usage: rq-flags man PROGRAM IN OUT | bash - IN OUT | zsh - IN OUT | list\n");
                return EXIT_FAILURE;
        }
        while (program < PROGRAM_COUNT && strcmp(argv[2], programs[program].name) != 0)
                program++;
        if (freopen(argv[3], "r", stdin) == NULL || freopen(argv[4], "w", stdout) == NULL) {
                perror(argv[3]);
                return EXIT_FAILURE;
        }
        int exit_code = fill(argv[1], program < PROGRAM_COUNT ? program : 0);
        return fflush(stdout) == 0 ? exit_code : EXIT_FAILURE;
}
