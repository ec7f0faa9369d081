#!/usr/bin/env python3
"""The published client libraries of rqlite, each with a scenario of its own (tests/clients), against one
node and against three of which one is down. A language whose tools aren't installed is skipped, and
said so. Packages come from their registries, and are kept in --work for the next time."""

import argparse
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster_nodes import Cluster, wait_for
from rqnode import HttpFailure, Node, NodeError, Tally, exit_on_sigterm

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.join(HERE, "../clients")
BUILD_SECONDS = 900
RUN_SECONDS = 120


class Skip(Exception):
    """Why a language can't be tried here."""


def tool(name):
    path = shutil.which(name)
    if path is None:
        raise Skip("%s isn't installed" % name)
    return path


def version(command):
    """The first version number in what a tool says of itself."""
    out = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"(\d+)\.(\d+)", out)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def at_least(command, wanted):
    tool(command[0])
    have = version(command)
    if have < wanted:
        raise Skip("%s is %d.%d, %d.%d is wanted" % (command[0], *have, *wanted))


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=BUILD_SECONDS)
    if done.returncode != 0:
        raise NodeError("%s: exit code %d\n%s" % (" ".join(command), done.returncode, done.stdout[-3000:]))


# Each makes a folder with a copy of its sources ready, and returns the command.

def go(folder):
    at_least(["go", "version"], (1, 19))
    run(["go", "build", "-o", "scenario", "."], folder)
    return [os.path.join(folder, "scenario")]


def python(folder):
    interpreter = os.path.join(folder, "venv/bin/python")
    if not os.path.exists(interpreter):
        run([sys.executable, "-m", "venv", "venv"], folder)
    run([interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"], folder)
    return [interpreter, os.path.join(folder, "scenario.py")]


def javascript(folder):
    at_least(["node", "--version"], (14, 0))
    tool("npm")
    if not os.path.isdir(os.path.join(folder, "node_modules/rqlite-js")):
        run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"], folder)
    return ["node", os.path.join(folder, "scenario.js")]


def rust(folder):
    tool("rustc")
    at_least(["cargo", "--version"], (1, 83))
    run(["cargo", "build", "--quiet"], folder)
    return [os.path.join(folder, "target/debug/clients-rust")]


LANGUAGES = (go, python, javascript, rust)

# What rqlite's shell is told, and what must be in what it says.
SHELL = (("CREATE TABLE shell_items (id INTEGER PRIMARY KEY, name TEXT)", ""),
         ("INSERT INTO shell_items(name) VALUES('fiona')", "1 row affected"),
         ("SELECT * FROM shell_items", "fiona"), ("SELECT * FROM nope", "no such table"),
         (".schema", "CREATE TABLE shell_items"), (".tables", "shell_items"), (".indexes", ""), (".ready", "ready"),
         (".status", "build"), (".nodes", "api_addr"), (".expvar", "cmdline"), (".consistency strong", ""),
         ("SELECT count(*) FROM shell_items", "1"))


def prepare(args, tally):
    """(name, command) of each language that can be tried; how many can't."""
    ready, skipped = [], 0
    for language in LANGUAGES:
        name = language.__name__
        if args.only and args.only != name:
            continue
        folder = os.path.join(args.work, name)
        try:
            shutil.copytree(os.path.join(SOURCES, name), folder, dirs_exist_ok=True)
            ready.append((name, language(folder)))
        except Skip as e:
            print("SKIPPED %s: %s" % (name, e), flush=True)
            skipped += 1
        except (NodeError, OSError, subprocess.SubprocessError) as e:
            tally.check(False, "%s: not ready: %s" % (name, e))
    return ready, skipped


def check_scenario(tally, where, name, command, addresses):
    try:
        done = subprocess.run([*command, ",".join(addresses)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired as e:
        tally.check(False, "%s, %s: not done in %d s: %s" % (name, where, RUN_SECONDS, e.output))
        return
    found = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.M)
    good = done.returncode == 0 and found is not None and int(found[1]) > 0 and found[2] == "0"
    tally.check(good, "%s, %s: exit code %d\n%s" % (name, where, done.returncode, done.stdout[-3000:]))
    print("%s, %s: %s" % (name, where, found[0] if found else "no summary"), flush=True)


def check_shell(tally, shell, node):
    host, port = node.address().rsplit(":", 1)
    text = "\n".join(line for line, _ in SHELL) + "\n.quit\n"
    done = subprocess.run([shell, "-H", host, "-p", port], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=RUN_SECONDS)
    tally.check(done.returncode == 0, "shell: exit code %d: %s" % (done.returncode, done.stdout[-1000:]))
    for line, wanted in SHELL:
        tally.check(wanted in done.stdout, "shell: %s: no %r in %s" % (line, wanted, done.stdout[-3000:]))


def one_node(tally, args, ready):
    node = Node(args.rqd)
    try:
        node.start()
        node.wait_ready()
        for name, command in ready:
            check_scenario(tally, "one node", name, command, [node.address()])
        if args.shell:
            check_shell(tally, args.shell, node)
    finally:
        if tally.failed:
            node.dump_log(20)
        node.stop()
        node.remove()


def three_nodes(tally, args, ready):
    cluster = Cluster(args.rqd, 3)
    try:
        cluster.start()
        cluster.wait_ready()
        dead = cluster.leader()
        dead.kill_tree()
        alive = [n for n in cluster if n is not dead]
        follower = next(n for n in alive if n is not cluster.leader(nodes=alive))
        wait_for("two of three serve", 30, lambda: all(n.wait_ready(30) is not None for n in alive))
        others = [n for n in alive if n is not follower]
        addresses = [n.address() for n in [follower, dead, *others]]
        for name, command in ready:
            check_scenario(tally, "three nodes, one down", name, command, addresses)
    finally:
        if tally.failed:
            cluster.dump_logs(20)
        cluster.kill()
        cluster.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(HERE, "../../build/bin/rqd"))
    parser.add_argument("--work", default=os.path.join(HERE, "../../build/clients"), help="where packages and programs are kept")
    parser.add_argument("--only", help="only this language")
    parser.add_argument("--shell", help="path of rqlite's shell, to try that too")
    args = parser.parse_args()
    args.work = os.path.abspath(args.work)
    exit_on_sigterm()
    tally = Tally()
    ready, skipped = prepare(args, tally)
    if not args.shell:
        print("SKIPPED rqlite's shell: no --shell", flush=True)
        skipped += 1
    for case in (one_node, three_nodes):
        try:
            if ready:
                case(tally, args, ready)
        except (NodeError, HttpFailure, ValueError, subprocess.SubprocessError) as e:
            tally.check(False, "%s: stopped: %s" % (case.__name__, e))
    return tally.finish(skipped)


if __name__ == "__main__":
    sys.exit(main())
