/* Log lines on stderr: form, one line whatever the text, valid JSON, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "log/log.h"
#include "log/log_fields.h"

static int real_stderr;
static FILE *captured;
static char line[16384];

/* What was logged since the last call. */
static const char *logged(void) {
        size_t size = 0;
        rewind(captured);
        size = fread(line, 1, sizeof line - 1, captured);
        line[size] = '\0';
        assert_int_equal(strlen(line), size);
        assert_int_equal(ftruncate(STDERR_FILENO, 0), 0);
        rewind(captured);
        (void) lseek(STDERR_FILENO, 0, SEEK_SET);
        return line;
}

/* Behind "2026-01-31T12:00:00.123Z ". */
static const char *logged_plain(void) {
        const char *text = logged();
        int end = 0, year, month, day, hour, minute, second, ms;
        assert_int_equal(sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day, &hour, &minute, &second, &ms, &end), 7);
        assert_int_equal(end, 25);
        return text + end;
}

static void test_plain_line(void **state) {
        char term[64], peer[64];
        (void) state;
        rq_log_open("rq-store", RQ_LOG_PLAIN, LOG_INFO);
        const char *fields[] = { RQ_MSG_LEADER_ELECTED, rq_log_field_u64(term, sizeof term, RQ_FIELD_TERM, 7),
                                 rq_log_field_text(peer, sizeof peer, RQ_FIELD_PEER, "a b=\"c\""), NULL };
        rq_log_write(LOG_NOTICE, fields, "Elected by %d", 3);
        assert_string_equal(logged_plain(), "rq-store notice: Elected by 3 RQ_TERM=7 RQ_PEER=\"a b=\\\"c\\\"\"\n");
        rq_log_debug("not shown");
        assert_string_equal(logged(), "");
        errno = 5;
        assert_int_equal(rq_log_error(RQ_ENOENT, "Cannot open %s", "/x"), RQ_ENOENT);
        assert_int_equal(errno, 5);
        assert_string_equal(logged_plain(), "rq-store error: Cannot open /x: not found\n");
        rq_log_open("rq-store", RQ_LOG_PLAIN, LOG_ERR);
        rq_log_warning("not shown");
        assert_string_equal(logged(), "");
}

static void test_no_text_can_forge_a_line(void **state) {
        char field[64];
        const char *fields[] = { rq_log_field_text(field, sizeof field, RQ_FIELD_FILE, "x\ny"), NULL };
        (void) state;
        rq_log_open("p", RQ_LOG_PLAIN, LOG_DEBUG);
        rq_log_write(LOG_INFO, fields, "%s", "a\nb\r\tc\x1b[2J\x7f\xc2\x9b \xc3\xa4 \xff\xe0\x80\x80 \xf0\x9f\x98\x80");
        assert_string_equal(logged_plain(), "p info: a\\nb\\x0d\\tc\\x1b[2J\\x7f\\x9b \xc3\xa4 \\xff\\xe0\\x80\\x80 \xf0\x9f\x98\x80 "
                                            "RQ_FILE=x\\ny\n");
        rq_log_info("cut short \xf0\x9f"); /* must not read past the NUL */
        assert_string_equal(logged_plain(), "p info: cut short \\xf0\\x9f\n");
}

static void test_json_line(void **state) {
        char field[64], wanted[256];
        const char *fields[] = { RQ_MSG_CHILD_DIED, rq_log_field_text(field, sizeof field, RQ_FIELD_CHILD, "a\"\\\n"), NULL };
        (void) state;
        rq_log_open("rqd", RQ_LOG_JSON, LOG_DEBUG);
        rq_log_write(LOG_WARNING, fields, "%s", "\"quoted\" \\ \x01 \xff \xc2\x9b");
        const char *text = logged();
        assert_memory_equal(text, "{\"time\":\"20", 11);
        (void) snprintf(wanted, sizeof wanted, "\",\"level\":\"warning\",\"program\":\"rqd\",\"pid\":%ld,"
                        "\"message\":\"\\\"quoted\\\" \\\\ \\u0001 \\ufffd \\u009b\",\"%.10s\":\"%s\",\"RQ_CHILD\":\"a\\\"\\\\\\n\"}\n",
                        (long) getpid(), RQ_MSG_CHILD_DIED, RQ_MSG_CHILD_DIED + 11);
        assert_string_equal(text + 33, wanted);
}

/* The longest line fits a pipe's atomic write, ends with a newline, and closes what it opened. */
static void test_long_texts_are_cut_whole(void **state) {
        static char message[8192], field[8192];
        static const char fill[] = { 'x', '\n', '"', '\x01' };
        (void) state;
        for (size_t f = 0; f < sizeof fill; f++)
                for (size_t size = 600; size < 4200; size += 7) {
                        memset(message, fill[f], size);
                        message[size] = '\0';
                        memset(field, fill[f], size / 2);
                        memcpy(field, "RQ_FILE=", 8);
                        field[size / 2] = '\0';
                        const char *fields[] = { field, "RQ_PEER=a b", NULL };
                        for (rq_log_format form = RQ_LOG_PLAIN; form <= RQ_LOG_JSON; form++) {
                                rq_log_open("p", form, LOG_DEBUG);
                                rq_log_write(LOG_INFO, fields, "%s", message);
                                const char *text = logged();
                                size_t length = strlen(text);
                                assert_true(length <= 4096);
                                assert_ptr_equal(strchr(text, '\n'), text + length - 1);
                                if (form == RQ_LOG_JSON)
                                        assert_memory_equal(text + length - 3, "\"}\n", 3);
                        }
                }
}

static void test_journal_only_if_it_is_ours(void **state) {
        char stream[64];
        struct stat st;
        (void) state;
        assert_int_equal(fstat(STDERR_FILENO, &st), 0);
        (void) snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long) st.st_dev, (unsigned long long) st.st_ino + 1);
        static const char *const streams[] = { "", "1", "1:2", "x:y", "1:2:3" };
        for (size_t i = 0; i <= sizeof streams / sizeof streams[0]; i++) {
                (void) setenv("JOURNAL_STREAM", i == 0 ? stream : streams[i - 1], 1);
                rq_log_open("p", RQ_LOG_PLAIN, LOG_INFO);
                rq_log_info("here");
                assert_string_equal(logged_plain(), "p info: here\n");
        }
        (void) unsetenv("JOURNAL_STREAM");
}

static void test_rate_limit(void **state) {
        rq_log_limit limit = { .interval_ms = 1000, .burst = 2 };
        uint32_t suppressed = 99;
        (void) state;
        assert_int_equal(rq_log_allowed(&limit, &suppressed), 1);
        assert_int_equal(suppressed, 0);
        assert_int_equal(rq_log_allowed(&limit, &suppressed), 1);
        suppressed = 99;
        for (int i = 0; i < 5; i++)
                assert_int_equal(rq_log_allowed(&limit, &suppressed), 0);
        assert_int_equal(suppressed, 99);
        (void) usleep(1100000);
        assert_int_equal(rq_log_allowed(&limit, &suppressed), 1);
        assert_int_equal(suppressed, 5);
        assert_int_equal(rq_log_allowed(&limit, &suppressed), 1);
        assert_int_equal(suppressed, 0);
}

static size_t count_lines(const char *text) {
        size_t count = 0;
        for (; *text != '\0'; text++)
                count += *text == '\n';
        return count;
}

/* One kind that repeats itself is bounded, others are not. */
static void test_floods_are_bounded(void **state) {
        (void) state;
        rq_log_open("p", RQ_LOG_PLAIN, LOG_INFO);
        for (int i = 0; i < 100; i++)
                rq_log_info("again %d", i);
        assert_int_equal(count_lines(logged()), 30);
        for (int i = 0; i < 100; i++)
                assert_int_equal(rq_log_error(RQ_EIO, "and again %d", i), RQ_EIO);
        assert_int_equal(count_lines(logged()), 30);
        rq_log_info("something else");
        assert_string_equal(logged_plain(), "p info: something else\n");
}

/* Who writes is in JSON and in the journal; a plain line has no room for it. */
static void test_node_is_told(void **state) {
        (void) state;
        rq_log_open("p", RQ_LOG_PLAIN, LOG_INFO);
        rq_log_set_node("n\"1");
        rq_log_info("here");
        assert_string_equal(logged_plain(), "p info: here\n");
        rq_log_open("p", RQ_LOG_JSON, LOG_INFO);
        rq_log_event(LOG_NOTICE, RQ_MSG_LEADER_LOST, "here");
        assert_non_null(strstr(logged(), "\"message\":\"here\",\"MESSAGE_ID\":\"2c1f6c60a5e94d3e8f0b6f7d9d3e1a0a\",\"RQ_NODE\":\"n\\\"1\"}\n"));
}

static int set_up(void **state) {
        (void) state;
        captured = tmpfile();
        real_stderr = dup(STDERR_FILENO);
        return captured == NULL || dup2(fileno(captured), STDERR_FILENO) < 0 ? -1 : 0;
}

static int tear_down(void **state) {
        (void) state;
        (void) dup2(real_stderr, STDERR_FILENO);
        (void) close(real_stderr);
        return fclose(captured);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_plain_line, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_no_text_can_forge_a_line, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_json_line, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_long_texts_are_cut_whole, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_journal_only_if_it_is_ours, set_up, tear_down),
                cmocka_unit_test(test_rate_limit),
                cmocka_unit_test_setup_teardown(test_floods_are_bounded, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_node_is_told, set_up, tear_down),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
