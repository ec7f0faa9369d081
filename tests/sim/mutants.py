#!/usr/bin/env python3
"""Proves that the checkers of the simulator check: builds it with one seeded bug after the
other (tests/sim/mutants/*.patch) and runs seeds until a checker or an assertion finds it.

Each patch begins with a line that says what it breaks. Prints one table row a mutant; ends with
"N passed, M failed": failed is a mutant that survived, or a patch that doesn't apply any more.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MUTANTS = pathlib.Path(__file__).resolve().parent / "mutants"


def run(command, cwd, **more):
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **more)


def copy_tree(target):
    listed = run(["git", "ls-files", "-co", "--exclude-standard"], ROOT).stdout.split("\n")
    for name in filter(None, listed):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def build(tree):
    done = run(["ninja", "-C", "build", "rq-sim"], tree)
    return done.returncode == 0, done.stdout


def verdict_of(output):
    """Which checker, at which seed."""
    seed = re.search(r"seed (\d+) \((\w+)\) failed after \d+ steps: ([^:]+):", output)
    if seed:
        return f"{seed.group(2)} {seed.group(1)}", seed.group(3)
    crashed = re.search(r"seed (\d+) failed: (.*)", output)
    where = re.search(r"assertion failed: (.*?) at \S*?/([\w.]+):\d+", output) or re.search(r"(\w+\.c):\d+: \w+: Assertion", output)
    return (crashed.group(1) if crashed else "?"), f"assertion in {where.group(where.lastindex)}" if where else "crash"


def hunt(tree, seconds, first_seed):
    """Returns (killed, seed, checker, seconds)."""
    started = time.monotonic()
    try:
        done = run(["build/bin/rq-sim", "--seeds", f"{first_seed}-100000000", "--mode", "all", "--seconds", str(seconds), "--last", "0"], tree,
                   timeout=seconds + 60)
    except subprocess.TimeoutExpired:
        return True, "?", "hangs", time.monotonic() - started
    taken = time.monotonic() - started
    if done.returncode == 0:
        return False, "", "", taken
    seed, checker = verdict_of(done.stdout)
    return True, seed, checker, taken


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=120, help="for each mutant, at most")
    parser.add_argument("--from-seed", type=int, default=1)
    parser.add_argument("names", nargs="*", help="only patches whose names begin so")
    options = parser.parse_args()

    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="rq-mutants-") as name:
        tree = pathlib.Path(name)
        copy_tree(tree)
        configured = run(["cmake", "-G", "Ninja", "-B", "build", "-DRQ_TESTS=ON", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                          "-DCMAKE_C_FLAGS=-Wno-error"], tree)
        good, output = build(tree)
        if configured.returncode != 0 or not good:
            print(configured.stdout, output)
            print("0 passed, 1 failed")
            return 1
        killed, seed, checker, taken = hunt(tree, 20, options.from_seed)
        print(f"| (none) | {'seed ' + seed + ': ' + checker if killed else 'nothing found'} | {taken:.0f} s |", flush=True)
        if killed:
            print("0 passed, 1 failed")
            return 1
        for patch in sorted(MUTANTS.glob("*.patch")):
            if options.names and not any(patch.name.startswith(n) for n in options.names):
                continue
            what = patch.read_text().split("\n", 1)[0]
            applied = run(["patch", "-p1", "--no-backup-if-mismatch", "-i", str(patch)], tree)
            good, output = build(tree) if applied.returncode == 0 else (False, applied.stdout)
            if good:
                killed, seed, checker, taken = hunt(tree, options.seconds, options.from_seed)
                passed, failed = passed + killed, failed + (not killed)
                print(f"| {patch.stem} | {what} | {checker + ', ' + seed if killed else 'SURVIVED'} | {taken:.0f} s |", flush=True)
            else:
                failed += 1
                print(f"| {patch.stem} | {what} | doesn't apply or build | |", flush=True)
                print(output[-1500:])
            if applied.returncode == 0:
                run(["patch", "-p1", "-R", "--no-backup-if-mismatch", "-i", str(patch)], tree)
            else:
                for path in re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.M):
                    shutil.copy2(ROOT / path, tree / path)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
