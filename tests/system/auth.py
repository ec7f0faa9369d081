#!/usr/bin/env python3
"""Users and permissions on a real node: who may what on every endpoint, hashed passwords, the
file read again while clients stay connected, guessing slowed down, unix sockets, CORS.
"""

import argparse
import base64
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rqnode import HttpFailure, Node, NodeError, Tally, exit_on_sigterm, send_signal

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import crypt        # the C library's; makes the hashes that a node must check

LONG = 30.0             # patience: a sanitized node on a busy machine


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()}


SHA512 = crypt.crypt("hunter2", crypt.mksalt(crypt.METHOD_SHA512, rounds=5000))
BCRYPT = crypt.crypt("tr0ub4dor", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))
YESCRYPT = crypt.crypt("correct horse", "$y$j75$" + "abcdefghijklmnop")

USERS = [
    {"username": "root", "password": SHA512, "perms": ["all"]},
    {"username": "cat", "password": BCRYPT, "perms": ["query"]},
    {"username": "yak", "password": YESCRYPT, "perms": ["query"]},
    {"username": "ann", "password": "s3cret", "perms": ["query", "status"]},
    {"username": "bob", "password": "p:w", "perms": ["execute"]},
    {"username": "eve", "password": "e"},
    {"username": "*", "perms": ["ready"]},
]
ROOT, ANN, BOB = basic("root", "hunter2"), basic("ann", "s3cret"), basic("bob", "p:w")

# method, target, body, permissions, status with them
ENDPOINTS = [
    ("POST", "/db/execute", '["CREATE TABLE IF NOT EXISTS t(a)"]', {"execute"}, 200),
    ("POST", "/db/query", '["SELECT 1"]', {"query"}, 200),
    ("GET", "/db/query?q=SELECT%201", None, {"query"}, 200),
    ("POST", "/db/request", '["SELECT 1"]', {"query", "execute"}, 200),
    ("POST", "/db/sql", '["SELECT 1"]', {"query"}, 200),
    ("GET", "/db/backup", None, {"backup"}, None),
    ("POST", "/db/load", "", {"load"}, None),
    ("POST", "/boot", "", {"load"}, None),
    ("POST", "/snapshot", "", {"snapshot"}, None),
    ("POST", "/reap", "", {"snapshot"}, None),
    ("DELETE", "/remove", '{"id":"nobody"}', {"remove"}, None),
    ("GET", "/leader", None, {"leader-ops"}, 200),
    ("POST", "/leader", "", {"leader-ops"}, 200),
    ("GET", "/status", None, {"status"}, 200),
    ("GET", "/nodes", None, {"status"}, 200),
    ("GET", "/debug/vars", None, {"status"}, 200),
    ("GET", "/licenses", None, {"status"}, 200),
    ("GET", "/console/", None, {"ui"}, None),
    ("GET", "/readyz", None, {"ready"}, 200),
]


class Bench:
    def __init__(self, args, tally):
        self.args, self.tally = args, tally
        self.node = Node(args.rqd)
        self.users = os.path.join(self.node.work_dir, "users.json")
        self.socket = os.path.join(self.node.work_dir, "http.sock")
        self.write(USERS)
        at = self.node.command.index("-http-addr") + 1
        self.node.command[at] += ",unix:" + self.socket
        self.node.command[-1:-1] = ["-auth", self.users, "-http-allow-origin", "https://example.com", "-http-unix-mode", "0640"]

    def write(self, users):
        """As an editor does: a new file in the old one's place."""
        with open(self.users + ".new", "w") as f:
            f.write(users if isinstance(users, str) else json.dumps(users))
        os.replace(self.users + ".new", self.users)

    def status(self, headers=None, target="/status", method="GET", body=None, client=None):
        own = client or self.node.client(LONG)
        try:
            return own.request(method, target, body, headers).status
        finally:
            if client is None:
                own.close()

    def until(self, wanted, *args, **more):
        """The status that comes in the end: a file is looked at once a second."""
        deadline = time.monotonic() + LONG
        while True:
            got = self.status(*args, **more)
            if got == wanted or time.monotonic() > deadline:
                return got
            time.sleep(0.1)


def permissions(b):
    """Every endpoint, for nobody, for who may, and for one permission at a time."""
    check, client = b.tally.check, b.node.client(LONG)
    for method, target, body, needed, wanted in ENDPOINTS:
        response = client.request(method, target, body)
        open_to_all = needed == {"ready"}
        check((response.status == 401) != open_to_all, "%s %s without a user: %d" % (method, target, response.status))
        if response.status == 401:
            check(response.body == b"" and response.get("Www-Authenticate") == 'Basic realm="rqlite"', "%s: what a 401 has" % target)
        if "leader" in target and method == "POST":
            continue    # would move leadership, or wait
        response = client.request(method, target, body, ROOT)
        check(response.status != 401 and (wanted is None or response.status == wanted), "%s %s as root: %d" % (method, target, response.status))
        check(response.get("Www-Authenticate") is None, "%s: a right password is asked for again" % target)
        for headers, has in ((ANN, {"query", "status"}), (BOB, {"execute"}), (basic("eve", "e"), set())):
            allowed = needed <= has | {"ready"}
            status = client.request(method, target, body, headers).status
            check((status != 401) == allowed, "%s %s with %s: %d" % (method, target, sorted(has), status))
    for target, wanted in (("/", 302), ("/console", 301), ("/nothing", 404), ("/db/query?timeout=x", 400), ("/db/execute", 401)):
        check(b.status(target=target, client=client) == wanted, "%s without a user isn't %d" % (target, wanted))
    check(b.status(ROOT, "/db/execute", client=client) == 405, "a wrong method with a user is 405")
    check(b.status({"Authorization": "Bearer x"}, client=client) == 401, "a token is nobody's")
    check(b.status({"Authorization": "Basic " + "A" * 5000}, client=client) == 401, "endless credentials are nobody's")
    check(b.status(basic("ann", "wrong"), "/readyz", client=client) == 200, "what is open to all is so with a wrong password, too")
    client.close()


def hashes(b):
    check = b.tally.check
    for user, password in (("root", "hunter2"), ("cat", "tr0ub4dor"), ("yak", "correct horse")):
        for _ in range(2):      # looked up, remembered
            check(b.status(basic(user, password), "/db/query?q=SELECT%201") == 200, "%s: a hashed password" % user)
    for user, password in (("root", SHA512), ("cat", BCRYPT), ("root", "hunter3"), ("root", ""), ("nobody", "hunter2")):
        check(b.status(basic(user, password), "/db/query?q=SELECT%201") == 401, "%s logs in with what isn't the password" % user)

    # Many at once that nobody remembers yet, with bodies behind them, and half of them wrong.
    b.write(USERS + [{"username": "new", "password": crypt.crypt("n", crypt.mksalt(crypt.METHOD_SHA512, rounds=50000)), "perms": ["execute"]}])
    check(b.node.log_says("Users were read again: 7"), "the changed file wasn't read")
    statuses = []

    def ask(n):
        body = json.dumps([["SELECT ?", "x" * 100000]])
        headers = basic("new", "n" if n % 2 == 0 else "wrong")
        if n % 3 == 0:
            headers["Expect"] = "100-continue"
        try:
            statuses.append((n, b.status(headers, "/db/execute", "POST", body)))
        except HttpFailure as e:
            # Refused before its body was sent, it may find the connection closed.
            statuses.append((n, 401 if n % 2 else str(e)))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(all(status == (401 if n % 2 else 200) for n, status in statuses), "16 at once: %s" % sorted(statuses))


def pipelined(b):
    """What waits behind a password is answered in order, a body that came with it isn't lost."""
    b.write([dict(USERS[0], password=crypt.crypt("hunter2", crypt.mksalt(crypt.METHOD_SHA512, rounds=60000)))] + USERS[1:])
    b.tally.check(b.node.log_says("Users were read again: 6"), "the changed file wasn't read")
    head = "POST /db/query HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s"
    texts = ['["SELECT %d AS n"]' % i for i in range(5)]
    with socket.create_connection((b.node.host, b.node.http_port), LONG) as s:
        s.settimeout(LONG)
        s.sendall("".join(head % (ROOT["Authorization"], len(t), t) for t in texts).encode())
        s.shutdown(socket.SHUT_WR)      # and the client says no more
        got = b""
        while True:
            data = s.recv(65536)
            if not data:
                break
            got += data
    places = [got.find(b"[[%d]]" % i) for i in range(5)]
    b.tally.check(-1 not in places and places == sorted(places), "pipelined behind a password: %r" % got[-300:])


def reload(b):
    check = b.tally.check
    keep = b.node.client(LONG)
    check(b.status(ANN, client=keep) == 200, "ann")
    inode = os.readlink("/proc/self/fd/%d" % keep._sock.fileno())
    changed = [u for u in USERS if u["username"] != "bob"] + [{"username": "dan", "password": "d", "perms": ["status"]}]
    changed[3] = dict(changed[3], perms=["query"])      # ann
    b.write(changed)
    check(b.until(200, basic("dan", "d")) == 200, "a new user gets in")
    check(b.status(BOB, "/db/execute", "POST", '["SELECT 1"]') == 401, "a removed user doesn't")
    check(b.status(ANN, client=keep) == 401 and b.status(ANN, "/db/query?q=SELECT%201", client=keep) == 200, "changed permissions count at once")
    check(os.readlink("/proc/self/fd/%d" % keep._sock.fileno()) == inode, "the connection was dropped")
    keep.close()

    b.write('[{"username": "ann", "password": "letmein"')
    check(b.node.log_says("The changed users are not used, the ones before are: %s:1: not valid JSON" % b.users), "a broken file is told")
    check(b.status(basic("dan", "d")) == 200, "a broken file changes nothing")
    os.unlink(b.users)
    check(b.node.log_says("cannot read -auth %s: No such file" % b.users), "a missing file is told")
    check(b.status(basic("dan", "d")) == 200, "a missing file changes nothing")
    b.write(USERS)
    send_signal(b.node.root_proc(), signal.SIGHUP)
    check(b.until(200, BOB, "/db/execute", "POST", '["SELECT 1"]') == 200, "the right file is back")
    check(b.status(basic("dan", "d")) == 401, "and dan is gone")


def guessing(b):
    check, client = b.tally.check, b.node.client(LONG)
    check(b.status(ANN, client=client) == 200, "ann before")
    statuses = [b.status(basic("ann", "guess%d" % n), client=client) for n in range(30)]
    check(set(statuses) == {401, 429} and statuses[:5] == [401] * 5, "30 guesses: %s" % statuses)
    response = client.request("GET", "/status", None, basic("ann", "one more"))
    check(response.status == 429 and int(response.get("Retry-After")) >= 1 and b"wait" in response.body, "a guess too many: %d" % response.status)
    check(b.status(ANN, client=client) == 200, "who is known isn't slowed by it")
    check(b.status(basic("cat", "tr0ub4dor"), "/db/query?q=SELECT%201", client=client) == 200, "nor is another user")
    client.close()
    log = b.node.log()
    check('Wrong user name or password: "ann" from 127.0.0.1' in log, "guesses are logged")
    check('"ann" from' in log and "guess1" not in log and "hunter2" not in log and "s3cret" not in log, "passwords are not")
    client = b.node.client(LONG)
    counters = json.loads(client.request("GET", "/debug/vars?key=http", None, ROOT).body)
    counters = counters.get("http", counters)
    client.close()
    check(counters.get("auth_ok", 0) > 0 and counters.get("auth_fail", 0) >= 30, "counted: %s" % counters)


def flood(b):
    """Wrong passwords for names that come up once, from many addresses: hashes are slow, places are few."""
    check = b.tally.check
    b.write([dict(USERS[0], password=crypt.crypt("hunter2", crypt.mksalt(crypt.METHOD_SHA512, rounds=150000)))] + USERS[1:])
    before = b.node.log().count("Users were read again: 6")
    send_signal(b.node.root_proc(), signal.SIGHUP)
    deadline = time.monotonic() + LONG
    while b.node.log().count("Users were read again: 6") == before and time.monotonic() < deadline:
        time.sleep(0.1)
    check(b.status(ANN) == 200, "ann before")
    sockets, statuses = [], []
    try:
        for n in range(120):
            s = socket.create_connection((b.node.host, b.node.http_port), LONG, ("127.0.0.%d" % (2 + n % 15), 0))
            credentials = basic("nobody%d" % n, "guess")["Authorization"]
            s.sendall(("GET /db/query?q=SELECT%%201 HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n" % credentials).encode())
            sockets.append(s)
        check(b.status(basic("cat", "tr0ub4dor"), "/db/query?q=SELECT%201") == 200, "amid a flood: a right password, not remembered, from where one came before")
        check(b.status(ANN) == 200, "amid a flood: a remembered password")
        for s in sockets:
            s.settimeout(LONG)
            statuses.append(s.recv(100)[9:12])
    finally:
        for s in sockets:
            s.close()
    check(set(statuses) == {b"401", b"503"}, "a flood of wrong passwords: %s" % sorted(set(statuses)))


def cors(b):
    client = b.node.client(LONG)
    for target in ("/db/query", "*", "/nothing?timeout=x"):
        response = client.request("OPTIONS", target, None, {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"})
        b.tally.check(response.status == 200 and response.body == b"", "OPTIONS %s: %d" % (target, response.status))
        for name, value in (("Access-Control-Allow-Origin", "https://example.com"), ("Access-Control-Allow-Credentials", "true"),
                            ("Access-Control-Allow-Headers", "Content-Type, Authorization")):
            b.tally.check(response.get(name) == value, "%s is %r" % (name, response.get(name)))
    client.close()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=LONG)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LONG)
        self.sock.connect(self.path)


def unix_socket(b):
    check = b.tally.check
    check(stat.S_IMODE(os.stat(b.socket).st_mode) == 0o640, "its mode")
    c = UnixConnection(b.socket)
    c.request("POST", "/db/query", '["SELECT 42"]', ANN)
    response = c.getresponse()
    check(response.status == 200 and b"42" in response.read(), "a query over the unix socket")
    c.request("GET", "/status")
    check(c.getresponse().status == 401, "users count there, too")
    c.close()
    for proc in b.node.find("rq-gateway"):
        send_signal(proc, signal.SIGKILL)
    b.node.wait_ready(60)
    c = UnixConnection(b.socket)
    c.request("POST", "/db/query", '["SELECT 43"]', ANN)
    check(b"43" in c.getresponse().read(), "after a crash it is there again")
    c.close()


def start_refused(b):
    """--check-config and a start say the same; the messages' own test is tests/unit."""
    bad = os.path.join(b.node.work_dir, "bad.json")
    with open(bad, "w") as f:
        f.write('[{"username":"ann","password":"letmein","perms":["qeury"]}]')
    for more in (["--check-config"], []):
        run = subprocess.run([b.args.rqd, *more, "-auth", bad, "-http-addr", "127.0.0.1:1", "-raft-addr", "127.0.0.1:2", os.path.join(b.node.work_dir, "other")],
                             capture_output=True, text=True, timeout=120)
        text = run.stdout + run.stderr
        b.tally.check(run.returncode == 78 and 'entry 1 (ann): there is no permission "qeury"; there are all, execute' in text,
                      "%s: %d %r" % (more, run.returncode, text[-400:]))
        b.tally.check("letmein" not in text, "a password in a message")
        b.tally.check(not os.path.exists(os.path.join(b.node.work_dir, "other")), "a node was founded before the file was read")
    run = subprocess.run([b.args.rqd, "--check-config", "-auth", b.users, os.path.join(b.node.work_dir, "other")], capture_output=True, text=True, timeout=120)
    b.tally.check(run.returncode == 0, "--check-config of a good file: %r" % (run.stdout + run.stderr))


GROUPS = [permissions, hashes, pipelined, reload, flood, cors, unix_socket, guessing, start_refused]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(here, "../../build/bin/rqd"))
    parser.add_argument("--only", help="run only groups with this text in their name")
    args = parser.parse_args()
    exit_on_sigterm()
    tally = Tally()
    b = Bench(args, tally)
    try:
        b.node.start()
        b.node.wait_ready(60)
        for group in GROUPS:
            if args.only and args.only not in group.__name__:
                continue
            before = tally.failed
            try:
                group(b)
            except (HttpFailure, OSError, ValueError, http.client.HTTPException) as e:
                tally.check(False, "stopped: %r" % e)
            if tally.failed > before:
                print("     in %s" % group.__name__)
        tally.check(b.node.stop() == 0, "SIGTERM: exit code isn't 0, or processes remain")
        tally.check(not os.path.exists(b.socket), "the unix socket's file remains")
    except NodeError as e:
        tally.check(False, "stopped: %s" % e)
    if tally.failed:
        b.node.dump_log(25)
    b.node.remove()
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
