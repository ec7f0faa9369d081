#!/usr/bin/env python3
"""Clusters whose disks fill up or stall: one node's, and all. Writes are refused in clear words, reads
go on, everything comes back by itself when there is space, and nothing diverges.

Each node has a small disk of its own (tmpfs, needs root). A stalling disk is made by a library that
the test preloads into rq-consensus: fdatasync waits while a file exists.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases
from cluster_nodes import Cluster, Refused, dump, execute, query, raft_state, wait_for
from rqnode import HttpFailure, NodeError

HERE = os.path.dirname(os.path.abspath(__file__))
DISK_BYTES = 192 << 20
LIMIT_BYTES = 16 << 10  # of a file: less than what is written to log and WAL in a second
AGAIN = 30.0            # seconds within which everything must have come back
CLEAR = re.compile(r"disk|no leader|leader not found|nothing was done", re.I)
STALL = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
/* Waits while the file RQ_TEST_STALL exists. */
static void wait_while_stalled(void) {
        const char *path = getenv("RQ_TEST_STALL");
        while (path != NULL && access(path, F_OK) == 0)
                usleep(5000);
}
int fdatasync(int fd) {
        static int (*real)(int);
        if (real == NULL)
                real = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
        wait_while_stalled();
        return real(fd);
}
"""


class Disks:
    """A tmpfs for each node, under one folder."""

    def __init__(self, count, parent):
        self.folder = tempfile.mkdtemp(prefix="rqdisks-", dir=parent)
        self.places = []
        for i in range(count):
            place = os.path.join(self.folder, str(i))
            os.mkdir(place)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % DISK_BYTES, "none", place], check=True, capture_output=True)
            self.places.append(place)

    def data(self):
        return {i: os.path.join(place, "data") for i, place in enumerate(self.places)}

    def fill(self, i):
        with open(os.path.join(self.places[i], "filler"), "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"\0" * (1 << 20))
            except OSError:
                pass
            try:
                while True:
                    f.write(b"\0" * 4096)
            except OSError:
                pass

    def free(self, i):
        os.unlink(os.path.join(self.places[i], "filler"))

    def remove(self):
        for place in self.places:
            subprocess.run(["umount", "-l", place], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Load:
    """A writer and a reader at each node; what they were told, with the time."""

    def __init__(self, cluster, row_bytes=2000):
        self.quit = threading.Event()
        self.writes = []        # (time, node, value, None or words)
        self.reads = []         # (time, node, level, None or words)
        self.text = "x" * row_bytes
        self.threads = [threading.Thread(target=run, args=(node, i), daemon=True)
                        for i, node in enumerate(cluster) for run in (self.write, self.read)]
        for thread in self.threads:
            thread.start()

    def write(self, node, number):
        client, n = node.client(20.0), 0
        while not self.quit.is_set():
            n += 1
            value = "%d/%d" % (number, n)
            begin = time.monotonic()
            words = None
            try:
                execute(node, ["INSERT INTO t(v, pad) VALUES(?, ?)", value, self.text], params="timeout=3s", client=client)
            except (HttpFailure, Refused) as e:
                words = str(e)
                time.sleep(0.02)
            self.writes.append((begin, node.node_id, value, words))
            time.sleep(0.004)

    def read(self, node, _):
        client, n = node.client(20.0), 0
        while not self.quit.is_set():
            n += 1
            level = ("none", "weak", "linearizable")[n % 3]
            begin = time.monotonic()
            words = None
            try:
                query(node, "SELECT count(*) FROM t WHERE id < 100", level, "timeout=3s", client=client)
            except (HttpFailure, Refused) as e:
                words = str(e)
                time.sleep(0.02)
            self.reads.append((begin, node.node_id, level, words))
            time.sleep(0.01)

    def stop(self):
        self.quit.set()
        for thread in self.threads:
            thread.join(30)

    def told(self, since, until, what="writes"):
        found = [x for x in getattr(self, what) if since <= x[0] < until]
        return Counter(re.sub(r"\d{2,}", "N", x[3])[:110] if x[3] else "ok" for x in found)


class Case(cases.Case):
    def __init__(self, name, args, tally):
        super().__init__(name, args, tally)
        self.cluster = self.disks = None

    def formed(self, with_disks=True, prepare=None, size=3):
        self.disks = Disks(3, self.args.dir) if with_disks else None
        self.cluster = Cluster(self.args.rqd, size, self.args.dir, ["-raft-snap", "200", "-raft-snap-int", "200ms", *self.args.flag],
                               data_dirs=self.disks.data() if self.disks else None)
        self.nodes.extend(self.cluster)
        if prepare:
            prepare(self.cluster)
        self.cluster.start()
        self.cluster.wait_ready(60)
        execute(self.cluster[0], "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE, pad TEXT)")
        return self.cluster

    def writes_again(self):
        """Through every node, by itself. Returns the seconds it took."""
        begin = time.monotonic()
        for node in self.cluster:
            try:
                wait_for("a write through " + node.node_id, AGAIN, lambda node=node: execute(
                    node, ["INSERT INTO t(v) VALUES(?)", "again %s %f" % (node.node_id, time.monotonic())], params="timeout=2s", timeout=5.0), 0.05)
                self.check(True, "")
            except NodeError as e:
                self.check(False, str(e))
        return time.monotonic() - begin

    def judge(self, load):
        """Acknowledged is there, refused is not; all nodes have the same; nothing broke."""
        def same():
            found = [dump(node, ["t"]) for node in self.cluster]
            return found[0] if all(f == found[0] for f in found) else None
        for node in self.cluster:
            query(node, "SELECT 1", "strong")
        try:
            rows = wait_for("the same content everywhere", 20, same, 0.2)["t"]
        except NodeError as e:
            self.check(False, str(e))
            return
        there = {row[2] for row in rows}
        lost = [v for _, _, v, words in load.writes if words is None and v not in there]
        ghosts = [(v, words) for _, _, v, words in load.writes if words and words.startswith("503") and v in there]
        self.check(not lost, "%d acknowledged writes are lost: %s" % (len(lost), lost[:3]))
        self.check(not ghosts, "%d refused writes are there: %s" % (len(ghosts), ghosts[:3]))
        for node in self.cluster:
            self.check(query(node, "PRAGMA integrity_check", "none") == [("ok",)], "integrity of " + node.node_id)
            with open(node.log_path, errors="replace") as f:
                text = f.read()
            broken = re.findall(r".*(?:Sanitizer|SIGSEGV|SIGABRT|diverge|doesn't fit).*", text)
            self.check(not broken, "log of %s: %s" % (node.node_id, broken[:2]))
            self.check("died" not in text, "a service of %s died" % node.node_id)

    def end(self, failed):
        super().end(failed)
        if self.disks:
            self.disks.remove()


def terms(cluster):
    return max((raft_state(node) or {}).get("term", 0) for node in cluster)


def one_full(c, victim_leads):
    cluster = c.formed()
    leader = cluster.leader()
    victim = leader if victim_leads else next(n for n in cluster if n is not leader)
    number = cluster.index(victim)
    load = Load(cluster)
    time.sleep(1.0)
    begin = time.monotonic()
    c.disks.fill(number)
    time.sleep(8.0)
    end = time.monotonic()
    others = [n.node_id for n in cluster if n is not victim]
    print("    writes while full: %s" % dict(load.told(begin + 4, end)), flush=True)
    for node in cluster:
        told = Counter(re.sub(r"\d{2,}", "N", w[3])[:90] if w[3] else "ok" for w in load.writes if begin + 4 <= w[0] < end and w[1] == node.node_id)
        print("      %s%s: %s" % (node.node_id, " (full)" if node is victim else "", dict(told)), flush=True)
    print("    reads while full: %s" % dict(load.told(begin, end, "reads")), flush=True)
    unclear = [w for w in load.writes if begin <= w[0] < end and w[3] and not CLEAR.search(w[3])]
    c.check(len(unclear) <= 6, "%d unclear answers, first: %s" % (len(unclear), unclear[:2]))
    late = [w for w in load.writes if begin + 4 <= w[0] < end and w[1] == victim.node_id and w[3] and not w[3].startswith("503")]
    c.check(not late, "%d writes at the full node are not refused at once, first: %s" % (len(late), late[:2]))
    good = [w for w in load.writes if begin + 4 <= w[0] < end and w[1] in others and w[3] is None]
    c.check(good, "nobody writes although two nodes have space")
    bad = [r for r in load.reads if begin <= r[0] < end and r[3] and (r[1] in others or r[2] == "none")]
    c.check(not bad, "%d reads failed, first: %s" % (len(bad), bad[:2]))
    c.disks.free(number)
    print("    writes through every node again after %.2f s" % c.writes_again(), flush=True)
    load.stop()
    c.judge(load)


def full_disk_of_the_leader(c):
    one_full(c, True)


def full_disk_of_a_follower(c):
    one_full(c, False)


def full_disks_of_all(c):
    cluster = c.formed()
    load = Load(cluster)
    time.sleep(1.0)
    before = terms(cluster)
    begin = time.monotonic()
    for i in range(3):
        c.disks.fill(i)
    time.sleep(8.0)
    end = time.monotonic()
    print("    writes while full: %s" % dict(load.told(begin + 4, end)), flush=True)
    print("    reads while full: %s" % dict(load.told(begin, end, "reads")), flush=True)
    unclear = [w for w in load.writes if begin <= w[0] < end and w[3] and not CLEAR.search(w[3])]
    c.check(len(unclear) <= 9, "%d unclear answers, first: %s" % (len(unclear), unclear[:2]))
    c.check(any(w[3] and "disk" in w[3] for w in load.writes if begin <= w[0] < end), "no write was refused for the disk")
    # One that must see a write which is committed, but can't be applied, waits for space.
    bad = [r for r in load.reads if begin <= r[0] < end and r[3] and (r[2] == "none" or not r[3].startswith("504"))]
    c.check(not bad, "%d reads failed, first: %s" % (len(bad), bad[:2]))
    c.check(terms(cluster) <= before + 4, "%d elections" % (terms(cluster) - before))
    for i in range(3):
        c.disks.free(i)
    print("    writes through every node again after %.2f s" % c.writes_again(), flush=True)
    load.stop()
    c.judge(load)


def limited(nodes, service, size=None):
    """The largest file that a service of these nodes may write; None: as large as it likes."""
    for node in nodes:
        for process in node.find(service):
            limit = resource.RLIM_INFINITY if size is None else size
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def limit_on_file_sizes(c):
    """As ulimit -f and LimitFSIZE= set it: the kernel's signal kills nobody, and a file at its limit is a
    full disk: first one of the log, then one of the database. A node alone, so that it goes on leading."""
    cluster = c.formed(with_disks=False, size=1)
    load = Load(cluster)
    time.sleep(1.0)
    for service in ("rq-consensus", "rq-store"):
        pids = {p.pid for p in cluster[0].find(service)}
        c.need(len(pids) == 1, "no " + service)
        begin = time.monotonic()
        limited(cluster, service, LIMIT_BYTES)
        time.sleep(5.0)
        end = time.monotonic()
        print("    writes with a limited %s: %s" % (service, dict(load.told(begin + 2, end))), flush=True)
        print("    reads with a limited %s: %s" % (service, dict(load.told(begin, end, "reads"))), flush=True)
        c.check(pids == {p.pid for p in cluster[0].find(service)}, "%s was killed" % service)
        late = [w for w in load.writes if begin + 2 <= w[0] < end]
        c.check(any(w[3] and "disk is full" in w[3] for w in late), "no write was refused for the limit")
        c.check(all(w[3] and CLEAR.search(w[3]) for w in late[1:]), "unclear answers, or none, first: %s" % late[:2])
        bad = [r for r in load.reads if begin <= r[0] < end and r[3] and r[2] == "none"]
        c.check(not bad, "%d reads failed, first: %s" % (len(bad), bad[:2]))
        limited(cluster, service)
        print("    writes again after %.2f s" % c.writes_again(), flush=True)
    load.stop()
    c.judge(load)


def stalled_disk_of_the_leader(c):
    """It loses its role, once; the others go on; it comes back as a follower."""
    folder = tempfile.mkdtemp(prefix="rqstall-", dir=c.args.dir)
    source, library = os.path.join(folder, "stall.c"), os.path.join(folder, "stall.so")
    with open(source, "w") as f:
        f.write(STALL)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)

    def prepare(cluster):
        for node in cluster:
            env = ["env", "LD_PRELOAD=" + library, "ASAN_OPTIONS=verify_asan_link_order=0", "RQ_TEST_STALL=" + os.path.join(folder, node.node_id)]
            node.command = [*env, *node.command]
    try:
        cluster = c.formed(with_disks=False, prepare=prepare)
        leader = cluster.leader()
        others = [n for n in cluster if n is not leader]
        load = Load(cluster, 50)
        time.sleep(1.0)
        before = terms(cluster)
        begin = time.monotonic()
        with open(os.path.join(folder, leader.node_id), "w"):
            pass
        found = wait_for("another leader", 15, lambda: [n for t, n in cluster.leaders(others)])
        took = time.monotonic() - begin
        c.check(found[0] is not leader, "the leader keeps its role")
        time.sleep(3.0)
        end = time.monotonic()
        good = [w for w in load.writes if begin + took + 0.5 <= w[0] < end and w[3] is None and w[1] in [n.node_id for n in others]]
        c.check(good, "nobody writes although two disks are well")
        c.check(terms(others) <= before + 2, "the role went round: %d elections" % (terms(others) - before))
        bad = [r for r in load.reads if begin + took + 0.5 <= r[0] < end and r[3] and r[1] in [n.node_id for n in others]]
        c.check(not bad, "%d reads failed, first: %s" % (len(bad), bad[:2]))
        os.unlink(os.path.join(folder, leader.node_id))
        again = c.writes_again()
        print("    another leader after %.2f s; writes through every node again after %.2f s, %d elections"
              % (took, again, terms(cluster) - before), flush=True)
        c.check(terms(cluster) <= before + 2, "it disturbs when it is back: %d elections" % (terms(cluster) - before))
        load.stop()
        c.judge(load)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


TESTS = (full_disk_of_the_leader, full_disk_of_a_follower, full_disks_of_all, limit_on_file_sizes, stalled_disk_of_the_leader)


if __name__ == "__main__":
    sys.exit(cases.main(TESTS, Case, cases.arguments(__doc__).parse_args(), lambda test:
                        "small disks need root" if "full_disk" in test.__name__ and os.geteuid() != 0 else None))
