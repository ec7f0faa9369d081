/* When is it too little, too slow, too old. Pure; the reasons are with the limits. */
#ifndef RQ_DOCTOR_CORE_JUDGE_H
#define RQ_DOCTOR_CORE_JUDGE_H

#include <stddef.h>
#include <stdint.h>

#include "core/findings.h"

/* Sorts times; the one that permille of 1000 of them don't exceed. count > 0. */
uint64_t judge_percentile(uint64_t *times, size_t count, unsigned permille);

/* 99 of 100 fdatasyncs take at most p99_us: each write waits for one or two, and a
 * leader that waits for -raft-heartbeat-timeout (election_us) loses its leadership. */
finding_state judge_sync(uint64_t p99_us, uint64_t election_us);

/* Free bytes or inodes of all. Little in both senses: a large disk with 4% left has
 * room, a small one with 500 MiB is nearly full. */
finding_state judge_space(uint64_t free_bytes, uint64_t total_bytes);
finding_state judge_inodes(uint64_t free_count, uint64_t total_count);

/* Seconds since 1970. *ret_days: whole days that are left; below 0: expired. */
finding_state judge_certificate(int64_t now, int64_t not_before, int64_t not_after, int64_t *ret_days);

/* Difference of the clocks of two nodes. Above 5 s a node should not lead
 * (hazards 12); half of it is a warning. */
finding_state judge_clock_difference(int64_t difference_us);

/* Descriptors a service may open: connections, and SQLite's files. */
finding_state judge_open_files(uint64_t hard_limit);

#endif
