#!/usr/bin/env python3
"""A node under load, abuse and stalls: what is limited stays limited, every request gets an answer in time,
and afterwards all is as before.

Three nodes, one after the other: one with the defaults (many connections, large bodies, stalls), one with
low limits (timeouts, refusals), one with few readers and little memory for them. Takes about a minute.
"""

import argparse
import json
import os
import random
import resource
import selectors
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rqnode import HOST, HttpFailure, Node, NodeError, Tally, exit_on_sigterm, read_proc, send_signal

SERVICES = ("rq-gateway", "rq-consensus", "rq-store")
MIB = 1024 * 1024
ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT count(*) FROM r"
# 50,000 rows of 1,000 bytes.
LARGE = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 50000) SELECT hex(zeroblob(500)) AS v FROM r"


# ---------------------------------------------------------------------------- measuring

class Bench:
    """One node, its three services, and the checks counted on it."""

    def __init__(self, rqd, tally, flags=()):
        self.tally = tally
        self.node = Node(rqd, flags=flags)
        self.port = self.node.http_port

    def __enter__(self):
        try:
            self.node.start()
            self.node.wait_ready()
        except Exception:
            self.node.dump_log()
            self.node.remove()
            raise
        self.pids = {name: self.service(name).pid for name in SERVICES}
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.node.dump_log()
        self.node.remove()

    def service(self, name):
        found = self.node.find(name)
        if len(found) != 1:
            raise NodeError("%d processes %s" % (len(found), name))
        return found[0]

    def pss(self, name):
        """In bytes."""
        with open("/proc/%d/smaps_rollup" % self.pids[name]) as f:
            return 1024 * next(int(line.split()[1]) for line in f if line.startswith("Pss:"))

    def pss_all(self):
        return {name: self.pss(name) for name in SERVICES}

    def threads(self, name):
        return len(os.listdir("/proc/%d/task" % self.pids[name]))

    def cpu(self, name):
        return read_proc(self.pids[name]).cpu

    def log_lines(self):
        with open(self.node.log_path, "rb") as f:
            return f.read().count(b"\n")

    def check(self, name, ok, figures=""):
        self.tally.check(ok, "%s: %s" % (name, figures))
        if ok:
            print("ok   %s%s" % (name, ": " + figures if figures else ""), flush=True)

    def same_processes(self):
        return all(read_proc(pid) is not None and len(self.node.find(name)) == 1 and self.node.find(name)[0].pid == pid
                   for name, pid in self.pids.items())

    def works(self):
        """A write and a read, right away; and nothing was restarted."""
        client = self.node.client(5.0)
        try:
            write = client.request("POST", "/db/execute", '["CREATE TABLE IF NOT EXISTS alive (n)", "INSERT INTO alive VALUES (1)"]')
            read = client.request("GET", "/db/query?q=SELECT+count(*)>0+FROM+alive")
            return write.status == 200 and b"error" not in write.body and b"[[1]]" in read.body and self.same_processes()
        except HttpFailure:
            return False
        finally:
            client.close()


def mib(n):
    return "%.1f MiB" % (n / MIB)


def settles(read, limit, seconds):
    """Waits until read() is at most limit; returns the last value."""
    deadline = time.monotonic() + seconds
    value = read()
    while value > limit and time.monotonic() < deadline:
        time.sleep(0.1)
        value = read()
    return value


# ---------------------------------------------------------------------------- raw connections

def connect(port, timeout=5.0):
    sock = socket.create_connection((HOST, port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def receive_all(sock, seconds):
    """(bytes until the other side closed, whether it did)."""
    data = bytearray()
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return bytes(data), False
        sock.settimeout(left)
        try:
            piece = sock.recv(1 << 18)
        except socket.timeout:
            return bytes(data), False
        except OSError:
            return bytes(data), True
        if not piece:
            return bytes(data), True
        data += piece


def receive_until(sock, wanted, seconds):
    """Bytes until `wanted` says that they are enough."""
    data = bytearray()
    deadline = time.monotonic() + seconds
    while not wanted(data):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        sock.settimeout(left)
        try:
            piece = sock.recv(1 << 18)
        except OSError:
            break
        if not piece:
            break
        data += piece
    return bytes(data)


def exchange(port, data, seconds=3.0):
    """What comes back for these bytes until the connection is closed, and whether it was."""
    with connect(port) as sock:
        try:
            sock.sendall(data)
        except OSError:
            pass                    # answered and closed before it had read all
        return receive_all(sock, seconds)


def post(target, body, *lines):
    return "\r\n".join(["POST %s HTTP/1.1" % target, "Host: h", *lines, "Content-Length: %d" % len(body), "", ""]).encode() + body


def chunked(body, size):
    out = bytearray()
    for at in range(0, len(body), size):
        piece = body[at:at + size]
        out += b"%x\r\n" % len(piece) + piece + b"\r\n"
    return bytes(out) + b"0\r\n\r\n"


def many(port, count, data, seconds):
    """`count` connections, `data` sent on each, an answer awaited on each; (sockets, answered with 200, slowest)."""
    selector = selectors.DefaultSelector()
    socks, good, slowest = [], 0, 0.0
    deadline = time.monotonic() + seconds
    for begin in range(0, count, 500):      # below the listener's queue
        waiting = 0
        for _ in range(min(500, count - begin)):
            sock = connect(port)
            sock.sendall(data)
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, time.monotonic())
            socks.append(sock)
            waiting += 1
        while waiting > 0 and time.monotonic() < deadline:
            for key, _ in selector.select(1.0):
                answer = key.fileobj.recv(65536)
                selector.unregister(key.fileobj)
                waiting -= 1
                good += answer.startswith(b"HTTP/1.1 200")
                slowest = max(slowest, time.monotonic() - key.data)
    selector.close()
    return socks, good, slowest


# ---------------------------------------------------------------------------- many connections

def check_idle_connections(b, count):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    name = "%d idle connections" % count
    if hard != resource.RLIM_INFINITY and hard < count + 256:
        print("skip %s: the hard limit of open files is %d" % (name, hard), flush=True)
        return
    threads, before = b.threads("rq-gateway"), b.pss("rq-gateway")
    socks, good, _ = many(b.port, count, b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n", 40)
    after = b.pss("rq-gateway")
    each = (after - before) / count
    b.check(name + " are served", good == count, "%d answered" % good)
    b.check("memory of an idle connection", each < 3 * 1024, "%.0f bytes (PSS %s, then %s)" % (each, mib(before), mib(after)))
    b.check("threads with %d connections" % count, b.threads("rq-gateway") == threads, "%d, then %d" % (threads, b.threads("rq-gateway")))

    client, times = b.node.client(), []
    for _ in range(200):
        begin = time.monotonic()
        ok = client.request("GET", "/db/query?level=none&q=SELECT+1").status == 200
        times.append(time.monotonic() - begin if ok else 99.0)
    times.sort()
    b.check("another client beside them", times[-5] < 0.05, "median %.2f ms, slowest %.2f ms" % (times[100] * 1e3, times[-1] * 1e3))
    # Each must still be the one that was opened: none was given up.
    sample = random.Random(1).sample(socks, 200)
    alive = 0
    for sock in sample:
        sock.setblocking(True)
        sock.settimeout(5)
        try:
            sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")
            alive += sock.recv(4096).startswith(b"HTTP/1.1 200")
        except OSError:
            pass
    b.check("idle connections still work", alive == len(sample), "%d of %d" % (alive, len(sample)))
    cpu = b.cpu("rq-gateway")
    time.sleep(1)
    b.check("idle connections cost no CPU", b.cpu("rq-gateway") - cpu <= 0.05, "%.0f ms in 1 s" % ((b.cpu("rq-gateway") - cpu) * 1e3))
    for sock in socks:
        sock.close()
    time.sleep(0.5)
    between = b.pss("rq-gateway")
    socks, good, _ = many(b.port, count, b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n", 40)
    again = b.pss("rq-gateway")
    for sock in socks:
        sock.close()
    b.check("the same again takes no more memory", good == count and again < after + 2 * MIB, "%s between, %s again" % (mib(between), mib(again)))


def check_busy_connections(b):
    threads = {name: b.threads(name) for name in SERVICES}
    body = b'["INSERT INTO busy VALUES (1)"]'
    b.node.client().request("POST", "/db/execute", '["CREATE TABLE busy (n)"]')
    socks, good = [connect(b.port) for _ in range(1000)], 0
    selector = selectors.DefaultSelector()
    begin, slowest, rounds = time.monotonic(), 0.0, 5
    for sock in socks:
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
    for n in range(rounds):
        request = post("/db/execute", body) if n % 2 == 0 else b"GET /db/query?q=SELECT+1 HTTP/1.1\r\nHost: h\r\n\r\n"
        started = time.monotonic()
        for sock in socks:
            sock.send(request)
        waiting = set(socks)
        while waiting and time.monotonic() - started < 10:
            for key, _ in selector.select(1.0):
                answer = key.fileobj.recv(65536)
                good += answer.startswith(b"HTTP/1.1 200") and b"error" not in answer
                waiting.discard(key.fileobj)
        slowest = max(slowest, time.monotonic() - started)
    seconds = time.monotonic() - begin
    selector.close()
    for sock in socks:
        sock.close()
    rows = b.node.client().request("GET", "/db/query?q=SELECT+count(*)+FROM+busy").body
    b.check("1000 busy connections", good == rounds * 1000 and b"[[3000]]" in rows and slowest < 5,
            "%d of %d in %.2f s, slowest round %.2f s" % (good, rounds * 1000, seconds, slowest))
    # Readers are started when they are wanted, up to 16.
    grown = {name: b.threads(name) - threads[name] for name in SERVICES}
    b.check("threads with busy connections", grown["rq-gateway"] == 0 and grown["rq-consensus"] == 0 and grown["rq-store"] <= 16, str(grown))


# ---------------------------------------------------------------------------- forms of HTTP

def check_forms(b):
    query = b"GET /db/query?level=none&q=SELECT+%d HTTP/1.1\r\nHost: h\r\n\r\n"
    with connect(b.port) as sock:
        sock.sendall(b"".join(query % n for n in range(100)))
        data = receive_until(sock, lambda d: d.count(b"HTTP/1.1 ") == 100 and d.endswith(b"}]}"), 5)
    at = [data.find(b"[[%d]]" % n) for n in range(100)]
    b.check("100 pipelined requests are answered in order", -1 not in at and at == sorted(at))

    with connect(b.port) as sock:
        body = b'["SELECT 1"]'
        sock.sendall(post("/db/query", body, "Expect: 100-continue", "Connection: close")[:-len(body)])
        first = receive_until(sock, lambda d: d.endswith(b"\r\n\r\n"), 2)
        sock.sendall(body)
        rest, _ = receive_all(sock, 3)
    b.check("Expect: 100-continue", first == b"HTTP/1.1 100 Continue\r\n\r\n" and rest.startswith(b"HTTP/1.1 200") and b"[[1]]" in rest, repr(first))

    head = b"POST /db/query HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    for size in (1, 5, 4096):
        data, closed = exchange(b.port, head + chunked(b'["SELECT 12345"]', size))
        b.check("a chunked body in pieces of %d" % size, closed and b"[[12345]]" in data)
    data, closed = exchange(b.port, b"GET http://elsewhere:9/db/query?level=none&q=SELECT+7 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    b.check("an absolute-form target", closed and b"[[7]]" in data)
    data, closed = exchange(b.port, b"GET /db/query?level=none&q=SELECT+7 HTTP/1.0\r\n\r\n")
    b.check("HTTP/1.0 is answered and closed", closed and b"[[7]]" in data and b"chunked" not in data.lower())
    with connect(b.port) as sock:
        sock.sendall(b"GET /db/query?level=none&q=SELECT+7 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
        data = receive_until(sock, lambda d: d.count(b"[[7]]") == 2, 2)
    b.check("HTTP/1.0 with keep-alive", data.count(b"[[7]]") == 2)
    data, closed = exchange(b.port, LARGE_TEN)
    b.check("a large answer over HTTP/1.0 ends with the connection", closed and data.endswith(b"}") and b"chunked" not in data[:1000].lower(), mib(len(data)))


LARGE_TEN = ("GET /db/query?level=none&q=%s HTTP/1.0\r\n\r\n" % LARGE.replace("50000", "1000").replace(" ", "%20").replace("+", "%2B")).encode()


def check_half(b):
    with connect(b.port) as sock:
        sock.sendall(b"GET /db/query?q=SELECT+7 HTTP/1.1\r\nHost: h\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        data, closed = receive_all(sock, 3)
    b.check("a client that ended its side gets its read", closed and b"[[7]]" in data)
    with connect(b.port) as sock:
        sock.sendall(post("/db/execute", b'["CREATE TABLE half (n)"]'))
        sock.shutdown(socket.SHUT_WR)
        data, closed = receive_all(sock, 3)
    b.check("a client that ended its side gets its write", closed and b'"results":[{' in data)
    with connect(b.port) as sock:
        sock.sendall(b'POST /db/execute HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n["DROP TABLE half"]')
        sock.shutdown(socket.SHUT_WR)
        data, closed = receive_all(sock, 4)
    rows = b.node.client().request("GET", "/db/query?q=SELECT+count(*)+FROM+half").body
    b.check("a body that was cut off is not executed", closed and b"[[0]]" in rows, repr(data[:40]))
    for n in range(300):                    # RST in the middle of everything
        sock = connect(b.port)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.sendall((b"GET /db/query?q=SELECT+7 HTTP/1.1\r\nHost: h\r\n\r\n", b"POST /db/execute HTTP/1.1\r\nContent-Le",
                      b'POST /db/execute HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n["INSE', b"", post("/db/execute", b'["SELECT 1"]'))[n % 5])
        sock.close()
    b.check("300 connections reset half-way", b.works())


# ---------------------------------------------------------------------------- limits

def check_sizes(b, body_max):
    data, closed = exchange(b.port, b"GET /readyz HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 66000 + b"\r\n\r\n")
    b.check("header fields above 64 KiB", closed and data.startswith(b"HTTP/1.1 431 "), repr(data[:40]))
    data, closed = exchange(b.port, b"GET /readyz HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(10000)) + b"\r\n")
    b.check("many small header fields above 64 KiB", closed and data.startswith(b"HTTP/1.1 431 "), repr(data[:40]))
    data, closed = exchange(b.port, b"GET /" + b"x" * (MIB + 1000) + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    b.check("a target above 1 MiB", closed and data.startswith(b"HTTP/1.1 431 "), repr(data[:40]))

    def refused(data, closed):
        return closed and data.startswith(b"HTTP/1.1 413 ") and b"/db/load" in data

    head = b"POST /db/execute HTTP/1.1\r\nHost: h\r\n"
    result = exchange(b.port, head + b"Content-Length: %d\r\n\r\n" % (body_max + 1), 4)
    b.check("a Content-Length above -max-body-size", refused(*result), repr(result[0][:40]))
    result = exchange(b.port, head + b"Content-Length: 99999999999999999999\r\n\r\n", 4)
    b.check("a Content-Length beyond all numbers", result[1] and result[0][:12] in (b"HTTP/1.1 413", b"HTTP/1.1 400"), repr(result[0][:40]))
    body = b'["' + b"x" * (body_max + 100000) + b'"]'
    result = exchange(b.port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, 60000), 5)
    b.check("a chunked body above -max-body-size", refused(*result), repr(result[0][:40]))
    result = exchange(b.port, head + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (body_max + 1), 4)
    b.check("Expect: 100-continue above -max-body-size", result[0].startswith(b"HTTP/1.1 413 "), repr(result[0][:40]))
    body = b'["SELECT \'' + b"x" * (body_max - 100) + b'\'"]'
    response = b.node.client().request("POST", "/db/query", body)
    b.check("a body just below -max-body-size", response.status == 200, str(response.status))
    b.check("after requests that are too large", b.works())


SLOW_CLIENTS = 2                # of a kind: those that send a body count as requests under way


def check_slow_clients(b, idle_s):
    """b was started with -http-idle-timeout idle_s."""
    cases = {
        "says nothing": (b"", b""),
        "sends a header byte by byte": (b"GET /readyz HTTP/1.1\r\nHost: h\r\nX: ", b"x"),
        "stops in a body": (b"POST /db/execute HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n[", b""),
        "sends a body byte by byte": (b"POST /db/execute HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n[", b" "),
        "sends chunks byte by byte": (b"POST /db/execute HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        "stays after its answer": (b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n", b""),
    }
    open_, closed, answers = {}, {}, {}
    begin = time.monotonic()
    for name, (first, _) in cases.items():
        for n in range(SLOW_CLIENTS):
            sock = connect(b.port)
            sock.sendall(first)
            sock.setblocking(False)
            open_[name, n] = sock
    while open_ and time.monotonic() - begin < 3 * idle_s + 2:
        for key, sock in list(open_.items()):
            try:
                if cases[key[0]][1]:
                    sock.send(cases[key[0]][1])
                piece = sock.recv(65536)
                answers[key] = answers.get(key, b"") + piece
                gone = not piece
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone:
                closed[key] = time.monotonic() - begin
                open_.pop(key).close()
        time.sleep(0.05)
    for sock in open_.values():
        sock.close()
    for name in cases:
        times = [t for key, t in closed.items() if key[0] == name]
        b.check("a client that %s is closed" % name, len(times) == SLOW_CLIENTS and idle_s * 0.8 <= min(times) and max(times) < idle_s + 1.5,
                "after %.1f to %.1f s, %r" % (min(times, default=0), max(times, default=0), answers.get((name, 0), b"")[:24]))
    b.check("after slow clients", b.works())


def check_inflight(b, limit):
    """b was started with -max-inflight limit."""
    store = b.service("rq-store")
    send_signal(store, signal.SIGSTOP)
    socks = []
    try:
        for _ in range(limit):
            sock = connect(b.port)
            sock.sendall(b"GET /db/query?level=none&timeout=3s&q=SELECT+1 HTTP/1.1\r\nHost: h\r\n\r\n")
            socks.append(sock)
        time.sleep(0.2)
        begin = time.monotonic()
        responses = [b.node.client().request("GET", "/db/query?level=none&timeout=3s&q=SELECT+1") for _ in range(50)]
        seconds = time.monotonic() - begin
        ready = b.node.client().request("GET", "/nodes").status
    finally:
        send_signal(store, signal.SIGCONT)
    b.check("requests above -max-inflight are refused at once",
            all(r.status == 503 and r.get("Retry-After") == "1" for r in responses) and seconds < 1,
            "50 in %.2f s, %d %s" % (seconds, responses[0].status, responses[0].body.decode()))
    b.check("documents are served above -max-inflight", ready == 200, str(ready))
    answers = [receive_until(s, lambda d: b"[[1]]" in d, 3) for s in socks]
    for sock in socks:
        sock.close()
    b.check("requests below -max-inflight get their answers", all(b"[[1]]" in a for a in answers))
    b.check("after -max-inflight", b.works())


# ---------------------------------------------------------------------------- garbage

def check_garbage_http(b):
    rng = random.Random(7)
    tls = bytes.fromhex("16030102000100 01fc0303".replace(" ", "")) + rng.randbytes(500)
    kinds = {"a TLS hello": lambda: tls, "random bytes": lambda: rng.randbytes(rng.randrange(1, 5000)),
             "SMTP": lambda: b"EHLO mail.example.org\r\nMAIL FROM:<a@example.org>\r\n", "NULs": lambda: bytes(3000),
             "HTTP/2": lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(60),
             "an endless line": lambda: b"A" * 200000}
    for name, make in kinds.items():
        lines, bad = b.log_lines(), []
        for _ in range(50):
            data, closed = exchange(b.port, make() + b"\r\n\r\n", 4)
            if not closed or (data and data[:12] not in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 405", b"HTTP/1.1 505")):
                bad.append((data[:40], closed))
        b.check("%s on the HTTP port" % name, not bad and b.log_lines() - lines <= 10, "%s; %d log lines" % (bad[:2] or "refused", b.log_lines() - lines))
    # A client in the midst of it isn't disturbed, and what it would smuggle is refused.
    smuggled = b"POST /db/query HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /status HTTP/1.1\r\nHost: h\r\n\r\n"
    data, closed = exchange(b.port, smuggled)
    b.check("Content-Length beside Transfer-Encoding", closed and data.startswith(b"HTTP/1.1 400 ") and data.count(b"HTTP/1.1") == 1, repr(data[:40]))
    b.check("after garbage on the HTTP port", b.works())


def frame(kind, body=b"", payload=b"", version=1):
    return struct.pack("<IHHIIQ", 0x31497172, version, kind, len(body), len(payload), 1) + body + payload


def check_garbage_ipc(b):
    rng = random.Random(11)

    def hello(role):
        return frame(1, bytes([role]) + rng.randbytes(16))

    sent = {
        "random": lambda: rng.randbytes(2000), "HTTP": lambda: b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + bytes(30), "no HELLO": lambda: frame(16, b"\x08\x02"),
        "another version": lambda: frame(1, bytes(17), version=2), "an unknown role": lambda: hello(0x55),
        "a frame too large": lambda: hello(1) + struct.pack("<IHHIIQ", 0x31497172, 1, 2, 0xFFFFFFFF, 0, 1),
        "a body that is none": lambda: hello(1) + frame(17, b"\xff" * 40), "the wrong sender": lambda: hello(8) + frame(16, b"\x08\x02"),
        "HELLO twice": lambda: hello(1) + hello(1),
    }
    for name in ("store.sock", "consensus.sock"):
        path = os.path.join(b.node.data_dir, "run", name)
        lines, still_open = b.log_lines(), []
        for what, make in sent.items():
            for _ in range(10):
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(path)      # waits for a place in the queue, but only while blocking
                    sock.settimeout(3)
                    try:
                        sock.sendall(make())
                    except OSError:
                        pass
                    if not receive_all(sock, 2)[1]:
                        still_open.append(what)
                        break
        grown = b.log_lines() - lines
        b.check("garbage on %s is closed" % name, not still_open, "open: %s" % still_open)
        b.check("garbage on %s is logged sparingly" % name, grown <= 40, "%d lines for %d connections" % (grown, 10 * len(sent)))
    # A newer peer's frames are passed over; and who only sits there.
    socks = []
    for name in ("store.sock", "consensus.sock") * 100:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(os.path.join(b.node.data_dir, "run", name))
        try:
            sock.sendall((hello(8) + frame(999, b"body", bytes(1000))) * (len(socks) // 100))
        except OSError:     # one of those that are too many, closed before this was said
            pass
        socks.append(sock)
    b.check("200 silent connections between services", b.works())
    for sock in socks:
        sock.close()
    b.check("after garbage between services", b.works())


# ---------------------------------------------------------------------------- stalls

def check_stall(b, name, targets):
    """One service stands still for a few seconds, 200 clients ask with timeout=2s."""
    before = b.pss_all()
    results, lock = [], threading.Lock()
    begin_all = time.monotonic()

    def client(n):
        c = b.node.client(10.0)
        while time.monotonic() - begin_all < 2.5:
            method, target, body = targets[n % len(targets)]
            begin = time.monotonic()
            try:
                response = c.request(method, target, body)
                outcome = response.status
            except HttpFailure as e:
                outcome = str(e)
            with lock:
                results.append((outcome, time.monotonic() - begin, target))
            if outcome == 503:
                time.sleep(0.2)
        c.close()

    proc = b.service(name)
    send_signal(proc, signal.SIGSTOP)
    try:
        threads = [threading.Thread(target=client, args=(n,)) for n in range(200)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        during = b.pss_all()
    finally:
        send_signal(proc, signal.SIGCONT)
    counts = {}
    for outcome, _, _ in results:
        counts[outcome] = counts.get(outcome, 0) + 1
    slowest = max(r[1] for r in results)
    b.check("%s stands still: definite answers" % name, set(counts) <= {503, 504} and len(results) >= 200, str(counts))
    b.check("%s stands still: answers within the timeout" % name, slowest < 3.0, "slowest %.2f s" % slowest)
    growth = {s: during[s] - before[s] for s in SERVICES}
    b.check("%s stands still: memory" % name, max(growth.values()) < 16 * MIB, ", ".join("%s %+.1f MiB" % (s, g / MIB) for s, g in growth.items()))
    begin = time.monotonic()
    ok = b.works()
    b.check("%s goes on" % name, ok, "in %.2f s" % (time.monotonic() - begin))


WRITE = ("POST", "/db/execute?timeout=2s", '["INSERT INTO alive VALUES (2)"]')
READS = [("GET", "/db/query?timeout=2s&level=%s&q=SELECT+1" % level, None) for level in ("weak", "linearizable", "strong")]


def check_stalls(b):
    b.works()
    check_stall(b, "rq-store", [WRITE, WRITE, *READS, ("GET", "/db/query?timeout=2s&level=none&q=SELECT+1", None)])
    check_stall(b, "rq-consensus", [WRITE, WRITE, *READS])
    proc = b.service("rq-consensus")
    send_signal(proc, signal.SIGSTOP)
    try:
        response = b.node.client().request("GET", "/db/query?timeout=2s&level=none&q=SELECT+1")
    finally:
        send_signal(proc, signal.SIGCONT)
    b.check("level none without rq-consensus", response.status == 200 and b"[[1]]" in response.body, str(response.status))


# ---------------------------------------------------------------------------- large things

def check_slow_reader(b):
    before = b.pss_all()
    target = "/db/query?level=none&timeout=60s"
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.settimeout(5)
    sock.connect((HOST, b.port))
    sock.sendall(post(target, json.dumps([LARGE]).encode(), "Connection: close"))
    got, begin, most = 0, time.monotonic(), dict(before)
    times, client = [], b.node.client()
    while time.monotonic() - begin < 4:     # at 400 KB/s
        got += len(sock.recv(20000))
        started = time.monotonic()
        if client.request("GET", "/db/query?level=none&q=SELECT+1").status != 200:
            times.append(99.0)
        times.append(time.monotonic() - started)
        time.sleep(0.05)
        most = {s: max(most[s], b.pss(s)) for s in SERVICES}
    growth = {s: most[s] - before[s] for s in SERVICES}
    b.check("a slow reader of 50 MB: memory", sum(growth.values()) < 16 * MIB, ", ".join("%s %+.1f MiB" % (s, g / MIB) for s, g in growth.items()))
    b.check("a slow reader of 50 MB: other clients", max(times) < 0.25, "slowest of %d: %.1f ms" % (len(times), max(times) * 1e3))
    data, closed = receive_all(sock, 20)
    sock.close()
    b.check("a slow reader of 50 MB gets all of it", closed and got + len(data) > 50e6 and data.endswith(b"0\r\n\r\n"), "%.1f MB" % ((got + len(data)) / 1e6))

    socks = []
    for _ in range(20):                     # who never read at all
        sock = connect(b.port)
        sock.sendall(post(target, json.dumps([LARGE]).encode()))
        socks.append(sock)
    time.sleep(1)
    after = b.pss_all()
    growth = {s: after[s] - before[s] for s in SERVICES}
    b.check("20 clients that read nothing: memory", sum(growth.values()) < 64 * MIB, ", ".join("%s %+.1f MiB" % (s, g / MIB) for s, g in growth.items()))
    begin = time.monotonic()
    ok = b.works()
    b.check("20 clients that read nothing: other clients", ok and time.monotonic() - begin < 2, "%.2f s" % (time.monotonic() - begin))
    for sock in socks:
        sock.close()


def check_cancel(b):
    for count in (1, 30):
        socks = []
        for _ in range(count):
            sock = connect(b.port)
            sock.sendall(post("/db/query?level=none", json.dumps([ENDLESS]).encode()))
            socks.append(sock)
        time.sleep(0.5)
        busy = b.cpu("rq-store")
        time.sleep(0.5)
        busy = b.cpu("rq-store") - busy
        for sock in socks:
            sock.close()
        time.sleep(1.5)
        cpu = b.cpu("rq-store")
        time.sleep(0.5)
        cpu = b.cpu("rq-store") - cpu
        b.check("%d endless SELECTs whose clients hang up" % count, busy > 0.05 and cpu <= 0.03, "CPU %.2f s in 0.5 s, then %.2f s" % (busy, cpu))
    begin = time.monotonic()
    response = b.node.client().request("POST", "/db/query?level=none&timeout=1s", json.dumps([ENDLESS]))
    seconds = time.monotonic() - begin
    b.check("an endless SELECT ends with its timeout", response.status == 504 and seconds < 2, "%d in %.2f s" % (response.status, seconds))
    b.check("after endless SELECTs", b.works())


# As many rows as the parameter says: quick or endless under one text.
AS_LONG_AS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT ?) SELECT max(n) FROM r"


def counters(b):
    return json.loads(b.node.client().request("GET", "/status").body)["store"]["counters"]


def check_reads_on_the_loop(b):
    client, before = b.node.client(10.0), counters(b)["queries_on_loop"]
    quick = json.dumps([[AS_LONG_AS, 3]])
    answers = [client.request("POST", "/db/query?level=none", quick).body for _ in range(500)]
    run = counters(b)["queries_on_loop"] - before
    b.check("quick reads run on the loop", all(b"[[3]]" in a for a in answers) and run > 100, "%d of %d" % (run, len(answers)))
    # What was quick and now isn't may not hold up anybody.
    socks, times = [], []
    for n in range(200):
        if n % 10 == 0:
            sock = connect(b.port)
            sock.sendall(post("/db/query?level=none&timeout=2s", json.dumps([[AS_LONG_AS, 10 ** 12]]).encode()))
            socks.append(sock)
        begin = time.monotonic()
        ok = b"[[3]]" in client.request("POST", "/db/query?level=none", quick).body
        times.append(time.monotonic() - begin if ok else 99.0)
    answers = [receive_until(s, lambda d: b"\r\n\r\n" in d, 6) for s in socks]
    for sock in socks:
        sock.close()
    times.sort()
    b.check("20 endless reads beside quick ones of the same text", times[100] < 0.1 and times[-1] < 1.0 and all(a for a in answers),
            "median %.1f ms, slowest %.1f ms" % (times[100] * 1e3, times[-1] * 1e3))


def check_held_readers(b, readers):
    """b was started with -db-max-ro-conns readers."""
    socks = []
    for _ in range(8 * readers):            # who never read their answers
        sock = connect(b.port)
        sock.sendall(post("/db/query?level=none&timeout=60s", json.dumps([LARGE]).encode()))
        socks.append(sock)
    time.sleep(0.5)
    client, times = b.node.client(40.0), []
    for n in range(5):
        begin = time.monotonic()
        ok = client.request("POST", "/db/query?level=none&timeout=30s", json.dumps(["SELECT %d" % n])).status == 200
        times.append(time.monotonic() - begin if ok else 99.0)
    ended = counters(b)["queries_crowded_out"]
    b.check("%d clients that read nothing and %d readers: other clients" % (len(socks), readers), max(times) < 4 and ended > 0,
            "slowest of %d: %.0f ms; %d reads made room" % (len(times), max(times) * 1e3, ended))
    for sock in socks:
        sock.close()
    b.check("after clients that read nothing", b.works())


GREEDY = (
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 10000000) SELECT n FROM r ORDER BY hex(zeroblob(500)) || -n",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 10000000) SELECT group_concat(hex(zeroblob(500))) FROM r",
    "SELECT randomblob(1000000000)", "SELECT hex(zeroblob(400000000))", "SELECT x, x, x, x, x, x, x, x FROM (SELECT hex(zeroblob(5000000)) AS x)",
    "WITH RECURSIVE r(n, v) AS (SELECT 1, 'x' UNION ALL SELECT n+1, v || v FROM r) SELECT max(length(v)) FROM r",
)


def check_memory_of_reads(b, limit):
    """b was started with -max-read-memory limit."""
    b.works()
    before, most, answers, done = b.pss("rq-store"), [0], [], threading.Event()

    def read(n):
        client = b.node.client(60.0)
        for k in range(2 * len(GREEDY)):
            body = json.dumps([GREEDY[(n + k) % len(GREEDY)]])
            answers.append(client.request("POST", "/db/query?level=none&timeout=30s", body))
        client.close()

    def watch():
        while not done.is_set():
            most[0] = max(most[0], b.pss("rq-store"))
            time.sleep(0.01)

    readers = [threading.Thread(target=read, args=(n,)) for n in range(8)]
    watcher = threading.Thread(target=watch)
    for t in (watcher, *readers):
        t.start()
    client, writes = b.node.client(20.0), []
    while any(t.is_alive() for t in readers):
        begin = time.monotonic()
        ok = b"error" not in client.request("POST", "/db/execute", '[["INSERT INTO alive VALUES (hex(zeroblob(?)))", 20000000]]').body
        writes.append(time.monotonic() - begin if ok else 99.0)
        ok = b"[[1]]" in client.request("POST", "/db/query?level=none", '["SELECT 1"]').body
        writes.append(0 if ok else 99.0)
        time.sleep(0.2)
    done.set()
    for t in (watcher, *readers):
        t.join()
    refused = [a for a in answers if a.status == 200 and b"-max-read-memory" in a.body]
    b.check("reads that want too much memory are told so", len(refused) == len(answers) and b.same_processes(),
            "%d of %d: %r" % (len(refused), len(answers), next((a.body[:120] for a in answers if a not in refused), answers[0].body[-140:])))
    # The writer's values of 40 MB, and what it copies of them, beside.
    b.check("memory of rq-store with such reads", most[0] - before < 2 * limit + 300 * MIB, "%s before, at most %s" % (mib(before), mib(most[0])))
    b.check("writes and small reads beside them", writes and max(writes) < 10, "slowest of %d: %.2f s" % (len(writes) // 2, max(writes)))
    left = settles(lambda: json.loads(b.node.client().request("GET", "/status").body)["store"]["counters"]["query_memory_bytes"], 0, 2)
    b.check("reads hold nothing afterwards", left == 0 and b.works(), "%d bytes" % left)


def check_memory_of_writes(b):
    """What a write sorts, and what would undo it, isn't in memory: an entry larger than that would end each node that applies it."""
    execute = "/db/execute?timeout=120s"
    client = b.node.client(120.0)
    rows = ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
            "INSERT INTO wide(v) SELECT hex(randomblob(120)) FROM n")
    body = json.dumps(["CREATE TABLE wide(id INTEGER PRIMARY KEY, v TEXT)", *[rows] * 5])
    b.check("120 MB to write over", b"error" not in client.request("POST", execute, body).body)
    before, most, done = b.pss("rq-store"), [0], threading.Event()

    def watch():
        while not done.is_set():
            most[0] = max(most[0], b.pss("rq-store"))
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    answers = [client.request("POST", execute, json.dumps([s])).body for s in
               ("CREATE INDEX of_wide ON wide(v)", "UPDATE wide SET v = v || 'x' WHERE id % 2", "DROP TABLE wide")]
    done.set()
    watcher.join()
    client.close()
    b.check("an index and an update of all of it", not any(b"error" in a for a in answers), "%r" % answers)
    b.check("memory of rq-store with them", most[0] - before < 48 * MIB, "%s before, at most %s" % (mib(before), mib(most[0])))


def check_large_bodies(b):
    client = b.node.client(40.0)
    client.request("POST", "/db/execute", '["CREATE TABLE large (v)"]')
    before = b.pss_all()
    begin = time.monotonic()
    response = client.request("POST", "/db/execute", b'[["INSERT INTO large VALUES (?)", "' + b"a" * 60000000 + b'"]]')
    seconds = time.monotonic() - begin
    rows = client.request("GET", "/db/query?q=SELECT+length(v)+FROM+large").body
    whole = client.request("GET", "/db/query?q=SELECT+v+FROM+large").body
    b.check("a string of 60 MB is read again", len(whole) > 60000000 and b"error" not in whole[-1000:], "%d bytes" % len(whole))
    del whole
    b.check("a string of 60 MB", response.status == 200 and b"[[60000000]]" in rows, "%.2f s, %r" % (seconds, response.body[:80]))
    left = settles(lambda: b.pss("rq-gateway"), 30 * MIB, 5)
    b.check("memory of rq-gateway after it", left < 30 * MIB, "%s, before it %s" % (mib(left), mib(before["rq-gateway"])))
    others = {s: b.pss(s) for s in ("rq-consensus", "rq-store")}
    print("     the others: " + ", ".join("%s %s, before it %s" % (s, mib(v), mib(before[s])) for s, v in others.items()))
    client.request("POST", "/db/execute", '["DROP TABLE large"]')
    others = {s: b.pss(s) for s in ("rq-consensus", "rq-store")}
    print("     and when it was deleted: " + ", ".join("%s %s" % (s, mib(v)) for s, v in others.items()))

    for name, body in (("1,000,000 open brackets", b"[" * 1000000), ("1,000,000 open objects", b'[["SELECT 1", ' + b'{"a":' * 1000000),
                       ("brackets that close", b"[" * 20000 + b"]" * 20000)):
        begin = time.monotonic()
        response = client.request("POST", "/db/execute", body)
        b.check(name, response.status == 400 and time.monotonic() - begin < 2, "%d %r in %.2f s" % (response.status, response.body[:60], time.monotonic() - begin))

    ends = []
    for target in ("/db/execute", "/db/request", "/db/query", "/db/query?level=none"):
        for sql in ("SELECT 1;\0", "\0", "SELECT 1; -- a\0b", "SELECT 1; \0 SELECT 2"):
            ends.append(client.request("POST", target, json.dumps([sql]), timeout=5.0).status)
    b.check("NUL in SQL ends the text", ends == [200] * len(ends), str(sorted(set(ends))))

    client.request("POST", "/db/execute", '["CREATE TABLE many (n)"]')
    body = json.dumps([["INSERT INTO many VALUES (?)", n] for n in range(100000)])
    for target in ("/db/execute?transaction", "/db/execute"):
        begin = time.monotonic()
        response = client.request("POST", target, body)
        results = json.loads(response.body).get("results", []) if response.status == 200 else []
        b.check("100,000 statements by %s" % target, len(results) == 100000 and all("error" not in r for r in results),
                "%d, %d results in %.2f s" % (response.status, len(results), time.monotonic() - begin))
    begin = time.monotonic()
    response = client.request("POST", "/db/query?level=none", json.dumps(["SELECT %d" % n for n in range(100000)]))
    results = json.loads(response.body).get("results", []) if response.status == 200 else []
    b.check("100,000 queries in one body", len(results) == 100000, "%d results in %.2f s" % (len(results), time.monotonic() - begin))
    client.close()
    b.check("after large bodies", b.works())


# ---------------------------------------------------------------------------- main

def check_no_descriptors(b):
    """Connections that wait because a process may open no more files cost nothing, and are served when it may."""
    waiting, cpu = [], {}
    limits = {name: resource.prlimit(pid, resource.RLIMIT_NOFILE) for name, pid in b.pids.items()}
    for name, pid in b.pids.items():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir("/proc/%d/fd" % pid)), limits[name][1]))
    try:
        for _ in range(3):
            waiting.append(socket.create_connection(("127.0.0.1", b.port), 5))
            waiting[-1].sendall(b"GET /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        peer = socket.create_connection((b.node.host, b.node.raft_port), 5)
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        local.connect(os.path.join(b.node.data_dir, "run", "store.sock"))
        time.sleep(0.5)
        before = {name: b.cpu(name) for name in SERVICES}
        time.sleep(1.5)
        cpu = {name: b.cpu(name) - before[name] for name in SERVICES}
    finally:
        for name, pid in b.pids.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits[name])
    b.check("connections without descriptors cost no CPU", max(cpu.values()) <= 0.3,
            ", ".join("%s %.0f ms" % (name, seconds * 1e3) for name, seconds in cpu.items()) + " in 1.5 s")
    served = sum(receive_all(sock, 5)[0].startswith(b"HTTP/1.1 200") for sock in waiting)
    b.check("they are served when there are some", served == len(waiting), "%d of %d" % (served, len(waiting)))
    for sock in (*waiting, peer, local):
        sock.close()
    log = open(b.node.log_path).read()
    for text in ("Cannot accept a connection for now: ", "Cannot accept a connection of a node for now: ", "Cannot accept a local connection for now: "):
        b.check("the log says " + text.strip(": "), text in log)
    b.check("the node works on", b.works())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rqd", required=True, help="the launcher, beside its services")
    parser.add_argument("--connections", type=int, default=10000, help="idle connections (default 10000)")
    args = parser.parse_args()
    exit_on_sigterm()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    begin = time.monotonic()
    tally = Tally()
    # Stalls are what is measured: rqd shall not end them.
    with Bench(args.rqd, tally, ("-watchdog", "0")) as b:
        check_forms(b)
        check_half(b)
        check_garbage_http(b)
        check_garbage_ipc(b)
        check_idle_connections(b, args.connections)
        check_busy_connections(b)
        check_stalls(b)
        check_slow_reader(b)
        check_cancel(b)
        check_reads_on_the_loop(b)
        check_large_bodies(b)
        check_memory_of_writes(b)
    with Bench(args.rqd, tally, ("-watchdog", "0", "-http-idle-timeout", "2s", "-max-body-size", "1MiB", "-max-inflight", "8")) as b:
        check_sizes(b, MIB)
        check_slow_clients(b, 2.0)
        check_inflight(b, 8)
    with Bench(args.rqd, tally, ("-watchdog", "0", "-db-max-ro-conns", "8", "-max-read-memory", "64MiB")) as b:
        check_no_descriptors(b) # before there is anything for a checkpoint, which needs one
        check_memory_of_reads(b, 64 * MIB)
        check_held_readers(b, 8)
    print("in %.0f s" % (time.monotonic() - begin))
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
