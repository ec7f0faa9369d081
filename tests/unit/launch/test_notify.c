/* sd_notify's receiving end, and the report file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "io/notify.h"
#include "io/report.h"

static notify_message parsed(const char *text) {
        char copy[1024];
        notify_message m = {0};
        (void) snprintf(copy, sizeof copy, "%s", text);
        notify_parse(copy, &m);
        return m;
}

static void test_assignments(void **state) {
        char status[600] = "STATUS=";
        (void) state;
        notify_message m = parsed("READY=1\nSTATUS=serving 3 things\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=5000\nMAINPID=7\n");
        assert_true(m.ready && m.alive && m.has_status && !m.stopping);
        assert_string_equal(m.status, "serving 3 things");
        assert_int_equal(m.extend_us, 5000);
        m = parsed("STOPPING=1");
        assert_true(m.stopping && !m.ready && !m.alive && !m.has_status);
        m = parsed("READY=0\nXREADY=1\nready=1\nREADY=11\n\n=\n");
        assert_false(m.ready);
        m = parsed("STATUS=");
        assert_true(m.has_status && m.status[0] == '\0');
        memset(status + 7, 'x', sizeof status - 8);
        m = parsed(status);
        assert_int_equal(strlen(m.status), NOTIFY_STATUS_BYTES - 1);
}

static void test_socket(void **state) {
        char name[NOTIFY_NAME_BYTES];
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        static char big[8000];
        int fd = -1;
        notify_message m = {0};
        (void) state;
        assert_int_equal(notify_open(&fd, name), RQ_OK);
        assert_int_equal(notify_receive(fd, &m), RQ_EAGAIN);
        assert_int_equal(name[0], '@');
        memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
        socklen_t size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(name));
        int from = socket(AF_UNIX, SOCK_DGRAM, 0);
        assert_int_equal(connect(from, (const struct sockaddr *) &address, size), 0);
        assert_int_equal(send(from, "READY=1", 7, 0), 7);
        assert_int_equal(send(from, big, sizeof big, 0), sizeof big); /* cut: not a message */
        assert_int_equal(send(from, "", 0, 0), 0);

        /* Descriptors that come along are not kept. */
        union { struct cmsghdr header; char bytes[CMSG_SPACE(sizeof(int))]; } control = {0};
        struct iovec iov = { .iov_base = (char *) (uintptr_t) "WATCHDOG=1", .iov_len = 10 };
        struct msghdr with_fd = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
        control.header = (struct cmsghdr) { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(&control.header), &from, sizeof from);
        assert_int_equal(sendmsg(from, &with_fd, 0), 10);
        int next_fd = dup(from);
        (void) close(next_fd);

        assert_int_equal(notify_receive(fd, &m), RQ_OK);
        assert_true(m.ready && m.pid == getpid());
        assert_int_equal(notify_receive(fd, &m), RQ_EPROTO);
        assert_int_equal(notify_receive(fd, &m), RQ_OK);
        assert_false(m.ready);
        assert_int_equal(notify_receive(fd, &m), RQ_OK);
        assert_true(m.alive);
        assert_int_equal(fcntl(next_fd, F_GETFD), -1);
        assert_int_equal(notify_receive(fd, &m), RQ_EAGAIN);
        (void) close(from);
        (void) close(fd);
}

static void test_report(void **state) {
        char folder[] = "/tmp/rq-test-report-XXXXXX", text[1024], wanted[1024];
        const report_child children[] = {
                { .name = "rq-store", .state = "running", .status = "a \"b\"\n\xc3\xa4", .last_exit = "exit code 3", .pid = 7, .restarts = 2, .since_wall_us = 1767225600123456 },
                { .name = "rq-gateway", .state = "stopped", .status = "", .last_exit = "" },
        };
        (void) state;
        assert_non_null(mkdtemp(folder));
        int dir = open(folder, O_RDONLY | O_DIRECTORY);
        for (int round = 0; round < 2; round++) /* also over an older one */
                assert_int_equal(report_write(dir, children, 2), RQ_OK);
        int fd = openat(dir, "launcher.json", O_RDONLY);
        ssize_t size = read(fd, text, sizeof text - 1);
        assert_true(size > 0);
        text[size] = '\0';
        (void) snprintf(wanted, sizeof wanted, "{\"pid\":%ld,\"version\":\"" RQ_VERSION "\",\"children\":["
                        "{\"name\":\"rq-store\",\"state\":\"running\",\"status\":\"a \\\"b\\\"\\u000a\\ufffd\\ufffd\",\"last_exit\":\"exit code 3\","
                        "\"pid\":7,\"restarts\":2,\"since\":\"2026-01-01T00:00:00.123Z\"},"
                        "{\"name\":\"rq-gateway\",\"state\":\"stopped\",\"status\":\"\",\"last_exit\":\"\","
                        "\"pid\":0,\"restarts\":0,\"since\":\"1970-01-01T00:00:00.000Z\"}]}\n", (long) getpid());
        assert_string_equal(text, wanted);
        (void) close(fd);
        assert_int_equal(unlinkat(dir, "launcher.json", 0), 0);
        assert_int_equal(rmdir(folder), 0); /* nothing else was left */
        (void) close(dir);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_assignments),
                cmocka_unit_test(test_socket),
                cmocka_unit_test(test_report),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
