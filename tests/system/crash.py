#!/usr/bin/env python3
"""Crash safety on real processes: clients write while processes of one node are killed.

Writers keep a history of what they were told; every few rounds the database is compared with it
(crash_checker.py). Victims, moments and the mix of requests follow from the seed; how requests
interleave does not.

A server of a single process (no child named rq-*) is killed as a whole in every round.
"""

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import crash_checker as cc
from crash_checker import ACKED, COUNT, FAILED, GROUP, SINGLE, UNKNOWN, Op
from rqnode import (Client, HttpFailure, HttpTimeout, Node, NodeError, Tally, exit_on_sigterm,
                    send_signal)

SERVICES = ["rq-gateway", "rq-consensus", "rq-store"]
LAUNCHER, ALL = "rqd", "all"
RECOVERY_DEADLINE = 15.0
WATCHDOG_DEADLINE = 19.0  # the watchdog has 10 s, and less than twice
ROUNDS_PER_CHECK = 5
ROUNDS_PER_HANG = 20


# ---------------------------------------------------------------------------- requests

def build(op, rng):
    """The HTTP target and body of an operation. The server's own limit is below the client's: when
    a service hangs, the answer must come from the server."""
    if op.kind == SINGLE:
        # Lengths vary so that log records and pages have no constant layout.
        pad = "x" * rng.choice((0, 10, 200, 3000))
        return "/db/execute?timeout=8s", [["INSERT INTO w(client, seq, pad) VALUES(?, ?, ?)",
                                op.client, op.seq, pad]]
    if op.kind == GROUP:
        return "/db/execute?timeout=8s&transaction", [
            ["INSERT INTO g(client, seq, part) VALUES(?, ?, ?)", op.client, op.seq, part]
            for part in range(cc.GROUP_SIZE)]
    if op.seq == cc.SHARED_COUNTER:
        return "/db/execute?timeout=8s", [["UPDATE counter SET n = n + 1 WHERE id = ? returning n", op.seq]]
    return "/db/execute?timeout=8s", [["UPDATE counter SET n = n + 1 WHERE id = ?", op.seq]]


def judge(op, response, surprises):
    """Sets op.outcome from a complete answer. Answers that no crash explains are surprises.

    The contract: 503 nothing happened, 504 unknown, 500 "committed at": it did, the result is lost.
    """
    text = response.body.decode("utf-8", "replace").strip()
    op.text = "%d %s" % (response.status, text[:200])
    if response.status == 503:
        op.outcome = FAILED
        return
    if response.status == 500 and text.startswith("committed at"):
        op.outcome = ACKED
        return
    op.outcome = UNKNOWN
    if response.status != 200:
        if response.status not in (408, 504):
            surprises[op.text] += 1
        return
    try:
        answer = json.loads(text)
        results = answer["results"]
    except (ValueError, KeyError, TypeError):
        surprises["not an answer: " + op.text] += 1
        return
    if answer.get("error"):
        return                      # "the request as a whole failed": may have been committed
    if any("error" in r for r in results):
        # A statement of this workload can't fail by itself.
        op.outcome = FAILED
        surprises[op.text] += 1
        return
    if op.kind == COUNT and op.seq == cc.SHARED_COUNTER:
        good = len(results) == 1 and len(results[0].get("values", [])) == 1
        op.told = results[0]["values"][0][0] if good else None
    else:
        good = (len(results) == (cc.GROUP_SIZE if op.kind == GROUP else 1)
                and all(r.get("rows_affected") == 1 for r in results))
        if op.kind == SINGLE and good:
            op.told = results[0].get("last_insert_id")
            good = op.told is not None
    if good:
        op.outcome = ACKED
    else:
        surprises["wrong shape: " + op.text] += 1


class Writer:
    """One client: sends one request after the other and writes the history."""

    def __init__(self, number, port, seed, timeout, surprises):
        self.number = number
        self.rng = random.Random("%d/%d" % (seed, number))
        self.client = Client(port, timeout)
        self.surprises = surprises
        self.history = []
        self.seq = 0

    def send(self, kind):
        self.seq += 1
        seq = self.seq
        if kind == COUNT:
            seq = self.rng.choice((self.number, cc.SHARED_COUNTER))
        op = Op(kind, self.number, seq)
        target, body = build(op, self.rng)
        op.begin = time.monotonic()
        try:
            response = self.client.request("POST", target, json.dumps(body),
                                           {"Content-Type": "application/json"})
            judge(op, response, self.surprises)
        except HttpFailure as e:
            op.text = str(e)
            op.outcome = UNKNOWN if e.sent else FAILED
            op.hung = isinstance(e, HttpTimeout)
        op.end = time.monotonic()
        self.history.append(op)
        return op


class Load:
    """The writer threads; can be paused so that the database holds still for a check."""

    def __init__(self, writers):
        self.writers = writers
        self.go = threading.Event()
        self.quit = False
        self.idle = threading.Semaphore(0)
        self.threads = [threading.Thread(target=self._run, args=(w,), daemon=True)
                        for w in writers]
        for thread in self.threads:
            thread.start()

    def _run(self, writer):
        while True:
            self.go.wait()
            while self.go.is_set() and not self.quit:
                op = writer.send(writer.rng.choices((SINGLE, GROUP, COUNT), (50, 25, 25))[0])
                if op.outcome == FAILED:
                    time.sleep(0.01)    # refused: don't spin
            self.idle.release()
            if self.quit:
                return
            while not self.go.is_set():
                time.sleep(0.002)

    def resume(self):
        self.go.set()

    def pause(self):
        self.go.clear()
        for _ in self.threads:
            self.idle.acquire()

    def stop(self):
        self.quit = True
        self.go.set()


# ---------------------------------------------------------------------------- reading back

def query(port, sql, level):
    client = Client(port, 60.0)
    try:
        response = client.request("POST", "/db/query?level=" + level, json.dumps([sql]))
        if response.status != 200:
            raise NodeError("%s: %d %r" % (sql, response.status, response.body[:200]))
        answer = json.loads(response.body)
        result = answer["results"][0] if answer.get("results") else answer
        if "error" in result or "error" in answer:
            raise NodeError("%s: %r" % (sql, response.body[:200]))
        return [tuple(row) for row in result.get("values", [])]
    except HttpFailure as e:
        raise NodeError("%s: %s" % (sql, e)) from None
    finally:
        client.close()


TABLES = ("SELECT id, client, seq FROM w ORDER BY id",
          "SELECT id, client, seq, part FROM g ORDER BY id",
          "SELECT id, n FROM counter ORDER BY id")


class Test:
    def __init__(self, args):
        self.args = args
        self.tally = Tally()
        self.surprises = Counter()
        self.recovery = {}
        self.stop_windows = []      # (begin, end) in which the gateway itself was stopped
        self.node = Node(args.rqd, args.dir, args.flag)

    # -- set-up

    def setup(self):
        self.node.start()
        self.node.wait_ready(30)
        sql = ["CREATE TABLE w(id INTEGER PRIMARY KEY, client INTEGER, seq INTEGER, pad TEXT)",
               "CREATE TABLE g(id INTEGER PRIMARY KEY, client INTEGER, seq INTEGER, part INTEGER)",
               "CREATE TABLE counter(id INTEGER PRIMARY KEY, n INTEGER NOT NULL)"]
        ids = list(range(self.args.writers + 1)) + [cc.SHARED_COUNTER]
        sql += [["INSERT INTO counter(id, n) VALUES(?, 0)", i] for i in ids]
        response = self.node.client().request("POST", "/db/execute?transaction", json.dumps(sql))
        if response.status != 200 or b"error" in response.body:
            raise NodeError("set-up: %d %r" % (response.status, response.body))
        self.split = any(self.node.find(s) for s in SERVICES)
        writers = [Writer(i, self.node.http_port, self.args.seed, self.args.request_timeout,
                          self.surprises) for i in range(self.args.writers)]
        # The prober writes too, so its requests belong to the history like any others.
        self.prober = Writer(self.args.writers, self.node.http_port, self.args.seed, 3.0,
                             self.surprises)
        self.load = Load(writers)

    def plan(self):
        """All rounds, from the seed alone."""
        rng = random.Random(self.args.seed)
        bag, rounds = [], []
        for n in range(self.args.rounds):
            if not bag:
                bag = SERVICES + [LAUNCHER, ALL]
                rng.shuffle(bag)
            second = rng.choice(SERVICES + [LAUNCHER])
            rounds.append({
                "delay": rng.uniform(0.05, 0.4),
                "victim": bag.pop(),
                "hang": n % ROUNDS_PER_HANG == ROUNDS_PER_HANG // 2,
                # Recovery is code that runs rarely: now and then it is hit as well.
                "second": (rng.uniform(0.0, 0.3), second) if rng.random() < 0.25 else None,
                "hang_victim": rng.choice(SERVICES),
            })
        return rounds

    # -- disturbing

    def kill(self, victim):
        node = self.node
        if not self.split or victim == ALL:
            for proc in sorted(node.members(), key=lambda p: p.pid != node.root.pid):
                send_signal(proc, signal.SIGKILL)
        elif victim == LAUNCHER:
            send_signal(node.root_proc(), signal.SIGKILL)
        else:
            # None there means that it is just being restarted: nothing to kill then.
            for proc in node.find(victim):
                send_signal(proc, signal.SIGKILL)
        if not self.split or victim in (ALL, LAUNCHER):
            node.root.wait()
            node.start()

    def hang(self, victim):
        """A stopped process must be noticed by the watchdog and replaced."""
        begin = time.monotonic()
        procs = self.node.find(victim)
        if not procs:
            return self.kill(victim)
        for proc in procs:
            send_signal(proc, signal.SIGSTOP)
        stopped = {(p.pid, p.start) for p in procs}
        while time.monotonic() - begin < WATCHDOG_DEADLINE:
            if not stopped & {(p.pid, p.start) for p in self.node.find(victim)}:
                break
            time.sleep(0.05)
        seconds = time.monotonic() - begin
        self.tally.check(seconds < WATCHDOG_DEADLINE,
                         "a stopped %s was not replaced within %.0f s"
                         % (victim, WATCHDOG_DEADLINE))
        for proc in procs:
            send_signal(proc, signal.SIGKILL)
        if victim == "rq-gateway":
            # Nobody can answer while it is stopped: timeouts in this window aren't its fault.
            self.stop_windows.append((begin, time.monotonic() + 1.0))
        return None

    def wait_serving(self, what):
        """Until a write is acknowledged again."""
        begin = time.monotonic()
        op = None
        while time.monotonic() - begin < RECOVERY_DEADLINE:
            if self.node.root.poll() is not None:
                break
            op = self.prober.send(SINGLE)
            if op.outcome == ACKED:
                break
            time.sleep(0.01)
        seconds = time.monotonic() - begin
        alive = self.node.root.poll() is None
        ok = alive and op is not None and op.outcome == ACKED
        self.recovery.setdefault(what, []).append(seconds)
        text = "after %s: " % what
        text += ("not serving within %.0f s, last answer: %s"
                 % (RECOVERY_DEADLINE, op.text if op else "none") if alive
                 else "the launcher exited with %s" % self.node.root.returncode)
        if not self.tally.check(ok, text):
            raise NodeError(text)

    # -- checking

    def history(self):
        return [op for w in self.load.writers + [self.prober] for op in w.history]

    def verify(self, when):
        port = self.node.http_port
        tables = [query(port, sql, "strong") for sql in TABLES]
        local = [query(port, sql, "none") for sql in TABLES]
        self.tally.check(tables == local, "%s: level none differs from level strong" % when)
        found = cc.check(self.history(), tables[0], tables[1], dict(tables[2]))
        for name, problems in found.items():
            self.tally.check(not problems, "%s: %s: %d problems, first: %s"
                             % (when, name, len(problems), "; ".join(problems[:5])))
        integrity = query(port, "PRAGMA integrity_check", "none")
        self.tally.check(integrity == [("ok",)],
                         "%s: integrity_check: %s" % (when, integrity[:5]))

    def check_hangs(self):
        hung = [op for op in self.history() if op.hung
                and op.client != self.prober.number
                and not any(op.begin < end and op.end > begin for begin, end in self.stop_windows)]
        self.tally.check(not hung, "%d requests got no answer within %.0f s, first: %s" % (
            len(hung), self.args.request_timeout, hung[0].kind if hung else ""))

    # -- the whole

    def run(self):
        print("seed %d" % self.args.seed, flush=True)
        self.setup()
        if not self.split:
            print("single-process server: it is killed as a whole in every round")
        for n, step in enumerate(self.plan(), 1):
            self.load.resume()
            time.sleep(step["delay"])
            what = step["victim"] if self.split else ALL
            if step["hang"] and self.split:
                what = step["hang_victim"] + " (stopped)"
                self.hang(step["hang_victim"])
            else:
                self.kill(what)
                if step["second"]:
                    time.sleep(step["second"][0])
                    self.kill(step["second"][1])
                    what += ", then another"
            self.wait_serving(what)
            if n % ROUNDS_PER_CHECK == 0 or n == self.args.rounds:
                self.load.pause()
                self.verify("round %d" % n)
            if n % 10 == 0 or n == self.args.rounds:
                self.report(n)
        self.check_hangs()
        self.tally.check(not self.surprises, "answers that no crash explains: %s"
                         % self.surprises.most_common(5))
        acked = sum(op.outcome == ACKED for op in self.history())
        self.tally.check(acked > 10 * self.args.rounds, "only %d acknowledged" % acked)
        # A clean stop and start must keep everything too.
        self.tally.check(self.node.stop() == 0, "SIGTERM: exit code isn't 0, or processes remain")
        self.node.start()
        self.node.wait_ready(30)
        self.verify("after a clean restart")
        self.tally.check(self.node.stop() == 0, "SIGTERM: exit code isn't 0, or processes remain")

    def report(self, n):
        count = Counter(op.outcome for op in self.history())
        worst = max((s for times in self.recovery.values() for s in times), default=0)
        print("round %d: %d acked, %d failed, %d unknown; slowest recovery %.2f s; %d failures"
              % (n, count[ACKED], count[FAILED], count[UNKNOWN], worst, self.tally.failed),
              flush=True)

    def summary(self):
        for what, times in sorted(self.recovery.items()):
            times.sort()
            print("  recovery after %-30s %3d times, median %.2f s, max %.2f s"
                  % (what, len(times), times[len(times) // 2], times[-1]))
        texts = Counter(op.text for op in self.history() if op.outcome != ACKED)
        for text, n in texts.most_common(12):
            outcomes = {op.outcome for op in self.history() if op.text == text}
            print("  %6d times %s: %s" % (n, "/".join(sorted(outcomes)), text[:150]))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(here, "../../build/bin/rqd"))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--request-timeout", type=float, default=10.0)
    parser.add_argument("--dir", help="parent of the data directory (default: temporary)")
    parser.add_argument("--flag", action="append", default=[],
                        help="passed to the server, for example --flag=-raft-timeout=1s")
    args = parser.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 32)
    exit_on_sigterm()

    test = Test(args)
    try:
        test.run()
    except (NodeError, HttpFailure) as e:
        test.tally.check(False, "stopped: %s" % e)
    finally:
        if hasattr(test, "load"):
            test.load.stop()
        test.node.kill_tree()
    if hasattr(test, "load"):
        test.summary()
    if test.tally.failed:
        test.node.dump_log()
        print("seed %d, data kept in %s" % (args.seed, test.node.work_dir))
    else:
        test.node.remove()
    return test.tally.finish()


if __name__ == "__main__":
    sys.exit(main())
