#!/usr/bin/env python3
"""Clusters of real processes: they form, answer on every node, lose nodes, come back, are cut apart,
and keep what they promised. What happens under load and chance is faults.py's.

Each test has a cluster of its own. Tests that cut links need root and network namespaces; they are
skipped, with a word, where there are none. --peer-server is for a server that is not rq.
"""

import json
import os
import random
import shutil
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases
import cluster_net
from cluster_nodes import (SERVICES, Cluster, Refused, ask, document, dump, execute, processes,
                           query, raft_state, signal_all, wait_for, wait_links)
from rqnode import HttpFailure, NodeError

LEVELS = ("none", "weak", "linearizable", "strong")
CURRENT = ("linearizable", "strong")
ELECTION = 10.0         # seconds within which a cluster must have a leader again
TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)"


class Case(cases.Case):
    """With the network of all cases, or None, and the clusters that it formed."""

    def __init__(self, name, args, tally, network):
        super().__init__(name, args, tally)
        self.network = network
        self.ours = not args.peer_server

    def form(self, size=3, flags=(), start=True, network=False):
        cluster = Cluster(self.args.rqd, size, self.args.dir, [*self.args.flag, *flags],
                          self.network if network else None)
        self.nodes.extend(cluster)
        if start:
            cluster.start()
            cluster.wait_ready(30)
        return cluster

    def formed(self, size=3, **more):
        """With a table in it."""
        cluster = self.form(size, **more)
        execute(cluster[0], TABLE)
        return cluster

    def write(self, node, value, timeout=30.0, params="timeout=20s"):
        """Acknowledged, or it raises. Returns the log index."""
        answer = execute(node, ["INSERT INTO t(v) VALUES(?)", value],
                         params="raft_index&" + params, timeout=timeout)
        return answer["raft_index"]

    def writes_again(self, node, value, seconds=ELECTION):
        """Until a write is acknowledged; writes that were not may have happened."""
        begin = time.monotonic()
        wait_for("a write on " + node.node_id, seconds,
                 lambda: self.write(node, value, 5.0, "timeout=2s"), 0.02)
        return time.monotonic() - begin

    def same_everywhere(self, cluster, expected=None):
        """All nodes come to have the same rows; returns their values."""
        def rows():
            found = [dump(node, ("t",))["t"] for node in cluster]
            return found[0] if all(f == found[0] for f in found) else None
        try:
            values = [row[2] for row in wait_for("the same content everywhere", 20, rows, 0.05)]
        except NodeError as e:
            self.check(False, str(e))
            return []
        self.check(expected is None or values == expected, "content is %s, expected %s"
                   % (shorten(values), shorten(expected)))
        return values

    def clean_stop(self, cluster):
        codes = cluster.stop()
        self.check(not any(codes), "SIGTERM: exit codes %s, or processes remain" % codes)

    def end(self, failed):
        if self.network:
            self.network.heal()
        super().end(failed)


def shorten(value):
    text = repr(value)
    return text if len(text) < 300 else text[:150] + " … " + text[-100:]


def outcome(node, method, target, body=None, timeout=30.0):
    """(status, text) of a request that may fail; status 0: no answer."""
    try:
        response = ask(node, method, target, body, timeout)
        return response.status, response.body.decode("utf-8", "replace").strip()
    except HttpFailure as e:
        return 0, str(e)


def read_outcome(node, level, timeout=30.0, params="timeout=2s"):
    return outcome(node, "POST", "/db/query?level=%s&%s" % (level, params),
                   ["SELECT count(*) FROM t"], timeout)


def is_definite_failure(status, text):
    return status in (503, 504) or status == 200 and '"error"' in text


# ---------------------------------------------------------------------------- forming

def check_documents(c, cluster):
    """What each node says of all."""
    if c.ours:
        wait_links(cluster)
    leaders = {json.loads(ask(n, "GET", "/leader").body)["id"] for n in cluster}
    c.check(len(leaders) == 1, "nodes name different leaders: %s" % leaders)
    for node in cluster:
        listed = json.loads(ask(node, "GET", "/nodes?ver=2").body)["nodes"]
        c.check(sorted(e["id"] for e in listed) == [n.node_id for n in cluster],
                "/nodes of %s: %s" % (node.node_id, shorten(listed)))
        c.check(all(e["voter"] and e["reachable"] for e in listed),
                "/nodes of %s: not all are voters and reachable: %s" % (node.node_id, shorten(listed)))
        c.check({e["id"] for e in listed if e["leader"]} == leaders,
                "/nodes of %s: leader is %s" % (node.node_id, shorten(listed)))
        for element in listed:
            other = next(n for n in cluster if n.node_id == element["id"])
            c.check(element["addr"] == other.raft_address()
                    and element["api_addr"] == "http://" + other.address(),
                    "/nodes of %s: addresses of %s: %s" % (node.node_id, other.node_id, element))
        store = json.loads(ask(node, "GET", "/status").body)["store"]
        c.check({store["leader"]["node_id"]} == leaders, "/status of %s: leader is %s"
                % (node.node_id, store["leader"]))
        c.check(store["raft"]["state"] == ("Leader" if node.node_id in leaders else "Follower"),
                "/status of %s: state is %s" % (node.node_id, store["raft"]["state"]))
        c.check(sorted((n["id"], n["suffrage"].lower()) for n in store["nodes"])
                == [(n.node_id, "voter") for n in cluster],
                "/status of %s: nodes are %s" % (node.node_id, store["nodes"]))
        status, text = outcome(node, "GET", "/readyz?sync")
        c.check(status == 200 and "[+]leader ok" in text and "[+]sync ok" in text,
                "/readyz of %s: %d %s" % (node.node_id, status, text))
    terms = {raft_state(n)["term"] for n in cluster}
    c.check(len(terms) == 1, "terms differ: %s" % terms)


def forming(c, size):
    cluster = c.form(size, start=False)
    begin = time.monotonic()
    cluster.start()
    cluster.wait_ready(30)
    seconds = time.monotonic() - begin
    c.check(seconds < 10, "took %.1f s" % seconds)
    check_documents(c, cluster)
    execute(cluster[0], TABLE)
    for node in cluster:
        c.write(node, node.node_id)
    c.same_everywhere(cluster, [n.node_id for n in cluster])
    c.clean_stop(cluster)


def forms_with_three(c):
    forming(c, 3)


def forms_with_five(c):
    forming(c, 5)


def forms_one_by_one(c):
    """Nothing is founded before all are there, nobody hangs meanwhile, whatever the order."""
    cluster = c.form(start=False)
    for node in (cluster[2], cluster[0]):
        node.start()
        wait_for("status of " + node.node_id, 20,
                 lambda node=node: ask(node, "GET", "/status", timeout=2).status == 200)
    time.sleep(2.0)
    for node in (cluster[2], cluster[0]):
        status, text = outcome(node, "GET", "/readyz?timeout=1s", timeout=10)
        c.check(status == 503, "/readyz of %s before all are there: %d %s" % (node.node_id, status, text))
        begin = time.monotonic()
        status, text = outcome(node, "POST", "/db/execute?timeout=1s", [TABLE])
        c.check(status == 503, "a write before all are there: %d %s" % (status, text))
        c.check(time.monotonic() - begin < 4, "a write before all are there: answered late")
    cluster[1].start()
    cluster.wait_ready(30)
    check_documents(c, cluster)
    c.check(outcome(cluster[0], "POST", "/db/execute", [TABLE])[1] == '{"results":[{}]}',
            "what was refused before is there")
    c.clean_stop(cluster)


def forms_although_killed(c):
    """kill -9 of everything at moments of the forming: in the end there is one cluster."""
    for delay in (0.05, 0.15, 0.3, 0.6, 1.0):
        cluster = c.form(start=False)
        cluster.start()
        time.sleep(delay)
        victim = random.Random(delay).choice(cluster.nodes)
        victim.kill_tree()
        victim.start()
        time.sleep(delay)
        cluster.kill()
        cluster.start()
        try:
            cluster.wait_ready(30)
        except NodeError as e:
            c.check(False, "killed after %.2f s: %s" % (delay, e))
            continue
        check_documents(c, cluster)
        execute(cluster[1], TABLE)
        c.write(cluster[2], "a")
        c.same_everywhere(cluster, ["a"])
        for node in cluster:
            node.kill_tree()


# ---------------------------------------------------------------------------- answering

def every_level_everywhere(c):
    cluster = c.formed()
    values = []
    for round_number in range(3):
        for writer in cluster:
            values.append("%s/%d" % (writer.node_id, round_number))
            index = c.write(writer, values[-1])
            for reader in cluster:
                for level in ("weak", "linearizable", "strong"):
                    rows = query(reader, "SELECT v FROM t ORDER BY id", level)
                    c.check([r[0] for r in rows] == values, "%s read on %s misses what %s wrote: %s"
                            % (level, reader.node_id, writer.node_id, shorten(rows)))
                if c.ours:
                    rows = query(reader, "SELECT v FROM t ORDER BY id", "none",
                                 "min_index=%d" % index)
                    c.check([r[0] for r in rows] == values, "min_index=%d on %s: %s"
                            % (index, reader.node_id, shorten(rows)))
    c.same_everywhere(cluster, values)
    for node in cluster:
        answer = document(ask(node, "POST", "/db/request?level=linearizable",
                              [["INSERT INTO t(v) VALUES(?)", "both"], "SELECT count(*) FROM t"]))
        c.check(len(answer["results"]) == 2, "/db/request: %s" % answer)
    c.check(query(cluster[0], "SELECT count(*) FROM t")[0][0] == len(values) + 3, "/db/request: rows")
    if c.ours:
        status, text = outcome(cluster[1], "POST", "/db/query?level=none&min_index=999999&timeout=500ms",
                               ["SELECT 1"])
        c.check(status in (503, 504), "min_index that isn't there: %d %s" % (status, text))
    for node in cluster.followers():
        status, text = outcome(node, "POST", "/db/query?level=none&freshness=1h", ["SELECT 1"])
        c.check(status == 200 and "error" not in text, "freshness of 1 h: %d %s" % (status, text))
    c.clean_stop(cluster)


def followers_forward(c):
    """Many clients on followers: each told its own row, in the order of the log."""
    cluster = c.formed()
    told, wrong = [], []

    def client(number):
        node = cluster.followers()[number % 2]
        own = node.client(30)
        for n in range(25):
            try:
                answer = execute(node, ["INSERT INTO t(v) VALUES(?)", "%d/%d" % (number, n)],
                                 params="raft_index", client=own)
                told.append((answer["raft_index"], answer["results"][0]["last_insert_id"],
                             "%d/%d" % (number, n)))
            except (Refused, HttpFailure, KeyError) as e:
                wrong.append(str(e))
        own.close()

    threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    c.check(not wrong, "%d writes failed: %s" % (len(wrong), wrong[:3]))
    rows = {r[0]: r[1] for r in query(cluster[0], "SELECT id, v FROM t")}
    c.check(len(rows) == len(told) == 200, "%d rows, %d told" % (len(rows), len(told)))
    c.check(all(rows.get(rowid) == value for _, rowid, value in told), "a client was told another's row")
    told.sort()
    c.check([t[1] for t in told] == sorted(t[1] for t in told), "rows are not in the log's order")
    c.check(len({t[0] for t in told}) == 200, "a log index was told twice")
    # What one entry makes is everywhere the same.
    execute(cluster.followers()[0], "CREATE TABLE u(a DEFAULT (random()), b DEFAULT (datetime('now')), c)",
            ["INSERT INTO u(c) VALUES(randomblob(16))"])
    if c.ours:
        wait_for("the same random values", 10, lambda: len(
            {shorten(query(n, "SELECT a, b, hex(c) FROM u", "none")) for n in cluster}) == 1)
    big = "x" * (3 << 20)
    follower = cluster.followers()[0]
    c.write(follower, big)
    for node in cluster:
        wait_for("a large value", 10, lambda node=node: query(
            node, "SELECT max(length(v)) FROM t", "none") == [(len(big),)])
    answer = document(ask(follower, "POST", "/db/query?level=linearizable", ["SELECT max(v) FROM t"]))
    c.check(answer["results"][0]["values"] == [[big]], "a large value read on a follower differs")
    c.clean_stop(cluster)


def redirects(c):
    cluster = c.formed()
    leader = cluster.leader()
    for node in cluster:
        for target, body in (("/db/execute?redirect", ["INSERT INTO t(v) VALUES('r')"]),
                             ("/db/query?redirect&level=weak", ["SELECT 1"]),
                             ("/db/query?redirect&level=strong", ["SELECT 1"]),
                             ("/db/request?redirect", ["INSERT INTO t(v) VALUES('r')"])):
            response = ask(node, "POST", target, body)
            if node is leader:
                c.check(response.status == 200, "%s on the leader: %d" % (target, response.status))
            else:
                c.check(response.status == 301 and response.get("Location")
                        == "http://%s%s" % (leader.address(), target),
                        "%s on a follower: %d, Location %s"
                        % (target, response.status, response.get("Location")))
    rows = query(leader, "SELECT count(*) FROM t")
    c.check(rows == [(2,)], "what was redirected has been done: %s" % rows)
    c.clean_stop(cluster)


def leadership_transfers(c):
    cluster = c.formed()
    values = []
    for n in range(6):
        leader = cluster.leader()
        target = cluster.followers()[n % 2]
        body = {"id": target.node_id} if n % 3 else None
        begin = time.monotonic()
        status, text = outcome(leader, "POST", "/leader?wait" if n % 2 else "/leader", body)
        c.check(status == 200, "POST /leader: %d %s" % (status, text))
        wait_for("another leader", ELECTION, lambda: any(node is not leader for _, node in cluster.leaders()[-1:]))
        if body:
            c.check(cluster.leader() is target, "%s leads, asked for %s"
                    % (cluster.leader().node_id, target.node_id))
        if c.ours:
            c.check(time.monotonic() - begin < 1.0, "took %.2f s" % (time.monotonic() - begin))
        values.append("v%d" % n)
        try:
            c.write(cluster[n % 3], values[-1])
        except (Refused, HttpFailure) as e:
            c.check(False, "a write after a transfer: %s" % e)
        time.sleep(0.5)
    status, text = outcome(cluster.leader(), "POST", "/leader?wait", {"id": "nobody"})
    c.check(status == 500 and text == "stepdown: node not found in cluster", "to nobody: %d %s"
            % (status, text))
    leader = cluster.leader()
    status, text = outcome(leader, "POST", "/leader?wait", {"id": leader.node_id})
    c.check(status == 500 and text == "stepdown: cannot step down to the current Leader",
            "to itself: %d %s" % (status, text))
    if c.ours:
        # Down: can't be the target; the leader goes on leading.
        target = cluster.followers()[0]
        target.kill_tree()
        status, text = outcome(leader, "POST", "/leader?wait", {"id": target.node_id})
        c.check(status >= 500, "to a node that is down: %d %s" % (status, text))
        values.append("after")
        c.writes_again(leader, "after", 5)
        target.start()
        target.wait_ready()
    c.same_everywhere(cluster, values)
    c.clean_stop(cluster)


def any_node_hands_over(c):
    """POST /leader on a follower, with and without a name, also the follower's own."""
    cluster = c.formed()
    for body, wait in ((False, ""), (True, "?wait"), (False, "?wait")):
        leader = cluster.leader()
        asked = cluster.followers()[0]
        status, text = outcome(asked, "POST", "/leader" + wait, {"id": asked.node_id} if body else None)
        c.check(status == 200, "POST /leader%s on a follower: %d %s" % (wait, status, text))
        try:
            wait_for("another leader", 5, lambda leader=leader: any(
                node is not leader for _, node in cluster.leaders()[-1:]))
        except NodeError as e:
            c.check(False, "POST /leader%s on a follower: %s" % (wait, e))
        c.check(not body or cluster.leader() is asked, "another one leads than was asked for")
        time.sleep(0.5)
    c.clean_stop(cluster)


def transfers_lose_nothing(c):
    """Leadership goes round under load: no write is refused or unknown, none is done twice."""
    cluster = c.formed()
    quit_, answers = threading.Event(), []

    def client(number):
        node, n = cluster[number % 3], 0
        own = node.client(30)
        while not quit_.is_set():
            n += 1
            value = "%d/%d" % (number, n)
            try:
                execute(node, ["INSERT INTO t(v) VALUES(?)", value], client=own)
                answers.append((value, None))
            except (Refused, HttpFailure) as e:
                answers.append((value, str(e)))
        own.close()

    threads = [threading.Thread(target=client, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        time.sleep(0.4)
        before = cluster.leader()
        ask(before, "POST", "/leader?wait")
    time.sleep(0.4)
    quit_.set()
    for thread in threads:
        thread.join()
    failed = [(v, e) for v, e in answers if e]
    if c.ours:
        c.check(not failed, "%d of %d writes failed, first %s" % (len(failed), len(answers), failed[:3]))
    rows = [r[0] for r in query(cluster[0], "SELECT v FROM t")]
    c.check(len(set(rows)) == len(rows), "%d writes were done twice" % (len(rows) - len(set(rows))))
    missing = {v for v, e in answers if not e} - set(rows)
    c.check(not missing, "%d acknowledged writes are absent" % len(missing))
    c.check(len(answers) > 100, "only %d writes" % len(answers))
    c.same_everywhere(cluster)
    c.clean_stop(cluster)


# ---------------------------------------------------------------------------- coming back

def any_node_restarts(c):
    """In turn, by SIGTERM and by kill -9: the others take writes, and it catches up."""
    cluster = c.formed()
    values = []
    for rough in (False, True):
        for node in cluster:
            other = next(n for n in cluster if n is not node)
            if rough:
                node.kill_tree()
            else:
                c.check(node.stop() == 0, "SIGTERM of %s: exit code isn't 0, or processes remain"
                        % node.node_id)
            seconds = c.writes_again(other, "x")
            c.check(seconds < ELECTION, "no write for %.1f s" % seconds)
            for n in range(5):
                values.append("%s/%s/%d" % (rough, node.node_id, n))
                c.write(other, values[-1])
            node.start()
            node.wait_ready(30)
            # Ready means: it has caught up, so a local read has all.
            rows = {r[0] for r in query(node, "SELECT v FROM t", "linearizable")}
            c.check(set(values) <= rows, "%s came back without %s"
                    % (node.node_id, shorten(set(values) - rows)))
    found = c.same_everywhere(cluster)
    c.check([v for v in found if v != "x"] == values, "content is %s" % shorten(found))
    c.clean_stop(cluster)


def all_nodes_restart(c):
    cluster = c.formed()
    values = ["a"]
    c.write(cluster[0], "a")
    for rough in (True, False, True):
        if rough:
            cluster.kill()
        else:
            c.clean_stop(cluster)
        cluster.start()
        seconds = cluster.wait_ready(30)
        c.check(seconds < 10, "ready after %.1f s" % seconds)
        check_documents(c, cluster)
        c.check([r[0] for r in query(cluster[1], "SELECT v FROM t ORDER BY id", "linearizable")]
                == values, "content after a restart of all")
        values.append("b%d" % len(values))
        c.write(cluster[2], values[-1])
    c.same_everywhere(cluster, values)
    c.clean_stop(cluster)


def services_die(c):
    """Each process of the leader and of a follower: the node is back by itself."""
    if not c.ours:
        return
    cluster = c.formed()
    values = []
    for role in ("leader", "follower"):
        for service in SERVICES:
            node = cluster.leader() if role == "leader" else cluster.followers()[0]
            c.need(signal_all(processes(node, service), signal.SIGKILL), "%s isn't there" % service)
            for n in cluster:
                values.append("%s/%s/%s" % (role, service, n.node_id))
                seconds = c.writes_again(n, values[-1])
                c.check(seconds < 5.0, "%s of the %s killed: a write on %s took %.1f s"
                        % (service, role, n.node_id, seconds))
            c.check(node.root.poll() is None, "the launcher ended")
    found = c.same_everywhere(cluster)
    c.check(set(found) == set(values), "content is %s" % shorten(found))
    c.clean_stop(cluster)


def late_node_catches_up(c):
    """Away for more than memory holds, with checkpoints meanwhile; then under load."""
    cluster = c.formed(flags=["-raft-snap=200", "-raft-snap-wal-size=262144"])
    late = cluster.followers()[0]
    late.kill_tree()
    leader = cluster.leader()
    pad = "y" * 20000
    for n in range(60):
        execute(leader, *[["INSERT INTO t(v) VALUES(?)", "%d/%d %s" % (n, i, pad)] for i in range(25)])
    for n in range(1200):
        c.write(leader, str(n))
    quit_ = threading.Event()

    def keep_writing():
        n = 0
        while not quit_.is_set():
            n += 1
            try:
                c.write(leader, "while/%d" % n)
            except (Refused, HttpFailure):
                pass

    thread = threading.Thread(target=keep_writing)
    thread.start()
    begin = time.monotonic()
    late.start()
    try:
        late.wait_ready(60)
        c.check(time.monotonic() - begin < 20, "took %.1f s" % (time.monotonic() - begin))
    except NodeError as e:
        c.check(False, "it doesn't catch up: %s" % e)
    quit_.set()
    thread.join()
    c.same_everywhere(cluster)
    # And once it has caught up it counts: the other follower may go.
    other = next(n for n in cluster if n not in (late, leader))
    other.kill_tree()
    c.writes_again(leader, "last", 5)
    other.start()
    other.wait_ready(30)
    c.same_everywhere(cluster)
    c.clean_stop(cluster)


# ---------------------------------------------------------------------------- without some

def goes_on_without_one(c):
    for role in ("leader", "follower"):
        cluster = c.formed()
        c.write(cluster[0], "a")
        victim = cluster.leader() if role == "leader" else cluster.followers()[0]
        rest = [n for n in cluster if n is not victim]
        victim.kill_tree()
        seconds = c.writes_again(rest[0], "b")
        c.check(seconds < 5, "without the %s: first write after %.2f s" % (role, seconds))
        for node in rest:
            c.write(node, node.node_id)
            for level in LEVELS:
                rows = query(node, "SELECT count(*) FROM t", level, timeout=10)
                c.check(level == "none" or rows[0][0] >= 3, "%s read without the %s: %s"
                        % (level, role, rows))
            status, text = outcome(node, "GET", "/readyz")
            c.check(status == 200, "/readyz of %s: %d %s" % (node.node_id, status, text))

            def says_so(node=node):
                listed = json.loads(ask(node, "GET", "/nodes?timeout=2s").body)
                return [k for k, e in listed.items() if not e["reachable"]] == [victim.node_id]
            try:
                wait_for("/nodes", 10, says_so)
            except NodeError:
                c.check(False, "/nodes of %s doesn't say that %s is away: %s" % (
                    node.node_id, victim.node_id, outcome(node, "GET", "/nodes?timeout=2s")))
        victim.start()
        victim.wait_ready(30)
        c.same_everywhere(cluster)
        c.clean_stop(cluster)


def refuses_without_majority(c, size=3):
    """Two of three away: definite refusals in time, level none goes on, nothing stale is current."""
    cluster = c.formed(size)
    c.write(cluster[0], "a")
    survivor = cluster.followers()[0] if size == 3 else cluster.leader()
    keep = size // 2
    staying = [survivor, *[n for n in cluster if n is not survivor][:keep - 1]]
    for node in cluster:
        if node not in staying:
            node.kill_tree()
    refused, unknown = [], []
    end = time.monotonic() + 6
    n = 0
    while time.monotonic() < end:
        n += 1
        begin = time.monotonic()
        status, text = outcome(survivor, "POST", "/db/execute?timeout=1s",
                               [["INSERT INTO t(v) VALUES(?)", "lonely/%d" % n]])
        c.check(is_definite_failure(status, text), "a write: %d %s" % (status, text))
        c.check(time.monotonic() - begin < 3.0, "a write was answered after %.1f s, timeout=1s"
                % (time.monotonic() - begin))
        (refused if status == 503 else unknown).append("lonely/%d" % n)
        for level in CURRENT:
            begin = time.monotonic()
            status, text = read_outcome(survivor, level, params="timeout=1s")
            c.check(is_definite_failure(status, text), "a %s read: %d %s" % (level, status, text))
            c.check(time.monotonic() - begin < 3.0, "a %s read was answered late" % level)
        status, text = read_outcome(survivor, "none")
        c.check(status == 200 and '"error"' not in text, "a none read: %d %s" % (status, text))
        time.sleep(0.05)
    if c.ours:
        c.check(refused, "all %d writes are unknown, none was refused: is there still a leader?"
                % len(unknown))
    status, text = read_outcome(survivor, "weak")
    c.check(is_definite_failure(status, text), "a weak read long after: %d %s" % (status, text))
    status, text = outcome(survivor, "GET", "/readyz?timeout=1s")
    c.check(status == 503, "/readyz: %d %s" % (status, text))
    status, text = outcome(survivor, "GET", "/status", timeout=5)
    c.check(status == 200, "/status: %d %s" % (status, text))
    status, text = outcome(survivor, "GET", "/nodes?timeout=1s", timeout=10)
    c.check(status in (200, 503), "/nodes: %d %s" % (status, text))
    status, text = outcome(survivor, "POST", "/leader?timeout=1s", timeout=10)
    c.check(status in (500, 503) or not c.ours, "POST /leader: %d %s" % (status, text))
    for node in cluster:
        if node not in staying:
            node.start()
    cluster.wait_ready(30)
    c.write(survivor, "b")
    values = c.same_everywhere(cluster)
    c.check([v for v in values if not v.startswith("lonely")] == ["a", "b"], "content: %s"
            % shorten(values))
    c.check(not set(refused) & set(values), "refused, but there: %s" % (set(refused) & set(values)))
    c.check(len(set(values)) == len(values), "done twice: %s" % shorten(values))
    c.clean_stop(cluster)


def refuses_without_majority_of_five(c):
    refuses_without_majority(c, 5)


def five_go_on_without_two(c):
    cluster = c.formed(5)
    for _ in range(2):
        leader = cluster.leader(nodes=[n for n in cluster if n.root.returncode is None])
        leader.kill_tree()
        rest = [n for n in cluster if n.root.returncode is None]
        seconds = c.writes_again(rest[0], "x")
        c.check(seconds < 5, "%d left: first write after %.2f s" % (len(rest), seconds))
    for node in rest:
        c.write(node, node.node_id)
    for node in cluster:
        if node not in rest:
            node.start()
    cluster.wait_ready(30)
    check_documents(c, cluster)
    c.same_everywhere(cluster)
    c.clean_stop(cluster)


def stopped_leader(c):
    """Its consensus is stopped and goes on later: what it is asked meanwhile isn't answered stale."""
    cluster = c.formed()
    c.write(cluster[0], "old")
    for name in ("rq-consensus", "all") if c.ours else ("all",):
        leader = cluster.leader()
        rest = [n for n in cluster if n is not leader]
        procs = processes(leader, name)
        found = []

        def read(level, leader=leader, found=found):
            found.append((level, *outcome(leader, "POST", "/db/query?timeout=20s&level=" + level,
                                          ["SELECT v FROM t WHERE id = 1"])))

        signal_all(procs, signal.SIGSTOP)
        threads = [threading.Thread(target=read, args=(level,)) for level in CURRENT * 3]
        for thread in threads:
            thread.start()
        try:
            new = cluster.leader(ELECTION, rest)
            c.check(new is not leader, "it still leads")
            wait_for("a write", ELECTION, lambda: execute(
                rest[0], "UPDATE t SET v = 'new %s' WHERE id = 1" % name,
                params="timeout=2s", timeout=5))
        finally:
            signal_all(procs, signal.SIGCONT)
        for thread in threads:
            thread.join()
        for level, status, text in found:
            c.check(status != 200 or '"error"' in text or "new %s" % name in text,
                    "a %s read of the leader whose %s was stopped: %d %s" % (level, name, status, text))
        wait_for("one leader", ELECTION, lambda: len(cluster.leaders()) == 1)
        c.writes_again(leader, "after " + name)
    c.same_everywhere(cluster)
    c.clean_stop(cluster)


# ---------------------------------------------------------------------------- strangers

def garbage_on_the_raft_port(c):
    cluster = c.formed()
    node = cluster.leader()
    time.sleep(0.5)
    term = raft_state(node)["term"]
    memory = node.rss_kib()
    size = os.path.getsize(node.log_path)
    rng = random.Random(5)
    pieces = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
              b"\xff" * 4096, b"\0" * 4096, b"", b"SSH-2.0-x\r\n", rng.randbytes(100000),
              b"\x7f" * 8 + rng.randbytes(64)]
    for n in range(160):
        with socket.socket() as s:
            s.settimeout(2)
            try:
                s.connect((node.host, node.raft_port))
                s.sendall(pieces[n % len(pieces)])
                if n % 3 == 0:
                    s.recv(1)
            except OSError:
                pass
        if n % 40 == 0:
            c.write(cluster[1], str(n))
    silent = []
    for _ in range(200):
        s = socket.socket()
        s.settimeout(2)
        try:
            s.connect((node.host, node.raft_port))
            silent.append(s)
        except OSError:
            s.close()
    try:
        for n in cluster:
            c.write(n, "beside")
        # New links of members find a place beside those that say nothing.
        other = next(n for n in cluster if n is not node)
        other.kill_tree()
        other.start()
        other.wait_ready(30)
        c.write(other, "back")
    finally:
        for s in silent:
            s.close()
    c.check(node.root.poll() is None, "the node ended")
    if c.ours:
        c.check(cluster.leader() is node and raft_state(node)["term"] == term, "leader or term changed")
        c.check(node.rss_kib() < memory + 64 * 1024, "memory grew from %d to %d KiB"
                % (memory, node.rss_kib()))
        with open(node.log_path, "rb") as f:
            f.seek(size)
            lines = f.read().count(b"\n")
        c.check(0 < lines <= 40, "%d log lines of 360 wrong connections" % lines)
    check_documents(c, cluster)
    c.same_everywhere(cluster)
    c.clean_stop(cluster)


def stranger(c):
    """A node of another cluster, and a new node with the id of a member, that are led here."""
    cluster = c.formed()
    c.write(cluster[0], "a")
    other = c.formed()
    c.write(other[0], "theirs")
    join = ",".join(n.raft_address() for n in cluster)
    # A member of the other cluster is restarted with the addresses of this one.
    lost = other[2]
    lost.kill_tree()
    before = lost.command
    lost.command = [join if "," in w and w == before[before.index("-join") + 1] else w for w in before]
    lost.start()
    # One with an id that is taken. (One that nobody knows joins: membership.py.)
    strangers = []
    for node_id in ("n1",):
        strangers.append(c.node(node_id, "-bootstrap-expect", "3", "-join", join))
    try:
        time.sleep(4)
        c.write(cluster[1], "b")
        check_documents(c, cluster) if c.ours else None
        c.same_everywhere(cluster, ["a", "b"])
        if c.ours:
            for node in strangers:
                status, text = outcome(node, "GET", "/readyz?timeout=500ms", timeout=5)
                c.check(status != 200, "a stranger says that it is ready: %s" % text)
                status, text = outcome(node, "POST", "/db/execute?timeout=500ms", [TABLE], timeout=5)
                c.check(status != 200, "a stranger takes writes: %s" % text)
        c.write(other[0], "still theirs")
    finally:
        for node in strangers:
            node.kill_tree()
    lost.kill_tree()
    lost.command = before
    lost.start()
    lost.wait_ready(30)
    c.same_everywhere(other, ["theirs", "still theirs"])
    c.clean_stop(cluster)
    c.clean_stop(other)


def wiped_disk_under_an_old_id(c):
    """It has forgotten what it promised, so it must not help to elect."""
    if not c.ours:
        return
    cluster = c.formed()
    wiped, late, third = cluster.followers()[0], cluster.followers()[1], cluster.leader()
    late.kill_tree()
    c.write(third, "promised")          # on the leader and on the one that is wiped
    for node in (wiped, third):
        node.kill_tree()
    shutil.rmtree(wiped.data_dir)
    # late has not got the write and would win with the vote of the wiped one.
    late.start()
    wiped.start()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for node in (late, wiped):
            status, text = outcome(node, "POST", "/db/execute?timeout=300ms",
                                   ["INSERT INTO t(v) VALUES('wrong')"], timeout=5)
            c.check(status != 200, "acknowledged with a majority that forgot: %d %s" % (status, text))
    third.start()
    # The two that remember form a majority.
    c.writes_again(third, "after", 20)
    rows = query(late, "SELECT v FROM t WHERE v <> 'wrong' ORDER BY id", "linearizable")
    c.check(rows[:1] == [("promised",)] and set(rows[1:]) == {("after",)}, "content: %s" % shorten(rows))


# ---------------------------------------------------------------------------- cut links

def isolated_leader(c):
    cluster = c.formed(network=True)
    c.write(cluster[0], "a")
    leader = cluster.leader()
    i = cluster.index(leader)
    rest = [n for n in cluster if n is not leader]
    c.network.cut(cluster_net.both_ways([i], [j for j in range(3) if j != i]))
    begin = time.monotonic()
    refused, unknown = [], []
    new_value_at = None
    n = 0
    while time.monotonic() < begin + 8:
        n += 1
        status, text = outcome(leader, "POST", "/db/execute?timeout=500ms",
                               [["INSERT INTO t(v) VALUES(?)", "cut off/%d" % n]])
        c.check(is_definite_failure(status, text), "a write on the cut-off leader: %d %s" % (status, text))
        (refused if status == 503 else unknown).append("cut off/%d" % n)
        if new_value_at is None:
            try:
                c.write(rest[n % 2], "new", 3.0, "timeout=500ms")
                new_value_at = time.monotonic() - begin
            except (Refused, HttpFailure):
                pass
        for level in CURRENT:
            status, text = read_outcome(leader, level, params="timeout=300ms")
            c.check(is_definite_failure(status, text), "a %s read on the cut-off leader after %.1f s: %d %s"
                    % (level, time.monotonic() - begin, status, text))
        status, text = read_outcome(leader, "none")
        c.check(status == 200, "a none read on the cut-off leader: %d %s" % (status, text))
    c.check(new_value_at is not None, "the others took no write in 8 s")
    status, text = read_outcome(leader, "weak")
    c.check(is_definite_failure(status, text), "a weak read on the cut-off leader after 8 s: %d %s"
            % (status, text))
    if c.ours:
        c.check(not cluster.leaders([leader]), "it still believes to lead after 8 s")
    c.network.heal()
    seconds = c.writes_again(leader, "b")
    c.check(seconds < 5, "healed: the first write on it took %.1f s" % seconds)
    values = c.same_everywhere(cluster)
    c.check(not set(refused) & set(values), "refused, but there: %s" % (set(refused) & set(values)))
    c.check(len(set(values) - {"new"}) + values.count("new") == len(values), "done twice: %s"
            % shorten(values))
    c.clean_stop(cluster)


def isolated_follower_disturbs_nobody(c):
    """Cut off, it can't win; back, it doesn't depose the leader."""
    cluster = c.formed(network=True)
    follower = cluster.followers()[0]
    leader = cluster.leader()
    i = cluster.index(follower)
    term = raft_state(leader)["term"]
    c.network.cut(cluster_net.both_ways([i], [j for j in range(3) if j != i]))
    for n in range(40):
        c.write(leader, str(n))
        time.sleep(0.1)
    c.network.heal()
    c.writes_again(follower, "b")
    for _ in range(20):
        c.write(leader, "c")
        time.sleep(0.05)
    c.check(cluster.leader() is leader, "leadership has moved")
    now = raft_state(leader)["term"]
    c.check(now == term, "the term went from %s to %s" % (term, now))
    c.same_everywhere(cluster)
    c.clean_stop(cluster)


def half_cut_links(c):
    """One direction is lost: to or from the leader, all or one link. Somebody leads and can write."""
    cluster = c.formed(network=True)
    for name in ("leader mute", "leader deaf", "one link of the leader", "one follower mute"):
        leader = cluster.leader()
        i = cluster.index(leader)
        rest = [j for j in range(3) if j != i]
        pairs = {"leader mute": {(i, j) for j in rest}, "leader deaf": {(j, i) for j in rest},
                 "one link of the leader": {(i, rest[0])},
                 "one follower mute": {(rest[0], i), (rest[0], rest[1])}}[name]
        c.network.cut(pairs)
        time.sleep(3)
        able = [cluster[j] for j in rest] if name.startswith("leader") else [cluster[rest[1]]]
        for node in able:
            try:
                seconds = c.writes_again(node, name)
                c.check(seconds < 5, "%s: a write took %.1f s more" % (name, seconds))
            except NodeError as e:
                c.check(False, "%s: %s" % (name, e))
        c.network.heal()
        for node in cluster:
            try:
                c.writes_again(node, "healed")
            except NodeError as e:
                c.check(False, "healed after %s: %s" % (name, e))
    c.same_everywhere(cluster)
    c.clean_stop(cluster)


def bridge(c, size=3):
    """Two that don't hear each other and one that hears both: somebody leads, and for long."""
    cluster = c.formed(size, network=True)
    for middle in range(size):
        rest = [j for j in range(size) if j != middle]
        half = len(rest) // 2
        c.network.cut(cluster_net.both_ways(rest[:half], rest[half:]))
        try:
            c.writes_again(cluster[middle], "bridge")
        except NodeError as e:
            c.check(False, "bridge over n%d: %s" % (middle + 1, e))
        time.sleep(1)
        before = raft_state(cluster[middle])["term"]
        failed = 0
        for n in range(30):
            status, text = outcome(cluster[middle], "POST", "/db/execute?timeout=1s",
                                   ["INSERT INTO t(v) VALUES('x')"])
            failed += not (status == 200 and "error" not in text)
            time.sleep(0.1)
        after = raft_state(cluster[middle])["term"]
        c.check(int(after) - int(before) <= 2, "bridge over n%d: term went from %s to %s in 3 s"
                % (middle + 1, before, after))
        c.check(failed <= 5, "bridge over n%d: %d of 30 writes failed" % (middle + 1, failed))
        c.network.heal()
        for node in cluster:
            c.writes_again(node, "healed")
    c.same_everywhere(cluster)
    c.clean_stop(cluster)


def bridge_of_five(c):
    bridge(c, 5)


def cut_off_during_forming(c):
    """A link is missing when the cluster forms; it forms once it is there, and only one."""
    cluster = c.form(start=False, network=True)
    c.network.cut(cluster_net.both_ways([0], [1, 2]))
    cluster.start()
    time.sleep(3)
    c.check(outcome(cluster[1], "GET", "/readyz?timeout=500ms")[0] != 200, "two of three have founded")
    c.network.heal()
    cluster.wait_ready(30)
    check_documents(c, cluster)
    c.clean_stop(cluster)


def fifteen_go_on_without_seven(c):
    """The most that are supported, and the most of them that may be away."""
    cluster = c.form(15, start=False)
    cluster.start()
    cluster.wait_ready(60)
    execute(cluster[0], TABLE)
    expected = [n.node_id for n in cluster]
    for node in cluster:
        c.write(node, node.node_id)
    for _ in range(7):
        cluster.leader(nodes=[n for n in cluster if n.root.returncode is None]).kill_tree()
        c.writes_again(next(n for n in cluster if n.root.returncode is None), "x", 20)
    dead = [n for n in cluster if n.root.returncode is not None]
    c.check(len(dead) == 7, "%d are away" % len(dead))
    cluster.start(dead)
    cluster.wait_ready(60)
    found = c.same_everywhere(cluster)
    c.check(found[:15] == expected and set(found[15:]) == {"x"}, "content is %s" % shorten(found))
    listed = json.loads(ask(cluster[0], "GET", "/nodes?ver=2").body)["nodes"]
    c.check(sum(e["voter"] for e in listed) == 15, "/nodes: %s" % shorten(listed))
    c.clean_stop(cluster)


TESTS = [forms_with_three, forms_with_five, forms_one_by_one, forms_although_killed,
         every_level_everywhere, followers_forward, redirects, leadership_transfers,
         any_node_hands_over, transfers_lose_nothing, any_node_restarts, all_nodes_restart, services_die,
         late_node_catches_up, goes_on_without_one, refuses_without_majority,
         refuses_without_majority_of_five, five_go_on_without_two, fifteen_go_on_without_seven, stopped_leader,
         garbage_on_the_raft_port, stranger, wiped_disk_under_an_old_id]
NETWORK_TESTS = [isolated_leader, isolated_follower_disturbs_nobody, half_cut_links, bridge,
                 bridge_of_five, cut_off_during_forming]


def main():
    parser = cases.arguments(__doc__)
    parser.add_argument("--peer-server", action="store_true",
                        help="not rq: leave out what only rq promises")
    parser.add_argument("--part", choices=("loopback", "network"), help="only tests on loopback, or those that cut links")
    args = parser.parse_args()
    tests = {"loopback": TESTS, "network": NETWORK_TESTS}.get(args.part, TESTS + NETWORK_TESTS)
    why = None
    if not cluster_net.inside():
        why = cluster_net.missing()
        if why is None:
            cluster_net.enter()
    network = cluster_net.Network(5) if why is None else None
    return cases.main(tests, lambda *more: Case(*more, network), args,
                      lambda test: why if test in NETWORK_TESTS and network is None else None)


if __name__ == "__main__":
    sys.exit(main())
