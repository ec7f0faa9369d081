#!/usr/bin/env python3
"""Man pages and completions: that they say what the programs do, that the tools take them, and
that completing a line works in bash and zsh."""

import argparse
import glob
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rqnode import Tally

PROGRAMS = ("rqd", "rq-consensus", "rq-store", "rq-gateway")
PAGES = {"rqd.8", "rq-consensus.8", "rq-store.8", "rq-gateway.8", "rqd-doctor.8", "rq.conf.5", "rq-auth.5"}


def catalog(build):
    """flag -> (default, programs that use it)"""
    out = subprocess.run([os.path.join(build, "man", "rq-flags"), "list"], capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in out.splitlines()]
    return {name: (default, users.split()) for name, default, users in rows}


def check_flags(t, build, flags):
    for program in PROGRAMS:
        with open(os.path.join(build, "man", program + ".8")) as f:
            page = f.read()
        items = dict(re.findall(r"^\.It Fl -?([a-z][a-z-]*)(?: Ar \S+)?\n((?:[^.\n].*\n)*)", page, re.M))
        wanted = {name for name, (_, users) in flags.items() if program in users}
        t.check(set(items) == wanted, "%s.8 and the catalog differ in %s" % (program, sorted(set(items) ^ wanted)))
        for name in wanted & set(items):
            default = flags[name][0]
            t.check(("Default: %s.\n" % default in items[name]) if default else "Default:" not in items[name],
                    "%s.8: default of -%s" % (program, name))
        shown = subprocess.run([os.path.join(build, "bin", program), "--help"], capture_output=True, text=True).stdout
        helped = set(re.findall(r"^  -([a-z][a-z-]*)", shown, re.M))
        t.check(helped == wanted, "%s --help and the catalog differ in %s" % (program, sorted(helped ^ wanted)))


def check_form(t, build):
    pages = {os.path.basename(path): path for path in glob.glob(os.path.join(build, "man", "*.[1-8]"))}
    t.check(PAGES <= set(pages), "a page for each program and file format: lacks %s" % sorted(PAGES - set(pages)))
    for name, path in pages.items():
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True)
        t.check(done.returncode == 0, "mandoc takes %s: %s" % (name, done.stdout))
        if shutil.which("groff"):
            done = subprocess.run(["groff", "-mdoc", "-ww", "-z", "-Tutf8", path], capture_output=True, text=True)
            t.check(done.returncode == 0 and not done.stderr, "groff takes %s: %s" % (name, done.stderr))
        with open(path) as f:
            text = f.read()
        t.check("@FLAGS@" not in text, "%s is filled" % name)
        for title, section in re.findall(r"^\.Xr (rq\S*) (\d)", text, re.M):
            t.check("%s.%s" % (title, section) in pages, "%s: %s(%s) is a page" % (name, title, section))
        t.check(os.path.getsize(path + ".gz") > 0, "%s is compressed" % name)


# ------------------------------------------------------------------ completion

def bash(build, words, cwd):
    """What Tab offers behind these words, as bash has split them."""
    script = ("source %s\nCOMP_WORDS=(%s) COMP_CWORD=%d\n_rq rqd\nprintf '%%s\\n' \"${COMPREPLY[@]}\"\n" %
              (os.path.join(build, "completion", "rqd.bash"), " ".join("'%s'" % w for w in words), len(words) - 1))
    script = script.replace("_rq rqd\n", "_rq %s\n" % words[0])
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, cwd=cwd)
    return set(done.stdout.split()), done.stderr


def check_bash(t, build, folder):
    os.makedirs(os.path.join(folder, "data"))
    with open(os.path.join(folder, "rq.conf"), "w"):
        pass
    cases = [
        (["rqd", "-http-a"], {"-http-addr", "-http-adv-addr", "-http-allow-origin"}),
        (["rqd", "--http-ad"], {"--http-addr", "--http-adv-addr"}),
        (["rqd", "--check"], {"--check-config"}),
        (["rqd", "-log-format", ""], {"plain", "json"}),
        (["rqd", "-log-format", "=", "j"], {"json"}),
        (["rqd", "-log-format", "="], {"plain", "json"}),
        (["rqd", "-log-level", "w"], {"warning"}),
        (["rqd", "-config", ""], {"rq.conf", "data"}),
        (["rqd", "-run-dir", ""], {"data"}),
        (["rqd", "-fk", "d"], {"data"}),                # a boolean doesn't take the next word
        (["rqd", "-http-addr", ""], set()),             # nothing to offer
        (["rqd", ""], {"data", "doctor", "help", "recover", "version"}),
        (["rq-store", ""], {"data"}),
        (["rq-store", "-http"], set()),                 # not one of its flags
        (["rq-gateway", "-http-id"], {"-http-idle-timeout"}),
        (["rqd", "-auto-vac"], set()),                  # not available yet: not offered
        (["rqd", "doctor", "--js"], {"--json"}),
    ]
    for words, wanted in cases:
        got, errors = bash(build, words, folder)
        t.check(got == wanted and not errors, "bash: %s offers %s, not %s %s" % (" ".join(words), sorted(got), sorted(wanted), errors))


def check_zsh(t, build, folder):
    """In a real zsh on a terminal: Tab writes what is sure."""
    done = subprocess.run(["zsh", "-n", os.path.join(build, "completion", "_rqd")], capture_output=True, text=True)
    t.check(done.returncode == 0, "zsh takes _rqd: %s" % done.stderr)
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ.update(TERM="dumb", PS1="> ", ZDOTDIR=folder)
        os.execvp("zsh", ["zsh", "-f", "-i"])
    seen = b""

    def wait_for(text, seconds=20):
        nonlocal seen
        deadline = time.monotonic() + seconds
        while text not in seen and time.monotonic() < deadline:
            if select.select([fd], [], [], 0.1)[0]:
                try:
                    seen += os.read(fd, 65536)
                except OSError:
                    break
        found = text in seen
        seen = b""
        return found

    try:
        os.write(fd, b"fpath=(%s $fpath); autoload -Uz compinit; compinit -u -D; rqd() { print -r -- GOT:$*:END }; echo rea''dy\n" %
                 os.path.join(build, "completion").encode())
        if not t.check(wait_for(b"ready"), "zsh starts"):
            return
        for line, wanted in ((b"rqd -log-form\t\t\n", b"GOT:-log-format"), (b"rqd -log-level=war\t\n", b"GOT:-log-level=warning"),
                             (b"rqd --check\t\n", b"GOT:--check-config"), (b"rqd doc\t --js\t\n", b"GOT:doctor --json")):
            os.write(fd, line)
            t.check(wait_for(wanted), "zsh: %r becomes %r" % (line, wanted))
    finally:
        os.write(fd, b"\x03\nexit\n")
        os.close(fd)
        os.waitpid(pid, 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, help="build directory")
    build = os.path.abspath(parser.parse_args().build)
    t = Tally()
    check_flags(t, build, catalog(build))
    check_form(t, build)
    with tempfile.TemporaryDirectory(prefix="rqtest-") as parent:
        check_bash(t, build, os.path.join(parent, "bash"))
        os.makedirs(os.path.join(parent, "zsh"))
        check_zsh(t, build, os.path.join(parent, "zsh"))
    return t.finish()


if __name__ == "__main__":
    sys.exit(main())
