"""One node under test: start it, talk to it, measure it, kill it.

Shared by the system tests and the benchmark. Works with every server that takes the flags
-node-id, -http-addr, -raft-addr and a data directory, however many processes it consists of.
Only processes that a Node started are ever signalled, always through a pidfd whose process was
checked first, so that a recycled pid is never hit. Everything stays on the loopback interface.
"""

import atexit
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import namedtuple

HOST = "127.0.0.1"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
# Descendants inherit this variable: an orphan (its launcher was killed) is found by it.
MARK = "RQ_TEST_NODE"


# ---------------------------------------------------------------------------- HTTP

class HttpFailure(Exception):
    """No complete answer. `sent` says whether the server may have seen the request."""

    def __init__(self, text, sent):
        super().__init__(text)
        self.sent = sent


class HttpTimeout(HttpFailure):
    pass


class Response:
    def __init__(self, status, reason, headers):
        self.status = status
        self.reason = reason
        self.headers = headers          # list of (name as sent, value)
        self.body = b""
        self.first_body_at = None       # time.monotonic() of the first byte of the body

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        return values[0] if values else None


class Client:
    """A keep-alive HTTP/1.1 connection with one deadline per request.

    http.client is not used because its timeouts count per read, it hides whether a request has
    left, and it refuses the malformed requests that the contract tests need.
    """

    def __init__(self, port, timeout=10.0, host=HOST):
        self.port = port
        self.host = host
        self.timeout = timeout
        self._sock = None
        self._buf = bytearray()

    def close(self):
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._buf.clear()

    def request(self, method, target, body=None, headers=None, timeout=None):
        if isinstance(body, str):
            body = body.encode("utf-8")
        headers = dict(headers or {})
        deadline = time.monotonic() + (timeout or self.timeout)
        lines = ["%s %s HTTP/1.1" % (method, target), "Host: %s:%d" % (self.host, self.port)]
        if body is not None and not any(h.lower() == "transfer-encoding" for h in headers):
            lines.append("Content-Length: %d" % len(body))
        lines += ["%s: %s" % item for item in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        return self.raw(head + (body or b""), deadline, head_only=method == "HEAD")

    def raw(self, data, deadline, head_only=False):
        self._connect(deadline)
        try:
            self._sock.settimeout(max(0.001, deadline - time.monotonic()))
            self._sock.sendall(data)
            response = self._read_response(deadline, head_only)
        except socket.timeout:
            self.close()
            raise HttpTimeout("no answer in time", sent=True) from None
        except (OSError, ValueError, EOFError) as e:
            self.close()
            raise HttpFailure("connection broke: %s" % e, sent=True) from None
        if (response.get("Connection") or "").lower() == "close":
            self.close()
        return response

    def _connect(self, deadline):
        # A server that was killed has closed its connections: seen here, nothing has been sent.
        if self._sock is not None and select.select([self._sock], [], [], 0)[0]:
            try:
                closed = not self._sock.recv(1, socket.MSG_PEEK)
            except OSError:
                closed = True
            if closed:
                self.close()
        if self._sock is not None:
            return
        try:
            self._sock = socket.create_connection(
                (self.host, self.port), max(0.001, deadline - time.monotonic()))
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except socket.timeout:
            raise HttpTimeout("no connection in time", sent=False) from None
        except OSError as e:
            raise HttpFailure("not connected: %s" % e, sent=False) from None

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout()
        self._sock.settimeout(left)
        data = self._sock.recv(1 << 18)
        if not data:
            raise EOFError("closed by the server")
        self._buf += data

    def _take(self, n, deadline):
        while len(self._buf) < n:
            self._fill(deadline)
        data = bytes(self._buf[:n])
        del self._buf[:n]
        return data

    def _line(self, deadline):
        while True:
            end = self._buf.find(b"\r\n")
            if end >= 0:
                return self._take(end + 2, deadline)[:-2]
            self._fill(deadline)

    def _read_response(self, deadline, head_only):
        while True:
            version, status, *reason = self._line(deadline).decode("latin-1").split(" ", 2)
            headers = []
            while True:
                line = self._line(deadline).decode("latin-1")
                if not line:
                    break
                name, _, value = line.partition(":")
                headers.append((name, value.strip()))
            response = Response(int(status), reason[0] if reason else "", headers)
            if response.status >= 200:      # 100 Continue is followed by the real answer
                break
        if head_only or response.status in (204, 304):
            return response
        if (response.get("Transfer-Encoding") or "").lower() == "chunked":
            parts = []
            while True:
                size = int(self._line(deadline).split(b";")[0], 16)
                if size == 0:
                    while self._line(deadline):
                        pass
                    break
                # Noted before the chunk is complete: a server may send everything as one chunk.
                if response.first_body_at is None:
                    response.first_body_at = time.monotonic()
                parts.append(self._take(size, deadline))
                self._take(2, deadline)
            response.body = b"".join(parts)
        elif response.get("Content-Length") is not None:
            size = int(response.get("Content-Length"))
            if size and not self._buf:
                self._fill(deadline)
            response.first_body_at = time.monotonic()
            response.body = self._take(size, deadline)
        else:
            try:
                while True:
                    self._fill(deadline)
            except EOFError:
                response.body = bytes(self._buf)
                self.close()
        return response


# ---------------------------------------------------------------------------- processes

Proc = namedtuple("Proc", "pid ppid comm state start cpu")


def read_proc(pid):
    """One process from /proc/PID/stat, or None. cpu: seconds, with those of reaped children."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as f:
            text = f.read().decode("utf-8", "replace")
    except OSError:
        return None
    # comm may contain blanks and parentheses: the last ')' ends it.
    head, _, tail = text.rpartition(")")
    comm = head.partition("(")[2]
    field = tail.split()
    cpu = sum(int(x) for x in field[11:15]) / TICKS
    return Proc(pid, int(field[1]), comm, field[0], int(field[19]), cpu)


def proc_table():
    return [p for p in (read_proc(int(d)) for d in os.listdir("/proc") if d.isdigit()) if p]


def send_signal(proc, sig):
    """Signals exactly this process; False if it is gone (or None)."""
    if proc is None:
        return False
    try:
        fd = os.pidfd_open(proc.pid)
    except OSError:
        return False
    try:
        now = read_proc(proc.pid)       # checked after the open: the pidfd can't change its process
        if now is None or now.start != proc.start:
            return False
        signal.pidfd_send_signal(fd, sig)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


_given_ports = {}       # port: the socket whose name says that it is ours


def free_port():
    # Below the range of outgoing connections, so that a load generator can't take it meanwhile. Each once, and
    # while this process lives for no other suite that runs beside it: what was given isn't in use before its
    # node is started, nor while that is down.
    while True:
        port = random.SystemRandom().randrange(15000, 32000)
        if port in _given_ports:
            continue
        _given_ports[port] = socket.socket(socket.AF_UNIX)
        try:
            _given_ports[port].bind("\0rq-test-port-%d" % port)
        except OSError:
            continue
        with socket.socket() as s:
            try:
                s.bind((HOST, port))
                return port
            except OSError:
                continue


_live = set()


def _kill_all():
    for node in list(_live):
        node.kill_tree()


atexit.register(_kill_all)


def exit_on_sigterm():
    """A terminated test must still end its nodes: SIGTERM becomes SystemExit."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class NodeError(Exception):
    pass


class Node:
    """A server process tree with its data directory, ports and log file.

    host, ports (HTTP, Raft) and prefix (words before the command) are for nodes that live in a
    network namespace of their own; data_dir for one on another disk.
    """

    def __init__(self, binary, parent_dir=None, flags=(), node_id="n1", host=HOST, ports=None,
                 prefix=(), data_dir=None):
        self.binary = os.path.abspath(binary)
        if not os.access(self.binary, os.X_OK):
            raise NodeError("no such program: %s" % binary)
        self.work_dir = tempfile.mkdtemp(prefix="rqtest-", dir=parent_dir)
        self.data_dir = data_dir or os.path.join(self.work_dir, "data")
        self.log_path = os.path.join(self.work_dir, "log")
        self.host = host
        self.http_port, self.raft_port = ports or (free_port(), free_port())
        self.node_id = node_id
        self.command = [*prefix, self.binary, "-node-id", node_id,
                        "-http-addr", self.address(), "-raft-addr", self.raft_address(),
                        *flags, self.data_dir]
        self.mark = uuid.uuid4().hex
        self.root = None        # subprocess.Popen
        self._known = {}        # (pid, start) of everything ever seen in the tree

    # -- life

    def start(self):
        with open(self.log_path, "ab") as log:
            self.root = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, MARK: self.mark}, start_new_session=True, cwd=self.work_dir)
        _live.add(self)

    def wait_ready(self, timeout=30.0):
        """Waits until /readyz says 200. Returns the seconds it took."""
        begin = time.monotonic()
        client = self.client(2.0)
        last = "nothing tried"
        try:
            while time.monotonic() - begin < timeout:
                if self.root.poll() is not None:
                    raise NodeError("exited with %s while starting" % self.root.returncode)
                try:
                    response = client.request("GET", "/readyz")
                    if response.status == 200:
                        return time.monotonic() - begin
                    last = "%d %r" % (response.status, response.body[:200])
                except HttpFailure as e:
                    last = str(e)
                time.sleep(0.005)
        finally:
            client.close()
        raise NodeError("not ready after %.0f s, last: %s" % (timeout, last))

    def stop(self, timeout=20.0):
        """SIGTERM to the root. Returns its exit code, or None if it had to be killed.
        Processes left behind count as a failure too."""
        if self.root is None:
            return None
        self.members()
        self.root.send_signal(signal.SIGTERM)
        try:
            code = self.root.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill_tree()
            return None
        time.sleep(0.05)
        if self.members():
            self.kill_tree()
            return None
        _live.discard(self)
        return code

    def kill_tree(self):
        """kill -9 of everything, the launcher first so that it restarts nothing."""
        if self.root is None:
            return
        deadline = time.monotonic() + 10
        while True:
            members = self.members()
            members.sort(key=lambda p: p.pid != self.root.pid)
            for proc in members:
                send_signal(proc, signal.SIGKILL)
            self.root.poll()
            if not members:
                break
            if time.monotonic() > deadline:
                raise NodeError("processes survive SIGKILL: %s" % members)
            time.sleep(0.002)
        self.root.wait()
        _live.discard(self)

    def remove(self):
        """Ends the node and deletes its directory."""
        self.kill_tree()
        shutil.rmtree(self.work_dir, ignore_errors=True)

    # -- processes

    def members(self):
        """All living processes of the node, orphans included; zombies are not counted."""
        table = proc_table()
        by_parent = {}
        for proc in table:
            by_parent.setdefault(proc.ppid, []).append(proc)
        found = {}
        todo = [p for p in table if self.root is not None and p.pid == self.root.pid
                and self.root.returncode is None]
        for proc in table:
            key = (proc.pid, proc.start)
            if key not in self._known:
                self._known[key] = self._is_marked(proc.pid)
            if self._known[key]:
                todo.append(proc)
        while todo:
            proc = todo.pop()
            if proc.pid not in found:
                found[proc.pid] = proc
                self._known[(proc.pid, proc.start)] = True
                todo += by_parent.get(proc.pid, [])
        return [p for p in found.values() if p.state not in "ZX"]

    def _is_marked(self, pid):
        try:
            with open("/proc/%d/environ" % pid, "rb") as f:
                return ("%s=%s" % (MARK, self.mark)).encode() in f.read()
        except OSError:
            return False

    def find(self, comm):
        return [p for p in self.members() if p.comm == comm]

    def root_proc(self):
        return read_proc(self.root.pid)

    # -- measuring

    def cpu_seconds(self):
        return sum(p.cpu for p in self.members())

    def cpu_seconds_exact(self):
        """For idle servers: in nanoseconds, not in ticks; without threads that have ended."""
        total = 0
        for proc in self.members():
            try:
                for task in os.listdir("/proc/%d/task" % proc.pid):
                    with open("/proc/%d/task/%s/schedstat" % (proc.pid, task)) as f:
                        total += int(f.read().split()[0])
            except (OSError, ValueError, IndexError):
                return self.cpu_seconds()
        return total / 1e9

    def pss_kib(self):
        """Proportional set size of the tree; None where the kernel doesn't show it."""
        total = 0
        for proc in self.members():
            try:
                with open("/proc/%d/smaps_rollup" % proc.pid) as f:
                    total += next(int(l.split()[1]) for l in f if l.startswith("Pss:"))
            except (OSError, StopIteration):
                return None
        return total

    def reset_peak(self):
        for proc in self.members():
            try:
                with open("/proc/%d/clear_refs" % proc.pid, "w") as f:
                    f.write("5")
            except OSError:
                pass

    def rss_kib(self, peak=False):
        total = 0
        for proc in self.members():
            try:
                with open("/proc/%d/status" % proc.pid) as f:
                    for line in f:
                        if line.startswith("VmHWM:" if peak else "VmRSS:"):
                            total += int(line.split()[1])
            except OSError:
                pass
        return total

    # -- for people

    def address(self):
        return "%s:%d" % (self.host, self.http_port)

    def raft_address(self):
        return "%s:%d" % (self.host, self.raft_port)

    def client(self, timeout=10.0):
        return Client(self.http_port, timeout, self.host)

    def log(self):
        """All that it has said since it was first started."""
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def log_says(self, text, seconds=30.0):
        """Whether it does in that time."""
        deadline = time.monotonic() + seconds
        while text not in self.log():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def dump_log(self, lines=40, out=sys.stderr):
        try:
            with open(self.log_path, "rb") as f:
                tail = f.read().decode("utf-8", "replace").splitlines()[-lines:]
        except OSError:
            tail = ["(no log)"]
        sys.stdout.flush()
        print("--- last %d lines of %s" % (len(tail), self.log_path), file=out)
        for line in tail:
            print("    " + line, file=out)
        out.flush()


class Tally:
    """Counts checks, of any thread; the last line of every test program comes from here."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.lock = threading.Lock()

    def check(self, ok, text):
        with self.lock:
            if ok:
                self.passed += 1
            else:
                self.failed += 1
                print("FAIL %s" % text, flush=True)
        return bool(ok)

    def finish(self, skipped=None):
        tail = "" if skipped is None else ", %d skipped" % skipped
        print("%d passed, %d failed%s" % (self.passed, self.failed, tail), flush=True)
        return 1 if self.failed else 0
