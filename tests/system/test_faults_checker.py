#!/usr/bin/env python3
"""The checker of faults.py must see each kind of damage. Run: python3 test_faults_checker.py"""

import itertools
import random
import sys
import time
import unittest

import faults_checker as fc
from faults_checker import (ACKED, APPEND, FAILED, LIST, READ, SWAP, TOTAL, TRANSFER, UNKNOWN, WRITE,
                            Op)

BANK = (2, 200)


def op(kind, begin, end, value=None, told=None, outcome=ACKED, expected=None, level="linearizable",
       key=0):
    made = Op(kind, key, value, expected, level)
    made.begin, made.end, made.outcome, made.told = begin, end, outcome, told
    return made


def write(begin, end, value, outcome=ACKED):
    return op(WRITE, begin, end, value, outcome=outcome)


def read(begin, end, told, level="linearizable"):
    return op(READ, begin, end, told=told, level=level)


def swap(begin, end, expected, value, told, outcome=ACKED):
    return op(SWAP, begin, end, value, told, outcome, expected)


def append(begin, end, value, outcome=ACKED, told=None):
    return op(APPEND, begin, end, value, told, outcome)


def seen(begin, end, told, level="linearizable", expected=None):
    return op(LIST, begin, end, told=told, level=level, expected=expected)


def transfer(value, parties, outcome=ACKED):
    return op(TRANSFER, 0, 1, value, outcome=outcome, expected=parties)


class CheckerTest(unittest.TestCase):
    def find(self, ops, register=None, rows=(), accounts=None, transfers=(), bank=BANK):
        found = fc.check(ops, {0: register}, {0: list(enumerate(rows, 1))},
                         {1: 100, 2: 100} if accounts is None else accounts, list(transfers), bank)
        self.assertEqual(set(found), {"registers", "lists", "bank"})
        return found

    def good(self, *args, **more):
        found = self.find(*args, **more)
        self.assertFalse(any(found.values()), found)

    def bad(self, name, word, *args, **more):
        found = self.find(*args, **more)
        for key, problems in found.items():
            if key == name:
                self.assertEqual(len(problems), 1, problems)
                self.assertTrue(problems[0].startswith(word), problems)
            else:
                self.assertEqual(problems, [], key)


class RegisterTest(CheckerTest):
    def test_one_after_the_other(self):
        self.good([write(0, 1, "a"), read(2, 3, "a"), write(4, 5, "b"), read(6, 7, "b")], "b")

    def test_beside_each_other(self):
        self.good([write(0, 9, "a"), write(1, 8, "b"), read(2, 3, "a"), read(4, 5, "b")], "b")
        self.good([write(0, 9, "a"), write(1, 8, "b"), read(2, 3, "b"), read(4, 5, "a")], "a")

    def test_stale_read(self):
        self.bad("registers", "not linearizable",
                 [write(0, 1, "a"), write(2, 3, "b"), read(4, 5, "a")], "b")

    def test_stale_read_of_nothing(self):
        self.bad("registers", "not linearizable", [write(0, 1, "a"), read(2, 3, None)], "a")

    def test_stale_read_at_lower_levels(self):
        for level in ("none", "weak"):
            self.good([write(0, 1, "a"), write(2, 3, "b"), read(4, 5, "a", level)], "b")

    def test_strong_read_counts(self):
        self.bad("registers", "not linearizable",
                 [write(0, 1, "a"), write(2, 3, "b"), read(4, 5, "a", "strong")], "b")

    def test_back_and_forth(self):
        self.bad("registers", "not linearizable",
                 [write(0, 9, "a"), write(1, 8, "b"), read(2, 3, "a"), read(4, 5, "b"),
                  read(6, 7, "a")], "b")

    def test_lost_write(self):
        self.bad("registers", "not linearizable", [write(0, 1, "a"), write(2, 3, "b")], "a")

    def test_unknown_may_happen_late(self):
        self.good([write(0, 1, "a", UNKNOWN), write(2, 3, "b"), read(4, 5, "b"), read(6, 7, "a")], "a")

    def test_unknown_may_never_happen(self):
        self.good([write(0, 1, "a"), write(2, 3, "b", UNKNOWN), read(4, 5, "a")], "a")

    def test_unknown_happens_once(self):
        self.bad("registers", "not linearizable",
                 [write(0, 1, "a", UNKNOWN), read(2, 3, "a"), write(4, 5, "b"), read(6, 7, "a")], "a")

    def test_unknown_was_seen_in_the_end_only(self):
        self.good([write(0, 1, "a"), write(2, 3, "b", UNKNOWN), read(4, 5, "a")], "b")

    def test_ghost(self):
        self.bad("registers", "ghost",
                 [write(0, 1, "a"), write(2, 3, "b", FAILED), read(4, 5, "b", "none")], "a")

    def test_ghost_in_the_end(self):
        self.bad("registers", "ghost", [write(0, 1, "a"), write(2, 3, "b", FAILED)], "b")

    def test_unasked(self):
        self.bad("registers", "unasked", [write(0, 1, "a"), read(2, 3, "z", "none")], "a")

    def test_future(self):
        self.bad("registers", "future", [read(0, 1, "a", "none"), write(2, 3, "a")], "a")

    def test_swap(self):
        self.good([write(0, 1, "a"), swap(2, 3, "a", "b", True), swap(4, 5, "a", "c", False)], "b")

    def test_two_swaps_of_one_value(self):
        self.bad("registers", "not linearizable",
                 [write(0, 1, "a"), swap(2, 5, "a", "b", True), swap(3, 6, "a", "c", True)], "c")

    def test_swap_not_done_without_reason(self):
        self.bad("registers", "not linearizable",
                 [write(0, 1, "a"), swap(2, 3, "a", "b", False)], "a")

    def test_swap_spoiled_by_an_unknown_write(self):
        self.good([write(0, 1, "a"), write(1, 2, "x", UNKNOWN), swap(3, 4, "a", "b", False),
                   write(5, 6, "c")], "c")

    def test_unknown_swaps_in_a_chain(self):
        self.good([write(0, 1, "a"), swap(2, 3, "a", "b", None, UNKNOWN),
                   swap(4, 5, "b", "c", None, UNKNOWN), read(6, 7, "c")], "c")

    def test_unknown_swap_of_a_value_replaced_before(self):
        self.bad("registers", "not linearizable",
                 [write(0, 1, "a"), write(2, 3, "d"), swap(4, 5, "a", "b", None, UNKNOWN),
                  read(6, 7, "b")], "b")

    def test_long_history(self):
        rng, ops, value, now = random.Random(1), [], None, 0.0
        for n in range(3000):
            now += 1
            begin, end = now - rng.uniform(0, 8), now + rng.uniform(0, 8)
            if rng.random() < 0.5:
                value = n
                ops.append(write(begin, end, n, ACKED if rng.random() < 0.9 else UNKNOWN))
            else:
                ops.append(read(begin, end, value))
        before = time.monotonic()
        self.good(ops, value)
        ops.append(read(2000.0, 2000.1, None))
        self.bad("registers", "not linearizable", ops, value)
        self.assertLess(time.monotonic() - before, 20)


def brute_force(ops):
    """All orders of all choices of what happened; for a handful of operations."""
    ops = [o for o in ops if o.outcome != FAILED]
    ends = {o: o.end if o.outcome == ACKED else float("inf") for o in ops}
    unknown = [o for o in ops if o.outcome == UNKNOWN]
    for count in range(len(unknown) + 1):
        for without in itertools.combinations(unknown, count):
            if _some_order([o for o in ops if o not in without], ends, None):
                return True
    return False


def _some_order(left, ends, state):
    if not left:
        return True
    first_end = min(ends[o] for o in left)
    for o in left:
        if o.begin > first_end:
            continue
        fits, after = True, state
        if o.kind == READ:
            fits = o.told == state
        elif o.kind == WRITE:
            after = o.value
        elif o.outcome == UNKNOWN or o.told:
            fits, after = o.expected == state, o.value
        else:
            fits = o.expected != state
        if fits and _some_order([x for x in left if x is not o], ends, after):
            return True
    return False


class SearchTest(CheckerTest):
    def history(self, rng):
        ops, value = [], 0
        for _ in range(rng.randrange(2, 7)):
            begin = rng.randrange(0, 12)
            end = begin + rng.randrange(1, 6)
            kind = rng.choice((WRITE, READ, SWAP))
            told = rng.choice((None, 1, 2, 3)[:value + 1])
            if kind == READ:
                ops.append(read(begin, end, told))
                continue
            value += 1
            outcome = ACKED if rng.random() < 0.7 else UNKNOWN
            if kind == WRITE:
                ops.append(write(begin, end, value, outcome))
            else:
                ops.append(swap(begin, end, told, value, rng.random() < 0.6, outcome))
        return ops

    def test_against_all_orders(self):
        rng = random.Random(7)
        count = {True: 0, False: 0}
        for _ in range(6000):
            ops = self.history(rng)
            final = rng.choice([None] + [o.value for o in ops if o.kind != READ])
            end = read(100, 101, final)
            expected = brute_force(ops + [end])
            found = not self.find(ops, final)["registers"]
            spoiled = any(o.outcome == UNKNOWN for o in ops) and any(
                o.kind == SWAP and o.outcome == ACKED and not o.told for o in ops)
            if not spoiled or expected:         # there it may be content with less, see its head
                self.assertEqual(found, expected, (ops, final))
            count[expected] += 1
        self.assertGreater(min(count.values()), 500, count)


class ListTest(CheckerTest):
    def test_sound(self):
        self.good([append(0, 1, "a"), append(2, 3, "b", UNKNOWN), append(2, 4, "c"),
                   append(5, 6, "d", FAILED), seen(5, 6, ["a", "c"]), seen(0, 9, [], "none"),
                   seen(7, 8, ["a"], "weak"), append(7, 9, "e", UNKNOWN)], rows=["a", "c", "b"])

    def test_lost(self):
        self.bad("lists", "lost", [append(0, 1, "a"), append(2, 3, "b")], rows=["a"])

    def test_duplicate(self):
        for outcome in (ACKED, UNKNOWN):
            self.bad("lists", "duplicate", [append(0, 1, "a", outcome)], rows=["a", "a"])

    def test_ghost(self):
        self.bad("lists", "ghost", [append(0, 1, "a", FAILED)], rows=["a"])

    def test_unasked(self):
        self.bad("lists", "unasked", [append(0, 1, "a")], rows=["a", "z"])

    def test_wrong_rowid(self):
        self.bad("lists", "wrong answer", [append(0, 1, "a", told=7)], rows=["a"])

    def test_order(self):
        self.bad("lists", "order", [append(0, 1, "a"), append(2, 3, "b")], rows=["b", "a"])

    def test_order_of_an_unknown_one(self):
        self.bad("lists", "order", [append(0, 1, "a"), append(2, 3, "b", UNKNOWN)], rows=["b", "a"])
        self.good([append(0, 1, "a", UNKNOWN), append(2, 3, "b")], rows=["b", "a"])

    def test_stale_after_an_append(self):
        for level in ("linearizable", "strong"):
            self.bad("lists", "stale", [append(0, 1, "a"), append(2, 3, "b"),
                                        seen(4, 5, ["a"], level)], rows=["a", "b"])
        for level in ("none", "weak"):
            self.good([append(0, 1, "a"), append(2, 3, "b"), seen(4, 5, ["a"], level)],
                      rows=["a", "b"])

    def test_stale_after_a_read(self):
        self.bad("lists", "stale", [append(0, 9, "a"), seen(1, 2, ["a"]), seen(3, 4, [])], rows=["a"])

    def test_diverged_at_every_level(self):
        for level in ("none", "weak", "linearizable"):
            self.bad("lists", "diverged", [append(0, 9, "a"), append(0, 9, "b"),
                                           seen(10, 11, ["b"], level) if level == "none" else
                                           seen(1, 2, ["b"], level)], rows=["a", "b"])

    def test_read_of_something_that_vanished(self):
        self.bad("lists", "diverged", [append(0, 1, "a"), append(2, 9, "b", UNKNOWN),
                                       seen(4, 5, ["a", "b"], "none")], rows=["a"])

    def test_future(self):
        self.bad("lists", "future", [seen(0, 1, ["a"], "none"), append(2, 3, "a")], rows=["a"])

    def test_own_write_missed(self):
        self.bad("lists", "own write", [append(0, 1, "a"),
                                        seen(2, 3, [], "none", expected="a")], rows=["a"])


class BankTest(CheckerTest):
    def test_sound(self):
        self.good([transfer("t", (1, 2, 30)), transfer("u", (2, 1, 5), UNKNOWN),
                   transfer("v", (1, 2, 1), FAILED), op(TOTAL, 0, 1, told=BANK, level="none")],
                  accounts={1: 70, 2: 130}, transfers=["t"])

    def test_torn_answer(self):
        for level in ("none", "weak", "linearizable", "strong"):
            self.bad("bank", "torn", [op(TOTAL, 0, 1, told=(2, 170), level=level)])

    def test_torn_in_the_end(self):
        self.bad("bank", "torn", [transfer("t", (1, 2, 30))], accounts={1: 70, 2: 100},
                 transfers=["t"])

    def test_balances_of_another_history(self):
        found = self.find([transfer("t", (1, 2, 30))], accounts={1: 60, 2: 140}, transfers=["t"])
        self.assertEqual(len(found["bank"]), 2, found)

    def test_lost(self):
        self.bad("bank", "lost", [transfer("t", (1, 2, 30))])

    def test_ghost(self):
        self.bad("bank", "ghost", [transfer("t", (1, 2, 30), FAILED)], accounts={1: 70, 2: 130},
                 transfers=["t"])

    def test_duplicate(self):
        self.bad("bank", "duplicate", [transfer("t", (1, 2, 30), UNKNOWN)],
                 accounts={1: 40, 2: 160}, transfers=["t", "t"])

    def test_unasked(self):
        self.bad("bank", "unasked", [], transfers=["z"])

    def test_account_missing(self):
        self.bad("bank", "torn", [], accounts={1: 200})


class DumpTest(unittest.TestCase):
    def test_equal(self):
        self.assertEqual(fc.compare_dumps({"n1": {"t": [(1,)]}, "n2": {"t": [(1,)]}}), [])

    def test_different(self):
        for rows in ([(2,)], [], [(1,), (2,)], None):
            found = fc.compare_dumps({"n1": {"t": [(1,)]}, "n2": {} if rows is None else {"t": rows}})
            self.assertEqual(len(found), 1, found)


if __name__ == "__main__":
    result = unittest.main(exit=False).result
    bad = len(result.failures) + len(result.errors)
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    sys.exit(1 if bad or result.testsRun == 0 else 0)
