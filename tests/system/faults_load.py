"""The clients of faults.py: registers, lists and a bank, on all nodes at once, with a history.

Keys of registers and lists are replaced by new ones after some operations, so that no history of
one key grows long. What the values mean is told in faults_checker.py.
"""

import json
import random
import threading
import time
from collections import Counter

import faults_checker as fc
from faults_checker import (ACKED, APPEND, FAILED, LIST, READ, SWAP, TOTAL, TRANSFER, UNKNOWN, WRITE,
                            Op)
from rqnode import HttpFailure, HttpTimeout

REGISTERS, LISTS, ACCOUNTS, BALANCE = 4, 3, 8, 100
OPS_PER_KEY = {True: 400, False: 150}       # registers, lists
BANK = (ACCOUNTS, ACCOUNTS * BALANCE)
# The server's limit is below the client's: also when something hangs, the answer is the server's.
SERVER_TIMEOUT = "4s"
CLIENT_TIMEOUT = 9.0
STALL_SECONDS = 1.0
KINDS = ((WRITE, 20), (SWAP, 10), (READ, 25), (APPEND, 15), (LIST, 12), (TRANSFER, 12), (TOTAL, 6))
LEVELS = (("linearizable", 45), ("strong", 15), ("weak", 20), ("none", 20))
TABLES = ("reg", "lst", "acct", "xfer")


def schema(own_clock):
    """own_clock: the server gives default values the same clock and chance on every node."""
    tail = ", r INTEGER DEFAULT (random()), t TEXT DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))"
    tail = tail if own_clock else ""
    return ["CREATE TABLE reg(k INTEGER PRIMARY KEY, v TEXT)",
            "CREATE TABLE lst(id INTEGER PRIMARY KEY, k INTEGER, client INTEGER, seq INTEGER%s)" % tail,
            "CREATE INDEX lst_k ON lst(k)",
            "CREATE TABLE acct(id INTEGER PRIMARY KEY, bal INTEGER NOT NULL CHECK(bal >= 0))",
            "CREATE TABLE xfer(id INTEGER PRIMARY KEY, client INTEGER, seq INTEGER%s)" % tail,
            *(["INSERT INTO acct(id, bal) VALUES(?, ?)", i, BALANCE] for i in range(ACCOUNTS))]


def request(op, min_index, server_timeout):
    """Target and body."""
    tail = "timeout=" + server_timeout
    if op.kind in (READ, LIST, TOTAL):
        sql = {READ: ["SELECT v FROM reg WHERE k = ?", op.key],
               LIST: ["SELECT client, seq FROM lst WHERE k = ? ORDER BY id", op.key],
               TOTAL: ["SELECT count(*), sum(bal) FROM acct"]}[op.kind]
        tail += "&level=" + op.level + ("&min_index=%d" % min_index if min_index else "")
        return "/db/query?" + tail, [sql]
    tail = "/db/execute?raft_index&" + tail
    if op.kind == WRITE:
        return tail, [["INSERT INTO reg(k, v) VALUES(?, ?) ON CONFLICT(k) DO UPDATE SET v = excluded.v",
                       op.key, op.value]]
    if op.kind == SWAP:
        return tail, [["UPDATE reg SET v = ? WHERE k = ? AND v = ?", op.value, op.key, op.expected]]
    if op.kind == APPEND:
        return tail, [["INSERT INTO lst(k, client, seq) VALUES(?, ?, ?)", op.key, *op.value]]
    source, target, amount = op.expected
    return tail + "&transaction", [
        ["INSERT INTO xfer(client, seq) VALUES(?, ?)", *op.value],
        ["UPDATE acct SET bal = bal + ? WHERE id = ?", amount, target],
        ["UPDATE acct SET bal = bal - ? WHERE id = ?", amount, source]]


def judge(op, response, surprises):
    """Sets outcome and told of a complete answer; what no fault explains is a surprise. Returns the
    answer's log index, or None.

    The contract: 503 nothing happened, 504 unknown, 500 "committed at": it did, the result is lost.
    """
    text = response.body.decode("utf-8", "replace").strip()
    op.text = "%d %s" % (response.status, text[:200])
    op.outcome = UNKNOWN
    if response.status != 200:
        if response.status == 503:
            op.outcome = FAILED
        elif response.status == 500 and text.startswith("committed at") and op.kind != SWAP:
            op.outcome = ACKED
        elif response.status not in (500, 504):
            surprises[op.text] += 1
        return None
    try:
        answer = json.loads(text)
        results = answer["results"]
    except (ValueError, KeyError, TypeError):
        surprises["not an answer: " + op.text] += 1
        return None
    if answer.get("error"):
        return None
    wrong = [r["error"] for r in results if "error" in r]
    if wrong:
        op.outcome = FAILED
        if op.kind != TRANSFER or "CHECK" not in wrong[0]:
            surprises[op.text] += 1
        return None
    try:
        op.told = _told(op, results)
        op.outcome = ACKED
    except (ValueError, KeyError, IndexError, TypeError):
        surprises["wrong shape: " + op.text] += 1
    return answer.get("raft_index")


def _told(op, results):
    if op.kind in (READ, LIST, TOTAL):
        rows = results[0].get("values", [])
        if op.kind == READ:
            return rows[0][0] if rows else None
        if op.kind == LIST:
            return [tuple(row) for row in rows]
        (row,) = rows
        return tuple(row)
    # Some servers leave out a 0.
    affected = [r.get("rows_affected", 0) for r in results]
    if op.kind == SWAP:
        if affected not in ([0], [1]):
            raise ValueError
        return affected == [1]
    if affected != [1] * (3 if op.kind == TRANSFER else 1):
        raise ValueError
    return results[0]["last_insert_id"] if op.kind == APPEND else None


class Keys:
    """The keys in use; a key is given up after some operations."""

    def __init__(self):
        self._count = Counter()
        self._lock = threading.Lock()
        self.hints = {}             # key: a value that a register was seen to have

    def draw(self, rng, is_register):
        slot = rng.randrange(REGISTERS if is_register else LISTS)
        with self._lock:
            self._count[(is_register, slot)] += 1
            return slot + 10 * (self._count[(is_register, slot)] // OPS_PER_KEY[is_register])


class Session:
    """One client: one request after the other, at one node or, if it roams, at changing ones. (If
    all did, all would soon wait for the one that is stopped.)"""

    def __init__(self, number, nodes, keys, seed, surprises, min_index):
        self.number = number
        self.nodes = nodes
        self.keys = keys
        self.rng = random.Random("%d/%d" % (seed, number))
        self.clients = {}
        self.surprises = surprises
        self.min_index = min_index      # does the server know it?
        self.history = []
        self.seq = 0
        self.roams = number >= 2 * len(nodes)
        self.node = nodes[number % len(nodes)]
        self.own = None                 # (key, value, log index) of an acknowledged append

    def make(self):
        rng = self.rng
        kind = rng.choices(*zip(*KINDS))[0]
        self.seq += 1
        op = Op(kind, client=self.number)
        if kind in (WRITE, SWAP, READ, APPEND, LIST):
            op.key = self.keys.draw(rng, kind not in (APPEND, LIST))
        if kind in (WRITE, SWAP):
            op.value = "%d-%d" % (self.number, self.seq)
        elif kind in (APPEND, TRANSFER):
            op.value = (self.number, self.seq)
        if kind == SWAP:
            op.expected = self.keys.hints.get(op.key)
            if op.expected is None:
                op.kind = WRITE
        elif kind == TRANSFER:
            op.expected = (*rng.sample(range(ACCOUNTS), 2), rng.randrange(1, 40))
        elif kind in (READ, LIST, TOTAL):
            op.level = rng.choices(*zip(*LEVELS))[0]
        return op

    def step(self):
        if self.roams and self.rng.random() < 0.1:
            self.node = self.rng.choice(self.nodes)
        op = self.make()
        index = None
        if op.kind == LIST and op.level == "none" and self.own and self.min_index:
            op.key, op.expected, index = self.own
        return self.send(op, self.node, index)

    def send(self, op, node, min_index=None, server_timeout=SERVER_TIMEOUT):
        client = self.clients.get(node)
        if client is None:
            client = self.clients[node] = node.client(CLIENT_TIMEOUT)
        op.node = node.node_id
        target, body = request(op, min_index, server_timeout)
        op.begin = time.monotonic()
        index = None
        try:
            response = client.request("POST", target, json.dumps(body),
                                      {"Content-Type": "application/json"})
            index = judge(op, response, self.surprises)
        except HttpFailure as e:
            op.text = str(e)
            op.outcome = UNKNOWN if e.sent else FAILED
            op.hung = e.sent and isinstance(e, HttpTimeout)
        op.end = time.monotonic()
        self.history.append(op)
        if op.outcome == ACKED:
            if op.kind == APPEND and index:
                self.own = (op.key, op.value, index)
            elif op.kind in (READ, WRITE) or op.kind == SWAP and op.told:
                self.keys.hints[op.key] = op.told if op.kind == READ else op.value
        return op


class Load:
    """The threads of all sessions; no more than about `rate` requests a second together."""

    def __init__(self, sessions, rate):
        self.sessions = sessions
        self.pause = len(sessions) / rate
        self.quit = threading.Event()
        self.broken = []
        self.stalls = []            # (begin, end) in which this program itself did not run
        self.threads = [threading.Thread(target=self._watch, daemon=True)]
        self.threads += [threading.Thread(target=self._run, args=(s,), daemon=True) for s in sessions]

    def start(self):
        for thread in self.threads:
            thread.start()

    def _watch(self):
        """A machine that is overloaded explains late answers: the clients' are late, too."""
        last = time.monotonic()
        while not self.quit.is_set():
            time.sleep(0.05)
            now = time.monotonic()
            if now - last > STALL_SECONDS:
                self.stalls.append((last, now))
            last = now

    def _run(self, session):
        try:
            while not self.quit.is_set():
                begin = time.monotonic()
                op = session.step()
                if op.outcome == FAILED:
                    time.sleep(0.02)
                time.sleep(max(0, 2 * self.pause * session.rng.random() - (time.monotonic() - begin)))
        except Exception as e:      # a thread that ends in silence would be a test that can't fail
            self.broken.append(repr(e))

    def stop(self):
        self.quit.set()
        for thread in self.threads:
            if thread.ident is not None:
                thread.join(CLIENT_TIMEOUT + 5)
                if thread.is_alive():
                    self.broken.append("a client hangs")


def final_state(rows):
    """Arguments of fc.check() behind the history, from a dump of all tables."""
    registers = {row[1]: row[2] for row in rows["reg"]}
    lists = {}
    for _, rowid, key, client, seq, *_rest in rows["lst"]:
        lists.setdefault(key, []).append((rowid, (client, seq)))
    accounts = {row[1]: row[2] for row in rows["acct"]}
    transfers = [(row[2], row[3]) for row in rows["xfer"]]
    return registers, lists, accounts, transfers, BANK


def verify(history, rows):
    """{check: problems} of the history and a dump."""
    return fc.check(history, *final_state(rows))
