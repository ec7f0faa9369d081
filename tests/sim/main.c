/* rq-sim: runs seeds of the simulator. docs/simulator.md. */
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "world.h"

typedef struct options {
        uint64_t first, last;
        bool forever, trace, twice, quiet;
        world_options world;
        bool all_modes;
        unsigned lines;
        uint64_t seconds;
} options;

static const char *const mode_names[] = { [WORLD_CALM] = "calm", [WORLD_FAULTS] = "faults", [WORLD_WILD] = "wild",
        [WORLD_DUEL] = "duel" };

/* Of the seed that is running: for the report when an assertion fails. */
static world_options current;
static unsigned lines_of_report = 40;

static void print_replay(const world_options *o) {
        (void) fprintf(stderr, "replay: rq-sim --seed %" PRIu64 " --mode %s --steps %" PRIu64 " --nodes ", o->seed,
                       mode_names[o->mode], o->steps);
        (void) (o->nodes == 0 ? fprintf(stderr, "random") : fprintf(stderr, "%u", o->nodes));
        (void) fprintf(stderr, " --trace\n");
}

static void on_crash(int number) {
        (void) signal(number, SIG_DFL);
        (void) fflush(stdout);
        (void) fprintf(stderr, "seed %" PRIu64 " failed: %s\n", current.seed, number == SIGABRT ? "assertion"
                       : strsignal(number));
        world_print_last(stderr, lines_of_report);
        print_replay(&current);
        _exit(1);
}

static int usage(void) {
        (void) fprintf(stderr,
                       "usage: rq-sim [--seed N | --seeds A-B | --forever [--from N]] [--mode faults|wild|duel|calm|all]\n"
                       "              [--nodes 3|5|random] [--steps N] [--seconds N] [--trace] [--twice]\n"
                       "              [--last LINES]\n");
        return 2;
}

static bool parse_number(const char *text, uint64_t *ret_value) {
        char *end;
        if (text == NULL || *text < '0' || *text > '9')
                return false;
        *ret_value = strtoull(text, &end, 10);
        return *end == '\0';
}

static bool parse_mode(const char *text, options *o) {
        o->all_modes = text != NULL && strcmp(text, "all") == 0;
        for (int i = WORLD_CALM; i <= WORLD_DUEL && text != NULL; i++)
                if (strcmp(text, mode_names[i]) == 0) {
                        o->world.mode = (world_mode) i;
                        return true;
                }
        return o->all_modes;
}

static bool parse_seeds(const char *text, options *o) {
        char *end;
        if (text == NULL)
                return false;
        o->first = strtoull(text, &end, 10);
        return *end == '-' && parse_number(end + 1, &o->last) && o->first <= o->last;
}

static bool parse_nodes(const char *text, options *o) {
        uint64_t value = 0;
        if (text == NULL || (strcmp(text, "random") != 0 && (!parse_number(text, &value) || value == 0 || value > 7)))
                return false;
        o->world.nodes = (unsigned) value;
        return true;
}

static bool parse(int argc, char **argv, options *o) {
        for (int i = 1; i < argc; i++) {
                const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
                uint64_t number = 0;
                bool takes_value = true, ok;
                if (strcmp(name, "--seed") == 0) {
                        ok = parse_number(value, &o->first);
                        o->last = o->first;
                } else if (strcmp(name, "--seeds") == 0) {
                        ok = parse_seeds(value, o);
                } else if (strcmp(name, "--from") == 0) {
                        ok = parse_number(value, &o->first);
                } else if (strcmp(name, "--mode") == 0) {
                        ok = parse_mode(value, o);
                } else if (strcmp(name, "--nodes") == 0) {
                        ok = parse_nodes(value, o);
                } else if (strcmp(name, "--steps") == 0) {
                        ok = parse_number(value, &o->world.steps);
                } else if (strcmp(name, "--seconds") == 0) {
                        ok = parse_number(value, &o->seconds);
                } else if (strcmp(name, "--last") == 0) {
                        ok = parse_number(value, &number);
                        o->lines = (unsigned) number;
                } else {
                        takes_value = false;
                        ok = true;
                        if (strcmp(name, "--forever") == 0)
                                o->forever = true;
                        else if (strcmp(name, "--trace") == 0)
                                o->trace = true;
                        else if (strcmp(name, "--twice") == 0)
                                o->twice = true;
                        else
                                ok = false;
                }
                if (!ok)
                        return false;
                i += takes_value;
        }
        if (o->forever)
                o->last = UINT64_MAX;
        return true;
}

static double now_s(void) {
        struct timespec t;
        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static bool run_one(const options *o, const world_options *world_o, world_result *ret) {
        current = *world_o;
        *ret = world_run(world_o, o->lines);
        if (!ret->failed && o->twice) {
                world_result again = world_run(world_o, o->lines);
                if (again.hash != ret->hash || again.steps != ret->steps) {
                        ret->failed = true;
                        (void) snprintf(ret->failure, sizeof ret->failure,
                                        "determinism: the same seed did something else the second time");
                }
        }
        /* What no fault excuses. */
        if (!ret->failed && world_o->mode == WORLD_CALM && ret->late_leaders > 0) {
                ret->failed = true;
                (void) snprintf(ret->failure, sizeof ret->failure,
                                "calm: %" PRIu64 " leaders more although nothing went wrong", ret->late_leaders);
        }
        if (!ret->failed)
                return true;
        (void) fprintf(stderr, "seed %" PRIu64 " (%s) failed after %" PRIu64 " steps: %s\n", world_o->seed,
                       mode_names[world_o->mode], ret->steps, ret->failure);
        print_replay(world_o);
        return false;
}

typedef struct totals { uint64_t seeds, steps, virtual_us, leaders, messages, writes, reads, committed,
        restarts, installs, rebases, with_snapshots; } totals;

static void print_totals(const totals *t, double seconds) {
        (void) printf("%" PRIu64 " seeds in %.1f s (%.0f/s), %.1f M steps, %.0f s of virtual time: ", t->seeds, seconds,
                      (double) t->seeds / seconds, (double) t->steps / 1e6, (double) t->virtual_us / 1e6);
        (void) printf("%" PRIu64 " leaders, %" PRIu64 " starts, %" PRIu64 " writes and %" PRIu64 " reads asked, %" PRIu64
                      " entries committed, %.1f messages an entry, %" PRIu64 " snapshots installed (%" PRIu64 " logs begun anew) in %" PRIu64 " seeds\n", t->leaders, t->restarts, t->writes, t->reads,
                      t->committed, (double) t->messages / (double) (t->committed + 1), t->installs, t->rebases, t->with_snapshots);
        (void) fflush(stdout);
}

static void count(totals *t, const world_result *r) {
        t->seeds++;
        t->steps += r->steps;
        t->virtual_us += r->virtual_us;
        t->leaders += r->leader_changes;
        t->messages += r->messages;
        t->writes += r->writes;
        t->reads += r->reads;
        t->committed += r->committed;
        t->restarts += r->restarts;
        t->installs += r->installs;
        t->rebases += r->rebases;
        t->with_snapshots += r->installs > 0;
}

/* A tenth calm, a fifth duels, the rest halves. */
static world_mode mode_of_seed(uint64_t seed) {
        static const world_mode modes[] = { WORLD_CALM, WORLD_WILD, WORLD_FAULTS, WORLD_WILD, WORLD_FAULTS, WORLD_DUEL, WORLD_FAULTS,
                WORLD_DUEL, WORLD_FAULTS, WORLD_WILD };
        return modes[seed % 10];
}

int main(int argc, char **argv) {
        options o = { .first = 1, .last = 100, .world = { .steps = 20000, .mode = WORLD_FAULTS }, .lines = 40 };
        if (!parse(argc, argv, &o))
                return usage();
        lines_of_report = o.lines;
        (void) signal(SIGABRT, on_crash);
        (void) signal(SIGSEGV, on_crash);
        /* Large blocks of which little is touched: always straight from the kernel. */
        (void) mallopt(M_MMAP_THRESHOLD, 256 * 1024);

        totals t = {0};
        double start = now_s(), told = start;
        for (uint64_t seed = o.first; seed <= o.last; seed++) {
                world_options one = o.world;
                world_result result;
                one.seed = seed;
                if (o.all_modes)
                        one.mode = mode_of_seed(seed);
                if (o.trace)
                        one.trace_out = stdout;
                if (!run_one(&o, &one, &result))
                        return 1;
                count(&t, &result);
                if (o.first == o.last)
                        (void) fprintf(o.trace ? stderr : stdout, "seed %" PRIu64 ": trace hash %016" PRIx64 "\n", seed,
                                       result.hash);
                double now = now_s();
                if (o.seconds > 0 && now - start >= (double) o.seconds)
                        break;
                if (o.forever && now - told > 600) {
                        print_totals(&t, now - start);
                        told = now;
                }
        }
        if (!o.trace)
                print_totals(&t, now_s() - start);
        return 0;
}
