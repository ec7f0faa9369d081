#!/usr/bin/env python3
"""Snapshots between nodes: who needs entries that the log has dropped, or has lost its database, comes
back without help, also when anything is killed meanwhile. Real processes; each test has a cluster of
its own, whose log is kept small.
"""

import os
import random
import shutil
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases
from cluster_nodes import Refused, execute, leader_of, led, processes, query, raft_state, signal_all, wait_for
from rqnode import HttpFailure, NodeError

TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, b BLOB)"
# A log of eight segments of 256 KiB, and checkpoints that let it go.
SMALL = ("-raft-log-keep-size", "2097152", "-raft-snap", "200", "-raft-snap-wal-size", "524288", "-raft-snap-int", "200ms")
LONG = 60.0
MEMORY_MIB = 300        # a service may hold while a snapshot goes through it, sanitizers aside


class Case(cases.Case):
    def cluster(self, size=3, flags=()):
        cluster = self.started(size, [*SMALL, *flags])
        execute(cluster[0], TABLE)
        return cluster

    def node(self, name, *flags):
        return super().node(name, *SMALL, *flags)

    def same_everywhere(self, nodes, at_least=0):
        """Counts and sums are equal; returns the count."""
        def look():
            found = {content(node) for node in nodes}
            return found.pop() if len(found) == 1 else None
        found = wait_for("the same content everywhere", LONG, look, 0.1)
        self.check(found[0] >= at_least, "%d rows, expected at least %d" % (found[0], at_least))
        return found[0]


def content(node):
    """What must be the same on all nodes, as this one has it."""
    return query(node, "SELECT count(*), coalesce(sum(id), 0), coalesce(max(v), ''), coalesce(sum(length(b)), 0) FROM t", "none")[0]


def first_index(node):
    return int((raft_state(node) or {}).get("first_log_index", 0))


def last_index(node):
    return int((raft_state(node) or {}).get("last_log_index", 0))


def fill(node, mebibytes, tag="fill"):
    """Large rows, so that the log moves on."""
    for i in range(int(mebibytes * 4)):
        execute(node, ["INSERT INTO t(v, b) VALUES(?, randomblob(262144))", "%s %d" % (tag, i)])
        # The blob is made by the store: what the log holds has to be long by itself.
        execute(node, ["INSERT INTO t(v) VALUES(?)", "%s %d %s" % (tag, i, os.urandom(131072).hex())])


def leave_behind(c, nodes, index, mebibytes=6):
    """Until the leader's log doesn't have what follows index any more."""
    for _ in range(10):
        leader = leader_of(nodes)
        fill(leader, mebibytes / 4)
        if first_index(leader) > index + 1:
            return leader
    c.need(False, "the leader's log begins at %d still, and entry %d is wanted" % (first_index(leader), index + 1))


class Load:
    """Small writes without a pause; what was acknowledged must be there at the end."""

    def __init__(self, nodes, text="load"):
        self.nodes, self.text = nodes, text
        self.acknowledged, self.failed, self.slowest = 0, [], 0.0
        self.ending = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        i = 0
        while not self.ending:
            i += 1
            begin = time.monotonic()
            try:
                execute(self.nodes[i % len(self.nodes)], ["INSERT INTO t(v) VALUES(?)", "%s %d" % (self.text, i)], params="timeout=20s")
                self.acknowledged += 1
                self.slowest = max(self.slowest, time.monotonic() - begin)
            except (HttpFailure, Refused, ValueError) as e:
                self.failed.append("%d: %s" % (i, e))
                time.sleep(0.02)

    def end(self):
        self.ending = True
        self.thread.join()
        return self.acknowledged


def memory_of(node):
    return {name: max((node_rss(p) for p in processes(node, name)), default=0) for name in ("rq-store", "rq-consensus")}


def node_rss(proc):
    try:
        with open("/proc/%d/status" % proc.pid) as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) // 1024
    except OSError:
        pass
    return 0


# ---------------------------------------------------------------------------- tests

SLOW_READ = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) FROM n"


def away_while_the_log_is_dropped(c):
    cluster = c.cluster(flags=("-slow-statement", "100ms"))
    n3 = cluster[2]
    n3.kill_tree()
    others = [cluster[0], cluster[1]]
    led(others)
    leave_behind(c, others, last_index(leader_of(others)) and 5, 24)
    before = content(leader_of(others))[0]
    load = Load(others)
    try:
        n3.start()
        n3.wait_ready(LONG)
    finally:
        acknowledged = load.end()
    c.check(not load.failed, "writes failed while a node was seeded: %s" % load.failed[:3])
    c.check(acknowledged > 0, "no write while a node was seeded")
    c.same_everywhere(cluster, before + acknowledged)
    c.check("The log begins anew" in n3.log(), "it came back without a snapshot")
    said = n3.log().count("A read took")
    query(n3, SLOW_READ, "none")
    c.check(n3.log().count("A read took") > said, "a slow statement isn't logged any more once the database was replaced")
    memory = memory_of(n3)
    c.check(c.args.sanitized or all(m < MEMORY_MIB for m in memory.values()), "memory of the node: %s MiB" % memory)
    # It is a member like the others: a majority with it alone.
    leader = leader_of(cluster)
    victim = next(n for n in cluster if n is not leader and n is not n3)
    victim.kill_tree()
    execute(leader, "INSERT INTO t(v) VALUES('with the seeded one')")
    victim.start()
    victim.wait_ready(LONG)
    c.same_everywhere(cluster)
    # All of it again after a restart.
    cluster.stop()
    cluster.start()
    cluster.wait_ready()
    c.same_everywhere(cluster)


def needed_for_the_majority(c):
    """Who is behind is needed to commit anything: its snapshot can't wait for that."""
    cluster = c.cluster()
    n3 = cluster[2]
    n3.kill_tree()
    others = [cluster[0], cluster[1]]
    leave_behind(c, others, 5)
    before = content(leader_of(others))[0]
    for node in others:
        node.kill_tree()
    left = [cluster[0], n3]
    for node in left:
        node.start()
    for node in left:
        node.wait_ready(LONG)
    execute(n3, "INSERT INTO t(v) VALUES('by the two that are left')")
    c.same_everywhere(left, before + 1)
    c.check("The log begins anew" in n3.log(), "it came back without a snapshot")


def a_lost_database(c):
    cluster = c.cluster()
    leave_behind(c, list(cluster), 5)
    leader = leader_of(cluster)
    for round_, harm in enumerate(("gone", "state", "page 1")):
        victim = next(n for n in cluster if n is not leader)
        c.check(victim.stop() == 0, "it doesn't stop cleanly")
        store = os.path.join(victim.data_dir, "store")
        if harm == "gone":
            shutil.rmtree(store)
        else:
            with open(os.path.join(store, "state" if harm == "state" else "db.sqlite"), "r+b") as f:
                f.seek(40)
                f.write(b"rotten")
        load = Load([leader])
        try:
            victim.start()
            victim.wait_ready(LONG)
        finally:
            load.end()
        c.check(not load.failed, "writes failed while a database was replaced (%s): %s" % (harm, load.failed[:3]))
        c.same_everywhere(cluster)


def killed_at_every_step(c):
    cluster = c.cluster()
    n3, others = cluster[2], [cluster[0], cluster[1]]
    fill(leader_of(list(cluster)), 16, "base")
    rng = random.Random(c.args.seed)
    # What is said when a step is reached, by whom, and who dies then.
    steps = [("Sending a snapshot", "leader", "all"), ("Receiving a snapshot", "n3", "all"),
             ("Receiving a snapshot", "n3", "rq-store"), ("Receiving a snapshot", "n3", "rq-consensus"),
             ("Sending a snapshot", "leader", "rq-store"), ("Sending a snapshot", "leader", "rq-consensus"),
             ("Receiving a snapshot", "n3", "all late"), ("The database was replaced", "n3", "all"),
             ("The database was replaced", "n3", "rq-consensus"), ("The log begins anew", "n3", "all"),
             ("The log begins anew", "n3", "rq-store")]
    for said, whose, who in steps[:c.args.steps]:
        n3.kill_tree()
        led(others)     # n3 may have led
        at = int(query(cluster[0], "SELECT count(*) FROM t")[0][0])
        leave_behind(c, others, last_index(leader_of(others)), 4)
        leader = leader_of(others)
        watched = leader if whose == "leader" else n3
        seen = watched.log().count(said)
        n3.start()
        deadline = time.monotonic() + 30
        while watched.log().count(said) == seen and time.monotonic() < deadline:
            time.sleep(0.001)
        c.check(watched.log().count(said) > seen, "nobody said \"%s\"" % said)
        time.sleep(rng.random() * (0.3 if "late" in who else 0.03))
        if who.startswith("all"):
            watched.kill_tree()
            watched.start()
        else:
            signal_all(processes(watched, who), signal.SIGKILL)
        try:
            for node in cluster:
                node.wait_ready(LONG)
            c.same_everywhere(cluster, at)
        except NodeError as e:
            c.need(False, "killed %s of %s at \"%s\": %s" % (who, whose, said, e))


def joins_from_a_snapshot(c):
    cluster = c.cluster(1)
    n1 = cluster[0]
    leave_behind(c, [n1], 1, 8)
    load = Load([n1])
    try:
        n2 = c.node("n2", "-join", n1.raft_address(), "-join-interval", "500ms", "-join-attempts", "60")
        n2.wait_ready(LONG)
        seen = content(n2)[0]
        wait_for("it follows while writes go on", LONG, lambda: content(n2)[0] > seen)
    finally:
        load.end()
    c.check(not load.failed and load.acknowledged > 0, "%d writes, failed while a node joined: %s" % (load.acknowledged, load.failed[:3]))
    c.same_everywhere([n1, n2], load.acknowledged)
    c.check("The log begins anew" in n2.log(), "it came without a snapshot")
    wait_for("it is a voter", LONG, lambda: (raft_state(n2) or {}).get("voter") in (True, "true"), 0.1)


def joins_while_the_log_is_dropped_at_once(c):
    """What is written while it gets the snapshot is much more than the log keeps otherwise."""
    smallest = ["65536" if flag == SMALL[1] else flag for flag in SMALL]
    n1 = c.started(1, smallest)[0]
    execute(n1, TABLE)
    leave_behind(c, [n1], 1, 8)
    for _ in range(12):
        execute(n1, "INSERT INTO t(b) VALUES(randomblob(8000000))")
    loads = [Load([n1], "x" * 4000) for _ in range(3)]
    try:
        n2 = cases.Case.node(c, "n2", *smallest, "-join", n1.raft_address(), "-join-interval", "500ms", "-join-attempts", "60")
        n2.wait_ready(LONG)
        wait_for("it is a voter while writes go on", LONG, lambda: (raft_state(n2) or {}).get("voter") in (True, "true"), 0.1)
    finally:
        for load in loads:
            load.end()
    for load in loads:
        c.check(not load.failed and load.acknowledged > 0, "%d writes, failed while a node joined: %s" % (load.acknowledged, load.failed[:3]))
    c.same_everywhere([n1, n2], sum(load.acknowledged for load in loads))
    snapshots = n2.log().count("The log begins anew")
    c.check(0 < snapshots < 3, "it needed %d snapshots" % snapshots)


def a_wiped_disk(c):
    """An empty folder under the old id and the old command line: another disk, so first a learner."""
    cluster = c.cluster()
    leave_behind(c, list(cluster), 5)
    leader = leader_of(list(cluster))
    victim = next(n for n in cluster if n is not leader)
    victim.kill_tree()
    shutil.rmtree(victim.data_dir)
    load = Load([leader])
    try:
        victim.start()
        victim.wait_ready(LONG)
    finally:
        load.end()
    c.check(not load.failed and load.acknowledged > 0, "%d writes, failed while a wiped node came back: %s" % (load.acknowledged, load.failed[:3]))
    c.same_everywhere(cluster, load.acknowledged)
    wait_for("it is a voter", LONG, lambda: (raft_state(victim) or {}).get("voter") in (True, "true"), 0.1)


def a_rotten_log(c):
    """A log or a vote that can't be read: another member, at first a learner, as with an empty folder."""
    cluster = c.cluster()
    leave_behind(c, list(cluster), 5)
    leader = leader_of(list(cluster))
    victim = next(n for n in cluster if n is not leader)
    for harm in ("log", "vote"):
        aside = victim.log().count("as a new member")
        victim.kill_tree()
        folder = os.path.join(victim.data_dir, "consensus")
        if harm == "vote":
            os.unlink(os.path.join(folder, "hardstate"))
        else:
            with open(os.path.join(folder, sorted(n for n in os.listdir(folder) if n.endswith(".log"))[0]), "r+b") as f:
                f.seek(5000)
                f.write(b"rotten")
        load = Load([leader])
        try:
            victim.start()
            victim.wait_ready(LONG)
        finally:
            load.end()
        c.check(not load.failed, "writes failed while a node came back (%s): %s" % (harm, load.failed[:3]))
        c.same_everywhere(cluster, load.acknowledged)
        wait_for("it is a voter", LONG, lambda: (raft_state(victim) or {}).get("voter") in (True, "true"), 0.1)
        c.check(victim.log().count("as a new member") == aside + 1, "not put aside once more (%s)" % harm)


TESTS = [away_while_the_log_is_dropped, needed_for_the_majority, a_lost_database, killed_at_every_step, joins_from_a_snapshot,
         joins_while_the_log_is_dropped_at_once, a_wiped_disk, a_rotten_log]


def main():
    parser = cases.arguments(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=99, help="how many of the steps somebody is killed at")
    parser.add_argument("--sanitized", action="store_true", help="memory says nothing")
    return cases.main(TESTS, Case, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
