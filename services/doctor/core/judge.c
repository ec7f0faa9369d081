#include "core/judge.h"

#include <stdlib.h>

#define MIB (UINT64_C(1) << 20)

enum { DAY = 86400, EXPIRES_SOON_DAYS = 30, EXPIRES_NOW_DAYS = 7, SYNC_SLOW_US = 25000 };

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
        return (x > y) - (x < y);
}

uint64_t judge_percentile(uint64_t *times, size_t count, unsigned permille) {
        qsort(times, count, sizeof *times, compare);
        size_t rank = (count * permille + 999) / 1000;
        return times[rank > 0 ? rank - 1 : 0];
}

finding_state judge_sync(uint64_t p99_us, uint64_t election_us) {
        if (p99_us >= election_us / 2)
                return FINDING_CRITICAL;
        return p99_us >= SYNC_SLOW_US || p99_us >= election_us / 5 ? FINDING_WARNING : FINDING_OK;
}

finding_state judge_space(uint64_t free_bytes, uint64_t total_bytes) {
        if (free_bytes < 64 * MIB)
                return FINDING_CRITICAL;
        if (free_bytes < 512 * MIB || (free_bytes < 10240 * MIB && free_bytes < total_bytes / 20))
                return FINDING_WARNING;
        return FINDING_OK;
}

finding_state judge_inodes(uint64_t free_count, uint64_t total_count) {
        if (total_count == 0) /* a file system without a fixed number */
                return FINDING_OK;
        return free_count < 100 ? FINDING_CRITICAL : free_count < 10000 && free_count < total_count / 50 ? FINDING_WARNING : FINDING_OK;
}

finding_state judge_certificate(int64_t now, int64_t not_before, int64_t not_after, int64_t *ret_days) {
        int64_t left = not_after - now;
        *ret_days = left >= 0 ? left / DAY : -((-left + DAY - 1) / DAY);
        if (now < not_before || left < 0 || *ret_days < EXPIRES_NOW_DAYS)
                return FINDING_CRITICAL;
        return *ret_days < EXPIRES_SOON_DAYS ? FINDING_WARNING : FINDING_OK;
}

finding_state judge_clock_difference(int64_t difference_us) {
        int64_t size = difference_us < 0 ? -difference_us : difference_us;
        return size > 5000000 ? FINDING_CRITICAL : size > 2500000 ? FINDING_WARNING : FINDING_OK;
}

finding_state judge_open_files(uint64_t hard_limit) {
        return hard_limit < 1024 ? FINDING_CRITICAL : hard_limit < 8192 ? FINDING_WARNING : FINDING_OK;
}
