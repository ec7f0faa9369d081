"""Compares what the clients of a cluster saw with what may be seen. Pure: no server, no clock.

A history is a list of Op with times of one monotonic clock. Outcomes:
  acked    the server confirmed it: it happened between begin and end
  failed   the server said that nothing happened, or was never reached: it never happened
  unknown  anything else: it happened at most once, at some time after begin

Registers are checked for linearizability by the search of Wing and Gong ("Testing and verifying
concurrent objects", 1993) with Lowe's memory of states seen ("Testing for linearizability", 2017).
Written values are unique, so writes of unknown outcome need no search of their own: one that was
seen happened before the first to see it ended; one that was never seen may count as not happened,
if swaps that it may have spoiled don't count either.
"""

from collections import Counter, defaultdict

ACKED, FAILED, UNKNOWN = "acked", "failed", "unknown"
# key; write: value. swap: expected, value. read: what was read is `told`.
WRITE, SWAP, READ = "write", "swap", "read"
# append: value is (client, seq). list: `told` is a list of values.
APPEND, LIST = "append", "list"
# transfer: value is (client, seq), expected is (from, to, amount). total: `told` is (count, sum).
TRANSFER, TOTAL = "transfer", "total"
CURRENT = ("linearizable", "strong")     # levels whose answers are never stale
STEPS_MAX = 2000000


class Op:
    __slots__ = ("kind", "key", "value", "expected", "told", "level", "node", "client", "begin",
                 "end", "outcome", "text", "hung")

    def __init__(self, kind, key=None, value=None, expected=None, level="", client=0, node=""):
        self.kind = kind
        self.key = key
        self.value = value
        self.expected = expected
        self.level = level
        self.client = client
        self.node = node
        self.told = None        # a swap: whether it was done; an append: its rowid
        self.begin = self.end = 0.0
        self.outcome = None
        self.text = ""
        self.hung = False

    def __repr__(self):
        what = {WRITE: "write %s" % (self.value,), READ: "read %s" % (self.told,),
                SWAP: "swap %s for %s (%s)" % (self.expected, self.value,
                                               "done" if self.told else "not done")}
        return "%s%s %s of %s at %s client %d, %.4f to %.4f" % (
            self.outcome, " " + self.level if self.level else "",
            what.get(self.kind, "%s %s" % (self.kind, self.value)),
            self.key, self.node, self.client, self.begin, self.end)


def check(history, registers, lists, accounts, transfers, bank):
    """Returns {check name: [problem, ...]}; every check is present, also when it found nothing.

    What the database holds after everything has ended:
    registers: {key: value}; initially each is None
    lists:     {key: [(rowid, value), ...]} in the order of rowid
    accounts:  {number: balance}
    transfers: [value, ...]
    bank:      (number of accounts, sum of balances), as it was from the beginning
    """
    by_key = defaultdict(list)
    for op in history:
        by_key[(op.kind in (WRITE, SWAP, READ), op.key)].append(op)
    found = {"registers": [], "lists": [], "bank": []}
    for (is_register, key), ops in by_key.items():
        if is_register:
            found["registers"] += _check_register(key, ops, registers.get(key))
        elif ops[0].kind in (APPEND, LIST):
            found["lists"] += _check_list(key, ops, lists.get(key, []))
    found["bank"] = _check_bank([op for op in history if op.kind in (TRANSFER, TOTAL)], accounts,
                                transfers, bank)
    return found


# ---------------------------------------------------------------------------- registers

def _check_register(key, ops, final):
    last = max(op.end for op in ops)
    end = Op(READ, key, level="strong", node="the end", client=-1)
    end.outcome, end.told, end.begin, end.end = ACKED, final, last + 1, last + 2
    ops = ops + [end]
    problems = _check_values(key, ops)
    return problems or _search(key, _definite(ops))


def _check_values(key, ops):
    """What was read, at any level, had been asked for, not refused, and not in the future."""
    writes = {op.value: op for op in ops if op.kind in (WRITE, SWAP)}
    problems = []
    for op in ops:
        if op.kind != READ or op.outcome != ACKED or op.told is None:
            continue
        source = writes.get(op.told)
        if source is None:
            problems.append("unasked: register %s: %r saw a value that nobody wrote" % (key, op))
        elif source.outcome == FAILED:
            problems.append("ghost: register %s: %r saw a write that was refused: %r (%s)"
                            % (key, op, source, source.text))
        elif source.kind == SWAP and source.outcome == ACKED and not source.told:
            problems.append("ghost: register %s: %r saw a swap that was not done: %r"
                            % (key, op, source))
        elif source.begin > op.end:
            problems.append("future: register %s: %r saw %r" % (key, op, source))
    return problems


def _definite(ops):
    """Without those that don't count; unknown ones become definite (see above)."""
    seen_until = {}
    for op in ops:
        value = op.told if op.kind == READ else op.expected if op.kind == SWAP else None
        if op.outcome == ACKED and value is not None and (op.kind == READ or op.told):
            seen_until[value] = min(op.end, seen_until.get(value, op.end))
    # An unknown swap that was seen has seen what it replaced: also through several of them.
    changed = True
    while changed:
        changed = False
        for op in ops:
            if op.kind == SWAP and op.outcome == UNKNOWN and op.value in seen_until:
                limit = seen_until[op.value]
                if seen_until.get(op.expected, limit + 1) > limit:
                    seen_until[op.expected] = limit
                    changed = True
    unseen = min((op.begin for op in ops if op.kind != READ and op.outcome == UNKNOWN
                  and op.value not in seen_until), default=float("inf"))
    definite = []
    for op in ops:
        if op.kind == SWAP and op.outcome == ACKED and not op.told and unseen < op.end:
            continue
        if op.kind == READ:
            if op.outcome == ACKED and op.level in CURRENT:
                definite.append((op.begin, op.end, op, True))
        elif op.outcome == ACKED:
            definite.append((op.begin, op.end, op, op.kind == WRITE or bool(op.told)))
        elif op.outcome == UNKNOWN and op.value in seen_until:
            definite.append((op.begin, seen_until[op.value], op, True))
    return definite


class _Event:
    """A call (with its return) or a return, in a list linked both ways."""
    __slots__ = ("op", "bit", "done", "match", "previous", "next")

    def __init__(self, op, bit, done, match):
        self.op, self.bit, self.done, self.match = op, bit, done, match
        self.previous = self.next = None


def _events(definite):
    moments = []
    for bit, (begin, end, op, done) in enumerate(definite):
        back = _Event(op, bit, done, None)
        # At the same moment calls come first: then the two overlap.
        moments.append((begin, 0, bit, _Event(op, bit, done, back)))
        moments.append((max(begin, end), 1, bit, back))
    moments.sort(key=lambda m: m[:3])
    head = _Event(None, -1, False, None)
    previous = head
    for moment in moments:
        previous.next, moment[3].previous = moment[3], previous
        previous = moment[3]
    return head


def _lift(call):
    call.previous.next = call.next
    if call.next is not None:
        call.next.previous = call.previous
    back = call.match
    back.previous.next = back.next
    if back.next is not None:
        back.next.previous = back.previous


def _unlift(call):
    back = call.match
    back.previous.next = back
    if back.next is not None:
        back.next.previous = back
    call.previous.next = call
    if call.next is not None:
        call.next.previous = call


def _apply(event, state):
    """(may happen in this state, the state after it)"""
    op = event.op
    if op.kind == WRITE:
        return True, op.value
    if op.kind == READ:
        return op.told == state, state
    if event.done:
        return op.expected == state, op.value
    return op.expected != state, state


def _search(key, definite):
    head = _events(definite)
    state, done_bits = None, 0
    seen, stack = set(), []
    best, stuck_at, steps = 0, None, 0
    entry = head.next
    while head.next is not None:
        steps += 1
        if steps > STEPS_MAX:
            return ["undecided: register %s: %d operations are too many to order" % (key, len(definite))]
        if entry.match is not None:
            possible, after = _apply(entry, state)
            bits = done_bits | 1 << entry.bit
            if possible and (bits, after) not in seen:
                seen.add((bits, after))
                stack.append((entry, state))
                state, done_bits = after, bits
                _lift(entry)
                entry = head.next
            else:
                entry = entry.next
            continue
        # A return that nothing may follow: something before it was chosen wrongly.
        if len(stack) >= best:
            best, stuck_at = len(stack), (entry.op, state)
        while stack:
            entry, state = stack.pop()
            done_bits &= ~(1 << entry.bit)
            _unlift(entry)
            # What fits and changes nothing: to do it later can't be better.
            if entry.op.kind != READ and entry.done:
                break
        else:
            return ["not linearizable: register %s: after %d of %d operations the value is %s, which "
                    "doesn't allow %r" % (key, best, len(definite), stuck_at[1], stuck_at[0])]
        entry = entry.next
    return []


# ---------------------------------------------------------------------------- lists

def _check_list(key, ops, rows):
    """Elements are only appended, in the order of the log: any answer of any node at any level is
    the beginning of the final list; a current one is as long as it must be, and not longer."""
    final = [value for _, value in rows]
    place = {}
    problems = []
    for n, value in enumerate(final):
        if value in place:
            problems.append("duplicate: list %s: %s is there twice" % (key, value))
        place.setdefault(value, n)
    appends = {op.value: op for op in ops if op.kind == APPEND}
    rowids = {value: rowid for rowid, value in rows}
    for value in final:
        if value not in appends:
            problems.append("unasked: list %s: %s was never sent" % (key, value))
    for op in appends.values():
        if op.outcome == ACKED and op.value not in place:
            problems.append("lost: list %s: %r is absent" % (key, op))
        elif op.outcome == FAILED and op.value in place:
            problems.append("ghost: list %s: %r (%s) is there" % (key, op, op.text))
        elif op.outcome == ACKED and op.told is not None and rowids[op.value] != op.told:
            problems.append("wrong answer: list %s: %r was told rowid %s, has %s"
                            % (key, op, op.told, rowids[op.value]))
    if problems:
        return problems
    return _check_list_order(key, appends.values(), place) + _check_list_reads(key, ops, final, place)


def _check_list_order(key, appends, place):
    """What was acknowledged before another began comes first."""
    there = sorted((op for op in appends if op.value in place), key=lambda op: op.begin)
    ended = sorted((op for op in there if op.outcome == ACKED), key=lambda op: op.end)
    problems, highest, n = [], None, 0
    for op in there:
        while n < len(ended) and ended[n].end < op.begin:
            if highest is None or place[ended[n].value] > place[highest.value]:
                highest = ended[n]
            n += 1
        if highest is not None and place[highest.value] > place[op.value]:
            problems.append("order: list %s: %r comes after %r" % (key, highest, op))
    return problems


def _check_list_reads(key, ops, final, place):
    problems = []
    begun = {op.value: op for op in ops if op.kind == APPEND}
    reads = sorted((op for op in ops if op.kind == LIST and op.outcome == ACKED),
                   key=lambda op: op.begin)
    # What must be there at a time: the highest of what had been acknowledged or read until then.
    known = [(op.end, place[op.value] + 1, op) for op in begun.values() if op.outcome == ACKED]
    known += [(op.end, len(op.told), op) for op in reads if op.level in CURRENT]
    known.sort(key=lambda k: k[:2])
    n, least, source = 0, 0, None
    for op in reads:
        while n < len(known) and known[n][0] < op.begin:
            if known[n][1] > least:
                least, source = known[n][1:]
            n += 1
        if op.told != final[:len(op.told)]:
            problems.append("diverged: list %s: %s answer at %s, %.4f to %.4f, is no beginning of the "
                            "final list: %s" % (key, op.level, op.node, op.begin, op.end,
                                                _difference(op.told, final)))
        elif any(begun[value].begin > op.end for value in op.told):
            problems.append("future: list %s: %s answer at %s" % (key, op.level, op.node))
        elif op.level in CURRENT and len(op.told) < least:
            problems.append("stale: list %s: %s answer at %s, %.4f to %.4f, has %d elements, %d were "
                            "known by %r" % (key, op.level, op.node, op.begin, op.end, len(op.told),
                                             least, source))
        elif op.expected is not None and op.expected not in op.told:
            problems.append("own write missed: list %s: answer at %s with min_index lacks %s"
                            % (key, op.node, op.expected))
    return problems


def _difference(told, final):
    for n, value in enumerate(told):
        if n >= len(final) or final[n] != value:
            return "element %d is %s, not %s" % (n, value, final[n] if n < len(final) else "there")
    return ""


# ---------------------------------------------------------------------------- bank

def _check_bank(ops, accounts, transfers, bank):
    problems = []
    there = Counter(transfers)
    balance = {}
    count, total = bank
    for op in ops:
        if op.kind == TOTAL:
            if op.outcome == ACKED and op.told != bank:
                problems.append("torn: %s answer at %s, %.4f to %.4f: %s accounts with %s, not %s"
                                % (op.level, op.node, op.begin, op.end, *op.told, bank))
            continue
        n = there.pop(op.value, 0)
        if n > 1:
            problems.append("duplicate: %r happened %d times" % (op, n))
        if op.outcome == ACKED and n == 0:
            problems.append("lost: %r is absent" % op)
        elif op.outcome == FAILED and n:
            problems.append("ghost: %r (%s) happened" % (op, op.text))
        for _ in range(n):
            source, target, amount = op.expected
            balance[source] = balance.get(source, 0) - amount
            balance[target] = balance.get(target, 0) + amount
    problems += ["unasked: transfer %s was never sent" % (value,) for value in there]
    if len(accounts) != count or sum(accounts.values()) != total:
        problems.append("torn: %d accounts with %d are there, not %s"
                        % (len(accounts), sum(accounts.values()), bank))
    elif count:
        each = total // count
        for number, money in sorted(accounts.items()):
            if money != each + balance.get(number, 0):
                problems.append("torn: account %s has %d, by its transfers %d"
                                % (number, money, each + balance.get(number, 0)))
    return problems


def compare_dumps(dumps):
    """{node: {table: rows}}: one problem for each table that differs from the first node's."""
    names = sorted(dumps)
    problems = []
    for other in names[1:]:
        for table, rows in dumps[names[0]].items():
            theirs = dumps[other].get(table)
            if theirs == rows:
                continue
            problems.append("diverged: table %s: %s has %d rows, %s has %d; first difference %s" % (
                table, names[0], len(rows), other, len(theirs or ()),
                next(((a, b) for a, b in zip(rows, theirs or ()) if a != b), "in the length")))
    return problems
