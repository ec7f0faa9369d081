#!/usr/bin/env python3
"""The HTTP contract on one node, as a table: request, expected answer.

Rows stand in groups; each group begins with an empty database and its own set-up, its rows run in
order. `deviates` marks where we answer better than rqlite on purpose; with --peer-mode (to check
the table itself against rqlite) these rows are skipped, and where they write, the group's later
rows must not depend on it. `later` marks what a coming version brings: until then the answer must
say "not available yet".

Expected bodies:
  str            exact text
  J('...')       equal JSON: numbers compared as written, keys of the answer and of result objects
                 in the given order, keys of objects below these in any order
  R('...')       regular expression over the whole body
  a function     gets the Response, returns None or what is wrong
"""

import argparse
import json
import os
import re
import sys
import time
from urllib.parse import quote

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rqnode import HttpFailure, Node, NodeError, Tally, exit_on_sigterm

JSON_TYPE = "application/json; charset=utf-8"
TEXT_TYPE = "text/plain; charset=utf-8"


# ---------------------------------------------------------------------------- matching

class Number(str):
    """A JSON number as written: 1 and 1.0 differ, and so do large integers."""


class J:
    def __init__(self, text):
        self.text = text
        self.value = parse(text)

    def __call__(self, response):
        try:
            got = parse(response.body.decode("utf-8"))
        except (ValueError, UnicodeDecodeError) as e:
            return "not JSON (%s)" % e
        return None if same(got, self.value, 0) else "not equal"


class R:
    def __init__(self, pattern):
        self.text = pattern
        self.pattern = re.compile(pattern, re.S)

    def __call__(self, response):
        text = response.body.decode("utf-8", "replace")
        return None if self.pattern.fullmatch(text) else "no match"


def parse(text):
    # Pairs keep order and duplicates.
    return json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs),
                      parse_int=Number, parse_float=Number)


def same(a, b, depth):
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple):
        left, right = a[1], b[1]
        if depth > 2:       # envelope 0, list of results 1, result 2
            left, right = sorted(left, key=lambda p: p[0]), sorted(right, key=lambda p: p[0])
        return (len(left) == len(right)
                and all(k == m and same(v, w, depth + 1) for (k, v), (m, w) in zip(left, right)))
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y, depth + 1) for x, y in zip(a, b))
    return a == b


class Row:
    def __init__(self, method, target, body=None, status=200, expect=None, headers=None,
                 has=None, lacks=(), deviates=False, later=False, name=None):
        self.method = method
        self.target = target
        self.body = body
        self.status = status
        self.expect = expect
        self.headers = headers          # sent
        self.has = has or {}            # expected: name -> value, {http} is the node's address
        self.lacks = lacks
        self.deviates = deviates
        self.later = later
        self.name = name


def execute(body, expect, query="", **more):
    return Row("POST", "/db/execute" + query, body, expect=expect, **more)


def query(body, expect, query="", **more):
    return Row("POST", "/db/query" + query, body, expect=expect, **more)


def request(body, expect, query="", **more):
    return Row("POST", "/db/request" + query, body, expect=expect, **more)


def get(target, expect, status=200, **more):
    return Row("GET", target, None, status, expect, **more)


def bad(method, target, body, text, **more):
    """400 with a text that says why."""
    return Row(method, target, body, 400, text + "\n", **more)


def columns(names, types, values=None):
    """The default form of rows, as JSON text."""
    result = {"columns": names, "types": types}
    if values is not None:
        result["values"] = values
    return J(json.dumps({"results": [result]}))


def one(sql, column, kind, value, **more):
    """A query of one cell; the value is JSON text."""
    return query(json.dumps([sql]), J('{"results":[{"columns":[%s],"types":["%s"],"values":[[%s]]}]}'
                                      % (json.dumps(column), kind, value)), **more)


def cell(sql, kind, value, **more):
    """The same with the column called v."""
    return one(sql + " AS v", "v", kind, value, **more)


def per_statement_error(n=1):
    return R(r'\{"results":\[\{"error":"[^"]+.*"\}' + r",.*" * (n - 1) + r"\]\}")


DISALLOWED = J('{"results":[],"error":"disallowed pragma"}')
EMPTY = J('{"results":[]}')
NOTHING = J('{"results":[{}]}')
READ_ONLY = J('{"results":[{"error":"attempt to change database via query operation"}]}')
FOO = ["CREATE TABLE foo (id INTEGER NOT NULL PRIMARY KEY, name TEXT, age INTEGER)"]
M = ["CREATE TABLE m(id INTEGER PRIMARY KEY, v TEXT UNIQUE NOT NULL)"]
THREE = M + ["INSERT INTO m(v) VALUES('a'),('b'),('c')"]


def count_is(table, n, **more):
    return one("SELECT count(*) AS n FROM " + table, "n", "integer", str(n), **more)


# ---------------------------------------------------------------------------- checks of documents

def has_paths(*paths):
    def check(response):
        document = json.loads(response.body)
        for path in paths:
            value = document
            for key in path.split("."):
                if not isinstance(value, dict) or key not in value:
                    return "lacks " + path
                value = value[key]
        return None
    return check


def status_document(response):
    wrong = has_paths("build.version", "cluster.addr", "cluster.api_addr", "http.bind_addr",
                      "http.auth", "node.start_time", "node.uptime", "os.pid", "store.addr",
                      "store.node_id", "store.ready", "store.raft.state", "store.raft.term",
                      "store.raft.applied_index", "store.raft.commit_index",
                      "store.raft.last_log_index", "store.sqlite3.version",
                      "store.db_applied_index", "store.fsm_index")(response)
    if wrong:
        return wrong
    store = json.loads(response.body)["store"]
    if store["leader"].get("node_id") != "n1" or not store["leader"].get("addr"):
        return "store.leader is %r" % store["leader"]
    if store["raft"]["state"] != "Leader":
        return "store.raft.state is %r" % store["raft"]["state"]
    nodes = store["nodes"]
    if len(nodes) != 1 or nodes[0]["id"] != "n1" or nodes[0]["suffrage"] != "voter":
        return "store.nodes is %r" % nodes
    return None


def node_element(element):
    expected = {"id": "n1", "version": str, "voter": True, "reachable": True, "leader": True,
                "api_addr": re.compile(r"http://127\.0\.0\.1:\d+"), "addr": re.compile(r".+:\d+"),
                "time": (int, float), "time_s": str}
    for key, want in expected.items():
        value = element.get(key)
        good = (want.fullmatch(value) if hasattr(want, "fullmatch") else
                isinstance(value, want) if isinstance(want, (type, tuple)) else value == want)
        if not good:
            return "%s is %r" % (key, value)
    return "has an error" if "error" in element else None


def nodes_map(response):
    document = json.loads(response.body)
    return node_element(document["n1"]) if list(document) == ["n1"] else "keys %r" % list(document)


def nodes_list(response):
    nodes = json.loads(response.body).get("nodes", [])
    return node_element(nodes[0]) if len(nodes) == 1 else "%d nodes" % len(nodes)


def leader_document(response):
    return node_element(json.loads(response.body))


def vars_document(response):
    return has_paths("http.executions", "http.queries", "http.requests", "store", "db")(response)


def has_times(response):
    document = json.loads(response.body)
    if not isinstance(document.get("time"), float):
        return "no overall time"
    if any(not isinstance(r.get("time"), float) for r in document["results"]):
        return "a result without time"
    return None if list(document)[-1] == "time" else "time isn't last"


def has_raft_index(response):
    document = json.loads(response.body)
    good = isinstance(document.get("raft_index"), int) and list(document)[-1] == "raft_index"
    return None if good else "no raft_index at the end"


LEFT_OPEN = ("the request left a transaction open, and it was rolled back: "
             "end it in the same request, or use the parameter 'transaction'")


def queued(response):
    document = json.loads(response.body)
    if document.get("results") != []:
        return "results is %r" % document.get("results")
    return None if isinstance(document.get("sequence_number"), int) else "no sequence_number"


# ---------------------------------------------------------------------------- the table

def pipeline():
    yield "pipeline", [], [
        Row("OPTIONS", "/x", None, 200, ""),
        Row("OPTIONS", "/db/query?timeout=x", None, 200, ""),
        bad("GET", "/db/query?timeout=5", None, "timeout is not a valid duration"),
        bad("GET", "/nothing?timeout=x", None, "timeout is not a valid duration"),
        bad("GET", "/?retries=x", None, "retries is not a valid integer"),
        bad("GET", "/nothing?freshness_strict", None, "freshness_strict requires freshness"),
        bad("GET", "/readyz?q=", None, "query parameter not set"),
        bad("GET", "/db/query?db_timeout=1d", None, "db_timeout is not a valid duration"),
        bad("GET", "/db/query?freshness=", None, "freshness is not a valid duration"),
        bad("GET", "/db/query?linearizable_timeout=abc", None,
            "linearizable_timeout is not a valid duration"),
        bad("POST", "/db/execute?timeout=", '["SELECT 1"]', "timeout is not a valid duration"),
        get("/nothing", "", 404, lacks=("Content-Type",)),
        get("/db", "", 404), get("/DB/query", "", 404), get("//db//query", "", 404),
        get("/join", "", 404), get("/leader/", "", 404), get("/debug/vars/", "", 404),
        Row("GET", "/db/execute", None, 405, ""),
        Row("HEAD", "/db/query", None, 405, ""),
        Row("PUT", "/db/query", "[]", 405, ""),
        Row("FOO", "/db/execute", None, 405, ""),
        Row("GET", "/db/request", None, 405, ""),
        Row("POST", "/status", "", 405, ""),
        Row("POST", "/nodes", "", 405, ""),
        Row("POST", "/readyz", "", 405, ""),
        Row("DELETE", "/leader", None, 405, ""),
        get("/db/query/?q=SELECT%201", columns(["1"], ["integer"], [[1]])),
        get("/db/queryfoo?q=SELECT%201", columns(["1"], ["integer"], [[1]])),
        get("/db%2Fquery?q=SELECT%201", columns(["1"], ["integer"], [[1]])),
        get("http://localhost/db/query?q=SELECT%201", columns(["1"], ["integer"], [[1]]),
            name="absolute form of the target"),
        get("/db/query?q=" + quote("SELECT length('%s') AS n" % ("z" * 800000)),
            columns(["n"], ["integer"], [[800000]]), name="a q of 800 KB"),
        get("/db/query?TIMEOUT=abc&q=SELECT%201", columns(["1"], ["integer"], [[1]]),
            name="keys are case-sensitive"),
        get("/db/query?timeout=1s&timeout=x&q=SELECT%201", columns(["1"], ["integer"], [[1]]),
            name="the first of duplicates counts"),
        get("/db/query?timeout=1h2m3.5s&db_timeout=-1s&freshness=0&retries=-3&q=SELECT%201",
            R(r".*"), name="durations in Go's syntax"),
        get("/db/query?q=SELECT%201&unknown=1&level=nonsense",
            columns(["1"], ["integer"], [[1]])),
    ]


def endpoints():
    yield "execute", [], [
        execute(json.dumps(FOO), '{"results":[{}]}', has={"X-Rqlite-Served-By": "{http}"}),
        execute('["INSERT INTO foo(name, age) VALUES(\\"fiona\\", 20)"]',
                '{"results":[{"last_insert_id":1,"rows_affected":1}]}'),
        execute('[["INSERT INTO foo(name, age) VALUES(?, ?)","dec",21],'
                '"DELETE FROM foo WHERE id=99",["UPDATE foo SET age=age+1"]]',
                J('{"results":[{"last_insert_id":2,"rows_affected":1},{},{"rows_affected":2}]}'),
                deviates=True, name="no id for UPDATE and DELETE"),
        execute('["SELECT 1"]', NOTHING, deviates=True, name="SELECT on execute, alone"),
    ]
    yield "execute, several statements", M, [
        execute('["INSERT INTO m(v) VALUES(\'a\')","INSERT INTO m(v) VALUES(\'a\')",'
                '"INSERT INTO m(v) VALUES(NULL)","INSERT INTO m(v) VALUES(\'b\')"]',
                J('{"results":[{"last_insert_id":1,"rows_affected":1},'
                  '{"error":"UNIQUE constraint failed: m.v"},'
                  '{"error":"NOT NULL constraint failed: m.v"},'
                  '{"last_insert_id":2,"rows_affected":1}]}'), name="goes on after an error"),
        count_is("m", 2),
        execute('["INSERT OR IGNORE INTO m(v) VALUES(\'a\')"]', NOTHING, deviates=True),
        execute('["CREATE TABLE other(a)"]', NOTHING, deviates=True, name="DDL changes nothing"),
        execute('["SELECT * FROM m"]', NOTHING, deviates=True),
        execute('["EXPLAIN SELECT * FROM m"]', NOTHING, deviates=True),
        execute('["SELECT * FROM nope"]', J('{"results":[{"error":"no such table: nope"}]}')),
        execute('["SELEC"]', J('{"results":[{"error":"near \\"SELEC\\": syntax error"}]}')),
        execute('["UPDATE m SET v = v || \'x\'"]', J('{"results":[{"rows_affected":2}]}'),
                deviates=True),
        execute('["DELETE FROM m"]', J('{"results":[{"rows_affected":2}]}'), deviates=True),
        execute('["REPLACE INTO m(id, v) VALUES(7, \'r\')"]',
                J('{"results":[{"last_insert_id":7,"rows_affected":1}]}')),
        execute('["INSERT INTO m(id, v) VALUES(-5, \'n\')"]',
                J('{"results":[{"last_insert_id":-5,"rows_affected":1}]}')),
    ]
    yield "query", M, [
        get("/db/query?q=SELECT%201",
            '{"results":[{"columns":["1"],"types":["integer"],"values":[[1]]}]}',
            has={"X-Rqlite-Served-By": "{http}"}, name="compact, no newline at the end"),
        query('["INSERT INTO m(v) VALUES(\'q\')"]', READ_ONLY),
        query('["CREATE TABLE z(a)"]', READ_ONLY),
        query('["DROP TABLE m"]', READ_ONLY),
        query('["PRAGMA user_version=5"]', READ_ONLY),
        count_is("m", 0),
        get("/db/query", EMPTY),
        bad("GET", "/db/query?q=", None, "query parameter not set"),
        get("/db/query?q=%20", NOTHING),
        bad("GET", "/db/query?q=SELECT%201;SELECT%202", None,
            "invalid semicolon separator in query"),
        bad("GET", "/db/query?q=%zz", None, 'invalid URL escape "%zz"'),
        bad("POST", "/db/query?q=SELECT%201", None, "invalid JSON body",
            name="POST ignores q"),
        get("/db/query?q=SELECT+%27a%2Bb%27+AS+v", columns(["v"], ["text"], [["a+b"]])),
        get("/db/query?q=" + quote("SELECT '%s' AS v" % ("é" * 20000)),
            columns(["v"], ["text"], [["é" * 20000]]), name="a long q"),
        query('["SELECT * FROM nope","SELECT 1","SELECT"]',
              J('{"results":[{"error":"no such table: nope"},'
                '{"columns":["1"],"types":["integer"],"values":[[1]]},'
                '{"error":"incomplete input"}]}')),
    ] + [get("/db/query?level=%s&q=SELECT%%201" % level, columns(["1"], ["integer"], [[1]]))
         for level in ("none", "weak", "linearizable", "strong", "auto", "NONE", "Strong", "")] + [
        get("/db/query?level=none&freshness=1s&freshness_strict&q=SELECT%201",
            columns(["1"], ["integer"], [[1]])),
    ]
    yield "request", THREE, [
        request('["INSERT INTO m(v) VALUES(\'as2\')","INSERT INTO nope VALUES(1)",'
                '"SELECT * FROM m WHERE id=1","SELECT * FROM nope"]',
                J('{"results":[{"last_insert_id":4,"rows_affected":1,"rows":null},'
                  '{"error":"no such table: nope"},{"types":{"id":"integer","v":"text"},'
                  '"rows":[{"id":1,"v":"a"}]},{"error":"no such table: nope"}]}'),
                "?associative"),
        request('["INSERT INTO m(v) VALUES(\'x\')","SELECT id, v FROM m WHERE v=\'x\'"]',
                J('{"results":[{"last_insert_id":5,"rows_affected":1},'
                  '{"columns":["id","v"],"types":["integer","text"],"values":[[5,"x"]]}]}'),
                has={"X-Rqlite-Served-By": "{http}"}),
        request('["SELECT count(*) AS n FROM m"]', columns(["n"], ["integer"], [[5]])),
        request('["SELECT count(*) AS n FROM m"]', columns(["n"], ["integer"], [[5]]),
                "?level=strong"),
        request('["SELECT count(*) AS n FROM m"]', columns(["n"], ["integer"], [[5]]),
                "?level=none"),
        request('["SELECT count(*) AS n FROM m"]', columns(["n"], ["integer"], [[5]]),
                "?level=linearizable"),
        request('["EXPLAIN QUERY PLAN SELECT * FROM m"]',
                R(r'\{"results":\[\{"columns":\["id","parent","notused","detail"\].*'),),
        request('[["INSERT INTO m(v) VALUES(?)","p"],["SELECT v FROM m WHERE v=?","p"]]',
                J('{"results":[{"last_insert_id":6,"rows_affected":1},'
                  '{"columns":["v"],"types":["text"],"values":[["p"]]}]}')),
        bad("POST", "/db/request", "SELECT 1", "invalid JSON body",
            headers={"Content-Type": "application/json"}),
        request('["UPDATE m SET v=v WHERE id=1"]', J('{"results":[{"rows_affected":1}]}'),
                deviates=True),
    ]


def bodies():
    rejected = [
        ("", "invalid JSON body"), ("SELECT 1", "invalid JSON body"),
        ('\ufeff["SELECT 1"]', "invalid JSON body"), ('["SELECT 1"', "invalid JSON body"),
        ('["SELECT 1",', "invalid JSON body"), ('["SELECT 1",]', "invalid JSON body"),
        ('["A" "B"]', "invalid JSON body"), ('[["SELECT ?"', "invalid JSON body"),
        ('[["SELECT ?",01]]', "invalid JSON body"),
        ("[]", "no statements"),
        ("{}", "invalid request"), ("null", "invalid request"), ('"SELECT 1"', "invalid request"),
        ("[1]", "invalid request"), ("[null]", "invalid request"), ("[true]", "invalid request"),
        ("[{}]", "invalid request"), ("[[]]", "invalid request"), ("[[1]]", "invalid request"),
        ("[[null,1]]", "invalid request"),
        ('[["SELECT ?",{"a":{"b":1}}]]', "unsupported type map[string]interface {}"),
        ('[["SELECT ?",[[1]]]]', "unsupported type []interface {}"),
        ('[["SELECT ?",["a"]]]', "unsupported type string"),
        ('[["SELECT ?",[256]]]', "unsupported type 256"),
        ('[["SELECT ?",[-1]]]', "unsupported type -1"),
        ('[["SELECT ?",[1.5]]]', "unsupported type 1.5"),
        ('[["SELECT ?",1e400]]', "invalid number 1e400"),
    ]
    yield "bodies that are refused", [], [
        bad("POST", path, body, text)
        for path in ("/db/query", "/db/execute", "/db/request") for body, text in rejected]
    yield "bodies that are accepted", M, [
        query('["SELECT 1"]]', columns(["1"], ["integer"], [[1]])),
        query('["SELECT 1"] x', columns(["1"], ["integer"], [[1]])),
        query(' \n[ "SELECT 1" ]\n', columns(["1"], ["integer"], [[1]])),
        query('[""]', EMPTY, name="an empty statement has no result"),
        query('["","SELECT 1",""]', columns(["1"], ["integer"], [[1]])),
        query('["  "]', NOTHING), query('["--c"]', NOTHING), query('["-- comment"]', NOTHING),
        execute('[""]', EMPTY), execute('["--c"]', NOTHING),
        query('[["SELECT 1"]]', columns(["1"], ["integer"], [[1]])),
        query('["SELECT 1",["SELECT ?",2]]',
              J('{"results":[{"columns":["1"],"types":["integer"],"values":[[1]]},'
                '{"columns":["?"],"types":["integer"],"values":[[2]]}]}')),
        query('[["SELECT ? AS v","\\ud800"]]', columns(["v"], ["text"], [["\ufffd"]]),
              name="a lone surrogate"),
        query(b'[["SELECT ? AS v","a\xffb"]]', columns(["v"], ["text"], [["a\ufffdb"]]),
              name="invalid UTF-8"),
        query('[["SELECT ? AS v","\\u0041\\n\\ud83d\\ude00"]]', columns(["v"], ["text"],
                                                                     [["A\n😀"]])),
        query('["SELECT 1"]', columns(["1"], ["integer"], [[1]]),
              headers={"Content-Type": "application/x-www-form-urlencoded"}),
        query("SELECT 1", columns(["1"], ["integer"], [[1]]),
              headers={"Content-Type": "text/plain"}),
        query("SELECT 1", columns(["1"], ["integer"], [[1]]),
              headers={"Content-Type": "text/plain; charset=utf-8"}),
        execute("INSERT INTO m(v) VALUES('text')",
                J('{"results":[{"last_insert_id":1,"rows_affected":1}]}'),
                headers={"Content-Type": "text/plain"}),
        query(b"c\r\n[\"SELECT 1\"]\r\n0\r\n\r\n", columns(["1"], ["integer"], [[1]]),
              headers={"Transfer-Encoding": "chunked"}, name="a chunked body"),
        query('["SELECT 1"]', columns(["1"], ["integer"], [[1]]),
              headers={"Expect": "100-continue"}, name="Expect: 100-continue"),
        query(json.dumps([["SELECT length(?) AS n", "y" * 5000000]]),
              columns(["n"], ["integer"], [[5000000]]), name="a parameter of 5 MB"),
        query(json.dumps(["SELECT 1 AS a WHERE 1 IN (%s)" % ",".join(["?"] * 32767)]),
              R(r'.*(too many SQL variables|not enough args).*'), name="32767 variables"),
        query(json.dumps(["SELECT " + ",".join(["1"] * 2001)]),
              J('{"results":[{"error":"too many columns in result set"}]}')),
    ]
    numbers = [
        ("9007199254740993", "integer", "9007199254740993"), ("1.0", "real", "1"),
        ("-0", "integer", "0"), ("1e3", "real", "1000"), ("true", "integer", "1"),
        ("false", "integer", "0"), ("9223372036854775807", "integer", "9223372036854775807"),
        ("-9223372036854775808", "integer", "-9223372036854775808"),
        ("9223372036854775808", "real", "9223372036854776000"),
    ]
    yield "parameters", FOO, [
        query('[["SELECT ?1 AS v,typeof(?1) AS t",%s]]' % text,
              J('{"results":[{"columns":["v","t"],"types":["%s","text"],"values":[[%s,"%s"]]}]}'
                % (kind, value, kind)), name="parameter " + text)
        for text, kind, value in numbers] + [
        query('[["SELECT typeof(?) AS v",null]]', columns(["v"], ["text"], [["null"]])),
        query('[["SELECT ? AS v",null]]', columns(["v"], [""], [[None]])),
        query('[["SELECT hex(?1) AS v,typeof(?1) AS t","x\'41fF\'"]]',
              columns(["v", "t"], ["text", "text"], [["41FF", "blob"]])),
        query('[["SELECT typeof(?1) AS v, length(?1) AS n","X\'\'"]]',
              columns(["v", "n"], ["text", "integer"], [["blob", 0]])),
        query('[["SELECT typeof(?1) AS v, hex(?1) AS h","  x\'41\' "]]',
              columns(["v", "h"], ["text", "text"], [["blob", "41"]])),
        query('[["SELECT ? AS v","x\'zz\'"]]', columns(["v"], ["text"], [["x'zz'"]])),
        query('[["SELECT ? AS v","x\'414\'"]]', columns(["v"], ["text"], [["x'414'"]])),
        query('[["SELECT hex(?1) AS v, typeof(?1) AS t",[0,65,255]]]',
              columns(["v", "t"], ["text", "text"], [["0041FF", "blob"]])),
        query('[["SELECT length(?1) AS v, typeof(?1) AS t",[]]]',
              columns(["v", "t"], ["integer", "text"], [[0, "blob"]])),
        query('[["SELECT :n AS a, @n AS b, $n AS c",{"n":1}]]', R(r'\{"results":\[.*'),
              name="named, all prefixes, fewer values than parameters"),
        query('[["SELECT :a AS a, :b AS b",{"b":2,"a":"x"}]]',
              columns(["a", "b"], ["text", "integer"], [["x", 2]])),
        query('[["SELECT :a AS a, $b AS b, @c AS c",{"a":1,"b":2,"c":3,"unknown":4}]]',
              columns(["a", "b", "c"], ["integer"] * 3, [[1, 2, 3]])),
        query('[["SELECT ? AS a, :n AS b",3,{"n":"f"}]]',
              columns(["a", "b"], ["integer", "text"], [[3, "f"]])),
        query('[["SELECT :n AS v",7]]', columns(["v"], ["integer"], [[7]])),
        query('[["SELECT :n AS v",{"m":1}]]', columns(["v"], [""], [[None]])),
        query('[["SELECT :n AS v",{}]]',
              J('{"results":[{"error":"not enough args to execute query: want 1 got 0"}]}')),
        query('[["SELECT ?,?",3]]',
              J('{"results":[{"error":"not enough args to execute query: want 2 got 1"}]}')),
        query('[["SELECT ? AS v",1,2,3]]', columns(["v"], ["integer"], [[1]]),
              name="surplus parameters are ignored"),
        query('[["SELECT :n AS v",{"1n":1}]]',
              J('{"results":[{"error":"name \\"1n\\" does not begin with a letter"}]}')),
        execute('[["INSERT INTO foo(name, age) VALUES(?, ?)","a"]]',
                J('{"results":[{"error":"not enough args to execute query: want 2 got 1"}]}')),
        execute('["INSERT INTO foo(name) VALUES(?)"]',
                J('{"results":[{"error":"not enough args to execute query: want 1 got 0"}]}'),
                deviates=True, name="no parameter at all on execute"),
        count_is("foo", 0, deviates=True),
        execute('[["INSERT INTO foo(name, age) VALUES(:n, ?)",{"n":"é"},5]]',
                J('{"results":[{"last_insert_id":1,"rows_affected":1}]}'), "?transaction",
                deviates=True),
        query('[["SELECT ' + ",".join(["?"] * 3) + ' FROM foo WHERE 0",1,2,3]]',
              columns(["?", "?", "?"], ["", "", ""])),
    ]


def parameters():
    yield "query parameters", THREE, [
        query('["SELECT id, v FROM m WHERE id < 3"]',
              '{\n    "results": [\n        {\n            "columns": [\n                "id",\n'
              '                "v"\n            ],\n            "types": [\n'
              '                "integer",\n                "text"\n            ],\n'
              '            "values": [\n                [\n                    1,\n'
              '                    "a"\n                ],\n                [\n'
              '                    2,\n                    "b"\n                ]\n'
              '            ]\n        }\n    ]\n}', "?pretty"),
        query('["SELECT 1 AS v"]', R(r'\{\n    "results": .*'), "?pretty=false",
              name="a flag is on whatever its value"),
        query('["SELECT 1","SELECT id FROM m"]', has_times, "?timings"),
        execute('["INSERT INTO m(v) VALUES(\'t\')"]', has_times, "?timings"),
        request('["INSERT INTO m(v) VALUES(\'t2\')","SELECT 1"]', has_times, "?timings"),
        execute('["INSERT INTO m(v) VALUES(\'ri\')"]', has_raft_index, "?raft_index"),
        query('["SELECT 1"]', columns(["1"], ["integer"], [[1]]), "?raft_index&level=none"),
        query('["SELECT id, v FROM m WHERE id<3"]',
              J('{"results":[{"types":{"id":"integer","v":"text"},'
                '"rows":[{"id":1,"v":"a"},{"id":2,"v":"b"}]}]}'), "?associative"),
        query('["SELECT 1 AS a WHERE 0"]', J('{"results":[{"types":{"a":""},"rows":[]}]}'),
              "?associative"),
        query('["SELECT 1 AS a, 2 AS a"]', J('{"results":[{"types":{"a":"integer"},'
                                             '"rows":[{"a":2}]}]}'), "?associative",
              name="the last of equal names wins"),
        query('["SELECT * FROM nope"]', J('{"results":[{"rows":[],"error":"no such table: nope"}]}'),
              "?associative"),
        query('["--c"]', J('{"results":[{"rows":[]}]}'), "?associative"),
        execute('["--c"]', J('{"results":[{"rows":null}]}'), "?associative"),
        execute('["INSERT INTO m(v) VALUES(\'as\')"]',
                J('{"results":[{"last_insert_id":7,"rows_affected":1,"rows":null}]}'),
                "?associative"),
        execute('["INSERT INTO m(v) VALUES(\'as\')"]',
                J('{"results":[{"error":"UNIQUE constraint failed: m.v"}]}'), "?associative"),
        execute('["CREATE TABLE b(d BLOB)","INSERT INTO b VALUES(x\'0041ff\')"]', R(".*")),
        query('["SELECT d FROM b"]', columns(["d"], ["blob"], [["AEH/"]])),
        query('["SELECT d FROM b"]', columns(["d"], ["blob"], [[[0, 65, 255]]]), "?blob_array"),
        query('["SELECT d FROM b"]', J('{"results":[{"types":{"d":"blob"},'
                                       '"rows":[{"d":[0,65,255]}]}]}'),
              "?blob_array&associative"),
        query('["SELECT x.id, v AS al, 1+1, x.v FROM m AS x WHERE id=1"]',
              J('{"results":[{"columns":["m.id","m.al","1+1","m.v"],'
                '"types":["integer","text","integer","text"],"values":[[1,"a",2,"a"]]}]}'),
              "?qualify_columns"),
        query('["SELECT sum(id) AS s FROM m, m AS n, m AS o"]', R(r".*"), "?db_timeout=10s"),
        query('["WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) '
              'SELECT count(*) FROM n"]',
              J('{"results":[{"error":"query timeout"}]}'), "?db_timeout=100ms"),
        query('["WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) '
              'SELECT count(*) FROM n","SELECT 1"]',
              J('{"results":[{"error":"query timeout"},{"error":"query timeout"}]}'),
              "?db_timeout=100ms"),
        execute('["INSERT INTO m(v) VALUES(\'redirect\')"]',
                R(r'\{"results":\[\{"last_insert_id":\d+,"rows_affected":1\}\]\}'), "?redirect",
                name="redirect on the leader does nothing"),
    ]


def queue():
    yield "queued writes", M, [
        execute('["SELECT 1"]', queued, "?queue"),
        execute('["INSERT INTO m(v) VALUES(\'queued\')"]', queued, "?queue&wait",
                lacks=("X-Rqlite-Served-By",)),
        count_is("m", 1, name="wait: it is made"),
        execute('[["INSERT INTO m(v) VALUES(?)", "p"], ["INSERT INTO m(v) VALUES(:v)", {"v": "n"}]]', queued, "?queue&wait"),
        execute("[]", queued, "?queue&wait", name="a mark"),
        count_is("m", 3),
        execute('["INSERT INTO m(v) VALUES(\'r\')"]', queued, "?queue&wait&redirect", name="redirect is ignored"),
        execute('["INSERT INTO m(v) VALUES(\'t\')"]', R(r'\{"results":\[\],"time":[0-9.e-]+,"sequence_number":\d+\}'),
                "?queue&wait&timings"),
        execute('["INSERT INTO m(v) VALUES(\'pretty\')"]',
                R(r'\{\n    "results": \[\],\n    "sequence_number": \d+\n\}'), "?queue&pretty"),
        bad("POST", "/db/execute?queue", "[]", "no statements"),
        bad("POST", "/db/execute?queue", "garbage", "invalid JSON body", deviates=True),
        bad("POST", "/db/execute?queue", "", "invalid JSON body", deviates=True),
        bad("POST", "/db/execute?queue", "{}", "invalid request", deviates=True),
        bad("POST", "/db/execute?queue&wait", '[["S",[256]]]', "unsupported type 256", deviates=True),
        Row("POST", "/db/execute?queue&wait&timeout=1ns", '["SELECT 1"]', 408, "queue wait timeout\n"),
        execute('["PRAGMA journal_mode=DELETE"]', DISALLOWED, "?queue", deviates=True, name="refused at once"),
        execute('["SELECT 1; PRAGMA journal_mode(DELETE)"]', queued, "?queue", deviates=True),
        execute('["BEGIN","INSERT INTO m(v) VALUES(\'open\')"]', queued, "?queue", deviates=True),
        execute('["INSERT INTO nope VALUES(1)","INSERT INTO m(v) VALUES(\'beside an error\')"]', queued, "?queue", deviates=True),
        execute('["INSERT INTO m(v) VALUES(\'undone\')","INSERT INTO nope VALUES(1)"]', queued, "?queue&transaction", deviates=True),
        execute('["INSERT INTO m(v) VALUES(\'last\')"]', queued, "?queue&wait",
                name="one bad statement doesn't hold up the others"),
        execute('["INSERT INTO m(v) VALUES(\'last\')"]',
                R(r'\{"results":\[\{"error":"UNIQUE constraint failed: m.v"\}\],"sequence_number":\d+\}'), "?queue&wait",
                deviates=True, name="wait tells of an error"),
        query('["SELECT group_concat(v) AS v FROM m"]',
              columns(["v"], ["text"], [["queued,p,n,r,t,pretty,beside an error,last"]]), deviates=True),
        execute("INSERT INTO m(v) VALUES('text')", queued, "?queue&wait", headers={"Content-Type": "text/plain"}, deviates=True),
        get("/status?key=http.queue._default.batch_size", "128"),
        get("/status?key=http.queue._default", R(r".*\"sequence_number\":[1-9][0-9]+.*")),
        get("/debug/vars?key=queue", R(r".*\"objects_rx\": [1-9].*")),
        request('["INSERT INTO m(v) VALUES(\'request\')"]', R(r'\{"results":\[\{"last_insert_id":\d+,"rows_affected":1\}\]\}'), "?queue",
                name="/db/request has no queue"),
    ]


def responses():
    types = [
        "CREATE TABLE t(a VARCHAR(10), b DECIMAL(10,2), c FOO_TYPE, d, e JSONB, f Boolean)",
        "INSERT INTO t VALUES('x', 1.5, 'y', 1, 'j', 1)",
    ]
    yield "types", types, [
        query('["SELECT * FROM t"]',
              columns(["a", "b", "c", "d", "e", "f"],
                      ["varchar(10)", "decimal(10,2)", "foo_type", "integer", "jsonb", "boolean"],
                      [["x", 1.5, "y", 1, "j", True]])),
        query('["SELECT a FROM t WHERE 0"]', J('{"results":[{"columns":["a"],'
                                               '"types":["varchar(10)"]}]}')),
        query('["SELECT 1 WHERE 0"]', J('{"results":[{"columns":["1"],"types":[""]}]}')),
        query('["SELECT z.q FROM (SELECT a AS q FROM t) z"]',
              columns(["q"], ["varchar(10)"], [["x"]])),
        query('["SELECT a FROM t UNION ALL SELECT 5"]',
              columns(["a"], ["varchar(10)"], [["x"], [5]])),
        query('["SELECT NULL AS a UNION ALL SELECT 1"]', columns(["a"], [""], [[None], [1]])),
        query('["SELECT 1 AS a UNION ALL SELECT 1.5 UNION ALL SELECT \'t\'"]',
              columns(["a"], ["integer"], [[1], [1.5], ["t"]]),
              name="types come from the first row"),
        query('["SELECT count(*) FROM t"]', columns(["count(*)"], ["integer"], [[1]])),
        query('["PRAGMA user_version"]', columns(["user_version"], ["integer"], [[0]])),
        query('["SELECT 1 AS a, 2 AS a"]', columns(["a", "a"], ["integer"] * 2, [[1, 2]])),
        query('["PRAGMA nonsense"]', NOTHING),
        query('["EXPLAIN QUERY PLAN SELECT * FROM t"]',
              R(r'\{"results":\[\{"columns":\["id","parent","notused","detail"\].*')),
        query('["EXPLAIN INSERT INTO t(a) VALUES(1)"]',
              R(r'\{"results":\[\{"columns":\["addr","opcode","p1","p2","p3","p4","p5",'
                r'"comment"\].*'), name="EXPLAIN of a write is a read"),
    ]

    reals = [("1.0", "1"), ("1e20", "100000000000000000000"), ("1e21", "1e+21"),
             ("1e300", "1e+300"), ("0.000001", "0.000001"), ("0.0000001", "1e-7"),
             ("1.5", "1.5"), ("-2.25", "-2.25"), ("0.1", "0.1"), ("1/3.0", "0.3333333333333333"),
             ("123456789.125", "123456789.125"), ("2.5e-324", "5e-324"),
             ("1.7976931348623157e308", "1.7976931348623157e+308"), ("5e-7", "5e-7")]
    yield "numbers", ["CREATE TABLE r(x REAL)", "INSERT INTO r VALUES(-0.0)"], [
        cell("SELECT " + sql, "real", text) for sql, text in reals] + [
        cell("SELECT 9223372036854775807", "integer", "9223372036854775807"),
        cell("SELECT -9223372036854775807 - 1", "integer", "-9223372036854775808"),
        cell("SELECT 1e999", "real", "null", deviates=True, name="Infinity is null"),
        cell("SELECT -1e999", "real", "null", deviates=True),
        query('["SELECT 1 AS a","SELECT 9e999 AS v, 2 AS w"]',
              J('{"results":[{"columns":["a"],"types":["integer"],"values":[[1]]},'
                '{"columns":["v","w"],"types":["real","integer"],"values":[[null,2]]}]}'),
              deviates=True, name="Infinity costs nothing else"),
        query('["SELECT 9e999 AS v"]', J('{"results":[{"types":{"v":"real"},'
                                         '"rows":[{"v":null}]}]}'),
              "?associative", deviates=True),
        cell("SELECT 1e999 - 1e999", "", "null", name="NaN is NULL in SQLite already"),
    ]

    bools = [(1, "true"), (0, "false"), (-5, "false"), (7, "true"), ("NULL", "null"),
             ("'x'", '"x"'), ("1.5", "1.5")]
    yield "booleans", ["CREATE TABLE b(x BOOLEAN, y BOOL)"], [
        row for value, text in bools for row in (
            execute(json.dumps(["DELETE FROM b", "INSERT INTO b VALUES(%s, 1)" % value]), R(".*")),
            query('["SELECT * FROM b"]',
                  J('{"results":[{"columns":["x","y"],"types":["boolean","bool"],'
                    '"values":[[%s,1]]}]}' % text), name="boolean %s" % value))]

    dates = [("'2024-01-02'", "2024-01-02T00:00:00Z"),
             ("'2024-01-02 03:04:05'", "2024-01-02T03:04:05Z"),
             ("'2024-01-02 03:04:05.123456789'", "2024-01-02T03:04:05.123456789Z"),
             ("'2024-01-02T03:04:05Z'", "2024-01-02T03:04:05Z"),
             ("'2024-01-02T03:04:05+02:00'", "2024-01-02T03:04:05+02:00"),
             ("'2024-01-02 03:04:05-07:30'", "2024-01-02T03:04:05-07:30"),
             ("'2024-01-02 03:04'", "2024-01-02T03:04:00Z"),
             ("'2024-01-02T03:04'", "2024-01-02T03:04:00Z"),
             ("'2024-02-29'", "2024-02-29T00:00:00Z"),
             ("0", "1970-01-01T00:00:00Z"), ("-5", "1969-12-31T23:59:55Z"),
             ("1704164645", "2024-01-02T03:04:05Z"), ("1704164645000", "2024-01-02T03:04:05Z"),
             ("1704164645250", "2024-01-02T03:04:05.25Z")]
    kept = ["03:04:05", "not a date", "", "2024-1-2", "2024-02-30", "2024-13-01"]

    def stored(column, value, expected, **more):
        return [execute(json.dumps(["DELETE FROM d", "INSERT INTO d(%s) VALUES(%s)"
                                    % (column, value)]), R(".*")),
                query('["SELECT %s AS v FROM d"]' % column,
                      J('{"results":[{"columns":["v"],"types":["%s"],"values":[[%s]]}]}' % (
                          {"a": "date", "b": "datetime", "c": "timestamp"}[column], expected)),
                      name="%s in column %s" % (value, column), **more)]

    rows = []
    for n, (value, text) in enumerate(dates):
        rows += stored("abc"[n % 3], value, json.dumps(text))
        rows += stored("abc"[(n + 1) % 3], value, json.dumps(text))
    for n, value in enumerate(kept):
        rows += stored("abc"[n % 3], "'%s'" % value, json.dumps(value), deviates=True)
    rows += stored("b", "1000000000000", "1000000000000", deviates=True)
    rows += stored("b", "1.5", "1.5") + stored("c", "2460000.5", "2460000.5")
    rows += stored("a", "NULL", "null") + stored("a", "x'41'", '"QQ=="')
    rows += [
        execute('["DELETE FROM d","INSERT INTO d(a) VALUES(\'2024-01-02\')"]', R(".*")),
        cell("SELECT (SELECT max(a) FROM d)", "text", '"2024-01-02"',
             name="only real columns convert"),
    ]
    yield "dates", ["CREATE TABLE d(a DATE, b DATETIME, c TIMESTAMP)"], rows

    yield "blobs", ["CREATE TABLE k(t TEXT, b BLOB, c CHAR(5), i INTEGER, u)",
                    "INSERT INTO k VALUES(x'4142', x'4142', x'4142', x'4142', x'4142')"], [
        query('["SELECT t, b, c, i FROM k"]',
              columns(["t", "b", "c", "i"], ["text", "blob", "char(5)", "integer"],
                      [["AB", "QUI=", "QUI=", "QUI="]])),
        query('["SELECT 1 AS v UNION ALL SELECT x\'ff\'"]',
              columns(["v"], ["integer"], [[1], ["/w=="]])),
        query('["SELECT x\'4142FF\'"]', columns(["x'4142FF'"], ["blob"], [["QUL/"]]),
              deviates=True),
        query('["SELECT x\'4142FF\' AS v"]', columns(["v"], ["blob"], [[[65, 66, 255]]]),
              "?blob_array", deviates=True),
        query('["SELECT u FROM k"]', columns(["u"], ["blob"], [["QUI="]]), deviates=True),
        query('["SELECT NULL AS v UNION ALL SELECT x\'ff\'"]',
              columns(["v"], [""], [[None], ["/w=="]]), deviates=True),
        query('["SELECT b FROM k"]', J('{"results":[{"types":{"b":"blob"},"rows":'
                                       '[{"b":"QUI="}]}]}'), "?associative"),
        execute('["UPDATE k SET b=\'text\'"]', R(".*")),
        query('["SELECT b FROM k"]', columns(["b"], ["blob"], [["text"]])),
        execute('["UPDATE k SET b=zeroblob(0)"]', R(".*")),
        query('["SELECT b FROM k"]', columns(["b"], ["blob"], [[""]])),
    ]

    yield "strings", ["CREATE TABLE s(v TEXT)"], [
        query(json.dumps([["SELECT ? AS v", text]]), columns(["v"], ["text"], [[text]]),
              name="string %r" % text)
        for text in ("<a>&'\"\\/", "\u2028\u2029", "\b\f\n\r\t\x01\x1f\x7f", "", "žluťoučký 🐎",
                     "nul\x00inside", "a" * 100000)] + [
        query('["SELECT cast(x\'61ff62\' AS TEXT) AS v"]',
              columns(["v"], ["text"], [["a\ufffdb"]]), name="invalid UTF-8 in the database"),
        query('["SELECT 1 AS \\"<&\\u00e9\\""]', columns(["<&é"], ["integer"], [[1]])),
        query('["SELECT * FROM \\"<nope>\\""]',
              J('{"results":[{"error":"no such table: <nope>"}]}')),
    ]

    yield "multi-statement strings on execute", M, [
        execute('["INSERT INTO m(v) VALUES(\'a\'); INSERT INTO m(v) VALUES(\'b\')"]',
                J('{"results":[{"last_insert_id":2,"rows_affected":1}]}')),
        count_is("m", 2),
        execute('["INSERT INTO m(v) VALUES(\'c\'); INSERT INTO m(v) VALUES(\'a\');'
                ' INSERT INTO m(v) VALUES(\'d\')"]',
                J('{"results":[{"error":"UNIQUE constraint failed: m.v"}]}'),
                name="stops at the first error"),
        count_is("m", 3),
        execute('[["INSERT INTO m(v) VALUES(?); INSERT INTO m(v) VALUES(?)","p1","p2"]]',
                R(r'\{"results":\[\{"last_insert_id":5,"rows_affected":1\}\]\}'),
                name="parameters are consumed from left to right"),
        query('["SELECT v FROM m WHERE v LIKE \'p%\' ORDER BY id"]',
              columns(["v"], ["text"], [["p1"], ["p2"]])),
        execute('["INSERT INTO m(v) VALUES(\'e\');"]',
                J('{"results":[{"last_insert_id":6,"rows_affected":1}]}')),
        execute('["INSERT INTO m(v) VALUES(\'f\'); -- c"]',
                R(r'\{"results":\[\{.*\}\]\}')),
        count_is("m", 7),
        execute('["INSERT INTO m(v) VALUES(\'r1\') RETURNING id; INSERT INTO m(v) VALUES(\'r2\')"]',
                R(r'\{"results":\[\{.*\}\]\}')),
        query('["SELECT count(*) AS n FROM m WHERE v IN (\'r1\', \'r2\')"]',
              columns(["n"], ["integer"], [[2]]), deviates=True,
              name="RETURNING and another statement: both run"),
        execute('["INSERT INTO m(v) VALUES(\'t\' || datetime(\'now\'));'
                ' INSERT INTO m(v) VALUES(\'after now\')"]', R(r'\{"results":\[\{.*\}\]\}')),
        query('["SELECT count(*) AS n FROM m WHERE v=\'after now\'"]',
              columns(["n"], ["integer"], [[1]]), deviates=True),
    ]
    yield "multi-statement strings on query", THREE, [
        query('["SELECT 1; SELECT 2"]', columns(["2"], ["integer"], [[2]])),
        query('["SELECT 1;"]', columns(["1"], ["integer"], [[1]])),
        query('["SELECT 1; -- x"]', columns(["1"], ["integer"], [[1]]), deviates=True),
        query('["SELECT 1 AS v -- x"]', columns(["v"], ["integer"], [[1]])),
        query('["SELECT * FROM nope; SELECT 1"]',
              J('{"results":[{"error":"no such table: nope"}]}')),
        query('["DELETE FROM m; SELECT 1"]', READ_ONLY, deviates=True),
        count_is("m", 3),
    ]
    yield "multi-statement strings on request", M, [
        request('["SELECT 1; INSERT INTO m(v) VALUES(\'a\')"]',
                J('{"results":[{"last_insert_id":1,"rows_affected":1}]}'), deviates=True),
        count_is("m", 1, deviates=True),
        request('["INSERT INTO m(v) VALUES(\'b\'); INSERT INTO m(v) VALUES(\'c\')"]',
                R(r'\{"results":\[\{"last_insert_id":\d,"rows_affected":1\}\]\}')),
        query('["SELECT count(*) AS n FROM m WHERE v IN (\'b\', \'c\')"]',
              columns(["n"], ["integer"], [[2]])),
    ]

    returned = columns(["id", "v"], ["integer", "text"], [[1, "r1"]])
    yield "RETURNING", M, [
        execute('["INSERT INTO m(v) VALUES(\'r1\') returning id, v"]', returned),
        execute('["UPDATE m SET v=\'r1\' WHERE id=1 RETURNING id, v"]', returned),
        request('["UPDATE m SET v=\'r1\' WHERE id=1 RETURNING id, v"]', returned),
        execute('["UPDATE m SET v=\'r1\' WHERE id=1\\nRETURNING\\n\\tid, v"]', returned,
                deviates=True),
        execute('["UPDATE m SET v=\'r1\' WHERE id=1 RETURNING [id], v"]', returned, deviates=True),
        execute('["UPDATE m SET v=\'r1\' WHERE id=1 RETURNING id, v"]', returned, "?noparse",
                deviates=True),
        request('["UPDATE m SET v=\'r1\' WHERE id=1 RETURNING[id], v"]', returned,
                deviates=True),
        execute('["UPDATE m SET v=\'r1\' WHERE id=99 RETURNING id, v"]',
                J('{"results":[{"columns":["id","v"],"types":["integer","text"]}]}')),
        execute('["DELETE FROM m RETURNING id, v"]',
                J('{"results":[{"types":{"id":"integer","v":"text"},'
                  '"rows":[{"id":1,"v":"r1"}]}]}'), "?associative"),
        execute('["INSERT INTO m(v) VALUES(\'x\'),(\'y\') RETURNING v"]',
                columns(["v"], ["text"], [["x"], ["y"]])),
        count_is("m", 2),
        execute('["INSERT INTO m(v) VALUES(\'returning x\')"]',
                R(r'\{"results":\[\{"last_insert_id":3,"rows_affected":1\}\]\}')),
    ]

    yield "transactions", THREE, [
        execute('["INSERT INTO m(v) VALUES(\'t1\')","INSERT INTO m(v) VALUES(\'a\')",'
                '"INSERT INTO m(v) VALUES(\'t2\')"]',
                J('{"results":[{"last_insert_id":4,"rows_affected":1},'
                  '{"error":"UNIQUE constraint failed: m.v"}]}'), "?transaction"),
        count_is("m", 3, name="nothing remains"),
        execute('["INSERT INTO m(v) VALUES(\'t1\')","INSERT INTO m(v) VALUES(\'t2\')"]',
                J('{"results":[{"last_insert_id":4,"rows_affected":1},'
                  '{"last_insert_id":5,"rows_affected":1}]}'), "?transaction"),
        execute('["INSERT INTO m(v) VALUES(\'t3\')","INSERT INTO nope VALUES(1)",'
                '"INSERT INTO m(v) VALUES(\'t4\')"]',
                J('{"results":[{"last_insert_id":6,"rows_affected":1},'
                  '{"error":"no such table: nope"}]}'), "?transaction"),
        count_is("m", 5),
        request('["INSERT INTO m(v) VALUES(\'t5\')","INSERT INTO m(v) VALUES(\'a\')",'
                '"INSERT INTO m(v) VALUES(\'t6\')"]',
                J('{"results":[{"last_insert_id":6,"rows_affected":1},'
                  '{"error":"UNIQUE constraint failed: m.v"}]}'), "?transaction"),
        count_is("m", 5),
        request('["INSERT INTO m(v) VALUES(\'t7\')","SELECT v FROM m WHERE v=\'t7\'",'
                '"SELECT * FROM nope","INSERT INTO m(v) VALUES(\'t8\')"]',
                J('{"results":[{"last_insert_id":6,"rows_affected":1},'
                  '{"columns":["v"],"types":["text"],"values":[["t7"]]},'
                  '{"error":"no such table: nope"}]}'), "?transaction", deviates=True,
                name="request?transaction stops at a prepare error"),
        count_is("m", 5, deviates=True, name="and rolls back"),
        query('["SELECT 1","SELECT * FROM nope","SELECT 2"]',
              J('{"results":[{"columns":["1"],"types":["integer"],"values":[[1]]},'
                '{"error":"no such table: nope"},'
                '{"columns":["2"],"types":["integer"],"values":[[2]]}]}'), "?transaction"),
        execute('["CREATE TABLE t2(a)","INSERT INTO t2 VALUES(1)","INSERT INTO m(v) VALUES(NULL)"]',
                R(r'\{"results":\[.*"error":"NOT NULL constraint failed: m.v"\}\]\}'),
                "?transaction"),
        query('["SELECT * FROM t2"]', J('{"results":[{"error":"no such table: t2"}]}'),
              name="DDL is rolled back too"),
        execute('["INSERT OR ROLLBACK INTO m(v) VALUES(\'a\')","INSERT INTO m(v) VALUES(\'or\')"]',
                J('{"results":[{"error":"UNIQUE constraint failed: m.v"},'
                  '{"last_insert_id":6,"rows_affected":1}]}'), name="OR ROLLBACK harms nobody else",
                deviates=True),
    ]
    yield "transactions of the request's own", M, [
        path(json.dumps([word]), J(json.dumps({"results": [{}], "error": LEFT_OPEN})), deviates=True, name=word)
        for path in (execute, request, query) for word in (
            "BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT s", "/* c */ begin; SAVEPOINT a")] + [
        path(json.dumps([word]), J(json.dumps({"results": [{"error": text}]})), deviates=True, name=word)
        for path in (execute, request, query) for word, text in (
            ("COMMIT", "cannot commit - no transaction is active"),
            ("END", "cannot commit - no transaction is active"),
            ("ROLLBACK", "cannot rollback - no transaction is active"),
            ("RELEASE s", "no such savepoint: s"), ("ROLLBACK TO s", "no such savepoint: s"))] + [
        execute('["BEGIN","INSERT INTO m(v) VALUES(\'a\')","COMMIT"]',
                J('{"results":[{},{"last_insert_id":1,"rows_affected":1},{}]}'), deviates=True, name="an array"),
        execute('["BEGIN; INSERT INTO m(v) VALUES(\'b\'); INSERT INTO m(v) VALUES(\'c\'); COMMIT;"]', NOTHING,
                deviates=True, name="a string"),
        request('["BEGIN","INSERT INTO m(v) VALUES(\'d\') RETURNING v","SAVEPOINT s","DELETE FROM m",'
                '"SELECT count(*) AS n FROM m","ROLLBACK TO s","SELECT count(*) AS n FROM m","COMMIT"]',
                J('{"results":[{},{"columns":["v"],"types":["text"],"values":[["d"]]},{},{"rows_affected":4},'
                  '{"columns":["n"],"types":["integer"],"values":[[0]]},{},'
                  '{"columns":["n"],"types":["integer"],"values":[[4]]},{}]}'), deviates=True, name="savepoints"),
        execute('["BEGIN","INSERT INTO m(v) VALUES(\'no\')"]',
                J(json.dumps({"results": [{}, {"last_insert_id": 5, "rows_affected": 1}], "error": LEFT_OPEN})),
                deviates=True, name="left open: rolled back"),
        execute('["BEGIN; INSERT INTO m(v) VALUES(\'no\'); INSERT INTO m(v) VALUES(\'a\'); COMMIT"]',
                J(json.dumps({"results": [{"error": "UNIQUE constraint failed: m.v"}], "error": LEFT_OPEN})),
                deviates=True, name="an error ends the string, which leaves it open"),
        execute('["COMMIT","INSERT INTO m(v) VALUES(\'e\')"]',
                J('{"results":[{"error":"cannot commit - no transaction is active"},'
                  '{"last_insert_id":5,"rows_affected":1}]}'), deviates=True, name="nobody else's transaction"),
        execute('["INSERT INTO m(v) VALUES(\'in tx\')","COMMIT","INSERT INTO m(v) VALUES(\'z\')"]',
                R(r'\{"results":\[\{"last_insert_id":\d+,"rows_affected":1\},'
                  r'\{"error":"[^"]+\'transaction\'[^"]+"\}\]\}'), "?transaction", deviates=True,
                name="COMMIT can't end the parameter's transaction"),
        query('["BEGIN","SELECT count(*) AS n FROM m","COMMIT"]',
              J('{"results":[{},{"columns":["n"],"types":["integer"],"values":[[5]]},{}]}'), deviates=True),
        query('["BEGIN; SELECT group_concat(v) AS v FROM m; END"]', columns(["v"], ["text"], [["a,b,c,d,e"]]),
              deviates=True),
    ]
    yield "statements everywhere", M, [
        execute('["INSERT INTO m(v) VALUES(\'a\'); INSERT INTO m(v) VALUES(random()); SELECT datetime(\'now\'); '
                'INSERT INTO m(v) VALUES(\'c\')"]', J('{"results":[{"last_insert_id":3,"rows_affected":1}]}'),
                deviates=True, name="all of a string, with random() and now"),
        count_is("m", 3, deviates=True),
        request('["SELECT 1; INSERT INTO m(v) VALUES(\'d\')"]', J('{"results":[{"last_insert_id":4,"rows_affected":1}]}'),
                deviates=True, name="a read, then a write"),
        request('["INSERT INTO m(v) VALUES(\'e\') RETURNING id; INSERT INTO m(v) VALUES(\'f\')"]',
                J('{"results":[{"last_insert_id":6,"rows_affected":1}]}'), deviates=True, name="RETURNING first"),
        execute('["INSERT INTO m(v) VALUES(\'g\') RETURNING\\nid"]', columns(["id"], ["integer"], [[7]]), deviates=True),
        query('["INSERT INTO m(v) VALUES(\'h\') RETURNING id"]', READ_ONLY),
        query('["DELETE FROM m; SELECT 1"]', READ_ONLY, deviates=True),
        count_is("m", 7, deviates=True),
        query('["EXPLAIN DELETE FROM m"]', R(r'\{"results":\[\{"columns":\["addr","opcode".*')),
        request('["EXPLAIN QUERY PLAN DELETE FROM m"]', R(r'\{"results":\[\{"columns":\["id","parent".*')),
        request('["PRAGMA table_info(m)","UPDATE m SET v = v"]', R(r'\{"results":\[\{"columns":\["cid".*rows_affected.*')),
        execute('["PRAGMA user_version","ANALYZE","EXPLAIN SELECT 1"]', J('{"results":[{},{},{}]}'), deviates=True),
        query('["ANALYZE"]', READ_ONLY, deviates=True),
        request('["ANALYZE","SELECT count(*) > 0 AS n FROM sqlite_stat1"]',
                J('{"results":[{},{"columns":["n"],"types":["integer"],"values":[[1]]}]}'), deviates=True),
        request('["INSERT INTO m(v) VALUES(\'inf\') RETURNING 9e999 AS x"]',
                J('{"results":[{"columns":["x"],"types":["real"],"values":[[null]]}]}'), deviates=True,
                name="Inf doesn't turn what is committed into a 500"),
        count_is("m", 8, deviates=True),
        request('["INSERT INTO m(v) VALUES(\'t1\')","SELECT * FROM nope","INSERT INTO m(v) VALUES(\'t2\')"]',
                R(r'\{"results":\[\{"last_insert_id":9,"rows_affected":1\},\{"error":"no such table: nope"\}\]\}'),
                "?transaction", deviates=True, name="an error at prepare ends a transaction"),
        count_is("m", 8, deviates=True),
    ]

    disallowed = ["PRAGMA journal_mode=WAL", "pragma  journal_mode = DELETE",
                  "PRAGMA main.journal_mode=OFF", "PRAGMA wal_autocheckpoint=10",
                  "PRAGMA wal_checkpoint", "PRAGMA wal_checkpoint(TRUNCATE)",
                  "PRAGMA synchronous=OFF", "PRAGMA query_only=0", "  PRAGMA journal_mode=WAL"]
    evading = ["PRAGMA journal_mode(DELETE)", "PRAGMA synchronous(1)",
               "PRAGMA wal_autocheckpoint(10)", "/* c */ PRAGMA journal_mode=DELETE",
               "SELECT 1; PRAGMA journal_mode=DELETE"]
    yield "pragmas", M, [
        path(json.dumps([sql]), DISALLOWED, name=sql)
        for sql in disallowed for path in (execute, query, request)] + [
        path(json.dumps([sql]), R(r'.*(disallowed pragma|"error":"[^"]+).*'), deviates=True,
             name=sql + " evades nothing") for sql in evading for path in (execute, request)] + [
        execute('["PRAGMA journal_mode(DELETE)"]', DISALLOWED, deviates=True),
        execute('["INSERT INTO m(v) VALUES(\'p\')","PRAGMA journal_mode=WAL"]', DISALLOWED),
        count_is("m", 0, name="nothing of the request has run"),
        query('["PRAGMA table_info(m)"]',
              columns(["cid", "name", "type", "notnull", "dflt_value", "pk"],
                      ["integer", "text", "text", "integer", "", "integer"],
                      [[0, "id", "INTEGER", 0, None, 1], [1, "v", "TEXT", 1, None, 0]])),
        query('["PRAGMA integrity_check"]', columns(["integrity_check"], ["text"], [["ok"]])),
        query('["PRAGMA foreign_keys"]', R(r'\{"results":\[\{"columns":\["foreign_keys"\].*')),
        query('["PRAGMA journal_mode"]', columns(["journal_mode"], ["text"], [["wal"]])),
        execute('["PRAGMA user_version=7"]', R(r'\{"results":\[\{[^}]*\}\]\}')),
        query('["PRAGMA user_version"]', columns(["user_version"], ["integer"], [[7]])),
    ]
    yield "what reaches outside", M, [
        path(json.dumps([sql]), per_statement_error(), deviates=True, name=sql)
        for sql in ("ATTACH 'attached-by-test.db' AS x", "ATTACH ':memory:' AS y", "DETACH main",
                    "VACUUM INTO 'vacuumed-by-test.db'") for path in (execute, request)] + [
        query('["ATTACH \':memory:\' AS y"]', per_statement_error(), deviates=True,
              name="ATTACH on query"),
        execute('["ATTACH \':memory:\' AS z","INSERT INTO m(v) VALUES(\'after\')"]',
                R(r'\{"results":\[\{"error":"[^"]+"\},\{"last_insert_id":1,"rows_affected":1\}'
                  r'\]\}'), deviates=True, name="only the statement is refused"),
        execute('["SELECT load_extension(\'x\')"]', per_statement_error()),
    ]
    yield "maintenance", M, [
        execute('["ANALYZE"]', R(r'\{"results":\[\{.*\}\]\}')),
        Row("POST", "/snapshot", None, 200, "", name="a checkpoint"),
        Row("POST", "/snapshot?trailing_logs=0", None, 204, "", name="nothing new"),
        bad("POST", "/snapshot?trailing_logs=x", None, "trailing_logs is not a valid integer"),
        Row("GET", "/snapshot", None, 405, ""),
        Row("POST", "/reap", None, 200, R(r'\{"snapshots_reaped":\d+,"wals_checkpointed":\d+\}\n'), has={"Content-Type": JSON_TYPE}),
        Row("GET", "/reap", None, 405, ""), Row("POST", "/reap/", None, 404, ""),
        execute('["REINDEX"]', R(r'\{"results":\[\{.*\}\]\}')),
        execute('["VACUUM"]', NOTHING, deviates=True),
        execute('["VACUUM"]', J('{"results":[{"error":"cannot VACUUM from within a transaction"}]}'),
                "?transaction"),
        query('["SELECT 1"]', columns(["1"], ["integer"], [[1]])),
    ]
    yield "time and chance", ["CREATE TABLE n(a, b DEFAULT (random()), c TEXT DEFAULT"
                              " CURRENT_TIMESTAMP)"], [
        execute('["INSERT INTO n(a) VALUES(random()),(random())"]', R(".*rows_affected.:2.*")),
        cell("SELECT (SELECT count(DISTINCT a) FROM n)", "integer", "2",
             name="each row has its own random value"),
        cell("SELECT (SELECT count(DISTINCT b) FROM n)", "integer", "2", deviates=True),
        cell("SELECT (SELECT min(abs(julianday(c) - julianday('now')) < 1) FROM n)", "integer",
             "1"),
        execute('["INSERT INTO n(a, c) VALUES(random(), CURRENT_TIMESTAMP)"]', R(".*")),
        cell("SELECT (SELECT count(*) FROM n WHERE c = 'CURRENT_TIMESTAMP')", "integer", "0",
             deviates=True),
        execute('["INSERT INTO n(a) VALUES(randomblob(8))"]', R(".*")),
        cell("SELECT (SELECT length(a) FROM n WHERE typeof(a) = 'blob')", "integer", "8"),
        query('["SELECT datetime(\'now\')"]',
              R(r'\{"results":\[\{"columns":\["datetime\(\'now\'\)"\],"types":\["text"\].*'),
              "?level=strong", deviates=True, name="names of columns under level strong"),
        execute('["CREATE TABLE frozen(a DEFAULT (datetime(\'now\')))"]', NOTHING, deviates=True),
        cell("SELECT (SELECT sql FROM sqlite_master WHERE name = 'frozen')", "text",
             '"CREATE TABLE frozen(a DEFAULT (datetime(\'now\')))"', deviates=True),
    ]


def documents():
    alone = "[+]node ok\n[+]leader ok\n[+]store ok\n[+]db ok"
    yield "documents", [], [
        get("/readyz", alone, has={"Content-Type": TEXT_TYPE}),
        get("/readyz?sync", "[+]node ok\n[+]leader ok\n[+]store ok\n[+]sync ok\n[+]db ok"),
        get("/readyz?noleader", "[+]node ok"),
        get("/readyz?noleader&sync", "[+]node ok"),
        get("/readyzfoo", alone),
        get("/readyz?timeout=5s&retries=2", alone),
        get("/status", status_document, has={"Content-Type": JSON_TYPE}),
        get("/status?pretty", R(r'\{\n    "build".*')),
        get("/statusfoo", status_document),
        get("/status?key=store.raft.state", '"Leader"'),
        get("/status?key=store.raft.state.foo", '"Leader"'),
        get("/status?key=store.node_id", '"n1"'),
        get("/status?key=nonsense", "{}"),
        get("/nodes", nodes_map, has={"Content-Type": JSON_TYPE}),
        get("/nodes?nonvoters", nodes_map),
        get("/nodes?ver=2", nodes_list),
        get("/nodes?ver=3", nodes_map, name="any other version is the old form"),
        get("/nodes?pretty", nodes_map),
        get("/nodes?timeout=5s", nodes_map),
        get("/leader", leader_document, has={"Content-Type": JSON_TYPE}),
        get("/leader?pretty", leader_document),
        Row("POST", "/leader", None, 200, ""),
        Row("POST", "/leader?wait", None, 500, "stepdown: cannot find peer\n"),
        Row("POST", "/leader?wait", '{"id":"n1"}', 500,
            "stepdown: cannot step down to the current Leader\n",
            headers={"Content-Type": "application/json"}),
        Row("POST", "/leader?wait", '{"id":"nobody"}', 500,
            "stepdown: node not found in cluster\n",
            headers={"Content-Type": "application/json"}),
        Row("POST", "/leader?wait", "{b", 400, R(r"invalid JSON: .*'?b'?.*\n"),
            headers={"Content-Type": "application/json"}),
        get("/debug/vars", vars_document, has={"Content-Type": JSON_TYPE}),
        get("/debug/vars?key=http", R(r'\{\n"http": \{.*\}\n\}\n')),
        get("/debug/vars?key=nonsense", "{\n\n}\n"),
        get("/readyz", alone, name="still ready after all this"),
    ]


GROUPS = [pipeline, endpoints, bodies, parameters, queue, responses, documents]


# ---------------------------------------------------------------------------- running

def common_headers(row, response):
    """What every answer must carry."""
    if not (row.status < 200) and len(response.all("X-Rqlite-Version")) != 1:
        return "X-Rqlite-Version is there %d times" % len(response.all("X-Rqlite-Version"))
    if not response.get("Date"):
        return "no Date"
    if "OPTIONS, GET, POST" not in (response.get("Access-Control-Allow-Methods") or ""):
        return "Access-Control-Allow-Methods is %r" % response.get("Access-Control-Allow-Methods")
    if response.get("Access-Control-Allow-Headers") != "Content-Type":
        return "Access-Control-Allow-Headers is %r" % response.get("Access-Control-Allow-Headers")
    kind = response.get("Content-Type")
    if response.status >= 400 and response.body and not row.target.startswith("/readyz"):
        if kind != TEXT_TYPE or response.get("X-Content-Type-Options") != "nosniff":
            return "an error text with Content-Type %r and nosniff %r" % (
                kind, response.get("X-Content-Type-Options"))
    elif response.status == 200 and row.target.startswith("/db/") and row.method != "OPTIONS":
        if kind != JSON_TYPE:
            return "Content-Type is %r" % kind
    return None


def problem(row, response, node):
    if response.status != row.status:
        return "status %d, expected %d" % (response.status, row.status)
    wrong = common_headers(row, response)
    if wrong:
        return wrong
    for name, value in row.has.items():
        if response.get(name) != value.replace("{http}", node.address()):
            return "%s is %r, expected %r" % (name, response.get(name), value)
    for name in row.lacks:
        if response.get(name) is not None:
            return "%s is there: %r" % (name, response.get(name))
    if row.expect is None:
        return None
    if isinstance(row.expect, str):
        return None if response.body == row.expect.encode("utf-8") else "another body"
    try:
        return row.expect(response)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as e:
        return "%s: %s" % (type(e).__name__, e)


def reset(client, statements):
    """An empty database, then the set-up."""
    rows = json.loads(client.request(
        "POST", "/db/query?level=strong",
        json.dumps(["SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view')"
                    " AND name NOT LIKE 'sqlite_%'"])).body)["results"][0].get("values", [])
    drop = ['DROP %s "%s"' % (kind, name) for kind, name in rows]
    for sql in drop + statements:
        response = client.request("POST", "/db/execute", json.dumps([sql]))
        if response.status != 200 or b'"error"' in response.body:
            raise NodeError("set-up: %s: %d %r" % (sql, response.status, response.body[:200]))


def check_encoded_size(node, tally):
    """Small in JSON, large as it goes on: 13 million integers. Nobody's link may break of it."""
    with open(node.log_path, "rb") as f:
        before = f.read().count(b"Closing the connection")
    for path in ("/db/query", "/db/query?level=none", "/db/execute", "/db/request"):
        client = node.client(60)
        try:
            response = client.request("POST", path, '[["SELECT 1"' + ",1" * 13000000 + "]]")
            tally.check(response.status == 413 and b"64 MiB" in response.body, "encoded size, %s: %d %r"
                        % (path, response.status, response.body[:100]))
        except HttpFailure as e: # the answer comes while the body is still on its way
            tally.check("reset" in str(e).lower() or "pipe" in str(e).lower(), "encoded size, %s: %s" % (path, e))
        client.close()
    client = node.client()
    tally.check(client.request("GET", "/db/query?q=SELECT%207").body.find(b"[[7]]") > 0, "encoded size: serves on")
    client.close()
    with open(node.log_path, "rb") as f:
        tally.check(f.read().count(b"Closing the connection") == before, "encoded size: no link was closed")


def check_wire(node, tally):
    """What needs more than one request at a time, or none of HTTP/1.1's comforts."""
    client = node.client()
    ask = ("POST /db/query HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s")
    both = "".join(ask % (len(b), b) for b in ('["SELECT 1 AS a"]', '["SELECT 22 AS a"]'))
    try:
        deadline = time.monotonic() + 10
        first = client.raw(both.encode(), deadline)
        second = client.raw(b"", deadline)
        tally.check(b"[[1]]" in first.body and b"[[22]]" in second.body, "pipelining: %r, %r"
                    % (first.body, second.body))
    except HttpFailure as e:
        tally.check(False, "pipelining: %s" % e)
    client.close()
    try:
        old = client.raw(b"GET /db/query?q=SELECT%201 HTTP/1.0\r\n\r\n", time.monotonic() + 10)
        tally.check(old.status == 200 and b"[[1]]" in old.body, "HTTP/1.0: %d %r"
                    % (old.status, old.body))
    except HttpFailure as e:
        tally.check(False, "HTTP/1.0: %s" % e)
    client.close()


def not_yet(response):
    """A feature that isn't there says so, and nothing has been done."""
    return None if b"not available yet" in response.body else "doesn't say 'not available yet'"


def run(node, args, tally):
    client = node.client(20)
    skipped = 0
    for maker in GROUPS:
        for group, setup, rows in maker():
            if args.only and args.only not in group:
                continue
            try:
                reset(client, setup)
            except (NodeError, HttpFailure, KeyError, ValueError, IndexError) as e:
                tally.check(False, "%s: %s" % (group, e))
                continue
            for row in rows:
                if row.deviates and args.peer_mode:
                    skipped += 1
                    continue
                label = "%s: %s %s" % (group, row.method, row.target[:100])
                if row.name:
                    label += " (%s)" % row.name[:80]
                try:
                    response = client.request(row.method, row.target, row.body, row.headers)
                except HttpFailure as e:
                    tally.check(False, "%s: %s" % (label, e))
                    continue
                wrong = not_yet(response) if row.later and not args.peer_mode else problem(row, response, node)
                if not tally.check(not wrong, "%s: %s" % (label, wrong)):
                    expect = getattr(row.expect, "text", row.expect)
                    print("     sent     %.300r\n     got      %d %.600r\n     expected %d %.600r"
                          % (row.body, response.status, response.body, row.status, expect))
    client.close()
    if not args.only:
        check_wire(node, tally)
        if not args.peer_mode:
            check_encoded_size(node, tally)
    if skipped:
        print("%d rows where we deviate were skipped" % skipped)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(here, "../../build/bin/rqd"))
    parser.add_argument("--peer-mode", action="store_true",
                        help="skip the rows where we deviate (the server is rqlite)")
    parser.add_argument("--only", help="run only groups with this text in their name")
    args = parser.parse_args()
    exit_on_sigterm()
    tally = Tally()
    node = Node(args.rqd)
    try:
        node.start()
        node.wait_ready(30)
        run(node, args, tally)
        if not args.peer_mode:
            left = [f for _, _, files in os.walk(node.work_dir) for f in files if "by-test" in f]
            tally.check(not left, "statements that were refused made files: %s" % left)
        tally.check(node.stop() == 0, "SIGTERM: exit code isn't 0, or processes remain")
    except NodeError as e:
        tally.check(False, "stopped: %s" % e)
    if tally.failed:
        node.dump_log(15)
    node.remove()
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
