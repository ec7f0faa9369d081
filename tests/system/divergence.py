#!/usr/bin/env python3
"""Nodes whose outcomes differ: a database that is changed behind a node's back is noticed, set aside and
seeded anew, without a majority nothing is thrown away, and nothing that is allowed to happen looks like it.
Real processes; each test has a cluster of its own.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases
from cluster_nodes import Refused, ask, execute, leader_of, processes, query, raft_state, signal_all, state_of, wait_for
from rqnode import HttpFailure
from snapshots import Case, Load, fill, first_index

LONG = 60.0
EXTENSION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../unit/store/extension/rot13.c")


def status_nodes(node):
    """By id, what this node says of the outcomes of each."""
    response = ask(node, "GET", "/status?key=store.nodes", timeout=5.0)
    return {n["id"]: n for n in json.loads(response.body)}


def verdicts(node):
    return {i: n.get("outcomes") for i, n in status_nodes(node).items()}


def equal_everywhere(nodes, index=0):
    """All of them say of all of them that they are equal, as of an entry behind index."""
    for node in nodes:
        found = status_nodes(node)
        if len(found) != len(nodes) or any(n.get("outcomes") != "equal" or n.get("outcomes_index", 0) <= index for n in found.values()):
            return False
    return True


def write_until(node, seconds, probe):
    """A write now and then, since entries are what is compared."""
    def look():
        execute(node, "INSERT INTO ticks(v) VALUES('tick')")
        return probe()
    return wait_for(probe.__doc__ or "it", seconds, look, 0.3)


def prepare(c, size=3):
    cluster = c.cluster(size)
    execute(cluster[0], "CREATE TABLE ticks(id INTEGER PRIMARY KEY, v TEXT)")
    execute(cluster[0], "CREATE TABLE odd(id INTEGER PRIMARY KEY, v TEXT)")
    execute(cluster[0], "CREATE TABLE seen(id INTEGER PRIMARY KEY, n INTEGER)")
    for i in range(200):
        execute(cluster[0], ["INSERT INTO odd(v) VALUES(?)", "quite ordinary %03d %s" % (i, "-" * 60)])
    return cluster


def change_behind_its_back(c, node, *flags):
    """As a disk does that returns other bytes: SQLite's own programs would be noticed at the start. It starts with these flags, too."""
    before = node.stop()
    c.check(not before, "it stopped with %s" % before)
    path = os.path.join(node.data_dir, "store", "db.sqlite")
    with open(path, "r+b") as f:
        bytes_of_file = f.read()
        at = bytes_of_file.find(b"quite ordinary 007")
        c.need(at > 4096, "the row isn't in the file")
        while at > 0: # also where it was before its page was split
            f.seek(at)
            f.write(b"quite different 07")
            at = bytes_of_file.find(b"quite ordinary 007", at + 1)
    db = sqlite3.connect("file:%s?mode=ro&immutable=1" % path, uri=True)
    c.check(db.execute("SELECT count(*) FROM odd WHERE v LIKE 'quite diff%'").fetchone() == (1,), "nothing was changed")
    db.close()
    node.command[-1:-1] = flags
    node.start()
    node.wait_ready(LONG)


def set_aside(node):
    return os.path.exists(os.path.join(node.data_dir, "store", "aside", "1", "diverged"))


def see_it(node):
    """A statement with another outcome where the row is another one."""
    execute(node, "DELETE FROM odd WHERE v LIKE 'quite ordinary 007%'")


def check_whole(c, cluster, load):
    acknowledged = load.end()
    c.check(not load.failed, "writes failed: %s" % load.failed[:3])
    c.check(acknowledged > 0, "no write at all")
    found = c.same_everywhere(cluster, acknowledged)
    c.check(found >= acknowledged, "%d rows of %d acknowledged writes" % (found, acknowledged))
    rows = [query(n, "SELECT count(*), sum(id), group_concat(v) FROM odd", "none") for n in cluster]
    c.check(rows.count(rows[0]) == len(rows) and rows[0][0][0] == 199, "odd: %s" % [r[0][:2] for r in rows])


# ---------------------------------------------------------------------------- tests

def noticed_and_seeded_anew(c):
    """Under load; first its log is there from the beginning, then it needs a snapshot."""
    for dropped in (False, True):
        cluster = prepare(c)
        for _ in range(20 if dropped else 0):
            fill(cluster[0], 1.5)
            if all(first_index(n) > 5 for n in cluster):
                break
        c.need(not dropped or all(first_index(n) > 5 for n in cluster), "a log has its beginning still")
        victim = next(n for n in cluster if n is not leader_of(list(cluster)))
        change_behind_its_back(c, victim)
        others = [n for n in cluster if n is not victim]
        load = Load(others)
        try:
            see_it(others[0])
            wait_for("it is set aside", LONG, lambda: set_aside(victim), 0.2)
            victim.wait_ready(LONG)
            wait_for("all are equal again", LONG, lambda: equal_everywhere(cluster), 0.3)
        finally:
            check_whole(c, cluster, load)
        c.check("The database has diverged" in victim.log(), "the node doesn't say it")
        c.check(any("has other outcomes of the log's entries" in n.log() for n in others), "no other node says it")
        c.check(not any(set_aside(n) for n in others), "another node threw its database away, too")
        c.check(not dropped or "Seeded" in victim.log(), "no snapshot was needed")
        c.end(False)
        c.nodes.clear()


def a_leader_that_is_wrong(c):
    """It hands leadership over, then it is seeded."""
    cluster = prepare(c)
    victim = next(n for n in cluster if n is not leader_of(list(cluster)))
    change_behind_its_back(c, victim)
    others = [n for n in cluster if n is not victim]

    def leads():
        ask(victim, "POST", "/leader?wait=true", {"id": victim.node_id}, timeout=10.0)
        return (raft_state(victim) or {}).get("state") == "Leader"
    wait_for("it leads", LONG, leads, 0.5)
    load = Load(others)
    try:
        see_it(victim)
        wait_for("it is set aside", LONG, lambda: set_aside(victim), 0.2)
        victim.wait_ready(LONG)
        wait_for("all are equal again", LONG, lambda: equal_everywhere(cluster), 0.3)
    finally:
        check_whole(c, cluster, load)
    c.check("handing leadership over" in victim.log(), "it didn't hand leadership over")
    c.check(not any(set_aside(n) for n in others), "another node threw its database away, too")


def without_a_majority(c):
    """Of two that differ nobody knows who is right: it is told, and both are kept."""
    cluster = prepare(c, 2)
    victim = next(n for n in cluster if n is not leader_of(list(cluster)))
    other = next(n for n in cluster if n is not victim)
    change_behind_its_back(c, victim)
    see_it(other)

    def told():
        return all("no majority agrees" in n.log() for n in cluster)
    write_until(other, LONG, told)
    c.check(set(verdicts(other).values()) == {"undecided"}, "verdicts: %s" % verdicts(other))
    c.check(not any(set_aside(n) for n in cluster), "a database was thrown away")
    c.check(all(ask(n, "GET", "/readyz").status == 200 for n in cluster), "/readyz")
    # A third one decides.
    third = c.node("n3", "-join", other.raft_address())
    third.wait_ready(LONG)
    nodes = [other, victim, third]

    def decided():
        return any(set_aside(n) for n in nodes)
    write_until(other, LONG, decided)
    wait_for("all are equal again", LONG, lambda: write_until(other, LONG, lambda: True) and equal_everywhere(nodes), 0.5)
    c.check(sum(set_aside(n) for n in nodes) == 1, "not one of them was set aside")


def with_other_extensions_it_is_told_only(c):
    """Who computes with something else may be right in its way: first that is made equal (hazard 28)."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    c.need(compiler, "no C compiler")
    cluster = prepare(c)
    victim = next(n for n in cluster if n is not leader_of(list(cluster)))
    others = [n for n in cluster if n is not victim]
    library = os.path.join(victim.work_dir, "rot13.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, EXTENSION], check=True)
    change_behind_its_back(c, victim, "-extensions-path", library)
    see_it(others[0])

    def told():
        return all("but not the same SQLite, extensions" in n.log() for n in cluster)
    write_until(others[0], LONG, told)
    c.check(verdicts(others[0])[victim.node_id] == "different", "verdicts: %s" % verdicts(others[0]))
    c.check("has other extensions than this node" in others[0].log(), "that extensions differ isn't told")
    c.check(not any(set_aside(n) for n in cluster), "a database was thrown away")
    victim.stop()
    del victim.command[-3:-1]
    victim.start()
    wait_for("it is set aside", LONG, lambda: write_until(others[0], LONG, lambda: True) and set_aside(victim), 0.3)
    victim.wait_ready(LONG)
    wait_for("all are equal again", LONG, lambda: write_until(others[0], LONG, lambda: True) and equal_everywhere(cluster), 0.3)
    c.check(not any(set_aside(n) for n in others), "another node threw its database away, too")


def nothing_else_looks_like_it(c):
    """Kills, restarts, snapshots, a load, VACUUM, failing statements: no verdict but equal."""
    cluster = prepare(c)
    copy = sqlite3.connect(":memory:")
    copy.executescript("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, b BLOB); CREATE TABLE ticks(id INTEGER PRIMARY KEY, v TEXT);"
                       "CREATE TABLE odd(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE seen(id INTEGER PRIMARY KEY, n INTEGER);"
                       "INSERT INTO odd(v) SELECT 'loaded'")
    loaded = leader_of(list(cluster)).client(20.0).request("POST", "/db/load", copy.serialize(), {"Content-Type": "application/octet-stream"})
    c.check(loaded.status == 200, "load: %d %s" % (loaded.status, loaded.body[:200]))
    rng = random.Random(c.args.seed)
    end = time.monotonic() + c.args.seconds
    load = Load(cluster)
    i = 0
    while time.monotonic() < end:
        i += 1
        leader, victim = leader_of(list(cluster)), rng.choice(list(cluster))
        try:
            for statement in ("INSERT OR ROLLBACK INTO odd(id, v) VALUES(1, 'twice')", "INSERT INTO odd(id, v) VALUES(1, 'twice')",
                              "INSERT INTO nope VALUES(1)", "UPDATE odd SET v = v || random() WHERE id %% 7 = %d" % (i % 7),
                              "SELEC", "INSERT INTO seen(n) SELECT changes()", "INSERT INTO seen(n) SELECT count(*) FROM odd"):
                ask(leader, "POST", "/db/execute?transaction" if i % 3 == 0 else "/db/execute", [statement], timeout=20.0)
            if i % 4 == 0:
                execute(leader, "VACUUM")
            what = rng.choice(["rq-store", "rq-consensus", "all", "stop"])
            if what == "stop":
                victim.stop()
                victim.start()
            elif what == "all":
                victim.kill_tree()
                victim.start()
            else:
                signal_all(processes(victim, what), signal.SIGKILL)
            victim.wait_ready(LONG)
        except (HttpFailure, Refused) as e:
            c.check(getattr(e, "sent", True), "refused: %s" % e)
    load.end() # a node that is killed takes answers along
    since = max(int(state_of(n)["last_log_index"]) for n in cluster)

    def equal():
        return equal_everywhere(cluster, since)
    write_until(leader_of(list(cluster)), LONG, equal)
    c.same_everywhere(cluster)
    profiles = {(n["sqlite_version"], n["profile"], n["extensions"]) for node in cluster for n in status_nodes(node).values()}
    c.check(len(profiles) == 1, "profiles: %s" % profiles)
    for node in cluster:
        text = node.log()
        c.check(not any(w in text for w in ("diverged", "other outcomes", "different outcomes", "another build of SQLite")),
                "%s says that outcomes differ" % node.node_id)
        c.check(not set_aside(node), "a database was thrown away")


TESTS = [noticed_and_seeded_anew, a_leader_that_is_wrong, without_a_majority, with_other_extensions_it_is_told_only,
         nothing_else_looks_like_it]


def main():
    parser = cases.arguments(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=6, help="of kills and restarts")
    return cases.main(TESTS, Case, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
