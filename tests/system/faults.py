#!/usr/bin/env python3
"""A cluster of real processes under faults: clients on all nodes while processes are killed and
stopped, links are cut and a disk fills up; then the history is checked (faults_checker.py).

Faults, their victims and lengths follow from the seed; how requests interleave does not. Faults of
the network and of the disk need root and are left out, with a word, where they can't be.
"""

import argparse
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cluster_net
import faults_checker as fc
import faults_load as load
from cluster_nodes import (LAUNCHER, SERVICES, Cluster, Refused, ask, dump, execute, is_split,
                           processes, query, signal_all, wait_for)
from faults_checker import ACKED, APPEND, FAILED, UNKNOWN, Op
from poor_links import tls_flags
from rqnode import HttpFailure, NodeError, Tally, exit_on_sigterm

RECOVERY_DEADLINE = 20.0    # after the last fault has ended: a write through every node
GOES_ON_AFTER = 3.0         # of a fault of a minority: somebody takes writes
STOP_SECONDS_MAX = 4.5      # silence of a service that its watchdog bears for certain
QUIET_EVERY = 6             # faults; then all is healed and recovery is measured
DISK_BYTES = 160 << 20
WORDS_OF_STRANGERS = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 100, b"r", b"rqP1",
    # a ClientHello, whole and in half; a record that claims more than it has; an alert
    bytes.fromhex("1603010075010000710303") + bytes(32) + bytes.fromhex("20") + bytes(32)
    + bytes.fromhex("000413011302010000240000000b0009000006") + b"n1.abc" + bytes(8),
    bytes.fromhex("1603010200010001fc0303"), bytes.fromhex("160301ffff010000"), bytes.fromhex("15030300020228"),
    # a frame with the right magic and absurd lengths
    b"rqP1" + bytes.fromhex("0100010000000000ffffffffffffffff0000000000000000"))
NEVER_ON_ITS_OWN = re.compile(r"SIGSEGV|SIGABRT|SIGBUS|Sanitizer|[Aa]ssertion|diverge")


class Fault:
    """What is done to some nodes. hit: those that may stop answering; a minority of hit nodes
    leaves a cluster that goes on."""

    def __init__(self, text, hit, undo=None):
        self.text = text
        self.hit = hit
        self.undo = undo
        self.begin = time.monotonic()


class Nemesis:
    def __init__(self, cluster, rng, disk, poor=False):
        self.cluster = cluster
        self.rng = rng
        self.disk = disk            # (number of the node, mount point) or None
        self.down = set()           # nodes that were killed as a whole
        self.stopped = []           # (node, begin, end): its gateway could not answer
        self.split = is_split(cluster[0])
        self.kinds = {"kill process": 20, "kill node": 16, "kill all": 6, "kill most": 6,
                      "stop process": 12, "stop node": 8, "restart": 8, "transfer": 8}
        if cluster.network:
            self.kinds.update({"isolate": 24, "halves": 8, "one way": 20, "bridge": 12, "flapping": 10})
            if poor:
                self.kinds["poor links"] = 12
        self.kinds["strangers"] = 10
        if disk:
            self.kinds["full disk"] = 8
        self.count = Counter()

    # -- whom

    def victim(self):
        """Mostly the leader: losing it is what can go wrong."""
        if self.rng.random() < 0.7:
            found = self.cluster.leaders()
            if found:
                return found[-1][1]
        return self.rng.choice(self.cluster.nodes)

    def service(self):
        return self.rng.choice(SERVICES) if self.split else "all"

    # -- what

    def strike(self, kind):
        self.count[kind] += 1
        return getattr(self, "_" + kind.replace(" ", "_"))()

    def _kill_process(self):
        node = self.victim()
        name = self.rng.choice((*SERVICES, LAUNCHER)) if self.split else "all"
        signal_all(processes(node, name), signal.SIGKILL)
        if name in (LAUNCHER, "all"):
            return self._dead("kill %s of %s" % (name, node.node_id), [node])
        return Fault("kill %s of %s" % (name, node.node_id), [node])

    def _dead(self, text, nodes):
        for node in nodes:
            node.kill_tree()
        self.down.update(nodes)
        return Fault(text, nodes, self.revive)

    def _kill_node(self):
        node = self.victim()
        return self._dead("kill " + node.node_id, [node])

    def _kill_all(self):
        self.cluster.kill()
        return self._dead("kill all", self.cluster.nodes)

    def _kill_most(self):
        nodes = self.rng.sample(self.cluster.nodes, len(self.cluster) // 2 + 1)
        return self._dead("kill " + " ".join(n.node_id for n in nodes), nodes)

    def _stop_process(self):
        return self._stop(self.victim(), self.service())

    def _stop_node(self):
        return self._stop(self.victim(), "all")

    def _stop(self, node, name):
        procs = processes(node, name)
        begin = time.monotonic()
        signal_all(procs, signal.SIGSTOP)

        # Also when what is watched meanwhile takes its time.
        limit = threading.Timer(STOP_SECONDS_MAX, signal_all, (procs, signal.SIGCONT))
        limit.daemon = True
        limit.start()

        def go_on():
            limit.cancel()
            signal_all(procs, signal.SIGCONT)
            if name in ("all", "rq-gateway"):
                self.stopped.append((node.node_id, begin, time.monotonic() + 1.0))
        return Fault("stop %s of %s" % (name, node.node_id), [node], go_on)

    def _restart(self):
        node = self.victim()
        code = node.stop()
        self.down.add(node)
        fault = Fault("SIGTERM to " + node.node_id, [node], self.revive)
        fault.exit_code = code
        return fault

    def _transfer(self):
        node = self.victim()
        try:
            ask(node, "POST", "/leader", timeout=3.0)
        except HttpFailure:
            pass
        return Fault("transfer", [])

    def _network(self, text, pairs, hit):
        self.cluster.network.cut(pairs)
        return Fault(text, hit, self.cluster.network.heal)

    def _isolate(self):
        i = self.cluster.index(self.victim())
        rest = [j for j in range(len(self.cluster)) if j != i]
        return self._network("isolate n%d" % (i + 1), cluster_net.both_ways([i], rest),
                             [self.cluster[i]])

    def _halves(self):
        numbers = list(range(len(self.cluster)))
        self.rng.shuffle(numbers)
        few, most = numbers[:len(numbers) // 2], numbers[len(numbers) // 2:]
        return self._network("cut off " + " ".join("n%d" % (i + 1) for i in few),
                             cluster_net.both_ways(few, most), [self.cluster[i] for i in few])

    def _one_way(self):
        """One node isn't heard by the others, or hears nothing, or one link has one direction."""
        i = self.cluster.index(self.victim())
        rest = [j for j in range(len(self.cluster)) if j != i]
        form = self.rng.randrange(3)
        if form == 2:
            rest = [self.rng.choice(rest)]
        pairs = {(j, i) if form == 1 else (i, j) for j in rest}
        return self._network("cut one way " + " ".join("n%d>n%d" % (a + 1, b + 1) for a, b in pairs),
                             pairs, [self.cluster[i]])

    def _bridge(self):
        """Two groups that don't hear each other, and one node between that hears all."""
        numbers = list(range(len(self.cluster)))
        self.rng.shuffle(numbers)
        middle, rest = numbers[0], numbers[1:]
        one, two = rest[:len(rest) // 2], rest[len(rest) // 2:]
        return self._network("bridge over n%d" % (middle + 1), cluster_net.both_ways(one, two),
                             [self.cluster[i] for i in one])

    def _flapping(self):
        """A node comes and goes, faster than anybody notices for certain."""
        i = self.cluster.index(self.victim())
        pairs = cluster_net.both_ways([i], [j for j in range(len(self.cluster)) if j != i])
        quit_ = threading.Event()
        times = [self.rng.uniform(0.02, 0.6) for _ in range(40)]

        def flap():
            for n, seconds in enumerate(times):
                self.cluster.network.cut(pairs if n % 2 == 0 else ())
                if quit_.wait(seconds):
                    break
        thread = threading.Thread(target=flap)
        thread.start()

        def heal():
            quit_.set()
            thread.join()
            self.cluster.network.heal()
        return Fault("n%d flaps" % (i + 1), [self.cluster[i]], heal)

    def _poor_links(self):
        loss, ms = self.rng.choice(((0.15, 0), (0.05, 30), (0.15, 30), (0, 60)))
        self.cluster.network.poor(loss, ms, ms / 5)
        # Who waits for the network is nobody's minority.
        return Fault("links lose %d %%, take %d ms" % (100 * loss, ms), self.cluster.nodes, self.cluster.network.poor)

    def _strangers(self):
        """Scans and other protocols on every node's Raft port; some say half a sentence and stay."""
        kept = []
        for node in self.cluster:
            for n in range(24):
                try:
                    s = socket.create_connection((node.host, node.raft_port), 0.2)
                    s.settimeout(0.2)
                    s.sendall(self.rng.choice(WORDS_OF_STRANGERS) if n % 3 else self.rng.randbytes(self.rng.randrange(1, 4000)))
                except OSError:
                    continue
                if n % 2:
                    s.close()
                else:
                    kept.append(s)
        return Fault("strangers", [], lambda: [s.close() for s in kept])

    def _full_disk(self):
        number, place = self.disk
        path = os.path.join(place, "filler")
        with open(path, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"\0" * (1 << 16))
            except OSError:
                pass
        return Fault("full disk of n%d" % (number + 1), self.cluster.nodes, lambda: os.unlink(path))

    # -- back

    def revive(self):
        for node in sorted(self.down, key=lambda n: n.node_id):
            node.start()
        self.down.clear()


class Test:
    def __init__(self, args, network, disk, flags):
        self.args = args
        self.tally = Tally()
        self.skipped = 0
        self.rng = random.Random(args.seed)
        self.surprises = Counter()
        self.recovery = []
        self.gaps = []
        data = {disk[0]: os.path.join(disk[1], "data")} if disk else None
        self.cluster = Cluster(args.rqd, args.nodes, args.dir, [*args.flag, *flags], network, data)
        self.disk = disk

    def setup(self):
        self.cluster.start()
        print("formed after %.2f s" % self.cluster.wait_ready(60), flush=True)
        self.nemesis = Nemesis(self.cluster, self.rng, self.disk, hasattr(self.cluster.network, "poor"))
        split = self.nemesis.split
        execute(self.cluster[0], *load.schema(split))
        for node in self.cluster:       # else a local read may rightly find no table
            query(node, "SELECT count(*) FROM xfer", "strong")
            wait_for("the tables", 10, lambda node=node: query(
                node, "SELECT count(*) FROM acct", "none") == [(load.ACCOUNTS,)])
        keys = load.Keys()
        sessions = [load.Session(i, self.cluster.nodes, keys, self.args.seed, self.surprises, split)
                    for i in range(self.args.clients)]
        # What probes for recovery belongs to the history like the rest.
        self.prober = load.Session(self.args.clients, self.cluster.nodes, keys, self.args.seed,
                                   self.surprises, split)
        self.load = load.Load(sessions, self.args.rate)
        self.load.start()

    def history(self):
        return [op for s in [*self.load.sessions, self.prober] for op in s.history]

    # -- one fault

    def strike(self):
        n = self.nemesis
        if self.args.only:
            n.kinds = {k: w for k, w in n.kinds.items() if any(word in k for word in self.args.only)}
        kind = self.rng.choices(list(n.kinds), list(n.kinds.values()))[0]
        fault = n.strike(kind)
        held = self.rng.uniform(0.2, 2.0) if self.rng.random() < 0.7 else self.rng.uniform(2.0, 8.0)
        if kind.startswith("stop"):
            held = min(held, STOP_SECONDS_MAX)
        second = None
        if kind != "full disk" and not self.args.only and self.rng.random() < 0.25:
            time.sleep(held / 2)
            held /= 2
            kinds = {k: w for k, w in n.kinds.items() if "node" in k or "process" in k or k == "transfer"}
            second = n.strike(self.rng.choices(list(kinds), list(kinds.values()))[0])
        time.sleep(held)
        self.watch(fault, second)
        # What was stopped must run again before anything is started anew in its place.
        for one in (second, fault):
            if one and one.undo:
                one.undo()
        code = getattr(fault, "exit_code", 0)
        self.tally.check(code == 0 or second, "%s: exit code %s, or processes remain" % (fault.text, code))
        if self.args.verbose:
            print("  %7.2f %s%s, %.1f s" % (fault.begin - self.begin, fault.text,
                                           ", " + second.text if second else "",
                                           time.monotonic() - fault.begin), flush=True)
        time.sleep(self.rng.uniform(0, 1.0))

    def watch(self, fault, second):
        """While a minority is away somebody takes writes; no launcher ends by itself."""
        for node in self.cluster:
            if node not in self.nemesis.down:
                self.tally.check(node.root.poll() is None, "during %s: the launcher of %s ended with %s"
                                 % (fault.text, node.node_id, node.root.returncode))
        seconds = time.monotonic() - fault.begin
        if second or len(fault.hit) > (len(self.cluster) - 1) // 2 or seconds < GOES_ON_AFTER:
            return
        healthy = [n for n in self.cluster if n not in fault.hit]
        begin, n, op = time.monotonic(), 0, None
        while time.monotonic() - begin < 1.0 and not (op and op.outcome == ACKED):
            op = self.probe(healthy[n % len(healthy)], "500ms")
            n += 1
        self.tally.check(op.outcome == ACKED, "during %s: no write acknowledged after %.1f s, last answer "
                         "of %s: %s" % (fault.text, seconds, op.node, op.text))

    def probe(self, node, timeout=load.SERVER_TIMEOUT):
        """An append that belongs to the history like others."""
        self.prober.seq += 1
        op = Op(APPEND, 9, (self.prober.number, self.prober.seq), client=self.prober.number)
        return self.prober.send(op, node, server_timeout=timeout)

    def recover(self):
        begin = time.monotonic()
        for node in self.cluster:
            while True:
                op = self.probe(node)
                if op.outcome == ACKED:
                    break
                if time.monotonic() - begin > RECOVERY_DEADLINE:
                    self.tally.check(False, "%s takes no write %.0f s after all faults have ended, last "
                                     "answer: %s" % (node.node_id, RECOVERY_DEADLINE, op.text))
                    raise NodeError("not recovered")
                time.sleep(0.02)
        self.tally.check(True, "")
        self.recovery.append(time.monotonic() - begin)

    # -- the end

    def same_content(self, when):
        """A strong read makes each node apply everything; then all have the same rows."""
        def dumps():
            for node in self.cluster:
                query(node, "SELECT count(*) FROM reg", "strong")
            found = {node.node_id: dump(node, load.TABLES) for node in self.cluster}
            problems.clear()
            problems.extend(fc.compare_dumps(found))
            return None if problems else found

        problems = []
        try:
            found = wait_for("the same content everywhere", 10, dumps, 0.2)
        except NodeError as e:
            self.tally.check(False, "%s: %s: %s" % (when, e, "; ".join(problems[:3])))
            return None
        self.tally.check(True, "")
        for node in self.cluster:
            answer = query(node, "PRAGMA integrity_check", "none")
            self.tally.check(answer == [("ok",)], "%s: %s: integrity_check: %s"
                             % (when, node.node_id, answer[:5]))
        return next(iter(found.values()))

    def check_history(self, rows):
        begin = time.monotonic()
        history = self.history()
        for name, problems in load.verify(history, rows).items():
            self.tally.check(not problems, "%s: %d problems, first: %s"
                             % (name, len(problems), "\n    ".join(problems[:5])))
        away = self.nemesis.stopped + [(n.node_id, *t) for t in self.load.stalls for n in self.cluster]
        hung = [op for op in history if op.hung and not any(
            op.node == node and op.begin < end and op.end > since for node, since, end in away)]
        self.tally.check(not hung, "%d requests got no answer within %.0f s, first: %r"
                         % (len(hung), load.CLIENT_TIMEOUT, hung[:1]))
        self.tally.check(not self.load.broken, "clients broke: %s" % self.load.broken[:3])
        self.tally.check(not self.surprises, "answers that no fault explains: %s"
                         % self.surprises.most_common(5))
        print("checked %d operations in %.1f s" % (len(history), time.monotonic() - begin))

    def check_logs(self):
        for node in self.cluster:
            with open(node.log_path, errors="replace") as f:
                lines = [l.strip() for l in f if NEVER_ON_ITS_OWN.search(l)]
            self.tally.check(not lines or not self.nemesis.split,
                             "log of %s: %d lines like %s" % (node.node_id, len(lines), lines[:2]))

    def run(self):
        self.setup()
        self.begin = time.monotonic()
        strikes = 0
        while time.monotonic() - self.begin < self.args.seconds:
            self.strike()
            strikes += 1
            if strikes % QUIET_EVERY == 0:
                self.recover()
                self.report(strikes)
        self.recover()
        self.load.stop()
        self.report(strikes)
        rows = self.same_content("in the end")
        if rows is not None:
            self.check_history(rows)
        acked = sum(op.outcome == ACKED for op in self.history())
        self.tally.check(acked > 20 * self.args.seconds, "only %d acknowledged" % acked)
        codes = self.cluster.stop()
        self.tally.check(not any(codes), "SIGTERM: exit codes %s, or processes remain" % codes)
        self.cluster.start()
        self.cluster.wait_ready(60)
        again = self.same_content("after a restart of all")
        self.tally.check(rows is None or again == rows, "a restart of all has changed the content")
        codes = self.cluster.stop()
        self.tally.check(not any(codes), "SIGTERM: exit codes %s, or processes remain" % codes)
        self.check_logs()

    def report(self, strikes):
        count = Counter(op.outcome for op in self.history())
        print("%4.0f s, %d faults: %d acked, %d failed, %d unknown; slowest recovery %.2f s; %d failures"
              % (time.monotonic() - self.begin, strikes, count[ACKED], count[FAILED], count[UNKNOWN],
                 max(self.recovery, default=0), self.tally.failed), flush=True)

    def summary(self):
        print("  faults: " + ", ".join("%d %s" % (n, k) for k, n in self.nemesis.count.most_common()))
        if self.recovery:
            times = sorted(self.recovery)
            print("  recovery: %d times, median %.2f s, max %.2f s"
                  % (len(times), times[len(times) // 2], times[-1]))
        writes = sorted(op.end for op in self.history() if op.outcome == ACKED and not op.level)
        for begin, end in self.load.stalls:
            print("  the test itself did not run for %.2f s from %.2f" % (end - begin, begin - self.begin))
        gaps = sorted(((b - a, a - self.begin) for a, b in zip(writes, writes[1:])), reverse=True)
        print("  longest times without an acknowledged write: %s" % ", ".join(
            "%.2f s from %.2f" % gap for gap in gaps[:5]))
        texts = Counter((op.outcome, re.sub(r"\d{2,}", "N", op.text)) for op in self.history()
                        if op.outcome != ACKED)
        for (outcome, text), n in texts.most_common(12):
            print("  %6d times %s: %s" % (n, outcome, text[:150]))


def disk_for(number, directory):
    """A small disk of its own for one node; (number, place), or None and why."""
    if os.geteuid() != 0:
        return None, "needs root"
    place = tempfile.mkdtemp(prefix="rqdisk-", dir=directory)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % DISK_BYTES, "none", place],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        os.rmdir(place)
        return None, done.stderr.strip()
    return (number, place), None


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(here, "../../build/bin/rqd"))
    parser.add_argument("--nodes", type=int, choices=(3, 5), default=3)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--clients", type=int, default=None, help="default: 3 a node")
    parser.add_argument("--rate", type=float, default=400, help="requests a second of all together")
    parser.add_argument("--no-network", action="store_true", help="without namespaces")
    parser.add_argument("--only", action="append", default=[], help="faults with this in their names")
    parser.add_argument("--tls", action="store_true", help="between the nodes, with client certificates")
    parser.add_argument("--no-disk", action="store_true", help="without a full disk")
    parser.add_argument("--verbose", action="store_true", help="tell each fault")
    parser.add_argument("--dir", help="parent of the data directories (default: temporary)")
    parser.add_argument("--flag", action="append", default=[],
                        help="passed to the servers, for example --flag=-raft-snap=100")
    args = parser.parse_args()
    skipped = 0
    if not args.no_network and not cluster_net.inside():
        why = cluster_net.missing()
        if why is None:
            cluster_net.enter()
        print("SKIP faults of the network: %s" % why)
        skipped += 1
    args.clients = args.clients or 3 * args.nodes
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 32)
    exit_on_sigterm()
    print("seed %d" % args.seed, flush=True)
    network = None
    if cluster_net.inside():
        poor = cluster_net.poor_links_missing()
        if poor is not None:
            print("SKIP poor links: %s" % poor)
            skipped += 1
        network = (cluster_net.Network if poor else cluster_net.PoorNetwork)(args.nodes)
    certificates = tempfile.TemporaryDirectory(prefix="rqtls-", dir=args.dir)
    flags = []
    if args.tls:
        hosts = [network.host(i) for i in range(args.nodes)] if network else ["127.0.0.1"]
        flags = tls_flags(certificates.name, hosts)
    disk = None
    if not args.no_disk:
        disk, why = disk_for(args.nodes - 1, args.dir)
        if disk is None:
            print("SKIP a full disk: %s" % why)
            skipped += 1

    test = Test(args, network, disk, flags)
    try:
        test.run()
    except (NodeError, HttpFailure, Refused) as e:
        test.tally.check(False, "stopped: %s" % e)
    finally:
        if hasattr(test, "load"):
            test.load.quit.set()
        for node in test.cluster:
            node.kill_tree()
    if hasattr(test, "load"):
        test.summary()
    if test.tally.failed:
        test.cluster.dump_logs()
        print("seed %d, data kept in %s" % (args.seed, " ".join(n.work_dir for n in test.cluster)))
    else:
        test.cluster.remove()
    if disk:
        subprocess.run(["umount", "-l", disk[1]], check=False)
        os.rmdir(disk[1])
    certificates.cleanup()
    return test.tally.finish(skipped)


if __name__ == "__main__":
    sys.exit(main())
