#!/usr/bin/env python3
"""Builds the fuzzers with clang and runs each for a while on its corpus.

What a run finds new goes to BUILD/found/TARGET, which the next run begins with; tests/fuzz/corpus holds
the seeds and is never written, but by --merge. Inputs that crash are kept in BUILD/crashes.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGETS = ("json_body", "http", "params", "ipc", "log_recover", "peer_link", "peer_tls", "peer_message", "state_file", "record", "database_header")
# Above it an input is mostly repetition; bodies of requests are the exception.
MAX_LEN = {"database_header": 256, "json_body": 8192, "http": 8192, "log_recover": 16384, "ipc": 8192, "peer_link": 8192, "peer_tls": 8192}


def build(folder):
    if shutil.which("clang") is None:
        sys.exit("clang is needed (packages clang, libclang-rt-dev)")
    subprocess.run(["cmake", "-G", "Ninja", "-S", ROOT, "-B", folder, "-DRQ_TESTS=ON", "-DRQ_FUZZ=ON"],
                   check=True, stdout=subprocess.DEVNULL, env={**os.environ, "CC": "clang"})
    done = subprocess.run(["ninja", "-C", folder, "fuzzers"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stdout[-8000:] + done.stderr)


def command(folder, target, *words):
    return [os.path.join(folder, "fuzz", "fuzz_" + target), "-max_len=%d" % MAX_LEN.get(target, 4096), *words]


def env():
    return {**os.environ, "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}


def fuzz(folder, target, seconds, rss_mb):
    """True if nothing was found."""
    found, crashes = (os.path.join(folder, kind, target) for kind in ("found", "crashes"))
    os.makedirs(found, exist_ok=True)
    os.makedirs(crashes, exist_ok=True)
    log = os.path.join(folder, "fuzz", target + ".log")
    with open(log, "w") as f:
        code = subprocess.run(
            command(folder, target, "-max_total_time=%d" % seconds, "-rss_limit_mb=%d" % rss_mb, "-timeout=10", "-malloc_limit_mb=512",
                    "-print_final_stats=1", "-artifact_prefix=%s/" % crashes, found, os.path.join(HERE, "corpus", target)),
            stdout=f, stderr=f, stdin=subprocess.DEVNULL, env=env(), timeout=seconds + 120).returncode
    with open(log, encoding="utf-8", errors="replace") as f:
        text = f.read()
    executed = re.search(r"number_of_executed_units: *(\d+)", text)
    coverage = re.findall(r"cov: (\d+)", text)
    print("%-4s %-12s %10s runs, %s edges, %d inputs" % ("ok" if code == 0 else "FAIL", target, executed.group(1) if executed else "?",
                                                      coverage[-1] if coverage else "?", len(os.listdir(found))), flush=True)
    if code != 0:
        artifact = re.search(r"Test unit written to (\S+)", text)
        print("     input: %s\n     log: %s" % (artifact.group(1) if artifact else "none", log))
        print("\n".join("     " + line for line in text.splitlines() if "ERROR" in line or "assertion" in line.lower()))
    return code == 0


def merge(folder, target):
    """Adds to the seeds what the last runs found, the least that covers as much."""
    subprocess.run(command(folder, target, "-merge=1", os.path.join(HERE, "corpus", target), os.path.join(folder, "found", target)),
                   check=True, capture_output=True, env=env())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="one or more of: " + " ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=10, help="for each target (default 10)")
    parser.add_argument("--rss-mb", type=int, default=1024, help="memory that a target may use (default 1024)")
    parser.add_argument("--build", default=os.path.join(ROOT, "build-fuzz"), help="build folder (default build-fuzz)")
    parser.add_argument("--no-build", action="store_true", help="run what is there")
    parser.add_argument("--merge", action="store_true", help="add what was found to the seeds instead of running")
    args = parser.parse_args()
    for target in args.targets:
        if target not in TARGETS:
            parser.error("no target %s" % target)
    targets = args.targets or TARGETS
    folder = os.path.abspath(args.build)
    if not args.no_build:
        build(folder)
    if args.merge:
        for target in targets:
            merge(folder, target)
        return 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as one_for_each_core:
        passed = sum(one_for_each_core.map(lambda target: fuzz(folder, target, args.seconds, args.rss_mb), targets))
    print("%d passed, %d failed" % (passed, len(targets) - passed))
    return 0 if passed == len(targets) else 1


if __name__ == "__main__":
    sys.exit(main())
