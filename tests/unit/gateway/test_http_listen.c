/* Sockets of the HTTP port: several addresses, unix sockets, those of a supervisor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/http_listen.h"

typedef struct fixture {
        char dir[64], path[96], addresses[256];
        http_place place;
        http_socket sockets[HTTP_LISTENERS_MAX];
        size_t count;
} fixture;

static int set_up(void **state) {
        fixture *f = calloc(1, sizeof *f);
        (void) strcpy(f->dir, "/tmp/rq-test-listen-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        (void) snprintf(f->path, sizeof f->path, "%s/http.sock", f->dir);
        (void) snprintf(f->addresses, sizeof f->addresses, "unix:%s", f->path);
        f->place = (http_place) { .addresses = f->addresses, .unix_mode = 0640, .unix_group = "" };
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        fixture *f = *state;
        for (size_t i = 0; i < f->count; i++)
                http_socket_close(&f->sockets[i]);
        (void) unlink(f->path);
        assert_int_equal(rmdir(f->dir), 0);
        free(f);
        return 0;
}

static rq_err listen_now(fixture *f) { return http_listen(&f->place, f->sockets, &f->count); }

static bool connects(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        (void) strncpy(address.sun_path, path, sizeof address.sun_path - 1);
        bool good = connect(fd, (struct sockaddr *) &address, sizeof address) == 0;
        (void) close(fd);
        return good;
}

static void test_unix_socket(void **state) {
        fixture *f = *state;
        struct stat st;
        char text[HTTP_ADDRESS_BYTES], want[HTTP_ADDRESS_BYTES];
        assert_int_equal(listen_now(f), RQ_OK);
        assert_int_equal(f->count, 1);
        assert_true(f->sockets[0].is_unix);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0640);
        assert_true(connects(f->path));
        http_socket_text(&f->sockets[0], text);
        (void) snprintf(want, sizeof want, "unix:%s", f->path);
        assert_string_equal(text, want);
        http_socket_close(&f->sockets[0]);
        assert_int_equal(lstat(f->path, &st), -1); /* its file goes with it */
}

static void test_group(void **state) {
        fixture *f = *state;
        struct stat st;
        char number[16];
        (void) snprintf(number, sizeof number, "%u", (unsigned) getgid());
        f->place.unix_group = number;
        assert_int_equal(listen_now(f), RQ_OK);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_gid, getgid());
        http_socket_close(&f->sockets[0]);
        f->count = 0;
        f->place.unix_group = "no such group";
        assert_int_equal(listen_now(f), RQ_ECONFIG);
}

/* Who was killed leaves the file behind; who still listens keeps it. */
static void test_stale_and_taken(void **state) {
        fixture *f = *state;
        http_socket others[HTTP_LISTENERS_MAX];
        size_t count = 0;
        assert_int_equal(listen_now(f), RQ_OK);
        assert_int_equal(http_listen(&f->place, others, &count), RQ_EADDRINUSE);
        assert_int_equal(count, 0);
        assert_true(connects(f->path));

        (void) close(f->sockets[0].fd);
        f->sockets[0] = (http_socket) { .fd = -1 };
        assert_int_equal(http_listen(&f->place, others, &count), RQ_OK);
        assert_true(connects(f->path));
        http_socket_close(&others[0]);
}

static void test_no_socket_there(void **state) {
        fixture *f = *state;
        struct stat st;
        (void) close(open(f->path, O_CREAT | O_WRONLY, 0600));
        assert_int_equal(listen_now(f), RQ_ECONFIG);
        assert_int_equal(stat(f->path, &st), 0); /* a file of somebody's is left alone */
}

static void test_several(void **state) {
        fixture *f = *state;
        char text[HTTP_ADDRESS_BYTES];
        (void) snprintf(f->addresses, sizeof f->addresses, "127.0.0.1:0, unix:%s,[::1]:0", f->path);
        rq_err r = listen_now(f);
        if (r < 0) { /* a machine without IPv6 */
                for (size_t i = 0; i < f->count; i++)
                        http_socket_close(&f->sockets[i]);
                (void) snprintf(f->addresses, sizeof f->addresses, "127.0.0.1:0, unix:%s,127.0.0.1:0", f->path);
                assert_int_equal(listen_now(f), RQ_OK);
        }
        assert_int_equal(f->count, 3);
        assert_false(f->sockets[0].is_unix);
        assert_true(f->sockets[1].is_unix);
        http_socket_text(&f->sockets[0], text);
        assert_memory_equal(text, "127.0.0.1:", 10);
}

/* --- sockets of a supervisor: in a child, whose descriptors 3, 4 ... they are --- */

static int bound_tcp(void) {
        const struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(fd, (const struct sockaddr *) &address, sizeof address) != 0 || listen(fd, 8) != 0)
                return -1;
        return fd;
}

static int inherited_child(fixture *f, const char *names) {
        char pid[16];
        int first = fcntl(bound_tcp(), F_DUPFD, 20), second = fcntl(bound_tcp(), F_DUPFD, 20);
        if (dup2(first, 3) != 3 || dup2(second, 4) != 4)
                return 10;
        (void) snprintf(pid, sizeof pid, "%ld", (long) getpid());
        (void) setenv("LISTEN_PID", pid, 1);
        (void) setenv("LISTEN_FDS", "2", 1);
        (void) setenv("LISTEN_FDNAMES", names, 1);
        if (listen_now(f) != RQ_OK)
                return 11;
        if (f->count != 1 || f->sockets[0].fd != 3 || !f->sockets[0].inherited || f->sockets[0].is_unix)
                return 12;
        if ((fcntl(3, F_GETFL) & O_NONBLOCK) == 0 || (fcntl(3, F_GETFD) & FD_CLOEXEC) == 0)
                return 13;
        return access(f->path, F_OK) == 0 ? 14 : getenv("LISTEN_FDS") != NULL ? 15 : 0;
}

static void check_inherited(fixture *f, const char *names) {
        int status;
        pid_t pid = fork();
        if (pid == 0)
                _exit(inherited_child(f, names));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_inherited(void **state) {
        check_inherited(*state, "http:raft");
        check_inherited(*state, "rq-gateway.socket:other");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_unix_socket, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_group, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_stale_and_taken, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_no_socket_there, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_several, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_inherited, set_up, tear_down),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
