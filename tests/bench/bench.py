#!/usr/bin/env python3
"""Benchmark of one node, alone or side by side with another server of the same HTTP interface.

Both servers run at the same time on loopback ports and take turns case by case and round by round,
so that noise of the machine hits both alike. Load comes from wrk. See README.md.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../system"))
from rqnode import HttpFailure, Node, NodeError, exit_on_sigterm

ITEMS = 10000           # rows of the table for point reads and the 10,000-row answer
BIG_ROWS = 200000       # 63 bytes of JSON each: an answer of 12 MiB
RESTART_ROWS = 100000   # 1,000 bytes each: a database of about 100 MiB
RESTART_REQUESTS = 1000
RESTART_ROWS_PER_REQUEST = 100

# One wrk thread: the other core is the server's. The script gets its request from init's
# arguments; `random` and `seq` make each request different from the one before.
LUA = r"""
local path, kind = "%(path)s", "%(kind)s"
local headers = { ["Content-Type"] = "application/json" }
local n = 0
function init(args) math.randomseed(os.time()) end
local function body()
  n = n + 1
  if kind == "insert" or kind == "queued" then
    return string.format('[["INSERT INTO bench(k, v, x) VALUES(?, ?, ?)", %%d, "value of row %%d", %%d.5]]', n, n, n)
  elseif kind == "tx100" then
    local t = {}
    for i = 1, 100 do
      t[i] = string.format('["INSERT INTO bench(k, v, x) VALUES(?, ?, ?)", %%d, "value of row %%d", %%d.5]', n * 100 + i, i, n)
    end
    return "[" .. table.concat(t, ",") .. "]"
  elseif kind == "point" then
    return string.format('[["SELECT id, name, price FROM item WHERE id = ?", %%d]]', math.random(1000, 9999))
  end
  return '["SELECT id, name, price FROM item"]'
end
function request() return wrk.format("POST", path, headers, body()) end
function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    'RESULT {"requests":%%d,"us":%%d,"bytes":%%d,"p50":%%d,"p99":%%d,"max":%%d,"connect":%%d,"read":%%d,"write":%%d,"status":%%d,"timeout":%%d}',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50),
    latency:percentile(99), latency.max, e.connect, e.read, e.write, e.status, e.timeout))
end
"""

# name: (path, kind, connections)
WRK_CASES = {
    "insert_c1": ("/db/execute", "insert", 1),
    "insert_c64": ("/db/execute", "insert", 64),
    "insert_c256": ("/db/execute", "insert", 256),
    "queued_c64": ("/db/execute?queue", "queued", 64),
    "tx100_c16": ("/db/execute?transaction", "tx100", 16),
    "point_none_c1": ("/db/query?level=none", "point", 1),
    "point_none_c64": ("/db/query?level=none", "point", 64),
    "point_weak_c1": ("/db/query?level=weak", "point", 1),
    "point_weak_c64": ("/db/query?level=weak", "point", 64),
    "rows10k_c4": ("/db/query?level=none", "rows10k", 4),
}
# idle is measured in the first round only, before any load; idle_after in the last one.
CASES = ["idle", *WRK_CASES, "big_answer", "restart", "idle_after"]
ROWS_PER_REQUEST = {"insert": 1, "queued": 1, "tx100": 100}

# For the ratio columns: is a bigger number better?
BIGGER_IS_BETTER = {"req/s"}


class BenchError(Exception):
    pass


def execute(client, statements, transaction=True, timeout=120):
    target = "/db/execute?transaction" if transaction else "/db/execute"
    response = client.request("POST", target, json.dumps(statements), timeout=timeout)
    if response.status != 200 or b'"error"' in response.body:
        raise BenchError("%d %r" % (response.status, response.body[:300]))
    return json.loads(response.body)["results"]


def select(client, statement, level="none", timeout=120):
    response = client.request("POST", "/db/query?level=" + level, json.dumps([statement]),
                              timeout=timeout)
    answer = json.loads(response.body) if response.status == 200 else {}
    if "values" not in (answer.get("results") or [{}])[0]:
        raise BenchError("%d %r" % (response.status, response.body[:300]))
    return answer["results"][0]["values"], response


def numbers(first, last):
    """A CTE of integers: rows are made inside the server, loading takes no time."""
    return ("WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
            % (first, last))


class Server:
    def __init__(self, label, binary, directory):
        self.label = label
        self.node = Node(binary, directory)
        self.node.start()
        self.ready_after = self.node.wait_ready(30)
        self.client = self.node.client(60)

    def load(self):
        execute(self.client, [
            "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL)",
            "CREATE TABLE bench(id INTEGER PRIMARY KEY, k INTEGER, v TEXT, x REAL)"])
        execute(self.client, [numbers(1, ITEMS) +
                "INSERT INTO item SELECT i, 'item number ' || (1000000 + i), i + 0.25 FROM n"])

    def clear(self):
        execute(self.client, ["DELETE FROM bench"])

    def flush_queue(self):
        """Returns when what was queued is made."""
        response = self.client.request("POST", "/db/execute?queue&wait&timeout=60s", "[]", timeout=90)
        if response.status != 200:
            raise BenchError("a mark in the queue: %d %r" % (response.status, response.body[:300]))

    def count(self):
        return select(self.client, "SELECT count(*) FROM bench", "strong")[0][0][0]


# ---------------------------------------------------------------------------- cases

def run_wrk(server, name, case, seconds, temp):
    """case: (path, kind, connections), see WRK_CASES."""
    path, kind, connections = case
    script = os.path.join(temp, name + ".lua")
    with open(script, "w") as f:
        f.write(LUA % {"path": path, "kind": kind})
    if kind in ROWS_PER_REQUEST:
        server.clear()
    sample_bytes = check_sample(server, path, kind)
    rows_before = server.count() if kind in ROWS_PER_REQUEST else 0
    cpu = server.node.cpu_seconds()
    out = subprocess.run(
        ["wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds, "--timeout", "30s", "--latency",
         "-s", script, "http://%s" % server.node.address()],
        capture_output=True, text=True, check=False)
    cpu = server.node.cpu_seconds() - cpu
    line = [l for l in out.stdout.splitlines() if l.startswith("RESULT ")]
    if not line:
        raise BenchError("wrk: %s%s" % (out.stdout, out.stderr))
    result = json.loads(line[0][7:])
    verify_wrk(server, case, result, rows_before, sample_bytes)
    requests = result["requests"]
    return {
        "req/s": requests / (result["us"] / 1e6),
        "p50 ms": result["p50"] / 1e3,
        "p99 ms": result["p99"] / 1e3,
        "CPU us/req": cpu * 1e6 / requests,
        "PSS MiB": mib(server.node.pss_kib()),
    }


def check_sample(server, path, kind):
    """One request of the kind by hand, its body compared. Returns the size of its answer."""
    if kind in ("insert", "queued"):
        body = [["INSERT INTO bench(k, v, x) VALUES(?, ?, ?)", 0, "sample", 0.5]]
    elif kind == "tx100":
        body = [["INSERT INTO bench(k, v, x) VALUES(?, ?, ?)", 0, "sample", 0.5]] * 100
    elif kind == "point":
        body = [["SELECT id, name, price FROM item WHERE id = ?", 4321]]
    else:
        body = ["SELECT id, name, price FROM item"]
    response = server.client.request("POST", path, json.dumps(body),
                                     {"Content-Type": "application/json"})
    results = json.loads(response.body).get("results") if response.status == 200 else None
    if kind == "queued":
        good = results == [] and json.loads(response.body).get("sequence_number", 0) > 0
        server.flush_queue()
    elif kind in ROWS_PER_REQUEST:
        good = (results and len(results) == len(body)
                and all(r.get("rows_affected") == 1 for r in results))
    else:
        good = results and results[0].get("types") == ["integer", "text", "real"]
        if good and kind == "point":
            good = results[0]["values"] == [[4321, "item number 1004321", 4321.25]]
        elif good:
            good = results[0]["values"] == [[i, "item number %d" % (1000000 + i), i + 0.25]
                                            for i in range(1, ITEMS + 1)]
    if not good:
        raise BenchError("wrong answer: %d %r" % (response.status, response.body[:300]))
    return len(response.body)


def verify_wrk(server, case, result, rows_before, sample_bytes):
    """Errors must not count as throughput, also not those inside an answer of status 200."""
    kind, connections = case[1:]
    bad = {k: result[k] for k in ("connect", "read", "write", "status", "timeout") if result[k]}
    if bad or result["requests"] == 0:
        raise BenchError("wrk saw errors: %s of %d requests" % (bad, result["requests"]))
    if kind in ROWS_PER_REQUEST:
        if kind == "queued":
            server.flush_queue()    # answered isn't made
        time.sleep(0.2)     # wrk leaves requests unanswered at its end; they may still be applied
        rows = server.count() - rows_before
        least = result["requests"] * ROWS_PER_REQUEST[kind]
        most = least + connections * ROWS_PER_REQUEST[kind]
        if not least <= rows <= most:
            raise BenchError("%d rows are there, %d to %d expected" % (rows, least, most))
    else:
        # All answers are as long as the sample up to some headers; an error text is shorter.
        each = result["bytes"] / result["requests"]
        if each < sample_bytes:
            raise BenchError("answers have %.0f bytes, the sample's body has %d"
                             % (each, sample_bytes))


def run_idle(server, seconds):
    time.sleep(1)
    cpu = server.node.cpu_seconds_exact()
    time.sleep(seconds)
    return {"idle CPU ms/s": (server.node.cpu_seconds_exact() - cpu) * 1e3 / seconds,
            "PSS MiB": mib(server.node.pss_kib()),
            "processes": float(len(server.node.members()))}


def run_big_answer(server):
    client = server.client
    if not select(client, "SELECT count(*) FROM sqlite_master WHERE name = 'big'")[0][0][0]:
        execute(client, ["CREATE TABLE big(id INTEGER PRIMARY KEY, v TEXT)"])
        for first in range(1, BIG_ROWS, 20000):
            execute(client, [numbers(first, first + 19999) + "INSERT INTO big SELECT i, "
                    "'a text of some average length, row number ' || (1000000 + i) || ' end' FROM n"])
        time.sleep(0.5)
    node = server.node
    before = node.rss_kib()
    node.reset_peak()
    cpu = node.cpu_seconds()
    begin = time.monotonic()
    values, response = None, None
    response = client.request("POST", "/db/query?level=none", '["SELECT id, v FROM big"]')
    total = time.monotonic() - begin
    cpu = node.cpu_seconds() - cpu
    peak = node.rss_kib(peak=True)
    values = json.loads(response.body)["results"][0]["values"]
    if len(values) != BIG_ROWS or values[-1] != [
            BIG_ROWS, "a text of some average length, row number %d end" % (1000000 + BIG_ROWS)]:
        raise BenchError("wrong answer: %d rows" % len(values))
    return {"first byte ms": (response.first_body_at - begin) * 1e3, "total ms": total * 1e3,
            "CPU ms": cpu * 1e3, "peak growth MiB": mib(max(0, peak - before)),
            "answer MiB": len(response.body) / 2**20}


def run_restart(server):
    """kill -9 after many writes: how long until it is ready, and until it writes again?

    The node is one of its own, so that its database has the same history in every round.
    """
    node = server.restart_node
    if node is None:
        node = server.restart_node = Node(server.node.binary, os.path.dirname(server.node.work_dir))
        fresh = True
    else:
        fresh = False
    node.start()
    node.wait_ready(120)
    if fresh:
        client = node.client(60)
        execute(client, ["CREATE TABLE fill(id INTEGER PRIMARY KEY, v TEXT)",
                         "CREATE TABLE tail(id INTEGER PRIMARY KEY, k INTEGER, v TEXT)"])
        for first in range(1, RESTART_ROWS, 5000):
            execute(client, [numbers(first, first + 4999) +
                    "INSERT INTO fill SELECT i, hex(zeroblob(495)) || i FROM n"])
    client = node.client(60)
    rows_before = select(client, "SELECT count(*) FROM tail", "strong")[0][0][0]
    for n in range(RESTART_REQUESTS):
        execute(client, [["INSERT INTO tail(k, v) VALUES(?, ?)", n, "value of row %d" % i]
                         for i in range(RESTART_ROWS_PER_REQUEST)])
    client.close()
    node.kill_tree()
    begin = time.monotonic()
    node.start()
    first_write = []

    def write():
        own = node.client(60)
        while not first_write and time.monotonic() - begin < 120:
            try:
                execute(own, [["INSERT INTO tail(k, v) VALUES(?, ?)", -1, "after"]], timeout=60)
                first_write.append(time.monotonic() - begin)
            except (BenchError, HttpFailure):
                time.sleep(0.005)

    thread = threading.Thread(target=write)
    thread.start()
    node.wait_ready(120)
    ready = time.monotonic() - begin
    thread.join()
    if not first_write:
        raise BenchError("no write within 120 s of the restart")
    client = node.client(60)
    rows = select(client, "SELECT count(*) FROM tail WHERE k >= 0", "strong")[0][0][0]
    expected = RESTART_REQUESTS * RESTART_ROWS_PER_REQUEST
    after = select(client, "SELECT count(*) FROM tail WHERE k < 0", "strong")[0][0][0]
    if rows + after != rows_before + expected + 1:
        raise BenchError("%d rows are there after the restart, %d expected"
                         % (rows + after, rows_before + expected + 1))
    # Not left running: it would share its pages with the node that the other cases measure.
    node.kill_tree()
    return {"ready ms": ready * 1e3, "first write ms": first_write[0] * 1e3}


def run_case(server, name, args, temp):
    if name in ("idle", "idle_after"):
        return run_idle(server, args.seconds)
    if name == "big_answer":
        return run_big_answer(server)
    if name == "restart":
        return run_restart(server)
    return run_wrk(server, name, WRK_CASES[name], args.seconds, temp)


# ---------------------------------------------------------------------------- report

def mib(kib):
    return float("nan") if kib is None else kib / 1024


def fsync_ms(directory):
    """What one durable write costs here: the floor of a single client's insert."""
    path = os.path.join(directory, "fsync-probe")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        times = []
        for _ in range(50):
            os.write(fd, b"x" * 4096)
            begin = time.monotonic()
            os.fdatasync(fd)
            times.append(time.monotonic() - begin)
        return statistics.median(times) * 1e3
    finally:
        os.close(fd)
        os.unlink(path)


def show(value):
    return "%.0f" % value if abs(value) >= 100 else "%.2f" % value


def report(medians, labels):
    ours, peer = labels[0], labels[1] if len(labels) > 1 else None
    head = "%-15s %-16s %12s" % ("case", "measure", ours)
    print(head + ("%12s %18s" % (peer, "ratio %s/%s" % (ours, peer)) if peer else ""))
    for case in medians:
        for measure in medians[case][ours]:
            line = "%-15s %-16s %12s" % (case, measure, show(medians[case][ours][measure]))
            other = medians[case].get(peer, {}).get(measure) if peer else None
            if other is not None:
                line += "%12s" % show(other)
                if other:
                    ratio = medians[case][ours][measure] / other
                    better = ratio > 1 if measure in BIGGER_IS_BETTER else ratio < 1
                    line += "%14.2f %s" % (ratio, "+" if better else "-" if ratio != 1 else " ")
            print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(HERE, "../../build/bin/rqd"))
    parser.add_argument("--peer", help="another server's program, to compare with")
    parser.add_argument("--cases", default=",".join(CASES), help="of: " + ", ".join(CASES))
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--dir", help="parent of the data directories (default: temporary)")
    args = parser.parse_args()
    cases = args.cases.split(",")
    if set(cases) - set(CASES):
        parser.error("unknown cases: %s" % ", ".join(sorted(set(cases) - set(CASES))))
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed")
    exit_on_sigterm()

    temp = tempfile.mkdtemp(prefix="rqbench-", dir=args.dir)
    servers, failed = [], 0
    figures = {case: {} for case in cases}
    try:
        print("%d cores, fdatasync of 4 KiB: %.2f ms, %d rounds of %d s"
              % (os.cpu_count(), fsync_ms(temp), args.rounds, args.seconds), flush=True)
        if not args.peer:
            print("no --peer: the comparison is skipped")
        for label, binary in (("rq", args.rqd), ("peer", args.peer)):
            if binary:
                server = Server(label, binary, temp)
                server.restart_node = None
                server.load()
                servers.append(server)
                print("%s: ready after %.0f ms: %s" % (label, server.ready_after * 1e3, binary))
        for number in range(1, args.rounds + 1):
            for case in cases:
                if (case == "idle" and number > 1
                        or case == "idle_after" and number < args.rounds):
                    continue
                for server in servers:
                    try:
                        result = run_case(server, case, args, temp)
                    except (BenchError, HttpFailure, NodeError, KeyError, ValueError) as e:
                        print("FAIL %s %s: %s" % (server.label, case, e), flush=True)
                        failed += 1
                        continue
                    figures[case].setdefault(server.label, []).append(result)
                    print("round %d %-15s %-5s %s" % (number, case, server.label, "  ".join(
                        "%s %s" % (k, show(v)) for k, v in result.items())), flush=True)
        medians = {case: {label: {m: statistics.median(r[m] for r in results)
                                  for m in results[0]}
                          for label, results in by_label.items()}
                   for case, by_label in figures.items() if servers[0].label in by_label}
        print()
        report(medians, [s.label for s in servers])
        if args.json:
            with open(args.json, "w") as f:
                json.dump({"cores": os.cpu_count(), "seconds": args.seconds,
                           "rounds": args.rounds, "medians": medians, "all": figures}, f, indent=1)
    except (NodeError, BenchError, HttpFailure) as e:
        print("FAIL %s" % e)
        failed += 1
    finally:
        for server in servers:
            if failed:
                server.node.dump_log(15)
            for node in (server.node, server.restart_node):
                if node:
                    node.kill_tree()
        shutil.rmtree(temp, ignore_errors=True)
    if failed:
        print("%d measurements failed" % failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
