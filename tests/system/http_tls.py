#!/usr/bin/env python3
"""HTTPS on a real node: the commands of docs/operations.md make the certificates; who speaks plain
or has no certificate is told; files are replaced while clients stay connected; slow and hostile
handshakes hurt nobody else.
"""

import argparse
import http.client
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rqnode import HttpFailure, Node, NodeError, Tally, exit_on_sigterm, send_signal

HERE = os.path.dirname(os.path.abspath(__file__))
LONG = 30.0


def documented_commands():
    """The openssl commands under "### HTTPS"."""
    with open(os.path.join(HERE, "../../docs/operations.md")) as f:
        section = f.read().split("\n### HTTPS\n")[1].split("\n### ")[0]
    lines = [line[4:] for line in section.split("\n") if line.startswith("    ")]
    return "\n".join(line for line in lines if not line.startswith(("rqd", "curl")))


def make_certificates(folder):
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["sh", "-e", "-c", documented_commands()], cwd=folder, check=True, capture_output=True)
    return lambda name: os.path.join(folder, name)


class Https:
    """A connection, and what it saw of the server's certificate."""

    def __init__(self, node, ca, client=None, **options):
        context = ssl.create_default_context(cafile=ca)
        if client is not None:
            context.load_cert_chain(*client)
        for name, value in options.items():
            setattr(context, name, value)
        self.connection = http.client.HTTPSConnection(node.host, node.http_port, timeout=LONG, context=context)

    def ask(self, method="GET", target="/db/query?q=SELECT%2042", body=None, headers=None):
        self.connection.request(method, target, body, headers or {})
        response = self.connection.getresponse()
        return response.status, response.read(), response

    def serial(self):
        return self.connection.sock.getpeercert()["serialNumber"]

    def close(self):
        self.connection.close()


class Bench:
    def __init__(self, args, tally, name, *flags):
        self.args, self.tally = args, tally
        self.node = Node(args.rqd, flags=())
        self.file = make_certificates(os.path.join(self.node.work_dir, "tls"))
        self.other = make_certificates(os.path.join(self.node.work_dir, "other"))
        self.node.command[-1:-1] = ["-http-cert", self.file("http-cert.pem"), "-http-key", self.file("http-key.pem"),
                                    *(flag.format(tls=self.file("")) for flag in flags)]
        self.ca = self.file("http-ca.pem")
        self.client = None
        self.name = name

    def https(self, **options):
        return Https(self.node, self.ca, options.pop("client", self.client), **options)

    def wait_ready(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                h = self.https()
                status, body, _ = h.ask(target="/readyz")
                h.close()
                if status == 200:
                    return
            except (OSError, http.client.HTTPException) as e:
                body = e
            if time.monotonic() > deadline or self.node.root.poll() is not None:
                raise NodeError("not ready: %r" % body)
            time.sleep(0.05)

    def put(self, *pairs):
        """Each (from, to), as an operator replaces a file that is in use."""
        for source, target in pairs:
            with open(source, "rb") as f, open(target + ".new", "wb") as g:
                g.write(f.read())
            os.replace(target + ".new", target)


def refused(b, client=None, **options):
    """Words of a handshake that fails, or of its first answer (TLS 1.3 tells a client only then)."""
    h = b.https(client=client, **options)
    try:
        status, _, _ = h.ask()
        return "answered %d" % status
    except (ssl.SSLError, ConnectionError, http.client.HTTPException) as e:
        return "refused: %s" % e
    finally:
        h.close()


def serves(b):
    check = b.tally.check
    h = b.https()
    status, body, _ = h.ask()
    check(status == 200 and b"42" in body, "a query: %d %r" % (status, body))
    check(h.connection.sock.version() == "TLSv1.3", "TLS 1.3 is spoken: %s" % h.connection.sock.version())
    rows = 200000
    status, body, _ = h.ask("POST", "/db/query", json.dumps(
        ["WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<%d) SELECT x, 'some text' FROM c" % rows]))
    check(len(json.loads(body)["results"][0]["values"]) == rows, "a long answer is whole")
    text = "x" * 3000000
    status, body, _ = h.ask("POST", "/db/query", json.dumps([["SELECT length(?) AS n", text]]))
    check(b"3000000" in body, "a long body is whole: %d %r" % (status, body[:100]))
    status, body, _ = h.ask(target="/nodes?ver=2")
    address = json.loads(body)["nodes"][0]["api_addr"]
    check(address == "https://" + b.node.address(), "api_addr is %s" % address)
    status, body, _ = h.ask(target="/status")
    tls = json.loads(body)["http"]["tls"]
    check(tls["enabled"] == "true" and tls["cert_file"].endswith("http-cert.pem") and "expires" in tls, "status: %s" % tls)
    h.close()
    for version in ("TLSv1_2",):
        h = b.https(maximum_version=getattr(ssl.TLSVersion, version))
        check(h.ask()[0] == 200, version)
        h.close()
    done = subprocess.run(["openssl", "s_client", "-connect", b.node.address(), "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], input=b"", capture_output=True, timeout=60)
    check(done.returncode != 0 and b"alert" in done.stderr, "TLS 1.1 is refused: %r" % done.stderr[-200:])


def pipelined(b):
    """More than OpenSSL's buffer and ours take at once: what it has read ahead isn't forgotten. One thread
    both ways: an SSL object of Python's is not for two at once."""
    context = ssl.create_default_context(cafile=b.ca)
    count = 3000
    request = b"GET /db/query?level=none&q=SELECT%2042 HTTP/1.1\r\nHost: x\r\nX-Fill: " + b"f" * 60 + b"\r\n\r\n"
    unsent, got, answers = memoryview(request * count), bytearray(), 0
    with context.wrap_socket(socket.create_connection((b.node.host, b.node.http_port), LONG), server_hostname="localhost") as s:
        s.setblocking(False)
        last = time.monotonic()
        while answers < count and time.monotonic() - last < LONG:
            moved, writes = False, [s] if unsent else []
            try:
                sent = s.send(unsent) if unsent else 0
                unsent, moved = unsent[sent:], sent > 0
            except ssl.SSLWantReadError:
                writes = []          # it can't go on before something has come
            except ssl.SSLWantWriteError:
                pass
            try:
                data = s.recv(1 << 18)
                if not data:
                    break
                begin = max(0, len(got) - 5)      # one may have come in two parts
                got += data
                answers, moved = answers + got.count(b"[[42]]", begin), True
            except ssl.SSLWantReadError:
                pass                 # what OpenSSL holds has been taken: select tells of the rest
            except ssl.SSLWantWriteError:
                writes = [s]
            if moved:
                last = time.monotonic()
            else:
                select.select([s], writes, [], 1.0)
    b.tally.check(answers == count and not unsent, "%d of %d pipelined requests were answered, %d bytes were not taken" % (answers, count, len(unsent)))
    b.tally.check(got.count(b"HTTP/1.1 ") == got.count(b"HTTP/1.1 200 OK\r\n") == count, "other answers: %r" % bytes(got[:300]))


def plain_client(b):
    client = b.node.client(LONG)
    response = client.request("POST", "/db/execute", '["CREATE TABLE never(a)"]')
    b.tally.check(response.status == 400 and response.body == b"Client sent an HTTP request to an HTTPS server.\n",
                  "plain HTTP: %d %r" % (response.status, response.body))
    b.tally.check(response.get("X-Rqlite-Version") == "10" and response.get("Connection") == "close", "its headers")
    client.close()
    h = b.https()
    _, body, _ = h.ask("POST", "/db/query", '["SELECT count(*) AS n FROM sqlite_master"]')
    b.tally.check(b"[[0]]" in body, "a plain request was done: %r" % body)
    h.close()


def hostile(b):
    """Connections that never finish a handshake, and bytes that are none."""
    sockets = []
    for n in range(150):
        s = socket.create_connection((b.node.host, b.node.http_port), LONG)
        if n % 3 == 0:
            s.sendall(b"\x16\x03\x01\x02\x00\x01")       # the begin of a hello
        elif n % 3 == 1:
            s.sendall(b"\x16\x03\x01\x00\x05hello" + os.urandom(200))
        sockets.append(s)
    h = b.https()
    b.tally.check(h.ask()[0] == 200, "beside 150 handshakes that hang")
    b.tally.check(b.node.log_says("refused the connection from 127.0.0.1"), "the log says who was refused")
    # The ones that hang are ended; how soon depends on the machine.
    deadline = time.monotonic() + 60
    left = [s for n, s in enumerate(sockets) if n % 3 != 1]
    for s in left:
        s.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            ended = s.recv(100) == b""
        except ConnectionError:
            ended = True
        except socket.timeout:
            ended = False
        if not ended:
            break
    b.tally.check(ended, "a handshake has no time limit")
    b.tally.check(h.ask()[0] == 200, "and a connection that was idle meanwhile is there")
    for s in sockets:
        s.close()
    h.close()


def key_updates(b):
    """A client that changes keys now and then is served, one that does nothing else isn't: OpenSSL would
    take its messages without end, in one turn of the loop."""
    with subprocess.Popen(["openssl", "s_client", "-connect", b.node.address(), "-CAfile", b.ca, "-tls1_3", "-quiet", "-no_ign_eof"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as client:
        def update():
            client.stdin.write(b"k\n")
            time.sleep(0.02)         # a line at a time is a command
        try:
            os.set_blocking(client.stdout.fileno(), False)
            got, deadline = b"", time.monotonic() + LONG
            for _ in range(10):
                update()
            client.stdin.write(b"GET /db/query?level=none&q=SELECT%2042 HTTP/1.1\r\nHost: x\r\n\r\n")
            while b"[[42]]" not in got and time.monotonic() < deadline:
                got += client.stdout.read() or b""
                time.sleep(0.02)
            b.tally.check(b"[[42]]" in got, "after ten changes of keys: %r" % got)
            deadline, sent = time.monotonic() + LONG, 0
            while client.poll() is None and time.monotonic() < deadline:
                update()
                sent += 1
        except BrokenPipeError:      # it ends
            client.wait(LONG)
        ended = client.poll() is not None
        client.kill()
        b.tally.check(ended, "%d changes of keys, and nothing else, and the connection goes on" % sent)


def reload(b):
    check = b.tally.check
    keep = b.https()
    keep.ask()
    before = keep.serial()
    # The key alone doesn't fit: nothing changes until both are there.
    b.put((b.other("http-key.pem"), b.file("http-key.pem")), (b.other("http-cert.pem"), b.file("http-cert.pem")))
    deadline, serial = time.monotonic() + LONG, before
    while serial == before and time.monotonic() < deadline:
        try:
            h = Https(b.node, b.other("http-ca.pem"))
            h.ask()
            serial = h.serial()
            h.close()
        except ssl.SSLError:
            time.sleep(0.1)
    check(serial != before, "the new certificate isn't used")
    check(keep.ask()[0] == 200 and keep.serial() == before, "the connection of the old one was dropped")

    with open(b.file("http-cert.pem"), "w") as f:
        f.write("nonsense")
    send_signal(b.node.root_proc(), signal.SIGHUP)
    check(b.node.log_says("HTTPS: the new files can't be used, those read before stay in use"), "a broken file is told")
    h = Https(b.node, b.other("http-ca.pem"))
    check(h.ask()[0] == 200 and keep.ask()[0] == 200, "a broken file changes nothing")
    h.close()
    keep.close()


def mutual(args, tally):
    b = Bench(args, tally, "mutual", "-http-ca-cert", "{tls}http-ca.pem", "-http-verify-client", "-http-verify-common-name", "app")
    b.client = (b.file("app-cert.pem"), b.file("app-key.pem"))
    b.node.start()
    try:
        b.wait_ready()
        h = b.https()
        tally.check(h.ask()[0] == 200, "a client with the right certificate")
        tally.check(json.loads(h.ask(target="/status")[1])["http"]["tls"]["client_auth"] == "RequireAndVerifyClientCert", "status")
        h.close()
        tally.check(refused(b, client=None).startswith("refused"), "a client without certificate")
        tally.check(refused(b, client=(b.other("app-cert.pem"), b.other("app-key.pem"))).startswith("refused"), "one of another authority")
        tally.check(refused(b, client=(b.file("http-cert.pem"), b.file("http-key.pem"))).startswith("refused"), "one with another name")
        for text in ("it showed no certificate", "isn't trusted", "hasn't the common name"):
            words = text.replace("isn't trusted", "not trusted")
            tally.check(b.node.log_says(words), "the log doesn't say %r" % words)
    finally:
        tally.check(b.node.stop() == 0, "SIGTERM: exit code isn't 0, or processes remain")
        if tally.failed:
            b.node.dump_log(15)
        b.node.remove()


def refused_flags(b):
    f = b.file
    for flags, text in (
            (["-http-cert", f("http-cert.pem")], "either both -http-cert and -http-key must be set, or neither"),
            (["-http-ca-cert", f("http-ca.pem")], "-http-ca-cert requires -http-cert and -http-key"),
            (["-http-verify-client"], "-http-verify-client requires -http-cert and -http-key"),
            (["-http-cert", f("http-cert.pem"), "-http-key", f("http-ca-key.pem")], "-http-key: %s: doesn't belong to the certificate" % f("http-ca-key.pem")),
            (["-http-cert", f("none.pem"), "-http-key", f("http-key.pem")], "-http-cert: %s" % f("none.pem"))):
        run = subprocess.run([b.args.rqd, "--check-config", *flags, os.path.join(b.node.work_dir, "x")], capture_output=True, text=True, timeout=120)
        b.tally.check(run.returncode == 78 and text in run.stdout + run.stderr, "%s: %d %r" % (flags, run.returncode, run.stderr[-300:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rqd", default=os.path.join(HERE, "../../build/bin/rqd"))
    args = parser.parse_args()
    exit_on_sigterm()
    tally = Tally()
    b = Bench(args, tally, "one-way")
    try:
        b.node.start()
        b.wait_ready()
        for group in (serves, pipelined, plain_client, hostile, key_updates, refused_flags, reload):
            before = tally.failed
            try:
                group(b)
            except (OSError, ValueError, KeyError, HttpFailure, http.client.HTTPException) as e:
                tally.check(False, "stopped: %r" % e)
            if tally.failed > before:
                print("     in %s" % group.__name__)
        tally.check(b.node.stop() == 0, "SIGTERM: exit code isn't 0, or processes remain")
        if tally.failed:
            b.node.dump_log(15)
        b.node.remove()
        mutual(args, tally)
    except (NodeError, OSError, http.client.HTTPException) as e:
        tally.check(False, "stopped: %r" % e)
        b.node.dump_log(15)
    b.node.remove()
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
