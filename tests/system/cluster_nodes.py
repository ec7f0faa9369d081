"""Several nodes that form a cluster, on loopback or in network namespaces.

Works with every server that takes the flags -bootstrap-expect and -join beside those of a Node,
however many processes one node consists of.
"""

import json
import os
import signal
import time

from rqnode import HOST, HttpFailure, Node, NodeError, free_port, send_signal

SERVICES = ("rq-gateway", "rq-consensus", "rq-store")
LAUNCHER = "rqd"


class Refused(Exception):
    """An answer other than 200, or with an error in it."""

    def __init__(self, status, text):
        super().__init__("%s %s" % (status, text))
        self.status = status
        self.text = text


def ask(node, method, target, body=None, timeout=10.0, client=None):
    """One request; body: JSON. Raises HttpFailure. Returns the Response."""
    own = client or node.client(timeout)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else None
        text = json.dumps(body) if body is not None else None
        return own.request(method, target, text, headers, timeout)
    finally:
        if client is None:
            own.close()


def document(response):
    """The results of an answer that must be without any error."""
    text = response.body.decode("utf-8", "replace")
    if response.status != 200:
        raise Refused(response.status, text.strip())
    answer = json.loads(text)
    wrong = answer.get("error") or next(
        (r["error"] for r in answer.get("results", []) if "error" in r), None)
    if wrong:
        raise Refused(200, wrong)
    return answer


def execute(node, *statements, params="", timeout=30.0, client=None):
    target = "/db/execute" + ("?" + params if params else "")
    return document(ask(node, "POST", target, list(statements), timeout, client))


def query(node, statement, level="strong", params="", timeout=30.0, client=None):
    """Rows of one statement, as tuples."""
    target = "/db/query?level=%s%s" % (level, "&" + params if params else "")
    answer = document(ask(node, "POST", target, [statement], timeout, client))
    return [tuple(row) for row in answer["results"][0].get("values", [])]


def wait_for(what, seconds, probe, pause=0.01):
    """Until probe() gives something true, which is returned; it may raise what requests raise."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            found = probe()
            if found:
                return found
        except (HttpFailure, Refused, ValueError, KeyError, NodeError) as e:
            last = e
        if time.monotonic() > deadline:
            raise NodeError("%s: not within %.1f s%s"
                            % (what, seconds, ", last: %s" % last if last else ""))
        time.sleep(pause)


class Cluster:
    """Nodes n1, n2, … in a fixed membership.

    network: a cluster_net.Network for at least that many; without one the nodes share loopback.
    data_dirs: {number: directory} for nodes whose data lies elsewhere.
    """

    def __init__(self, binary, size, directory=None, flags=(), network=None, data_dirs=None):
        self.network = network
        hosts = [network.host(i) if network else HOST for i in range(size)]
        ports = [network.ports() if network else (free_port(), free_port()) for _ in range(size)]
        join = ",".join("%s:%d" % (hosts[i], ports[i][1]) for i in range(size))
        self.nodes = [
            Node(binary, directory, ["-bootstrap-expect", str(size), "-join", join, *flags],
                 "n%d" % (i + 1), hosts[i], ports[i], network.prefix(i) if network else (),
                 (data_dirs or {}).get(i))
            for i in range(size)]

    def __iter__(self):
        return iter(self.nodes)

    def __len__(self):
        return len(self.nodes)

    def __getitem__(self, i):
        return self.nodes[i]

    # -- life

    def start(self, nodes=None):
        for node in self.nodes if nodes is None else nodes:
            node.start()

    def wait_ready(self, timeout=60.0, nodes=None):
        """All of them say so. Returns the seconds it took."""
        begin = time.monotonic()
        for node in self.nodes if nodes is None else nodes:
            node.wait_ready(max(0.1, timeout - (time.monotonic() - begin)))
        return time.monotonic() - begin

    def stop(self):
        """SIGTERM to all at once; the exit codes (see Node.stop)."""
        for node in self.nodes:
            if node.root is not None and node.root.poll() is None:
                node.members()
                node.root.send_signal(signal.SIGTERM)
        return [node.stop() for node in self.nodes if node.root is not None]

    def kill(self):
        """kill -9 of everything everywhere, as close together as possible."""
        signal_all([p for node in self.nodes for p in launcher_first(node)], signal.SIGKILL)
        for node in self.nodes:
            node.kill_tree()

    def remove(self):
        for node in self.nodes:
            node.remove()

    def dump_logs(self, lines=40):
        for node in self.nodes:
            node.dump_log(lines)

    # -- who leads

    def leaders(self, nodes=None):
        """Those that believe to lead, as (term, node)."""
        found = []
        for node in self.nodes if nodes is None else nodes:
            state = raft_state(node)
            if state and state.get("state") == "Leader":
                found.append((int(state.get("term", 0)), node))
        return sorted(found, key=lambda pair: pair[0])

    def leader(self, timeout=15.0, nodes=None):
        """The leader of the highest term, once there is one."""
        return wait_for("a leader", timeout, lambda: self.leaders(nodes))[-1][1]

    def followers(self, timeout=15.0):
        leader = self.leader(timeout)
        return [n for n in self.nodes if n is not leader]

    def index(self, node):
        return self.nodes.index(node)


def raft_state(node, timeout=2.0):
    """store.raft of its status; None if it doesn't answer."""
    try:
        response = ask(node, "GET", "/status?key=store.raft", timeout=timeout)
        state = json.loads(response.body) if response.status == 200 else None
    except (HttpFailure, ValueError):
        return None
    return state if isinstance(state, dict) else None


def state_of(node, timeout=10.0):
    """The same of a node that must answer: raises HttpFailure, or Refused."""
    return document(ask(node, "GET", "/status?key=store.raft", timeout=timeout))


def leader_of(nodes, seconds=20.0):
    """One of them that believes to lead, once there is one."""
    def look():
        found = [n for n in nodes if (raft_state(n) or {}).get("state") == "Leader"]
        return found[-1] if found else None
    return wait_for("a leader", seconds, look, 0.02)


def led(nodes, seconds=30.0):
    """Waits until all of these name the same one of them as leader, which is returned. After a leader was killed: what is
    asked before that may be refused, as it should be while nobody leads."""
    def look():
        names = {json.loads(ask(n, "GET", "/status?key=store.leader.node_id", timeout=5.0).body) for n in nodes}
        found = [n for n in nodes if {n.node_id} == names]
        return found[0] if found and (raft_state(found[0]) or {}).get("state") == "Leader" else None
    return wait_for("a leader that all know", seconds, look, 0.02)


def wait_links(nodes, seconds=30.0):
    """Until each of these reaches all members. Ready means only that a node and the leader reach each other."""
    wait_for("links of all with all", seconds, lambda: all(
        e["reachable"] for n in nodes for e in json.loads(ask(n, "GET", "/nodes?ver=2&nonvoters").body)["nodes"]), 0.05)


# ---------------------------------------------------------------------------- signals

def launcher_first(node):
    """All processes of a node; the launcher first, so that it restarts nothing."""
    return sorted(node.members(), key=lambda p: p.pid != node.root.pid)


def signal_all(procs, sig):
    return sum(send_signal(p, sig) for p in procs)


def processes(node, name):
    """By name of a service, LAUNCHER or "all"; a server of one process has nothing but that."""
    if name == "all" or not is_split(node):
        return launcher_first(node)
    if name == LAUNCHER:
        root = node.root_proc()
        return [root] if root else []
    return node.find(name)


def is_split(node):
    return any(node.find(s) for s in SERVICES)


# ---------------------------------------------------------------------------- content

def dump(node, tables, level="none"):
    """Rows of all these tables, in the order of rowid."""
    return {t: query(node, 'SELECT rowid, * FROM "%s" ORDER BY rowid' % t, level) for t in tables}


def disk_free_bytes(path):
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
