/* A log that nobody reads stops nobody: with pipes, sockets and terminals that are full. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "log/log.h"
#include "log/log_sink.h"

enum { LINE_BYTES = 100, SLOW_US = 5000000 };

static int reader, writer; /* what stands for standard error, and its other end */
static char line[LINE_BYTES + 1];
static char text[4 << 20];

static void number_line(unsigned number) {
        (void) snprintf(line, sizeof line, "%08u%091d\n", number, 0);
}

/* What is there to be read now. */
static size_t drain(void) {
        size_t size = 0;
        struct pollfd p = { .fd = reader, .events = POLLIN };
        while (size < sizeof text - 1 && poll(&p, 1, 50) == 1 && (p.revents & POLLIN) != 0) {
                ssize_t got = read(reader, text + size, sizeof text - 1 - size);
                if (got <= 0)
                        break;
                size += (size_t) got;
        }
        text[size] = '\0';
        return size;
}

static void open_pipe(void) {
        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        reader = ends[0];
        writer = ends[1];
}

static void open_sockets(void) {
        int ends[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        reader = ends[0];
        writer = ends[1];
}

static void open_terminal(void) {
        reader = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        assert_true(reader >= 0 && grantpt(reader) == 0 && unlockpt(reader) == 0);
        writer = open(ptsname(reader), O_RDWR | O_NOCTTY | O_CLOEXEC);
        assert_true(writer >= 0);
}

static void close_both(void) {
        (void) close(reader);
        (void) close(writer);
}

/* A test that would hang ends with a signal. */
static int set_up(void **state) {
        (void) state;
        (void) signal(SIGPIPE, SIG_IGN);
        (void) alarm(60);
        return 0;
}

/* Lines go out until nobody reads, then a bounded time is lost once; after that all go out again, and whole. */
static void check_full(log_sink *sink) {
        unsigned sent = 0, number = 0;
        do
                number_line(sent);
        while (log_sink_write(sink, line, LINE_BYTES) && ++sent < 100000);
        assert_in_range(sent, 10, 99999);
        assert_int_equal(sink->lost, 1);
        uint64_t begin_us = rq_clock_mono_us();
        for (int i = 0; i < 1000; i++)
                assert_false(log_sink_write(sink, line, LINE_BYTES));
        assert_true(rq_clock_mono_us() - begin_us < SLOW_US); /* 100 s, if each waited */
        assert_int_equal(sink->lost, 1001);
        (void) drain();
        for (char *at = text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
                number_line(number);
                if (number < sent)
                        assert_memory_equal(at, line, 8);
                number++;
        }
        assert_in_range(number, sent, sent); /* a part of one more has no end yet */
        assert_true(log_sink_write(sink, "again\n", 6));
        (void) drain();
        char *again = strstr(text, "again");
        assert_non_null(again);
        assert_true(again == text || again[-1] == '\n'); /* on a line of its own */
        assert_false(sink->full || sink->cut);
}

static void test_a_pipe(void **state) {
        log_sink sink;
        (void) state;
        open_pipe();
        log_sink_open(&sink, writer);
        assert_int_equal(sink.kind, LOG_SINK_OWN);
        assert_true(sink.fd != writer);
        check_full(&sink);
        assert_int_equal(fcntl(writer, F_GETFL) & O_NONBLOCK, 0); /* that of others is as it was */
        log_sink_close(&sink);
        close_both();
}

/* As where /proc refuses it. */
static void test_a_pipe_that_is_not_ours(void **state) {
        log_sink sink;
        (void) state;
        open_pipe();
        sink = (log_sink) { .kind = LOG_SINK_SHARED, .fd = writer };
        check_full(&sink);
        assert_int_equal(fcntl(writer, F_GETFL) & O_NONBLOCK, 0);
        log_sink_close(&sink);
        assert_true(fcntl(writer, F_GETFD) >= 0); /* it was borrowed */
        close_both();
}

static void test_a_socket(void **state) {
        log_sink sink;
        (void) state;
        open_sockets();
        log_sink_open(&sink, writer);
        assert_int_equal(sink.kind, LOG_SINK_SOCKET);
        check_full(&sink);
        close_both();
}

static void test_a_terminal(void **state) {
        log_sink sink;
        (void) state;
        open_terminal();
        log_sink_open(&sink, writer);
        assert_int_equal(sink.kind, LOG_SINK_OWN);
        check_full(&sink);
        log_sink_close(&sink);
        close_both();
}

static void test_who_has_gone_is_no_loss(void **state) {
        log_sink sink;
        (void) state;
        open_pipe();
        log_sink_open(&sink, writer);
        (void) close(reader);
        assert_true(log_sink_write(&sink, "x\n", 2));
        assert_int_equal(sink.lost, 0);
        log_sink_close(&sink);
        (void) close(writer);
}

static void *read_late(void *arg) {
        (void) usleep(20000);
        (void) drain();
        return arg;
}

/* A reader that is only busy gets every line. */
static void test_a_slow_reader_loses_nothing(void **state) {
        log_sink sink;
        pthread_t thread;
        (void) state;
        open_pipe();
        log_sink_open(&sink, writer);
        number_line(0);
        while (write(sink.fd, line, LINE_BYTES) == LINE_BYTES)
                ;
        assert_int_equal(pthread_create(&thread, NULL, read_late, NULL), 0);
        bool written = log_sink_write(&sink, line, LINE_BYTES);
        (void) pthread_join(thread, NULL);
        /* A machine that is busy for longer than the patience is no failure of this: then it is counted. */
        assert_int_equal(sink.lost, written ? 0 : 1);
        log_sink_close(&sink);
        close_both();
}

/* The records themselves: what is missing is told, once, before the next. */
static void test_what_is_missing_is_told(void **state) {
        (void) state;
        for (rq_log_format format = RQ_LOG_PLAIN; format <= RQ_LOG_JSON; format++) {
                open_pipe();
                int kept = dup(STDERR_FILENO);
                assert_int_equal(dup2(writer, STDERR_FILENO), STDERR_FILENO);
                rq_log_open("p", format, LOG_DEBUG);
                uint64_t begin_us = rq_clock_mono_us();
                for (unsigned i = 0; i < 2000; i++) /* debug: unbounded otherwise */
                        rq_log_debug("record %u of many %0100d", i, 0);
                const uint64_t took_us = rq_clock_mono_us() - begin_us;
                (void) drain();
                unsigned found = 0, told = 0;
                for (char *at = text; (at = strstr(at, "record ")) != NULL; at++)
                        found++;
                rq_log_info("somebody reads");
                rq_log_info("and goes on");
                (void) drain();
                assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
                rq_log_open("p", RQ_LOG_PLAIN, LOG_INFO);
                (void) close(kept);
                close_both();
                assert_true(took_us < SLOW_US);
                const char *at = strstr(text, format == RQ_LOG_JSON ? "\"message\":\"" : "p warning: ");
                assert_non_null(at);
                assert_int_equal(sscanf(at + 11, "%u records are missing here", &told), 1);
                assert_int_equal(found + told, 2000);
                assert_true(told > 0);
                assert_non_null(strstr(at, "somebody reads"));
                assert_non_null(strstr(at, "and goes on"));
                assert_null(strstr(strstr(at, "are missing") + 1, "are missing"));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_a_pipe, set_up), cmocka_unit_test_setup(test_a_pipe_that_is_not_ours, set_up),
                cmocka_unit_test_setup(test_a_socket, set_up), cmocka_unit_test_setup(test_a_terminal, set_up),
                cmocka_unit_test_setup(test_who_has_gone_is_no_loss, set_up), cmocka_unit_test_setup(test_a_slow_reader_loses_nothing, set_up),
                cmocka_unit_test_setup(test_what_is_missing_is_told, set_up),
        };
        return cmocka_run_group_tests_name("log_sink", tests, NULL, NULL);
}
