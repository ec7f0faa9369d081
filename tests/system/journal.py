#!/usr/bin/env python3
"""What reaches the journal: native fields, MESSAGE_IDs that the catalog explains, no secrets.

A node runs in a mount namespace where this program is the journal: it holds
/run/systemd/journal/socket and reads the records as journald would. Then the same as JSON lines on
standard error, and journalctl takes the catalog.
"""

import argparse
import base64
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
from cluster_nodes import wait_links
from rqnode import HttpFailure, Node, Tally, exit_on_sigterm, free_port, send_signal

SOCKET = "/run/systemd/journal/socket"
CATALOG = os.path.join(ROOT, "systemd", "rq.catalog")
FIELDS = os.path.join(ROOT, "common", "log", "log_fields.h")
LITERAL, PARAMETER, QUOTED = "literal-7731", "parameter-9912", "quoted-4410"
PASSWORD, WRONG = "open-sesame-5512", "wrong-8834"
WARNING, NOTICE = 4, 5


def message_ids():
    with open(FIELDS) as f:
        return dict(re.findall(r'define RQ_MSG_(\w+)\s+"MESSAGE_ID=([0-9a-f]{32})"', f.read()))


def catalog():
    """MESSAGE_ID -> text with its subject."""
    with open(CATALOG) as f:
        parts = re.split(r"^-- ([0-9a-f]{32})$", f.read(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


# ------------------------------------------------------------------ a journal of our own

def parse(record):
    """The native protocol: NAME=value, or NAME, a length and bytes that may have newlines."""
    fields, at = {}, 0
    while at < len(record):
        end = record.index(b"\n", at)
        line = record[at:end]
        at = end + 1
        if b"=" in line:
            name, value = line.split(b"=", 1)
        else:
            name = line
            (size,) = struct.unpack_from("<Q", record, at)
            value = record[at + 8:at + 8 + size]
            at += 8 + size + 1
        fields.setdefault(name.decode(), []).append(value.decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}


class Journal(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.records = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        os.makedirs(os.path.dirname(SOCKET), exist_ok=True)
        self.socket.bind(SOCKET)
        self.start()

    def run(self):
        while True:
            data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            for _, _, fds in ancillary:
                (fd,) = struct.unpack("i", fds[:4])
                with open(fd, "rb") as f:
                    f.seek(0)
                    data = f.read()
            self.records.append(parse(data))

    def find(self, message_id, timeout=20.0, has="MESSAGE", **fields):
        """The first record with this id, these fields, and a field `has`; None: none comes."""
        deadline = time.monotonic() + timeout
        while True:
            for record in list(self.records):
                if record.get("MESSAGE_ID") == message_id and has in record and all(record.get(k) == v for k, v in fields.items()):
                    return record
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.02)


def start_in_journal(node):
    """The log file is its standard error, and said to be the journal's stream."""
    open(node.log_path, "ab").close()
    st = os.stat(node.log_path)
    os.environ["JOURNAL_STREAM"] = "%d:%d" % (st.st_dev, st.st_ino)
    node.start()
    del os.environ["JOURNAL_STREAM"]


def post(client, path, statements):
    response = client.request("POST", path, json.dumps(statements))
    return response.status, json.loads(response.body)


def run_slow(client):
    """A write and a read that take longer than a millisecond, with what must not be logged."""
    count = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?) "
    made = post(client, "/db/execute", ["CREATE TABLE t(a, b, c, d)"])
    wrote = post(client, "/db/execute", [[count + 'INSERT INTO t SELECT n, \'%s\', ?, "n" FROM c WHERE "n" <> "%s"' % (LITERAL, QUOTED),
                                          20000, PARAMETER]])
    read = post(client, "/db/query", [["SELECT count(*), max(b || '%s') FROM t WHERE c = ? AND b > '%s' -- %s" % (LITERAL, "a", LITERAL),
                                       PARAMETER]])
    return [made, wrote, read]


# ------------------------------------------------------------------ checks

def check_life(t, journal, ids, rqd, parent):
    node = Node(rqd, parent, flags=["-slow-statement", "1ms"])
    start_in_journal(node)
    node.wait_ready()
    formed = journal.find(ids["FORMED"])
    t.check(formed is not None and formed["SYSLOG_IDENTIFIER"] == "rq-consensus" and formed["PRIORITY"] == str(NOTICE),
            "founding a cluster is a notice of rq-consensus: %r" % formed)
    elected = journal.find(ids["LEADER_ELECTED"], RQ_LEADER="n1")
    t.check(elected is not None and elected["RQ_TERM"].isdigit() and elected["RQ_NODE"] == "n1",
            "the leader's record has RQ_LEADER, RQ_TERM, RQ_NODE: %r" % elected)
    loud = [r for r in journal.records if int(r["PRIORITY"]) <= WARNING]
    t.check(not loud, "a start has nothing for journalctl -p warning: %r" % loud)
    t.check(all(r.get("RQ_NODE") == "n1" for r in journal.records), "every record has RQ_NODE")
    t.check({r["SYSLOG_IDENTIFIER"] for r in journal.records} >= {"rqd", "rq-consensus", "rq-store", "rq-gateway"},
            "every program writes there")

    client = node.client(30)
    answers = run_slow(client)
    t.check(all(status == 200 and "error" not in str(body) for status, body in answers), "the slow statements run: %r" % answers)
    write = journal.find(ids["SLOW_STATEMENT"], has="RQ_INDEX")
    t.check(write is not None and write["PRIORITY"] == str(WARNING) and int(write["RQ_DURATION_MS"]) >= 1 and
            'INSERT INTO t SELECT n, ?, ?, "n" FROM c WHERE ? <> ?' in write["RQ_STATEMENT"], "a slow write: %r" % write)
    read = journal.find(ids["SLOW_STATEMENT"], RQ_STATEMENT="SELECT count(*), max(b || ?) FROM t WHERE c = ? AND b > ?")
    t.check(read is not None and "RQ_INDEX" not in read, "a slow read: %r" % read)

    for victim in node.find("rq-store"):
        t.check(send_signal(victim, signal.SIGKILL), "rq-store is killed")
    died = journal.find(ids["CHILD_DIED"], RQ_CHILD="rq-store")
    t.check(died is not None and "SIGKILL" in died["MESSAGE"] and died["SYSLOG_IDENTIFIER"] == "rqd", "a death: %r" % died)
    node.wait_ready()
    client.close()

    stopped_at = len(journal.records)
    t.check(node.stop() == 0, "the node stops")
    time.sleep(0.2)
    loud = [r["MESSAGE"] for r in journal.records[stopped_at:] if int(r["PRIORITY"]) <= WARNING]
    t.check(not loud, "a stop has nothing for journalctl -p warning: %r" % loud)
    with open(node.log_path) as f:
        text = f.read()
    t.check(re.search(r"^\d{4}-\d\d-\d\dT", text, re.M) is None, "nothing is on standard error, too: %r" % text[-500:])
    node.remove()


def check_refusals(t, journal, ids, rqd, parent):
    """What keeps a node from starting is found by its id."""
    node = Node(rqd, parent, flags=["-http-adr", "x"])
    start_in_journal(node)
    t.check(node.root.wait(20) == 78, "an unknown flag is refused with 78")
    bad = journal.find(ids["BAD_CONFIG"])
    t.check(bad is not None and "did you mean -http-addr" in bad["MESSAGE"], "a bad configuration: %r" % bad)
    node.remove()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        node = Node(rqd, parent, ports=(taken.getsockname()[1], free_port()))
        start_in_journal(node)
        listen = journal.find(ids["CANNOT_LISTEN"])
        t.check(listen is not None and listen["PRIORITY"] == "3", "a port that is taken: %r" % listen)
        node.stop()
        node.remove()


def check_cluster(t, journal, ids, rqd, parent):
    """Members that go, come back, and are missed."""
    nodes = [Node(rqd, parent, node_id="m%d" % i) for i in (1, 2, 3)]
    join = ",".join(node.raft_address() for node in nodes)
    for node in nodes:
        node.command[-1:-1] = ["-bootstrap-expect", "3", "-join", join]
        start_in_journal(node)
    for node in nodes:
        node.wait_ready()
    for node in nodes:
        t.check(journal.find(ids["LEADER_ELECTED"], RQ_NODE=node.node_id) is not None, "%s tells who leads" % node.node_id)
    wait_links(nodes)
    nodes[2].kill_tree()
    lost = journal.find(ids["MEMBER_LOST"], RQ_NODE="m1", RQ_PEER=nodes[2].raft_address())
    t.check(lost is not None and lost["PRIORITY"] == str(WARNING), "a member that is gone: %r" % lost)
    nodes[1].kill_tree()
    alone = journal.find(ids["NO_LEADER"], timeout=40, RQ_NODE="m1")
    t.check(alone is not None and alone["PRIORITY"] == str(WARNING), "no leader for long: %r" % alone)
    loss = journal.find(ids["LEADER_LOST"], RQ_NODE="m1")
    t.check(loss is not None and loss["PRIORITY"] == str(NOTICE), "the loss itself is a notice: %r" % loss)
    before = len(journal.records)
    for node in nodes[1:]:
        start_in_journal(node)
    for node in nodes:
        node.wait_ready()
    for node in nodes[1:]:
        journal.find(ids["MEMBER_BACK"], RQ_NODE="m1", RQ_PEER=node.raft_address())
    back = [r for r in journal.records[before:] if r.get("MESSAGE_ID") == ids["MEMBER_BACK"] and r["RQ_NODE"] == "m1"]
    t.check({r["RQ_PEER"] for r in back} == {node.raft_address() for node in nodes[1:]}, "members that are back: %r" % back)
    for node in nodes:
        t.check(node.stop() == 0, "%s stops" % node.node_id)
        node.remove()


def check_full_disk(t, journal, ids, rqd, parent):
    disk = os.path.join(parent, "disk")
    os.makedirs(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192m", "tmpfs", disk], check=True)
    node = Node(rqd, parent, node_id="full", data_dir=os.path.join(disk, "data"))
    start_in_journal(node)
    node.wait_ready()
    client = node.client(30)
    post(client, "/db/execute", ["CREATE TABLE t(a)"])
    filler = os.path.join(disk, "filler")
    with open(filler, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 65536)
        except OSError:
            pass
    # The log refuses what it has no room for; before that the store may stop at an entry.
    def insert(size):
        return client.request("POST", "/db/execute?timeout=1s", json.dumps([["INSERT INTO t VALUES(?)", "y" * size]])).status

    full, deadline = None, time.monotonic() + 60
    while full is None and time.monotonic() < deadline:
        insert(200000)
        full = journal.find(ids["DISK_FULL"], timeout=0, RQ_NODE="full")
    t.check(full is not None and full["PRIORITY"] == "3", "a full disk: %r" % full)
    os.unlink(filler)
    deadline = time.monotonic() + 60
    while insert(1) != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    again = ids["SPACE_BACK" if full["SYSLOG_IDENTIFIER"] == "rq-consensus" else "APPLY_RESUMED"]
    back = journal.find(again, RQ_NODE="full")
    t.check(back is not None and back["PRIORITY"] == str(NOTICE), "space is back: %r" % back)
    client.close()
    node.stop()
    node.remove()
    subprocess.run(["umount", "--lazy", disk], check=True)


def check_logins(t, journal, ids, rqd, parent):
    """Who was refused is told, and no password."""
    users = os.path.join(parent, "users.json")
    with open(users, "w") as f:
        json.dump([{"username": "alice", "password": PASSWORD, "perms": ["all"]}], f)
    os.chmod(users, 0o600)
    if b"not available yet" in subprocess.run([rqd, "--check-config", "-auth", users, parent], capture_output=True).stderr:
        print("SKIPPED: there are no users yet", flush=True)
        return
    node = Node(rqd, parent, node_id="guarded", flags=["-auth", users])
    start_in_journal(node)
    client, deadline, status = node.client(5), time.monotonic() + 30, None

    def status_as(name, password):
        word = base64.b64encode(("%s:%s" % (name, password)).encode()).decode()
        return client.request("GET", "/status", headers={"Authorization": "Basic " + word}).status

    while status != 200 and time.monotonic() < deadline:
        try:
            status = status_as("alice", PASSWORD)
        except HttpFailure:
            time.sleep(0.05)
    t.check(status == 200 and status_as("alice", WRONG) == 401, "a right and a wrong password")
    refused = journal.find(ids["LOGIN_REFUSED"], RQ_USER="alice")
    t.check(refused is not None and refused["RQ_CLIENT"].startswith("127.0.0.1"), "a login that was refused: %r" % refused)
    client.close()
    t.check(node.stop() == 0, "the node with users stops")
    node.remove()


def check_records(t, journal):
    """Of all that was seen: known ids, every field that the catalog's text names, no secret."""
    explained = catalog()
    for record in journal.records:
        message_id = record.get("MESSAGE_ID")
        if message_id is None:
            continue
        if not t.check(message_id in explained, "the catalog explains %r" % record):
            continue
        missing = [name for name in re.findall(r"@(\w+)@", explained[message_id]) if name not in record]
        # What fails before the configuration is read has no node yet.
        if missing == ["RQ_NODE"] and record["PRIORITY"] == "3":
            missing = []
        t.check(not missing, "the catalog's text needs %s: %r" % (missing, record))
    for secret in (LITERAL, PARAMETER, QUOTED, PASSWORD, WRONG):
        t.check(not any(secret in value for r in journal.records for value in r.values()), "%s isn't logged" % secret)
    odd = [name for r in journal.records for name in r if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", name)]
    t.check(not odd, "names of fields are the journal's: %r" % odd)


def check_json_lines(t, rqd, ids, parent):
    node = Node(rqd, parent, flags=["-slow-statement", "1ms", "-log-format", "json"])
    node.start()
    node.wait_ready()
    client = node.client(30)
    run_slow(client)
    client.close()
    t.check(node.stop() == 0, "the node with JSON lines stops")
    records = []
    with open(node.log_path) as f:
        for line in f:
            if line.startswith("{"):
                records.append(json.loads(line))
    found = [r for r in records if r.get("MESSAGE_ID") == ids["SLOW_STATEMENT"]]
    t.check(len(found) >= 2 and all(r["level"] == "warning" and r["RQ_NODE"] == "n1" for r in found), "slow statements as JSON: %r" % found)
    t.check(not any(s in json.dumps(records) for s in (LITERAL, PARAMETER, QUOTED)), "no secrets in JSON")
    node.remove()


def check_catalog(t, parent):
    tree = os.path.join(parent, "tree")
    for folder in ("usr/lib/systemd/catalog", "var/lib/systemd/catalog"):
        os.makedirs(os.path.join(tree, folder))
    shutil.copy(CATALOG, os.path.join(tree, "usr/lib/systemd/catalog"))
    done = subprocess.run(["journalctl", "--root", tree, "--update-catalog"], capture_output=True, text=True)
    t.check(done.returncode == 0 and done.stderr == "", "journalctl takes the catalog: %r" % done.stderr)
    listed = subprocess.run(["journalctl", "--root", tree, "--list-catalog"], capture_output=True, text=True).stdout
    t.check(set(re.findall(r"^([0-9a-f]{32}) rq:", listed, re.M)) == set(message_ids().values()), "all of it: %s" % listed)
    for message_id, text in catalog().items():
        t.check(all(line.strip() in text for line in ("Subject:", "Defined-By: rq", "Documentation: man:")), "headers of %s" % message_id)
        t.check(max(len(line) for line in text.splitlines()) <= 92, "lines of %s fit a terminal" % message_id)


# ------------------------------------------------------------------ the namespace

def enter_namespace():
    """Runs this program again where /run/systemd is ours; False: the kernel forbids it."""
    if os.environ.get("RQ_TEST_JOURNAL") == "inside":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run/systemd"], check=True)
        return True
    if not os.path.isdir("/run/systemd"):
        if os.geteuid() != 0:
            return False
        os.makedirs("/run/systemd", exist_ok=True)
    unshare = ["unshare", "--mount", "--propagation", "private"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    probe = subprocess.run(unshare + ["mount", "-t", "tmpfs", "tmpfs", "/run/systemd"], capture_output=True)
    if probe.returncode != 0:
        return False
    os.environ["RQ_TEST_JOURNAL"] = "inside"
    os.execvp("unshare", unshare + [sys.executable] + sys.argv)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rqd", required=True)
    args = parser.parse_args()
    exit_on_sigterm()
    os.environ.pop("JOURNAL_STREAM", None)
    inside = enter_namespace()
    os.environ.pop("RQ_TEST_JOURNAL", None)
    t, ids = Tally(), message_ids()
    with tempfile.TemporaryDirectory(prefix="rqtest-") as parent:
        check_catalog(t, parent)
        check_json_lines(t, args.rqd, ids, parent)
        if not inside:
            print("SKIPPED: no mount namespace may be made here: the journal's native protocol was not tested", flush=True)
            return t.finish(skipped=1)
        journal = Journal()
        check_life(t, journal, ids, args.rqd, parent)
        check_refusals(t, journal, ids, args.rqd, parent)
        check_cluster(t, journal, ids, args.rqd, parent)
        check_full_disk(t, journal, ids, args.rqd, parent)
        check_logins(t, journal, ids, args.rqd, parent)
        check_records(t, journal)
    return t.finish()


if __name__ == "__main__":
    sys.exit(main())
