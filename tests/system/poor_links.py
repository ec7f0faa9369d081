#!/usr/bin/env python3
"""Clusters whose links lose and delay: writes go on, none fails, nothing is lost, and the leader keeps its
role (mostly, where packets are lost); plain and with TLS. Needs root, network namespaces and /dev/net/tun; skipped, with a word, without.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cluster_net
from cluster_nodes import Cluster, Refused, dump, execute, query, raft_state, wait_for
from rqnode import HttpFailure, NodeError, Tally, exit_on_sigterm

HERE = os.path.dirname(os.path.abspath(__file__))
LINKS = (("good", 0.0, 0.0), ("60 ms there and back", 0.0, 30.0), ("60 ms each way", 0.0, 60.0), ("15 % loss", 0.15, 1.0),
         ("15 % loss, 60 ms there and back", 0.15, 30.0))


def tls_flags(folder, hosts):
    """One certificate for all nodes."""
    with open(os.path.join(folder, "ext"), "w") as f:
        f.write("subjectAltName=%s\n" % ",".join("IP:" + h for h in hosts))
    subprocess.run(["sh", "-e", "-c", """
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=ca -keyout ca-key.pem -out ca.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=node -keyout key.pem -out node.csr
        openssl x509 -req -in node.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 9 -extfile ext -out cert.pem"""],
                   cwd=folder, check=True, capture_output=True)
    path = lambda name: os.path.join(folder, name)
    return ["-node-cert", path("cert.pem"), "-node-key", path("key.pem"), "-node-ca-cert", path("ca.pem"), "-node-verify-client"]


class Load:
    """Two writers at each node."""

    def __init__(self, cluster, name):
        self.quit = threading.Event()
        self.done, self.failed = [], []
        self.threads = [threading.Thread(target=self.run, args=(node, "%s/%d/%s" % (name, n, node.node_id)), daemon=True)
                        for node in cluster for n in range(2)]
        for thread in self.threads:
            thread.start()

    def run(self, node, name):
        client, n = node.client(40.0), 0
        while not self.quit.is_set():
            n += 1
            value, begin = "%s/%d" % (name, n), time.monotonic()
            try:
                execute(node, ["INSERT INTO t(v) VALUES(?)", value], client=client)
                self.done.append((begin, time.monotonic(), value))
            except (HttpFailure, Refused) as e:
                self.failed.append((value, str(e)))
                time.sleep(0.05)
            time.sleep(0.01)
        client.close()

    def stop(self):
        self.quit.set()
        for thread in self.threads:
            thread.join(60)


def terms(cluster):
    return max(int((raft_state(node, 5.0) or {}).get("term", 0)) for node in cluster)


def run(args, network, tally, flags, name):
    cluster = Cluster(args.rqd, args.nodes, args.dir, [*args.flag, *flags], network)
    acked = []
    try:
        network.poor()
        cluster.start()
        cluster.wait_ready(60)
        execute(cluster[0], "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
        for links, loss, one_way_ms in LINKS:
            if args.links not in links:
                continue
            network.poor(loss, one_way_ms, one_way_ms / 10)
            time.sleep(1.0)
            before, load, begin = terms(cluster), Load(cluster, links), time.monotonic()
            time.sleep(args.seconds)
            load.stop()
            took, elections = time.monotonic() - begin, terms(cluster) - before
            times = sorted(e - b for b, e, _ in load.done) or [0.0]
            print("  %-6s %-32s %4.0f writes/s, median %4.0f ms, 99 %% %5.0f ms, max %5.0f ms; %d elections, %d failed %s"
                  % (name, links, len(load.done) / took, 1000 * times[len(times) // 2], 1000 * times[len(times) * 99 // 100],
                     1000 * times[-1], elections, len(load.failed), dict(Counter(w[:60] for _, w in load.failed))), flush=True)
            acked += [v for _, _, v in load.done]
            tally.check(load.done, "%s, %s: no write" % (name, links))
            # Where every seventh packet is lost, three in a row are lost now and then.
            bearable = 1 + took / 10 if loss else 0
            if elections > bearable:
                for node in cluster:
                    with open(node.log_path, errors="replace") as f:
                        told = [line.strip() for line in f if re.search("rq-consensus (notice|warning|error)|Connected", line)]
                    print("\n".join("    %s %s" % (node.node_id, line[:150]) for line in told[-12:]), flush=True)
            tally.check(elections <= bearable, "%s, %s: %d elections" % (name, links, elections))
            tally.check(not load.failed, "%s, %s: %d writes failed: %s" % (name, links, len(load.failed), load.failed[:2]))
        network.poor()
        for node in cluster:
            wait_for("a strong read at " + node.node_id, 20, lambda node=node: query(node, "SELECT 1", "strong"))
        found = [dump(node, ["t"])["t"] for node in cluster]
        tally.check(all(f == found[0] for f in found), "%s: nodes differ" % name)
        lost = set(acked) - {row[2] for row in found[0]}
        tally.check(not lost, "%s: %d acknowledged writes are lost: %s" % (name, len(lost), list(lost)[:3]))
        tally.check(not any(cluster.stop()), "%s: SIGTERM: exit codes" % name)
    except (NodeError, HttpFailure, Refused) as e:
        tally.check(False, "%s: stopped: %s" % (name, e))
        cluster.dump_logs(20)
    cluster.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rqd", default=os.path.join(HERE, "../../build/bin/rqd"))
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6, help="for each kind of link")
    parser.add_argument("--only", choices=("plain", "TLS"))
    parser.add_argument("--links", default="", help="those with this in their names")
    parser.add_argument("--dir", help="parent of the data directories (default: temporary)")
    parser.add_argument("--flag", action="append", default=[], help="passed to the servers")
    args = parser.parse_args()
    if not cluster_net.inside():
        why = cluster_net.poor_links_missing()
        if why is not None:
            print("SKIP poor links: %s" % why)
            print("0 passed, 0 failed, 1 skipped")
            return 0
        cluster_net.enter()
    exit_on_sigterm()
    tally = Tally()
    network = cluster_net.PoorNetwork(args.nodes)
    with tempfile.TemporaryDirectory(prefix="rqtls-", dir=args.dir) as folder:
        if args.only != "TLS":
            run(args, network, tally, [], "plain")
        if args.only != "plain":
            run(args, network, tally, tls_flags(folder, [network.host(i) for i in range(args.nodes)]), "TLS")
    network.close()
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
