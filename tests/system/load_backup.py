#!/usr/bin/env python3
"""Loading and copying out, with real processes: every format there and back, broken files, memory,
writes meanwhile, services killed in the middle, one node and three.

What a load or a backup holds is compared row by row with what Python's sqlite3 says of the same file.
"""

import contextlib
import gzip
import hashlib
import http.client
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases
from cluster_nodes import Refused, execute, processes, query, signal_all, wait_for
from rqnode import HOST

MIB = 1024 * 1024
RESULTS = b'{"results":[]}'
MEMORY_MIB = 32         # above idle, all processes, at any size (the brief of the product)
SANITIZED_PSS_KIB = 150 * 1024  # an idle node of a sanitized build has more: memory says nothing then


# ---------------------------------------------------------------------------- helpers

def ask(node, method, target, body=None, headers=None, timeout=120.0):
    """(status, headers, body); body: bytes, or an iterable, sent in chunks."""
    conn = http.client.HTTPConnection(HOST, node.http_port, timeout=timeout)
    try:
        conn.request(method, target, body, headers or {})
        r = conn.getresponse()
        return r.status, r.headers, r.read()
    finally:
        conn.close()


def make_database(path, rows, pragmas="", more="", size=200, seed=1):
    rng = random.Random(seed)
    if os.path.exists(path):
        os.unlink(path)
    db = sqlite3.connect(path)
    db.executescript(pragmas + "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, data BLOB, x REAL);"
                     "CREATE INDEX t_name ON t(name); CREATE TABLE \"odd \"\"name\"(a, b DEFAULT 7, PRIMARY KEY(a)) WITHOUT ROWID;"
                     "CREATE TABLE seq(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE VIEW vw AS SELECT id FROM t;"
                     "CREATE TABLE gen(a, b GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO gen(a) VALUES(21);"
                     "CREATE VIRTUAL TABLE docs USING fts5(body); INSERT INTO docs VALUES('the quick brown fox');"
                     "CREATE TRIGGER tr AFTER DELETE ON seq BEGIN INSERT INTO seq(v) VALUES(old.v || '; again'); END;" + more)
    db.executemany("INSERT INTO t(name, data, x) VALUES(?, ?, ?)",
                   (("name '%d' äöü\n%s" % (i, "x" * (i % 50)), rng.randbytes(size), rng.random() * 10 ** rng.randrange(-30, 30))
                    for i in range(rows)))
    db.executemany('INSERT INTO "odd ""name" VALUES(?, ?)', ((i * 1.5, None if i % 3 else -(2 ** 63) + i) for i in range(50)))
    db.executemany("INSERT INTO seq(v) VALUES(?)", [("a",), (1e999,), (-1e999,), ("nul\0inside",), (b"\0\xff",), (0.1,), (-0.0,), (2 ** 62,)])
    db.execute("DELETE FROM seq WHERE id = 2")
    db.commit()
    db.execute("ANALYZE")
    db.commit()
    db.close()
    return path


def digest(path):
    """Of all content and schema, but for what a copy may change: pages, and rowids that nobody named."""
    db = sqlite3.connect(path)
    db.text_factory = bytes
    if db.execute("PRAGMA integrity_check").fetchall() != [(b"ok",)]:
        return "damaged"
    h = hashlib.sha256()
    for kind, name, sql in sorted(db.execute("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_autoindex%'"), key=repr):
        h.update(repr((kind, name, sql)).encode())
        if kind == b"table":
            rows = sorted(map(repr, db.execute('SELECT * FROM "%s"' % name.decode().replace('"', '""'))))
            h.update("\n".join(rows).encode())
    db.close()
    return h.hexdigest()


def backup_to(node, path, params=""):
    status, headers, body = ask(node, "GET", "/db/backup" + params)
    if status != 200:
        raise Refused(status, body.decode())
    with open(path, "wb") as f:
        f.write(body)
    return headers


def read(path):
    with open(path, "rb") as f:
        return f.read()


def pieces_of(data, size=256 * 1024, pause=0.0, at=None, do=None):
    """In chunks; do() when the one at `at` bytes is about to be sent."""
    for i in range(0, len(data), size):
        if do is not None and i >= at:
            do()
            do = None
        yield data[i:i + size]
        if pause:
            time.sleep(pause)


class Peak:
    """The largest PSS of a node's processes while it lasts, in MiB above its beginning."""

    def __init__(self, node):
        self.node = node
        self.idle = node.pss_kib()
        self.peak = self.idle
        self.known = self.idle is not None and self.idle < SANITIZED_PSS_KIB

    def __enter__(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.over.wait(0.02):
            self.peak = max(self.peak or 0, self.node.pss_kib() or 0)

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def mib(self):
        return (self.peak - self.idle) / 1024


class Case(cases.Case):
    def __init__(self, name, args, tally):
        super().__init__(name, args, tally)
        self.dir = tempfile.TemporaryDirectory(prefix="rqload-", dir=args.dir)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def load(self, node, data, target="/db/load", **kw):
        status, headers, body = ask(node, "POST", target, data, **kw)
        return status, body

    def end(self, failed):
        super().end(failed)
        self.dir.cleanup()

    def same(self, node, wanted, text, params=""):
        backup_to(node, self.path("same.db"), params)
        return self.check(digest(self.path("same.db")) == wanted, text)


# ---------------------------------------------------------------------------- one node

def formats_there_and_back(case):
    node = case.started(1)[0]
    source = make_database(case.path("source.db"), 500)
    wanted = digest(source)
    case.check(case.load(node, read(source)) == (200, RESULTS), "a file is loaded")
    for params, marks in (("", b"\2\2"), ("?fmt=xml", b"\2\2"), ("?fmt=delete", b"\1\1"), ("?vacuum", b"\1\1"), ("?noleader", b"\2\2"),
                          ("?compress", b"\2\2")):
        status, headers, body = ask(node, "GET", "/db/backup" + params)
        body = gzip.decompress(body) if "compress" in params else body
        case.check(status == 200 and body[18:20] == marks, "backup%s is marked as %r" % (params, marks))
        case.check(headers["Content-Type"] == "application/octet-stream" and int(headers["X-Rq-Index"]) > 0, "its headers%s" % params)
        with open(case.path("copy.db"), "wb") as f:
            f.write(body)
        case.check(digest(case.path("copy.db")) == wanted, "backup%s has the same content" % params)
        case.check(case.load(node, body) == (200, RESULTS), "and can be loaded%s" % params)
        case.same(node, wanted, "and is the same again%s" % params)
    for params in ("?fmt=sql&vacuum", "?fmt=delete&vacuum"):
        status, _, body = ask(node, "GET", "/db/backup" + params)
        case.check((status, body) == (500, b"invalid backup format\n"), "backup%s is refused" % params)

    status, headers, text = ask(node, "GET", "/db/backup?fmt=sql")
    case.check(status == 200 and headers["Content-Type"] == "application/sql", "a dump")
    _, _, packed = ask(node, "GET", "/db/backup?fmt=sql&compress")
    case.check(gzip.decompress(packed) == text, "the same packed")
    db = sqlite3.connect(case.path("dumped.db"))
    db.executescript(text.decode())
    db.close()
    case.check(digest(case.path("dumped.db")) == wanted, "SQLite reads the dump as the same")
    empty = make_empty(case.path("empty.db"))
    for form in (text, gzip.compress(text), text.replace(b"BEGIN TRANSACTION;\n", b"").replace(b"COMMIT;\n", b"")):
        case.load(node, empty)
        status, body = case.load(node, form)
        case.check(status == 200 and b"error" not in body, "the dump is loaded: %s" % body.decode()[:200])
        case.same(node, wanted, "and is the same")
    _, _, some = ask(node, "GET", "/db/backup?fmt=sql&tables=%20seq%20,nope,docs")
    names = [l for l in some.decode().split("\n") if l.startswith("CREATE")]
    case.check(len(names) == 4 and b'"t"' not in some, "tables= asks for some: %s" % names)


def make_empty(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE gone(x)")
    db.execute("DROP TABLE gone")
    db.commit()
    db.close()
    return read(path)


def sql_is_all_or_nothing(case):
    node = case.started(1)[0]
    load = lambda text: json.loads(case.load(node, text.encode())[1])
    case.check(load("CREATE TABLE ld(a);\nINSERT INTO ld VALUES(1);\nINSERT INTO ld VALUES(2);") ==
               {"results": [{"last_insert_id": 2, "rows_affected": 1}]}, "one result, the last statement's")
    case.check(load("") == {"results": []} and load("-- nothing\n;;") == {"results": [{}]}, "nothing to do")
    for text in ("BEGIN TRANSACTION;\nINSERT INTO ld VALUES(3);\nINSERT INTO nope VALUES(2);\nCOMMIT;",
                 "INSERT INTO ld VALUES(3);\nINSERT INTO nope VALUES(2);"):
        case.check(load(text) == {"results": [{"error": "no such table: nope"}]}, "an error is told")
    rows = "".join("INSERT INTO ld VALUES(%d, 'x');\n" % i for i in range(60000))
    case.check(load("DROP TABLE ld; CREATE TABLE ld(a, b);" + rows + "INSERT INTO nope VALUES(1);")["results"][0]["error"] == "no such table: nope",
               "also at the end of much")
    case.check(query(node, "SELECT count(*) FROM ld") == [(2,)], "and nothing was done")
    case.check("error" not in load("DROP TABLE ld; CREATE TABLE ld(a, b);" + rows)["results"][0] and
               query(node, "SELECT count(*), sum(a) FROM ld") == [(60000, 60000 * 59999 // 2)], "all of much")
    case.check("rows_affected" in load("INSERT INTO ld VALUES('" + "y" * 3 * MIB + "', 1);")["results"][0] and
               query(node, "SELECT length(a) FROM ld WHERE b = 1") == [(3 * MIB,)], "a statement of 3 MiB")
    dumped = load("BEGIN;\nCREATE TABLE d(a);\nPRAGMA writable_schema=ON;\nINSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)"
                  "VALUES('table','f','f',0,'CREATE VIRTUAL TABLE f USING fts5(a)');\nPRAGMA writable_schema=OFF;\nCOMMIT;")
    case.check("load the database file itself" in dumped["results"][0]["error"] and
               query(node, "SELECT count(*) FROM sqlite_schema WHERE name IN ('d', 'f')") == [(0,)], "a dump by the shell with virtual tables: %s" % dumped)
    case.check("ATTACH is not available" in load("ATTACH 'x' AS y;")["results"][0]["error"], "what is refused elsewhere is refused here")


def damaged_index(case):
    """Sound but for the record of an index, which only a later write would meet."""
    path = case.path("index.db")
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE t(a TEXT); CREATE INDEX i ON t(a); INSERT INTO t VALUES('hello');")
    data = bytearray(read(path))
    at = data.rindex(b"\x17", 0, data.index(b"hello", 8192))
    data[at] = 0x7f
    return bytes(data)


def broken_files_change_nothing(case):
    node = case.started(1)[0]
    good = read(make_database(case.path("good.db"), 300))
    execute(node, "CREATE TABLE keep(x)", "INSERT INTO keep VALUES(1)")
    rng = random.Random(4)
    broken = [good[:n] for n in (14, 50, 99, 100, 511, 4095, 4096, 5000, len(good) - 4096, len(good) - 1)]
    broken += [good[:16] + b"\x10\x01" + good[18:], good[:18] + b"\7\7" + good[20:], good[:20] + b"\xff" + good[21:],
               b"SQLite format 4\0" + good[16:], b"SQLite format 3\0" + rng.randbytes(60000)]
    broken += [bytes(good[:4096]) + rng.randbytes(len(good) - 4096), damaged_index(case)]
    refused = 0
    for i, data in enumerate(broken):
        status, body = case.load(node, data)
        refused += status == 400
        case.check(status == 400 and body.startswith(b"nothing was loaded"), "broken file %d: %d %s" % (i, status, body[:100]))
    packed = gzip.compress(good)
    for data in (packed[:-9], packed[:1000], packed[:2000] + b"damage" + packed[2006:], b"\x1f\x8bno gzip"):
        status, body = case.load(node, data)
        case.check(status == 400 and b"gzip" in body, "broken gzip: %d %s" % (status, body[:100]))
    for i in range(40):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 30)):
            data[rng.randrange(100, len(data))] ^= 1 << rng.randrange(8)
        status, body = case.load(node, bytes(data))
        case.check(status in (200, 400), "random damage %d: %d %s" % (i, status, body[:100]))
        case.check(query(node, "SELECT 1 FROM pragma_quick_check WHERE quick_check = 'ok'") == [(1,)], "the database is sound (%d)" % i)
    make_database(case.path("good.db"), 10)
    case.check(case.load(node, read(case.path("good.db"))) == (200, RESULTS), "a good one is loaded afterwards")
    execute(node, "INSERT INTO seq(v) VALUES('still writes')")


def boot_a_node(case):
    node = case.started(1)[0]
    data = read(make_database(case.path("good.db"), 200))
    boot = lambda body: case.load(node, body, "/boot")
    case.check(boot(b"") == (503, b"EOF\n") and boot(data[:31]) == (503, b"EOF\n"), "too short")
    case.check(boot(b"x" * 5000) == (400, b"invalid SQLite data\n"), "not SQLite")
    case.check(boot(data) == (200, b""), "booted")
    case.same(node, digest(case.path("good.db")), "with the file's content")


def memory_is_bounded(case):
    node = case.started(1)[0]
    path = make_database(case.path("large.db"), 24000, size=1700)
    data = read(path)
    wanted = digest(path)
    packed = gzip.compress(data, 1)
    for name, body in (("a file", data), ("a packed file", packed)):
        with Peak(node) as peak:
            case.check(case.load(node, body) == (200, RESULTS), "%s is loaded" % name)
        case.check(not peak.known or peak.mib() <= MEMORY_MIB, "%s of %d MiB takes %.0f MiB" % (name, len(body) // MIB, peak.mib()))
    text = None
    for params in ("", "?vacuum", "?compress", "?fmt=sql"):
        with Peak(node) as peak:
            status, _, body = ask(node, "GET", "/db/backup" + params)
        case.check(status == 200, "backup%s" % params)
        case.check(not peak.known or peak.mib() <= MEMORY_MIB, "backup%s takes %.0f MiB" % (params, peak.mib()))
        text = body
    case.load(node, make_empty(case.path("empty.db")))
    with Peak(node) as peak:
        status, body = case.load(node, text)
    case.check(status == 200 and b"error" not in body, "the dump of %d MiB is loaded" % (len(text) // MIB))
    case.check(not peak.known or peak.mib() <= MEMORY_MIB, "it takes %.0f MiB" % peak.mib())
    case.same(node, wanted, "and is the same")


def memory_of_an_index_at_the_end(case):
    """As dumps have it: rows that fill the cache, and then much to sort. Each load meets nodes that have done nothing yet,
    since memory that a process has once got may hide what it takes again."""
    rng = random.Random(1)
    text = b"".join([b"BEGIN;CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);\n",
                     *(b"INSERT INTO t VALUES(%d,'%s');\n" % (i, rng.randbytes(800).hex().encode()) for i in range(24000)),
                     b"CREATE INDEX t_v ON t(v);\nCOMMIT;\n"])
    for size, name, body in ((1, "SQL", text), (1, "packed SQL", gzip.compress(text, 1)), (3, "SQL", text)):
        cluster = case.started(size)
        node = cluster.leader()
        with contextlib.ExitStack() as stack:
            peaks = [(n is node, stack.enter_context(Peak(n))) for n in cluster]
            status, answer = case.load(node, body)
            case.check(status == 200 and b"error" not in answer, "%s is loaded: %d %r" % (name, status, answer[:200]))
            wait_for("the followers to be as far", 120, lambda: all(rows(n) == 24000 for n in cluster), 0.1)
        for leads, peak in peaks:
            case.check(not peak.known or peak.mib() <= MEMORY_MIB, "%s of %d MiB takes %.0f MiB of %s of %d"
                       % (name, len(text) // MIB, peak.mib(), "the leader" if leads else "a follower", size))
        case.check(query(node, "SELECT count(*) FROM t INDEXED BY t_v WHERE v > ''") == [(24000,)], "its index has all of it")
        cluster.kill()


def rows(node):
    try:
        return query(node, "SELECT count(*) FROM t", level="none")[0][0]
    except Refused: # no table yet
        return 0


def writes_go_on_meanwhile(case):
    node = case.started(1)[0]
    execute(node, "CREATE TABLE a(i)", "CREATE TABLE b(i)", "CREATE TABLE fill(x)")
    execute(node, "INSERT INTO fill WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT hex(randomblob(200)) FROM n")
    over, indexes = threading.Event(), []

    def write():
        client = node.client(30)
        while not over.is_set():
            body = json.dumps(["INSERT INTO a VALUES(1)", "INSERT INTO b VALUES(1)"])
            answer = json.loads(client.request("POST", "/db/execute?transaction&raft_index", body,
                                               {"Content-Type": "application/json"}, 30).body)
            indexes.append(answer["raft_index"])
        client.close()
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for params in ("", "?vacuum", "?fmt=sql", "?noleader"):
            for _ in range(3):
                known = len(indexes)
                headers = backup_to(node, case.path("copy"), params)
                index = int(headers["X-Rq-Index"])
                db = sqlite3.connect(":memory:" if "sql" in params else case.path("copy"))
                if "sql" in params:
                    db.executescript(read(case.path("copy")).decode())
                a, b = (db.execute("SELECT count(*) FROM " + t).fetchone()[0] for t in "ab")
                db.close()
                wait_for("the writer", 10, lambda: indexes and indexes[-1] > index)
                at_index = sum(i <= index for i in indexes)
                case.check(a == b == at_index, "backup%s at index %d has %d, %d rows, there were %d" % (params, index, a, b, at_index))
                case.check("noleader" in params or a >= known, "backup%s lacks nothing acknowledged before" % params)
    finally:
        over.set()
        writer.join()


def killed_in_the_middle(case):
    """Each on a node of its own, all at once: most of the time is waited for loads that nobody goes on with."""
    path = make_database(case.path("new.db"), 8000, size=700)
    data, new = read(path), digest(path)
    old_path = make_database(case.path("old.db"), 100)
    old_data, old = read(old_path), digest(old_path)

    def killed(name, at, node):
        case.check(case.load(node, old_data) == (200, RESULTS), "loaded before %s is killed" % name)
        kill = lambda: signal_all(processes(node, name), signal.SIGKILL)
        try:
            begun = time.monotonic()
            status, body = case.load(node, pieces_of(data, 200 * 1024, 0.005, at - at % (200 * 1024), kill), timeout=60)
        except (OSError, http.client.HTTPException) as e:
            status, body = None, repr(e).encode()
        took = time.monotonic() - begun
        case.check(took < 45, "%s killed: the client is told within %.0f s: %s %r" % (name, took, status, body[:100]))
        if name == "all":
            node.kill_tree()
            node.start()
        node.wait_ready(60)
        backup_to(node, case.path("after %s at %d.db" % (name, at)))
        found = digest(case.path("after %s at %d.db" % (name, at)))
        case.check(found in (old, new), "%s killed: the content is one of both" % name)
        case.check(status != 200 or found == new, "%s killed: what was answered 200 is there" % name)
        case.check(status not in (400, 503) or found == old or at == len(data) - 1, "%s killed: %s says nothing was loaded" % (name, status))
        execute(node, "INSERT INTO seq(v) VALUES('writes')")
        wait_for("the next load to work", 40, lambda: case.load(node, old_data)[0] == 200)
        case.check(True, "%s killed: the next load works" % name)

    case.at_once([(killed, name, at, case.started(1)[0]) for name in ("rq-store", "rq-consensus", "rq-gateway", "all")
                  for at in (len(data) // 3, len(data) - 1)])
    node = case.nodes[0]
    case.load(node, data)
    node.kill_tree()
    node.start()
    node.wait_ready(60)
    case.same(node, new, "kill -9 right behind a load keeps it")


def clients_that_hang_up(case):
    node = case.started(1)[0]
    data = read(make_database(case.path("new.db"), 8000, size=700))
    execute(node, "CREATE TABLE keep(x)")
    for _ in range(3):
        conn = http.client.HTTPConnection(HOST, node.http_port, timeout=30)
        conn.putrequest("POST", "/db/load")
        conn.putheader("Content-Length", str(len(data)))
        conn.endheaders()
        conn.send(data[:3 * MIB])
        conn.close()
    execute(node, "INSERT INTO keep VALUES(1)")
    case.check(wait_for("a load to work", 40, lambda: case.load(node, data)[0] == 200) is not None, "the next load works soon")
    begun = time.monotonic()
    try:
        status, _, body = ask(node, "POST", "/db/load", pieces_of(b"\x1f\x8b" + b"no gzip" * MIB, 64 * 1024, 0.01), timeout=60)
        case.check(status == 400 and b"gzip" in body, "a body that is refused in its middle")
    except (OSError, http.client.HTTPException):
        pass # its end was cut: it is long, and nobody wants it
    case.check(time.monotonic() - begun < 30, "it is not waited for: %.0f s" % (time.monotonic() - begun))
    conn = http.client.HTTPConnection(HOST, node.http_port, timeout=30)
    conn.request("GET", "/db/backup")
    conn.getresponse().read(1000)
    conn.close()
    execute(node, "INSERT INTO seq(v) VALUES('goes on')")


# ---------------------------------------------------------------------------- three nodes

def digests(case, cluster):
    found = []
    for i, node in enumerate(cluster):
        backup_to(node, case.path("n%d.db" % i), "?noleader")
        found.append(digest(case.path("n%d.db" % i)))
    return found


def all_same(case, cluster, wanted, text, seconds=30):
    wait_for("the nodes to be the same", seconds, lambda: set(digests(case, cluster)) == {wanted}, 0.2)
    case.check(set(digests(case, cluster)) == {wanted}, text)


def three_nodes(case):
    cluster = case.started(3)
    leader, follower = cluster.leader(), cluster.followers()[0]
    paths = [make_database(case.path("s%d.db" % i), 3000 + i, size=700, seed=i) for i in range(3)]
    for i, node in enumerate((leader, follower)):
        case.check(case.load(node, read(paths[i])) == (200, RESULTS), "loaded through %s" % ("leader", "follower")[i])
        all_same(case, cluster, digest(paths[i]), "the same on all")
    case.check(case.load(leader, read(paths[0]), "/boot") == (503, b"not single-node\n"), "no boot of a cluster")
    case.check(case.load(follower, read(paths[0]), "/boot") == (503, b"not leader\n"), "nor of a follower")
    status, headers, _ = ask(follower, "POST", "/db/load?redirect", b"x")
    case.check(status == 301 and headers["Location"] == "http://%s/db/load?redirect" % leader.address(), "redirect")

    text = b"CREATE TABLE more(a, b DEFAULT (random()));" + b"INSERT INTO more(a) VALUES('some text');\n" * 40000
    status, body = case.load(follower, text)
    case.check(status == 200 and b"error" not in body, "SQL through a follower")
    execute(follower, "DELETE FROM t WHERE id % 3 = 0", "VACUUM", "INSERT INTO more(a) VALUES(1)")
    backup_to(leader, case.path("all.db"))
    all_same(case, cluster, digest(case.path("all.db")), "SQL, VACUUM and random() are the same on all")
    for node in cluster:
        before = query(node, "SELECT max(rowid) FROM more", "none")
        case.check(before == [(40001,)], "rowids are kept")

    data = read(paths[2])
    kill = lambda: signal_all(processes(leader, "all"), signal.SIGKILL)
    before = digest(case.path("all.db"))
    try:
        status, body = case.load(follower, pieces_of(data, 100 * 1024, 0.01, MIB, kill), timeout=60)
    except (OSError, http.client.HTTPException):
        status = None
    leader.kill_tree()
    leader.start()
    cluster.wait_ready(60)
    after = digest(paths[2])

    def same():
        found = set(digests(case, cluster))
        return found if found in ({before}, {after}) else None
    found = wait_for("all to have the one or the other", 20, same, 0.2)
    case.check(status != 200 or found == {after}, "leader killed in a load: 200 means done")
    wait_for("a load to work", 30, lambda: case.load(follower, data)[0] == 200, 0.5)
    cluster.kill()
    cluster.start()
    cluster.wait_ready(60)
    all_same(case, cluster, digest(paths[2]), "kill -9 of all nodes keeps a load")


TESTS = [formats_there_and_back, sql_is_all_or_nothing, broken_files_change_nothing, boot_a_node, memory_is_bounded, memory_of_an_index_at_the_end,
         writes_go_on_meanwhile, killed_in_the_middle, clients_that_hang_up, three_nodes]


if __name__ == "__main__":
    sys.exit(cases.main(TESTS, Case, cases.arguments(__doc__).parse_args()))
