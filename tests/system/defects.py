#!/usr/bin/env python3
"""What goes wrong with rqlite when clients meet, or wait too short, and must be impossible here: a write
done twice after a timeout, a transaction that one client leaves to another. (What one request shows
by itself is in api.py, the queue in queued.py, uploads in the tests of loading.)"""

import argparse
import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster_nodes import Cluster, Refused, ask, execute, processes, query, signal_all
from rqnode import HttpFailure, Node, NodeError, Tally, exit_on_sigterm


def impatient_writes(tally, binary):
    """A leader that hangs, a follower that is asked with a short timeout and with retries."""
    cluster = Cluster(binary, 3)
    try:
        cluster.start()
        cluster.wait_ready()
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
        tally.check(len(answers) == 20, "%d of 20 writes were answered" % len(answers))
        for v, answer in answers:
            status = answer.status if answer else None
            count = rows.count(v)
            tally.check(count <= 1, "write %d: done %d times" % (v, count))
            if status == 200:
                tally.check(count == 1, "write %d: acknowledged and lost" % v)
            if status == 503:
                tally.check(count == 0, "write %d: 'nothing was done', and it is there: %r" % (v, answer.body))
            tally.check(status in (200, 503, 504), "write %d: status %s" % (v, status))
    finally:
        if tally.failed:
            cluster.dump_logs(20)
        cluster.kill()
        cluster.remove()


def transactions_of_others(tally, binary):
    """Clients begin and go, roll back and commit; nobody else sees anything of it."""
    node = Node(binary)
    try:
        node.start()
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
            tally.check(seen == i + 1, "after %d writes %d are there" % (i + 1, seen))
            if seen != i + 1:
                break
        kept = execute(node, "INSERT INTO t VALUES('a')", "UPDATE t SET v = 'b' WHERE v = 'a'", params="transaction", client=client)
        tally.check(len(kept["results"]) == 2, "a transaction beside them: %s" % kept)
        over.set()
        for thread in meddlers:
            thread.join(30)
        tally.check(query(node, "SELECT count(*) FROM t") == [(101,)], "in the end others than my rows are there")
        tally.check(node.stop() == 0, "SIGTERM: exit code isn't 0")
    finally:
        if tally.failed:
            node.dump_log(20)
        node.remove()


def a_write_that_never_ends(tally, binary):
    """One whose steps are few and take for ever: the operator skips it, on all nodes, and nothing else is lost."""
    cluster = Cluster(binary, 3)
    try:
        cluster.start()
        cluster.wait_ready()
        execute(cluster[0], "CREATE TABLE t(v INTEGER)", "INSERT INTO t VALUES(1)")
        endless = ("INSERT INTO t WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c LIMIT 1000000) "
                   "SELECT sum(length(upper(x)||n)) FROM (SELECT hex(zeroblob(20000000)) AS x), c")
        answer = ask(cluster[0], "POST", "/db/execute?timeout=500ms", [endless])
        tally.check(answer.status == 504, "the endless write: %d" % answer.status)
        behind = ask(cluster[1], "POST", "/db/execute?timeout=500ms", ["INSERT INTO t VALUES(2)"])
        tally.check(behind.status == 504, "a write behind it: %d" % behind.status)
        indexes = {json.loads(ask(n, "GET", "/status?key=store.db_applied_index").body) for n in cluster}
        tally.check(len(indexes) == 1, "they stand at different entries: %s" % indexes)
        for node in cluster:
            node.kill_tree()
        for node in cluster:
            node.command[-1:-1] = ["-skip-entry", str(max(indexes) + 1)]
            node.start()
        cluster.wait_ready(60)
        for node in cluster:
            rows = sorted(v for v, in query(node, "SELECT v FROM t", "strong"))
            tally.check(rows == [1, 2], "after the skip: %s" % rows)
        execute(cluster[2], "INSERT INTO t VALUES(3)")
        tally.check(query(cluster[0], "SELECT count(*) FROM t") == [(3,)], "a write after it isn't there")
    finally:
        if tally.failed:
            cluster.dump_logs(20)
        cluster.kill()
        cluster.remove()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(here, "../../build/bin/rqd"))
    parser.add_argument("--only", help="run only cases with this text in their name")
    args = parser.parse_args()
    exit_on_sigterm()
    tally = Tally()
    for case in (impatient_writes, transactions_of_others, a_write_that_never_ends):
        if args.only and args.only not in case.__name__:
            continue
        try:
            case(tally, args.rqd)
        except (NodeError, HttpFailure, Refused, ValueError, KeyError, IndexError) as e:
            tally.check(False, "%s: stopped: %s" % (case.__name__, e))
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
