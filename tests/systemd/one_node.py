"""One machine with the package in it: the units' life, their sandboxes, and the HTTP contract inside them."""

import argparse
import json
import os
import re
import time

import machines
from machines import Failure, Load, NetClient

SERVICES = ("rq-store", "rq-consensus", "rq-gateway")

# Tenths of systemd-analyze's exposure.
EXPOSURE = {"rq-store": 3, "rq-gateway": 3, "rq-consensus": 10}

# What each sandbox must refuse; everything named in ALLOWED must work there.
REFUSED_TO_ALL = ("netlink_socket packet_socket connect_public write_state_root read_credentials read_shadow write_etc write_usr read_root_home "
                  "write_sysctl kernel_log writable_code new_user_namespace real_time set_clock set_hostname mount ptrace "
                  "bpf keyctl kill_init proc_init").split()
REFUSED = {
    "store": "inet_socket inet6_socket connect_localhost connect_private consensus_folder write_consensus unlink_consensus_socket".split(),
    "consensus": "store_folder write_store unlink_store_socket".split(),
    "gateway": "inet_socket inet6_socket connect_localhost connect_private store_folder consensus_folder write_store write_consensus write_run "
               "unlink_store_socket unlink_consensus_socket".split(),
}
ALLOWED = {
    "store": "store_folder write_store write_run connect_store read_config".split(),
    "consensus": "inet_socket connect_localhost connect_private consensus_folder write_consensus write_run connect_store read_config".split(),
    "gateway": "connect_store connect_consensus read_config".split(),
}


def starts(machine, tally, state):
    tally.check(state == "running", "boot: system state is %s" % state)
    machine.wait_ready()
    for unit in (*SERVICES, "rq-gateway.socket", "rq.target"):
        tally.check(machine.show(unit, "ActiveState") == "active", "boot: %s is not active" % unit)
    tally.check(not machine.sh("systemctl --failed --no-legend"), "boot: a unit failed")
    for service in SERVICES:
        tally.check(machine.show(service, "User") == service, "%s: runs as %s" % (service, machine.show(service, "User")))
        folder = "/var/lib/rq/" + service[3:]
        if service != "rq-gateway":
            tally.check(machine.sh("stat -c '%%U %%a' %s" % folder) == service + " 700", "%s: owner or mode" % folder)
    tally.check(machine.sh("stat -c '%U %G %a' /run/rq/store.sock") == "rq-store rq 660", "store.sock: owner or mode")
    tally.check(machine.sh("stat -c '%U %G %a' /run/rq/consensus.sock") == "rq-consensus rq 660", "consensus.sock: owner or mode")
    status = machine.show("rq-consensus", "StatusText")
    tally.check(machine.wait("systemctl show -P StatusText rq-consensus | grep -Eq '^leader of 1, term [0-9]+, index [0-9]+'"),
                "STATUS of rq-consensus: %r" % status)
    verify = machine.sh("systemd-analyze verify --man=no rq.target rq@x.target 2>&1 | grep -i 'rq' || true")
    tally.check(not verify, "systemd-analyze verify: %s" % verify)


def answers(machine, tally):
    status, body = machine.execute("CREATE TABLE t(id INTEGER PRIMARY KEY)")
    tally.check(status == 200 and "error" not in body, "TCP: %d %s" % (status, body))
    response = machine.unix_client().request("GET", "/db/query?q=SELECT%201")
    tally.check(response.status == 200 and b"[[1]]" in response.body, "unix socket: %d %s" % (response.status, response.body))
    tally.check(machine.ok("ss -ltn | grep -q '127.0.0.1:4001' && ss -ltn | grep -q '\\[::1\\]:4001'"), "localhost: IPv4 and IPv6")
    machine.sh("useradd -M stranger 2>/dev/null || true")
    tally.check(not machine.ok("runuser -u stranger -- nc -NU -w1 /run/rq/store.sock </dev/null"), "store.sock: open to a stranger")
    tally.check(machine.ok("runuser -u stranger -- nc -NU -w1 /run/rq/http.sock </dev/null"), "http.sock: closed to a user")


def reports(load, machine, tally, what):
    load.stop()
    lost, foreign = load.lost(machine)
    print("   %s: %s" % (what, load), flush=True)
    tally.check(not load.failures, "%s: failed requests: %s" % (what, load))
    tally.check(not lost, "%s: LOST %s" % (what, lost[:10]))
    tally.check(not foreign, "%s: rows that nobody wrote: %s" % (what, foreign[:10]))
    tally.check(load.written and load.reads, "%s: no load" % what)
    machine.execute("DELETE FROM t")


def killed(machine, tally):
    """kill -9: whoever was answered keeps it, and the unit is back by itself. A request in flight may fail, no other."""
    for service in SERVICES:
        load = Load([machine], writers=1, readers=1).start()
        before, pid = int(machine.show(service, "NRestarts")), machine.show(service, "MainPID")
        machine.sh("kill -9 " + pid)
        tally.check(machine.wait("test $(systemctl show -P NRestarts %s) -gt %d && systemctl -q is-active %s" % (service, before, service)),
                    "kill -9 %s: not restarted" % service)
        machine.wait_ready()
        time.sleep(0.3)
        load.stop()
        lost, foreign = load.lost(machine)
        print("   kill -9 %s: %s" % (service, load), flush=True)
        tally.check(not lost and not foreign, "kill -9 %s: lost %s, foreign %s" % (service, lost, foreign))
        tally.check(len(load.failures) <= 2, "kill -9 %s: more failed than was in flight: %s" % (service, load))
        others = [s for s in SERVICES if s != service]
        tally.check(all(machine.show(s, "ActiveState") == "active" for s in others), "kill -9 %s: took others along" % service)
        machine.execute("DELETE FROM t")


def hung(machine, tally):
    """SIGSTOP is a hang that nothing inside can end."""
    for service in SERVICES:
        machine.sh("mkdir -p /run/systemd/system/%s.service.d && printf '[Service]\\nWatchdogSec=2s\\n' >/run/systemd/system/%s.service.d/quick.conf"
                   % (service, service))
    machine.sh("systemctl daemon-reload && systemctl restart rq-store rq-consensus rq-gateway")
    machine.wait_ready()
    for service in SERVICES:
        machine.sh("kill -STOP $(systemctl show -P MainPID %s)" % service)
    for service in SERVICES:
        tally.check(machine.wait("journalctl -b -q -u %s | grep -q 'Watchdog timeout'" % service), "hang of %s: not noticed" % service)
        tally.check(machine.wait("systemctl -q is-active " + service), "hang of %s: not restarted" % service)
    machine.wait_ready()
    machine.sh("rm -r /run/systemd/system/rq-*.service.d; systemctl daemon-reload; systemctl restart rq-store rq-consensus rq-gateway")
    machine.wait_ready()


def restarted(machine, tally):
    """Any single service, and all: no request fails that can wait."""
    for what in (*SERVICES, "rq.target"):
        pids = [machine.show(s, "MainPID") for s in SERVICES]
        load = Load([machine], writers=2, readers=2).start()
        machine.sh("systemctl restart " + what)
        time.sleep(1)
        changed = sum(a != b for a, b in zip(pids, (machine.show(s, "MainPID") for s in SERVICES)))
        tally.check(changed == (3 if what == "rq.target" else 1), "restart %s: %d processes are others" % (what, changed))
        reports(load, machine, tally, "restart " + what)
    begin = time.monotonic()
    pid = machine.show("rq-gateway", "MainPID")
    machine.sh("systemctl stop rq-gateway.service")
    response = NetClient(machine.network, (machine.ip, 4001), 20).request("GET", "/readyz?timeout=10s")
    tally.check(response.status in (200, 503), "socket activation: %d" % response.status)
    tally.check(machine.show("rq-gateway", "MainPID") not in (pid, "0"), "socket activation: no new process")
    print("   a client started rq-gateway in %.1f s" % (time.monotonic() - begin), flush=True)
    machine.wait_ready()


def reloaded(machine, tally):
    machine.sh("cp /etc/rq/rq.conf /tmp/rq.conf")
    machine.sh("echo 'log-level = debug' >>/etc/rq/rq.conf")
    pids = [machine.show(s, "MainPID") for s in SERVICES]
    for service in SERVICES:
        tally.check(machine.ok("systemctl reload " + service), "reload %s" % service)
        tally.check(machine.show(service, "ActiveState") == "active", "reload: %s is not active" % service)
        tally.check(machine.wait("journalctl -b -q -u %s | grep -q 'Configuration read again'" % service, 5), "reload %s: nothing in the journal" % service)
    tally.check(pids == [machine.show(s, "MainPID") for s in SERVICES], "reload: a process is another one")
    machine.sh("echo 'log-levle = info' >>/etc/rq/rq.conf")
    problem = machine.sh("systemctl reload rq-store; echo exit $?; journalctl -b -q -u rq-store -n 20", check=False)
    tally.check("exit 1" in problem and "log-levle" in problem, "reload of an invalid file: %s" % problem[-500:])
    tally.check(machine.show("rq-store", "ActiveState") == "active", "reload of an invalid file: the service ended")
    # 78: systemd doesn't start it again and again.
    machine.sh("systemctl restart rq-consensus", check=False)
    time.sleep(1)
    tally.check(machine.show("rq-consensus", "ActiveState") == "failed" and machine.show("rq-consensus", "ExecMainStatus") == "78",
                "invalid file: %s, exit status %s" % (machine.show("rq-consensus", "ActiveState"), machine.show("rq-consensus", "ExecMainStatus")))
    tally.check(machine.show("rq-consensus", "NRestarts") == "0", "invalid file: started again and again")
    machine.sh("cp /tmp/rq.conf /etc/rq/rq.conf; systemctl reset-failed; systemctl start rq.target")
    machine.wait_ready()


def bad_users(machine, tally):
    """A users' file that is no good: a node that runs goes on with the users before; one that starts says why, and closes its
    port; repaired, it starts as always."""
    good = '[{"username": "*", "perms": ["all"]}]'
    machine.sh("cp /etc/rq/rq.conf /tmp/rq.conf")
    machine.write_file("/etc/rq/users.json", good)
    machine.sh("chmod 644 /etc/rq/users.json; echo 'auth = /etc/rq/users.json' >>/etc/rq/rq.conf; systemctl restart rq.target")
    machine.wait_ready()
    machine.write_file("/etc/rq/users.json", good.replace("all", "al"))
    why = 'there is no permission "al"'
    tally.check(machine.wait("journalctl -b -q -u rq-gateway | grep -q 'users are not used.*%s'" % why, 10), "bad users: nothing in the journal")
    tally.check(not machine.ok("systemctl reload rq-gateway"), "bad users: a reload says nothing")
    tally.check(machine.query("SELECT 1") == 1, "bad users: the node doesn't go on")
    tally.check(not machine.ok("systemctl restart rq-gateway"), "bad users: a start says nothing")
    shown = machine.sh("systemctl status --no-pager rq-gateway", check=False)
    tally.check("status=78" in shown and why in shown, "bad users: systemctl status: %s" % shown)
    count = "journalctl -b -q --no-pager -o cat | grep -c '^Starting rq-gateway'"
    before, refused = int(machine.sh(count)), False
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            NetClient(machine.network, (machine.ip, 4001), 5).request("GET", "/readyz")
        except machines.HttpFailure as e:
            refused = refused or "refused" in str(e)
        time.sleep(0.2)
    starts = int(machine.sh(count)) - before
    tally.check(refused, "bad users: the port stays open")
    tally.check(starts <= 30, "bad users: clients started it %d times" % starts)
    machine.write_file("/etc/rq/users.json", good)
    machine.sh("systemctl start rq.target")
    machine.wait_ready()
    tally.check(machine.show("rq-gateway.socket", "ActiveState") == "active", "bad users: the socket didn't come back")
    machine.sh("cp /tmp/rq.conf /etc/rq/rq.conf; rm /etc/rq/users.json; systemctl restart rq.target")
    machine.wait_ready()


def journal(machine, tally):
    for field in ("RQ_TERM", "MESSAGE_ID"):
        tally.check(machine.ok("journalctl -b -q -u rq-consensus -o json | grep -q '\"%s\"'" % field), "journal: no %s" % field)
    if machine.ok("test -e /usr/lib/systemd/catalog/rq.catalog"):
        text = machine.sh("journalctl -b -q -x -u rq-consensus --no-pager", check=False)
        tally.check(re.search(r"^░░ Subject: ", text, re.M) and "Defined-By: rq" in text, "journalctl -x: no text of the catalog:\n%s" % text[-600:])


def doctor(machine, tally):
    """Of the node of the package, without a flag. The container's clock is nobody's here, and its disk a layer."""
    text = machine.sh("/usr/sbin/rqd doctor --json; echo $? >&2", check=False)
    checks = json.loads(text[:text.rindex("}") + 1])["checks"]
    found = {(c["check"], c["state"]) for c in checks}
    for check in ("config", "folders", "ports", "sockets", "cluster", "versions"):
        tally.check((check, "OK") in found, "rqd doctor: %s isn't OK: %r" % (check, [c for c in checks if c["check"] == check]))
    bad = [c for c in checks if c["state"] in ("CRITICAL", "UNKNOWN")]
    tally.check(not bad, "rqd doctor finds: %r" % bad)
    tally.check(machine.ok("rqd doctor --quick >/dev/null; test $? -le 1"), "rqd doctor: exit code")

    # A node of the package that doesn't run is what a monitoring system asks for.
    machine.sh("systemctl stop rq.target " + " ".join(SERVICES))
    text = machine.sh("rqd doctor --quick; echo exit $?", check=False)
    tally.check("there is a node in /var/lib/rq, and it doesn't run" in text and "exit 2" in text, "rqd doctor beside a node that is stopped: %s" % text)
    machine.sh("systemctl start rq.target")
    machine.wait_ready()

    # Somebody else may ask, too: what is hidden from them is unknown, not wrong.
    text = machine.sh("runuser -u stranger -- rqd doctor --json --quick; echo $? >&2", check=False)
    checks = json.loads(text[:text.rindex("}") + 1])["checks"]
    tally.check(any(c["check"] == "folders" and c["state"] == "UNKNOWN" and "as root" in json.dumps(c) for c in checks), "rqd doctor of a user: folders: %r" % checks)
    tally.check(not [c for c in checks if c["state"] == "CRITICAL"], "rqd doctor of a user finds: %r" % checks)
    for check in ("config", "ports", "cluster", "versions"):
        tally.check(any(c["check"] == check and c["state"] == "OK" for c in checks), "rqd doctor of a user: %s isn't OK: %r" % (check, checks))


def cluster_id(machine):
    return json.loads(machine.client().request("GET", "/status").body)["store"]["raft"]["cluster_id"]


def recovered(machine, tally):
    """rqd recover and peers.json by root, as in the handbook: nothing is root's afterwards, and the service starts."""
    look = "cd /var/lib/rq && find . -printf '%p %U %m %s %C@ %y\\n' | sort && sha256sum consensus/*"
    machine.sh("systemctl stop rq.target " + " ".join(SERVICES))
    before = machine.sh(look)
    text = machine.sh("rqd recover /var/lib/rq")
    tally.check("the log up to index" in text and "the database file" in text and "only member already" in text, "rqd recover: %s" % text)
    tally.check(machine.sh(look) == before, "rqd recover without --yes changed something:\n%s\n%s" % (before, machine.sh(look)))
    text = machine.sh("runuser -u stranger -- rqd recover /var/lib/rq; echo exit $?", check=False)
    tally.check("exit 1" in text and "can't be opened by this user" in text, "rqd recover by a stranger: %s" % text)
    machine.sh("systemctl start rq.target")
    machine.wait_ready()
    was = cluster_id(machine)
    text = machine.sh("rqd recover /var/lib/rq; echo exit $?", check=False)
    tally.check("exit 1" in text and "while a node runs there" in text, "rqd recover beside the node: %s" % text)
    # A file that the service may not read isn't passed over; once it may, it goes on by itself.
    machine.sh("systemctl stop rq-consensus; umask 077; echo '[{\"id\": \"n1\", \"address\": \"localhost:4002\"}]' >/var/lib/rq/raft/peers.json; "
               "systemctl start rq-consensus", check=False)
    tally.check(machine.wait("journalctl -b -q -u rq-consensus | grep -q 'Cannot read raft/peers.json (give it to the user of this service: chown)'"),
                "peers.json of root: %s" % machine.journal("-u rq-consensus -n 5"))
    machine.sh("chown rq-consensus /var/lib/rq/raft/peers.json")
    machine.wait_ready()
    tally.check(machine.sh("ls /var/lib/rq/raft") == "peers.info", "peers.json: not renamed: %s" % machine.sh("ls -l /var/lib/rq/raft"))
    tally.check(cluster_id(machine) != was, "peers.json: the cluster's id is the old one")
    tally.check(not machine.sh("find /var/lib/rq/consensus /var/lib/rq/raft ! -user rq-consensus"), "recovery: files of others: %s" % machine.sh("ls -lR /var/lib/rq"))


def scores(machine, tally):
    for service, limit in EXPOSURE.items():
        text = machine.sh("systemd-analyze security --no-pager --threshold=%d %s.service >/tmp/score; echo $?; tail -1 /tmp/score" % (limit, service))
        print("   %s" % text.splitlines()[-1].strip(), flush=True)
        tally.check(text.startswith("0"), "exposure of %s: %s" % (service, text))


def probes(machine, tally):
    """A program of ours in each sandbox tries what must fail."""
    machine.sh("ip addr add 10.99.99.99/32 dev lo; ip addr add 203.0.113.99/32 dev lo")
    for service in ("store", "consensus", "gateway"):
        machine.sh("sed -e 's|^ExecStart=.*|ExecStart=/probe %s|' -e '/^Exec[A-Z].*Reload\\|^WatchdogSec\\|^Restart/d' "
                   "-e 's/^Type=.*/Type=oneshot/' -e '/rq-gateway.socket/d' /usr/lib/systemd/system/rq-%s.service >/run/systemd/system/probe-%s.service"
                   % (service, service, service))
        machine.sh("systemctl daemon-reload; systemctl start probe-%s" % service, check=False)
        results = dict(line.split(" ", 1) for line in machine.journal("-u", "probe-" + service).splitlines()
                       if re.fullmatch(r"[a-z0-9_]+ [A-Z0-9]+", line))
        tally.check(len(results) > 30, "probe in rq-%s: did not run: %s" % (service, machine.journal("-u", "probe-" + service)[-500:]))
        for name in (*REFUSED_TO_ALL, *REFUSED[service]):
            tally.check(results.get(name, "?") not in ("ALLOWED", "?"), "rq-%s: may %s: %s" % (service, name, results.get(name)))
        for name in ALLOWED[service]:
            tally.check(results.get(name) == "ALLOWED", "rq-%s: can't %s: %s" % (service, name, results.get(name)))
    machine.sh("ip addr del 10.99.99.99/32 dev lo; ip addr del 203.0.113.99/32 dev lo; rm -f /var/lib/rq/*/probe /run/rq/probe")


def credentials(machine, tally):
    """A key that only root may read reaches the one service it is for, under the name that the handbook says."""
    for service in ("gateway", "consensus"):
        machine.sh("umask 077; echo secret-of-%s >/etc/rq/credentials/%s/key.pem" % (service, service))
    tally.check(machine.sh("stat -c '%U %a' /etc/rq/credentials") == "root 700", "credentials: owner or mode")
    machine.sh("systemctl restart rq.target")
    for service in ("gateway", "consensus"):
        path = "/run/credentials/rq-%s.service/%s_key.pem" % (service, service)
        text = machine.sh("nsenter -t $(systemctl show -P MainPID rq-%s) -m runuser -u rq-%s -- cat %s" % (service, service, path), check=False)
        tally.check(text == "secret-of-" + service, "credentials of rq-%s: %s" % (service, text))
        other = "consensus" if service == "gateway" else "gateway"
        tally.check(not machine.ok("nsenter -t $(systemctl show -P MainPID rq-%s) -m runuser -u rq-%s -- cat %s" % (other, other, path)),
                    "credentials of rq-%s: rq-%s reads them" % (service, other))
    machine.sh("rm /etc/rq/credentials/*/key.pem; systemctl restart rq.target")
    machine.wait_ready()


def instance(machine, tally):
    """A second node on the same host."""
    machine.sh("sed -e 's/4001/5001/' -e 's/4002/5002/' /etc/rq/rq.conf >/etc/rq/two.conf; systemctl start rq@two.target")
    tally.check(machine.wait("curl -s --unix-socket /run/rq-two/http.sock http://rq/readyz 2>/dev/null | grep -q ok || "
                             "printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' | nc -NU -w2 /run/rq-two/http.sock | grep -q '200 OK'"), "instance: not ready: %s"
                % machine.sh("systemctl status 'rq-*@two.*' --no-pager -n 5", check=False))
    tally.check(machine.sh("stat -c '%U %a' /var/lib/rq-two/store") == "rq-store 700", "instance: data folder")
    machine.sh("systemctl stop rq@two.target rq-gateway@two rq-consensus@two rq-store@two")
    tally.check(machine.show("rq-store@two", "ActiveState") == "inactive", "instance: not stopped")
    tally.check(machine.show("rq-store", "ActiveState") == "active", "instance: its end ended the other node")


class ApiNode:
    """The node inside, as api.py wants it."""

    def __init__(self, machine):
        self.machine = machine
        self.http_port, self.raft_port, self.node_id = 4001, 4002, "n1"

    def client(self, timeout=10.0):
        return self.machine.client(timeout)

    def address(self):
        return "127.0.0.1:4001"

    def raft_address(self):
        return "localhost:4002"

    @property
    def log_path(self):
        path = os.path.join(self.machine.run_dir, "journal")
        with open(path, "w") as f:
            f.write(self.machine.journal("-u", "'rq-*'"))
        return path

    def __getattr__(self, name):
        raise Failure("api.py asks for node.%s, which a machine can't tell" % name)


def api_suite(machine, tally):
    import api
    api.run(ApiNode(machine), argparse.Namespace(only=None, peer_mode=False), tally)


def slow_start(machine, tally):
    """A start that takes longer than TimeoutStartSec, and works: it asks for more time. One that hangs doesn't get any."""
    limit = 9 # it asks for the first time 5 s after it has begun
    # A log that takes long to read on a machine that is starved: the process gets a ninetieth of the time until the limit is
    # long past, which is a third of what it would need, and then all of it. Nothing of the log
    # is dropped, because the store makes no checkpoint.
    machine.sh("cp /etc/rq/rq.conf /tmp/rq.conf; printf 'raft-snap = 1000000\\nraft-snap-wal-size = 8GiB\\nraft-snap-int = 1h\\n' >>/etc/rq/rq.conf; "
               "systemctl restart rq.target")
    machine.wait_ready()
    machine.execute("CREATE TABLE IF NOT EXISTS big(b)")
    client = machine.client(60)
    blob = json.dumps([["INSERT INTO big VALUES(length(?))", "x" * 4000000]]) # long in the log only
    for _ in range(100):
        response = client.request("POST", "/db/execute", blob)
        if response.status != 200:
            raise Failure("a large row: %d %s" % (response.status, response.body[:200]))
    size = int(machine.sh("du -sm /var/lib/rq/consensus | cut -f1"))
    machine.sh("mkdir -p /run/systemd/system/rq-consensus.service.d && printf '[Service]\\nTimeoutStartSec=%ds\\nRestart=no\\n' "
               ">/run/systemd/system/rq-consensus.service.d/slow.conf && systemctl daemon-reload && systemctl stop rq-consensus" % limit)
    for what, run, pause in (("slow", "0.010", "0.9"), ("hung", "0", "0.5")):
        begin = time.monotonic()
        machine.sh("systemctl start --no-block rq-consensus")
        machine.sh("while ! p=$(systemctl show -P MainPID rq-consensus) || [ \"$p\" = 0 ]; do :; done; "
                   "end=$(($(date +%%s) + %d)); while [ \"$(systemctl show -P ActiveState rq-consensus)\" = activating ] && [ $(date +%%s) -lt $end ]; do "
                   "kill -STOP $p; sleep %s; [ %s = 0 ] || { kill -CONT $p; sleep %s; }; done; kill -CONT $p 2>/dev/null || true" % (limit + 4 if what == "slow" else 120, pause, run, run), timeout=180)
        tally.check(machine.wait("systemctl show -P ActiveState rq-consensus | grep -qv activating", 60), "%s start: it has no end" % what)
        took = time.monotonic() - begin
        state = machine.show("rq-consensus", "ActiveState")
        print("   a %s start with a log of %d MiB: %s after %.1f s (TimeoutStartSec=%ds)" % (what, size, state, took, limit), flush=True)
        if what == "slow":
            tally.check(took > limit + 1, "slow start: only %.1f s, it shows nothing" % took)
            tally.check(state == "active", "slow start: %s after %.1f s: %s" % (state, took, machine.journal("-u rq-consensus -n 5")))
            machine.sh("systemctl stop rq-consensus")
        else:
            tally.check(state == "failed" and took < 60, "hung start: %s after %.1f s" % (state, took))
    machine.sh("cp /tmp/rq.conf /etc/rq/rq.conf; rm -r /run/systemd/system/rq-consensus.service.d; systemctl daemon-reload; systemctl reset-failed; "
               "systemctl restart rq.target")
    machine.wait_ready()
    machine.execute("DROP TABLE big")


def plug_pulled(machine, tally):
    """What was acknowledged is there after the machine was ended at once, and after an orderly stop."""
    machine.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY)")
    machine.execute("DELETE FROM t", "INSERT INTO t(id) VALUES(7)")
    machine.kill()
    machine.boot()
    machine.wait_ready()
    tally.check(machine.query("SELECT id FROM t") == 7, "after the plug was pulled: the row is gone")
    begin = time.monotonic()
    machine.sh("systemctl stop rq.target " + " ".join(SERVICES))
    print("   stop of all: %.1f s" % (time.monotonic() - begin), flush=True)
    tally.check(not machine.sh("systemctl --failed --no-legend"), "stop: a unit failed")
    tally.check(not machine.ok("pgrep -x 'rq-store|rq-consensus|rq-gateway'"), "stop: a process is left")
    machine.sh("systemctl start rq.target")
    machine.wait_ready()
    tally.check(machine.query("SELECT id FROM t") == 7, "after stop and start: the row is gone")


STEPS = (answers, killed, restarted, hung, reloaded, bad_users, journal, doctor, recovered, scores, probes, credentials, instance, api_suite, slow_start, plug_pulled)


def test(tree, work, probe, tally, only=None):
    state = os.path.join(work, "state")
    os.makedirs(state)
    machine = machines.Machine("one", tree, work, binds=((state, "/var/lib/rq", True), (probe, "/probe", False)))
    try:
        system = machine.boot()
        starts(machine, tally, system)
        for step in STEPS:
            if only and only not in step.__name__ and step is not answers:
                continue
            begin = time.monotonic()
            try:
                step(machine, tally)
            except (Failure, machines.HttpFailure, ValueError, KeyError) as e:
                tally.check(False, "%s: %s" % (step.__name__, e))
                print(machine.sh("systemctl status 'rq-*' --no-pager -n 8", check=False)[-3000:])
            print("   %s: %.1f s" % (step.__name__, time.monotonic() - begin), flush=True)
    finally:
        machine.kill()
