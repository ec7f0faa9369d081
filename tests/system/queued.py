#!/usr/bin/env python3
"""Queued writes under what may happen to a node: what was answered is made once, in order, also when
the node is told to stop, when a service dies, and when leadership goes elsewhere."""

import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases
from cluster_nodes import ask, execute, processes, query, signal_all, wait_for
from rqnode import HttpFailure, NodeError

TABLE = "CREATE TABLE q(id INTEGER PRIMARY KEY, client INTEGER, n INTEGER)"


class Writers:
    """Clients that send queued writes one after another and remember what was accepted."""

    def __init__(self, nodes, params="queue"):
        self.nodes = nodes
        self.target = "/db/execute?" + params
        self.accepted = [[] for _ in nodes]
        self.uncertain = [set() for _ in nodes]    # the answer was lost
        self.refused = [0] * len(nodes)
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(len(nodes))]
        for thread in self.threads:
            thread.start()

    def _run(self, i):
        client = self.nodes[i].client(20)
        n = 0
        while not self.over.is_set():
            n += 1
            body = json.dumps([["INSERT INTO q(client, n) VALUES(?, ?)", i, n]])
            try:
                response = client.request("POST", self.target, body)
            except HttpFailure as e:
                if e.sent:
                    self.uncertain[i].add(n)
                client.close()
                client = self.nodes[i].client(20)
                time.sleep(0.02)
                continue
            if response.status == 200:
                self.accepted[i].append(n)
            else:
                self.refused[i] += 1
                time.sleep(0.01)
        client.close()

    def enough(self, count):
        before = sum(map(len, self.accepted))
        wait_for("%d writes accepted" % count, 30, lambda: sum(map(len, self.accepted)) >= before + count)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(40)

    def check(self, c, node, what):
        """All that was accepted is there, once, each client's in its order, and nothing else is."""
        rows = query(node, "SELECT client, n FROM q ORDER BY id")
        for i, accepted in enumerate(self.accepted):
            got = [n for client, n in rows if client == i]
            lost = set(accepted) - set(got)
            c.check(not lost, "%s: client %d: %d of %d lost: %s" % (what, i, len(lost), len(accepted), sorted(lost)[:5]))
            c.check(got == sorted(set(got)), "%s: client %d: twice or out of order" % (what, i))
            extra = set(got) - set(accepted) - self.uncertain[i]
            c.check(not extra, "%s: client %d: %d that were refused are there: %s" % (what, i, len(extra), sorted(extra)[:5]))
        c.check(any(self.accepted), what + ": nothing was accepted")


def flush(node):
    """Waits until all that `node` has accepted is made. With noleader: right after a kill the node may
    learn only now that nobody leads, and would refuse the mark as it refuses any queued write then."""
    response = ask(node, "POST", "/db/execute?queue&wait&noleader", [], 30)
    if response.status != 200:
        raise NodeError("a mark wasn't answered: %d %r" % (response.status, response.body))


def stopping(c):
    node = c.node("n1")
    node.wait_ready()
    execute(node, TABLE)
    writers = Writers([node] * 6)
    writers.enough(300)
    c.check(node.stop() == 0, "SIGTERM amid queued writes: exit code isn't 0")
    writers.stop()
    node.start()
    node.wait_ready()
    writers.check(c, node, "SIGTERM")

    execute(node, "DELETE FROM q")
    writers = Writers([node] * 6)
    writers.enough(200)
    signal_all(processes(node, "rq-gateway"), signal.SIGTERM)
    writers.enough(200)
    writers.stop()
    flush(node)
    writers.check(c, node, "SIGTERM of the gateway alone")
    c.check(node.stop() == 0, "SIGTERM: exit code isn't 0")


def services_die(c):
    node = c.node("n1")
    node.wait_ready()
    for name in ("rq-store", "rq-consensus"):
        execute(node, "DROP TABLE IF EXISTS q", TABLE)
        writers = Writers([node] * 4)
        writers.enough(200)
        signal_all(processes(node, name), signal.SIGKILL)
        writers.enough(200)
        writers.stop()
        flush(node)
        writers.check(c, node, "kill -9 of " + name)
    c.check(node.stop() == 0, "SIGTERM: exit code isn't 0")


def room(c):
    """A queue that is full makes clients wait, not for ever."""
    node = c.node("n1", "-write-queue-capacity", "8", "-write-queue-batch-size", "4")
    node.wait_ready()
    execute(node, TABLE)
    writers = Writers([node] * 16)
    writers.enough(500)
    writers.stop()
    flush(node)
    writers.check(c, node, "a small queue")
    c.check(not any(writers.refused), "a small queue: %d were refused" % sum(writers.refused))

    stopped = processes(node, "rq-store")
    signal_all(stopped, signal.SIGSTOP)
    statement = ["INSERT INTO q(client, n) VALUES(99, 1)"]
    answers = [ask(node, "POST", "/db/execute?queue&timeout=300ms", statement) for _ in range(9)]
    c.check([a.status for a in answers] == [200] * 8 + [503], "a full queue: %s" % [a.status for a in answers])
    c.check(answers[-1].get("Retry-After") == "1" and b"-write-queue-capacity" in answers[-1].body, "a full queue doesn't say so")
    late = ask(node, "POST", "/db/execute?queue&wait&timeout=200ms", statement)
    c.check(late.status == 503, "a full queue, with wait: %d" % late.status)
    signal_all(stopped, signal.SIGCONT)
    flush(node)
    c.check(query(node, "SELECT count(*) FROM q WHERE client = 99") == [(8,)], "a full queue: others than those accepted")
    vars_ = json.loads(ask(node, "GET", "/debug/vars").body)
    c.check(vars_["queue"]["refused"] >= 2 and vars_["queue"]["objects_rx"] == vars_["queue"]["objects_tx"], "counters: %s" % vars_["queue"])
    c.check(node.stop() == 0, "SIGTERM: exit code isn't 0")


def each_its_own(c):
    """-write-queue-tx: one client's error undoes its own request, no other."""
    node = c.node("n1", "-write-queue-tx", "-write-queue-timeout", "200ms")
    node.wait_ready()
    execute(node, TABLE)
    good = "INSERT INTO q(client, n) VALUES(%d, 1)"
    for i in range(20):
        statements = [good % i] if i % 3 else [good % i, "INSERT INTO nope VALUES(1)"]
        response = ask(node, "POST", "/db/execute?queue", statements)
        c.check(response.status == 200, "accepted: %d" % response.status)
    flush(node)
    got = [c for c, in query(node, "SELECT client FROM q ORDER BY id")]
    c.check(got == [i for i in range(20) if i % 3], "-write-queue-tx: %s" % got)
    c.check(node.stop() == 0, "SIGTERM: exit code isn't 0")


def leadership(c):
    cluster = c.started(3)
    execute(cluster[0], TABLE)
    writers = Writers([cluster[i % 3] for i in range(6)])
    for _ in range(3):
        writers.enough(100)
        leader = cluster.leader()
        response = ask(leader, "POST", "/leader?wait", timeout=20)
        c.check(response.status == 200, "hand-over: %d %r" % (response.status, response.body[:100]))
    writers.enough(100)
    writers.stop()
    for node in cluster:
        flush(node)
    writers.check(c, cluster[0], "hand-overs")
    c.check(sum(writers.refused) == 0, "hand-overs: %d writes refused, which could have waited for the next leader" % sum(writers.refused))

    # The leader is killed; the others' queues lose nothing, and nothing is made twice.
    execute(cluster[0], "DELETE FROM q")
    leader = cluster.leader()
    others = [n for n in cluster if n is not leader]
    writers = Writers(others * 2)
    writers.enough(200)
    leader.kill_tree()
    writers.enough(200)
    writers.stop()
    for node in others:
        flush(node)
    writers.check(c, others[0], "the leader is killed")
    c.check(sum(writers.refused) == 0, "the leader is killed: %d writes refused, which could have waited for the next one" % sum(writers.refused))

    # Nobody leads: refused, or kept until somebody does.
    last, other = others
    other.kill_tree()
    wait_for("no leader", 20, lambda: ask(last, "GET", "/leader").status == 503)
    statement = ["INSERT INTO q(client, n) VALUES(99, 1)"]
    refused = ask(last, "POST", "/db/execute?queue", statement)
    c.check((refused.status, refused.body) == (503, b"leader not found\n"), "no leader: %d %r" % (refused.status, refused.body))
    kept = ask(last, "POST", "/db/execute?queue&noleader", statement)
    c.check(kept.status == 200, "noleader: %d" % kept.status)
    other.start()
    cluster.wait_ready(nodes=others)
    flush(last)
    c.check(query(last, "SELECT count(*) FROM q WHERE client = 99") == [(1,)], "noleader: not made, or twice")

    # A follower is told to stop.
    leader = cluster.leader(nodes=others)
    follower = next(n for n in others if n is not leader)
    cluster.start([n for n in cluster if n not in others])
    cluster.wait_ready()
    execute(leader, "DELETE FROM q")
    writers = Writers([follower] * 4)
    writers.enough(200)
    c.check(follower.stop() == 0, "SIGTERM of a follower: exit code isn't 0")
    writers.stop()
    writers.check(c, leader, "SIGTERM of a follower")


CASES = (stopping, services_die, room, each_its_own, leadership)


if __name__ == "__main__":
    sys.exit(cases.main(CASES, cases.Case, cases.arguments(__doc__).parse_args()))
