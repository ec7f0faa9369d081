#!/usr/bin/env python3
"""gzip, both ways: bodies that come compressed, broken or as bombs; answers for those who take
them so, whole and streamed.
"""

import argparse
import gzip
import http.client
import json
import os
import random
import sys
import threading


sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rqnode import Node, NodeError, Tally, exit_on_sigterm

LONG = 60.0
GZIP = {"Content-Encoding": "gzip"}
TAKE = {"Accept-Encoding": "gzip"}
ROWS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<%d) SELECT x, 'some text' FROM c"


class Connection:
    def __init__(self, node):
        self.http = http.client.HTTPConnection(node.host, node.http_port, timeout=LONG)

    def ask(self, method, target, body=None, headers=None):
        """Status, body as it came, its encoding."""
        self.http.request(method, target, body, headers or {})
        response = self.http.getresponse()
        return response.status, response.read(), response.getheader("Content-Encoding")

    def query(self, body, headers=None):
        return self.ask("POST", "/db/query", body, headers)


def bodies(node, tally):
    c, check = Connection(node), tally.check
    select = b'["SELECT 42"]'
    for name, body in (("one file", gzip.compress(select)), ("stored", gzip.compress(select, 0)),
                       ("two files behind each other", gzip.compress(select[:5]) + gzip.compress(select[5:]))):
        status, answer, _ = c.query(body, GZIP)
        check(status == 200 and b"[[42]]" in answer, "%s: %d %r" % (name, status, answer))
    status, answer, _ = c.query(gzip.compress(select), {"Content-Encoding": " X-Gzip"})
    check(status == 200, "x-gzip: %d" % status)
    status, answer, _ = c.query(select, {"Content-Encoding": "identity"})
    check(status == 200, "identity: %d" % status)
    status, answer, _ = c.ask("POST", "/db/query", gzip.compress(b"SELECT 7"), {**GZIP, "Content-Type": "text/plain"})
    check(b"[[7]]" in answer, "text/plain: %d %r" % (status, answer))

    # Repetitive (many turns for one piece), and hardly compressible (many pieces); chunked, too.
    noise = random.Random(1).randbytes(1500000).hex()
    for name, text in (("repetitive", "x" * 20000000), ("noise", noise)):
        packed = gzip.compress(json.dumps([["SELECT length(?) AS n", text]]).encode(), 1)
        status, answer, _ = c.query(packed, GZIP)
        check(b"[[%d]]" % len(text) in answer, "%s: %d %r" % (name, status, answer[:200]))
        pieces = (packed[i:i + 9999] for i in range(0, len(packed), 9999))
        status, answer, _ = c.query(pieces, GZIP)
        check(b"[[%d]]" % len(text) in answer, "%s, chunked: %d %r" % (name, status, answer[:200]))

    good = gzip.compress(json.dumps([["SELECT length(?)", noise]]).encode(), 1)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for name, body in (("cut", good[:-9]), ("no gzip", b"nonsense"), ("damaged", bytes(flipped)), ("something behind it", gzip.compress(select) + b"x" * 30)):
        status, answer, _ = c.query(body, GZIP)
        check(status == 400 and answer == b"400 Bad Request: the body is no gzip, or damaged\n", "%s: %d %r" % (name, status, answer))
        c.http.close()
    status, answer, _ = c.query(select, {"Content-Encoding": "br"})
    check(status == 415 and b"only gzip is understood" in answer, "br: %d %r" % (status, answer))
    c.http.close()


def bomb(node, tally):
    """64 MiB and more out of 200 KB: refused at the limit, and others are served meanwhile."""
    gateway = node.find("rq-gateway")[0].pid
    packed = gzip.compress(b'["' + b" " * (200 << 20) + b'"]', 9)
    done, served = [], 0
    thread = threading.Thread(target=lambda: done.append(Connection(node).query(packed, GZIP)))
    thread.start()
    c = Connection(node)
    while thread.is_alive():
        served += c.query('["SELECT 1"]')[0] == 200
    thread.join()
    tally.check(done and done[0][0] == 413 and b"-max-body-size" in done[0][1], "a bomb: %r" % (done,))
    tally.check(served > 0, "nobody was served beside it")
    with open("/proc/%d/status" % gateway) as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM:")) // 1024
    tally.check(peak < 600, "it took %d MiB" % peak)


def answers(node, tally):
    c, check = Connection(node), tally.check
    status, body, encoding = c.query('["SELECT 42"]', TAKE)
    check(encoding is None and b"[[42]]" in body, "a short answer is left as it is: %r" % encoding)
    for count in (1000, 300000):        # whole; streamed
        statement = json.dumps([ROWS % count])
        plain = c.query(statement)[1]
        status, body, encoding = c.query(statement, TAKE)
        check(status == 200 and encoding == "gzip" and len(body) < len(plain) / 3, "%d rows: %d, %r, %d of %d bytes" % (count, status, encoding, len(body), len(plain)))
        check(encoding == "gzip" and gzip.decompress(body) == plain, "%d rows come out as they are" % count)
    for value in ("identity", "gzip;q=0", "br"):
        check(c.query(statement, {"Accept-Encoding": value})[2] is None, "%s is taken for gzip" % value)
    check(c.query(statement, {"Accept-Encoding": "br;q=1.0, gzip;q=0.8, *;q=0.1"})[2] == "gzip", "gzip among others")
    status, body, encoding = c.ask("GET", "/status", headers=TAKE)
    check(encoding == "gzip" and "store" in json.loads(gzip.decompress(body)), "/status")
    status, body, encoding = c.ask("HEAD", "/status", headers=TAKE)
    check(encoding is None and status == 200, "HEAD /status")
    # Both ways, and a hundred at a time: more than are compressed at once.
    packed, wrong = gzip.compress(json.dumps([ROWS % 20000]).encode()), []

    def one():
        got = Connection(node).query(packed, {**GZIP, **TAKE})
        text = gzip.decompress(got[1]) if got[2] == "gzip" else got[1]
        if len(json.loads(text)["results"][0]["values"]) != 20000:
            wrong.append(got[0])

    threads = [threading.Thread(target=one) for _ in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not wrong, "100 at a time: %s" % wrong)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(here, "../../build/bin/rqd"))
    args = parser.parse_args()
    exit_on_sigterm()
    tally = Tally()
    node = Node(args.rqd)
    try:
        node.start()
        node.wait_ready(60)
        for group in (bodies, answers, bomb):
            try:
                group(node, tally)
            except (OSError, ValueError, http.client.HTTPException) as e:
                tally.check(False, "%s: stopped: %r" % (group.__name__, e))
        tally.check(node.stop() == 0, "SIGTERM: exit code isn't 0, or processes remain")
    except NodeError as e:
        tally.check(False, "stopped: %s" % e)
    if tally.failed:
        node.dump_log(15)
    node.remove()
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
