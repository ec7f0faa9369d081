#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/timex.h>

#include "base/clock.h"
#include "core/judge.h"
#include "io/checks.h"

static void check_clock(findings *f) {
        static const char check[] = "clock";
        struct timex t = {0}; /* modes 0: only reads */
        int state = adjtimex(&t);
        int64_t error_us = t.maxerror;
        if (rq_clock_wall_us() < UINT64_C(1700000000000000)) {
                finding_remedy(findings_add(f, check, FINDING_CRITICAL, "the clock is years behind"), "set it, and keep it set (timedatectl set-ntp true)");
                return;
        }
        if (state < 0) {
                (void) findings_add(f, check, FINDING_UNKNOWN, "the kernel doesn't tell whether the clock is kept: %s", strerror(errno));
                return;
        }
        if ((t.status & STA_UNSYNC) != 0 || state == TIME_ERROR) {
                finding *found = findings_add(f, check, FINDING_WARNING, "nothing keeps the clock: it isn't synchronised");
                finding_remedy(found, "run chronyd or systemd-timesyncd (timedatectl set-ntp true), in a container: on its host; "
                                      "entries carry the time of their leader");
                return;
        }
        finding *found = findings_add(f, check, error_us > 1000000 ? FINDING_WARNING : FINDING_OK, "the clock is synchronised, to %" PRId64 " ms at worst",
                                      error_us / 1000);
        finding_value(found, "error_us", error_us);
}

static void check_limits(findings *f) {
        static const char check[] = "limits";
        struct rlimit files;
        if (getrlimit(RLIMIT_NOFILE, &files) < 0)
                return;
        finding_state state = judge_open_files(files.rlim_max);
        finding *found = findings_add(f, check, state, "a process started from here may open %llu files", (unsigned long long) files.rlim_max);
        finding_value(found, "open_files", (int64_t) (files.rlim_max > INT64_MAX ? INT64_MAX : files.rlim_max));
        if (state != FINDING_OK)
                finding_remedy(found, "each client takes one: raise the hard limit (LimitNOFILE= of the unit, ulimit -Hn)");
}

/* False: it can't be read; in a sandbox, say. */
static bool read_sysctl(const char *path, long long *ret_value) {
        char text[64];
        FILE *file = fopen(path, "re");
        if (file == NULL)
                return false;
        bool got = fgets(text, sizeof text, file) != NULL;
        (void) fclose(file);
        *ret_value = got ? strtoll(text, NULL, 10) : 0;
        return got;
}

static void check_sysctls(findings *f) {
        static const char check[] = "sysctl";
        static const struct { const char *path, *name; long long min, max; const char *why; } rules[] = {
                { "/proc/sys/vm/overcommit_memory", "vm.overcommit_memory", 0, 1,
                  "memory is refused although there is some: the store stops applying then" },
                { "/proc/sys/net/core/somaxconn", "net.core.somaxconn", 512, 0, "many clients that connect at once are turned away" },
                { "/proc/sys/vm/swappiness", "vm.swappiness", 0, 100, "services that are swapped out look hung" },
                { "/proc/sys/fs/file-max", "fs.file-max", 65536, 0, "the whole machine may open few files" },
        };
        size_t fine = 0;
        for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
                long long value;
                if (!read_sysctl(rules[i].path, &value))
                        continue;
                if (value >= rules[i].min && (rules[i].max == 0 || value <= rules[i].max)) {
                        fine++;
                        continue;
                }
                finding *found = findings_add(f, check, FINDING_WARNING, "%s is %lld: %s", rules[i].name, value, rules[i].why);
                finding_remedy(found, "sysctl -w %s=%lld, and the same in /etc/sysctl.d/", rules[i].name, rules[i].min);
        }
        if (fine > 0)
                (void) findings_add(f, check, FINDING_OK, "%zu settings of the kernel are fine", fine);
}

static void check_memory(findings *f, const rq_config *config) {
        static const char check[] = "memory";
        struct sysinfo info;
        if (sysinfo(&info) < 0)
                return;
        uint64_t total = (uint64_t) info.totalram * info.mem_unit, reads = (uint64_t) rq_config_int(config, "max-read-memory");
        finding *found = findings_add(f, check, reads > total / 2 ? FINDING_WARNING : FINDING_OK, "%" PRIu64 " MiB, of which reads may take %" PRIu64 " MiB",
                                      total >> 20, reads >> 20);
        finding_value(found, "total_bytes", (int64_t) total);
        if (reads > total / 2)
                finding_remedy(found, "lower -max-read-memory: writes and the kernel's cache need the rest");
}

void check_host(findings *f, const rq_config *config) {
        check_clock(f);
        check_limits(f);
        check_sysctls(f);
        check_memory(f, config);
}
