#!/usr/bin/env python3
"""The checker of crash.py must see each kind of damage. Run: python3 test_crash_checker.py"""

import sys
import unittest

import crash_checker as cc
from crash_checker import ACKED, COUNT, FAILED, GROUP, SINGLE, UNKNOWN, Op


def history():
    return [
        Op(SINGLE, 0, 1, ACKED, told=1), Op(SINGLE, 0, 2, FAILED), Op(SINGLE, 0, 3, UNKNOWN),
        Op(SINGLE, 0, 4, ACKED, told=3), Op(SINGLE, 1, 1, UNKNOWN),
        Op(GROUP, 0, 5, ACKED), Op(GROUP, 1, 2, UNKNOWN), Op(GROUP, 1, 3, FAILED),
        Op(COUNT, 0, 0, ACKED), Op(COUNT, 0, 0, ACKED), Op(COUNT, 0, 0, UNKNOWN),
        Op(COUNT, 0, -1, ACKED, told=1), Op(COUNT, 1, -1, ACKED, told=2),
    ]


def group(client, seq, parts=range(cc.GROUP_SIZE)):
    return [(0, client, seq, p) for p in parts]


SINGLES = [(1, 0, 1), (2, 1, 1), (3, 0, 4)]
COUNTERS = {0: 2, -1: 2}


class CheckerTest(unittest.TestCase):
    def problems(self, singles=SINGLES, groups=None, counters=COUNTERS, ops=None):
        groups = group(0, 5) if groups is None else groups
        found = cc.check(ops or history(), singles, groups, counters)
        self.assertEqual(set(found), {"singles", "order", "groups", "counters"})
        return found

    def assert_only(self, found, name, word):
        for key, problems in found.items():
            if key == name:
                self.assertEqual(len(problems), 1, problems)
                self.assertTrue(word in problems[0], problems)
            else:
                self.assertEqual(problems, [], key)

    def test_sound(self):
        self.assertFalse(any(self.problems().values()))

    def test_unknown_may_be_there(self):
        found = self.problems(SINGLES + [(4, 0, 3)], group(0, 5) + group(1, 2), {0: 3, -1: 2})
        self.assertFalse(any(found.values()), found)

    def test_lost_single(self):
        self.assert_only(self.problems([(2, 1, 1), (3, 0, 4)]), "singles", "lost")

    def test_duplicate_acked(self):
        found = self.problems(SINGLES + [(3, 0, 4)])
        self.assert_only(found, "singles", "duplicate")

    def test_duplicate_unknown(self):
        self.assert_only(self.problems(SINGLES + [(9, 1, 1)]), "singles", "duplicate")

    def test_ghost_single(self):
        self.assert_only(self.problems(SINGLES + [(9, 0, 2)]), "singles", "ghost")

    def test_unasked(self):
        self.assert_only(self.problems(SINGLES + [(9, 7, 7)]), "singles", "unasked")

    def test_wrong_rowid(self):
        self.assert_only(self.problems([(1, 0, 1), (2, 1, 1), (8, 0, 4)]), "singles", "wrong")

    def test_order(self):
        ops = [Op(SINGLE, 0, 1, ACKED), Op(SINGLE, 0, 2, ACKED)]
        found = self.problems([(2, 0, 1), (1, 0, 2)], [], {}, ops)
        self.assert_only(found, "order", "order")

    def test_lost_group(self):
        self.assert_only(self.problems(groups=[]), "groups", "lost")

    def test_torn_acked_group(self):
        self.assert_only(self.problems(groups=group(0, 5, [0, 1, 2])), "groups", "torn")

    def test_torn_unknown_group(self):
        found = self.problems(groups=group(0, 5) + group(1, 2, [4]))
        self.assert_only(found, "groups", "torn")

    def test_duplicate_group(self):
        self.assert_only(self.problems(groups=group(0, 5) * 2), "groups", "duplicate")

    def test_half_duplicate_group(self):
        self.assert_only(self.problems(groups=group(0, 5) + group(0, 5, [2])), "groups",
                         "duplicate")

    def test_ghost_group(self):
        self.assert_only(self.problems(groups=group(0, 5) + group(1, 3)), "groups", "ghost")

    def test_unasked_group(self):
        self.assert_only(self.problems(groups=group(0, 5) + group(5, 5)), "groups", "unasked")

    def test_lost_count(self):
        self.assert_only(self.problems(counters={0: 1, -1: 2}), "counters", "lost")

    def test_duplicate_count(self):
        self.assert_only(self.problems(counters={0: 4, -1: 2}), "counters", "duplicate")

    def test_absent_counter(self):
        self.assert_only(self.problems(counters={-1: 2}), "counters", "absent")

    def test_count_answered_twice(self):
        ops = [Op(COUNT, 0, 0, ACKED, told=1), Op(COUNT, 1, 0, ACKED, told=1)]
        self.assert_only(self.problems([], [], {0: 2}, ops), "counters", "2 times")


if __name__ == "__main__":
    result = unittest.main(exit=False).result
    bad = len(result.failures) + len(result.errors)
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    sys.exit(1 if bad or result.testsRun == 0 else 0)
