#!/usr/bin/env python3
"""The life of a cluster: nodes join, are promoted, move, are replaced, removed and reaped, and a lost
quorum is recovered. Real processes; each test has a cluster of its own.

The commands of docs/operations.md (forming, growing, repairing, moving) are those that are run here.
"""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases
from cluster_nodes import (Refused, ask, dump, execute, launcher_first, leader_of, led, query, raft_state, signal_all, state_of,
                           wait_for, wait_links)
from rqnode import HOST, HttpFailure, free_port, send_signal

TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)"
FAST = ("-join-interval", "500ms", "-join-attempts", "60")
LONG = 30.0


class Case(cases.Case):
    def first(self, name="n1", *flags):
        node = self.node(name, *flags)
        node.wait_ready(LONG)
        execute(node, TABLE)
        return node

    def joined(self, name, *to, flags=()):
        """A fresh node that joins, is ready, and is a voter."""
        node = self.node(name, "-join", join_list(to), *FAST, *flags)
        node.wait_ready(LONG)
        if "-raft-non-voter" not in flags:
            wait_for("%s is a voter" % name, LONG, lambda: members(to[0]).get(name, {}).get("voter"), 0.05)
        return node

    def grown(self, size, flags=()):
        """A cluster of this size, grown from one node."""
        nodes = [self.first("n1", *flags)]
        for i in range(1, size):
            nodes.append(self.joined("n%d" % (i + 1), nodes[0], flags=flags))
        return nodes

    def same_everywhere(self, nodes, expected=None):
        def rows():
            found = [dump(node, ("t",))["t"] for node in nodes]
            return found[:1] if all(f == found[0] for f in found) else None
        values = [row[2] for row in wait_for("the same content everywhere", LONG, rows, 0.05)[0]]
        self.check(expected is None or values == expected, "content is %s, expected %s" % (values[:10], expected and expected[:10]))
        return values


def join_list(nodes):
    return ",".join(n.raft_address() for n in nodes)


def members(node, nonvoters=True):
    """/nodes, by id."""
    response = ask(node, "GET", "/nodes?ver=2" + ("&nonvoters" if nonvoters else ""))
    return {n["id"]: n for n in json.loads(response.body)["nodes"]}


def write(node, value, timeout=LONG, params="timeout=20s"):
    return execute(node, ["INSERT INTO t(v) VALUES(?)", value], params="raft_index&" + params, timeout=timeout)


def remove(node, name, timeout=LONG, **more):
    """(status, text) of DELETE /remove."""
    response = ask(node, "DELETE", "/remove", {"id": name}, timeout, **more)
    return response.status, response.body.decode().strip()


def exits(node, seconds=15.0):
    """Its exit code once it has ended by itself; None: it hasn't."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        code = node.root.poll()
        if code is not None:
            return code
        time.sleep(0.05)
    return None


class Load:
    """Writes without a pause to one node; what was acknowledged must be there at the end."""

    def __init__(self, node):
        self.node = node
        self.acknowledged, self.failed = [], []
        self.ending = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        i = 0
        while not self.ending:
            i += 1
            value = "load %d" % i
            try:
                write(self.node, value, 10.0, "timeout=8s")
                self.acknowledged.append(value)
            except (HttpFailure, Refused, ValueError) as e:
                self.failed.append("%s: %s" % (value, e))

    def end(self):
        self.ending = True
        self.thread.join()
        return self.acknowledged


# ---------------------------------------------------------------------------- growing

def joins_under_load(c):
    n1 = c.first()
    for i in range(50):
        write(n1, "before %d" % i)
    load = Load(n1)
    try:
        n2 = c.joined("n2", n1)
        n3 = c.joined("n3", n2)             # by a node that doesn't lead
    finally:
        acknowledged = load.end()
    c.check(not load.failed, "writes failed while nodes joined: %s" % load.failed[:3])
    c.check(len(acknowledged) > 0, "no write while nodes joined")
    found = c.same_everywhere([n1, n2, n3])
    c.check(set(acknowledged) <= set(found), "acknowledged writes are missing")
    wait_links([n1, n2, n3])
    for node in (n1, n2, n3):
        seen = members(node)
        c.check(sorted(seen) == ["n1", "n2", "n3"] and all(m["voter"] and m["reachable"] for m in seen.values()),
                "%s sees %s" % (node.node_id, seen))
    n1.kill_tree()
    led([n2, n3])
    write(n2, "without the first")          # two of three: they are voters indeed
    n1.start()
    n1.wait_ready(LONG)
    c.same_everywhere([n1, n2, n3])
    # The same command line serves every later start.
    c.check(n3.stop() == 0, "n3 doesn't stop cleanly")
    n3.start()
    n3.wait_ready(LONG)
    c.same_everywhere([n1, n2, n3])


def refuses_what_cannot_be(c):
    """Who is not taken in is told why; who can't be one is ended."""
    n1 = c.first()
    n2 = c.joined("n2", n1)
    # A node id that is taken by a living disk.
    thief = c.node("n2", "-join", join_list([n1]), "-join-interval", "200ms", "-join-attempts", "5")
    wait_for("the thief is told", LONG, lambda: 'node id "n2" belongs to another data directory' in thief.log())
    wait_for("it gives up, and says so", LONG, lambda: "Failed to join the cluster at %s, after 5 attempts" % n1.raft_address() in thief.log())
    thief.kill_tree()
    # Another cluster's data: two clusters never merge.
    other = c.first("m1")
    write(other, "theirs")
    other.stop()
    other.command[-1:-1] = ["-join", join_list([n1, n2]), *FAST]
    other.start()
    c.check(exits(other) == 78, "a single node's data is let into a cluster")
    c.check("node is the only node in a single-node cluster, joining other clusters not supported" in other.log(),
            "a single node isn't told why it can't join")
    # A replica without a cluster, a node that joins itself.
    alone = c.node("n5", "-raft-non-voter")
    c.check(exits(alone) == 78 and "without a cluster to join" in alone.log(), "a replica founded a cluster")
    # An HTTP port taken for a Raft port, which is what people type first.
    lost = c.node("n7", "-join", n1.address())
    wait_for("told what answers there", LONG, lambda: "it answers as an HTTP server: between nodes Raft addresses (-raft-addr) are needed" in lost.log())
    lost.kill_tree()
    # Nobody there: HTTP answers meanwhile, ready is false.
    lonely = c.node("n6", "-join", "http://nonsense", "-join-interval", "1s")
    wait_for("HTTP while joining", LONG, lambda: ask(lonely, "GET", "/readyz?noleader").status == 200)
    c.check(ask(lonely, "GET", "/readyz").status == 503, "ready although it is in no cluster")
    wait_for("its status tells of joining", LONG, lambda: "joining" in state_of(lonely))
    c.check(sorted(members(n1)) == ["n1", "n2"], "members: %s" % members(n1))



def foreign_clusters(c):
    """Two clusters that are given each other's addresses stay two."""
    a = c.grown(2)
    b1 = c.first("b1")
    b2 = c.joined("b2", b1)
    write(a[0], "ours")
    write(b1, "theirs")
    b2.stop()
    b2.command = [join_list(a) if w == join_list([b1]) else w for w in b2.command]
    b2.start()
    b2.wait_ready(LONG)         # it knows where its own are
    lost = c.node("x", "-join", join_list([a[0], b1]), "-join-interval", "500ms", "-join-attempts", "4")
    wait_for("a node between two clusters is told", LONG, lambda: "are of different clusters" in lost.log())
    write(a[1], "ours again")
    write(b2, "theirs again")
    c.same_everywhere(a, ["ours", "ours again"])
    c.same_everywhere([b1, b2], ["theirs", "theirs again"])
    c.check(sorted(members(a[0])) == ["n1", "n2"] and sorted(members(b1)) == ["b1", "b2"], "the clusters mixed")


def store_of_another_cluster(c):
    """A database that got into the place of another cluster's: nobody is shown it, at any level, until the right one is back."""
    a, b = c.first("a1"), c.first("b1")
    write(a, "ours")
    write(b, "theirs")
    a.stop()
    b.stop()
    own, foreign = os.path.join(a.data_dir, "store"), os.path.join(b.data_dir, "store")
    os.rename(own, own + ".kept")
    shutil.copytree(foreign, own)
    a.start()
    wait_for("it is told", LONG, lambda: "The store doesn't fit the log: it belongs to another cluster" in a.log())
    for level in ("none", "weak", "linearizable", "strong"):
        answer = ask(a, "GET", "/db/query?q=SELECT%20v%20FROM%20t&level=" + level)
        c.check(answer.status == 503 and b"does not belong to its log" in answer.body and b"theirs" not in answer.body,
                "level %s: %d %r" % (level, answer.status, answer.body))
    answer = ask(a, "GET", "/db/backup?noleader")
    c.check(answer.status == 503, "a backup of it: %d" % answer.status)
    status = ask(a, "GET", "/status").body
    c.check(b"serving nothing, at entry" in status, "status: %r" % status)
    a.stop()
    shutil.rmtree(own)
    os.rename(own + ".kept", own)
    a.start()
    c.check(wait_for("its own is back", LONG, lambda: query(a, "SELECT v FROM t", "none")) == [("ours",)], "not its own data")


def read_replica(c):
    n1 = c.first()
    write(n1, "a")
    replica = c.joined("r1", n1, flags=("-raft-non-voter",))
    c.check(query(replica, "SELECT v FROM t", "none") == [("a",)] or
            wait_for("the replica has it", LONG, lambda: query(replica, "SELECT v FROM t", "none") == [("a",)]), "replica")
    write(replica, "by the replica")
    for i in range(3):          # rounds of catching up, after each of which another node would become a voter
        at = write(n1, "round %d" % i)["raft_index"]
        wait_for("the replica follows", LONG, lambda: int(state_of(replica)["applied_index"]) >= at)
        c.stays("the replica is no voter", 0.6, lambda: members(n1)["r1"]["voter"] is False)
    wait_links([n1, replica])
    for node in (n1, replica):
        c.check(sorted(members(node, False)) == ["n1"], "%s shows replicas as members: %s" % (node.node_id, members(node, False)))
        seen = members(node).get("r1", {})
        c.check(seen.get("voter") is False and seen.get("reachable"), "%s of the replica: %s" % (node.node_id, seen))
    state = raft_state(replica) or {}
    c.check((state.get("state"), state.get("voter"), state.get("learner")) == ("Follower", False, True), "state: %s" % state)
    replica.kill_tree()
    write(n1, "without it")     # it doesn't count
    replica.start()
    replica.wait_ready(LONG)
    c.same_everywhere([n1, replica], ["a", "by the replica", "round 0", "round 1", "round 2", "without it"])
    # What it is was decided when it was taken in: another flag is told, and does nothing until it is removed.
    c.check(replica.stop() == 0, "the replica doesn't stop cleanly")
    replica.command.remove("-raft-non-voter")
    replica.start()
    replica.wait_ready(LONG)
    c.check('Node "r1" is a read replica, as its log says, and stays one without -raft-non-voter' in replica.log(), "a changed role isn't told of")
    c.check(members(n1)["r1"]["voter"] is False, "a replica became a voter by a flag")
    c.check(remove(n1, "r1")[0] == 200, "the replica isn't removed")
    replica.stop()
    replica.start()
    wait_for("removed, and back as a voter", LONG, lambda: members(n1).get("r1", {}).get("voter"))
    replica.wait_ready(LONG) # the leader's list is ahead of what this node's gateway has heard
    status, text = remove(replica, "r1")
    c.check(status == 200, "a replica removes itself: %d %s" % (status, text))
    c.check(sorted(members(n1)) == ["n1"], "members: %s" % members(n1))


def seven(c):
    """From one to seven, all at once, and back to three."""
    n1 = c.first()
    for i in range(20):
        write(n1, "v %d" % i)
    others = [c.node("n%d" % i, "-join", n1.raft_address(), *FAST) for i in range(2, 8)]
    wait_for("seven voters", 60, lambda: sum(m["voter"] and m["reachable"] for m in members(n1).values()) == 7, 0.1)
    nodes = [n1, *others]
    values = c.same_everywhere(nodes)
    c.check(len(values) == 20, "content: %d rows" % len(values))
    for name in ("n7", "n6", "n5", "n4"):
        status, text = remove(others[0], name)
        c.check(status == 200, "removing %s: %d %s" % (name, status, text))
    wait_for("three", LONG, lambda: sorted(members(n1)) == ["n1", "n2", "n3"])
    write(n1, "as three")
    c.same_everywhere(nodes[:3])


# ---------------------------------------------------------------------------- removing

def removing(c):
    nodes = c.grown(3)
    n1, n2, n3 = nodes
    write(n1, "a")
    for body in ("{}", "", '{"id":1}', '["n1"]', '{"id":"n1","x":1}'):
        client = n1.client()
        response = client.request("DELETE", "/remove", body, {"Content-Type": "application/json"})
        client.close()
        c.check(response.status == 400 and response.body == b"", "DELETE /remove %s: %d %r" % (body, response.status, response.body))
    c.check(remove(n1, "nobody") == (200, ""), "an unknown node: %s" % (remove(n1, "nobody"),))
    # One is down: the quorum of the rest would be lost.
    leader = leader_of(nodes)
    down, up = [n for n in nodes if n is not leader]
    down.kill_tree()
    wait_for("it is seen", LONG, lambda: not members(leader)[down.node_id]["reachable"])
    status, text = remove(leader, up.node_id)
    c.check(status == 500 and "lose its quorum" in text and down.node_id in text, "refusal: %d %s" % (status, text))
    c.check(sorted(members(leader)) == ["n1", "n2", "n3"], "a refused removal changed something")
    status, text = remove(up, down.node_id)         # any node may be asked
    c.check(status == 200, "removing the dead one: %d %s" % (status, text))
    wait_for("two", LONG, lambda: len(members(leader)) == 2 and len(members(up)) == 2)
    write(up, "as two")
    # The dead one comes back with its old data, and without -join: it is told, and disturbs nobody.
    before = state_of(leader)["term"]
    command = list(down.command)
    if "-join" in command:
        del command[command.index("-join"):command.index("-join") + 2]
    down.command, rejoin = command, down.command
    down.start()
    wait_for("it is told", LONG, lambda: "was removed from the cluster" in down.log())
    own = wait_for("its status tells the term", LONG, lambda: (raft_state(down) or {}).get("term"))
    c.stays("a removed node makes no election", 3.0, lambda: state_of(leader)["term"] == before and state_of(leader)["state"] == "Leader" and
            state_of(down)["term"] == own)
    write(up, "undisturbed")
    c.check((raft_state(down) or {}).get("removed") is True, "its status doesn't say so")
    c.check((raft_state(down) or {}).get("state") == "Removed", "its state is %s" % (raft_state(down) or {}).get("state"))
    try:
        write(down, "wrong", 10.0, "timeout=1s")
        c.check(False, "a removed node takes writes")
    except Refused as e:
        c.check(e.status == 503 and ("removed" in e.text or "leader not found" in e.text), "a removed node's refusal: %s" % e)
    # With -join it comes back, as it was: the data that it has is not sent again.
    down.stop()
    down.command = rejoin if "-join" in rejoin else rejoin[:-1] + ["-join", join_list([leader, up]), *FAST] + rejoin[-1:]
    down.start()
    wait_for("it is a voter again", LONG, lambda: members(leader).get(down.node_id, {}).get("voter"))
    write(down, "as three again")
    c.same_everywhere(nodes, ["a", "as two", "undisturbed", "as three again"])


def leader_removes_itself(c):
    nodes = c.grown(3)
    leader = leader_of(nodes)
    rest = [n for n in nodes if n is not leader]
    load = Load(rest[0])
    try:
        time.sleep(0.5)
        status, text = remove(leader, leader.node_id)
        c.check(status == 200, "the leader removes itself: %d %s" % (status, text))
        wait_for("two", LONG, lambda: len(members(rest[0])) == 2)
        time.sleep(0.5)
    finally:
        acknowledged = load.end()
    c.check(not load.failed, "writes failed: %s" % load.failed[:3])
    found = c.same_everywhere(rest)
    c.check(set(acknowledged) <= set(found), "acknowledged writes are missing")
    # The last two: one more can go, then nobody.
    for node in rest:
        status, text = remove(node, node.node_id)
        want = 200 if node is rest[0] else 500
        c.check(status == want, "removing %s: %d %s" % (node.node_id, status, text))
    c.check("only voter" in text, "the last voter: %s" % text)
    write(rest[1], "alone")


def leaves_when_it_stops(c):
    nodes = c.grown(3, ("-raft-cluster-remove-shutdown",))
    n1 = nodes[0]
    leader = leader_of(nodes)
    follower = next(n for n in nodes[1:] if n is not leader)
    c.check(follower.stop() == 0, "it doesn't stop cleanly")
    rest = [n for n in nodes if n is not follower]
    wait_for("two", LONG, lambda: len(members(rest[0])) == 2)
    leader = leader_of(rest)
    other = next(n for n in rest if n is not leader)
    c.check(leader.stop() == 0, "the leader doesn't stop cleanly")
    wait_for("one", LONG, lambda: len(members(other)) == 1)
    write(other, "alone")
    # The same command line brings it back, where that names who is there still.
    follower.command = [other.raft_address() if w == n1.raft_address() and other is not n1 and follower.command[i - 1] == "-join" else w
                        for i, w in enumerate(follower.command)]
    follower.start()
    wait_for("it is back", LONG, lambda: members(other).get(follower.node_id, {}).get("voter"))
    c.same_everywhere([other, follower], ["alone"])


def reaping(c):
    flags = ("-raft-reap-node-timeout", "2s", "-raft-reap-read-only-node-timeout", "1s")
    nodes = c.grown(3, flags)
    replica = c.joined("r1", nodes[0], flags=("-raft-non-voter", *flags))
    leader = leader_of(nodes)
    dead = next(n for n in nodes if n is not leader)
    replica.kill_tree()
    wait_for("the replica is reaped", LONG, lambda: "r1" not in members(leader))
    c.check(len(members(leader)) == 3, "more than the replica was reaped")
    dead.kill_tree()
    wait_for("the voter is reaped", LONG, lambda: dead.node_id not in members(leader))
    c.stays("no living node is reaped", 2.5, lambda: len(members(leader)) == 2)
    write(leader, "as two")
    c.check("is removed (-raft-reap-node-timeout)" in leader.log(), "no word of it in the log")


# ---------------------------------------------------------------------------- repairing, moving

def wiped_disk(c):
    """Its folder is lost; the same command line brings it back as a new disk under the old id."""
    nodes = c.grown(3)
    for i in range(10):
        write(nodes[0], "v %d" % i)
    leader = leader_of(nodes)
    wiped = next(n for n in nodes if n is not leader)
    first = [n for n in nodes if n is not wiped]
    if "-join" not in wiped.command:
        wiped.command[-1:-1] = ["-join", join_list(first), *FAST]
    before = state_of(wiped)["disk_uuid"]
    wiped.kill_tree()
    shutil.rmtree(wiped.data_dir)
    wiped.start()
    wait_for("it is a voter again", LONG, lambda: (lambda m: len(m) == 3 and m[wiped.node_id]["voter"] and m[wiped.node_id]["reachable"])(members(leader)))
    c.check(state_of(wiped)["disk_uuid"] != before, "the disk uuid is the old one")
    listed = state_of(leader)["latest_configuration"]
    c.check(listed.count("ID:" + wiped.node_id) == 1, "both disks are members: %s" % listed)
    write(wiped, "again")
    c.same_everywhere(nodes)
    # It counts: with one of the others away there is a majority.
    other = next(n for n in first if n is not leader)
    other.kill_tree()
    write(leader, "with the new disk")


def moved(c, nodes, all_at_once):
    for node in nodes:
        if all_at_once or node is nodes[0]:
            c.check(node.stop() == 0, "it doesn't stop cleanly")
    moving = nodes if all_at_once else nodes[:1]
    for node in moving:
        old_http, old_raft = node.address(), node.raft_address()
        node.http_port, node.raft_port = free_port(), free_port()
        node.command = [node.address() if w == old_http else node.raft_address() if w == old_raft else w for w in node.command]
    for node in moving:
        command = node.command
        others = join_list(n for n in nodes if n is not node)
        if "-join" in command:
            command[command.index("-join") + 1] = others
        else:
            command[-1:-1] = ["-join", others]
        node.start()
    for node in nodes:
        node.wait_ready(LONG)
    wait_for("the new addresses are known", LONG, lambda: all(
        members(n).get(m.node_id, {}).get("addr") == m.raft_address() and members(n)[m.node_id]["api_addr"].endswith(m.address())
        for n in nodes for m in nodes), 0.05)


def wiped_founder(c):
    """The same for one that has founded: its command line is the founders', and says nothing of joining."""
    ports = [(free_port(), free_port()) for _ in range(3)]
    join = ",".join("%s:%d" % (HOST, p[1]) for p in ports)
    nodes = [c.node("n%d" % (i + 1), "-bootstrap-expect", "3", "-join", join, ports=ports[i]) for i in range(3)]
    for node in nodes:
        node.wait_ready(LONG)
    execute(nodes[0], TABLE)
    write(nodes[0], "a")
    leader = leader_of(nodes)
    wiped = next(n for n in nodes if n is not leader)
    wiped.kill_tree()
    shutil.rmtree(wiped.data_dir)
    wiped.start()
    wait_for("it is a voter again", LONG, lambda: (lambda m: len(m) == 3 and m[wiped.node_id]["voter"] and m[wiped.node_id]["reachable"])(members(leader)))
    write(wiped, "b")
    # A further node with the same flags isn't one of the founders: it joins.
    n4 = c.node("n4", "-bootstrap-expect", "3", "-join", join)
    wait_for("n4 is a voter", LONG, lambda: members(leader).get("n4", {}).get("voter"))
    c.same_everywhere([*nodes, n4], ["a", "b"])


def killed_while_joining(c):
    """A node that is killed again and again while it joins, and leaders that are killed meanwhile."""
    chance = random.Random(7)
    nodes = c.grown(3)
    for i in range(20):
        write(nodes[0], "v %d" % i)
    n4 = c.node("n4", "-join", join_list(nodes), *FAST, start=False)
    for i in range(8):
        n4.start()
        time.sleep(chance.uniform(0.05, 0.9))
        n4.kill_tree()
        if i % 3 == 2:
            leader = leader_of(nodes)
            leader.kill_tree()
            leader.start()
    n4.start()
    wait_for("n4 is a voter", LONG, lambda: members(nodes[0]).get("n4", {}).get("voter"))
    for node in [*nodes, n4]: # it may have been a voter before its last start
        node.wait_ready(LONG)
    listed = state_of(leader_of(nodes + [n4]))["latest_configuration"]
    c.check(listed.count("ID:n4") == 1 and listed.count("Voter") == 4, "members: %s" % listed)
    write(n4, "there")
    c.check(len(c.same_everywhere([*nodes, n4])) == 21, "content")


def put_back(node, saved):
    """Its folder is an older copy of itself."""
    shutil.rmtree(node.data_dir)
    shutil.copytree(saved, node.data_dir)


def copy_of(node):
    saved = node.data_dir + ".saved"
    shutil.rmtree(saved, ignore_errors=True)
    shutil.copytree(node.data_dir, saved, ignore=shutil.ignore_patterns("run"))
    return saved


def save(c, node):
    """A copy of the folder, made while the node is down, as a backup would be; the node goes on then."""
    c.check(node.stop() == 0, "%s doesn't stop cleanly" % node.node_id)
    saved = copy_of(node)
    node.start()
    node.wait_ready(LONG)
    return saved


def is_back(node, others, old_uuid):
    """As a voter, under its old id, and as another disk."""
    listed = members(others[0]).get(node.node_id, {})
    state = raft_state(node) or {}
    return listed.get("voter") and listed.get("reachable") and state.get("disk_uuid") not in (None, old_uuid)


def restored_folder(c):
    """A data folder that is put back from an old copy has forgotten what its node promised: it doesn't vote, and comes
    back by itself as a new node."""
    nodes = c.grown(3)
    n1, n2, n3 = nodes
    write(n2, "before")
    # The others are there. n1 has no -join: it asks those that it knows of.
    saved = save(c, n1)
    uuid = state_of(n1)["disk_uuid"]
    for i in range(10):
        write(n1, "a %d" % i)
    n1.kill_tree()
    put_back(n1, saved)
    n1.start()
    wait_for("n1 is told", LONG, lambda: "is an older copy of this node's data folder" in n1.log(), 0.05)
    wait_for("n1 is back as a new node", 60, lambda: is_back(n1, [n2, n3], uuid), 0.1)
    values = ["before", *("a %d" % i for i in range(10))]
    c.same_everywhere(nodes, values)
    c.check(os.path.isdir(os.path.join(n1.data_dir, "consensus", "aside")), "the old files aren't kept")
    # The leader is away: the old copy and the third would be a majority.
    leader = leader_of(nodes)
    copied, third = [n for n in nodes if n is not leader]
    saved = save(c, copied)
    uuid = state_of(copied)["disk_uuid"]
    for i in range(10):
        write(leader, "b %d" % i)
    copied.kill_tree()
    leader.kill_tree()
    put_back(copied, saved)
    told = copied.log().count("is an older copy of this node's data folder")
    copied.start()
    wait_for("it is told by who doesn't lead", LONG, lambda: copied.log().count("is an older copy of this node's data folder") > told, 0.05)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        leads = [n.node_id for n in (copied, third) if (raft_state(n) or {}).get("state") == "Leader"]
        if not c.check(not leads, "%s leads by the vote of an old copy" % leads):
            break
        time.sleep(0.1)
    c.check((raft_state(copied) or {}).get("old_copy") is True, "its status doesn't say so")
    c.check((raft_state(copied) or {}).get("disk_uuid") == uuid, "its files were set aside although there is no leader to come back to")
    leader.start()
    wait_for("it is back as a new node", 60, lambda: is_back(copied, [leader, third], uuid), 0.1)
    copied.wait_ready(LONG)
    write(copied, "after")
    c.same_everywhere(nodes, [*values, *("b %d" % i for i in range(10)), "after"])
    # A copy that was made in an instant while the node ran knows of all its starts; the leader knows what it acknowledged since.
    leader = leader_of(nodes)
    copied = next(n for n in nodes if n is not leader)
    signal_all(launcher_first(copied), signal.SIGSTOP)
    saved = copy_of(copied)
    signal_all(launcher_first(copied), signal.SIGCONT)
    led(nodes)      # stopped for long it has missed the leader
    uuid = state_of(copied)["disk_uuid"]
    told = copied.log().count("is an older copy of this node's data folder")
    for i in range(10):
        write(copied, "c %d" % i)
    copied.kill_tree()
    put_back(copied, saved)
    copied.start()
    wait_for("it is told by the leader", LONG, lambda: copied.log().count("is an older copy of this node's data folder") > told, 0.05)
    wait_for("it is back as a new node again", 60, lambda: is_back(copied, [n for n in nodes if n is not copied], uuid), 0.1)
    copied.wait_ready(LONG)
    c.same_everywhere(nodes, [*values, *("b %d" % i for i in range(10)), "after", *("c %d" % i for i in range(10))])
    # Restarts of all, and of each, are what they were: nobody is taken for an old copy any more.
    for node in nodes:
        c.check(node.stop() == 0, "%s doesn't stop cleanly" % node.node_id)
    uuids = []
    for node in nodes:
        node.start()
    for node in nodes:
        node.wait_ready(LONG)
        uuids.append(state_of(node)["disk_uuid"])
    for node in nodes:
        node.kill_tree()
        node.start()
        node.wait_ready(LONG)
    c.check([state_of(n)["disk_uuid"] for n in nodes] == uuids, "a restart made a node a new one")
    c.same_everywhere(nodes)


def addresses_change(c):
    nodes = c.grown(3)
    write(nodes[0], "a")
    moved(c, nodes, False)
    write(nodes[0], "one has moved")
    moved(c, nodes, True)
    write(nodes[1], "all have moved")
    c.same_everywhere(nodes, ["a", "one has moved", "all have moved"])
    # And without -join: the new addresses are in the log.
    for node in nodes:
        node.stop()
        at = node.command.index("-join")
        del node.command[at:at + 2]
    for node in nodes:
        node.start()
    for node in nodes:
        node.wait_ready(LONG)
    write(nodes[2], "again")


# ---------------------------------------------------------------------------- recovery

def recover(c, node, *flags):
    """rqd recover: (exit code, output)."""
    found = subprocess.run([node.binary, "recover", *flags, node.data_dir], capture_output=True, text=True, timeout=60)
    return found.returncode, found.stdout + found.stderr


def recover_one_of_three(c):
    nodes = c.grown(3)
    for i in range(5):
        write(nodes[0], "v %d" % i)
    old = write(nodes[2], "with a token", params="timeout=20s&token")["token"]
    c.check(query(nodes[1], "SELECT count(*) FROM t", "none", "min_index=" + old) == [(6,)], "a token is no min_index")
    values = c.same_everywhere(nodes)
    survivor, others = nodes[1], [nodes[0], nodes[2]]
    code, text = recover(c, survivor)
    c.check(code == 1 and "in use by another process" in text, "recover on a running node: %d %s" % (code, text))
    for node in nodes:
        node.kill_tree()
    survivor.start()
    wait_for("it answers", LONG, lambda: raft_state(survivor))
    c.stays("it isn't ready without a majority", 1.5, lambda: ask(survivor, "GET", "/readyz?timeout=300ms").status == 503)
    before = state_of(survivor)
    survivor.stop()
    code, text = recover(c, survivor)
    c.check(code == 0 and "Nothing was changed" in text and "up to index %d" % before["last_log_index"] in text and "May be lost" in text,
            "the dry run: %d %s" % (code, text))
    survivor.start()
    wait_for("it answers", LONG, lambda: raft_state(survivor))
    c.stays("the dry run changes nothing", 1.0, lambda: ask(survivor, "GET", "/readyz?timeout=300ms").status == 503)
    survivor.stop()
    code, text = recover(c, survivor, "--yes")
    c.check(code == 0 and "Done: cluster" in text, "recover: %d %s" % (code, text))
    code, text = recover(c, survivor, "--yes")
    c.check(code == 0 and "Nothing to do" in text, "a second time: %d %s" % (code, text))
    survivor.start()
    survivor.wait_ready(LONG)
    c.check([r[0] for r in query(survivor, "SELECT v FROM t ORDER BY id")] == values, "content after the recovery")
    new = write(survivor, "recovered", params="timeout=20s&token")["token"]
    refused = ask(survivor, "POST", "/db/query?level=none&min_index=" + old, ["SELECT 1"])
    c.check(refused.status == 409 and b"another epoch" in refused.body, "a token of before the recovery: %d %s" % (refused.status, refused.body))
    c.check(query(survivor, "SELECT count(*) FROM t", "none", "min_index=" + new) == [(len(values) + 1,)], "a token of after the recovery")
    after = state_of(survivor)
    c.check(after["cluster_id"] != before["cluster_id"] and after["database_id"] == before["database_id"], "ids: %s" % after)
    # The old members are fenced: the two of them are a majority of the old cluster, and stay it.
    for node in others:
        node.start()
    for node in others:
        node.wait_ready(LONG)
    write(others[0], "old world")
    c.stays("the old members don't reach the new cluster", 1.5, lambda: sorted(members(survivor)) == [survivor.node_id] and
            [r[0] for r in query(survivor, "SELECT v FROM t ORDER BY id")] == values + ["recovered"])
    c.check(sorted(members(others[0])) == ["n1", "n2", "n3"], "the old members took the new cluster's list: %s" % members(others[0]))
    # Emptied, they join.
    for node in others:
        node.kill_tree()
        shutil.rmtree(node.data_dir)
        if "-join" in node.command:
            node.command[node.command.index("-join") + 1] = survivor.raft_address()
        else:
            node.command[-1:-1] = ["-join", survivor.raft_address(), *FAST]
        node.start()
    wait_for("three voters", LONG, lambda: sum(m["voter"] for m in members(survivor).values()) == 3)
    c.same_everywhere(nodes, values + ["recovered"])
    survivor.stop()
    survivor.start()
    survivor.wait_ready(LONG)
    c.check(len(members(survivor)) == 3, "after a restart: %s" % members(survivor))
    write(others[0], "three again")


def peers_json(c):
    """As rqlite has it: the same file on each survivor, here with all addresses new."""
    nodes = c.grown(3)
    write(nodes[0], "a")
    values = c.same_everywhere(nodes)
    for node in nodes:
        node.kill_tree()
    survivors = nodes[:2]
    for node in survivors:
        old_http, old_raft = node.address(), node.raft_address()
        node.http_port, node.raft_port = free_port(), free_port()
        node.command = [node.address() if w == old_http else node.raft_address() if w == old_raft else w for w in node.command]
        if "-join" in node.command:
            at = node.command.index("-join")
            del node.command[at:at + 2]

    def put(content):
        for node in survivors:
            folder = os.path.join(node.data_dir, "raft")
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "peers.json"), "w") as f:
                f.write(content)

    good = [{"id": n.node_id, "address": n.raft_address()} for n in survivors]
    for wrong, words in (("[", "line 1"), ("{}", "must be an array"), (json.dumps(good + good[:1]), "found duplicate ID in configuration"),
                         (json.dumps([dict(g, non_voter=True) for g in good]), "need at least one voter"),
                         (json.dumps(good + [{"id": "zz", "address": "h:1"}]), "was not a member"),
                         (json.dumps(good[1:]), "doesn't name this node")):
        put(wrong)
        survivors[0].start()
        c.check(exits(survivors[0]) == 78 and words in survivors[0].log(), "peers.json %s: not refused with \"%s\"" % (wrong, words))
        survivors[0].kill_tree()
    put(json.dumps(good))
    for node in survivors:
        node.start()
    for node in survivors:
        node.wait_ready(LONG)
        names = os.listdir(os.path.join(node.data_dir, "raft"))
        c.check(names == ["peers.info"], "files: %s" % names)
    write(survivors[1], "as two")
    c.same_everywhere(survivors, values + ["as two"])
    c.check(sorted(members(survivors[0])) == ["n1", "n2"], "members: %s" % members(survivors[0]))
    states = [state_of(n) for n in survivors]
    c.check(states[0]["cluster_id"] == states[1]["cluster_id"] != states[0]["database_id"], "cluster ids: %s" % [s["cluster_id"] for s in states])
    for node in survivors:      # the file is gone, the members stay
        node.stop()
    for node in survivors:
        node.start()
    for node in survivors:
        node.wait_ready(LONG)
    n4 = c.joined("n4", survivors[0])
    write(n4, "as three")
    c.same_everywhere([*survivors, n4])


# ---------------------------------------------------------------------------- the handbook

def who_is_there(c):
    """/nodes tells what is so now: of a node that was just killed, and of one that hangs with its connections up."""
    nodes = c.grown(3)
    n1, n2, n3 = nodes
    wait_links(nodes)
    for asked in (n1, n2):
        there = members(asked)
        c.check(all(there[n]["reachable"] and there[n]["time"] < 0.7 for n in ("n1", "n2", "n3")), "all are there: %s" % there)
    hanging = n3.find("rq-consensus")
    for proc in hanging:
        send_signal(proc, signal.SIGSTOP)
    for asked in (n1, n2):
        e = members(asked)["n3"]
        c.check(not e["reachable"] and e.get("error"), "one that hangs, asked %s: %s" % (asked.node_id, e))
    for proc in hanging:
        send_signal(proc, signal.SIGCONT)
    wait_for("it goes on", LONG, lambda: all(members(n)["n3"]["reachable"] for n in (n1, n2)), 0.05)
    n3.root.kill()      # the launcher; its services go with it, a little later
    n3.root.wait()
    wait_for("it ends", LONG, lambda: not n3.find("rq-consensus"), 0.005)
    for asked in (n1, n2):
        e = members(asked)["n3"]
        c.check(not e["reachable"] and e.get("error"), "just killed, asked %s: %s" % (asked.node_id, e))


def users_file(node, name, users):
    """Its path: the name in the folder of a node that isn't started yet."""
    path = os.path.join(node.work_dir, name)
    with open(path + ".new", "w") as f:
        json.dump([{"username": n, "password": p, "perms": perms} for n, p, perms in users]
                  + [{"username": "*", "perms": ["status", "ready", "query", "execute"]}], f)
    os.replace(path + ".new", path)
    return path


def joins_as_user(c):
    """With users only who may is taken in; hashed where it is looked at, and never logged."""
    hashed = "$5$rounds=5000$usersofnodesthat$kQtYG3Pl1TYYHMa4B41MEINs8A7JThryEOYZBYRtoq."
    shown = [("joiner", "opensesame", ["join"]), ("reader", "barely", ["join-read-only"]), ("ann", "nothing", ["query"])]
    n1 = c.node("n1", start=False)
    held = users_file(n1, "users.json", [("joiner", hashed, ["join"]), *shown[1:]])
    n1.command[-1:-1] = ["-auth", held]
    n1.start()
    n1.wait_ready(LONG)
    execute(n1, TABLE)

    def comer(name, user, *flags, users=shown):
        node = c.node(name, "-join", n1.raft_address(), "-join-interval", "500ms", "-join-attempts", "600", *flags, start=False)
        node.command[-1:-1] = ["-auth", users_file(node, "users.json", users), *(["-join-as", user] if user else [])]
        node.start()
        return node

    def is_refused(node, why):
        wait_for(why, LONG, lambda: "refuses this node: unauthorized" in node.log(), 0.05)
        c.check(list(members(n1)) == ["n1"], "%s: taken in all the same" % why)
        node.kill_tree()

    is_refused(comer("n2", None), "nobody in particular")
    is_refused(comer("n3", "joiner", users=[("joiner", "guessed", ["join"])]), "a wrong password")
    is_refused(comer("n4", "ann"), "one who may not")
    is_refused(comer("n5", "reader"), "one who may as a read replica only")
    c.check("Refused to take in node \"n3\"" in n1.log(), "the leader's log")
    n6 = comer("n6", "joiner")
    n6.wait_ready(LONG)
    c.check(members(n1).get("n6", {}).get("voter"), "ready, and a voter")
    c.check("-join-as: the password goes over the network unencrypted" in n6.log(), "the warning")
    comer("n7", "reader", "-raft-non-voter").wait_ready(LONG)
    c.check(sorted(members(n1)) == ["n1", "n6", "n7"], "who is there: %s" % sorted(members(n1)))

    # Who becomes somebody who may, comes in: nothing but the file changes.
    n8 = comer("n8", "ann")
    wait_for("refused", LONG, lambda: "refuses this node: unauthorized" in n8.log(), 0.05)
    users_file(n1, "users.json", [("joiner", hashed, ["join"]), ("ann", "nothing", ["join"])])
    users_file(n6, "users.json", [("ann", "nothing", ["join"])])    # also where it leads by now
    n8.wait_ready(LONG)
    c.check(members(n1).get("n8", {}).get("voter"), "taken in after the change")
    c.check(not any(p in n.log() for n in c.nodes for p in ("opensesame", "guessed", "barely", hashed)), "a password in a log")

    # What can't be shown is found before anything is started.
    for user, why in (("nobody", "has no user of that name"), ("joiner", "is hashed")):
        run = subprocess.run([c.args.rqd, "--check-config", "-auth", users_file(n8, "other.json", [("joiner", hashed, ["join"])]), "-join-as", user,
                              "-join", n1.raft_address(), os.path.join(n8.work_dir, "other")], capture_output=True, text=True, timeout=60)
        c.check(run.returncode == 78 and why in run.stdout + run.stderr and hashed not in run.stdout + run.stderr,
                "-join-as %s: %d %s" % (user, run.returncode, run.stdout + run.stderr))


def handbook_commands():
    """What docs/operations.md says to type, from forming a cluster to recovering one: (heading, words)."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/operations.md")
    with open(path, encoding="utf-8") as f:
        text = f.read().replace("\\\n", " ")
    heading, found = "", []
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.strip("# ")
        elif re.match(r"    (rqd|curl) ", line):
            found.append((heading, shlex.split(line)))
    return found


def handbook(c):
    """Each command of the handbook on members, as it stands there, on loopback."""
    nodes, ports = {}, {}

    def translated(words, node_id):
        """The same with our addresses, directory and program."""
        def ours(match):
            return "%s:%d" % (HOST, ports.setdefault(match.group(0), free_port()))
        words = [re.sub(r"10\.0\.\d+\.\d+:400[12]", ours, w) for w in words]
        if words[0] == "rqd":
            words = [c.args.rqd if w == "rqd" else nodes[node_id].data_dir if w == "/var/lib/rq" else w for w in words]
        return words

    def start(words, node_id=None, host=None):
        """As the command says, or for another node of the same cluster."""
        words = list(words)
        if node_id is None:
            node_id = words[words.index("-node-id") + 1]
        else:
            words[words.index("-node-id") + 1] = node_id
            words = [w.replace("10.0.0.1:", host + ":") if words[i - 1] in ("-http-addr", "-raft-addr") else w for i, w in enumerate(words)]
        if node_id not in nodes:
            nodes[node_id] = c.node(node_id, start=False)
        node = nodes[node_id]
        node.command = translated(words, node_id)
        node.http_port = int(node.command[node.command.index("-http-addr") + 1].rpartition(":")[2])
        node.raft_port = int(node.command[node.command.index("-raft-addr") + 1].rpartition(":")[2])
        node.start()
        return node

    def run(words, node_id=None):
        found = subprocess.run(translated(words, node_id), capture_output=True, text=True, timeout=60)
        c.check(found.returncode == 0, "%s: exit code %d, %s" % (" ".join(words), found.returncode, found.stderr))
        return found.stdout

    said = {}
    for heading, words in handbook_commands():
        said.setdefault(heading, []).append(words)
    form, = said["Three nodes"]
    for node_id, host in (("n1", "10.0.0.1"), ("n2", "10.0.0.2"), ("n3", "10.0.0.3")):
        start(form, node_id, host)
    for node in nodes.values():
        node.wait_ready(LONG)
    n2 = nodes["n2"]
    execute(n2, TABLE)
    write(n2, "formed")
    grow, replica = said["Growing"]
    start(grow)
    wait_for("n4 is a voter", LONG, lambda: members(n2).get("n4", {}).get("voter"))
    start(replica)
    wait_for("r1 is there", LONG, lambda: members(n2).get("r1", {}).get("reachable"))
    look, = said["Members"]
    listed = json.loads(run(look))["nodes"]
    c.check([(n["id"], n["voter"]) for n in listed] == [("n1", True), ("n2", True), ("n3", True), ("n4", True), ("r1", False)], "nodes: %s" % listed)
    take, = said["Removing"]
    run(take)
    wait_for("n4 is gone", LONG, lambda: "n4" not in members(n2))
    repair, = said["Repairing"]
    nodes["n3"].kill_tree()
    shutil.rmtree(nodes["n3"].data_dir)
    wait_for("it isn't heard any more", LONG, lambda: not members(n2)["n3"]["reachable"])
    start(repair).wait_ready(LONG)
    wait_for("n3 is back", LONG, lambda: members(n2)["n3"]["voter"] and members(n2)["n3"]["reachable"])
    move, = said["Moving"]
    nodes["n1"].stop()
    start(move).wait_ready(LONG)
    wait_for("n1 is where it says", LONG, lambda: members(n2)["n1"]["addr"] == nodes["n1"].raft_address())
    write(nodes["n1"], "moved")
    c.same_everywhere([nodes[n] for n in ("n1", "n2", "n3", "r1")], ["formed", "moved"])
    for node in nodes.values():
        node.kill_tree()
    plan, doit, again = said["A majority is lost for good"]
    c.check("Nothing was changed" in run(plan, "n2") and "Done: cluster" in run(doit, "n2"), "rqd recover")
    start(again).wait_ready(LONG)
    write(n2, "recovered")
    c.check(sorted(members(n2)) == ["n2"] and [r[0] for r in query(n2, "SELECT v FROM t")] == ["formed", "moved", "recovered"],
            "after the recovery: %s" % members(n2))


TESTS = [handbook, who_is_there, joins_as_user, joins_under_load, refuses_what_cannot_be, foreign_clusters, store_of_another_cluster, read_replica, seven, removing, leader_removes_itself,
         leaves_when_it_stops, reaping, wiped_disk, wiped_founder, restored_folder, killed_while_joining, addresses_change, recover_one_of_three, peers_json]


if __name__ == "__main__":
    sys.exit(cases.main(TESTS, Case, cases.arguments(__doc__).parse_args()))
