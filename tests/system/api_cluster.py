#!/usr/bin/env python3
"""The HTTP contract in a cluster, as tables: what the leader, a follower and a node without a leader
answer to the same requests. How rows are compared: api.py."""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from api import JSON_TYPE, J, R, Row, columns, execute, get, problem, queued, query, request
from cluster_nodes import Cluster, ask, execute as run_sql, wait_for
from rqnode import HttpFailure, NodeError, Tally, exit_on_sigterm

ONE = columns(["1"], ["integer"], [[1]])
ROW = R(r'\{"results":\[\{"last_insert_id":\d+,"rows_affected":1\}\]\}')
INSERT = '["INSERT INTO m(v) VALUES(1)"]'
NO_LEADER = "leader not found\n"
HERE = {"X-Rqlite-Served-By": "{http}"}
LEVELS = ("none", "weak", "linearizable", "strong", "auto")


def anywhere():
    """On the leader and on a follower alike: any node serves everything."""
    rows = [execute(INSERT, ROW, has=HERE), execute(INSERT, ROW, "?transaction&timeout=5s"),
            request(INSERT, ROW, has=HERE),
            request('["SELECT 1","INSERT INTO m(v) VALUES(2)"]', R(r'.*"values":\[\[1\]\].*rows_affected.*')),
            request('["SELECT 1"]', ONE, "?level=none"), execute(INSERT, R(r'.*"raft_index":\d+\}'), "?raft_index"),
            execute(INSERT, queued, "?queue"), execute(INSERT, queued, "?queue&wait", lacks=("X-Rqlite-Served-By",)),
            execute('["BEGIN","INSERT INTO m(v) VALUES(3)","COMMIT"]', R(r'\{"results":\[\{\},\{.*\},\{\}\]\}')),
            get("/db/sql?q=SELECT%201", R(r'\{"results":\[\{"original":"SELECT 1".*')),
            get("/readyz", "[+]node ok\n[+]leader ok\n[+]store ok\n[+]db ok"),
            get("/readyz?sync", "[+]node ok\n[+]leader ok\n[+]store ok\n[+]sync ok\n[+]db ok"),
            get("/readyz?noleader", "[+]node ok"),
            get("/leader", R(r'\{"id":"n\d","api_addr":"http://[^"]+","addr":"[^"]+","version":"10","voter":true,'
                             r'"reachable":true,"leader":true,"time":[^,]+,"time_s":"[^"]+"\}')),
            get("/nodes", R(r'\{("n\d":\{[^}]*\},?){3}\}')), get("/nodes?ver=2", R(r'\{"nodes":\[(\{[^}]*\},?){3}\]\}')),
            Row("POST", "/leader?wait", '{"id":"nobody"}', 500, "stepdown: node not found in cluster\n",
                {"Content-Type": "application/json"}),
            get("/status?key=store.leader.node_id", R(r'"n\d"')), get("/status?key=store.ready", "true")]
    for level in LEVELS:
        rows.append(get("/db/query?q=SELECT%201&level=" + level, ONE, has=HERE))
        rows.append(query('["SELECT count(*) > 0 AS x FROM m"]', columns(["x"], ["integer"], [[1]]), "?level=" + level))
    rows.append(get("/db/query?q=SELECT%201&level=none&freshness=10s", ONE))
    rows.append(get("/db/query?q=SELECT%201&level=none&freshness=10s&freshness_strict", ONE))
    return rows


def redirected(leader):
    """On a follower, with `redirect`: 301 to the leader, the query as it was sent."""
    def to(method, target, body=None, **more):
        return Row(method, target, body, 301, "", has={"Location": "http://%s%s" % (leader.address(), target)}, **more)
    return [to("POST", "/db/execute?redirect&pretty", INSERT), to("POST", "/db/execute?pretty&redirect=x%20y", INSERT),
            to("POST", "/db/request?redirect", INSERT), to("GET", "/db/query?q=SELECT%201&redirect"),
            to("GET", "/db/query?redirect&level=strong&q=SELECT%20%27a%2Bb%27"), to("POST", "/db/query?redirect", '["SELECT 1"]'),
            to("POST", "/leader?redirect", ""),
            get("/db/query?q=SELECT%201&redirect&level=none", ONE, name="level none is served here"),
            execute(INSERT, queued, "?queue&redirect", name="so are queued writes")]


def without_leader():
    """Two of three are away."""
    rows = [execute(INSERT, NO_LEADER, status=503), execute(INSERT, "leader not found\n", "?redirect", status=500),
            execute(INSERT, NO_LEADER, "?queue", status=503), execute(INSERT, NO_LEADER, "?queue&wait", status=503),
            execute(INSERT, queued, "?queue&noleader"),
            execute(INSERT, "queue wait timeout\n", "?queue&noleader&wait&timeout=200ms", status=408),
            request(INSERT, NO_LEADER, status=503), request('["SELECT 1"]', NO_LEADER, status=503),
            request('["SELECT 1"]', ONE, "?level=none"),
            get("/db/query?q=SELECT%201&level=none", ONE),
            get("/db/query?q=SELECT%201&level=none&freshness=1ns", '{"results":[],"error":"stale read"}'),
            # It was in touch with a leader within that time, which is all that is asked for.
            get("/db/query?q=SELECT%201&level=none&freshness=1h", ONE),
            get("/db/query?q=SELECT%201&level=none&freshness=1h&freshness_strict", ONE),
            get("/leader", NO_LEADER, 503), Row("POST", "/leader?wait", "", 503, NO_LEADER),
            get("/readyz", "[+]node ok\n[+]leader does not exist", 503), get("/readyz?noleader", "[+]node ok"),
            get("/readyz?sync", "[+]node ok\n[+]leader does not exist", 503),
            get("/status?key=store.leader", J('{"addr":"","node_id":""}')), get("/status?key=store.ready", "false"),
            get("/nodes", R(r".*error.*"), has={"Content-Type": JSON_TYPE}),
            Row("GET", "/db/execute", None, 405, ""), get("/nothing", "", 404),
            execute("garbage", "invalid JSON body\n", status=400, name="a body that is wrong is so also then"),
            execute('["PRAGMA journal_mode=DELETE"]', J('{"results":[],"error":"disallowed pragma"}'))]
    rows += [get("/db/query?q=SELECT%201&level=" + level, NO_LEADER, 503) for level in ("weak", "linearizable", "strong", "auto")]
    return rows


def check_rows(tally, where, node, rows):
    client = node.client(30)
    for row in rows:
        label = "%s: %s %s" % (where, row.method, row.target) + (" (%s)" % row.name if row.name else "")
        try:
            response = client.request(row.method, row.target, row.body, row.headers)
        except HttpFailure as e:
            tally.check(False, "%s: %s" % (label, e))
            continue
        wrong = problem(row, response, node)
        if not tally.check(not wrong, "%s: %s" % (label, wrong)):
            print("     got      %d %.400r" % (response.status, response.body))
    client.close()


def run(tally, cluster):
    cluster.start()
    cluster.wait_ready()
    run_sql(cluster[0], "CREATE TABLE m(id INTEGER PRIMARY KEY, v)", "INSERT INTO m(v) VALUES(0)")
    leader = cluster.leader()
    follower, other = [n for n in cluster if n is not leader]
    check_rows(tally, "on the leader", leader, anywhere())
    check_rows(tally, "on a follower", follower, anywhere())
    check_rows(tally, "redirected", follower, redirected(leader))
    leader.kill_tree()
    other.kill_tree()
    wait_for("no leader", 20, lambda: ask(follower, "GET", "/leader").status == 503)
    check_rows(tally, "without a leader", follower, without_leader())


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(here, "../../build/bin/rqd"))
    args = parser.parse_args()
    exit_on_sigterm()
    tally = Tally()
    cluster = Cluster(args.rqd, 3)
    try:
        run(tally, cluster)
    except (NodeError, HttpFailure, ValueError, KeyError) as e:
        tally.check(False, "stopped: %s" % e)
    if tally.failed:
        cluster.dump_logs(15)
    cluster.kill()
    cluster.remove()
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
