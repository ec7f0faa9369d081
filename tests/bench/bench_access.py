#!/usr/bin/env python3
"""What HTTPS and users cost: the same load on nodes of the same program that are plain, speak TLS, check
plain and check hashed passwords. They run at the same time and take turns. See README.md.
"""

import argparse
import base64
import http.client
import json
import os
import resource
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../system"))
from bench import BenchError, exit_on_sigterm
from rqnode import Node, NodeError

USER, PASSWORD = "bench", "a password of some length"
CASES = {
    "point": ("/db/query?level=none", '[["SELECT id, name, price FROM item WHERE id = ?", %d]]'),
    "insert": ("/db/execute", '[["INSERT INTO bench(k, v, x) VALUES(?, \'value\', 0.5)", %d]]'),
}
KINDS = ["plain", "tls", "password", "hashed"]
TARGETS = {"tls": 0.70, "hashed": 0.95}     # of the rate without: of plain; of plain passwords

LUA = """
local headers = { ["Content-Type"] = "application/json"%(authorization)s }
function request() return wrk.format("POST", "%(path)s", headers, string.format([=[%(body)s]=], math.random(1000, 9999))) end
function done(summary, latency, requests)
  local e = summary.errors
  print(string.format("RESULT %%d %%d %%d", summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout.strip()


class Server:
    """A Node's wait_ready speaks plain HTTP: this one looks for itself."""

    def __init__(self, kind, binary, folder):
        self.kind, self.headers = kind, {}
        flags = []
        if kind == "tls":
            cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
            flags = ["-http-cert", cert, "-http-key", key]
        elif kind != "plain":
            stored = PASSWORD if kind == "password" else run("openssl", "passwd", "-6", "-salt", "rqbench0", PASSWORD)
            users = os.path.join(folder, kind + ".json")
            with open(users, "w") as f:
                json.dump([{"username": USER, "password": stored, "perms": ["all"]}], f)
            os.chmod(users, 0o600)
            flags = ["-auth", users]
            self.headers = {"Authorization": "Basic " + base64.b64encode(("%s:%s" % (USER, PASSWORD)).encode()).decode()}
        self.node = Node(binary, folder, flags)
        self.node.start()
        self.scheme = "https" if kind == "tls" else "http"

    def ask(self, method, target, body=None):
        where = self.node.host, self.node.http_port
        connection = (http.client.HTTPSConnection(*where, context=ssl._create_unverified_context(), timeout=60)
                      if self.scheme == "https" else http.client.HTTPConnection(*where, timeout=60))
        try:
            connection.request(method, target, body, self.headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def prepare(self):
        for _ in range(600):
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.05)
        statements = ["CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL)",
                      "CREATE TABLE bench(id INTEGER PRIMARY KEY, k INTEGER, v TEXT, x REAL)",
                      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
                      "INSERT INTO item SELECT i, 'item number ' || (1000000 + i), i + 0.25 FROM n"]
        status, body = self.ask("POST", "/db/execute?transaction", json.dumps(statements))
        if status != 200 or b'"error"' in body:
            raise BenchError("%s: %d %r" % (self.kind, status, body[:300]))

    def measure(self, case, connections, seconds, folder):
        path, body = CASES[case]
        status, answer = self.ask("POST", path, body % 4321)
        if status != 200 or b'"error"' in answer or (case == "point" and b"item number 1004321" not in answer):
            raise BenchError("%s %s: %d %r" % (self.kind, case, status, answer[:300]))
        script = os.path.join(folder, "%s-%s.lua" % (self.kind, case))
        with open(script, "w") as f:
            extra = "".join(', ["%s"] = "%s"' % item for item in self.headers.items())
            f.write(LUA % {"authorization": extra, "path": path, "body": body})
        # Two runs, one longer than the other: what is between them has no handshakes in it, which on a slow
        # machine cost more than the few requests of some seconds.
        for _ in range(5):
            short, long = (self.run_wrk(script, connections, n) for n in (1, 1 + seconds))
            requests, us, server, both = (b - a for a, b in zip(short, long))
            if requests > 0:
                break
        else:
            raise BenchError("%s %s: the machine is too busy to measure this" % (self.kind, case))
        return {"req/s": requests / us * 1e6, "CPU us/req": server * 1e6 / requests, "with wrk's": both * 1e6 / requests}

    def run_wrk(self, script, connections, seconds):
        """Requests, us, and seconds of CPU: the server's, and together with those of wrk."""
        cpu, before = self.node.cpu_seconds_exact(), resource.getrusage(resource.RUSAGE_CHILDREN)
        out = run("wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds, "--timeout", "30s", "-s", script,
                  "%s://%s" % (self.scheme, self.node.address()))
        cpu = self.node.cpu_seconds_exact() - cpu
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        load = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        requests, us, errors = map(int, [l for l in out.splitlines() if l.startswith("RESULT")][0].split()[1:])
        if errors or not requests:
            raise BenchError("%s: %d errors of %d requests" % (self.kind, errors, requests))
        return requests, us, cpu, cpu + load


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(HERE, "../../build/bin/rqd"))
    parser.add_argument("--cases", default=",".join(CASES), help="of: " + ", ".join(CASES))
    parser.add_argument("--kinds", default=",".join(KINDS), help="of: " + ", ".join(KINDS))
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write all figures to this file")
    args = parser.parse_args()
    cases, kinds = args.cases.split(","), args.kinds.split(",")
    if set(cases) - set(CASES) or set(kinds) - set(KINDS):
        parser.error("unknown case or kind")
    for program in ("wrk", "openssl"):
        if shutil.which(program) is None:
            parser.error("%s is not installed" % program)
    exit_on_sigterm()
    temp = tempfile.mkdtemp(prefix="rqbench-")
    servers, failed, all_figures = [], 0, {}
    try:
        for kind in kinds:
            servers.append(Server(kind, args.rqd, temp))
            servers[-1].prepare()
        for number in range(1, args.rounds + 1):
            for case in cases:
                for server in servers:
                    result = server.measure(case, args.connections, args.seconds, temp)
                    all_figures.setdefault(case, {}).setdefault(server.kind, []).append(result)
                    print("round %d %-7s %-9s %s" % (number, case, server.kind, "  ".join("%s %.1f" % item for item in result.items())), flush=True)
        print("\n%-8s %-9s %10s %12s %12s  %s" % ("case", "kind", "req/s", "CPU us/req", "with wrk's", "rate of that without: as measured, by CPU with wrk's (medians of the rounds')"))
        for case, by in all_figures.items():
            for kind, results in by.items():
                base = "password" if kind == "hashed" and "password" in by else "plain"
                ratio = statistics.median(a["req/s"] / b["req/s"] for a, b in zip(results, by[base])) if base in by else float("nan")
                possible = statistics.median(b["with wrk's"] / a["with wrk's"] for a, b in zip(results, by[base])) if base in by else float("nan")
                target = "  target %.2f %s" % (TARGETS[kind], "met" if ratio >= TARGETS[kind] else "MISSED") if kind in TARGETS else ""
                print("%-8s %-9s %10.0f %12.1f %12.1f  %.2f, %.2f of %s%s" % (case, kind, *(statistics.median(r[m] for r in results) for m in results[0]),
                      ratio, possible, base, target))
        if args.json:
            with open(args.json, "w") as f:
                json.dump(all_figures, f, indent=1)
    except (NodeError, BenchError, OSError, subprocess.CalledProcessError) as e:
        print("FAIL %s" % e)
        failed += 1
    finally:
        for server in servers:
            if failed:
                server.node.dump_log(15)
            server.node.kill_tree()
        shutil.rmtree(temp, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
