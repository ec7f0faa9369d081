/* rq-store as a process, with its neighbours faked at the sockets. */
#include "store_node.h"

#include <sqlite3.h>
#include <sys/resource.h>

#define COUNT_IS(n) "{\"results\":[{\"columns\":[\"count(*)\"],\"types\":[\"integer\"],\"values\":[[" #n "]]}]"
#define FOR_EVER "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
#define MANY_ROWS "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 200000) SELECT x FROM c"

static void test_writes_are_applied_answered_and_read_back(void **state) {
        node *n = *state;
        assert_int_equal(n->fetched_from, 1);
        assert_true(n->fetched_fresh);
        node_log(n, RECORD_NOOP, (rq_bytes) {0}, rq_clock_wall_us());
        uint64_t create = node_append(n, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", RQ__SQL_MODE__SQL_EXECUTE);
        uint64_t insert = node_append(n, "INSERT INTO t (v) VALUES ('a'), ('b')", RQ__SQL_MODE__SQL_EXECUTE);
        node_commit(n);
        node_assert_text(n, create, "{\"results\":[{}]");
        node_assert_text(n, insert, "{\"results\":[{\"last_insert_id\":2,\"rows_affected\":2}]");
        assert_int_equal(node_wait(n, insert)->index, 3);
        assert_true(node_wait(n, insert)->via_log);
        NODE_UNTIL(n, n->applied == 3);

        uint64_t query = node_query(n, "SELECT count(*) FROM t");
        node_assert_text(n, query, COUNT_IS(2));
        assert_int_equal(node_wait(n, query)->index, 3);
        query = node_query(n, "SELECT count(*) FROM t", .at = true, .index = 3);
        node_assert_text(n, query, COUNT_IS(2));
}

static void tell_misfit(node *n, const char *reason) {
        uint8_t body[128];
        Rq__Misfit m = RQ__MISFIT__INIT;
        m.reason = (char *) (uintptr_t) reason;
        const size_t size = rq__misfit__pack(&m, body);
        assert_int_equal(ipc_link_send(ipc_connector_link(n->consensus), IPC_MISFIT, 0, rq_bytes_of(body, size), (rq_bytes) {0}), RQ_OK);
}

/* Not to anybody, whatever he asks for, and whether he waits already; until consensus sends of its log again. */
static void test_a_database_that_is_not_of_the_log_is_not_served(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t"), COUNT_IS(0));
        uint64_t waiting = node_query(n, "SELECT count(*) FROM t", .at = true, .index = 99);
        node_run(n, 20);
        tell_misfit(n, "it belongs to another cluster");
        node_assert_refused(n, waiting, RQ__REQUEST_FAILED__REASON__STORE_FAILED);
        node_assert_refused(n, node_query(n, "SELECT count(*) FROM t"), RQ__REQUEST_FAILED__REASON__STORE_FAILED);
        node_assert_refused(n, node_query(n, "SELECT count(*) FROM t", .at = true, .index = 1), RQ__REQUEST_FAILED__REASON__STORE_FAILED);
        assert_non_null(strstr(node_status(n), "this node's database does not belong to its log: it belongs to another cluster"));
        (void) node_wait(n, node_write(n, "INSERT INTO t VALUES (1)"));
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t"), COUNT_IS(1));
}

static void test_an_error_of_sql_is_an_answer(void **state) {
        node *n = *state;
        node_assert_text(n, node_write(n, "INSERT INTO nope VALUES (1)"), "{\"results\":[{\"error\":\"no such table: nope\"}]");
        node_assert_text(n, node_query(n, "SELECT * FROM nope"), "{\"results\":[{\"error\":\"no such table: nope\"}]");
}

static void test_after_kill_it_asks_for_what_is_missing(void **state) {
        node *n = *state;
        (void) node_write(n, "CREATE TABLE t (v)");
        for (int i = 0; i < 50; i++)
                (void) node_write(n, "INSERT INTO t VALUES (1)");
        NODE_UNTIL(n, n->applied == 51);
        uint64_t hash = n->outcome_hash;
        node_kill(n);
        uint64_t missed = node_append(n, "INSERT INTO t VALUES (2)", RQ__SQL_MODE__SQL_EXECUTE);
        n->commit_index = n->last_index;
        n->fetches = 0;
        node_spawn(n);
        NODE_UNTIL(n, n->fetches == 1);
        assert_int_equal(n->fetched_from, 52); /* nothing that was applied is lost or done again */
        assert_int_equal(n->fetched_term, 1);
        assert_false(n->fetched_fresh);
        node_assert_text(n, missed, "{\"results\":[{\"last_insert_id\":51,\"rows_affected\":1}]");
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t"), COUNT_IS(51));
        NODE_UNTIL(n, n->applied == 52);
        assert_int_not_equal(n->outcome_hash, hash);
}

static void test_kills_at_any_moment_lose_nothing(void **state) {
        node *n = *state;
        (void) node_write(n, "CREATE TABLE t (v)");
        for (int round = 0; round < 8; round++) {
                for (int i = 0; i < 200; i++)
                        (void) node_append(n, "INSERT INTO t VALUES (zeroblob(500))", RQ__SQL_MODE__SQL_EXECUTE);
                node_commit(n);
                node_run(n, (uint64_t) round * 2);
                uint64_t applied = n->applied;
                node_kill(n);
                n->fetches = 0;
                node_spawn(n);
                NODE_UNTIL(n, n->fetches > 0);
                assert_true(n->fetched_from > applied);
                assert_true(n->fetched_from <= n->last_index + 1);
                NODE_UNTIL(n, ipc_connector_link(n->gateway) != NULL);
        }
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t", .min_index = 1601), COUNT_IS(1600));
}

static void test_stopping_makes_a_checkpoint(void **state) {
        node *n = *state;
        (void) node_write(n, "CREATE TABLE t (v)");
        uint64_t last = node_write(n, "INSERT INTO t VALUES (1)");
        (void) node_wait(n, last);
        assert_int_equal(node_stop(n), 0);
        n->fetches = 0;
        node_spawn(n);
        NODE_UNTIL(n, n->fetches == 1);
        assert_int_equal(n->fetched_from, 3);
        assert_int_equal(n->fetched_checkpoint, 2);
}

static void test_stopping_ends_what_runs(void **state) {
        node *n = *state;
        uint64_t query = node_query(n, FOR_EVER);
        node_run(n, 50);
        uint64_t start_us = rq_clock_mono_us();
        assert_int_equal(node_stop(n), 0);
        assert_true(rq_clock_mono_us() - start_us < 20000000);
        node_assert_refused(n, query, RQ__REQUEST_FAILED__REASON__STOPPING);
}

/* It is kept aside; the log makes another one. */
static void test_a_foreign_database_file_is_not_used(void **state) {
        node *n = *state;
        char path[96];
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        assert_int_equal(node_stop(n), 0);
        (void) snprintf(path, sizeof path, "%s/store/db.sqlite", n->dir);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_int_equal(pwrite(fd, "x", 1, 24), 1); /* the change counter */
        (void) close(fd);
        n->fetches = 0;
        n->gateway = ipc_connector_free(n->gateway); /* it would get the answer once more */
        node_spawn(n);
        NODE_UNTIL(n, n->fetches == 1);
        assert_int_equal(n->fetched_from, 1);
        NODE_UNTIL(n, n->applied == 1);
        (void) snprintf(path, sizeof path, "%s/store/aside/1/db.sqlite", n->dir);
        assert_int_equal(access(path, F_OK), 0);
}

static void set_aside(node *n, uint64_t index, uint64_t own, uint64_t majority) {
        uint8_t body[64];
        Rq__SetAside m = RQ__SET_ASIDE__INIT;
        m.index = index;
        m.own_hash = own;
        m.majority_hash = majority;
        const size_t size = rq__set_aside__pack(&m, body);
        assert_int_equal(ipc_link_send(ipc_connector_link(n->consensus), IPC_SET_ASIDE, 0, rq_bytes_of(body, size), (rq_bytes) {0}), RQ_OK);
}

/* Only what it has said itself can be held against it. */
static void test_a_diverged_database_is_kept_aside(void **state) {
        node *n = *state;
        char path[96];
        (void) node_write(n, "CREATE TABLE t (v)");
        node_assert_text(n, node_write(n, "INSERT INTO t VALUES (1)"), "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1}]");
        NODE_UNTIL(n, n->marks.count > 0);
        const outcome_mark mark = n->marks.v[0];
        assert_int_equal(mark.index, 1);
        assert_true(n->profile != 0);
        assert_string_equal(n->sqlite_version, sqlite3_libversion());
        set_aside(n, mark.index, mark.hash + 1, 99);
        set_aside(n, mark.index + 1, mark.hash, 99);
        set_aside(n, mark.index, mark.hash, mark.hash);
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t"), COUNT_IS(1));
        assert_int_equal(waitpid(n->pid, NULL, WNOHANG), 0);
        n->gateway = ipc_connector_free(n->gateway); /* it would get answers once more */
        set_aside(n, mark.index, mark.hash, mark.hash + 1);
        const int status = node_reap(n);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
        n->applied = n->checkpoint = 0;
        n->fetches = 0;
        node_spawn(n);
        NODE_UNTIL(n, n->fetches == 1);
        assert_int_equal(n->fetched_from, 1);
        assert_true(n->fetched_fresh);
        NODE_UNTIL(n, n->applied == 2 && n->marks.count > 0);
        assert_int_equal(n->marks.v[0].hash, mark.hash); /* the same log, the same outcome */
        static const char *const kept[] = { "db.sqlite", "diverged" };
        for (size_t i = 0; i < 2; i++) {
                (void) snprintf(path, sizeof path, "%s/store/aside/1/%s", n->dir, kept[i]);
                assert_int_equal(access(path, F_OK), 0);
        }
        assert_int_equal(node_stop(n), 0); /* and that was all */
        n->fetches = 0;
        node_spawn(n);
        NODE_UNTIL(n, n->fetches == 1);
        assert_int_equal(n->fetched_from, 3);
}

/* A consensus that starts anew hears again what it needs to compare. */
static void test_marks_are_told_again_to_another_consensus(void **state) {
        node *n = *state;
        (void) node_append(n, "CREATE TABLE t (v)", RQ__SQL_MODE__SQL_EXECUTE);
        for (int i = 0; i < 12000; i++)
                (void) node_append(n, "INSERT INTO t VALUES (1)", RQ__SQL_MODE__SQL_EXECUTE);
        while (n->sent_index < n->last_index) {
                n->commit_index = n->sent_index + 1000 < n->last_index ? n->sent_index + 1000 : n->last_index;
                node_feed(n);
                NODE_UNTIL(n, n->applied == n->sent_index);
        }
        NODE_UNTIL(n, n->marks.count >= 12);
        const outcome_marks before = n->marks;
        n->fetches = 0;
        n->consensus = ipc_connector_free(n->consensus);
        node_connect_consensus(n);
        NODE_UNTIL(n, n->fetches == 1 && n->marks.count == before.count);
        assert_memory_equal(n->marks.v, before.v, before.count * sizeof before.v[0]);
}

static void test_a_batch_that_does_not_follow_is_asked_for_again(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        (void) node_append(n, "INSERT INTO t VALUES (1)", RQ__SQL_MODE__SQL_EXECUTE);
        uint64_t last = node_append(n, "INSERT INTO t VALUES (2)", RQ__SQL_MODE__SQL_EXECUTE);
        n->commit_index = n->last_index;
        node_send_batch(n, 3, 3, 2); /* without entry 2 */
        (void) node_wait(n, last);
        assert_int_equal(n->fetches, 2);
        assert_int_equal(n->fetched_from, 2);
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t"), COUNT_IS(2));
        /* The same once more, as if of an earlier stream: ignored. */
        rq_uuid id = n->stream_id;
        n->stream_id = rq_uuid_random();
        node_send_batch(n, 3, 3, 2);
        n->stream_id = id;
        node_assert_text(n, node_write(n, "DELETE FROM t"), "{\"results\":[{\"rows_affected\":2}]");
        assert_int_equal(n->fetches, 2);
}

static void test_reads_wait_for_their_index(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        uint64_t at = node_query(n, "SELECT count(*) FROM t", .at = true, .index = 3, .timeout_us = 20000000);
        uint64_t min = node_query(n, "SELECT count(*) FROM t", .min_index = 2, .timeout_us = 20000000);
        uint64_t never = node_query(n, "SELECT 1", .at = true, .index = 99, .timeout_us = 100000);
        node_assert_refused(n, never, RQ__REQUEST_FAILED__REASON__TIMEOUT);
        assert_false(node_answer_of(n, at)->done);
        assert_false(node_answer_of(n, min)->done);
        (void) node_write(n, "INSERT INTO t VALUES (1)");
        node_assert_text(n, min, COUNT_IS(1));
        assert_false(node_answer_of(n, at)->done);
        (void) node_write(n, "INSERT INTO t VALUES (1)");
        node_assert_text(n, at, COUNT_IS(2));
}

static void test_after_a_start_nothing_is_read_before_what_is_committed(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        node_kill(n);
        n->mute = true;
        n->fetches = 0;
        node_spawn(n);
        NODE_UNTIL(n, n->fetches == 1);
        NODE_UNTIL(n, ipc_connector_link(n->gateway) != NULL);
        (void) node_append(n, "INSERT INTO t VALUES (1)", RQ__SQL_MODE__SQL_EXECUTE);
        n->commit_index = n->last_index;
        uint64_t before = node_query(n, "SELECT count(*) FROM t", .timeout_us = 20000000);
        node_run(n, 300);
        assert_false(node_answer_of(n, before)->done);
        node_send_batch(n, 2, 1, 1); /* the commit index alone */
        node_run(n, 300);
        assert_false(node_answer_of(n, before)->done);
        node_send_batch(n, 2, 2, 1);
        node_assert_text(n, before, COUNT_IS(1));
}

static void test_without_consensus_level_none_is_served_after_a_while(void **state) {
        node *n = *state;
        uint64_t start_us = rq_clock_mono_us();
        node_spawn(n);
        node_connect_gateway(n);
        uint64_t query = node_query(n, "SELECT count(*) FROM sqlite_schema", .timeout_us = 20000000);
        node_assert_text(n, query, COUNT_IS(0));
        assert_true(rq_clock_mono_us() - start_us >= 2900000);
        start_us = rq_clock_mono_us();
        (void) node_wait(n, node_query(n, "SELECT 1"));
        assert_true(rq_clock_mono_us() - start_us < 1000000);
        assert_non_null(strstr(node_status(n), "waiting for rq-consensus"));
}

/* Nobody knows what is committed: level none waits; a read that names its index
 * (of consensus) doesn't have to. */
static void test_reads_behind_the_gate(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        node_kill(n);
        n->mute = true;
        n->fetches = 0;
        node_spawn(n);
        NODE_UNTIL(n, n->fetches == 1);
        NODE_UNTIL(n, ipc_connector_link(n->gateway) != NULL);
        uint64_t start_us = rq_clock_mono_us();
        uint64_t patient = node_query(n, "SELECT count(*) FROM t", .timeout_us = 20000000);
        uint64_t hasty = node_query(n, "SELECT 1", .timeout_us = 200000);
        uint64_t cancelled = node_query(n, "SELECT 1", .timeout_us = 20000000);
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t", .at = true, .index = 1), COUNT_IS(0));
        node_cancel(n, cancelled);
        node_assert_refused(n, hasty, RQ__REQUEST_FAILED__REASON__TIMEOUT);
        uint64_t took_us = rq_clock_mono_us() - start_us;
        assert_in_range(took_us, 200000, 2500000);
        assert_false(node_answer_of(n, patient)->done);
        (void) node_append(n, "INSERT INTO t VALUES (1)", RQ__SQL_MODE__SQL_EXECUTE);
        n->commit_index = n->last_index;
        node_send_batch(n, 2, 1, 1);
        uint64_t late = node_query(n, "SELECT 1", .timeout_us = 100000); /* the gate's index isn't applied either */
        node_assert_refused(n, late, RQ__REQUEST_FAILED__REASON__TIMEOUT);
        node_send_batch(n, 2, 2, 1);
        node_assert_text(n, patient, COUNT_IS(1));
        assert_false(node_answer_of(n, cancelled)->done);
        NODE_UNTIL(n, strstr(node_status(n), "\"reads\":0,") != NULL);
}

/* Served alone for a while; then consensus says how far it is behind. */
static void test_the_gate_closes_when_consensus_comes_late(void **state) {
        node *n = *state;
        node_spawn(n);
        node_connect_gateway(n);
        node_assert_text(n, node_query(n, "SELECT count(*) FROM sqlite_schema", .timeout_us = 20000000), COUNT_IS(0));
        (void) node_append(n, "CREATE TABLE t (v)", RQ__SQL_MODE__SQL_EXECUTE);
        n->commit_index = n->last_index;
        n->mute = true;
        node_connect_consensus(n);
        NODE_UNTIL(n, n->fetches == 1);
        node_assert_text(n, node_query(n, "SELECT count(*) FROM sqlite_schema"), COUNT_IS(0));
        node_send_batch(n, 1, 0, 0);
        node_run(n, 50);
        uint64_t query = node_query(n, "SELECT count(*) FROM sqlite_schema", .timeout_us = 20000000);
        node_run(n, 200);
        assert_false(node_answer_of(n, query)->done);
        node_send_batch(n, 1, 1, 0);
        node_assert_text(n, query, COUNT_IS(1));
}

static void test_a_slow_client_gets_no_more_than_its_credit(void **state) {
        node *n = *state;
        uint64_t query = node_query(n, MANY_ROWS, .credit = 100000);
        node_answer *a = node_answer_of(n, query);
        NODE_UNTIL(n, a->text.size == 100000);
        node_run(n, 100);
        assert_int_equal(a->text.size, 100000);
        (void) node_wait(n, node_query(n, "SELECT 1")); /* others are served meanwhile */
        node_credit(n, query, 50000);
        NODE_UNTIL(n, a->text.size == 150000);
        n->auto_credit = 1;
        node_credit(n, query, 64 * 1024);
        (void) node_wait(n, query);
        assert_false(a->failed);
        assert_true(a->largest <= 64 * 1024);
        assert_true(a->text.size > 1000000);
        assert_memory_equal(a->text.data + a->text.size - 11, "[200000]]}]", 11);
}

static void test_cancel_ends_a_read(void **state) {
        node *n = *state;
        uint64_t running = node_query(n, FOR_EVER), blocked = node_query(n, MANY_ROWS, .credit = 1000);
        NODE_UNTIL(n, node_answer_of(n, blocked)->text.size == 1000);
        assert_null(strstr(node_status(n), "\"reads\":0,"));
        node_cancel(n, running);
        node_cancel(n, blocked);
        NODE_UNTIL(n, strstr(node_status(n), "\"in_use\":0,") != NULL);
        NODE_UNTIL(n, strstr(node_status(n), "\"reads\":0,") != NULL);
        assert_false(node_answer_of(n, running)->done);
        assert_int_equal(node_answer_of(n, blocked)->text.size, 1000);
}

static void test_a_gateway_that_goes_takes_its_reads_along(void **state) {
        node *n = *state;
        for (int i = 0; i < 4; i++)
                (void) node_query(n, FOR_EVER);
        (void) node_query(n, "SELECT 1", .min_index = 99, .timeout_us = 60000000);
        NODE_UNTIL(n, strstr(node_status(n), "\"reads\":5,") != NULL);
        n->gateway = ipc_connector_free(n->gateway);
        node_connect_gateway(n);
        NODE_UNTIL(n, strstr(node_status(n), "\"reads\":0,") != NULL);
}

static void test_refusals(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        node_assert_text(n, node_query(n, "PRAGMA journal_mode=DELETE"), "{\"results\":[],\"error\":\"disallowed pragma\"");
        node_assert_text(n, node_query(n, "DELETE FROM t"), "{\"results\":[{\"error\":\"attempt to change database via query operation\"}]");
        node_assert_refused(n, node_query(n, "DELETE FROM t", .request_mode = true), RQ__REQUEST_FAILED__REASON__NEEDS_LOG);
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t", .request_mode = true), COUNT_IS(0));
        node_assert_text(n, node_query(n, FOR_EVER, .db_timeout_us = 50000), "{\"results\":[{\"error\":\"query timeout\"}]");
}

static void test_a_large_result_of_a_write_flows_with_credits(void **state) {
        node *n = *state;
        (void) node_write(n, "CREATE TABLE t (v)");
        (void) node_wait(n, node_write(n, "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 3000) SELECT printf('%.*c', 1000, 'x') FROM c"));
        uint64_t id = node_append(n, "UPDATE t SET v = v || 'y' RETURNING v", RQ__SQL_MODE__SQL_REQUEST);
        uint64_t gone = node_append(n, "UPDATE t SET v = v || 'y' RETURNING v", RQ__SQL_MODE__SQL_REQUEST);
        uint64_t medium = node_append(n, "SELECT v FROM t LIMIT 150", RQ__SQL_MODE__SQL_REQUEST);
        node_commit(n);
        node_answer *a = node_answer_of(n, id);
        NODE_UNTIL(n, a->text.size == 256 * 1024);
        (void) node_wait(n, medium); /* within the first credit: whole */
        assert_true(node_answer_of(n, medium)->pieces > 1);
        node_cancel(n, gone);
        node_run(n, 100);
        assert_int_equal(a->text.size, 256 * 1024);
        assert_non_null(strstr(node_status(n), "\"results_flowing\":1,"));
        n->auto_credit = 1;
        node_credit(n, id, 64 * 1024);
        (void) node_wait(n, id);
        assert_true(a->via_log && !a->failed);
        assert_true(a->largest <= 64 * 1024);
        assert_true(a->text.size > 3000000);
        assert_memory_equal(a->text.data + a->text.size - 8, "xxy\"]]}]", 8);
        assert_non_null(strstr(node_status(n), "\"results_flowing\":0,"));
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t WHERE length(v) = 1002"), COUNT_IS(3000));
}

#define ROWS(count) "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT " #count ") " \
                    "SELECT printf('%.*c', 1000, 'x') FROM c RETURNING v"

/* More than a first credit, less than what is spilled. */
static void test_a_result_in_memory_flows_with_credits(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        uint64_t id = node_write(n, ROWS(600));
        node_answer *a = node_answer_of(n, id);
        NODE_UNTIL(n, a->text.size == 256 * 1024);
        node_run(n, 100);
        assert_int_equal(a->text.size, 256 * 1024);
        node_credit(n, id, 1000);
        NODE_UNTIL(n, a->text.size == 256 * 1024 + 1000);
        node_credit(n, id, UINT64_MAX);
        (void) node_wait(n, id);
        assert_true(!a->failed && a->via_log);
        assert_true(a->text.size > 600000 && a->text.size < 700000);
        assert_memory_equal(a->text.data + a->text.size - 6, "x\"]]}]", 6);
}

static void test_a_gateway_that_goes_amid_a_result_takes_it_along(void **state) {
        static const char *const writes[] = { ROWS(600), ROWS(3000) }; /* in memory, in a file */
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        for (int i = 0; i < 2; i++) {
                uint64_t id = node_write(n, writes[i]);
                node_answer *a = node_answer_of(n, id);
                NODE_UNTIL(n, a->text.size == 256 * 1024);
                assert_non_null(strstr(node_status(n), "\"results_flowing\":1,"));
                n->gateway = ipc_connector_free(n->gateway);
                node_connect_gateway(n);
                NODE_UNTIL(n, strstr(node_status(n), "\"results_flowing\":0,") != NULL);
                node_credit(n, id, 100000); /* of what is no more: without effect */
                node_run(n, 50);
                assert_int_equal(a->text.size, 256 * 1024);
        }
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t"), COUNT_IS(3600));
}

static void test_a_gateway_that_comes_back_gets_a_large_result_in_pieces(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        n->gateway = ipc_connector_free(n->gateway);
        uint64_t id = node_write(n, ROWS(3000));
        NODE_UNTIL(n, n->applied == 2);
        node_connect_gateway(n);
        node_answer *a = node_answer_of(n, id);
        NODE_UNTIL(n, a->text.size == 256 * 1024);
        n->auto_credit = 1;
        node_credit(n, id, 64 * 1024);
        (void) node_wait(n, id);
        assert_false(a->failed);
        assert_true(a->text.size > 3000000);
        assert_memory_equal(a->text.data + a->text.size - 6, "x\"]]}]", 6);
}

static void test_a_gateway_that_comes_back_gets_its_results(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        n->gateway = ipc_connector_free(n->gateway);
        uint64_t missed = node_write(n, "INSERT INTO t VALUES (1)");
        NODE_UNTIL(n, n->applied == 2);
        node_connect_gateway(n);
        node_assert_text(n, missed, "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1}]");
}

static void test_a_record_of_another_database_stops_applying_but_not_reads(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        n->database_id = rq_uuid_random();
        (void) node_write(n, "INSERT INTO t VALUES (1)");
        NODE_UNTIL(n, strstr(node_status(n), "\"stopped: cannot apply entry 2") != NULL);
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t"), COUNT_IS(0));
        assert_int_equal(node_stop(n), 0);
}

/* An answer is forever: the replay after a power cut must not come to another
 * one because the flags changed. */
static void test_foreign_keys_can_not_be_switched_off_later(void **state) {
        static const char refused[] = "{\"results\":[{\"error\":\"FOREIGN KEY constraint failed\"}]";
        node *n = *state;
        n->flag = "-fk";
        node_spawn(n);
        node_connect_gateway(n);
        node_connect_consensus(n);
        NODE_UNTIL(n, n->fetches == 1);
        uint64_t ids[3];
        (void) node_wait(n, ids[0] = node_write(n, "CREATE TABLE p (id INTEGER PRIMARY KEY)"));
        (void) node_wait(n, ids[1] = node_write(n, "CREATE TABLE c (p REFERENCES p(id))"));
        node_assert_text(n, ids[2] = node_write(n, "INSERT INTO c VALUES (7)"), refused);
        node_kill(n);
        assert_int_equal(unlinkat(n->run_dir_fd, "store.runtime", 0), 0);

        n->flag = NULL;
        node_spawn(n);
        int status = node_reap(n);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 78);

        for (int i = 0; i < 3; i++) { /* they are so young that they will be answered again */
                node_answer_of(n, ids[i])->done = false;
                node_answer_of(n, ids[i])->text.size = 0;
        }
        n->flag = "-fk";
        n->fetches = 0;
        node_spawn(n);
        NODE_UNTIL(n, n->fetches == 1);
        assert_int_equal(n->fetched_from, 1); /* it is all replayed */
        NODE_UNTIL(n, ipc_connector_link(n->gateway) != NULL);
        node_assert_text(n, ids[2], refused);
        node_assert_text(n, node_query(n, "SELECT count(*) FROM c"), COUNT_IS(0));
        node_assert_text(n, node_write(n, "INSERT INTO c VALUES (7)"), refused);
}

static void limit_file_size(node *n, rlim_t bytes) {
        const struct rlimit limit = { .rlim_cur = bytes, .rlim_max = RLIM_INFINITY };
        assert_int_equal(prlimit(n->pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

static void test_when_the_disk_is_full_it_waits_and_goes_on(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        limit_file_size(n, 100000);
        uint64_t id = node_write(n, "INSERT INTO t VALUES (zeroblob(500000))");
        NODE_UNTIL(n, strstr(node_status(n), "\"stopped: ") != NULL);
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t"), COUNT_IS(0));
        assert_false(node_answer_of(n, id)->done);
        limit_file_size(n, RLIM_INFINITY);
        node_assert_text(n, id, "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1}]");
        NODE_UNTIL(n, strstr(node_status(n), "\"applying, at entry 2\"") != NULL);
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t"), COUNT_IS(1));
}

static void test_garbage_from_consensus_closes_the_link_only(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        (void) node_append(n, "INSERT INTO t VALUES (1)", RQ__SQL_MODE__SQL_EXECUTE);
        n->log.data[n->ends[0] + 30] ^= 1; /* in the header */
        n->mute = true;
        n->commit_index = n->last_index;
        node_feed(n);
        NODE_UNTIL(n, n->fetches == 2);
        assert_int_equal(n->fetched_from, 2);
        n->log.data[n->ends[0] + 30] ^= 1;
        n->mute = false;
        node_feed(n);
        NODE_UNTIL(n, n->applied == 2);
        node_assert_text(n, node_query(n, "SELECT count(*) FROM t"), COUNT_IS(1));
}

static void test_status_has_what_clients_look_for(void **state) {
        node *n = *state;
        (void) node_wait(n, node_write(n, "CREATE TABLE t (v)"));
        (void) node_wait(n, node_query(n, "SELECT 1"));
        const char *status = node_status(n);
        static const char *const parts[] = {
                "\"state\":\"applying, at entry 1\"", "\"applied_index\":1,", "\"outcome_hash\":\"", "\"sqlite3\":{", "\"db_size\":",
                "\"db_size_friendly\":\"", "\"wal_size\":", "\"compile_options\":[", "\"page_size\":4096", "\"page_count\":2,", "\"journal_mode\":\"wal\"",
                "\"conn_pool_stats\":{", "\"executions\":1,", "\"queries\":1,", "\"version\":\"3.", "/store/db.sqlite\"", "\"last_modified\":\"2",
        };
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
                if (strstr(status, parts[i]) == NULL)
                        fail_msg("no %s in %s", parts[i], status);
}

static void test_a_long_log_is_caught_up_with(void **state) {
        enum { ENTRIES = 20000 };
        node *n = *state;
        (void) node_append(n, "CREATE TABLE t (v)", RQ__SQL_MODE__SQL_EXECUTE);
        for (int i = 0; i < ENTRIES; i++)
                (void) node_append(n, "INSERT INTO t VALUES (zeroblob(100))", RQ__SQL_MODE__SQL_EXECUTE);
        while (n->sent_index < n->last_index) {
                n->commit_index = n->sent_index + 1000 < n->last_index ? n->sent_index + 1000 : n->last_index;
                node_feed(n);
                NODE_UNTIL(n, n->applied + 10000 > n->sent_index);
        }
        uint64_t query = node_query(n, "SELECT count(*) FROM t", .min_index = ENTRIES + 1, .timeout_us = 60000000);
        node_assert_text(n, query, COUNT_IS(20000));
        assert_true(node_wait(n, query)->index == ENTRIES + 1);
}

#define NODE_TEST(name) cmocka_unit_test_setup_teardown(name, node_setup, node_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                NODE_TEST(test_writes_are_applied_answered_and_read_back),
                NODE_TEST(test_a_database_that_is_not_of_the_log_is_not_served), NODE_TEST(test_an_error_of_sql_is_an_answer),
                NODE_TEST(test_after_kill_it_asks_for_what_is_missing),
                NODE_TEST(test_kills_at_any_moment_lose_nothing),
                NODE_TEST(test_stopping_makes_a_checkpoint),
                NODE_TEST(test_stopping_ends_what_runs),
                NODE_TEST(test_a_foreign_database_file_is_not_used),
                NODE_TEST(test_a_diverged_database_is_kept_aside),
                NODE_TEST(test_marks_are_told_again_to_another_consensus),
                NODE_TEST(test_a_batch_that_does_not_follow_is_asked_for_again),
                NODE_TEST(test_reads_wait_for_their_index),
                NODE_TEST(test_after_a_start_nothing_is_read_before_what_is_committed),
                cmocka_unit_test_setup_teardown(test_without_consensus_level_none_is_served_after_a_while, node_setup_alone, node_teardown),
                NODE_TEST(test_reads_behind_the_gate),
                cmocka_unit_test_setup_teardown(test_the_gate_closes_when_consensus_comes_late, node_setup_alone, node_teardown),
                NODE_TEST(test_a_slow_client_gets_no_more_than_its_credit),
                NODE_TEST(test_cancel_ends_a_read),
                NODE_TEST(test_a_gateway_that_goes_takes_its_reads_along),
                NODE_TEST(test_refusals),
                NODE_TEST(test_a_large_result_of_a_write_flows_with_credits),
                NODE_TEST(test_a_result_in_memory_flows_with_credits),
                NODE_TEST(test_a_gateway_that_goes_amid_a_result_takes_it_along),
                NODE_TEST(test_a_gateway_that_comes_back_gets_a_large_result_in_pieces),
                NODE_TEST(test_a_gateway_that_comes_back_gets_its_results),
                NODE_TEST(test_a_record_of_another_database_stops_applying_but_not_reads),
                cmocka_unit_test_setup_teardown(test_foreign_keys_can_not_be_switched_off_later, node_setup_alone, node_teardown),
                NODE_TEST(test_when_the_disk_is_full_it_waits_and_goes_on),
                NODE_TEST(test_garbage_from_consensus_closes_the_link_only),
                NODE_TEST(test_status_has_what_clients_look_for),
                NODE_TEST(test_a_long_log_is_caught_up_with),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
