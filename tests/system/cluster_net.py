"""A network of namespaces on one machine, whose links can be cut one way.

Each node gets a network namespace of its own; a bridge joins them, and the test's own requests
reach them over it. A cut from a to b gives a a false hardware address of b: what a sends is lost
without a word, what b sends still arrives. This needs nothing of the kernel but namespaces,
virtual Ethernet and bridges, where packet filters may be missing.

A PoorNetwork has TAP devices instead, joined by a program of its own (wire.c) that loses and delays
frames: the same everywhere, also where the kernel has no netem.

Everything lives in a network and mount namespace that the test made for itself (enter()), so it
is gone with the test however that ends. Needs root.
"""

import ctypes
import fcntl
import os
import struct
import subprocess
import sys
import tempfile

INSIDE = "RQ_TEST_INSIDE_NAMESPACE"
SUBNET = "10.77.0."
HUB = 254
NOBODY = "02:00:00:00:ff:ff"
HTTP_PORT, RAFT_PORT = 4001, 4002


def _run(*words, text=None):
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError("%s: %s" % (" ".join(words), done.stderr.strip()))


def missing():
    """Why there can be no such network here; None if there can."""
    if os.geteuid() != 0:
        return "needs root"
    script = ("mount -t tmpfs none /run/netns && ip netns add rqprobe && ip link set lo up && "
              "ip link add rqbr type bridge && ip link add rqv type veth peer name eth0 netns rqprobe")
    try:
        os.makedirs("/run/netns", exist_ok=True)
        done = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", script],
                              capture_output=True, text=True, check=False)
    except OSError as e:
        return str(e)
    return done.stderr.strip() or "ip or unshare failed" if done.returncode else None


def inside():
    return INSIDE in os.environ


def enter():
    """Starts this program again in namespaces of its own. Doesn't return."""
    os.makedirs("/run/netns", exist_ok=True)
    sys.stdout.flush()
    os.execvpe("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv],
               {**os.environ, INSIDE: "1"})


def _mac(number):
    return "02:00:00:00:00:%02x" % number


class Network:
    """Members are numbered from 0. Use it after enter()."""

    def __init__(self, size):
        self.size = size
        self._cut = set()       # (from, to)
        _run("mount", "-t", "tmpfs", "none", "/run/netns")
        _run("ip", "link", "set", "lo", "up")
        self._open_hub()
        for i in range(size):
            _run("ip", "netns", "add", self.name(i))
            self._open_device(i)
            _run("ip", "neigh", "replace", self.host(i), "lladdr", _mac(i + 1), "nud", "permanent", "dev", "rqbr")
            lines = ["link set lo up", "link set eth0 up",
                     "addr add %s/24 dev eth0" % self.host(i),
                     "neigh replace %s%d lladdr %s nud permanent dev eth0" % (SUBNET, HUB, _mac(HUB))]
            lines += [self._neighbour(j, _mac(j + 1)) for j in range(size) if j != i]
            _run("ip", "-n", self.name(i), "-batch", "-", text="\n".join(lines))

    def _open_hub(self):
        _run("ip", "-batch", "-", text="\n".join([
            "link add rqbr address %s type bridge" % _mac(HUB), "link set rqbr up",
            "addr add %s%d/24 dev rqbr" % (SUBNET, HUB)]))

    def _open_device(self, i):
        _run("ip", "-batch", "-", text="\n".join([
            "link add rqv%d type veth peer name eth0 address %s netns %s"
            % (i, _mac(i + 1), self.name(i)), "link set rqv%d master rqbr up" % i]))

    @staticmethod
    def name(i):
        return "rqn%d" % i

    @staticmethod
    def host(i):
        return "%s%d" % (SUBNET, i + 1)

    @staticmethod
    def ports():
        return HTTP_PORT, RAFT_PORT

    def prefix(self, i):
        return ["ip", "netns", "exec", self.name(i)]

    def _neighbour(self, i, mac):
        return "neigh replace %s lladdr %s nud permanent dev eth0" % (self.host(i), mac)

    def cut(self, pairs):
        """From now on exactly what is sent along these (from, to) is lost."""
        pairs = set(pairs)
        for i in range(self.size):
            lines = [self._neighbour(j, NOBODY if (i, j) in pairs else _mac(j + 1))
                     for j in range(self.size) if j != i and ((i, j) in pairs) != ((i, j) in self._cut)]
            if lines:
                _run("ip", "-n", self.name(i), "-batch", "-", text="\n".join(lines))
        self._cut = pairs

    def heal(self):
        self.cut(())


TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 2, 0x1000


class PoorNetwork(Network):
    """With links between the nodes that lose and delay; the test's own requests pass as they are."""

    def __init__(self, size):
        self._taps = []
        self._hub = self._open_tap("rqbr", _mac(HUB))
        super().__init__(size)
        fds = [*self._taps, self._hub]
        program = os.path.join(tempfile.mkdtemp(prefix="rqwire-"), "wire")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wire.c")
        _run("cc", "-O2", "-o", program, source)
        self._wire = subprocess.Popen([program, *map(str, fds)], stdin=subprocess.PIPE, pass_fds=fds)
        os.unlink(program)
        os.rmdir(os.path.dirname(program))

    @staticmethod
    def _open_tap(name, mac):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        _run("ip", "link", "set", name, "address", mac)
        return fd

    def _open_hub(self):
        _run("ip", "-batch", "-", text="link set rqbr up\naddr add %s%d/24 dev rqbr" % (SUBNET, HUB))

    def _open_device(self, i):
        """The device belongs to the namespace that it was made in."""
        libc = ctypes.CDLL(None, use_errno=True)
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        its = os.open("/run/netns/" + self.name(i), os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(its, 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                self._taps.append(self._open_tap("eth0", _mac(i + 1)))
            finally:
                libc.setns(own, 0)
        finally:
            os.close(own)
            os.close(its)

    def poor(self, loss=0.0, one_way_ms=0.0, jitter_ms=0.0):
        """From now on, between all nodes, in each direction."""
        for a in range(self.size):
            for b in range(self.size):
                if a != b:
                    self._wire.stdin.write(b"%d %d %d %d %d\n" % (a, b, round(1000 * loss), 1000 * one_way_ms, 1000 * jitter_ms))
        self._wire.stdin.flush()

    def close(self):
        self._wire.stdin.close()
        self._wire.wait()


def poor_links_missing():
    """Why there can be no PoorNetwork here; None if there can."""
    return missing() or (None if os.access("/dev/net/tun", os.R_OK | os.W_OK) else "no /dev/net/tun")


def both_ways(group, others):
    """All pairs between two groups."""
    return {pair for a in group for b in others for pair in ((a, b), (b, a))}
