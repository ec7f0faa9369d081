/* rqd: runs the services of a node where no systemd does. Holds no data. */
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "config/config.h"
#include "core/command.h"
#include "io/report.h"
#include "log/log.h"
#include "log/log_fields.h"
#include "service/service.h"
#include "supervise.h"

static void config_freep(rq_config **config) { *config = rq_config_free(*config); }
static void supervisor_freep(supervisor **s) { *s = supervisor_free(*s); }

/* Where this program is: the services are beside it. */
static rq_err own_folder(char *path, size_t size) {
        ssize_t got = readlink("/proc/self/exe", path, size - 1);
        if (got < 0)
                return rq_log_error(rq_err_from_errno(errno), "Cannot read /proc/self/exe");
        path[got] = '\0';
        *strrchr(path, '/') = '\0';
        return RQ_OK;
}

/* Each service looks at the files it reads, with the words of this command line; what is
 * wrong, it says itself. */
static rq_err check_services(const rq_config *config, char *const *argv, rq_buf *problem) {
        char bin_dir[PATH_MAX];
        (void) config;
        (void) problem;
        rq_err r = own_folder(bin_dir, sizeof bin_dir);
        return r < 0 ? r : supervisor_check(argv, bin_dir);
}

/* "rqd doctor ..." is a program of its own, which links more than rqd should; "rqd recover ..." is done by the one
 * whose files it concerns. */
static int become(const char *program, char **argv) {
        char folder[PATH_MAX], path[PATH_MAX + 16];
        rq_log_open("rqd", RQ_LOG_PLAIN, LOG_INFO);
        if (own_folder(folder, sizeof folder) < 0)
                return RQ_EXIT_FAILURE;
        (void) snprintf(path, sizeof path, "%s/%s", folder, program);
        (void) execv(path, argv);
        (void) rq_log_error(rq_err_from_errno(errno), "Cannot execute %s", path);
        return RQ_EXIT_FAILURE;
}

/* With --check-config before the words of argv; the caller frees it. */
static char **with_check_config(char **argv) {
        size_t count = 0;
        while (argv[count] != NULL)
                count++;
        char **words = calloc(count + 2, sizeof *words);
        if (words == NULL)
                return NULL;
        words[0] = argv[0];
        words[1] = (char *) (uintptr_t) "--check-config";
        memcpy(words + 2, argv + 1, (count - 1) * sizeof *words);
        return words;
}

/* What a file says wrong shows before a service has founded a cluster, not after. A file that changes in
 * between, and one that isn't there any more at a restart, the service itself refuses. */
static rq_err check_files(const rq_config *config, char **argv, const char *bin_dir) {
        if (!rq_config_names_files(config))
                return RQ_OK;
        RQ_CLEANUP(rq_freep) char **words = with_check_config(argv);
        return words != NULL ? supervisor_check(words, bin_dir) : RQ_ENOMEM;
}

static bool is_folder(const char *path) {
        struct stat st;
        return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int refuse_word(const char *word, const char *advice) {
        rq_log_open("rqd", RQ_LOG_PLAIN, LOG_INFO);
        rq_log_event(LOG_ERR, RQ_MSG_BAD_CONFIG, "\"%s\" is no command of rqd, and there is no folder of that name: %s (a node in a new folder of that name: rqd ./%s)", word, advice, word);
        return RQ_EXIT_CONFIG;
}

/* Is the last word a data directory that is more likely a command behind flags? */
static bool is_wrong_data_dir(const rq_config *config, int argc, char **argv, const char **ret_advice) {
        const char *word = argv[argc - 1], *before = argc > 2 ? argv[argc - 2] : "";
        if (argc < 2 || strcmp(rq_config_string(config, "data-dir"), word) != 0 || strcmp(before + strspn(before, "-"), "data-dir") == 0)
                return false;
        const command_kind kind = command_of(word, ret_advice);
        if (kind != COMMAND_NONE && kind != COMMAND_WRONG)
                *ret_advice = "a command comes before all flags";
        return kind != COMMAND_NONE && !is_folder(word);
}

/* Not being able to is no reason not to run. */
static void write_config(const rq_config *config, int run_dir_fd) {
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        rq_err r = rq_buf_append_text(&text, "# what rqd was started with last, for rqd doctor\n");
        if (r >= 0)
                r = rq_config_text(config, &text);
        if (r >= 0)
                r = report_write_config(run_dir_fd, rq_buf_bytes(&text));
        if (r < 0)
                (void) rq_log_error(r, "Cannot write %s/rqd.conf", rq_config_run_dir(config));
}

static int run(const rq_config *config, char **argv) {
        RQ_CLEANUP(rq_closep) int data_fd = -1, lock_fd = -1, run_dir_fd = -1;
        RQ_CLEANUP(supervisor_freep) supervisor *s = NULL;
        char bin_dir[PATH_MAX];
        const char *data_dir = rq_config_data_dir(config);
        rq_err r = own_folder(bin_dir, sizeof bin_dir);
        if (r == RQ_OK)
                r = check_files(config, argv, bin_dir);
        if (r == RQ_ECONFIG)
                return RQ_EXIT_CONFIG;
        if (r == RQ_OK)
                r = rq_folder_open(data_dir, &data_fd);
        if (r == RQ_OK) /* at once: two launchers on one folder are an operator's mistake */
                r = rq_folder_lock(data_fd, "rqd.lock", data_dir, 0, &lock_fd);
        if (r == RQ_OK) /* where operators of rqlite put peers.json (docs/operations.md); without it they make it */
                (void) mkdirat(data_fd, "raft", 0700);
        if (r == RQ_OK)
                r = rq_folder_open(rq_config_run_dir(config), &run_dir_fd);
        if (r == RQ_OK)
                write_config(config, run_dir_fd);
        if (r == RQ_OK)
                r = supervisor_new(config, argv, bin_dir, run_dir_fd, &s);
        return r == RQ_OK ? supervisor_run(s) : RQ_EXIT_FAILURE;
}

int main(int argc, char **argv) {
        RQ_CLEANUP(config_freep) rq_config *config = NULL;
        static char help[] = "--help", version[] = "--version";
        const char *advice = "";
        int exit_code;

        if (!rq_program_standard_files())
                return RQ_EXIT_FAILURE;
        command_kind kind = argc > 1 && argv[1][0] != '-' ? command_of(argv[1], &advice) : COMMAND_NONE;
        if (kind > COMMAND_RECOVER && is_folder(argv[1]))
                kind = COMMAND_NONE;
        if (kind == COMMAND_DOCTOR)
                return become("rqd-doctor", argv + 1);
        (void) umask(0077);
        (void) signal(SIGXFSZ, SIG_IGN); /* its locks, its reports and standard error are files, too */
        if (kind == COMMAND_RECOVER)
                return become("rq-consensus", argv);
        if (kind == COMMAND_WRONG)
                return refuse_word(argv[1], advice);
        if (kind == COMMAND_HELP || kind == COMMAND_VERSION)
                argv[1] = kind == COMMAND_HELP ? help : version;
        (void) mallopt(M_ARENA_MAX, 1);
        if (!rq_program_configure("rqd", argc, argv, check_services, &config, &exit_code))
                return exit_code;
        if (is_wrong_data_dir(config, argc, argv, &advice))
                return refuse_word(argv[argc - 1], advice);
        return run(config, argv);
}
