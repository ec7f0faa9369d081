/* The skeleton of a service, as a child process: folders, lock, signals,
 * notifications, the launcher's death, exit codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "log/log.h"
#include "service/service.h"

static char folder[] = "/tmp/rq-test-service-XXXXXX";
static char data_dir[64], log_path[64];
static int notes[2];  /* what the child's callbacks write */
static int notify_fd;

/* --- the service ------------------------------------------------------------- */

static enum { PLAIN, HANG_ON_RELOAD, SLOW_STOP, STOP_IN_START, FAIL_IN_START, BAD_CONFIG_IN_START, ERROR_IN_START } behaviour;

static void note(char c) { (void) !write(notes[1], &c, 1); }

static rq_err on_start(rq_service *service, void **ret_state) {
        char name[32] = "";
        (void) prctl(PR_GET_NAME, name);
        if (strcmp(name, "rq-test") != 0 || rq_service_folder_fd(service) < 0 || rq_service_run_dir_fd(service) < 0 ||
            rq_uuid_is_zero(rq_service_incarnation(service)))
                note('!');
        if (behaviour == BAD_CONFIG_IN_START)
                return rq_log_error(RQ_ECONFIG, "Cannot use this");
        if (behaviour == ERROR_IN_START)
                return rq_log_error(RQ_EIO, "Cannot start");
        *ret_state = service;
        note('s');
        rq_service_ready(service, "serving\n%s", rq_service_folder_path(service));
        rq_service_status(service, "two");
        if (behaviour == STOP_IN_START)
                rq_service_stopped(service);
        if (behaviour == FAIL_IN_START)
                rq_service_fail(service, 5);
        return RQ_OK;
}

static void on_shutdown(void *state) {
        note('t');
        if (behaviour != SLOW_STOP)
                rq_service_stopped(state);
}

static void on_reload(void *state) {
        (void) state;
        note('h');
        while (behaviour == HANG_ON_RELOAD)
                (void) sleep(10);
}

static void on_free(void *state) {
        (void) state;
        note('f');
}

static const rq_service_def def = {
        .name = "rq-test", .folder = "test", .start = on_start, .shutdown = on_shutdown, .reload = on_reload, .free = on_free,
};

static pid_t start_with(const char *flag) {
        (void) fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                char *argv[] = { (char *) (uintptr_t) "x", (char *) (uintptr_t) flag, data_dir, NULL };
                int fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
                (void) dup2(fd, STDERR_FILENO);
                exit(rq_service_main(3, argv, &def));
        }
        return pid;
}

static pid_t start(void) { return start_with("-fk"); }

static int exit_of(pid_t pid) {
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static char next_note(void) {
        struct pollfd p = { .fd = notes[0], .events = POLLIN };
        char c;
        if (poll(&p, 1, 5000) != 1 || read(notes[0], &c, 1) != 1)
                return '-';
        return c;
}

/* "" if none comes in time. */
static const char *next_message(int timeout_ms) {
        static char text[1024];
        struct pollfd p = { .fd = notify_fd, .events = POLLIN };
        ssize_t size = poll(&p, 1, timeout_ms) == 1 ? recv(notify_fd, text, sizeof text - 1, 0) : 0;
        text[size > 0 ? size : 0] = '\0';
        return text;
}

static bool log_has(const char *text) {
        char content[8192];
        int fd = open(log_path, O_RDONLY);
        ssize_t size = fd < 0 ? 0 : read(fd, content, sizeof content - 1);
        (void) close(fd);
        content[size > 0 ? size : 0] = '\0';
        return strstr(content, text) != NULL;
}

static int64_t now_ms(void) {
        struct timespec ts;
        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- tests ------------------------------------------------------------------- */

static void test_life(void **state) {
        char wanted[256];
        struct stat st;
        (void) state;
        pid_t pid = start();
        assert_int_equal(next_note(), 's');
        (void) snprintf(wanted, sizeof wanted, "READY=1\nSTATUS=serving %s/test", data_dir);
        assert_string_equal(next_message(5000), wanted);
        assert_string_equal(next_message(5000), "STATUS=two");
        for (const char *const *sub = (const char *const[]) { "", "/test", "/run", NULL }; *sub != NULL; sub++) {
                (void) snprintf(wanted, sizeof wanted, "%s%s", data_dir, *sub);
                assert_int_equal(stat(wanted, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0700);
        }
        assert_int_equal(kill(pid, SIGPIPE), 0);
        assert_int_equal(kill(pid, SIGXFSZ), 0);
        assert_int_equal(kill(pid, SIGHUP), 0);
        assert_int_equal(next_note(), 'h');
        assert_non_null(strstr(next_message(5000), "RELOADING=1\nMONOTONIC_USEC="));
        assert_string_equal(next_message(5000), "READY=1");
        assert_int_equal(kill(pid, SIGTERM), 0);
        assert_int_equal(next_note(), 't');
        assert_string_equal(next_message(5000), "STOPPING=1\nSTATUS=stopping");
        assert_int_equal(exit_of(pid), 0);
        assert_int_equal(next_note(), 'f');
}

static void test_watchdog_beats_only_while_the_loop_turns(void **state) {
        (void) state;
        (void) setenv("WATCHDOG_USEC", "100000", 1);
        behaviour = HANG_ON_RELOAD;
        pid_t pid = start();
        (void) unsetenv("WATCHDOG_USEC");
        assert_int_equal(next_note(), 's');
        (void) next_message(5000);
        (void) next_message(5000);
        for (int i = 0; i < 5; i++)
                assert_string_equal(next_message(1000), "WATCHDOG=1");
        assert_int_equal(kill(pid, SIGHUP), 0);
        assert_int_equal(next_note(), 'h');
        while (next_message(0)[0] != '\0')
                ;
        assert_string_equal(next_message(400), "");
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(exit_of(pid), -SIGKILL);
}

static void test_second_signal_stops_at_once(void **state) {
        (void) state;
        behaviour = SLOW_STOP;
        pid_t pid = start();
        assert_int_equal(next_note(), 's');
        assert_int_equal(kill(pid, SIGTERM), 0);
        assert_int_equal(next_note(), 't');
        (void) usleep(100000);
        assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
        assert_int_equal(kill(pid, SIGINT), 0);
        assert_int_equal(exit_of(pid), RQ_EXIT_FAILURE);
        assert_int_equal(next_note(), 'f');
}

static void test_folder_is_locked(void **state) {
        char wanted[128];
        (void) state;
        pid_t first = start();
        assert_int_equal(next_note(), 's');
        int64_t begin_ms = now_ms();
        assert_int_equal(exit_of(start()), RQ_EXIT_FAILURE);
        int64_t took_ms = now_ms() - begin_ms;
        assert_in_range(took_ms, 1900, 4000);
        (void) snprintf(wanted, sizeof wanted, "Cannot lock %s/test (held by pid %ld)", data_dir, (long) first);
        assert_true(log_has(wanted));

        /* One that is dying is waited for. */
        pid_t second = start();
        (void) usleep(300000);
        assert_int_equal(kill(first, SIGKILL), 0);
        assert_int_equal(exit_of(first), -SIGKILL);
        assert_int_equal(next_note(), 's');
        assert_int_equal(kill(second, SIGTERM), 0);
        assert_int_equal(exit_of(second), 0);
}

static void test_exit_codes(void **state) {
        static const struct { int behaviour, code; } rows[] = {
                { STOP_IN_START, 0 }, { FAIL_IN_START, 5 }, { BAD_CONFIG_IN_START, RQ_EXIT_CONFIG }, { ERROR_IN_START, RQ_EXIT_FAILURE },
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                behaviour = rows[i].behaviour;
                assert_int_equal(exit_of(start()), rows[i].code);
        }
        assert_int_equal(exit_of(start_with("-cdc-config=x")), RQ_EXIT_CONFIG);
        assert_true(log_has("rq-test error: -cdc-config: not available yet\n"));
        assert_int_equal(exit_of(start_with("-run-dir=/proc/none")), RQ_EXIT_FAILURE);
        assert_true(log_has("Cannot create /proc/none"));
}

static void test_dies_with_its_launcher(void **state) {
        char number[16];
        int alive[2];
        (void) state;
        assert_int_equal(pipe(alive), 0);
        (void) snprintf(number, sizeof number, "%d", alive[0]);
        (void) setenv("RQ_INTERNAL_LAUNCHER_FD", number, 1);
        assert_int_equal(fcntl(alive[1], F_SETFD, FD_CLOEXEC), 0);
        (void) fflush(NULL);
        pid_t pid = fork(); /* as after an exec: without the write end */
        if (pid == 0) {
                (void) close(alive[1]);
                char *argv[] = { (char *) (uintptr_t) "x", data_dir, NULL };
                exit(rq_service_main(2, argv, &def));
        }
        assert_int_equal(next_note(), 's');
        (void) usleep(50000);
        assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
        (void) close(alive[1]);
        assert_int_equal(exit_of(pid), RQ_EXIT_FAILURE);
        (void) close(alive[0]);
        (void) unsetenv("RQ_INTERNAL_LAUNCHER_FD");

        /* Its parent is another one already. */
        (void) setenv("RQ_INTERNAL_LAUNCHER_PID", "1", 1);
        assert_int_equal(exit_of(start()), RQ_EXIT_FAILURE);
        assert_int_equal(next_message(0)[0] == 'S', 0);
        (void) snprintf(number, sizeof number, "%ld", (long) getpid());
        (void) setenv("RQ_INTERNAL_LAUNCHER_PID", number, 1);
        pid = start();
        assert_int_equal(next_note(), 's');
        assert_int_equal(kill(pid, SIGTERM), 0);
        assert_int_equal(exit_of(pid), 0);
        (void) unsetenv("RQ_INTERNAL_LAUNCHER_PID");
}

static int set_up(void **state) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        (void) state;
        behaviour = PLAIN;
        (void) strcpy(folder + strlen(folder) - 6, "XXXXXX");
        if (mkdtemp(folder) == NULL || pipe2(notes, O_CLOEXEC) < 0)
                return -1;
        (void) snprintf(data_dir, sizeof data_dir, "%s/deep/data", folder);
        (void) snprintf(log_path, sizeof log_path, "%s/log", folder);
        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", folder);
        (void) setenv("NOTIFY_SOCKET", address.sun_path, 1);
        notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        return bind(notify_fd, (const struct sockaddr *) &address, sizeof address);
}

static int tear_down(void **state) {
        char command[128];
        (void) state;
        (void) close(notify_fd);
        (void) close(notes[0]);
        (void) close(notes[1]);
        (void) snprintf(command, sizeof command, "rm -rf %s", folder);
        return system(command);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_life, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_watchdog_beats_only_while_the_loop_turns, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_second_signal_stops_at_once, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_folder_is_locked, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_exit_codes, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_dies_with_its_launcher, set_up, tear_down),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
