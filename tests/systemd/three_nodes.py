"""Three machines with the package, each with an address of its own: forming, losing one, upgrading one by one under load."""

import json
import os
import subprocess
import time

import machines
from machines import HERE, Failure, Load, run

SERVICES = "rq-store rq-consensus rq-gateway"
FIRST_RAFT = ",".join("10.77.0.%d:4002" % i for i in (1, 2, 3))


def configure(machine, number):
    ip = "10.77.0.%d" % number
    machine.sh("systemctl stop rq.target %s && rm -rf /var/lib/rq/store /var/lib/rq/consensus" % SERVICES)
    machine.write_file("/etc/rq/rq.conf", "node-id = n%d\nhttp-addr = %s:4001\nraft-addr = %s:4002\nbootstrap-expect = 3\njoin = %s\n"
                       % (number, ip, ip, FIRST_RAFT))
    machine.sh("mkdir -p /etc/systemd/system/rq-gateway.socket.d && printf '[Socket]\\nListenStream=\\nListenStream=%s:4001\\n"
               "ListenStream=/run/rq/http.sock\\n' >/etc/systemd/system/rq-gateway.socket.d/address.conf" % ip)
    machine.sh("systemctl daemon-reload; systemctl start rq.target")


def leader_of(nodes):
    for machine in nodes:
        if machine.booted and machine.show("rq-consensus", "StatusText").startswith("leader of"):
            return machine
    return None


def wait_leader(nodes, timeout=20):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        leader = leader_of(nodes)
        if leader:
            return leader
        time.sleep(0.2)
    raise Failure("no leader after %d s" % timeout)


def report(load, nodes, tally, what, may_fail=0):
    load.stop()
    print("   %s: %s" % (what, load), flush=True)
    tally.check(len(load.failures) <= may_fail, "%s: failed requests: %s" % (what, load))
    for machine in nodes:
        lost, foreign = load.lost(machine)
        tally.check(not lost and not foreign, "%s: on %s lost %s, foreign %s" % (what, machine.name, lost[:10], foreign[:10]))
    tally.check(load.written and load.reads, "%s: no load" % what)
    nodes[0].execute("DELETE FROM t")


def forms(nodes, client, tally):
    for machine in nodes:
        machine.wait_ready()
    status, body = nodes[0].execute("CREATE TABLE t(id INTEGER PRIMARY KEY)")
    tally.check(status == 200 and "error" not in body, "cluster: %s" % body)
    leader = wait_leader(nodes)
    tally.check(leader.wait("systemctl show -P StatusText rq-consensus | grep -q 'leader of 3, term .*, 2 of 2 peers in sync'"),
                "STATUS of the leader: %s" % leader.show("rq-consensus", "StatusText"))
    other = next(m for m in nodes if m is not leader)
    tally.check(other.wait("systemctl show -P StatusText rq-consensus | grep -q '^follower of n'"), "STATUS: %s" % other.show("rq-consensus", "StatusText"))


def services_restarted(nodes, client, tally):
    """Any single service of the leader; consensus hands leadership over before it stops."""
    for service in SERVICES.split():
        leader = wait_leader(nodes)
        load = Load(nodes, client, writers=3, readers=2).start()
        leader.sh("systemctl restart " + service)
        time.sleep(1.5)
        if service == "rq-consensus":
            tally.check(leader_of(nodes) is not leader, "restart of the leader: leadership was not handed over")
        report(load, nodes, tally, "leader's %s restarted" % service)


def machine_killed(nodes, client, tally):
    leader = wait_leader(nodes)
    rest = [m for m in nodes if m is not leader]
    load = Load(rest, client, writers=2, readers=1).start()
    leader.kill()
    time.sleep(4)
    report(load, rest, tally, "leader's machine killed, clients on the others")
    leader.boot()
    leader.wait_ready()
    tally.check(leader.query("SELECT count(*) FROM t", level="linearizable") == 0, "killed machine: does not follow after its boot")


def in_transaction(machine):
    return machine.execute("BEGIN", "INSERT INTO t(id) VALUES(-1)", "DELETE FROM t WHERE id = -1", "COMMIT")


def upgraded(nodes, client, tally, package):
    """Node by node; clients on all three. What the older version doesn't know is refused as long as there is one."""
    load = Load(nodes, client, writers=3, readers=2).start()
    for number, machine in enumerate(nodes, 1):
        machine.sh("DEBIAN_FRONTEND=noninteractive dpkg -i --force-confold /packages/" + package)
        machine.wait_ready()
        status, body = in_transaction(machine)
        if number == len(nodes):
            tally.check(status == 200 and "error" not in body, "BEGIN after the upgrade: %d %s" % (status, body))
            continue
        tally.check(status == 503 and "all members must run a version of feature level" in body and 'node "n' in body,
                    "BEGIN beside an older version: %d %s" % (status, body))
        text = machine.sh("rqd doctor --json --quick", check=False)
        found = [c for c in json.loads(text[:text.rindex("}") + 1])["checks"] if c["check"] == "versions"]
        tally.check(len(found) == 1 and found[0]["state"] == "WARNING" and "finish the upgrade" in json.dumps(found[0]) and
                    all("n%d 0." % n in found[0]["text"] for n in (1, 2, 3)), "rqd doctor of two versions: %r" % found)
    time.sleep(1)
    report(load, nodes, tally, "upgrade node by node to " + package)
    text = nodes[0].sh("rqd doctor --json --quick", check=False)
    checks = json.loads(text[:text.rindex("}") + 1])["checks"]
    tally.check(any(c["check"] == "versions" and c["state"] == "OK" for c in checks), "rqd doctor after the upgrade: %r" % checks)


def majority_lost(nodes, client, tally):
    """Two of three are gone for good: the handbook's way, by root, with the services of the package."""
    last = nodes[2]
    status, body = last.execute("INSERT INTO t(id) VALUES(4711)")
    tally.check(status == 200, "before the loss: %s" % body)
    for machine in nodes[:2]:
        machine.kill()
    last.sh("systemctl stop rq.target " + SERVICES)
    text = last.sh("rqd recover /var/lib/rq")
    tally.check("May be lost" in text and "Nothing was changed" in text, "rqd recover: %s" % text)
    text = last.sh("rqd recover --yes /var/lib/rq")
    tally.check("Done: cluster" in text, "rqd recover --yes: %s" % text)
    foreign = last.sh("find /var/lib/rq/consensus ! -user rq-consensus")
    tally.check(not foreign, "rqd recover by root leaves files of root: %s" % foreign)
    last.sh("systemctl start rq.target")
    last.wait_ready()
    tally.check(last.query("SELECT count(*) FROM t WHERE id = 4711", level="linearizable") == 1, "after the recovery: the row is gone")


def test(tree, work, packages, tally):
    prefix = "rq%d" % os.getpid()
    nodes = []
    try:
        run(os.path.join(HERE, "network.sh"), "up", prefix, "3")
        client = "/run/netns/%s-client" % prefix
        for i in (1, 2, 3):
            state, etc = (os.path.join(work, "n%d-%s" % (i, what)) for what in ("state", "etc"))
            os.makedirs(state)
            run("cp", "-a", os.path.join(tree, "etc"), etc)
            nodes.append(machines.Machine("n%d" % i, tree, work, "/run/netns/%s-n%d" % (prefix, i), "10.77.0.%d" % i,
                                          ((state, "/var/lib/rq", True), (etc, "/etc", True), (packages, "/packages", False))))
        for machine in nodes:
            machine.boot()
        for number, machine in enumerate(nodes, 1):
            configure(machine, number)
        new = sorted(n for n in os.listdir(packages) if n.endswith(".deb"))[-1]
        for step, *arguments in ((forms,), (services_restarted,), (machine_killed,), (upgraded, new), (majority_lost,)):
            begin = time.monotonic()
            step(nodes, client, tally, *arguments)
            print("   %s: %.1f s" % (step.__name__, time.monotonic() - begin), flush=True)
    except (Failure, machines.HttpFailure, subprocess.TimeoutExpired, ValueError, KeyError) as e:
        tally.check(False, "three nodes: %s" % e)
        for machine in nodes:
            if machine.booted:
                print("--- %s\n%s" % (machine.name, machine.sh("systemctl status 'rq-*' --no-pager -n 8", check=False)[-2500:]))
    finally:
        for machine in nodes:
            machine.kill()
        run(os.path.join(HERE, "network.sh"), "down", prefix, "3", check=False)
