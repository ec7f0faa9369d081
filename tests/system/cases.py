"""What suites of cases on real nodes share: a case with its checks and its nodes, and the program around them."""

import argparse
import http.client
import os
import sqlite3
import subprocess
import threading
import time

from cluster_nodes import Cluster, Refused
from rqnode import HttpFailure, Node, NodeError, Tally, exit_on_sigterm

HERE = os.path.dirname(os.path.abspath(__file__))
# What ends a case, and no other; it counts as a failure.
STOPS = (NodeError, HttpFailure, Refused, OSError, KeyError, ValueError, TypeError, IndexError,
         http.client.HTTPException, sqlite3.Error, subprocess.SubprocessError)


class Unfit(Exception):
    """The case can't go on; what was wrong has been counted."""


class Case:
    """What a test is given: its nodes, and checks whose texts begin with the test's name."""

    def __init__(self, name, args, tally):
        self.name, self.args, self.tally = name, args, tally
        self.nodes = []

    def check(self, ok, text):
        return self.tally.check(ok, "%s: %s" % (self.name, text))

    def need(self, ok, text):
        if not self.check(ok, text):
            raise Unfit

    def stays(self, text, seconds, probe):
        """Nothing is to happen: looked at all the time, so that what happens and passes is seen, too."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = probe()
            if not found:
                return self.check(False, "%s: no longer so after %.1f of %.1f s" % (text, seconds - (deadline - time.monotonic()), seconds))
            time.sleep(0.05)
        return self.check(True, text)

    def node(self, name, *flags, start=True, **more):
        node = Node(self.args.rqd, self.args.dir, [*self.args.flag, *flags], name, **more)
        self.nodes.append(node)
        if start:
            node.start()
        return node

    def started(self, size, flags=()):
        """A cluster of this size, ready."""
        cluster = Cluster(self.args.rqd, size, self.args.dir, [*self.args.flag, *flags])
        self.nodes.extend(cluster)
        cluster.start()
        cluster.wait_ready()
        return cluster

    def at_once(self, calls):
        """Each (function, argument, …) on a thread of its own, until all have ended. One that stops is a failure."""
        def call(function, *arguments):
            try:
                function(*arguments)
            except STOPS as e:
                self.check(False, "stopped: %s: %s" % (type(e).__name__, e))
        threads = [threading.Thread(target=call, args=c) for c in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def end(self, failed):
        """Ends all nodes; where something failed their data is kept, and their logs are shown."""
        for node in self.nodes:
            node.kill_tree()
            if failed:
                node.dump_log(30)
            else:
                node.remove()
        if failed:
            print("data of %s: %s" % (self.name, " ".join(n.work_dir for n in self.nodes)))


def run(test, make, args, tally):
    case = make(test.__name__.replace("_", " "), args, tally)
    failed, begin = tally.failed, time.monotonic()
    try:
        test(case)
    except Unfit:
        pass
    except STOPS as e:
        case.check(False, "stopped: %s: %s" % (type(e).__name__, e))
    finally:
        case.end(tally.failed > failed)
    print("%-6s %5.1f s %s" % ("ok" if tally.failed == failed else "FAILED", time.monotonic() - begin, case.name), flush=True)


def arguments(doc):
    """The parser of the arguments that every suite has."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(HERE, "../../build/bin/rqd"))
    parser.add_argument("--only", action="append", default=[], help="tests with this in their names")
    parser.add_argument("--dir", help="parent of the data directories (default: temporary)")
    parser.add_argument("--flag", action="append", default=[], help="passed to the servers")
    return parser


def main(tests, make, args, skip=lambda test: None):
    """Runs what is wanted of the tests, each on a case that make(name, args, tally) gives. skip: why one can't be
    run here, or None. Returns the exit code."""
    args.rqd = os.path.abspath(args.rqd)    # commands run in folders of their own
    exit_on_sigterm()
    tally, skipped = Tally(), 0
    wanted = [t for t in tests if not args.only or any(o.replace(" ", "_") in t.__name__ for o in args.only)]
    for test in wanted:
        why = skip(test)
        if why is not None:
            print("SKIP %s: %s" % (test.__name__.replace("_", " "), why), flush=True)
            skipped += 1
            continue
        run(test, make, args, tally)
    tally.check(wanted, "no such test")
    return tally.finish(skipped)
