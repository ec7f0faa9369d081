#!/usr/bin/env python3
"""Rules of the tree that a compiler doesn't check: who may include whom, who may
call the kernel, names of files, dead files, unit tests that are missing, and names in Python.

docs/style.md gives the reasons. Ends with "N passed, M failed"; a failure names file and line.
"""
import ast
import builtins
import hashlib
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = sorted(p for top in ("common", "proto", "services") for p in (ROOT / top).rglob("*.[ch]"))
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
FORMATS = "packaging/formats"
NOT_ON_DISK = {"peer-frames.v1", "peer-frames.v2"} # what nodes say is told by their feature level
problems = []
checks = 0


def rel(path):
    return path.relative_to(ROOT).as_posix()


def check(ok, text):
    global checks
    checks += 1
    if not ok:
        problems.append(text)


def includes(path):
    text = path.read_text()
    for m in INCLUDE.finditer(text):
        yield text.count("\n", 0, m.start()) + 1, m.group(1), m.group(2)


def include_direction():
    """common <- proto <- services; a service never includes another."""
    services = {p.name for p in (ROOT / "services").iterdir() if p.is_dir()}
    for path in SOURCES:
        top = rel(path).split("/")
        for line, kind, name in includes(path):
            where = f"{rel(path)}:{line}: includes {name}"
            if kind == "<":
                continue
            if top[0] == "common":
                check(not name.endswith(".pb-c.h") and "services" not in name and not (ROOT / "proto" / name).exists(),
                      f"{where}, but common knows neither messages nor services")
            elif top[0] == "proto":
                check((ROOT / "common" / name).exists() and name.startswith("base/") or (ROOT / "proto" / name).exists()
                      or name.endswith(".pb-c.h"), f"{where}, but proto knows common/base only")
            else:
                other = [s for s in services - {top[1]} if name.startswith(f"{s}/") or f"/{s}/" in name]
                check(not other, f"{where}: a service never includes another")


RAFT_MAY = {"stdint.h", "stdbool.h", "stddef.h", "string.h", "assert.h", "base/err.h"}


def raft_is_pure():
    for path in SOURCES:
        if not rel(path).startswith("services/consensus/raft/"):
            continue
        for line, _, name in includes(path):
            own = (path.parent / pathlib.Path(name).name).exists()
            check(name in RAFT_MAY or own, f"{rel(path)}:{line}: the raft core may not include {name}")


CORE_MAY = {"stdint.h", "stdbool.h", "stddef.h", "stdlib.h", "string.h", "strings.h", "stdio.h", "stdarg.h", "limits.h", "math.h", "errno.h",
            "float.h", "inttypes.h", "ctype.h"}
CORE_MAY_OF_COMMON = {"base/assert.h", "base/bytes.h", "base/cleanup.h", "base/checksum.h", "base/edit_distance.h", "base/err.h", "base/keyed_hash.h", "base/list.h", "base/rng.h", "base/table.h",
                      "users/permissions.h", "config/config.h"} # rq_duration_parse()


def core_is_pure():
    """services/*/core decides; files, sockets, clocks, threads and the log are io's."""
    for path in SOURCES:
        if not re.match(r"services/[a-z]+/core/", rel(path)):
            continue
        for line, kind, name in includes(path):
            if kind == "<":
                ok = name in CORE_MAY
            else:
                of_common = (ROOT / "common" / name).exists()
                ok = name in CORE_MAY_OF_COMMON if of_common else not name.startswith("io/")
            check(ok, f"{rel(path)}:{line}: core/ may not include {name}")


def file_names():
    for path in SOURCES:
        check(path.stem not in {"util", "utils", "misc", "helper", "helpers", "common"}, f"{rel(path)}: a name that says nothing")


def no_dead_files():
    """Every header is included by somebody; every source is built by a CMakeLists."""
    used = set()
    for path in list(SOURCES) + sorted((ROOT / "tests").rglob("*.[ch]")):
        used.update(pathlib.Path(name).name for _, _, name in includes(path))
    cmake = "\n".join(p.read_text() for p in ROOT.rglob("CMakeLists.txt") if "build" not in rel(p).split("/")[0])
    for path in SOURCES:
        if path.suffix == ".h":
            check(path.name in used, f"{rel(path)}: included by nobody")
        else:
            check(path.name in cmake or f"{path.parent.name}/*.c" in cmake, f"{rel(path)}: built by nothing")


def core_is_tested():
    """A source in core/ or raft/ has a unit test that includes its header."""
    tested = set()
    for path in (ROOT / "tests").rglob("*.c"):
        tested.update(pathlib.Path(name).stem for _, _, name in includes(path))
        tested.add(path.stem.removeprefix("test_"))
    for path in SOURCES:
        if path.suffix == ".c" and re.match(r"services/[a-z]+/(core|raft)/", rel(path)):
            ok = path.stem in tested or (path.parent.name == "raft" and "raft" in tested)
            check(ok, f"{rel(path)}: no unit test in tests/unit")


def raft_links_nothing():
    """The core may need of the world only what a compiler inserts."""
    allowed = {"memcpy", "memmove", "memset", "memcmp", "__assert_fail", "__stack_chk_fail"}
    archives = list((ROOT / "build").rglob("librq_raft.a"))
    if not (ROOT / "build").exists():
        print("note: nothing is built in build/: what librq_raft.a links was not checked")
        return
    check(archives, "build/ holds no librq_raft.a: what the raft core links can't be checked")
    for archive in archives:
        out = subprocess.run(["nm", "-u", archive], capture_output=True, text=True, check=True).stdout
        names = {line.split()[-1] for line in out.splitlines() if re.match(r"\s+U ", line)}
        defined = subprocess.run(["nm", "--defined-only", archive], capture_output=True, text=True, check=True).stdout
        own = {line.split()[-1] for line in defined.splitlines() if len(line.split()) == 3}
        extra = {re.sub(r"_chk$", "", n).removeprefix("__") if n.endswith("_chk") else n for n in names} - own - allowed
        check(not extra, f"librq_raft.a needs {', '.join(sorted(extra))}")
        data = [line for line in defined.splitlines() if re.search(r" [DdBb] ", line)]
        check(not data, f"librq_raft.a holds writable data: {data}")


def flags_have_an_effect():
    """A flag that is said to be available is read by somebody."""
    catalog = ROOT / "common/config/catalog.c"
    rows = re.findall(r'^ *(?:TEXT|SWITCH|NUMBER|BYTES|DURATION)\("([a-z-]+)",(.*)$', catalog.read_text(), re.M)
    text = "\n".join(path.read_text() for path in SOURCES if path != catalog)
    check(len(rows) > 50, "common/config/catalog.c: its rows look different now, flags can't be checked")
    for name, rest in rows:
        if not re.search(r"\b(LATER|IGNORED|NO_EFFECT)\b", rest):
            check(f'"{name}"' in text, f"common/config/catalog.c: -{name} is available, but nothing reads it")


# Named for what is being built; one that is used may be struck off here.
LOG_RESERVED = set()


def log_fields_are_documented():
    """Every field and MESSAGE_ID is in docs/logging.md, every MESSAGE_ID in the
    catalog of journalctl -x, and the other way round; all are used by somebody."""
    header = ROOT / "common/log/log_fields.h"
    doc = (ROOT / "docs/logging.md").read_text()
    catalog = (ROOT / "systemd/rq.catalog").read_text()
    text = "\n".join(path.read_text() for path in SOURCES if path != header)
    names, reserved = header.read_text().split("/* In reserve")
    defined = re.findall(r'^#define (RQ_(?:FIELD|MSG)_\w+)\s+"([^"]+)"', names, re.M)
    kept = re.findall(r'^#define (RQ_(?:FIELD|MSG)_\w+)\s+"([^"]+)"', reserved, re.M)
    for name, value in defined + kept:
        check(value in doc, f"docs/logging.md: lacks {value}")
        if (name, value) in defined and name not in LOG_RESERVED:
            check(re.search(rf"\b{name}\b", text), f"common/log/log_fields.h: {name} is used by nobody")
    values = [value for _, value in defined + kept]
    check(len(set(values)) == len(values), "common/log/log_fields.h: a name or id is there twice")
    ids = {value.removeprefix("MESSAGE_ID=") for value in values if value.startswith("MESSAGE_ID=")}
    explained = re.findall(r"^-- ([0-9a-f]{32})$", catalog, re.M)
    check(set(explained) == ids and len(explained) == len(ids),
          f"systemd/rq.catalog and log_fields.h differ in {', '.join(sorted(set(explained) ^ ids))}")
    told = set(re.findall(r"MESSAGE_ID=([0-9a-f]{32})", doc))
    check(told == ids, f"docs/logging.md and log_fields.h differ in {', '.join(sorted(told ^ ids))}")
    fields = {value for value in values if value.startswith("RQ_")}
    listed = set(re.findall(r"^\| `(RQ_[A-Z_]+)` \|", doc, re.M))
    check(listed == fields, f"docs/logging.md and log_fields.h differ in {', '.join(sorted(listed ^ fields))}")
    for name in re.findall(r"@(\w+)@", catalog):
        check(name in fields, f"systemd/rq.catalog: @{name}@ is no field")
    for path in SOURCES:
        check(path == header or "MESSAGE_ID=" not in path.read_text().replace('"MESSAGE_ID=", 11', ""),
              f"{rel(path)}: a MESSAGE_ID belongs into log_fields.h")


def handbook_quotes_lines():
    """The lines that docs/operations.md tells to look for are written by somebody, and its
    short MESSAGE_IDs exist."""
    doc = (ROOT / "docs/operations.md").read_text()
    part = doc[doc.index("## 6. When something is wrong"):doc.index("## 7. Reference")]
    ids = re.findall(r"MESSAGE_ID=[0-9a-f]{30}([0-9a-f]{2})", (ROOT / "common/log/log_fields.h").read_text())
    source = re.sub(r'"\s*\n\s*"', "", "\n".join(path.read_text() for path in SOURCES))
    rows = re.findall(r"^\| (.*?) \| (.*?) \|", part, re.M)
    check(len(rows) > 20, "docs/operations.md: its tables look different now, lines can't be checked")
    for first, second in rows:
        if not re.fullmatch(r"[0-9a-f]{2}(, [0-9a-f]{2})*", second):
            continue
        for short in re.findall(r"\b[0-9a-f]{2}\b", second):
            check(short in ids, f"docs/operations.md: there is no MESSAGE_ID …{short}")
        for line in re.findall(r"`([^`]+)`", first):
            # What a place holder stands for, and what an error says, is not in the format.
            pieces = re.split(r"…|\"[^\"]*\"|\b(?:DIR|N|n\d|rq-\w+|SIG)\b|[:/]|\d+", line.replace("\u2019", "'"))
            longest = max((piece.strip(" ()") for piece in pieces), key=len)
            check(len(longest) < 8 or longest in source, f"docs/operations.md: nobody writes \"{longest}\" (of: {line})")


def formats_are_announced():
    """Packages refuse a downgrade by RQ_READERS_SINCE: who changes what is on disk says from which version on it can be read."""
    sums = hashlib.sha256()
    for path in sorted(p for p in (ROOT / "tests/golden").rglob("*") if p.is_file() and p.name not in NOT_ON_DISK):
        sums.update(rel(path).encode() + b"\0" + path.read_bytes())
    digest = sums.hexdigest()[:16]
    lines = [line.split() for line in (ROOT / FORMATS).read_text().splitlines() if line and not line.startswith("#")]
    number = lambda version: [int(n) for n in version.split(".")]
    check(all(number(a[0]) < number(b[0]) for a, b in zip(lines, lines[1:])), f"{FORMATS}: versions must rise")
    last, recorded = lines[-1]
    own = re.search(r"set\(RQ_VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
    since = re.search(r"set\(RQ_READERS_SINCE (\S+)", (ROOT / "packaging/Packages.cmake").read_text()).group(1)
    remedy = f"replace its last line by \"{own} {digest}\"" if last == own else f"add a line \"{own} {digest}\" and set RQ_READERS_SINCE to {own}"
    check(recorded == digest, f"{FORMATS}: the samples of formats on disk (tests/golden) are others than recorded, so versions before {own} "
                              f"may not read what this one writes: {remedy}")
    check(since == last, f"packaging/Packages.cmake: RQ_READERS_SINCE is {since}, but {FORMATS} says that the formats are read since {last}")
    check(number(since) <= number(own), f"packaging/Packages.cmake: RQ_READERS_SINCE {since} is newer than this version, {own}")


def paths_of_one_machine():
    pattern = re.compile(r"(^|[\s\"'(=])/(work|farm|root|home/[a-z]+)/")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, listed):
        path = ROOT / name
        if path.suffix in {".bin", ".png"} or not path.is_file() or name == "tests/lint/lint.py":
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        m = pattern.search(text)
        check(m is None, f"{name}: a path of one machine: {m.group(0) if m else ''}")


def python_names():
    """Each name that a program uses is one that it has, and what it imports it uses: an interpreter tells only when it gets there."""
    for path in sorted(p for folder in ("tests", "packaging") for p in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        nodes = list(ast.walk(tree))
        names = [n for n in nodes if isinstance(n, ast.Name)]
        imports = {n: {(a.asname or a.name).split(".")[0] for a in n.names} for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))}
        known = set(dir(builtins)) | {"__file__", "__doc__"} | set().union(*imports.values())
        known |= {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler))}
        known |= {n.arg for n in nodes if isinstance(n, ast.arg)} | {n.id for n in names if not isinstance(n.ctx, ast.Load)}
        unknown = {n.id for n in names} - known
        check(not unknown, f"{rel(path)}: names that nothing defines: {sorted(unknown)}")
        idle = set().union(*(imports[n] for n in tree.body if n in imports)) - {n.id for n in names}
        check(not idle, f"{rel(path)}: imported and not used: {sorted(idle)}")


def main():
    for rule in (include_direction, raft_is_pure, core_is_pure, file_names, no_dead_files, core_is_tested,
                 raft_links_nothing, flags_have_an_effect, log_fields_are_documented, handbook_quotes_lines, formats_are_announced, paths_of_one_machine,
                 python_names):
        rule()
    for text in problems:
        print(text)
    print(f"{checks - len(problems)} passed, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
