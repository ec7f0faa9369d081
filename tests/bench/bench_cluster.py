#!/usr/bin/env python3
"""Benchmark of a cluster on one machine, alone or side by side with another server of the same HTTP
interface: throughput on leader and follower, and how long writes are away when a leader is.

Clusters run at the same time and take turns case by case and round by round. See README.md.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../system"))
sys.path.insert(0, HERE)
from bench import (ITEMS, RESTART_REQUESTS, RESTART_ROWS_PER_REQUEST, BenchError, execute, fsync_ms,
                   numbers, run_wrk, select, show)
from cluster_nodes import Cluster, Refused, ask, launcher_first, signal_all, wait_for
from rqnode import HttpFailure, NodeError, exit_on_sigterm

LEADER, FOLLOWER = "leader", "follower"
LINEARIZABLE = "/db/query?level=linearizable"
# name: (node that is asked, (path, kind, connections))
WRK_CASES = {
    "insert_c1": (LEADER, ("/db/execute", "insert", 1)),
    "insert_c64": (LEADER, ("/db/execute", "insert", 64)),
    "insert_c256": (LEADER, ("/db/execute", "insert", 256)),
    "insert_follower_c64": (FOLLOWER, ("/db/execute", "insert", 64)),
    "linearizable_c64": (LEADER, (LINEARIZABLE, "point", 64)),
    "linearizable_follower_c64": (FOLLOWER, (LINEARIZABLE, "point", 64)),
    "weak_follower_c64": (FOLLOWER, ("/db/query?level=weak", "point", 64)),
}
AWAY_CASES = ["kill_leader_3", "kill_leader_5", "sigterm_leader", "step_down"]
CASES = [*WRK_CASES, *AWAY_CASES, "kill_all"]
# (case, measure): what is aimed at. ratio: ours/peer; most: of ours alone.
TARGETS = {
    ("insert_c1", "req/s"): ("ratio", ">=", 2.0), ("insert_c1", "CPU us/req"): ("ratio", "<=", 0.333),
    ("insert_c64", "req/s"): ("ratio", ">=", 3.0), ("insert_c256", "req/s"): ("ratio", ">=", 2.0),
    ("insert_follower_c64", "req/s"): ("ratio", ">=", 4.0),
    ("linearizable_c64", "req/s"): ("ratio", ">=", 1.5),
    ("linearizable_follower_c64", "req/s"): ("ratio", ">=", 2.0),
    ("weak_follower_c64", "req/s"): ("ratio", ">=", 2.0),
    ("kill_leader_3", "write after ms"): ("ours", "<=", 700),
    ("kill_leader_5", "write after ms"): ("ours", "<=", 800),
    ("sigterm_leader", "longest gap ms"): ("ours", "<=", 25),
    ("sigterm_leader", "failed requests"): ("ours", "<=", 0),
    ("step_down", "longest gap ms"): ("ours", "<=", 10),
    ("step_down", "failed requests"): ("ours", "<=", 0),
    ("kill_all", "first write ms"): ("ours", "<=", 800),
}
WRITERS = 4             # while a leader leaves: their failures are counted
STEADY_SECONDS = 0.5    # of writing before and after


class Servers:
    """The clusters of one server: one for throughput, others made when they are needed."""

    def __init__(self, label, binary, directory, flags):
        self.label = label
        self.binary = binary
        self.directory = directory
        self.flags = flags
        self.clusters = {}

    def cluster(self, size):
        if size not in self.clusters:
            cluster = Cluster(self.binary, size, self.directory, self.flags)
            self.clusters[size] = cluster
            cluster.start()
            cluster.wait_ready(60)
            execute(cluster.leader().client(60), [
                "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL)",
                "CREATE TABLE bench(id INTEGER PRIMARY KEY, k INTEGER, v TEXT, x REAL)",
                numbers(1, ITEMS) + "INSERT INTO item SELECT i, 'item number ' || (1000000 + i), "
                "i + 0.25 FROM n"])
        return self.clusters[size]

    def drop(self, size):
        """A cluster of five that idles would share the cores with those that are measured."""
        if size in self.clusters:
            self.clusters.pop(size).remove()

    def kill(self):
        for cluster in self.clusters.values():
            cluster.kill()


class Whole:
    """What bench.run_wrk() measures: requests go to one node, CPU and memory are those of all."""

    def __init__(self, cluster, role):
        self.cluster = cluster
        self.asked = cluster.leader() if role == LEADER else cluster.followers()[0]
        self.client = self.asked.client(60)
        self.node = self

    def address(self):
        return self.asked.address()

    def cpu_seconds(self):
        return sum(node.cpu_seconds() for node in self.cluster)

    def pss_kib(self):
        sizes = [node.pss_kib() for node in self.cluster]
        return None if None in sizes else sum(sizes)

    def clear(self):
        execute(self.client, ["DELETE FROM bench"])

    def count(self):
        return select(self.client, "SELECT count(*) FROM bench", "strong")[0][0][0]


# ---------------------------------------------------------------------------- a leader goes away

class Writer(threading.Thread):
    """Writes to one node without a pause; notes (begin, end, error or None) of each."""

    def __init__(self, node, timeout=20.0):
        super().__init__(daemon=True)
        self.client = node.client(timeout)
        self.quit = threading.Event()
        self.notes = []

    def run(self):
        while not self.quit.is_set():
            begin = time.monotonic()
            error = None
            try:
                execute(self.client, [["INSERT INTO bench(k, v, x) VALUES(?, ?, ?)", 1, "away", 0.5]],
                        transaction=False, timeout=20)
            except (BenchError, HttpFailure, ValueError) as e:
                error = str(e)
            self.notes.append((begin, time.monotonic(), error))
            if error:
                time.sleep(0.002)
        self.client.close()

    def acked_since(self, moment):
        """When the first write was acknowledged that began after this."""
        return next((end for begin, end, error in self.notes if begin >= moment and not error), None)

    def longest_gap(self, since, until):
        """Between two acknowledgements, the second of them in this time."""
        ends = [end for _, end, error in self.notes if not error]
        return max((b - a for a, b in zip(ends, ends[1:]) if since <= b < until), default=0.0)


def settled(cluster):
    """All ready, and the same one leads for a moment. Returns it."""
    cluster.wait_ready(60)

    def same_twice():
        first = cluster.leaders()
        time.sleep(STEADY_SECONDS)
        return first[0][1] if len(first) == 1 and cluster.leaders() == first else None
    return wait_for("a settled leader", 30, same_twice)


def run_kill_leader(servers, size):
    cluster = servers.cluster(size)
    leader = settled(cluster)
    writer = Writer(next(n for n in cluster if n is not leader))
    writer.start()
    time.sleep(STEADY_SECONDS)
    procs = launcher_first(leader)      # looked up before: it takes longer than some elections
    moment = time.monotonic()
    signal_all(procs, signal.SIGKILL)
    dead = time.monotonic()
    leader.kill_tree()
    try:
        end = wait_for("a write after kill -9 of the leader", 60, lambda: writer.acked_since(dead), 0.005)
    finally:
        writer.quit.set()
        writer.join()
    leader.start()
    cluster.wait_ready(60)
    failed = sum(bool(error) for _, _, error in writer.notes)
    return {"write after ms": (end - moment) * 1e3, "failed requests": float(failed)}


def run_leaving(servers, how):
    """Leadership is handed over while clients write to the other nodes."""
    cluster = servers.cluster(3)
    leader = settled(cluster)
    others = [n for n in cluster if n is not leader]
    writers = [Writer(others[i % 2]) for i in range(WRITERS)]
    leader.members()
    for writer in writers:
        writer.start()
    time.sleep(STEADY_SECONDS)
    moment = time.monotonic()
    if how == "sigterm":
        leader.root.send_signal(signal.SIGTERM)
    else:
        ask(leader, "POST", "/leader", timeout=20)
    try:
        cluster.leader(30, others)
        time.sleep(STEADY_SECONDS)
        for writer in writers:
            wait_for("a write after " + how, 30, lambda w=writer: w.acked_since(moment), 0.005)
    finally:
        for writer in writers:
            writer.quit.set()
        for writer in writers:
            writer.join()
    if how == "sigterm":
        code = leader.stop()
        if code != 0 and servers.label == "rq":
            raise BenchError("SIGTERM: exit code %s" % code)
        leader.start()
    cluster.wait_ready(60)
    end = time.monotonic()
    return {"longest gap ms": max(w.longest_gap(moment, end) for w in writers) * 1e3,
            "gap before ms": max(w.longest_gap(0.0, moment) for w in writers) * 1e3,
            "failed requests": float(sum(bool(e) for w in writers for _, _, e in w.notes))}


def run_kill_all(servers):
    """A cluster of its own each time, whose log has never been shortened by a snapshot."""
    cluster = Cluster(servers.binary, 3, servers.directory,
                      [*servers.flags, "-raft-snap=1000000", "-raft-snap-wal-size=0"])
    try:
        cluster.start()
        cluster.wait_ready(60)
        client = cluster.leader().client(60)
        execute(client, ["CREATE TABLE tail(id INTEGER PRIMARY KEY, k INTEGER, v TEXT)"])
        for n in range(RESTART_REQUESTS):
            execute(client, [["INSERT INTO tail(k, v) VALUES(?, ?)", n, "value of row %d" % i]
                             for i in range(RESTART_ROWS_PER_REQUEST)])
        client.close()
        cluster.kill()
        begin = time.monotonic()
        cluster.start()
        own = cluster[1].client(60)
        while True:
            try:
                execute(own, [["INSERT INTO tail(k, v) VALUES(?, ?)", -1, "after"]], timeout=60)
                break
            except (BenchError, HttpFailure, ValueError) as e:
                if time.monotonic() - begin > 120:
                    raise BenchError("no write within 120 s: %s" % e) from None
                time.sleep(0.005)
        first_write = time.monotonic() - begin
        cluster.wait_ready(120)
        ready = time.monotonic() - begin
        rows = select(own, "SELECT count(*) FROM tail WHERE k >= 0", "strong")[0][0][0]
        if rows != RESTART_REQUESTS * RESTART_ROWS_PER_REQUEST:
            raise BenchError("%d rows are there after the restart" % rows)
        return {"first write ms": first_write * 1e3, "all ready ms": ready * 1e3}
    finally:
        cluster.remove()


def run_case(servers, name, args, temp):
    if name in WRK_CASES:
        role, case = WRK_CASES[name]
        return run_wrk(Whole(servers.cluster(3), role), name, case, args.seconds, temp)
    if name.startswith("kill_leader"):
        return run_kill_leader(servers, int(name[-1]))
    if name == "kill_all":
        return run_kill_all(servers)
    return run_leaving(servers, "sigterm" if name.startswith("sigterm") else "step_down")


# ---------------------------------------------------------------------------- report

def report(medians, labels):
    ours, peer = labels[0], labels[1] if len(labels) > 1 else None
    print("%-26s %-16s %10s %10s %7s  %s" % ("case", "measure", ours, peer or "", "ratio", "target"))
    for case, by_label in medians.items():
        for measure, mine in by_label.get(ours, {}).items():
            other = by_label.get(peer, {}).get(measure)
            ratio = mine / other if other else None
            target, verdict = TARGETS.get((case, measure)), ""
            if target:
                value = ratio if target[0] == "ratio" else mine
                verdict = "%s %s %g" % target
                if value is not None:
                    met = value >= target[2] if target[1] == ">=" else value <= target[2]
                    verdict += "  met" if met else "  MISSED"
            print("%-26s %-16s %10s %10s %7s  %s" % (
                case, measure, show(mine), "" if other is None else show(other),
                "" if ratio is None else "%.2f" % ratio, verdict))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(HERE, "../../build/bin/rqd"))
    parser.add_argument("--peer", help="another server's program, to compare with")
    parser.add_argument("--cases", default=",".join(CASES), help="of: " + ", ".join(CASES))
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="of throughput and kill_all")
    parser.add_argument("--times", type=int, default=7, help="a leader goes away")
    parser.add_argument("--flag", action="append", default=[], help="passed to the servers")
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--dir", help="parent of the data directories (default: temporary)")
    args = parser.parse_args()
    cases = args.cases.split(",")
    if set(cases) - set(CASES):
        parser.error("unknown cases: %s" % ", ".join(sorted(set(cases) - set(CASES))))
    if set(cases) & set(WRK_CASES) and shutil.which("wrk") is None:
        parser.error("wrk is not installed")
    exit_on_sigterm()

    temp = tempfile.mkdtemp(prefix="rqbench-", dir=args.dir)
    servers = [Servers(label, binary, temp, args.flag)
               for label, binary in (("rq", args.rqd), ("peer", args.peer)) if binary]
    figures, failed = {case: {} for case in cases}, 0
    try:
        print("%d cores, fdatasync of 4 KiB: %.2f ms" % (os.cpu_count(), fsync_ms(temp)), flush=True)
        if not args.peer:
            print("no --peer: the comparison is skipped")
        # Round by round what loads the machine; what waits for elections comes behind it.
        turns = [(n, case) for n in range(args.rounds) for case in cases if case in WRK_CASES]
        for case in cases:
            if case not in WRK_CASES:
                turns += [(n, case) for n in range(args.times if case in AWAY_CASES else args.rounds)]
        for number, case in turns:
            for server in servers:
                try:
                    result = run_case(server, case, args, temp)
                except (BenchError, HttpFailure, NodeError, Refused, KeyError, ValueError) as e:
                    print("FAIL %s %s: %s" % (server.label, case, e), flush=True)
                    failed += 1
                    continue
                figures[case].setdefault(server.label, []).append(result)
                print("round %d %-26s %-5s %s" % (number + 1, case, server.label, "  ".join(
                    "%s %s" % (k, show(v)) for k, v in result.items())), flush=True)
            if case == "kill_leader_5" and number == args.times - 1:
                for server in servers:
                    server.drop(5)
        medians = {case: {label: {m: statistics.median(r[m] for r in results) for m in results[0]}
                          for label, results in by_label.items()}
                   for case, by_label in figures.items()}
        print()
        report(medians, [s.label for s in servers])
        if args.json:
            with open(args.json, "w") as f:
                json.dump({"cores": os.cpu_count(), "medians": medians, "all": figures}, f, indent=1)
    finally:
        for server in servers:
            if failed:
                for cluster in server.clusters.values():
                    cluster.dump_logs(15)
            server.kill()
        shutil.rmtree(temp, ignore_errors=True)
    if failed:
        print("%d measurements failed" % failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
