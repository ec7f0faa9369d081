/* What the first word of rqd's command line is taken for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/command.h"

static void expect(const char *word, command_kind kind, const char *part) {
        const char *advice = "";
        if (command_of(word, &advice) != kind)
                print_error("%s\n", word);
        assert_int_equal(command_of(word, &advice), kind);
        assert_non_null(strstr(advice, part));
}

static void commands(void **state) {
        (void) state;
        expect("doctor", COMMAND_DOCTOR, "");
        expect("recover", COMMAND_RECOVER, "");
        expect("help", COMMAND_HELP, "");
        expect("version", COMMAND_VERSION, "");
}

static void mistyped_commands(void **state) {
        static const struct { const char *word, *part; } rows[] = {
                { "Doctor", "rqd doctor?" }, { "docter", "rqd doctor?" }, { "doctr", "rqd doctor?" }, { "recovr", "rqd recover?" },
                { "RECOVER", "rqd recover?" }, { "recovery", "rqd recover?" }, { "HELP", "rqd help?" }, { "hel", "rqd help?" },
                { "Version", "rqd version?" }, { "verison", "rqd version?" },
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
                expect(rows[i].word, COMMAND_WRONG, rows[i].part);
}

static void commands_of_others(void **state) {
        (void) state;
        expect("status", COMMAND_WRONG, "/status");
        expect("Start", COMMAND_WRONG, "rqd DATA_DIR");
        expect("stop", COMMAND_WRONG, "SIGTERM");
        expect("backup", COMMAND_WRONG, "/db/backup");
}

static void data_directories(void **state) {
        static const char *const words[] = {
                "data", "data1", "d", "n1", "node", "rq-data", "./doctor", "./help", "status/", "/var/lib/rq", "db", "test", "sector", "production",
                "", ".", "..", "a-name-that-is-longer-than-any-word-a-command-could-be-mistaken-for",
        };
        (void) state;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
                expect(words[i], COMMAND_NONE, "");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(commands), cmocka_unit_test(mistyped_commands), cmocka_unit_test(commands_of_others), cmocka_unit_test(data_directories),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
