#!/usr/bin/env python3
"""-extensions-path on a real node: functions in reads and writes, after a restart too, and paths that are
wrong. The extension is that of the unit tests; needs a C compiler."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from cluster_nodes import Refused, ask, execute, query
from rqnode import HttpFailure, Node, NodeError, Tally, exit_on_sigterm

SOURCE = os.path.join(HERE, "../unit/store/extension/rot13.c")


def works(tally, binary, paths):
    node = Node(binary, flags=["-extensions-path", paths])
    try:
        node.start()
        node.wait_ready()
        tally.check(query(node, "SELECT rot13('Hello'), dice()") == [("Uryyb", 4)], "in a read")
        execute(node, "CREATE TABLE t(v TEXT CHECK (rot13(v) <> 'ab'))", "INSERT INTO t VALUES(rot13('fiona'))")
        refused = json.loads(ask(node, "POST", "/db/execute", ["INSERT INTO t VALUES(dice())", "INSERT INTO t VALUES('no')"]).body)
        errors = [r.get("error", "") for r in refused["results"]]
        tally.check("its result may differ between nodes" in errors[0], "dice() in a write: %s" % errors)
        tally.check("CHECK constraint failed" in errors[1], "a CHECK that calls rot13(): %s" % errors)
        names = json.loads(ask(node, "GET", "/status?key=extensions").body)
        tally.check(names == {"dir": paths, "names": ["rot13.so"]}, "/status: %s" % names)
        node.kill_tree()
        node.start()
        node.wait_ready()
        tally.check(query(node, "SELECT v, rot13(v) FROM t") == [("svban", "fiona")], "after kill -9")
        tally.check(node.stop() == 0, "SIGTERM: exit code isn't 0")
    finally:
        if tally.failed:
            node.dump_log(20)
        node.remove()


def is_refused(tally, binary, paths, says):
    node = Node(binary, flags=["-extensions-path", paths])
    try:
        node.start()
        code = node.root.wait(30)
        with open(node.log_path, encoding="utf-8", errors="replace") as log:
            text = log.read()
        tally.check(code != 0, "%s: exit code %s" % (paths, code))
        tally.check(says in text, "%s: no %r in %s" % (paths, says, text[-1500:]))
        tally.check(not os.path.exists(os.path.join(node.data_dir, "consensus")), "%s: a cluster was founded before they were looked at" % paths)
        done = subprocess.run([binary, "--check-config", "-extensions-path", paths, node.data_dir], capture_output=True, text=True, timeout=60)
        tally.check(done.returncode == 78 and says in done.stderr, "%s: --check-config: %d %r" % (paths, done.returncode, done.stderr[-300:]))
    except subprocess.TimeoutExpired:
        tally.check(False, "%s: the node goes on" % paths)
    finally:
        node.kill_tree()
        node.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(HERE, "../../build/bin/rqd"))
    args = parser.parse_args()
    exit_on_sigterm()
    tally = Tally()
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("SKIPPED extensions: no C compiler", flush=True)
        return tally.finish(1)
    with tempfile.TemporaryDirectory(prefix="rqtest-") as folder:
        library = os.path.join(folder, "rot13.so")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        with open(os.path.join(folder, "readme.txt"), "w", encoding="utf-8") as f:
            f.write("not an extension")
        try:
            works(tally, args.rqd, library)
            works(tally, args.rqd, folder)
            is_refused(tally, args.rqd, os.path.join(folder, "nothing.so"), "nothing.so: No such file")
            is_refused(tally, args.rqd, os.path.join(folder, "readme.txt"), "readme.txt")
        except (NodeError, HttpFailure, Refused, ValueError, KeyError) as e:
            tally.check(False, "stopped: %s" % e)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
