#!/usr/bin/env python3
"""Units and packages under a real systemd: builds the packages, installs them into a Debian tree, boots it.

What the kernel or a missing tool forbids is skipped aloud. Needs root. The version before, from which is upgraded,
is the commit in the file version-before (or --old), built with a lower version number; where the history doesn't
reach so far, this one's programs under that number, which is said aloud. Ends with "N passed, M failed".
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))
sys.path.insert(0, HERE)
from machines import Failure, run
from rqnode import Tally, exit_on_sigterm

OLD_VERSION = "0.0.9"
TOOLS = ("mmdebstrap", "systemd-nspawn", "ip", "lintian", "rpmbuild", "rpmlint", "dpkg-deb")


def forbidden():
    """Why machines can't be booted here, or None."""
    if os.geteuid() != 0:
        return "machines need root"
    missing = [t for t in TOOLS if shutil.which(t) is None]
    if missing:
        return "not installed: " + ", ".join(missing)
    done = subprocess.run(["unshare", "-m", "-n", "-p", "-f", "true"], stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        return "the kernel allows no namespaces: " + done.stderr.strip()
    for line in open("/proc/mounts"):
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return None if os.access(where, os.W_OK) and not os.statvfs(where).f_flag & os.ST_RDONLY else "cgroups can't be written"
    return "no cgroup2 is mounted"


def build(out, build_dir, *options, source=ROOT, env=None):
    begin = time.monotonic()
    run(os.path.join(source, "packaging/build-packages"), *options, "--build", build_dir, out, timeout=1800, env=env)
    print("   built in %s: %.0f s" % (os.path.basename(out), time.monotonic() - begin), flush=True)


def digest(folder):
    files = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as f:
            files[name] = hashlib.sha256(f.read()).hexdigest()
    return files


def one(folder, ending):
    names = [n for n in os.listdir(folder) if n.endswith(ending)]
    if len(names) != 1:
        raise Failure("%s: not one %s: %s" % (folder, ending, names))
    return os.path.join(folder, names[0])


def lint(new, tally):
    deb = one(new, ".deb")
    text = run("lintian", "--fail-on", "error,warning", "--pedantic", "--allow-root", deb, check=False)
    tally.check(not [l for l in text.splitlines() if l[:2] in ("E:", "W:", "I:", "P:")], "lintian:\n%s" % text)
    text = run("rpmlint", "-c", os.path.join(ROOT, "packaging/rpm/rpmlint.toml"), one(new, ".rpm"), check=False)
    tally.check("0 errors, 0 warnings" in text, "rpmlint:\n%s" % text[-2000:])
    tally.check("rq-server-dbgsym" in " ".join(os.listdir(new)), "no package of debug symbols")


def reproduced(new, args, tally, work):
    """The same sources, compiled in other folders at another time: the same bytes, debug symbols too."""
    again, source = os.path.join(work, "again"), os.path.join(work, "other/place/of/the/sources")
    made = lambda folder, names: [n for n in names if folder == ROOT and (n.startswith("build") or n in (".git", ".venv"))]
    shutil.copytree(ROOT, source, symlinks=True, ignore=made)
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or run("sh", "-c", "git -C '%s' log -1 --format=%%ct 2>/dev/null || echo 1767225600" % ROOT).strip()
    build(again, os.path.join(work, "again-build"), "--readers-since", args.version, source=source,
          env={"SOURCE_DATE_EPOCH": epoch, "RQ_COMMIT": run("git", "-C", ROOT, "rev-parse", "HEAD", check=False).strip()}) # the copy has no history
    shutil.rmtree(os.path.join(work, "again-build"))
    one, two = digest(new), digest(again)
    tally.check(len(one) == 3 and any("dbgsym" in name for name in one), "packages: %s" % list(one))
    for name in sorted({*one, *two}):
        tally.check(one.get(name) == two.get(name), "not reproducible: %s: %s, %s" % (name, one.get(name), two.get(name)))


def prepare_tree(args, new):
    """The tree with what the package depends on: made once, then taken from the folder of an earlier run."""
    depends = run("dpkg-deb", "-f", one(new, ".deb"), "Depends").replace(" ", "").strip()
    names = sorted({d.split("|")[0].split("(")[0] for d in depends.split(",")} - {"systemd"}) + ["rpm", "init-system-helpers"]
    key = hashlib.sha256(("1 " + " ".join(names)).encode()).hexdigest()[:12]
    tree = os.path.join(args.trees, key)
    os.makedirs(args.trees, exist_ok=True)
    begin = time.monotonic()
    run(os.path.join(HERE, "tree.sh"), tree, ",".join(names), timeout=1200)
    print("   tree: %.0f s" % (time.monotonic() - begin), flush=True)
    return tree


def bake(tree, package, target, tally):
    """The package installed without a running systemd: nothing is started, all is enabled."""
    run("cp", "-a", tree, target)
    shutil.copy(package, os.path.join(target, "tmp/package.deb"))
    text = run("chroot", target, "env", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "dpkg", "-i",
               "/tmp/package.deb", check=False)
    tally.check("Errors were encountered" not in text, "installing in a chroot: %s" % text)
    tally.check(os.path.islink(os.path.join(target, "etc/systemd/system/multi-user.target.wants/rq.target")), "chroot: rq.target is not enabled")
    tally.check(not os.listdir(os.path.join(target, "run/rq")) if os.path.isdir(os.path.join(target, "run/rq")) else True, "chroot: something was started")
    with open(os.path.join(target, "etc/rq/rq.conf"), "a") as f:
        f.write("node-id = n1\nhttp-adv-addr = 127.0.0.1:4001\n")
    return target


def has_commit(commit):
    return subprocess.run(["git", "-C", ROOT, "cat-file", "-e", commit + "^{commit}"], stderr=subprocess.DEVNULL).returncode == 0


def build_old(args, out, work):
    if args.old is None:
        with open(os.path.join(HERE, "version-before")) as f:
            args.old = f.read().strip()
    if not has_commit(args.old):
        print("NOTE: commit %s is not in this clone: upgrades are from this version's programs under number %s" % (args.old, OLD_VERSION), flush=True)
        build(out, args.build, "--package-version", OLD_VERSION, "--readers-since", OLD_VERSION)
        return
    source = os.path.join(work, "old-source")
    run("git", "-C", ROOT, "worktree", "add", "--detach", source, args.old)
    try:
        build(out, os.path.join(work, "old-build"), "--version", OLD_VERSION, "--readers-since", OLD_VERSION, source=source,
              env={"SOURCE_DATE_EPOCH": "1767225600"})
    finally:
        run("git", "-C", ROOT, "worktree", "remove", "--force", source, check=False)


def run_all(args, tally, work):
    new, old, both = (os.path.join(work, n) for n in ("new", "old", "both"))
    wanted = args.only.split(",") if args.only else ["lint", "node", "packages", "cluster"]
    # Of a version that the one before can't read, for the test of a downgrade.
    build(new, args.build, "--readers-since", args.version)
    if "lint" in wanted:
        lint(new, tally)
        reproduced(new, args, tally, work)
    if "packages" in wanted or "cluster" in wanted:
        build_old(args, old, work)
    os.makedirs(both)
    for folder in (old, new):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            os.link(os.path.join(folder, name), os.path.join(both, name))
    tree = prepare_tree(args, new)
    probe = os.path.join(work, "probe")
    run("gcc", "-O1", "-D_GNU_SOURCE", "-Wall", "-Werror", "-o", probe, os.path.join(HERE, "probe.c"))
    import one_node, package_cycles, three_nodes
    if "node" in wanted:
        one_node.test(bake(tree, one(new, ".deb"), os.path.join(work, "baked"), tally), work, probe, tally, args.step)
        shutil.rmtree(os.path.join(work, "baked"))
    if "packages" in wanted:
        package_cycles.test(tree, work, both, tally)
    if "cluster" in wanted:
        three_nodes.test(bake(tree, one(old, ".deb"), os.path.join(work, "baked-old"), tally), work, both, tally)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build-package"), help="build folder of the packages")
    parser.add_argument("--trees", default=os.path.join(ROOT, "build-trees"), help="where Debian trees are kept between runs")
    parser.add_argument("--old", help="commit to build as the version before")
    parser.add_argument("--only", help="of lint,node,packages,cluster")
    parser.add_argument("--step", help="of node: only steps with this in their name")
    args = parser.parse_args()
    exit_on_sigterm()
    tally = Tally()
    reason = forbidden()
    if reason:
        print("SKIPPED: units and packages were NOT tested: %s" % reason)
        return tally.finish(skipped=1)
    with open(os.path.join(ROOT, "CMakeLists.txt")) as f:
        args.version = next(line.split()[1] for line in f if line.startswith("set(RQ_VERSION "))
    work = tempfile.mkdtemp(prefix="rq-units-")
    try:
        run_all(args, tally, work)
    except (Failure, subprocess.TimeoutExpired) as e:
        tally.check(False, str(e))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
