#!/usr/bin/env python3
"""TLS between the nodes of real clusters: the commands of docs/operations.md make the certificates;
clusters form with them, change over to them and to new ones while clients write, and refuse who
has none. Words on both sides, and exit codes of what can't be.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases
from cluster_nodes import Cluster, Refused, ask, execute, query, signal_all, wait_for
from rqnode import HttpFailure, NodeError

import json

HERE = os.path.dirname(os.path.abspath(__file__))
OPERATIONS = os.path.join(HERE, "../../docs/operations.md")
NAME = "rq-node"            # common name of the documented certificates


def documented_commands():
    """The shell commands under "#### Certificates"; each node's address becomes the loopback's."""
    with open(OPERATIONS) as f:
        section = f.read().split("\n#### Certificates\n")[1].split("\n#### ")[0]
    lines = [line[4:] for line in section.split("\n") if line.startswith("    ")]
    return re.sub(r"10\.0\.0\.\$?\{?[0-9n]\}?", "127.0.0.1", "\n".join(lines))


def make_certificates(folder):
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["sh", "-e", "-c", documented_commands()], cwd=folder, check=True, capture_output=True)


class Writer:
    """A client that writes at one node until it is told to stop; a write that fails is kept."""

    def __init__(self, node, name):
        self.node = node
        self.name = name
        self.quit = threading.Event()
        self.away = False               # its node is being restarted
        self.acked, self.failed = 0, []
        self.longest = 0.0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        client = self.node.client(30.0)
        n = 0
        while not self.quit.is_set():
            n += 1
            begin = time.monotonic()
            away = self.away
            try:
                execute(self.node, ["INSERT INTO t(v) VALUES(?)", "%s-%d" % (self.name, n)], client=client)
                self.acked += 1
                self.longest = max(self.longest, time.monotonic() - begin)
            except (HttpFailure, Refused) as e:
                if not away and not self.away:
                    self.failed.append(str(e))
                time.sleep(0.05)
            time.sleep(0.01)
        client.close()

    def stop(self):
        self.quit.set()
        self.thread.join(40)


class Case(cases.Case):
    def __init__(self, name, args, tally):
        super().__init__(name, args, tally)
        self.folder = tempfile.mkdtemp(prefix="rqtest-tls-", dir=args.dir)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def flags(self, number, *more, folder=".", ca="ca.pem"):
        """Those of the documentation, of a node by its number from 1."""
        return ["-node-cert", self.path(folder, "n%d.pem" % number), "-node-key", self.path(folder, "n%d-key.pem" % number),
                "-node-ca-cert", self.path(folder, ca), *more]

    def cluster(self, flags_of, size=3):
        cluster = Cluster(self.args.rqd, size, self.args.dir, self.args.flag)
        self.nodes.extend(cluster)
        for i, node in enumerate(cluster):
            node.plain_command = list(node.command)
            set_flags(node, flags_of(i + 1))
        return cluster

    def formed(self, flags_of, size=3):
        cluster = self.cluster(flags_of, size)
        cluster.start()
        cluster.wait_ready(60)
        execute(cluster[0], "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
        return cluster

    def log_says(self, node, pattern, seconds=20):
        try:
            wait_for(pattern, seconds, lambda: re.search(pattern, node.log()), 0.05)
            return self.check(True, "")
        except NodeError:
            node.dump_log(8)
            return self.check(False, "the log of %s lacks: %s" % (node.node_id, pattern))

    def log_count(self, node, pattern):
        return len(re.findall(pattern, node.log()))

    def end(self, failed):
        for node in self.nodes:
            broken = re.findall(r".*(?:Sanitizer|SIGSEGV|SIGABRT|runtime error).*", node.log()) if os.path.exists(node.log_path) else []
            failed |= not self.check(not broken, "log of %s: %s" % (node.node_id, broken[:2]))
        super().end(failed)
        shutil.rmtree(self.folder, ignore_errors=True)


def set_flags(node, flags):
    node.command = [*node.plain_command[:-1], *flags, node.plain_command[-1]]


def members(node):
    response = ask(node, "GET", "/status?key=store.nodes", timeout=5.0)
    return json.loads(response.body) if response.status == 200 else []


def links(cluster):
    """Of each node, whether its links to the others are encrypted; None: not up."""
    return [sorted(str(m.get("tls")) for m in members(node) if m["id"] != node.node_id) for node in cluster]


def wait_links(cluster, encrypted):
    wanted = [[str(encrypted)] * (len(cluster) - 1)] * len(cluster)
    return wait_for("links with TLS: %s" % encrypted, 20, lambda: links(cluster) == wanted, 0.05)


def restart(case, node, writers, flags):
    """As an operator does it: stop, other flags, start, wait."""
    for w in writers:
        if w.node is node:
            w.away = True
    case.check(node.stop() == 0, "%s doesn't stop" % node.node_id)
    set_flags(node, flags)
    node.start()
    node.wait_ready(60)
    for w in writers:
        if w.node is node:
            w.away = False


def finish_writers(case, cluster, writers):
    for w in writers:
        w.stop()
    for w in writers:
        case.check(not w.failed, "writes failed at %s: %d, first: %s" % (w.node.node_id, len(w.failed), w.failed[:1]))
        case.check(w.acked > 0, "no write at " + w.node.node_id)
    total = sum(w.acked for w in writers)
    for node in cluster:
        (count,), = query(node, "SELECT count(*) FROM t", "strong")
        case.check(count >= total, "%s has %d rows of %d acknowledged" % (node.node_id, count, total))
    print("    %d writes, the longest %.0f ms" % (total, 1000 * max(w.longest for w in writers)), flush=True)


# ---------------------------------------------------------------------------- tests

def forms_as_documented(c):
    make_certificates(c.folder)
    cluster = c.formed(lambda n: c.flags(n, "-node-verify-client", "-node-verify-common-name", NAME))
    wait_links(cluster, True)
    for node in cluster:
        execute(node, ["INSERT INTO t(v) VALUES(?)", node.node_id])
    for node in cluster:
        c.check(query(node, "SELECT count(*) FROM t", "linearizable") == [(3,)], "rows at " + node.node_id)
        c.log_says(node, "Enabling node-to-node encryption with cert: .*mutual TLS enabled")
    status = json.loads(ask(cluster[0], "GET", "/status?key=store.raft.tls").body)
    c.check(status.get("enabled") is True and status.get("expires_s", 0) > time.time(), "status: %s" % status)
    leader = cluster.leader()
    leader.kill_tree()
    others = [n for n in cluster if n is not leader]
    wait_for("a write without the leader", 10, lambda: execute(others[0], ["INSERT INTO t(v) VALUES(?)", "x"], timeout=5.0))
    leader.start()
    leader.wait_ready(30)
    wait_links(cluster, True)


def changes_over_while_clients_write(c):
    """From plain to TLS and back, one node after the other."""
    make_certificates(c.folder)
    cluster = c.formed(lambda n: [])
    c.check(links(cluster) == [["False", "False"]] * 3, "plain links: %s" % links(cluster))
    writers = [Writer(node, node.node_id) for node in cluster]
    steps = [lambda n: c.flags(n, "-node-verify-client", "-node-tls-transition"), lambda n: c.flags(n, "-node-verify-client"),
             lambda n: c.flags(n, "-node-tls-transition"), lambda n: []]
    for number, flags_of in enumerate(steps):
        for i, node in enumerate(cluster):
            restart(c, node, writers, flags_of(i + 1))
        wait_links(cluster, number < 3)
    finish_writers(c, cluster, writers)


def takes_new_certificates_while_clients_write(c):
    """From one authority to another; links stay up, and nobody fails."""
    make_certificates(c.path("old"))
    make_certificates(c.path("new"))
    shutil.copytree(c.path("old"), c.path("live"))
    cluster = c.formed(lambda n: c.flags(n, "-node-verify-client", folder="live"))
    wait_links(cluster, True)
    writers = [Writer(node, node.node_id) for node in cluster]
    lost_before = [c.log_count(node, "Lost node") for node in cluster]

    def put(name, *sources):
        text = b"".join(open(c.path(*s.split("/")), "rb").read() for s in sources)
        with open(c.path("live", name + ".tmp"), "wb") as f:
            f.write(text)
        os.rename(c.path("live", name + ".tmp"), c.path("live", name))

    put("ca.pem", "old/ca.pem", "new/ca.pem")
    for node in cluster:
        c.log_says(node, "read the certificate .*live/n. anew|read the certificate .*live/n..pem anew")
    for n in (1, 2, 3):
        put("n%d-key.pem" % n, "new/n%d-key.pem" % n)
        put("n%d.pem" % n, "new/n%d.pem" % n)
    for node in cluster:
        wait_for("the new certificate", 20, lambda node=node: c.log_count(node, "pem anew") >= 2, 0.05)
    put("ca.pem", "new/ca.pem")
    for node in cluster:
        signal_all(node.find("rq-consensus"), signal.SIGHUP)
    for node in cluster:
        wait_for("the new authority", 20, lambda node=node: c.log_count(node, "pem anew") >= 3, 0.05)
    lost = [c.log_count(node, "Lost node") for node in cluster]
    c.check(lost == lost_before, "links were lost: %s, before %s" % (lost, lost_before))
    # New connections are made with the new ones alone.
    for i, node in enumerate(cluster):
        restart(c, node, writers, c.flags(i + 1, "-node-verify-client", folder="live"))
    wait_links(cluster, True)

    # What is no good is told, and changes nothing.
    with open(c.path("live", "n1.pem"), "w") as f:
        f.write("half a file")
    c.log_says(cluster[0], "the new files can't be used, those read before stay in use: -node-cert: .*n1.pem: has no certificate")
    time.sleep(2.5)
    c.check(c.log_count(cluster[0], "can't be used") == 1, "a bad file is told more than once")
    restart(c, cluster[1], writers, c.flags(2, "-node-verify-client", folder="live"))
    wait_links(cluster, True)
    finish_writers(c, cluster, writers)


def refuses_who_does_not_belong(c):
    """A node without TLS, one of another authority, one of another name, one whose certificate is
    over: each is told why, as are those who refuse it, and the rest goes on."""
    make_certificates(c.folder)
    make_certificates(c.path("foreign"))
    strict = lambda n: c.flags(n, "-node-verify-client", "-node-verify-common-name", NAME)
    cluster = c.formed(strict)
    leader = cluster.leader()
    victim = next(n for n in cluster if n is not leader)
    number = cluster.index(victim) + 1
    ca = ["-CA", "ca.pem", "-CAkey", "ca-key.pem"]
    subprocess.run(["sh", "-e", "-c", """
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=another -keyout a-key.pem -out a.csr
        openssl x509 -req -in a.csr %s -days 5 -extfile n1.ext -out a.pem""" % " ".join(ca)], cwd=c.folder, check=True, capture_output=True)
    named = ["-node-cert", c.path("a.pem"), "-node-key", c.path("a-key.pem"), "-node-ca-cert", c.path("ca.pem")]
    for flags, says_itself, says_leader in (
            ([], "it speaks TLS, this node doesn't: it needs -node-cert", "it speaks without TLS, which this node demands"),
            (c.flags(number, folder="foreign"), "its certificate is not trusted", "its certificate is not trusted|doesn't trust this node's certificate"),
            (named, "it refuses this node's certificate", "its certificate hasn't the common name \"%s\"" % NAME)):
        victim.stop()
        set_flags(victim, flags)
        victim.start()
        c.log_says(victim, says_itself)
        c.log_says(leader, says_leader)
        found = wait_for("the member shown as away", 10, lambda: [
            m for m in members(leader) if m["id"] == victim.node_id and not m["reachable"] and m.get("error")])
        c.check(re.search("certificate|TLS|it does not reach this node|refused|closed|broke", found[0]["error"]), "error: %s" % found[0])
        execute(leader, ["INSERT INTO t(v) VALUES(?)", "x"])
        c.check(c.log_count(leader, "Refused the connection") <= 8, "refusals flood the log")
    restart(c, victim, [], strict(number))
    wait_links(cluster, True)


def tells_what_is_wrong_with_the_configuration(c):
    make_certificates(c.folder)
    with open(c.path("pass-key.pem"), "wb") as f:
        subprocess.run(["openssl", "pkcs8", "-topk8", "-in", c.path("n1-key.pem"), "-passout", "pass:x"], stdout=f, check=True)
    good = c.flags(1)
    cases = [
        (good[:2], "either both -node-cert and -node-key must be set, or neither"),
        (good[4:], "-node-ca-cert requires -node-cert and -node-key"),
        (["-node-verify-client"], "-node-verify-client requires -node-cert and -node-key"),
        (["-node-tls-transition"], "-node-tls-transition requires -node-cert"),
        ([*good, "-node-verify-common-name", "x"], "-node-verify-common-name requires -node-verify-client"),
        (["-node-cert", "/nowhere.pem", *good[2:]], "-node-cert: /nowhere.pem: cannot be read: No such file or directory"),
        ([*good[:2], "-node-key", c.path("n2-key.pem")], "-node-key: .*/n2-key.pem: doesn't belong to the certificate of -node-cert .*/n1.pem"),
        ([*good[:2], "-node-key", c.path("pass-key.pem")], "-node-key: .*/pass-key.pem: has a passphrase"),
        ([*good[:4], "-node-ca-cert", c.path("n1-key.pem")], "-node-ca-cert: .*/n1-key.pem: has no certificate in PEM form"),
    ]
    rqd = os.path.abspath(c.args.rqd)
    consensus = os.path.join(os.path.dirname(rqd), "rq-consensus")
    for flags, says in cases:
        for program, more in ((rqd, ["--check-config"]), (consensus, ["--check-config"]), (rqd, [])):
            done = subprocess.run([program, "-http-addr", "127.0.0.1:23001", "-raft-addr", "127.0.0.1:23002", *flags, *more, c.path("data")],
                                  capture_output=True, text=True, timeout=60, check=False)
            c.check(done.returncode == 78 and re.search(says, done.stderr),
                    "%s %s: %d %s" % (os.path.basename(program), " ".join(flags + more), done.returncode, done.stderr))
    c.check(not os.path.exists(c.path("data", "consensus", "identity")), "a refused configuration has made a node")
    for program in (rqd, consensus):
        done = subprocess.run([program, *good, "--check-config", c.path("data")], capture_output=True, text=True, timeout=60, check=False)
        c.check((done.returncode, done.stdout) == (0, "configuration is valid\n"), "%s: %d %r %r"
                % (program, done.returncode, done.stdout, done.stderr))


TESTS = (forms_as_documented, changes_over_while_clients_write, takes_new_certificates_while_clients_write, refuses_who_does_not_belong,
         tells_what_is_wrong_with_the_configuration)


if __name__ == "__main__":
    sys.exit(cases.main(TESTS, Case, cases.arguments(__doc__).parse_args(), lambda test:
                        "openssl is not installed" if shutil.which("openssl") is None else None))
