/* rqd: runs the services of a node where no systemd does. Holds no data. */
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "config/config.h"
#include "log/log.h"
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

static int run(const rq_config *config, char **argv) {
        RQ_CLEANUP(rq_closep) int data_fd = -1, lock_fd = -1, run_dir_fd = -1;
        RQ_CLEANUP(supervisor_freep) supervisor *s = NULL;
        char bin_dir[PATH_MAX];
        const char *data_dir = rq_config_data_dir(config);
        rq_err r = own_folder(bin_dir, sizeof bin_dir);
        if (r == RQ_OK)
                r = rq_folder_open(data_dir, &data_fd);
        if (r == RQ_OK) /* at once: two launchers on one folder are an operator's mistake */
                r = rq_folder_lock(data_fd, "rqd.lock", data_dir, 0, &lock_fd);
        if (r == RQ_OK) /* where operators of rqlite put peers.json (docs/operations.md); without it they make it */
                (void) mkdirat(data_fd, "raft", 0700);
        if (r == RQ_OK)
                r = rq_folder_open(rq_config_run_dir(config), &run_dir_fd);
        if (r == RQ_OK)
                r = supervisor_new(config, argv, bin_dir, run_dir_fd, &s);
        return r == RQ_OK ? supervisor_run(s) : RQ_EXIT_FAILURE;
}

int main(int argc, char **argv) {
        RQ_CLEANUP(config_freep) rq_config *config = NULL;
        int exit_code;

        if (argc > 1 && strcmp(argv[1], "doctor") == 0)
                return become("rqd-doctor", argv + 1);
        (void) umask(0077);
        if (argc > 1 && strcmp(argv[1], "recover") == 0)
                return become("rq-consensus", argv);
        (void) mallopt(M_ARENA_MAX, 1);
        if (!rq_program_configure("rqd", argc, argv, check_services, &config, &exit_code))
                return exit_code;
        return run(config, argv);
}
