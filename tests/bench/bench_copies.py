#!/usr/bin/env python3
"""Benchmark of whole databases in and out of one node: loads of a SQLite file and of the same as SQL
text, backups as a file and as SQL text; alone or side by side with another server of the same HTTP
interface. See README.md.
"""

import argparse
import json
import os
import random
import shutil
import socket
import sqlite3
import statistics
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../system"))
from bench import BenchError, mib, report
from rqnode import HttpFailure, Node, NodeError, exit_on_sigterm

ROWS = 290000           # 150 bytes each and an index: 43 MiB
CASES = ["load_file", "backup_file", "backup_delete", "backup_sql", "load_sql"]
TARGETS = {"backup_file": "/db/backup", "backup_delete": "/db/backup?fmt=delete", "backup_sql": "/db/backup?fmt=sql"}
PIECE = 1 << 20


def make_files(folder, rows):
    """The database, and its SQL text."""
    rng = random.Random(1)
    path, text = os.path.join(folder, "load.db"), os.path.join(folder, "load.sql")
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=OFF")
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n INT, v REAL, note TEXT)")
    db.executemany("INSERT INTO t VALUES(?,?,?,?,?)", (
        (i, "user%d" % rng.randrange(10**9), rng.randrange(10**6), rng.random() * 1000, "x y z " * 13 + str(rng.random()))
        for i in range(1, rows + 1)))
    db.execute("CREATE INDEX i ON t(name)")
    db.commit()
    with open(text, "w") as f:
        for line in db.iterdump():
            f.write(line + "\n")
    db.close()
    return path, text


class Exchange:
    """One request, whose answer is thrown away as it comes, or written to a file: http.client would
    cost more than the server."""

    def __init__(self, node, head, body_path=None, keep=None, timeout=120.0):
        self.begin = time.monotonic()
        self.socket = socket.create_connection((node.host, node.http_port), timeout)
        self.keep, self.size = keep, 0
        try:
            self.socket.sendall(head.encode())
            if body_path is not None:
                with open(body_path, "rb") as f:
                    self.socket.sendfile(f)
            self.read_answer()
        except socket.timeout:
            raise BenchError("no answer within %.0f s" % timeout) from None
        finally:
            self.socket.close()
        self.seconds = time.monotonic() - self.begin

    def read_answer(self):
        buffer = bytearray(PIECE)
        data = b""
        while b"\r\n\r\n" not in data:
            n = self.socket.recv_into(buffer)
            if n == 0:
                raise BenchError("the connection ended amid the head: %r" % data[:200])
            data += bytes(buffer[:n])
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.first_byte = time.monotonic() - self.begin
        self.chunked = self.fields.get("transfer-encoding") == "chunked"
        left = None if self.chunked else int(self.fields.get("content-length", 0)) - len(rest)
        tail = self.take(rest)
        while tail[-7:] != b"\r\n0\r\n\r\n" if left is None else left > 0:
            n = self.socket.recv_into(buffer)
            if n == 0:
                raise BenchError("the answer is cut")
            piece = memoryview(buffer)[:n]
            self.take(piece)
            tail = tail[-7:] + bytes(piece[-7:])
            if left is not None:
                left -= n

    def take(self, piece):
        self.size += len(piece)
        if self.keep is not None:
            self.keep += piece
        return bytes(piece[-7:])

    def body(self):
        if not self.chunked:
            return bytes(self.keep)
        out, at = [], 0
        while True:
            end = self.keep.index(b"\r\n", at)
            size = int(self.keep[at:end], 16)
            if size == 0:
                return b"".join(out)
            out.append(bytes(self.keep[end + 2:end + 2 + size]))
            at = end + 4 + size


class Server:
    def __init__(self, label, binary, folder, flags=()):
        self.label, self.binary, self.folder, self.flags = label, binary, folder, flags
        self.node = None
        self.start()

    def start(self):
        if self.node is not None:
            self.node.kill_tree()
            self.node.remove()
        self.node = Node(self.binary, self.folder, self.flags)
        self.node.start()
        self.node.wait_ready(30)
        self.loaded = False

    def load(self, path, timeout):
        size = os.path.getsize(path)
        kind = "text/plain" if path.endswith(".sql") else "application/octet-stream"
        x = Exchange(self.node, "POST /db/load HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, size), path,
                     keep=bytearray(), timeout=timeout)
        if x.status != 200 or b"error" in x.body():
            raise BenchError("load: %d %r" % (x.status, x.body()[:200]))
        self.loaded = True
        return x

    def count(self):
        response = self.node.client(60).request("POST", "/db/query?level=strong", '["SELECT count(*), total(n) FROM t"]')
        return json.loads(response.body)["results"][0]["values"][0]

    def back_up(self, target, keep=None):
        x = Exchange(self.node, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target, keep=keep)
        if x.status != 200:
            raise BenchError("backup: %d" % x.status)
        return x


def verify_backup(server, target, wanted, folder):
    """Once a server and a format: what came is the database."""
    x = server.back_up(target, keep=bytearray())
    path = os.path.join(folder, "got.db")
    if os.path.exists(path):
        os.unlink(path)
    if "sql" in target:
        db = sqlite3.connect(path)
        db.executescript(x.body().decode())
    else:
        with open(path, "wb") as f:
            f.write(x.body())
        db = sqlite3.connect("file:%s?mode=ro&immutable=1" % path, uri=True)
    found = list(db.execute("SELECT count(*), total(n) FROM t").fetchone())
    sound = db.execute("PRAGMA integrity_check").fetchone()[0]
    db.close()
    if found != wanted or sound != "ok":
        raise BenchError("%s has %s, %s, wanted %s" % (target, found, sound, wanted))


class Memory:
    """The largest PSS of all processes together that was seen at any time."""

    def __init__(self, node):
        self.node, self.first, self.over = node, node.pss_kib() or 0, threading.Event()
        self.peak = self.first
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.over.wait(0.05):
            self.peak = max(self.peak, self.node.pss_kib() or 0)

    def end(self):
        self.over.set()
        self.thread.join()
        return {"growth MiB": mib(self.peak - self.first), "peak MiB": mib(self.peak)}


def measure(server, name, files, wanted, args):
    if name.startswith("backup") and not server.loaded:
        server.load(files[0], args.timeout)
    node = server.node
    if name == "load_sql":
        node.client(60).request("POST", "/db/execute", '["DROP TABLE IF EXISTS t"]')
        server.loaded = False
    memory = Memory(node)
    exact, ticks = node.cpu_seconds_exact(), node.cpu_seconds()
    try:
        x = server.back_up(TARGETS[name]) if name in TARGETS else server.load(files[name == "load_sql"], args.timeout)
    finally:
        seen = memory.end()
    # Threads that have ended are missing in one, ticks are coarse in the other.
    cpu = max(node.cpu_seconds_exact() - exact, node.cpu_seconds() - ticks)
    if name.startswith("load") and server.count() != wanted:
        raise BenchError("%s: %s rows, wanted %s" % (name, server.count(), wanted))
    return {"ms": x.seconds * 1e3, "CPU ms": cpu * 1e3, "first byte ms": x.first_byte * 1e3, **seen}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(HERE, "../../build/bin/rqd"))
    parser.add_argument("--peer", help="another server's program, to compare with")
    parser.add_argument("--cases", default=",".join(CASES), help="of: " + ", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one load")
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--dir", help="parent of the data directories (default: temporary)")
    args = parser.parse_args()
    cases = args.cases.split(",")
    if set(cases) - set(CASES):
        parser.error("unknown cases: %s" % ", ".join(sorted(set(cases) - set(CASES))))
    exit_on_sigterm()
    temp = tempfile.mkdtemp(prefix="rqbench-", dir=args.dir)
    servers, figures, failed, verified = [], {case: {} for case in cases}, 0, set()
    try:
        files = make_files(temp, args.rows)
        db = sqlite3.connect(files[0])
        wanted = list(db.execute("SELECT count(*), total(n) FROM t").fetchone())
        db.close()
        print("%.1f MiB as a file, %.1f MiB as SQL; %d cores, %d rounds" % (
            os.path.getsize(files[0]) / 2**20, os.path.getsize(files[1]) / 2**20, os.cpu_count(), args.rounds), flush=True)
        servers = [Server(label, binary, temp) for label, binary in (("rq", args.rqd), ("peer", args.peer)) if binary]
        for number in range(1, args.rounds + 1):
            for case in cases:
                for server in servers:
                    try:
                        result = measure(server, case, files, wanted, args)
                        if case in TARGETS and (server.label, case) not in verified:
                            verify_backup(server, TARGETS[case], wanted, temp)
                            verified.add((server.label, case))
                    except (BenchError, HttpFailure, NodeError, KeyError, ValueError, OSError) as e:
                        print("FAIL %s %s: %s" % (server.label, case, e), flush=True)
                        failed += server.label == "rq"
                        server.start()
                        continue
                    figures[case].setdefault(server.label, []).append(result)
                    print("round %d %-14s %-5s %s" % (number, case, server.label, "  ".join("%s %.1f" % item for item in result.items())), flush=True)
        medians = {case: {label: {m: statistics.median(r[m] for r in results) for m in results[0]} for label, results in by.items()}
                   for case, by in figures.items() if "rq" in by}
        print()
        report(medians, [s.label for s in servers])
        if args.json:
            with open(args.json, "w") as f:
                json.dump({"cores": os.cpu_count(), "rounds": args.rounds, "medians": medians, "all": figures}, f, indent=1)
    except (NodeError, BenchError) as e:
        print("FAIL %s" % e)
        failed += 1
    finally:
        for server in servers:
            server.node.kill_tree()
        shutil.rmtree(temp, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
