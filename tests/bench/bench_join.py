#!/usr/bin/env python3
"""Benchmark of a node that joins: how long a new one takes to be a voter of a cluster with much data,
and what the writes of the others notice. See README.md.
"""

import argparse
import base64
import json
import os
import shutil
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../system"))
sys.path.insert(0, HERE)
from bench import BenchError, fsync_ms
from cluster_nodes import Cluster, Refused, ask, execute, query, wait_for
from rqnode import HttpFailure, Node, NodeError, exit_on_sigterm

FILL_ROWS, ROW_BYTES = 1000, 1000   # of one request; zstd makes random base64 a quarter smaller
WARM_SECONDS = 1.0


class Writers:
    """Each writes one row after the other; how long each took is kept with when it began."""

    def __init__(self, node, count):
        self.over = threading.Event()
        self.took = []
        self.failed = []
        self.threads = [threading.Thread(target=self.run, args=(node,), daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, node):
        client = node.client(60)
        body = json.dumps([["INSERT INTO w(v) VALUES(?)", "x" * 100]])
        while not self.over.is_set():
            begin = time.monotonic()
            try:
                response = client.request("POST", "/db/execute", body)
                if response.status != 200 or b'"error"' in response.body:
                    self.failed.append((begin, "%d %r" % (response.status, response.body[:100])))
            except HttpFailure as e:
                self.failed.append((begin, str(e)))
                client.close()
                client = node.client(60)
                continue
            self.took.append((begin, time.monotonic() - begin))
        client.close()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(70)

    def between(self, begin, end):
        found = sorted(t for b, t in self.took if begin <= b < end)
        if not found:
            raise BenchError("no write in %.1f s" % (end - begin))
        return {"writes_s": len(found) / (end - begin), "p50_ms": 1000 * found[len(found) // 2], "p99_ms": 1000 * found[len(found) * 99 // 100],
                "max_ms": 1000 * found[-1]}


def fill(node, mebibytes):
    """Rows that come with the requests: what a function made would be as short in the log as its call."""
    execute(node, "CREATE TABLE big(id INTEGER PRIMARY KEY, v TEXT)", "CREATE TABLE w(id INTEGER PRIMARY KEY, v TEXT)")
    rows = mebibytes * (1 << 20) // (ROW_BYTES + 20)
    client = node.client(120)
    for begin in range(0, rows, FILL_ROWS):
        values = [base64.b64encode(os.urandom(ROW_BYTES * 3 // 4)).decode() for _ in range(min(FILL_ROWS, rows - begin))]
        statement = ["INSERT INTO big(v) VALUES" + ",".join(["(?)"] * len(values)), *values]
        response = client.request("POST", "/db/execute", json.dumps([statement]))
        if response.status != 200 or b'"error"' in response.body:
            raise BenchError("filling: %d %r" % (response.status, response.body[:200]))
    client.close()
    return rows


def is_voter(leader, node_id):
    document = json.loads(ask(leader, "GET", "/nodes?ver=2&nonvoters").body)
    return any(n["id"] == node_id and n["voter"] for n in document["nodes"])


def measure(args, folder):
    cluster = Cluster(args.rqd, args.nodes, folder, args.flag)
    new = None
    try:
        cluster.start()
        cluster.wait_ready()
        leader = cluster.leader()
        begin = time.monotonic()
        rows = fill(leader, args.mib)
        wait_for("all have it", 600, lambda: all(query(n, "SELECT count(*) FROM big", "none") == [(rows,)] for n in cluster), 0.5)
        size = os.path.getsize(os.path.join(leader.data_dir, "store/db.sqlite"))
        print("%d MiB in %.0f s" % (size >> 20, time.monotonic() - begin), flush=True)
        time.sleep(args.rest)
        writers = Writers(leader, args.connections)
        time.sleep(WARM_SECONDS + args.seconds)
        now = time.monotonic()
        before = writers.between(now - args.seconds, now)
        new = Node(args.rqd, folder, ["-join", ",".join(n.raft_address() for n in cluster), *args.flag], "new")
        begin = time.monotonic()
        new.start()
        wait_for("the new node is a voter", 900, lambda: is_voter(leader, "new"), 0.05)
        end = time.monotonic()
        during = writers.between(begin, end)
        time.sleep(WARM_SECONDS + args.seconds)
        after = writers.between(end + WARM_SECONDS, end + WARM_SECONDS + args.seconds)
        writers.stop()
        count = len(writers.took)
        wait_for("the new node has all writes", 60, lambda: query(new, "SELECT count(*) FROM w", "none")[0][0] >= count, 0.1)
        seeded = "snapshot" if "Seeded with the database" in open(new.log_path, errors="replace").read() else "log"
        return {"mib": size >> 20, "seconds": end - begin, "mib_s": (size >> 20) / (end - begin), "by": seeded, "before": before, "during": during,
                "after": after, "p99_ratio": during["p99_ms"] / before["p99_ms"], "failed": len(writers.failed), "failures": writers.failed[:3]}
    finally:
        for node in [*cluster, *([new] if new else [])]:
            node.kill_tree()
            node.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rqd", default=os.path.join(HERE, "../../build/bin/rqd"))
    parser.add_argument("--dir", help="data directories are made there")
    parser.add_argument("--mib", type=int, default=1024, help="of data")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--connections", type=int, default=4, help="that write")
    parser.add_argument("--seconds", type=float, default=5.0, help="of writing before and after")
    parser.add_argument("--rest", type=float, default=2.0, help="seconds without load before it begins")
    parser.add_argument("--flag", action="append", default=[], help="of each node (--flag=-x --flag=y)")
    parser.add_argument("--json", help="figures go there, too")
    args = parser.parse_args()
    exit_on_sigterm()
    folder = tempfile.mkdtemp(prefix="rqjoin-", dir=args.dir)
    try:
        print("fsync: %.2f ms" % fsync_ms(folder), flush=True)
        found = measure(args, folder)
    except (BenchError, NodeError, HttpFailure, Refused, OSError) as e:
        print("FAIL %s" % e)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("%d MiB to a voter in %.1f s: %.0f MiB/s, by %s" % (found["mib"], found["seconds"], found["mib_s"], found["by"]))
    for when in ("before", "during", "after"):
        print("  %-7s %5.0f writes/s, median %6.2f ms, 99 %% %6.2f ms, longest %6.1f ms"
              % (when, found[when]["writes_s"], found[when]["p50_ms"], found[when]["p99_ms"], found[when]["max_ms"]))
    print("  99 %% during/before %.2f, %d failed %s" % (found["p99_ratio"], found["failed"], found["failures"] or ""))
    if args.json:
        with open(args.json, "w") as f:
            json.dump(found, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
