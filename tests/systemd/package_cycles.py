"""The packages' life on one machine: install, upgrade under load, downgrade, remove, purge; deb, then rpm."""

import os
import time

import machines
from machines import Failure, Load
from one_node import SERVICES, reports


def install(machine, tally, old):
    machine.sh("DEBIAN_FRONTEND=noninteractive dpkg -i /packages/%s" % old)
    for unit in (*SERVICES, "rq-gateway.socket", "rq.target"):
        tally.check(machine.show(unit, "ActiveState") == "active", "install: %s is not active" % unit)
    tally.check(machine.sh("systemctl is-enabled rq.target") == "enabled", "install: rq.target is not enabled")
    machine.wait_ready()
    status, body = machine.execute("CREATE TABLE t(id INTEGER PRIMARY KEY)")
    tally.check(status == 200, "install: %s" % body)


def upgrade(machine, tally, new):
    machine.sh("echo '# a local edit' >>/etc/rq/rq.conf")
    pids = [machine.show(s, "MainPID") for s in SERVICES]
    load = Load([machine], writers=2, readers=1).start()
    machine.sh("DEBIAN_FRONTEND=noninteractive dpkg -i --force-confdef --force-confold /packages/%s" % new)
    time.sleep(0.5)
    reports(load, machine, tally, "upgrade under load")
    now = [machine.show(s, "MainPID") for s in SERVICES]
    tally.check(all(a != b for a, b in zip(pids, now)), "upgrade: a service was not restarted")
    tally.check(machine.ok("grep -q 'a local edit' /etc/rq/rq.conf"), "upgrade: a local edit is gone")
    machine.sh("systemctl stop rq.target " + " ".join(SERVICES))
    machine.sh("DEBIAN_FRONTEND=noninteractive dpkg -i --force-confold /packages/%s" % new)
    tally.check(machine.show("rq-store", "ActiveState") == "inactive", "upgrade: what was stopped was started")
    machine.sh("systemctl start rq.target")
    machine.wait_ready()


def downgrade(machine, tally, old):
    """The newer one has said that older ones can't read its files."""
    status, body = machine.execute("INSERT INTO t(id) VALUES(77)")
    problem = machine.sh("DEBIAN_FRONTEND=noninteractive dpkg -i --force-confold /packages/%s; echo exit $?" % old, check=False)
    tally.check("exit 0" not in problem.splitlines() and "cannot read" in problem and "nothing was changed" in problem.lower(),
                "downgrade: %s" % problem)
    tally.check(machine.ok("dpkg-query -W -f='${db:Status-Status}' rq-server | grep -qx installed"), "downgrade: the package is left half installed: %s"
                % machine.sh("dpkg -l rq-server | tail -1"))
    tally.check(machine.query("SELECT count(*) FROM t WHERE id = 77") == 1, "downgrade: the node does not serve on")


def remove(machine, tally):
    machine.sh("DEBIAN_FRONTEND=noninteractive dpkg -r rq-server")
    for unit in (*SERVICES, "rq-gateway.socket", "rq.target"):
        tally.check(machine.show(unit, "ActiveState") == "inactive", "remove: %s" % unit)
    tally.check(not machine.ok("nc -z 127.0.0.1 4001"), "remove: the port is open")
    tally.check(machine.ok("test -e /etc/rq/rq.conf -a -d /var/lib/rq/store"), "remove: configuration or data are gone")


def purge(machine, tally, new):
    text = machine.sh("dpkg -P rq-server")
    tally.check("the data stays in /var/lib/rq" in text and machine.ok("test -d /var/lib/rq/store"), "purge: the data is gone untold")
    tally.check(not machine.ok("test -e /etc/rq/rq.conf"), "purge: the configuration is there")
    machine.sh("DEBIAN_FRONTEND=noninteractive dpkg -i /packages/%s" % new)
    machine.wait_ready()
    tally.check(machine.query("SELECT count(*) FROM t WHERE id = 77") == 1, "installed again: the data is not there")
    machine.sh("RQ_PURGE_DATA=yes dpkg -P rq-server")
    tally.check(not machine.ok("test -e /var/lib/rq"), "purge: data is there although it was told to go")
    tally.check(not machine.sh("systemctl --failed --no-legend"), "purge: a unit failed")
    left = machine.sh("find /etc/systemd /var/lib/systemd/deb-systemd-helper-enabled \\( -name 'rq-[a-su-z]*' -o -name 'rq.*' \\) 2>/dev/null; ls -d /etc/rq /run/rq 2>/dev/null",
                      check=False)
    tally.check(not left, "purge: left behind: %s" % left)


def rpm_cycle(machine, tally, old, new):
    """Debian's rpm, with the real scriptlets and the real systemd."""
    machine.sh("rpm --nodeps -i /packages/%s" % old)
    tally.check(machine.sh("systemctl is-enabled rq.target") == "enabled", "rpm: the preset was not applied")
    machine.sh("systemctl start rq.target")
    machine.wait_ready()
    machine.execute("CREATE TABLE t(id INTEGER PRIMARY KEY)")
    machine.sh("echo '# a local edit' >>/etc/rq/rq.conf")
    load = Load([machine], writers=2, readers=1).start()
    machine.sh("rpm --nodeps -U /packages/%s" % new)
    time.sleep(0.5)
    reports(load, machine, tally, "rpm upgrade under load")
    tally.check(machine.ok("grep -q 'a local edit' /etc/rq/rq.conf"), "rpm: a local edit is gone")
    verify = machine.sh("rpm -V --nodeps rq-server | grep -v 'c /etc/rq/rq.conf' || true")
    tally.check(not verify, "rpm -V: %s" % verify)
    problem = machine.sh("rpm --nodeps --oldpackage -U /packages/%s; echo exit $?" % old, check=False)
    tally.check("exit 0" not in problem.splitlines() and "cannot read" in problem, "rpm downgrade: %s" % problem)
    machine.sh("rpm -e rq-server")
    tally.check(not machine.ok("systemctl -q is-active rq-gateway.service"), "rpm -e: runs on")
    tally.check(machine.ok("test -d /var/lib/rq/store -a -e /etc/rq/rq.conf.rpmsave"), "rpm -e: data or configuration is gone")


def test(tree, work, packages, tally):
    """packages: folder with old and new files of both kinds; names by sorted order."""
    names = sorted(os.listdir(packages))
    old, new = [n for n in names if n.endswith(".deb")]
    old_rpm, new_rpm = [n for n in names if n.endswith(".rpm")]
    machine = machines.Machine("packages", tree, work, binds=((packages, "/packages", False),))
    for steps in (((install, old), (upgrade, new), (downgrade, old), (remove,), (purge, new)), ((rpm_cycle, old_rpm, new_rpm),)):
        try:
            machine.boot()
            for step, *arguments in steps:
                begin = time.monotonic()
                step(machine, tally, *arguments)
                print("   %s: %.1f s" % (step.__name__, time.monotonic() - begin), flush=True)
        except (Failure, machines.HttpFailure, ValueError, KeyError) as e:
            tally.check(False, "%s: %s" % (step.__name__, e))
            print(machine.sh("systemctl status 'rq-*' --no-pager -n 8", check=False)[-3000:])
        finally:
            machine.kill()
