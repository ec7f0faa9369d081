#include "io/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log/log.h"

static void set_number(const char *name, unsigned long long value) {
        char text[32];
        (void) snprintf(text, sizeof text, "%llu", value);
        (void) setenv(name, text, 1);
}

static void set_environment(const spawn_plan *plan, pid_t launcher) {
        (void) setenv("NOTIFY_SOCKET", plan->notify_socket, 1);
        set_number("RQ_INTERNAL_LAUNCHER_PID", (unsigned long long) launcher);
        set_number("RQ_INTERNAL_LAUNCHER_FD", (unsigned long long) plan->launcher_fd);
        if (plan->watchdog_us > 0) {
                set_number("WATCHDOG_USEC", plan->watchdog_us);
                set_number("WATCHDOG_PID", (unsigned long long) getpid());
        } else { /* those of rqd's own supervisor are not the child's */
                (void) unsetenv("WATCHDOG_USEC");
                (void) unsetenv("WATCHDOG_PID");
        }
}

static void reset_signals(void) {
        sigset_t none;
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) signal(SIGPIPE, SIG_DFL);
        (void) signal(SIGXFSZ, SIG_DFL);
}

_Noreturn static void become_program(const char *path, const char *name, char *const *words) {
        size_t count = 0;
        while (words[count] != NULL)
                count++;
        char **argv = calloc(count + 2, sizeof *argv); /* freed by exec */
        if (argv != NULL) {
                memcpy(argv, words, count * sizeof *argv);
                argv[0] = (char *) (uintptr_t) name;
                (void) execv(path, argv);
        }
        rq_log_write(LOG_ERR, NULL, "Cannot execute %s: %s", path, strerror(errno));
        _exit(127);
}

_Noreturn static void become_service(const spawn_plan *plan, pid_t launcher) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != launcher) /* it died before the line above */
                _exit(1);
        /* A group of its own: Ctrl-C on a terminal is for the launcher, which
         * stops the services in order. */
        (void) setpgid(0, 0);
        reset_signals();
        set_environment(plan, launcher);
        (void) fcntl(plan->launcher_fd, F_SETFD, 0);
        int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (null_fd >= 0)
                (void) dup2(null_fd, STDIN_FILENO);

        become_program(plan->path, plan->name, plan->argv);
}

rq_err spawn_service(const spawn_plan *plan, pid_t *ret_pid) {
        pid_t launcher = getpid();
        pid_t pid = fork();
        if (pid < 0)
                return rq_err_from_errno(errno);
        if (pid == 0)
                become_service(plan, launcher);
        *ret_pid = pid;
        return RQ_OK;
}

rq_err spawn_and_wait(const char *path, const char *name, char *const *argv, int *ret_code) {
        int status;
        pid_t pid = fork();
        if (pid < 0)
                return rq_err_from_errno(errno);
        if (pid == 0) {
                int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
                if (null_fd >= 0) {
                        (void) dup2(null_fd, STDIN_FILENO);
                        (void) dup2(null_fd, STDOUT_FILENO);
                }
                become_program(path, name, argv);
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return rq_err_from_errno(errno);
        *ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        return RQ_OK;
}
