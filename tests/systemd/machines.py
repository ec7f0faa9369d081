"""Machines for the tests of units and packages: Debian trees booted under a real systemd (systemd-nspawn), and
clients that reach into their networks.

A Machine never writes to its tree; what it changes is gone with it, except in folders that are bound. Only
processes that a Machine started are ended, by its own cgroup.
"""

import ctypes
import json
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../system"))
import rqnode
from rqnode import Client, HttpFailure

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def run(*command, check=True, timeout=300, text=None, env=None):
    """Output of a command, both streams; an error names the command and shows its output."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, text=True,
                          errors="replace", input=text, stdin=None if text is not None else subprocess.DEVNULL,
                          env=None if env is None else {**os.environ, **env})
    if check and done.returncode != 0:
        raise Failure("%s: exit code %d\n%s" % (" ".join(command), done.returncode, done.stdout[-3000:]))
    return done.stdout


class Failure(Exception):
    pass


class NetClient(Client):
    """A client inside a network namespace; address is (host, port) or the path of a socket."""

    def __init__(self, network, address, timeout=30.0):
        super().__init__(address[1] if isinstance(address, tuple) else 0, timeout,
                         address[0] if isinstance(address, tuple) else "rq")
        self.network = network
        self.path = address if isinstance(address, str) else None

    def _connect(self, deadline):
        if self._sock is not None:
            return super()._connect(deadline)
        result = []

        def connect():
            # Of this thread only: the socket stays where it was made.
            try:
                fd = os.open(self.network, os.O_RDONLY)
                try:
                    if _libc.setns(fd, CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns " + self.network)
                finally:
                    os.close(fd)
                if self.path is not None:
                    sock = rqnode.socket.socket(rqnode.socket.AF_UNIX)
                    sock.settimeout(max(0.001, deadline - time.monotonic()))
                    sock.connect(self.path)
                else:
                    sock = rqnode.socket.create_connection((self.host, self.port), max(0.001, deadline - time.monotonic()))
                    sock.setsockopt(rqnode.socket.IPPROTO_TCP, rqnode.socket.TCP_NODELAY, 1)
                result.append(sock)
            except OSError as e:
                result.append(e)

        thread = threading.Thread(target=connect)
        thread.start()
        thread.join()
        if isinstance(result[0], Exception):
            raise HttpFailure("not connected: %s" % result[0], sent=False)
        self._sock = result[0]


class Machine:
    """One booted tree. address: what clients use; network: path of its network namespace, or None for a private one."""

    def __init__(self, name, tree, work, network=None, ip="127.0.0.1", binds=()):
        self.name = name
        self.tree = tree
        self.run_dir = os.path.join(work, "run-" + name)
        self.given_network = network
        self.ip = ip
        self.options = ["--bind%s=%s:%s" % ("" if write else "-ro", source, target) for source, target, write in binds]
        if network:
            self.options.append("--network-namespace-path=" + network)
        self.booted = False

    def boot(self):
        state = run(os.path.join(HERE, "machine.sh"), "boot", self.tree, self.run_dir, *self.options).strip()
        self.booted = True
        with open(os.path.join(self.run_dir, "leader")) as f:
            self.leader = f.read().strip()
        self.network = self.given_network or "/proc/%s/ns/net" % self.leader
        self.root = "/proc/%s/root" % self.leader
        return state

    def kill(self):
        if self.booted:
            run(os.path.join(HERE, "machine.sh"), "kill", self.run_dir, check=False)
        self.booted = False

    def stop(self):
        run(os.path.join(HERE, "machine.sh"), "stop", self.run_dir)
        self.booted = False

    def sh(self, text, check=True, timeout=120):
        """A shell script inside, as root; what it prints."""
        return run(os.path.join(HERE, "machine.sh"), "exec", self.run_dir, "sh", "-c", text, check=check, timeout=timeout).strip()

    def ok(self, text, timeout=120):
        try:
            self.sh(text, timeout=timeout)
            return True
        except Failure:
            return False

    def unit(self, *command, timeout=300, check=True):
        """As a transient unit, which ends with the machine."""
        return run(os.path.join(HERE, "machine.sh"), "unit", self.run_dir, *command, timeout=timeout, check=check)

    def show(self, unit, what):
        return self.sh("systemctl show -P %s %s" % (what, unit))

    def journal(self, *arguments):
        return self.sh("journalctl -b -q --no-pager -o cat " + " ".join(arguments), check=False)

    def write_file(self, path, text):
        with open(self.root + path, "w") as f:
            f.write(text)

    def client(self, timeout=30.0, port=4001):
        return NetClient(self.network, (self.ip, port), timeout)

    def unix_client(self, timeout=30.0):
        return NetClient(self.network, self.root + "/run/rq/http.sock", timeout)

    def execute(self, *statements, timeout=30.0):
        response = self.client(timeout).request("POST", "/db/execute", json.dumps(list(statements)))
        return response.status, response.body.decode()

    def query(self, sql, level="weak", timeout=30.0):
        response = self.client(timeout).request("POST", "/db/query?level=" + level, json.dumps([sql]))
        try:
            return json.loads(response.body)["results"][0]["values"][0][0]
        except (KeyError, ValueError, IndexError):
            raise Failure("query answered %d %s" % (response.status, response.body[:300])) from None

    def wait_ready(self, timeout=60.0):
        """Until /readyz says 200."""
        deadline = time.monotonic() + timeout
        last = ""
        while time.monotonic() < deadline:
            try:
                response = self.client(5).request("GET", "/readyz")
                if response.status == 200:
                    return
                last = "%d %s" % (response.status, response.body[:200])
            except HttpFailure as e:
                last = str(e)
            time.sleep(0.05)
        raise Failure("%s is not ready: %s" % (self.name, last))

    def wait(self, text, timeout=30.0):
        """Until a shell script inside succeeds; whether it did."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.ok(text):
                return True
            time.sleep(0.1)
        return False


class Load:
    """Writes and reads, each on a connection of its own, until stop(). A request that isn't answered with 200 and a
    result is a failure: nobody tries again. Writes go into t(id), so that check() can count what was acknowledged."""

    def __init__(self, machines, network=None, writers=2, readers=1, pause=0.01):
        self.machines = machines
        self.network = network
        self.pause = pause
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.next_id = 0
        self.written = set()
        self.unknown = set()
        self.reads = 0
        self.failures = []
        self.slowest = 0.0
        self.threads = [threading.Thread(target=self._write, args=(i,), daemon=True) for i in range(writers)]
        self.threads += [threading.Thread(target=self._read, args=(i,), daemon=True) for i in range(readers)]

    def start(self):
        for thread in self.threads:
            thread.start()
        time.sleep(0.3)
        return self

    def _request(self, turn, target, body):
        machine = self.machines[turn % len(self.machines)]
        client = NetClient(self.network or machine.network, (machine.ip, 4001), 40.0)
        begin = time.monotonic()
        try:
            response = client.request("POST", target, json.dumps(body))
            if response.status == 200 and b'"error"' not in response.body:
                return None
            return "%s %s: %d %s" % (machine.name, target, response.status, response.body[:200])
        except HttpFailure as e:
            return "%s %s: %s" % (machine.name, target, e)
        finally:
            client.close()
            took = time.monotonic() - begin
            with self.lock:
                self.slowest = max(self.slowest, took)

    def _write(self, turn):
        while not self.ending.is_set():
            with self.lock:
                self.next_id += 1
                number = self.next_id
            problem = self._request(turn, "/db/execute?timeout=30s", [["INSERT INTO t(id) VALUES(?)", number]])
            with self.lock:
                if problem is None:
                    self.written.add(number)
                else:
                    self.unknown.add(number)
                    self.failures.append("%.1f %s" % (time.time() % 1000, problem))
            turn += 1
            time.sleep(self.pause)

    def _read(self, turn):
        while not self.ending.is_set():
            problem = self._request(turn, "/db/query?level=linearizable&timeout=30s", ["SELECT count(*) FROM t"])
            with self.lock:
                self.reads += 1
                if problem is not None:
                    self.failures.append("%.1f %s" % (time.time() % 1000, problem))
            turn += 1
            time.sleep(self.pause)

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(60)
        return self

    def lost(self, machine):
        """Acknowledged writes that aren't there, and rows nobody wrote."""
        client = machine.client()
        response = client.request("POST", "/db/query?level=linearizable", json.dumps(["SELECT id FROM t"]))
        there = {row[0] for row in json.loads(response.body)["results"][0].get("values", [])}
        return sorted(self.written - there), sorted(there - self.written - self.unknown)

    def __str__(self):
        return "%d writes, %d reads, slowest %.1f s%s" % (
            len(self.written), self.reads, self.slowest,
            "" if not self.failures else ", %d FAILED: %s" % (len(self.failures), "; ".join(self.failures[:4])))
