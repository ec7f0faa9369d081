#!/usr/bin/env python3
"""rqd doctor: what it says of good and of broken hosts, and its exit codes."""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster_nodes import wait_for, wait_links
from rqnode import HttpFailure, Node, Tally, exit_on_sigterm, free_port

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
RANK = {"OK": 0, "UNKNOWN": 1, "WARNING": 2, "CRITICAL": 3}


class Doctor:
    def __init__(self, t, rqd):
        self.t = t
        self.rqd = os.path.abspath(rqd)

    def run(self, *words, env=None, **options):
        done = subprocess.run([self.rqd, "doctor", "--json", *words], capture_output=True, text=True,
                              env={**os.environ, **(env or {})}, **options)
        try:
            result = json.loads(done.stdout)
        except ValueError:
            self.t.check(False, "JSON: %r %r" % (done.stdout, done.stderr))
            return {"state": "?", "checks": []}
        worst = max((c["state"] for c in result["checks"]), key=RANK.get)
        self.t.check(result["state"] == worst and done.returncode == STATES.index(worst) == result["exit_code"],
                     "exit code %s is the worst of %s" % (done.returncode, [c["state"] for c in result["checks"]]))
        return result

    def expect(self, result, check, state, text):
        found = [c for c in result["checks"] if c["check"] == check]
        return self.t.check(any(c["state"] == state and text in c["text"] for c in found),
                            "%s is %s and says %r: %r" % (check, state, text, found))


def ports_of(node):
    return ["-node-id", node.node_id, "-http-addr", node.address(), "-raft-addr", node.raft_address()]


def some_ports():
    return ["-http-addr", "127.0.0.1:%d" % free_port(), "-raft-addr", "127.0.0.1:%d" % free_port()]


def check_new_host(t, d, parent):
    data = os.path.join(parent, "new")
    result = d.run(*some_ports(), data)
    d.expect(result, "config", "OK", "valid")
    d.expect(result, "folders", "OK", "doesn't exist yet")
    d.expect(result, "ports", "OK", "is free")
    sync = next((c for c in result["checks"] if c["check"] == "disk.sync"), None)
    t.check(sync is not None and 0 < sync["values"]["p50_us"] <= sync["values"]["p99_us"] <= sync["values"]["max_us"], "times of fdatasync: %r" % sync)
    t.check({"disk.type", "disk.space", "disk.inodes", "clock", "limits", "memory"} <= {c["check"] for c in result["checks"]}, "all checks are there")
    t.check(os.listdir(parent) == [], "nothing is left behind: %r" % os.listdir(parent))
    quick = d.run("--quick", *some_ports(), data)
    t.check(not any(c["check"] == "disk.sync" for c in quick["checks"]), "--quick doesn't measure")
    text = subprocess.run([d.rqd, "doctor", "--quick", *some_ports(), data], capture_output=True, text=True).stdout
    t.check(text.startswith("rq " + quick["state"]), "the first line is the verdict: %r" % text[:80])
    done = subprocess.run([d.rqd, "doctor", "--help"], capture_output=True, text=True)
    t.check(done.returncode == 0 and "Exit codes: 0 OK" in done.stdout, "--help")
    bad = d.run("-http-adr", "x", data)
    d.expect(bad, "config", "CRITICAL", "did you mean -http-addr")
    bad = d.run("-config", os.path.join(parent, "none.conf"), data)
    d.expect(bad, "config", "CRITICAL", "none.conf")
    far = d.run("--quick", "-http-addr", "192.0.2.1:4001", "-raft-addr", "127.0.0.1:%d" % free_port(), data)
    d.expect(far, "ports", "CRITICAL", "192.0.2.1:4001: Cannot assign")


def check_running(t, d, parent):
    node = Node(d.rqd, parent)
    node.start()
    node.wait_ready()
    flags = ports_of(node) + [node.data_dir]
    result = d.run("--quick", *flags)
    d.expect(result, "ports", "OK", "is this node's")
    d.expect(result, "cluster", "OK", "1 of 1 members answer, one leads")
    d.expect(result, "running", "OK", "this node is ready")
    d.expect(result, "versions", "OK", "n1 0.")
    d.expect(result, "sockets", "OK", "run")
    t.check(result["node"] == "n1" and result["data_dir"] == node.data_dir, "the head")
    own = d.run("--quick", node.data_dir)
    d.expect(own, "ports", "OK", "-http-addr %s is this node's" % node.address())
    d.expect(own, "ports", "OK", "-raft-addr %s is this node's" % node.raft_address())
    t.check(own["node"] == "n1", "the data directory alone tells which node it is: %r" % own["node"])
    other = "127.0.0.1:%d" % free_port()
    d.expect(d.run("--quick", "-raft-addr", other, node.data_dir), "ports", "CRITICAL", other)
    check_not_running(d, node)
    d.expect(d.run("--quick", node.data_dir), "ports", "OK", "-http-addr %s is free" % node.address())

    result = d.run("--quick", *flags)
    d.expect(result, "ports", "OK", "is free")
    store = os.path.join(node.data_dir, "store")
    os.chmod(store, 0o755)
    d.expect(d.run("--quick", *flags), "folders", "WARNING", "has mode 0755: others can read")
    os.chmod(store, 0o700)
    if os.geteuid() == 0:
        os.chown(store, 65534, -1) # as after a start as root: the files are root's
        d.expect(d.run("--quick", *flags), "folders", "CRITICAL", "its folder to")
        os.chown(store, 0, -1)
        os.chmod(parent, 0o755)
        os.chmod(node.work_dir, 0o755)
        stranger = d.run("--quick", *flags, user=65534, group=65534, cwd="/")
        d.expect(stranger, "folders", "UNKNOWN", "")
    os.rename(store, store + ".away")
    d.expect(d.run("--quick", *flags), "folders", "CRITICAL", "has consensus/ but not store/")
    node.remove()


def check_not_running(d, node):
    """What a monitoring system must learn first: a node that was killed, or can't serve. It is left stopped."""
    node.kill_tree()
    d.expect(d.run("--quick", node.data_dir), "running", "CRITICAL", "it doesn't run")
    node.start()
    node.wait_ready()
    d.expect(d.run("--quick", node.data_dir), "running", "OK", "ready")
    node.stop()
    d.expect(d.run("--quick", node.data_dir), "running", "WARNING", "the node is stopped")


def check_taken_port(t, d, parent):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        for flag, other in (("-http-addr", "-raft-addr"), ("-raft-addr", "-http-addr")):
            result = d.run("--quick", flag, address, other, "127.0.0.1:%d" % free_port(), os.path.join(parent, "x"))
            d.expect(result, "ports", "CRITICAL", "is taken, and not by a node that answers")


def check_cluster(t, d, parent):
    nodes = [Node(d.rqd, parent, node_id="n%d" % i) for i in (1, 2, 3)]
    join = ",".join(n.raft_address() for n in nodes)
    for node in nodes:
        node.command[-1:-1] = ["-bootstrap-expect", "3", "-join", join]
        node.start()
    for node in nodes:
        node.wait_ready()
    wait_links(nodes)
    flags = ports_of(nodes[0]) + ["-bootstrap-expect", "3", "-join", join, nodes[0].data_dir]
    result = d.run("--quick", *flags)
    d.expect(result, "cluster", "OK", "3 of 3 members answer, one leads")
    d.expect(result, "versions", "OK", "n3 ")
    nodes[2].stop()
    wait_for("it is missed", 30, lambda: not json.loads(nodes[0].client().request("GET", "/nodes").body)["n3"]["reachable"], 0.1)
    result = d.run("--quick", *flags)
    d.expect(result, "nodes", "CRITICAL", "n3 at %s can't be reached" % nodes[2].raft_address())
    nodes[1].kill_tree()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and nodes[0].client().request("GET", "/readyz").status == 200:
        time.sleep(0.1)
    d.expect(d.run("--quick", *flags), "running", "CRITICAL", "this node isn't ready: leader")
    for node in nodes:
        if node.root.poll() is None:
            node.stop()
        node.remove()


def check_file_systems(t, d, parent):
    """False: no file system may be mounted here."""
    mount = os.path.join(parent, "small")
    os.makedirs(mount)
    inside = ("mount -t tmpfs -o size=48m tmpfs %s && exec %s doctor --json --quick %s %s/data" %
              (mount, d.rqd, " ".join(some_ports()), mount))
    unshare = ["unshare", "--mount", "--propagation", "private"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    if subprocess.run(unshare + ["mount", "-t", "tmpfs", "tmpfs", mount], capture_output=True).returncode != 0:
        return False
    done = subprocess.run(unshare + ["sh", "-c", inside], capture_output=True, text=True)
    result = json.loads(done.stdout)
    d.expect(result, "disk.type", "WARNING", "is on tmpfs: it is memory")
    d.expect(result, "disk.space", "CRITICAL", "are free")
    t.check(done.returncode == 2, "a full disk is critical")
    return True


def check_users(t, d, parent):
    """False: there are no users yet."""
    users, credentials = os.path.join(parent, "users.json"), os.path.join(parent, "credentials")
    for path, text in ((users, '[{"username": "watch", "password": "open sesame", "perms": ["status", "ready"]}]'), (credentials, "nothing\n")):
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o600)
    result = d.run("--quick", "--credentials", credentials, *some_ports(), os.path.join(parent, "x"))
    d.expect(result, "files", "CRITICAL", "there is no line name:password")
    with open(credentials, "w") as f:
        f.write("watch:open sesame\n")
    os.chmod(credentials, 0o644)
    result = d.run("--quick", "--credentials=" + credentials, *some_ports(), os.path.join(parent, "x"))
    d.expect(result, "files", "CRITICAL", "others can read the password")
    t.check("sesame" not in json.dumps(result), "the password isn't shown")
    os.chmod(credentials, 0o600)
    if any("not available yet" in c["text"] for c in d.run("-auth", users, *some_ports(), parent)["checks"]):
        return False
    node = Node(d.rqd, parent, flags=["-auth", users])
    node.start()
    deadline = time.monotonic() + 30
    client = node.client(2)
    while time.monotonic() < deadline:
        try:
            if client.request("GET", "/readyz").status == 401:
                break
        except HttpFailure:
            time.sleep(0.05)
    flags = ports_of(node) + ["-auth", users, node.data_dir]
    d.expect(d.run("--quick", *flags), "nodes", "UNKNOWN", "wants a user")
    deadline = time.monotonic() + 20 # until it leads
    while time.monotonic() < deadline:
        result = d.run("--quick", "--credentials", credentials, *flags)
        if any(c["check"] == "cluster" and c["state"] == "OK" for c in result["checks"]):
            break
    d.expect(result, "cluster", "OK", "1 of 1 members answer")
    d.expect(result, "files", "OK", "-auth %s has mode 0600" % users)
    node.stop()
    node.remove()
    return True


def make_certificate(folder, name, days):
    cert, key = os.path.join(folder, name + ".crt"), os.path.join(folder, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name,
                    "-days", str(days), "-keyout", key, "-out", cert], check=True, capture_output=True)
    os.chmod(key, 0o600)
    return cert, key


def check_certificates(t, d, parent):
    """False: HTTPS isn't available yet."""
    folder = os.path.join(parent, "certificates")
    os.makedirs(folder)
    good, old = make_certificate(folder, "good", 365), make_certificate(folder, "old", 3)
    flags = ["--quick", *some_ports(), os.path.join(folder, "data")]
    result = d.run("-node-cert", good[0], "-node-key", good[1], "-node-ca-cert", old[0], *flags)
    d.expect(result, "certificates", "OK", "-node-cert %s: /CN=good is valid for 36" % good[0])
    d.expect(result, "certificates", "OK", "good.key fits its certificate")
    d.expect(result, "certificates", "CRITICAL", "-node-ca-cert %s: /CN=old" % old[0])
    result = d.run("-node-cert", old[0], "-node-key", good[1], "-node-ca-cert", good[0], *flags)
    d.expect(result, "certificates", "CRITICAL", "/CN=old is valid for")
    d.expect(result, "certificates", "CRITICAL", "good.key belongs to another certificate")
    os.chmod(good[1], 0o644)
    result = d.run("-node-cert", good[0], "-node-key", good[1], *flags)
    d.expect(result, "files", "CRITICAL", "every user can read it")
    with open(os.path.join(folder, "empty.crt"), "w") as f:
        f.write("nothing\n")
    result = d.run("-node-cert", f.name, "-node-key", old[1], "-node-ca-cert", f.name, *flags)
    d.expect(result, "certificates", "CRITICAL", "no certificate is in it")
    os.chmod(good[1], 0o600)
    result = d.run("-http-cert", good[0], "-http-key", good[1], *flags)
    if any("not available yet" in c["text"] for c in result["checks"]):
        return False
    d.expect(result, "certificates", "OK", "-http-cert %s: /CN=good is valid for 36" % good[0])
    return True


def check_ways_to_it(t, d, parent):
    """The address that it tells others leads nowhere from here; it has only a unix socket; it wants a certificate."""
    for address in ("unix:%s/s.sock" % parent, "127.0.0.1:%d" % free_port(), "0.0.0.0:%d" % free_port()):
        node = Node(d.rqd, parent)
        node.command[node.command.index("-http-addr") + 1] = address
        node.command[-1:-1] = ["-http-adv-addr", "db1.example.invalid:4001"]
        node.start()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            result = d.run("--quick", node.data_dir)
            if any(c["check"] == "running" and c["state"] == "OK" for c in result["checks"]):
                break
        d.expect(result, "running", "OK", "this node is ready")
        d.expect(result, "cluster", "OK", "1 of 1 members answer, one leads")
        t.check(not any(c["check"] in ("nodes", "ports") and c["state"] != "OK" for c in result["checks"]), "%s: %s" % (address, result["checks"]))
        node.stop()
        node.remove()
    cert, key = make_certificate(parent, "both", 365)
    node = Node(d.rqd, parent, flags=["-http-cert", cert, "-http-key", key, "-http-ca-cert", cert, "-http-verify-client"])
    node.start()
    shown = ["--client-cert", cert, "--client-key=" + key, node.data_dir]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        result = d.run("--quick", *shown)
        if any(c["check"] == "running" and c["state"] == "OK" for c in result["checks"]):
            break
    d.expect(result, "running", "OK", "this node is ready")
    d.expect(result, "cluster", "OK", "1 of 1 members answer, one leads")
    result = d.run("--quick", node.data_dir)
    d.expect(result, "running", "UNKNOWN", "wants a client's certificate")
    t.check(not any(c["state"] == "CRITICAL" for c in result["checks"]), "without a certificate it isn't known, not wrong: %s" % result["checks"])
    node.stop()
    node.remove()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rqd", required=True)
    args = parser.parse_args()
    exit_on_sigterm()
    t, skipped = Tally(), 0
    d = Doctor(t, args.rqd)
    for check in (check_new_host, check_running, check_taken_port, check_cluster, check_file_systems, check_users, check_certificates, check_ways_to_it):
        folder = tempfile.mkdtemp(prefix="rqtest-")
        if check(t, d, folder) is False:
            print("SKIPPED: %s: not possible here" % check.__name__, flush=True)
            skipped += 1
        shutil.rmtree(folder, ignore_errors=True)
    return t.finish(skipped=skipped)


if __name__ == "__main__":
    sys.exit(main())
