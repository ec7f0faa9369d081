#!/usr/bin/env python3
"""The launcher: starting, restarting, stopping, dying.

Most checks run a copy of rqd beside stand-ins for the services, which note what happens to them and
misbehave when told; the last ones run the real services, where they are beside rqd.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rqnode import HttpFailure, Node, NodeError, Tally, exit_on_sigterm, free_port, send_signal

SERVICES = ("rq-consensus", "rq-store", "rq-gateway")

# A service as rqd sees one: READY, WATCHDOG, signals, the launcher's pipe. DATA/do-NAME tells it
# how to misbehave; DATA/events gets one line for everything that happens to it.
STAND_IN = r'''#!%s -IS
import json, os, select, signal, socket, sys, time
name, data = os.path.basename(sys.argv[0]), sys.argv[-1]

def event(*words):
    fd = os.open(os.path.join(data, "events"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, (" ".join([repr(time.monotonic()), name, str(os.getpid())] + list(words)) + "\n").encode())
    os.close(fd)

try:
    with open(os.path.join(data, "do-" + name)) as f:
        todo = f.read().split()
except OSError:
    todo = []
if todo[:1] == ["once"]:
    os.unlink(os.path.join(data, "do-" + name))
    todo = todo[1:]

if "--check-config" in sys.argv:
    print("configuration is valid")
    sys.exit(int(todo[1]) if todo[:1] == ["check"] else 0)

def notify(text):
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(text.encode(), "\0" + address[1:])

def on_signal(number, frame):
    event(signal.Signals(number).name)
    if number == signal.SIGTERM and "deaf" not in todo:
        time.sleep(0.05)
        event("gone")
        os._exit(0)

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, on_signal)
event("start")
with open(os.path.join(data, "saw-" + name + ".new"), "w") as f:
    json.dump({"argv": sys.argv, "environ": dict(os.environ), "pid": os.getpid(), "pgid": os.getpgid(0)}, f)
os.rename(os.path.join(data, "saw-" + name + ".new"), os.path.join(data, "saw-" + name))
if todo[:1] == ["exit"]:
    sys.exit(int(todo[1]))
if "unready" not in todo:
    notify("READY=1\nSTATUS=fine \"so far\"")
pause = int(os.environ.get("WATCHDOG_USEC", "2000000")) / 2e6
launcher = int(os.environ["RQ_INTERNAL_LAUNCHER_FD"])
while True:
    readable, _, _ = select.select([launcher], [], [], pause)
    if readable:
        os._exit(1)
    if "mute" not in todo:
        notify("WATCHDOG=1")
'''


class Bench:
    """A folder with a copy of rqd and stand-ins, and one node run from it."""

    def __init__(self, rqd, flags=("-watchdog", "2s")):
        self.bin_dir = tempfile.mkdtemp(prefix="rqbin-")
        self.rqd = os.path.join(self.bin_dir, "rqd")
        shutil.copy(rqd, self.rqd)
        for name in SERVICES:
            self.write_program(name)
        self.node = Node(self.rqd, flags=flags)
        os.mkdir(self.node.data_dir, 0o700)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.node.remove()
        shutil.rmtree(self.bin_dir, ignore_errors=True)

    def write_program(self, name):
        path = os.path.join(self.bin_dir, name)
        with open(path, "w") as f:
            f.write(STAND_IN % sys.executable)
        os.chmod(path, 0o700)

    def tell(self, name, words):
        with open(os.path.join(self.node.data_dir, "do-" + name), "w") as f:
            f.write(words)

    def untell(self, name):
        os.unlink(os.path.join(self.node.data_dir, "do-" + name))

    def events(self):
        """[(time, name, pid, what)], oldest first."""
        try:
            with open(os.path.join(self.node.data_dir, "events")) as f:
                lines = f.read().splitlines()
        except OSError:
            return []
        rows = (line.split(" ", 3) for line in lines)
        return [(float(t), name, int(pid), what) for t, name, pid, what in rows]

    def saw(self, name):
        with open(os.path.join(self.node.data_dir, "saw-" + name)) as f:
            return json.load(f)

    def report(self):
        try:
            with open(os.path.join(self.node.data_dir, "run", "launcher.json")) as f:
                document = json.load(f)
            if document["pid"] != self.node.root.pid:       # of an rqd that was killed
                return {}
            return {c["name"]: c for c in document["children"]}
        except OSError:
            return {}

    def states(self):
        report = self.report()
        return [report.get(name, {}).get("state") for name in SERVICES]

    def wait(self, condition, timeout=10.0):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.01)
        return False

    def wait_running(self):
        if not self.wait(lambda: self.states() == ["running"] * 3):
            self.node.dump_log()
            raise NodeError("services do not get ready: %s" % self.states())

    def start(self):
        self.node.start()
        self.wait_running()

    def log(self):
        with open(self.node.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def run(self, *flags, env=None, cwd=None):
        """rqd to its end, with other flags; (code, stdout, stderr, seconds)."""
        begin = time.monotonic()
        done = subprocess.run([self.rqd, *flags], capture_output=True, text=True, timeout=20, cwd=cwd,
                              env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr, time.monotonic() - begin

    def process(self, name):
        pid = self.report()[name]["pid"]
        return next((p for p in self.node.members() if p.pid == pid), None)


# ---------------------------------------------------------------------------- checks

def check_start(bench, tally):
    bench.start()
    log = bench.log()
    tally.check("curl -XPOST 'http://127.0.0.1:%d/db/execute" % bench.node.http_port in log, "prints a line to try")
    tally.check(bench.node.data_dir in log, "prints where the data is")
    report = bench.report()
    tally.check(all(c["restarts"] == 0 and c["last_exit"] == "" for c in report.values()), "no restarts at first")
    tally.check(report["rq-store"]["status"] == 'fine "so far"', "keeps the services' STATUS")
    for name in SERVICES:
        saw = bench.saw(name)
        env = saw["environ"]
        tally.check(saw["argv"][1:] == bench.node.command[1:], "%s gets rqd's arguments" % name)
        tally.check(env["RQ_INTERNAL_LAUNCHER_PID"] == str(bench.node.root.pid), "%s knows its launcher" % name)
        tally.check(env["WATCHDOG_USEC"] == "2000000" and env["WATCHDOG_PID"] == str(saw["pid"]), "%s has a watchdog" % name)
        tally.check(env["PATH"] == os.environ["PATH"], "%s gets rqd's environment" % name)
        tally.check(saw["pgid"] == saw["pid"], "%s is out of reach of Ctrl-C" % name)
    mode = os.stat(os.path.join(bench.node.data_dir, "run")).st_mode & 0o777
    tally.check(mode == 0o700, "run folder is private (%o)" % mode)


def check_second_launcher(bench, tally):
    bench.start()
    code, _, err, seconds = bench.run(*bench.node.command[1:])
    tally.check(code == 1 and seconds < 1.5, "a second rqd fails at once (%s, %.1f s)" % (code, seconds))
    tally.check("in use" in err and str(bench.node.root.pid) in err, "and says who is there: %r" % err)
    tally.check(bench.states() == ["running"] * 3, "the first goes on")


def check_restart(bench, tally):
    bench.start()
    before = {name: bench.report()[name]["pid"] for name in SERVICES}
    for name in SERVICES:
        begin = time.monotonic()
        send_signal(bench.process(name), signal.SIGKILL)
        ok = bench.wait(lambda: bench.report()[name]["pid"] not in (0, before[name]) and bench.states() == ["running"] * 3)
        tally.check(ok and time.monotonic() - begin < 2, "%s is back at once" % name)
        child = bench.report()[name]
        tally.check(child["restarts"] == 1 and child["last_exit"] == "killed by SIGKILL", "its death is told: %s" % child)
        others = SERVICES[SERVICES.index(name) + 1:]
        tally.check(all(bench.report()[n]["pid"] == before[n] for n in others), "the others live on")
    tally.check("rq-store (pid %d) died: killed by SIGKILL" % before["rq-store"] in bench.log(), "and logged")


def check_backoff(bench, tally):
    bench.tell("rq-store", "exit 3")
    bench.node.start()
    tally.check(bench.wait(lambda: len([e for e in bench.events() if e[1] == "rq-store"]) >= 6), "restarts again and again")
    starts = [t for t, name, _, what in bench.events() if name == "rq-store" and what == "start"]
    pauses = [b - a for a, b in zip(starts, starts[1:])]
    tally.check(pauses[0] < 0.6, "the first restart is at once (%.2f s)" % pauses[0])
    least = [0, 0.1, 0.2, 0.4, 0.8]
    tally.check(all(p >= l for p, l in zip(pauses, least)), "then pauses double: %s" % ["%.2f" % p for p in pauses])
    tally.check(bench.report()["rq-store"]["last_exit"] == "exit code 3", "exit code is told")
    tally.check("is up" not in bench.log(), "does not claim to be up")
    bench.untell("rq-store")
    tally.check(bench.wait(lambda: bench.states() == ["running"] * 3), "recovers when it can")
    tally.check(bench.wait(lambda: "is up" in bench.log(), 2), "and says so then")


def check_watchdog(bench, tally):
    bench.tell("rq-consensus", "once mute")
    bench.start()
    muted = bench.report()["rq-consensus"]["pid"]
    tally.check(bench.wait(lambda: bench.report()["rq-consensus"]["pid"] not in (0, muted)), "a silent service is restarted")
    tally.check(bench.report()["rq-consensus"]["last_exit"].startswith("killed by SIGABRT"), "by SIGABRT")
    bench.wait_running()
    stopped = bench.process("rq-gateway")
    send_signal(stopped, signal.SIGSTOP)
    begin = time.monotonic()
    ok = bench.wait(lambda: bench.report()["rq-gateway"]["pid"] not in (0, stopped.pid))
    tally.check(ok, "a SIGSTOPped service is restarted (%.1f s)" % (time.monotonic() - begin))
    tally.check(bench.report()["rq-gateway"]["last_exit"] == "killed by SIGKILL", "by SIGKILL")
    bench.wait_running()
    # The launcher stopped for longer than the watchdog must not take it out on the services.
    before = {name: bench.report()[name]["pid"] for name in SERVICES}
    send_signal(bench.node.root_proc(), signal.SIGSTOP)
    time.sleep(1.0)
    send_signal(bench.node.root_proc(), signal.SIGCONT)
    time.sleep(0.5)
    tally.check({name: bench.report()[name]["pid"] for name in SERVICES} == before, "rqd's own pause kills nobody")


def check_config_exit(bench, tally):
    bench.tell("rq-gateway", "exit 78")
    bench.node.start()
    try:
        code = bench.node.root.wait(10)
    except subprocess.TimeoutExpired:
        code = None
    tally.check(code == 78, "exit code 78 of a service ends rqd with 78 (%s)" % code)
    tally.check(not bench.node.members(), "and everything")
    tally.check(len([e for e in bench.events() if e[1] == "rq-gateway" and e[3] == "start"]) == 1, "without a restart")


def check_stop(bench, tally):
    bench.start()
    code = bench.node.stop()
    tally.check(code == 0, "SIGTERM: exit code 0 (%s)" % code)
    order = [(name, what) for _, name, _, what in bench.events() if what != "start"]
    wanted = [(name, what) for name in ("rq-gateway", "rq-consensus", "rq-store") for what in ("SIGTERM", "gone")]
    tally.check(order == wanted, "gateway, consensus, store, one after the other: %s" % order)
    tally.check(bench.states() == ["stopped"] * 3, "launcher.json says stopped: %s" % bench.states())


def check_stop_of_deaf(bench, tally):
    bench.tell("rq-consensus", "deaf")
    bench.start()
    bench.node.root.send_signal(signal.SIGINT)
    bench.wait(lambda: any(e[1] == "rq-consensus" and e[3] == "SIGTERM" for e in bench.events()))
    bench.node.root.send_signal(signal.SIGTERM)     # at once: the same wish, said twice
    time.sleep(0.7)
    tally.check(bench.node.root.poll() is None, "waits for a service that does not end")
    begin = time.monotonic()
    bench.node.root.send_signal(signal.SIGINT)
    try:
        code = bench.node.root.wait(5)
    except subprocess.TimeoutExpired:
        code = None
    tally.check(code == 0 and time.monotonic() - begin < 2, "a second signal kills what is left (%s)" % code)
    tally.check(not bench.node.members(), "nothing survives")


def check_stop_that_kills(bench, tally):
    bench.tell("rq-store", "deaf")
    bench.start()
    bench.node.root.send_signal(signal.SIGTERM)
    try:
        code = bench.node.root.wait(30)
    except subprocess.TimeoutExpired:
        code = None
    tally.check(code == 1, "a stop for which a service had to be killed is a failure (%s)" % code)
    log = bench.log()
    tally.check("rq-store (pid" in log and "does not end, killing it" in log and "Stopped, but not cleanly" in log, "and the log says so")
    tally.check(not bench.node.members(), "nothing survives")


def check_data_dir_in_no_folder(bench, tally):
    path = os.path.join(bench.node.work_dir, "file")
    with open(path, "w"):
        pass
    for data_dir, culprit in ((path, path), (os.path.join(path, "a", "data"), path)):
        code, _, err, _ = bench.run("-http-addr", "127.0.0.1:1", data_dir)
        tally.check(code == 1 and "Cannot create %s: %s: a file is where a folder should be" % (data_dir, culprit) in err,
                    "a file in the way of the data directory is named (%s, %s)" % (code, err.strip()))


def check_reload(bench, tally):
    bench.start()
    bench.node.root.send_signal(signal.SIGHUP)
    ok = bench.wait(lambda: {e[1] for e in bench.events() if e[3] == "SIGHUP"} == set(SERVICES))
    tally.check(ok, "SIGHUP reaches all services")
    tally.check(bench.states() == ["running"] * 3, "and ends none")


def check_launcher_killed(bench, tally):
    for _ in range(3):
        bench.start()
        children = {p.pid for p in bench.node.members()} - {bench.node.root.pid}
        send_signal(bench.node.root_proc(), signal.SIGKILL)
        bench.node.root.wait()
        begin = time.monotonic()
        bench.start()       # at once, the same line
        seconds = time.monotonic() - begin
        tally.check(seconds < 3, "starts again at once after kill -9 (%.2f s)" % seconds)
        tally.check(not children & {p.pid for p in bench.node.members()}, "the old services are gone")
        tally.check(bench.node.stop() == 0, "and stops")


def check_stranger(bench, tally):
    bench.tell("rq-store", "unready")
    bench.node.start()
    bench.wait(lambda: bench.states() == ["running", "starting", "running"]
               and os.path.exists(os.path.join(bench.node.data_dir, "saw-rq-store")))
    name = bench.saw("rq-store")["environ"]["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        for text in (b"READY=1", b"", b"\xff" * 5000, b"READY=1\nMAINPID=1\n", b"STATUS=" + b"x" * 3000):
            s.sendto(text, "\0" + name[1:])
    time.sleep(0.3)
    tally.check(bench.states()[1] == "starting", "a stranger's READY counts for nothing")
    tally.check("is up" not in bench.log(), "not up while one service is not ready")


def check_supervised(bench, tally):
    """Below a supervisor that speaks sd_notify."""
    path = os.path.join(bench.node.work_dir, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(10)
        os.environ["NOTIFY_SOCKET"] = path
        try:
            bench.node.start()
        finally:
            del os.environ["NOTIFY_SOCKET"]
        got = ""
        while "READY=1" not in got:
            got += s.recv(4096).decode() + "\n"
        tally.check(bench.states() == ["running"] * 3 or "rq-store running" in got or bench.wait(lambda: bench.states() == ["running"] * 3, 1),
                    "READY=1 when all services are")
        tally.check("STATUS=" in got, "with a STATUS")
        tally.check(bench.saw("rq-store")["environ"]["NOTIFY_SOCKET"] != path, "the services notify rqd")
        tally.check(bench.node.stop() == 0, "stops")
        s.settimeout(1)
        while "STOPPING=1" not in got:
            got += s.recv(4096).decode() + "\n"
        tally.check(True, "STOPPING=1")


def check_command_line(bench, tally):
    data = bench.node.data_dir
    code, out, err, _ = bench.run("-cdc-config", "users.json", data)
    tally.check(code == 78 and "-cdc-config: not available yet" in err, "what is not built is refused: %d %r" % (code, err))
    code, out, err, _ = bench.run("-raft-election-timeout", "3s", "-join-attempts", "5", "--print-config", data)
    tally.check(code == 0 and "\nraft-election-timeout = 3s  # command line [no effect yet]\n" in out, "--print-config: %r" % out)
    code, out, err, _ = bench.run("-http-adr", "x:1", data)
    tally.check(code == 78 and "did you mean -http-addr?" in err, "a misspelled flag: %r" % err)
    code, out, err, _ = bench.run("-fk", data, env={"RQ_HTTP_ADRR": "x:1"})
    tally.check(code == 78 and "RQ_HTTP_ADRR" in err, "a misspelled variable: %r" % err)
    folder = os.path.dirname(data)
    for words, advice in ((["Doctor"], "did you mean rqd doctor?"), (["recovr", data], "did you mean rqd recover?"), (["status"], "/status"),
                          (["-http-addr", "localhost:1", "Help"], "did you mean rqd help?"), (["-fk", "doctor"], "a command comes before all flags")):
        code, out, err, _ = bench.run(*words, cwd=folder)
        tally.check(code == 78 and advice in err and "is no command of rqd" in err, "rqd %s: %d %r" % (" ".join(words), code, err))
        tally.check(not os.path.exists(os.path.join(folder, words[-1])) or words[-1] == data, "rqd %s has made a folder" % " ".join(words))
    code, out, err, _ = bench.run("help")
    tally.check(code == 0 and out.startswith("Usage: rqd") and "rqd recover" in out and "-http-addr" in out, "rqd help: %d %r" % (code, out[:200]))
    code, out, err, _ = bench.run("version")
    tally.check(code == 0 and out.startswith("rqd "), "rqd version: %d %r" % (code, out))
    code, out, err, _ = bench.run("--check-config", data)
    tally.check((code, out) == (0, "configuration is valid\n"), "--check-config: %d %r %r" % (code, out, err))
    for verdict, expected in ((78, 78), (1, 1)):    # of a service, which looks at the files that it reads
        with open(os.path.join(data, "do-rq-store"), "w") as f:
            f.write("check %d" % verdict)
        code, out, err, _ = bench.run("--check-config", data)
        tally.check((code, out) == (expected, ""), "--check-config when a service says %d: %d %r %r" % (verdict, code, out, err))
    os.unlink(os.path.join(data, "do-rq-store"))
    code, out, err, _ = bench.run("--version")
    tally.check(code == 0 and out.startswith("rqd ") and "sqlite" in out, "--version: %r" % out)
    code, out, err, _ = bench.run("-h")
    tally.check(code == 0 and "-raft-snap-wal-size" in out and err == "", "-h")
    tally.check(out.count("[no effect yet]") == 5, "-h marks what has no effect: %d" % out.count("[no effect yet]"))
    tally.check(not os.listdir(data), "none of these touched the data: %s" % os.listdir(data))
    os.unlink(os.path.join(bench.bin_dir, "rq-store"))
    code, out, err, _ = bench.run(data)
    tally.check(code == 1 and "rq-store" in err, "a missing program: %d %r" % (code, err))


def check_json_log(bench, tally):
    bench.start()
    send_signal(bench.process("rq-store"), signal.SIGKILL)
    bench.wait(lambda: "died" in bench.log())
    lines = [json.loads(line) for line in bench.log().splitlines() if line.startswith("{")]
    died = [l for l in lines if l.get("RQ_CHILD") == "rq-store"]
    tally.check(len(died) == 1 and died[0]["level"] == "warning" and died[0]["program"] == "rqd", "a JSON line: %s" % died)


def check_no_effect_is_said(bench, tally):
    bench.start()
    said = [l for l in bench.log().splitlines() if "No effect yet" in l]
    tally.check(len(said) == 1 and "rqd notice: No effect yet: -raft-apply-timeout" in said[0],
                "flags without effect are named once: %s" % said)


def check_read_before_store(node, tally):
    """A read that a new gateway sends before the store knows it isn't lost on the way."""
    store = node.find("rq-store")[0]
    answers = []
    client = node.client(15)

    def read():
        begin = time.monotonic()
        try:
            status = client.request("GET", "/db/query?level=weak&q=SELECT%201").status
        except HttpFailure as e:
            status = str(e)
        answers.append((status, time.monotonic() - begin))

    thread = threading.Thread(target=read)
    send_signal(store, signal.SIGSTOP)
    try:
        gateway = node.find("rq-gateway")[0]
        send_signal(gateway, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                if client.request("GET", "/status").status == 200:
                    break
            except HttpFailure:
                pass
            time.sleep(0.01)
        thread.start()
        time.sleep(0.3)
    finally:
        send_signal(store, signal.SIGCONT)
    thread.join()
    tally.check(answers[0][0] == 200 and 0.2 < answers[0][1] < 5,
                "real: a read of a gateway that the store doesn't know yet: %s" % answers)


def check_real(rqd, tally):
    """The real services, killed in every way, serve again."""
    node = Node(rqd)
    try:
        node.start()
        node.wait_ready()
        tally.check(node.client().request("POST", "/db/execute", '["CREATE TABLE t(v)"]').status == 200, "real: serves")
        with open(os.path.join(node.data_dir, "run", "launcher.json")) as f:
            status = {c["name"]: c["status"] for c in json.load(f)["children"]}
        tally.check(status["rq-gateway"].endswith(", this node leads"), "real: the gateway's status: %s" % status)
        for name in SERVICES:
            send_signal(node.find(name)[0], signal.SIGKILL)
            time.sleep(0.05)
            seconds = node.wait_ready()
            tally.check(seconds < 10, "real: ready %.2f s after kill -9 of %s" % (seconds, name))
        send_signal(node.root_proc(), signal.SIGKILL)
        node.root.wait()
        node.start()
        seconds = node.wait_ready()
        tally.check(seconds < 10, "real: ready %.2f s after kill -9 of rqd" % seconds)
        body = node.client().request("GET", "/db/query?q=SELECT%20count(*)%20FROM%20t").body
        tally.check(b'"values":[[0]]' in body, "real: data is there: %r" % body)
        check_read_before_store(node, tally)
        code = node.stop()
        tally.check(code == 0, "real: SIGTERM ends everything with 0 (%s)" % code)
    except Exception:
        node.dump_log()
        raise
    finally:
        node.remove()


def check_closed_files(rqd, tally):
    """Started without standard input, output and error, as some daemons start programs: nothing of ours gets their numbers."""
    node = Node(rqd)
    try:
        node.command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *node.command]
        node.start()
        node.wait_ready()
        wrong = []
        for proc in node.members():
            for fd in (0, 1, 2):
                target = os.readlink("/proc/%d/fd/%d" % (proc.pid, fd))
                if target != "/dev/null":
                    wrong.append((proc.comm, fd, target))
        tally.check(len(node.members()) == 1 + len(SERVICES) and not wrong, "closed files: taken by %s" % wrong)
        with open(os.path.join(node.data_dir, "rqd.lock")) as f:
            text = f.read()
        tally.check(text.strip() == str(node.root.pid), "closed files: the lock holds %r" % text)
        tally.check(node.stop() == 0, "closed files: doesn't stop cleanly")
    finally:
        node.remove()


def check_too_few_open_files(rqd, tally):
    """Who runs out of them says so, and what to do; it goes on with a limit that is high enough."""
    node = Node(rqd)
    usual = node.command
    try:
        node.command = ["sh", "-c", 'ulimit -n 14; exec "$@"', "sh", *usual]
        node.start()
        code = node.root.wait(30)
        log = node.log()
        tally.check(code == 1 and "too many open files: raise the limit (LimitNOFILE=, ulimit -n)" in log and "storage failed" not in log,
                    "few files: it isn't said what is missing (exit code %s)" % code)
        node.command = usual
        node.start()
        node.wait_ready()
        tally.check(node.stop() == 0, "few files: doesn't run with more")
    except Exception:
        node.dump_log()
        raise
    finally:
        node.remove()


def check_unread_log(rqd, tally):
    """Standard error is a pipe that is full, held by somebody who doesn't read: it stops nobody, and what is missing is told."""
    node = Node(rqd)
    fifo = os.path.join(node.work_dir, "fifo")
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(held, b"x" * 4095 + b"\n")
        node.command = ["sh", "-c", 'exec "$@" 2>"$0"', fifo, *node.command]
        node.start()
        seconds = node.wait_ready()
        client = node.client()
        answer = client.request("POST", "/db/execute", b'["CREATE TABLE t (v)"]')
        tally.check(answer.status == 200 and b"error" not in answer.body, "unread log: a write after %.1f s: %r" % (seconds, answer.body))
        text = b""
        for _ in range(50):
            node.root.send_signal(signal.SIGHUP)        # it has something to say
            time.sleep(0.1)
            with contextlib.suppress(BlockingIOError):
                while True:
                    text += os.read(held, 1 << 20)
            if text.count(b"records are missing here") >= 3:
                break
        tally.check(text.count(b"records are missing here") >= 3, "unread log: it isn't told what is missing: %r" % text[-500:])
        tally.check(b"SIGHUP: passed on" in text, "unread log: nothing is written again: %r" % text[-500:])
        tally.check(node.stop() == 0, "unread log: doesn't stop cleanly")
    finally:
        node.remove()
        os.close(held)


def check_no_file_may_grow(rqd, tally):
    """Not a byte may be written to a file: said, not died of."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    folder = tempfile.mkdtemp(prefix="rqnone-")
    flags = ["-http-addr", "127.0.0.1:%d" % free_port(), "-raft-addr", "127.0.0.1:%d" % free_port(), folder]
    done = subprocess.run([rqd, *flags], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, preexec_fn=limit)
    tally.check(done.returncode == 1 and "limit on the size of files" in done.stderr, "no file may grow: %s, %s" % (done.returncode, done.stderr[-300:]))
    shutil.rmtree(folder, ignore_errors=True)


CHECKS = (
    (check_command_line, ()),
    (check_start, ("-watchdog", "2s")),
    (check_second_launcher, ()),
    (check_restart, ()),
    (check_backoff, ()),
    (check_watchdog, ("-watchdog", "800ms")),
    (check_config_exit, ()),
    (check_stop, ()),
    (check_stop_of_deaf, ()),
    (check_stop_that_kills, ()),
    (check_data_dir_in_no_folder, ()),
    (check_reload, ()),
    (check_launcher_killed, ()),
    (check_stranger, ()),
    (check_supervised, ()),
    (check_json_log, ("-log-format", "json")),
    (check_no_effect_is_said, ("-raft-apply-timeout", "51ms", "-join-attempts", "6", "-raft-log-level", "warn")),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default="build/bin/rqd")
    parser.add_argument("--only", help="names of checks that contain this")
    parser.add_argument("--stand-ins-only", action="store_true", help="leave the real services alone")
    args = parser.parse_args()
    exit_on_sigterm()
    tally = Tally()
    for check, flags in CHECKS:
        if args.only and args.only not in check.__name__:
            continue
        failed = tally.failed
        with Bench(args.rqd, flags) as bench:
            try:
                check(bench, tally)
            except Exception as e:      # the next check has a bench of its own
                tally.check(False, "%s: %s: %s" % (check.__name__, type(e).__name__, e))
            if tally.failed > failed and os.path.exists(bench.node.log_path):
                bench.node.dump_log()
    bin_dir = os.path.dirname(os.path.abspath(args.rqd))
    if not args.only and not args.stand_ins_only:
        if all(os.access(os.path.join(bin_dir, name), os.X_OK) for name in SERVICES):
            for check in (check_real, check_closed_files, check_too_few_open_files, check_no_file_may_grow, check_unread_log):
                try:
                    check(args.rqd, tally)
                except Exception as e:
                    tally.check(False, "%s: %s: %s" % (check.__name__, type(e).__name__, e))
        else:
            tally.check(False, "the services' programs are not beside %s (see --stand-ins-only)" % args.rqd)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
