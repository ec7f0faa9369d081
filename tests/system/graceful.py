#!/usr/bin/env python3
"""Leadership moves, and nodes stop and start, while clients write, read, ask where the leader is and remove
a node that isn't there, everywhere: no request may fail but those of clients at the node that stops. Tells how long writes stood still.

How long that is depends on the machine: the figures are printed, beside those of a time in which
nothing happens; --max-pause-ms makes a check of them.
"""

import argparse
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster_nodes import Cluster, Refused, ask, execute, query
from rqnode import HttpFailure, NodeError, Tally, exit_on_sigterm

HERE = os.path.dirname(os.path.abspath(__file__))
# Who must know the leader: where to go, and that nobody of this name is (any longer) a member.
ASKS = {"redirect": ("POST", "/db/execute?redirect", '["SELECT 1"]', (200, 301)),
        "remove": ("DELETE", "/remove", '{"id":"nobody"}', (200,))}


class Client:
    """One connection to one node; a write or a read after the other, or what level says (ASKS)."""

    def __init__(self, node, level=None):
        self.node, self.level = node, level
        self.quit = threading.Event()
        self.away = False           # its node stops, or is down
        self.done = []              # (begin, end) of what succeeded
        self.failed = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        client, n = self.node.client(30.0), 0
        while not self.quit.is_set():
            n += 1
            begin, away = time.monotonic(), self.away
            try:
                if self.level in ASKS:
                    self.ask(client)
                elif self.level:
                    query(self.node, "SELECT count(*) FROM t WHERE id < 50", self.level, client=client)
                else:
                    execute(self.node, ["INSERT INTO t(v) VALUES(?)", "%s-%d" % (self.node.node_id, n)], client=client)
                self.done.append((begin, time.monotonic()))
            except (HttpFailure, Refused) as e:
                if not away and not self.away:
                    self.failed.append("%.3f %s" % (begin, e))
                client.close()
                time.sleep(0.02)
            time.sleep(0.002 if self.level is None else 0.01)
        client.close()

    def ask(self, client):
        method, target, body, wanted = ASKS[self.level]
        response = client.request(method, target, body)
        if response.status not in wanted:
            raise Refused(response.status, "%s %s: %.200r" % (method, target, response.body))

    def stop(self):
        self.quit.set()
        self.thread.join(40)

    def pause(self, since, until):
        """The longest time without an answer, as seen by this client, between these times."""
        ends = [since] + [e for b, e in self.done if since <= e <= until] + [until]
        return max((b - a for a, b in zip(ends, ends[1:])), default=0.0)


class Test:
    def __init__(self, args, tally):
        self.args, self.tally = args, tally
        self.cluster = Cluster(args.rqd, 3, args.dir, args.flag)
        self.pauses = {}

    def setup(self):
        self.cluster.start()
        self.cluster.wait_ready(60)
        execute(self.cluster[0], "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE)")
        self.clients = [Client(node) for node in self.cluster]
        self.clients += [Client(node, level) for node, level in zip(self.cluster, ("weak", "linearizable", "none"))]
        self.clients += [Client(node, level) for node in self.cluster for level in ASKS]
        time.sleep(1.0)

    def measure(self, what, begin, end, without=None):
        writers = [c for c in self.clients if c.level is None and c.node is not without]
        self.pauses.setdefault(what, []).append(max(c.pause(begin, end) for c in writers))

    def nothing(self):
        for _ in range(6):
            begin = time.monotonic()
            time.sleep(0.5)
            self.measure("nothing happens", begin, time.monotonic())

    def transfers(self):
        for n in range(8):
            leader = self.cluster.leader()
            begin = time.monotonic()
            response = ask(leader if n % 2 else self.cluster.followers()[0], "POST", "/leader?wait")
            self.tally.check(response.status == 200, "POST /leader: %d %s" % (response.status, response.body))
            time.sleep(0.45)
            self.measure("transfer", begin, time.monotonic())

    def restart(self, node, what):
        for c in self.clients:
            if c.node is node:
                c.away = True
        begin = time.monotonic()
        self.tally.check(node.stop() == 0, "%s doesn't stop" % node.node_id)
        time.sleep(0.3)
        self.measure(what + " stops", begin, time.monotonic(), node)
        begin = time.monotonic()
        node.start()
        node.wait_ready(60)
        time.sleep(0.3)
        self.measure(what + " starts", begin, time.monotonic(), node)
        for c in self.clients:
            if c.node is node:
                c.away = False

    def rolling(self):
        for _ in range(2):
            self.restart(self.cluster.leader(), "leader")
            for node in self.cluster.followers():
                self.restart(node, "follower" if node is not self.cluster.leader() else "leader")

    def finish(self):
        for c in self.clients:
            c.stop()
        for c in self.clients:
            self.tally.check(not c.failed, "%d %s at %s failed, first: %s" % (
                len(c.failed), "requests (%s)" % c.level if c.level else "writes", c.node.node_id, c.failed[:2]))
            self.tally.check(len(c.done) > 50, "only %d requests at %s" % (len(c.done), c.node.node_id))
        total = sum(len(c.done) for c in self.clients if c.level is None)
        for node in self.cluster:
            (rows,), = query(node, "SELECT count(*) FROM t", "strong")
            self.tally.check(rows >= total, "%s has %d rows of %d" % (node.node_id, rows, total))
        for what, pauses in self.pauses.items():
            ms = sorted(1000 * p for p in pauses)
            print("  %-18s longest time without an acknowledged write, of %d: median %.0f ms, max %.0f ms"
                  % (what, len(ms), ms[len(ms) // 2], ms[-1]), flush=True)
            if self.args.max_pause_ms:
                self.tally.check(ms[-1] <= self.args.max_pause_ms, "%s: %.0f ms" % (what, ms[-1]))
        codes = self.cluster.stop()
        self.tally.check(not any(codes), "SIGTERM: exit codes %s" % codes)


def main():
    exit_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rqd", default=os.path.join(HERE, "../../build/bin/rqd"))
    parser.add_argument("--max-pause-ms", type=float, default=0, help="more than that is a failure; 0: none is")
    parser.add_argument("--dir", help="parent of the data directories (default: temporary)")
    parser.add_argument("--flag", action="append", default=[], help="passed to the servers")
    args = parser.parse_args()
    tally = Tally()
    test = Test(args, tally)
    try:
        test.setup()
        for step in (test.nothing, test.transfers, test.rolling, test.finish):
            step()
    except (NodeError, HttpFailure, Refused) as e:
        tally.check(False, "stopped: %s" % e)
    for c in getattr(test, "clients", []):
        c.quit.set()
    if tally.failed:
        test.cluster.dump_logs(30)
    test.cluster.remove()
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
