/* Configuration: sources and their order, faults with their place, rqlite's rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>
#include <cmocka.h>

#include "config/catalog.h"
#include "config/config.h"

enum { WORDS_MAX = 32 };

static char folder[] = "/tmp/rq-test-config-XXXXXX";
static char file[64];

/* A command line in one string, split at blanks; the problem's text, or "" and a config. */
static rq_config *config;
static char problem_text[1024];

static rq_config_action load(const char *line) {
        char copy[1024], *words[WORDS_MAX] = { (char *) (uintptr_t) "rqd" }, *rest = copy, *word;
        int count = 1;
        rq_buf problem = {0};
        rq_config_action action = RQ_CONFIG_RUN;
        config = rq_config_free(config);
        (void) snprintf(copy, sizeof copy, "%s", line);
        while ((word = strsep(&rest, " ")) != NULL)
                if (*word != '\0')
                        words[count++] = word;
        rq_err r = rq_config_load("rqd", count, words, &config, &action, &problem);
        assert_true(r == RQ_OK || r == RQ_ECONFIG);
        assert_true((r == RQ_ECONFIG) == (problem.size > 0));
        (void) snprintf(problem_text, sizeof problem_text, "%.*s", (int) problem.size, problem.size > 0 ? (char *) problem.data : "");
        rq_buf_done(&problem);
        return action;
}

static void loads(const char *line) {
        (void) load(line);
        if (problem_text[0] != '\0')
                fail_msg("%s: %s", line, problem_text);
        assert_non_null(config);
}

static void refused(const char *line, const char *text) {
        (void) load(line);
        if (strstr(problem_text, text) == NULL)
                fail_msg("%s: \"%s\" does not say \"%s\"", line, problem_text, text);
        assert_null(config);
        assert_null(strchr(problem_text, '\n'));
}

static void write_file(const char *text) {
        FILE *f = fopen(file, "w");
        assert_non_null(f);
        assert_true(fputs(text, f) >= 0);
        assert_int_equal(fclose(f), 0);
}

static const char *with_file(const char *line) {
        static char text[256];
        (void) snprintf(text, sizeof text, "-config %s %s", file, line);
        return text;
}

static void test_defaults(void **state) {
        (void) state;
        loads("/d");
        assert_string_equal(rq_config_data_dir(config), "/d");
        assert_string_equal(rq_config_run_dir(config), "/d/run");
        assert_string_equal(rq_config_node_id(config), "localhost:4002");
        assert_string_equal(rq_config_http_adv_addr(config), "localhost:4001");
        assert_string_equal(rq_config_raft_adv_addr(config), "localhost:4002");
        assert_false(rq_config_bool(config, "fk"));
        assert_true(rq_config_bool(config, "raft-shutdown-stepdown"));
        assert_int_equal(rq_config_int(config, "raft-snap"), 8192);
        assert_int_equal(rq_config_int(config, "raft-snap-wal-size"), 4194304);
        assert_int_equal(rq_config_int(config, "max-body-size"), 64 << 20);
        assert_true(rq_config_int(config, "write-step-budget") == 500000000);
        assert_int_equal(rq_config_duration_us(config, "raft-commit-timeout"), 100000);
        assert_int_equal(rq_config_duration_us(config, "watchdog"), 10000000);
        assert_int_equal(rq_config_log_level(config), LOG_INFO);
        assert_false(rq_config_is_set(config, "raft-snap"));
}

static void test_forms_of_flags(void **state) {
        (void) state;
        loads("-http-addr h:1 --raft-addr=h:2 -fk -raft-snap 7 -raft-snap=8 d");
        assert_string_equal(rq_config_string(config, "http-addr"), "h:1");
        assert_string_equal(rq_config_string(config, "raft-addr"), "h:2");
        assert_true(rq_config_bool(config, "fk"));
        assert_int_equal(rq_config_int(config, "raft-snap"), 8); /* the last one counts */
        assert_true(rq_config_is_set(config, "raft-snap"));
        loads("-fk=F -raft-shutdown-stepdown=0 -- -d");
        assert_false(rq_config_bool(config, "fk"));
        assert_false(rq_config_bool(config, "raft-shutdown-stepdown"));
        loads("-raft-snap-wal-size 2MiB -max-body-size=512KiB -log-level DEBUG d");
        assert_int_equal(rq_config_int(config, "raft-snap-wal-size"), 2 << 20);
        assert_int_equal(rq_config_int(config, "max-body-size"), 512 << 10);
        assert_int_equal(rq_config_log_level(config), LOG_DEBUG);

        refused("-fk true d", "arguments after data directory (true) are not accepted ([d])");
        refused("d -fk x", "arguments after data directory (d) are not accepted ([-fk x])");
        refused("", "data directory path is required");
        refused("-fk", "data directory path is required");
        refused("-raft-snap", "flag needs an argument: -raft-snap");
        refused("---fk d", "bad flag syntax: ---fk");
        refused("-=x d", "bad flag syntax: -=x");
        refused("-fk=maybe d", "-fk: \"maybe\" is not true or false");
        refused("-raft-snap abc d", "-raft-snap: \"abc\" is not a whole number");
        refused("-raft-snap +1 d", "-raft-snap: \"+1\" is not a whole number");
        refused("-raft-snap 99999999999999999999 d", "-raft-snap: \"99999999999999999999\" is not a whole number");
        refused("-raft-snap -1 d", "-raft-snap: -1 is too small; at least 1");
        refused("-raft-snap-wal-size 9007199254740993GiB d", "is not a size");
        refused("-raft-snap-int 10 d", "-raft-snap-int: \"10\" is not a time");
        refused("-raft-snap-int -1s d", "-raft-snap-int: -1s is too small; at least 5ms");
        refused("-log-format xml d", "-log-format: \"xml\" is not one of plain|json");
        refused("-htp-addr x:1 d", "-htp-addr: no such flag; did you mean -http-addr?");
        refused("-completely-else d", "-completely-else: no such flag (--help shows all)");
        refused("-data-dir a b", "data directory given twice");
}

static void test_order_of_sources(void **state) {
        (void) state;
        write_file("# a node\n\ndata-dir = /from-file\nraft-snap=1\n  raft-snap-int = 11s   # slow\nfk = true\nhttp-allow-origin = a#b\n");
        (void) setenv("RQ_RAFT_SNAP_INT", "12s", 1);
        (void) setenv("RQ_RAFT_SNAP_WAL_SIZE", "2", 1);
        loads(with_file("-raft-snap-wal-size 3"));
        assert_string_equal(rq_config_data_dir(config), "/from-file");
        assert_int_equal(rq_config_int(config, "raft-snap"), 1);
        assert_int_equal(rq_config_duration_us(config, "raft-snap-int"), 12000000);
        assert_int_equal(rq_config_int(config, "raft-snap-wal-size"), 3);
        assert_true(rq_config_bool(config, "fk"));
        assert_string_equal(rq_config_string(config, "http-allow-origin"), "a#b");
        loads(with_file("/from-line"));
        assert_string_equal(rq_config_data_dir(config), "/from-line");

        (void) setenv("RQ_CONFIG", file, 1);
        (void) setenv("RQ_DATA_DIR", "/from-environment", 1);
        loads("");
        assert_string_equal(rq_config_data_dir(config), "/from-environment");
        assert_int_equal(rq_config_int(config, "raft-snap"), 1);

        (void) setenv("RQ_INTERNAL_LAUNCHER_FD", "3", 1);
        (void) setenv("RQ_TEST_NODE", "x", 1);
        loads("");
        (void) setenv("RQ_RAFT_SNP", "3", 1);
        refused("", "RQ_RAFT_SNP: no such flag; did you mean RQ_RAFT_SNAP?");
        (void) unsetenv("RQ_RAFT_SNP");
        (void) setenv("RQ_HELP", "1", 1);
        refused("", "RQ_HELP: only on the command line");
        (void) unsetenv("RQ_HELP");
        (void) setenv("RQ_FK", "x", 1);
        refused("", "RQ_FK: \"x\" is not true or false");
        (void) unsetenv("RQ_FK");
        (void) setenv("RQ_CDC_CONFIG", "users.json", 1);
        refused("", "RQ_CDC_CONFIG: not available yet");
        (void) unsetenv("RQ_CDC_CONFIG");

        /* A fault in a weaker source shows, also while it is overruled. */
        (void) setenv("RQ_RAFT_SNAP_INT", "soon", 1);
        refused("-raft-snap-int 3s", "RQ_RAFT_SNAP_INT: \"soon\" is not a time");
        static const char *const names[] = {
                "RQ_RAFT_SNAP_INT", "RQ_RAFT_SNAP_WAL_SIZE", "RQ_CONFIG", "RQ_DATA_DIR", "RQ_INTERNAL_LAUNCHER_FD", "RQ_TEST_NODE",
        };
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
                (void) unsetenv(names[i]);
}

static void refused_in_file(const char *text, int line, const char *complaint) {
        char wanted[512];
        write_file(text);
        (void) snprintf(wanted, sizeof wanted, "%s:%d: %s", file, line, complaint);
        refused(with_file("d"), wanted);
}

static void test_faults_in_the_file(void **state) {
        (void) state;
        refused_in_file("fk = true\nfoo\n", 2, "expected 'name = value', found \"foo\"");
        refused_in_file("raft-snp = 3", 1, "raft-snp: no such flag; did you mean raft-snap?");
        refused_in_file("-fk = true", 1, "-fk: no such flag; did you mean fk?");
        refused_in_file("fk = true\n\n# c\nfk = false\n", 4, "fk: is there already in line 1");
        refused_in_file("raft-snap = many\n", 1, "raft-snap: \"many\" is not a whole number");
        refused_in_file("\ncdc-config = users.json\n", 2, "cdc-config: not available yet");
        refused_in_file("config = other\n", 1, "config: not in a file");
        refused_in_file("help = true\n", 1, "help: not in a file");
        refused_in_file("= 3\n", 1, ": no such flag");
        refused("-config /nonexistent/rq.conf d", "cannot read configuration file /nonexistent/rq.conf: No such file or directory");
        refused("-config / d", "cannot read configuration file /: Is a directory");

        FILE *f = fopen(file, "w");
        assert_non_null(f);
        assert_int_equal(fwrite("fk\0= true\n", 1, 10, f), 10);
        assert_int_equal(fclose(f), 0);
        refused(with_file("d"), "not a text file");
        write_file("\xEF\xBB\xBF" "fk = true\r\n");
        loads(with_file("d"));
        assert_true(rq_config_bool(config, "fk"));
        refused("-config /dev/zero d", "/dev/zero:1: not a text file"); /* without an end: never taken in whole */

        static char line[64 * 1024 + 1];
        (void) memset(line, '#', sizeof line - 1);
        refused_in_file(line, 1, "a line of 65536 bytes or more");
        line[sizeof line - 2] = '\0';
        write_file(line);
        loads(with_file("d"));
}

static void test_rules_of_rqlite(void **state) {
        static const struct { const char *line, *text; } rows[] = {
                { "-http-cert c d", "either both -http-cert and -http-key must be set, or neither" },
                { "-node-key c d", "either both -node-cert and -node-key must be set, or neither" },
                { "-http-verify-common-name n d", "-http-verify-common-name requires -http-verify-client" },
                { "-http-addr h:1 -raft-addr h:1 d", "HTTP and Raft addresses must differ" },
                { "-http-adv-addr h:1 -raft-adv-addr h:1 d", "advertised HTTP and Raft addresses must differ" },
                { "-http-addr HTTP://h:1 d", "HTTP options should not include protocol (http:// or https://)" },
                { "-http-adv-addr https://h:1 d", "HTTP options should not include protocol (http:// or https://)" },
                { "-http-addr h d", "HTTP bind address not valid" },
                { "-http-addr h:1,unix:/s,h:1 d", "-http-addr names h:1 twice" },
                { "-http-addr unix:/s,h:1,unix:/s d", "-http-addr names unix:/s twice" },
                { "-http-addr h:1,unix:x d", "HTTP bind address not valid (unix:x); the path of a unix socket begins with /" },
                { "-http-addr h:1,,h:3 d", "HTTP bind address not valid (); it must be host:port" },
                { "-http-addr unix:/x d", "-http-addr names unix sockets only: -http-adv-addr must say" },
                { "-http-unix-mode 888 d", "-http-unix-mode: \"888\" is not an octal mode, such as 0660" },
                { "-http-addr ::1:4001 d", "HTTP bind address not valid" },
                { "-http-addr h:70000 d", "HTTP bind address not valid" },
                { "-http-adv-addr h d", "HTTP advertised HTTP address not valid" },
                { "-http-addr 0.0.0.0:1 d", "advertised HTTP address is not routable (0.0.0.0), specify it via -http-addr or -http-adv-addr" },
                { "-http-addr [::]:1 d", "advertised HTTP address is not routable (::), specify it via" },
                { "-http-addr :1 d", "advertised HTTP address is not routable (:1), specify it via" },
                { "-raft-addr 0.0.0.0:1 d", "advertised Raft address is not routable (0.0.0.0), specify it via -raft-addr or -raft-adv-addr" },
                { "-raft-addr h d", "raft bind address not valid" },
                { "-raft-addr h:x d", "raft bind port not valid" },
                { "-raft-adv-addr h d", "raft advertised address not valid" },
                { "-raft-adv-addr h:x d", "raft advertised port is not valid" },
                { "-bootstrap-expect 1 -raft-non-voter d", "bootstrapping only applicable to voting nodes" },
                { "-join x d", "x is an invalid join address" },
                { "-join localhost:4002 d", "node cannot join with itself unless bootstrapping" },
                { "-join h:1 -auto-restore f d", "auto-restoring cannot be used when joining a cluster" },
                { "-join h:1 -disco-mode dns d", "disco mode cannot be used when also explicitly joining a cluster" },
                { "-disco-mode x d", "disco mode must be one of consul-kv, etcd-kv, dns, or dns-srv" },
                { "-disco-mode etcd-kv -bootstrap-expect 1 d", "bootstrapping not applicable when using etcd-kv" },
                { "-disco-mode dns-srv d", "bootstrap-expect value required when using dns-srv with a voting node" },
                { "-raft-non-voter -cdc-config f d", "CDC cannot be enabled on non-voting nodes" },
                { "-otlp-insecure d", "OTLP options require -otlp-endpoint" },
                { "-otlp-endpoint http://h:1 d", "-otlp-endpoint must not include a protocol scheme" },
                { "-otlp-endpoint h d", "-otlp-endpoint is not a valid address" },
                { "-otlp-endpoint h:1 -otlp-interval 0 d", "-otlp-interval must be greater than zero" },
                { "-otlp-endpoint h:1 -otlp-insecure -otlp-no-verify d", "-otlp-insecure cannot be used with other OTLP TLS options" },
                { "-raft-reap-node-timeout -1s d", "-raft-reap-node-timeout: -1s is too small; at least 0s" },
                { "-raft-reap-read-only-node-timeout -1s d", "-raft-reap-read-only-node-timeout: -1s is too small; at least 0s" },
                { "-node-id a\xff d", "-node-id: byte 2 is a control character, or not UTF-8" },
                { "-node-id \xc3\xa9\x01 d", "-node-id: byte 3 is a control character, or not UTF-8" },
                { "-node-id \xed\xa0\x80 d", "-node-id: byte 1 is a control character, or not UTF-8" },
                { "-node-id \xc0\xaf d", "-node-id: byte 1 is a control character, or not UTF-8" },
                { "-node-id \xf4\x90\x80\x80 d", "-node-id: byte 1 is a control character, or not UTF-8" },
                { "-node-id a\xe2\x82 d", "-node-id: byte 2 is a control character, or not UTF-8" },
                { "-raft-leader-lease-timeout 2s d", "-raft-leader-lease-timeout must not be more than -raft-heartbeat-timeout" },
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
                refused(rows[i].line, rows[i].text);
        loads("-http-addr 0.0.0.0:1 -http-adv-addr h:1 -raft-addr [::]:2 -raft-adv-addr [fe80::1]:2 d");
        assert_string_equal(rq_config_node_id(config), "[fe80::1]:2");
        loads("-http-addr unix:/x,h:1,unix:/y d");
        assert_string_equal(rq_config_http_adv_addr(config), "h:1");
        loads("-node-id n1 d");
        assert_string_equal(rq_config_node_id(config), "n1");
        loads("-node-id \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"<\\ d");
        char line[300];
        (void) snprintf(line, sizeof line, "-node-id %0255d d", 1);
        loads(line);
        (void) snprintf(line, sizeof line, "-node-id %0256d d", 1);
        refused(line, "-node-id: longer than 255 bytes");
}

/* Every flag marked so takes its default, in another spelling too, and nothing else. */
static void test_what_is_not_built_is_refused(void **state) {
        char line[256], wanted[256];
        (void) state;
        for (size_t i = 0; i < rq_flag_count(); i++) {
                const rq_flag *flag = rq_flag_at(i);
                if (flag->status != RQ_FLAG_LATER || strcmp(flag->name, "disco-mode") == 0 || strstr(flag->name, "otlp") != NULL ||
                    strstr(flag->name, "-cert") != NULL || strstr(flag->name, "-key") != NULL || strstr(flag->name, "common-name") != NULL)
                        continue; /* rules come first with these: test_rules_of_rqlite */
                const char *other = flag->type == RQ_FLAG_BOOL ? "true" : flag->type == RQ_FLAG_DURATION ? "77s" : flag->type == RQ_FLAG_INT ? "77" : "x";
                (void) snprintf(line, sizeof line, "-%s=%s d", flag->name, other);
                (void) snprintf(wanted, sizeof wanted, "-%s: not available yet", flag->name);
                refused(line, wanted);
                (void) snprintf(line, sizeof line, "-%s=%s d", flag->name, flag->initial);
                loads(line);
        }
        loads("-auto-optimize-int 1440m d");
        refused("-disco-key k d", "-disco-key: not available yet");
        loads("-http-cert c -http-key k -http-ca-cert a -http-verify-client -http-verify-common-name n -http-addr h:1 d");
        assert_string_equal(rq_config_api_addr(config), "https://h:1");
        refused("-http-verify-client d", "-http-verify-client requires -http-cert and -http-key");
        loads("-cpu-profile x d");
        loads("-compress-snap-transport d"); /* always done */
        loads("-raft-heartbeat-timeout 2s d"); /* beside the default of -raft-election-timeout, which has no effect */
        /* What a rule asks for must not be what another one forbids. */
        refused("-disco-mode dns -bootstrap-expect 3 d", "-disco-mode: not available yet");
        /* What the reference's end-to-end harness passes to a node. */
        loads("-node-id 1 -http-addr localhost:1 -bootstrap-expect 0 -raft-addr localhost:2 -raft-snap 8192 -raft-snap-int 10s "
              "-raft-cluster-remove-shutdown=false -raft-non-voter=false -http-adv-addr localhost:1 -join-interval 1s -raft-log-level INFO d");
}

static void test_founders_are_named_by_all(void **state) {
        static const struct { const char *line, *text; } rows[] = {
                { "-bootstrap-expect 3 d", "-bootstrap-expect 3 needs -join with the Raft addresses of all 3 nodes" },
                { "-bootstrap-expect 16 d", "-bootstrap-expect: 16 is too large; at most 15" },
                { "-bootstrap-expect 3 -join localhost:4002,h:1 d", "-join names 2 nodes, -bootstrap-expect says 3" },
                { "-bootstrap-expect 1 -join localhost:4002,h:1 d", "-join names 2 nodes, -bootstrap-expect says 1" },
                { "-bootstrap-expect 1 -join h:1 d", "-join must name this node, too" },
                { "-bootstrap-expect 3 -join localhost:4002,h:1,h:1 d", "-join names h:1 twice" },
                { "-bootstrap-expect 2 -join localhost:4002,h:x d", "h:x is an invalid join address" },
                { "-bootstrap-expect 2 -join localhost:4002,h:0 d", "h:0 is an invalid join address" },
                { "-bootstrap-expect 2 -join localhost:4002,0.0.0.0:7 d", "0.0.0.0:7 is an invalid join address" },
                { "-bootstrap-expect 2 -join localhost:4002,http://h:7 d", "http://h:7 is an invalid join address" },
                { "-bootstrap-expect 2 -join localhost:4002, d", " is an invalid join address" },
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
                refused(rows[i].line, rows[i].text);
        loads("-bootstrap-expect 1 -raft-adv-addr a:1 -join localhost:4002 d");
        loads("-bootstrap-expect 1 d");
        /* Without founders: a running cluster is joined, and an address is tried before it is judged. */
        loads("-join h:1,h:2 d");
        /* Nor are these founders: they join what h:1 and h:2 found. */
        loads("-bootstrap-expect 2 -join h:2,h:1 d");
        loads("-bootstrap-expect 2 -raft-adv-addr a:1 -join localhost:4002,h:1 d");
        loads("-join http://nonsense d");
        loads("-bootstrap-expect 3 -raft-addr 0.0.0.0:9 -raft-adv-addr [fe80::1]:9 -join h:1,[fe80::1]:9,h:2 d");
}

static void test_the_join_list_is_read(void **state) {
        static const char *const wanted[] = { "h:1", "[fe80::1]:9", "h:2" };
        char address[RQ_ADDRESS_BYTES_MAX];
        size_t at = 0, count = 0;
        (void) state;
        write_file("join = h:1, [fe80::1]:9 ,h:2\nbootstrap-expect = 3\nraft-adv-addr = [fe80::1]:9\n");
        loads(with_file("d"));
        while (rq_address_next(rq_config_string(config, "join"), &at, address))
                assert_string_equal(address, wanted[count++]);
        assert_int_equal(count, 3);
        assert_false(rq_address_next(rq_config_string(config, "join"), &at, address));
        loads("d");
        at = 0;
        assert_false(rq_address_next(rq_config_string(config, "join"), &at, address));
}

/* A leader must be heard several times before anybody gives up on it, and its
 * lease must be over by then, whatever the flags say. */
static void test_times_of_raft_fit_each_other(void **state) {
        static const struct { const char *line; uint64_t heartbeat_us, election_us, lease_us; } rows[] = {
                { "d", 100000, 500000, 375000 },
                { "-raft-commit-timeout 20ms -raft-heartbeat-timeout 1s d", 20000, 1000000, 750000 },
                { "-raft-commit-timeout 5s d", 100000, 500000, 375000 },
                { "-raft-heartbeat-timeout 50ms d", 10000, 50000, 37500 },
                { "-raft-leader-lease-timeout 500ms d", 100000, 500000, 450000 },
                { "-raft-leader-lease-timeout 100ms d", 100000, 500000, 100000 },
                { "-raft-heartbeat-timeout 5ms d", 1000, 5000, 3750 },
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                loads(rows[i].line);
                rq_raft_times times = rq_config_raft_times(config);
                assert_int_equal(times.heartbeat_us, rows[i].heartbeat_us);
                assert_int_equal(times.election_us, rows[i].election_us);
                assert_int_equal(times.lease_us, rows[i].lease_us);
        }
}

static void without_effect(const char *line, const char *program, const char *names) {
        rq_buf got = {0};
        loads(line);
        assert_int_equal(rq_config_without_effect(config, program, &got), RQ_OK);
        assert_string_equal(got.size > 0 ? (const char *) got.data : "", names);
        rq_buf_done(&got);
}

/* What rqd writes down of its start can be read again, wherever from. */
static void test_what_was_set_can_be_read_again(void **state) {
        rq_buf text = {0};
        (void) state;
        loads("d");
        assert_false(rq_config_names_files(config));
        assert_int_equal(rq_config_text(config, &text), RQ_OK);
        assert_int_equal(text.size, 0);
        loads("-http-addr h:1 -fk -run-dir r -raft-snap 8192 -auth /x//users,1.json -raft-snap-int 1m d");
        assert_true(rq_config_names_files(config));
        assert_int_equal(rq_config_text(config, &text), RQ_OK);
        assert_int_equal(rq_buf_append(&text, "", 1), RQ_OK);
        assert_string_equal((const char *) text.data, "fk = true\nhttp-addr = h:1\nauth = /x/users,1.json\nraft-snap-int = 1m\n");
        rq_buf_done(&text);
        text = (rq_buf) {0};
        loads("-http-allow-origin a#b -extensions-path e,/f//g,../h d"); /* the first one doesn't fit a line */
        assert_true(rq_config_names_files(config));
        assert_int_equal(rq_config_text(config, &text), RQ_OK);
        assert_int_equal(rq_buf_append(&text, "", 1), RQ_OK);
        char wanted[1000], *here = getcwd(NULL, 0);
        (void) snprintf(wanted, sizeof wanted, "extensions-path = %s/e,/f/g,%s/../h\n", here, here);
        free(here);
        assert_string_equal((const char *) text.data, wanted);
        rq_buf_done(&text);
}

static void test_what_has_no_effect_is_named(void **state) {
        (void) state;
        without_effect("d", "rqd", "");
        without_effect("-raft-log-level warn -raft-election-timeout 1000ms -join-attempts=5 -raft-snap 7 d", "rqd", "");
        without_effect("-raft-log-level info -join-attempts=6 -raft-remove-shutdown=true d", "rqd",
                       "-raft-log-level, -raft-remove-shutdown");
        without_effect("-join localhost:4002 -bootstrap-expect 1 -raft-commit-timeout 7ms d", "rqd", "");
        without_effect("-raft-apply-timeout 9s d", "rq-consensus", "-raft-apply-timeout");
        without_effect("-raft-apply-timeout 9s d", "rq-gateway", "");
        refused("-raft-log-level loud d", "-raft-log-level: \"loud\" is not one of");
        refused("-raft-commit-timeout 0s d", "-raft-commit-timeout: 0s is too small");
        /* Said once: by rqd, or else by one service. */
        for (size_t i = 0; i < rq_flag_count(); i++)
                if (rq_flag_at(i)->status == RQ_FLAG_NO_EFFECT)
                        assert_int_equal(rq_flag_at(i)->used_by, RQ_USED_CONSENSUS);
}

static void test_paths_are_absolute(void **state) {
        char wanted[300], *here = getcwd(NULL, 0);
        (void) state;
        assert_non_null(here);
        loads("./a//b/");
        (void) snprintf(wanted, sizeof wanted, "%s/a/b", here);
        assert_string_equal(rq_config_data_dir(config), wanted);
        loads("-run-dir /run/../x/. ../d");
        (void) snprintf(wanted, sizeof wanted, "%s/../d", here);
        assert_string_equal(rq_config_data_dir(config), wanted);
        assert_string_equal(rq_config_run_dir(config), "/run/../x");
        loads("/");
        assert_string_equal(rq_config_data_dir(config), "/");
        free(here);
}

static void test_catalog_is_sound(void **state) {
        (void) state;
        for (size_t i = 0; i < rq_flag_count(); i++) {
                const rq_flag *flag = rq_flag_at(i);
                assert_int_equal(rq_flag_find(rq_bytes_text(flag->name)), i); /* no name twice */
                assert_ptr_equal(rq_flag_nearest(rq_bytes_text(flag->name)), flag);
                assert_true((flag->type == RQ_FLAG_BOOL) == (flag->value == NULL));
                assert_true(strlen(flag->name) < 40 && strlen(flag->help) > 10);
        }
}

static void test_addresses_split(void **state) {
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        (void) state;
        assert_int_equal(rq_address_split("[::1]:65535", host, port), RQ_OK);
        assert_string_equal(host, "::1");
        assert_string_equal(port, "65535");
        assert_int_equal(rq_address_split(":0", host, port), RQ_OK);
        assert_string_equal(host, "");
        static const char *const bad[] = { "", "h", "h:", "h:65536", "h:123456", "h:-1", "h:1x", "[::1:1", "::1]:1", "a:b:1", "[]a:1", "[a]b:1" };
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
                assert_int_equal(rq_address_split(bad[i], host, port), RQ_EINVAL);
        char long_host[400];
        memset(long_host, 'a', sizeof long_host);
        memcpy(long_host + 300, ":1", 3);
        assert_int_equal(rq_address_split(long_host, host, port), RQ_EINVAL);
}

static int set_up(void **state) {
        (void) state;
        if (mkdtemp(folder) == NULL)
                return -1;
        (void) snprintf(file, sizeof file, "%s/rq.conf", folder);
        return 0;
}

static int tear_down(void **state) {
        (void) state;
        config = rq_config_free(config);
        (void) unlink(file);
        return rmdir(folder);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_forms_of_flags),
                cmocka_unit_test(test_order_of_sources),
                cmocka_unit_test(test_faults_in_the_file),
                cmocka_unit_test(test_rules_of_rqlite),
                cmocka_unit_test(test_what_is_not_built_is_refused),
                cmocka_unit_test(test_founders_are_named_by_all),
                cmocka_unit_test(test_the_join_list_is_read),
                cmocka_unit_test(test_times_of_raft_fit_each_other),
                cmocka_unit_test(test_what_was_set_can_be_read_again), cmocka_unit_test(test_what_has_no_effect_is_named),
                cmocka_unit_test(test_paths_are_absolute),
                cmocka_unit_test(test_catalog_is_sound),
                cmocka_unit_test(test_addresses_split),
        };
        return cmocka_run_group_tests(tests, set_up, tear_down);
}
