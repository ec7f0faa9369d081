#!/usr/bin/env python3
"""What goes wrong with rqlite when clients meet, or wait too short, and must be impossible here: a write
done twice after a timeout, a transaction that one client leaves to another. (What one request shows
by itself is in api.py, the queue in queued.py, uploads in the tests of loading.)"""

import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases
from cluster_nodes import ask, execute, processes, query, signal_all
from rqnode import HttpFailure


def impatient_writes(c):
    """A leader that hangs, a follower that is asked with a short timeout and with retries."""
    cluster = c.started(3)
    execute(cluster[0], "CREATE TABLE t(v INTEGER)")
    leader = cluster.leader()
    follower = next(n for n in cluster if n is not leader)
    stopped = processes(leader, "rq-consensus") + processes(leader, "rq-store")
    answers = []

    def write(v):
        try:
            answers.append((v, ask(follower, "POST", "/db/execute?timeout=300ms&retries=3", ["INSERT INTO t VALUES(%d)" % v], 20)))
        except HttpFailure:
            answers.append((v, None))

    signal_all(stopped, signal.SIGSTOP)
    threads = [threading.Thread(target=write, args=(v,)) for v in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    signal_all(stopped, signal.SIGCONT)
    cluster.wait_ready(60)
    time.sleep(1)       # what still sleeps somewhere has its chance
    rows = [v for v, in query(follower, "SELECT v FROM t")]
    c.check(len(answers) == 20, "%d of 20 writes were answered" % len(answers))
    for v, answer in answers:
        status = answer.status if answer else None
        count = rows.count(v)
        c.check(count <= 1, "write %d: done %d times" % (v, count))
        if status == 200:
            c.check(count == 1, "write %d: acknowledged and lost" % v)
        if status == 503:
            c.check(count == 0, "write %d: 'nothing was done', and it is there: %r" % (v, answer.body))
        c.check(status in (200, 503, 504), "write %d: status %s" % (v, status))


def transactions_of_others(c):
    """Clients begin and go, roll back and commit; nobody else sees anything of it."""
    node = c.node("n1")
    node.wait_ready()
    execute(node, "CREATE TABLE t(v TEXT)")
    over = threading.Event()

    def meddle(body):
        client = node.client(20)
        while not over.is_set():
            client.request("POST", "/db/execute", json.dumps(body))
            client.request("POST", "/db/query", json.dumps(body))
        client.close()

    meddlers = [threading.Thread(target=meddle, args=(b,), daemon=True) for b in (
        ["BEGIN"], ["ROLLBACK"], ["COMMIT"], ["BEGIN", "DELETE FROM t"], ["SAVEPOINT s", "DELETE FROM t"],
        ["BEGIN; DELETE FROM t; SELECT nope"], ["INSERT OR ROLLBACK INTO nope VALUES(1)"])]
    for thread in meddlers:
        thread.start()
    client = node.client(20)
    for i in range(100):
        execute(node, "INSERT INTO t VALUES('mine %d')" % i, client=client)
        seen = query(node, "SELECT count(*) FROM t", "weak", client=client)[0][0]
        c.check(seen == i + 1, "after %d writes %d are there" % (i + 1, seen))
        if seen != i + 1:
            break
    kept = execute(node, "INSERT INTO t VALUES('a')", "UPDATE t SET v = 'b' WHERE v = 'a'", params="transaction", client=client)
    c.check(len(kept["results"]) == 2, "a transaction beside them: %s" % kept)
    over.set()
    for thread in meddlers:
        thread.join(30)
    c.check(query(node, "SELECT count(*) FROM t") == [(101,)], "in the end others than my rows are there")
    c.check(node.stop() == 0, "SIGTERM: exit code isn't 0")


def a_write_that_never_ends(c):
    """One whose steps are few and take for ever: the operator skips it, on all nodes, and nothing else is lost."""
    cluster = c.started(3)
    execute(cluster[0], "CREATE TABLE t(v INTEGER)", "INSERT INTO t VALUES(1)")
    endless = ("INSERT INTO t WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c LIMIT 1000000) "
               "SELECT sum(length(upper(x)||n)) FROM (SELECT hex(zeroblob(20000000)) AS x), c")
    answer = ask(cluster[0], "POST", "/db/execute?timeout=500ms", [endless])
    c.check(answer.status == 504, "the endless write: %d" % answer.status)
    behind = ask(cluster[1], "POST", "/db/execute?timeout=500ms", ["INSERT INTO t VALUES(2)"])
    c.check(behind.status == 504, "a write behind it: %d" % behind.status)
    indexes = {json.loads(ask(n, "GET", "/status?key=store.db_applied_index").body) for n in cluster}
    c.check(len(indexes) == 1, "they stand at different entries: %s" % indexes)
    for node in cluster:
        node.kill_tree()
    for node in cluster:
        node.command[-1:-1] = ["-skip-entry", str(max(indexes) + 1)]
        node.start()
    cluster.wait_ready(60)
    for node in cluster:
        rows = sorted(v for v, in query(node, "SELECT v FROM t", "strong"))
        c.check(rows == [1, 2], "after the skip: %s" % rows)
    execute(cluster[2], "INSERT INTO t VALUES(3)")
    c.check(query(cluster[0], "SELECT count(*) FROM t") == [(3,)], "a write after it isn't there")


if __name__ == "__main__":
    sys.exit(cases.main((impatient_writes, transactions_of_others), cases.Case, cases.arguments(__doc__).parse_args()))
