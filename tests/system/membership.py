#!/usr/bin/env python3
"""The life of a cluster: nodes join, are promoted, move, are replaced, removed and reaped, and a lost
quorum is recovered. Real processes; each test has a cluster of its own.

The commands of docs/operations.md (forming, growing, repairing, moving) are those that are run here.
"""

import argparse
import json
import os
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster_nodes import Refused, ask, dump, execute, query, raft_state, wait_for
from rqnode import HOST, HttpFailure, Node, NodeError, Tally, exit_on_sigterm, free_port

TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)"
FAST = ("-join-interval", "500ms", "-join-attempts", "60")
LONG = 30.0


class Unfit(Exception):
    """The test can't go on; what was wrong has been counted."""


class Case:
    def __init__(self, name, args, tally):
        self.name = name
        self.args = args
        self.tally = tally
        self.nodes = []

    def check(self, ok, text):
        return self.tally.check(ok, "%s: %s" % (self.name, text))

    def need(self, ok, text):
        if not self.check(ok, text):
            raise Unfit

    def node(self, name, *flags, start=True, **more):
        node = Node(self.args.rqd, self.args.dir, [*self.args.flag, *flags], name, **more)
        self.nodes.append(node)
        if start:
            node.start()
        return node

    def first(self, name="n1", *flags):
        node = self.node(name, *flags)
        node.wait_ready(LONG)
        execute(node, TABLE)
        return node

    def joined(self, name, *to, flags=()):
        """A fresh node that joins, is ready, and is a voter."""
        node = self.node(name, "-join", join_list(to), *FAST, *flags)
        node.wait_ready(LONG)
        if "-raft-non-voter" not in flags:
            wait_for("%s is a voter" % name, LONG, lambda: members(to[0]).get(name, {}).get("voter"), 0.05)
        return node

    def grown(self, size, flags=()):
        """A cluster of this size, grown from one node."""
        nodes = [self.first("n1", *flags)]
        for i in range(1, size):
            nodes.append(self.joined("n%d" % (i + 1), nodes[0], flags=flags))
        return nodes

    def same_everywhere(self, nodes, expected=None):
        def rows():
            found = [dump(node, ("t",))["t"] for node in nodes]
            return found[0] if all(f == found[0] for f in found) else None
        values = [row[2] for row in wait_for("the same content everywhere", LONG, rows, 0.05)]
        self.check(expected is None or values == expected, "content is %s, expected %s" % (values[:10], expected and expected[:10]))
        return values

    def end(self, keep):
        for node in self.nodes:
            node.kill_tree()
            if keep:
                node.dump_log(30)
            else:
                node.remove()
        if keep:
            print("data of %s: %s" % (self.name, " ".join(n.work_dir for n in self.nodes)))


def join_list(nodes):
    return ",".join(n.raft_address() for n in nodes)


def members(node, nonvoters=True):
    """/nodes, by id."""
    response = ask(node, "GET", "/nodes?ver=2" + ("&nonvoters" if nonvoters else ""))
    return {n["id"]: n for n in json.loads(response.body)["nodes"]}


def write(node, value, timeout=LONG, params="timeout=20s"):
    return execute(node, ["INSERT INTO t(v) VALUES(?)", value], params="raft_index&" + params, timeout=timeout)


def remove(node, name, timeout=LONG, **more):
    """(status, text) of DELETE /remove."""
    response = ask(node, "DELETE", "/remove", {"id": name}, timeout, **more)
    return response.status, response.body.decode().strip()


def log_of(node):
    with open(node.log_path, encoding="utf-8", errors="replace") as f:
        return f.read()


def exits(node, seconds=15.0):
    """Its exit code once it has ended by itself; None: it hasn't."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        code = node.root.poll()
        if code is not None:
            return code
        time.sleep(0.05)
    return None


def leader_of(nodes, seconds=15.0):
    def look():
        found = [n for n in nodes if (raft_state(n) or {}).get("state") == "Leader"]
        return found[-1] if found else None
    return wait_for("a leader", seconds, look, 0.02)


class Load:
    """Writes without a pause to one node; what was acknowledged must be there at the end."""

    def __init__(self, node):
        self.node = node
        self.acknowledged, self.failed = [], []
        self.ending = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        i = 0
        while not self.ending:
            i += 1
            value = "load %d" % i
            try:
                write(self.node, value, 10.0, "timeout=8s")
                self.acknowledged.append(value)
            except (HttpFailure, Refused, ValueError) as e:
                self.failed.append("%s: %s" % (value, e))

    def end(self):
        self.ending = True
        self.thread.join()
        return self.acknowledged


# ---------------------------------------------------------------------------- growing

def joins_under_load(c):
    n1 = c.first()
    for i in range(50):
        write(n1, "before %d" % i)
    load = Load(n1)
    try:
        n2 = c.joined("n2", n1)
        n3 = c.joined("n3", n2)             # by a node that doesn't lead
    finally:
        acknowledged = load.end()
    c.check(not load.failed, "writes failed while nodes joined: %s" % load.failed[:3])
    c.check(len(acknowledged) > 0, "no write while nodes joined")
    found = c.same_everywhere([n1, n2, n3])
    c.check(set(acknowledged) <= set(found), "acknowledged writes are missing")
    for node in (n1, n2, n3):
        seen = members(node)
        c.check(sorted(seen) == ["n1", "n2", "n3"] and all(m["voter"] and m["reachable"] for m in seen.values()),
                "%s sees %s" % (node.node_id, seen))
    n1.kill_tree()
    write(n2, "without the first")          # two of three: they are voters indeed
    n1.start()
    n1.wait_ready(LONG)
    c.same_everywhere([n1, n2, n3])
    # The same command line serves every later start.
    c.check(n3.stop() == 0, "n3 doesn't stop cleanly")
    n3.start()
    n3.wait_ready(LONG)
    c.same_everywhere([n1, n2, n3])


TESTS = [joins_under_load]


def run(test, args, tally):
    name = test.__name__.replace("_", " ")
    case = Case(name, args, tally)
    failed = tally.failed
    begin = time.monotonic()
    try:
        test(case)
    except Unfit:
        pass
    except (NodeError, HttpFailure, Refused, OSError, KeyError, ValueError, TypeError,
            IndexError) as e:
        case.check(False, "stopped: %s: %s" % (type(e).__name__, e))
    finally:
        case.end(tally.failed > failed)
    print("%-6s %5.1f s %s" % ("ok" if tally.failed == failed else "FAILED",
                              time.monotonic() - begin, name), flush=True)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(here, "../../build/bin/rqd"))
    parser.add_argument("--only", action="append", default=[], help="tests with this in their names")
    parser.add_argument("--dir", help="parent of the data directories (default: temporary)")
    parser.add_argument("--flag", action="append", default=[], help="passed to the servers")
    args = parser.parse_args()
    exit_on_sigterm()
    tally = Tally()
    wanted = [t for t in TESTS if not args.only or any(o.replace(" ", "_") in t.__name__ for o in args.only)]
    for test in wanted:
        run(test, args, tally)
    tally.check(wanted, "no such test")
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
