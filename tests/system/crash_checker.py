"""Compares what clients were told with what the database holds. Pure: no server, no clock.

A history is a list of Op. Outcomes:
  acked    the server confirmed it: must be there exactly once
  failed   the server said that nothing happened, or was never reached: must be absent
  unknown  anything else (connection broke, timeout, "unknown"): there at most once
"""

from collections import Counter, defaultdict

ACKED, FAILED, UNKNOWN = "acked", "failed", "unknown"
SINGLE, GROUP, COUNT = "single", "group", "count"
GROUP_SIZE = 5
SHARED_COUNTER = -1


class Op:
    __slots__ = ("kind", "client", "seq", "outcome", "told", "text", "begin", "end", "hung")

    def __init__(self, kind, client, seq, outcome=None, told=None, text=""):
        self.kind = kind
        self.client = client
        self.seq = seq          # SINGLE, GROUP: unique per client. COUNT: id of the counter
        self.outcome = outcome
        self.told = told        # rowid of an acknowledged insert, value of an acknowledged count
        self.text = text        # the server's words, for reports
        self.begin = self.end = 0.0
        self.hung = False


def check(history, singles, groups, counters):
    """Returns {check name: [problem, ...]}; every check is present, also when it found nothing.

    singles:  rows (rowid, client, seq)
    groups:   rows (rowid, client, seq, part)
    counters: {id: value}
    """
    return {
        "singles": _check_singles(history, singles),
        "order": _check_order(history, singles),
        "groups": _check_groups(history, groups),
        "counters": _check_counters(history, counters),
    }


def _check_singles(history, rows):
    found = Counter((client, seq) for _, client, seq in rows)
    rowid = {(client, seq): rid for rid, client, seq in rows}
    problems = []
    for op in history:
        if op.kind != SINGLE:
            continue
        key = (op.client, op.seq)
        n = found.pop(key, 0)
        if op.outcome == ACKED and n == 0:
            problems.append("lost: acknowledged insert %s is absent" % (key,))
        elif op.outcome == FAILED and n:
            problems.append("ghost: insert %s was refused (%s) but is there" % (key, op.text))
        if n > 1:
            problems.append("duplicate: insert %s (%s) is there %d times" % (key, op.outcome, n))
        if op.outcome == ACKED and n == 1 and op.told is not None and rowid[key] != op.told:
            problems.append("wrong answer: insert %s was told rowid %s, has %s"
                            % (key, op.told, rowid[key]))
    problems += ["unasked: row %s was never sent" % (key,) for key in found]
    return problems


def _check_order(history, rows):
    """A client sends one request after the other: acknowledged inserts keep their order."""
    acked = {(op.client, op.seq) for op in history if op.kind == SINGLE and op.outcome == ACKED}
    last = {}
    problems = []
    for rid, client, seq in sorted(rows):
        if (client, seq) not in acked:
            continue
        if last.get(client, -1) > seq:
            problems.append("order: insert %s comes after %s of the same client"
                            % ((client, seq), last[client]))
        last[client] = max(seq, last.get(client, -1))
    return problems


def _check_groups(history, rows):
    parts = defaultdict(list)
    for _, client, seq, part in rows:
        parts[(client, seq)].append(part)
    whole = list(range(GROUP_SIZE))
    problems = []
    for op in history:
        if op.kind != GROUP:
            continue
        key = (op.client, op.seq)
        there = sorted(parts.pop(key, []))
        if there and set(there) != set(whole):
            problems.append("torn: transaction %s (%s) has only parts %s" % (key, op.outcome, there))
        elif there and there != whole:
            problems.append("duplicate: transaction %s (%s) has parts %s" % (key, op.outcome, there))
        if op.outcome == ACKED and not there:
            problems.append("lost: acknowledged transaction %s is absent" % (key,))
        elif op.outcome == FAILED and there:
            problems.append("ghost: transaction %s was refused (%s) but is there" % (key, op.text))
    problems += ["unasked: transaction %s was never sent" % (key,) for key in parts]
    return problems


def _check_counters(history, counters):
    acked, unknown, told = Counter(), Counter(), defaultdict(list)
    for op in history:
        if op.kind != COUNT:
            continue
        acked[op.seq] += op.outcome == ACKED
        unknown[op.seq] += op.outcome == UNKNOWN
        if op.outcome == ACKED and op.told is not None:
            told[op.seq].append(op.told)
    problems = []
    for cid in sorted(set(acked) | set(counters)):
        low, high = acked[cid], acked[cid] + unknown[cid]
        value = counters.get(cid)
        if value is None:
            problems.append("lost: counter %s is absent" % cid)
            continue
        if value < low:
            problems.append("lost: counter %s is %d, %d were acknowledged" % (cid, value, low))
        elif value > high:
            problems.append("duplicate: counter %s is %d, at most %d can have happened"
                            % (cid, value, high))
        for n, times in Counter(told[cid]).items():
            if times > 1:
                problems.append("counter %s: value %d was answered %d times" % (cid, n, times))
            if not 1 <= n <= value:
                problems.append("counter %s: value %d was answered, it is %d" % (cid, n, value))
    return problems
