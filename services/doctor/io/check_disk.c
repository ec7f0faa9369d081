#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "core/judge.h"
#include "io/checks.h"

enum {
        SYNCS_MAX   = 300,
        WRITE_BYTES = 4096, /* a small batch of the log */
};

/* Not all are in linux/magic.h. */
static const struct { unsigned long magic; const char *name; finding_state state; const char *why; } kinds[] = {
        { EXT4_SUPER_MAGIC, "ext4", FINDING_OK, "" },
        { XFS_SUPER_MAGIC, "xfs", FINDING_OK, "" },
        { BTRFS_SUPER_MAGIC, "btrfs", FINDING_OK, "" },
        { 0x2fc12fc1, "zfs", FINDING_OK, "" },
        { F2FS_SUPER_MAGIC, "f2fs", FINDING_OK, "" },
        { TMPFS_MAGIC, "tmpfs", FINDING_WARNING, "it is memory: the data is gone when the machine restarts" },
        { RAMFS_MAGIC, "ramfs", FINDING_WARNING, "it is memory: the data is gone when the machine restarts" },
        { OVERLAYFS_SUPER_MAGIC, "overlay", FINDING_WARNING, "it is a container's layer: the data goes with the container; use a volume" },
        { NFS_SUPER_MAGIC, "nfs", FINDING_CRITICAL, "locks and fsync over a network don't keep SQLite's promises" },
        { SMB_SUPER_MAGIC, "smb", FINDING_CRITICAL, "locks and fsync over a network don't keep SQLite's promises" },
        { 0xff534d42, "cifs", FINDING_CRITICAL, "locks and fsync over a network don't keep SQLite's promises" },
        { 0xfe534d42, "smb2", FINDING_CRITICAL, "locks and fsync over a network don't keep SQLite's promises" },
        { 0x00c36400, "ceph", FINDING_CRITICAL, "locks and fsync over a network don't keep SQLite's promises" },
        { V9FS_MAGIC, "9p", FINDING_CRITICAL, "locks and fsync over it don't keep SQLite's promises" },
        { FUSE_SUPER_MAGIC, "fuse", FINDING_WARNING, "whether its fsync is one depends on the program behind it" },
};

/* The folder, or what is there of its path. */
static void existing_part(const char *path, char *out, size_t size) {
        struct statfs fs;
        (void) snprintf(out, size, "%s", path);
        while (statfs(out, &fs) < 0 && errno == ENOENT) {
                char *slash = strrchr(out, '/');
                slash[slash == out ? 1 : 0] = '\0';
        }
}

static void check_kind(findings *f, const char *path) {
        struct statfs fs;
        if (statfs(path, &fs) < 0) {
                (void) findings_add(f, "disk.type", FINDING_UNKNOWN, "%s: %s", path, strerror(errno));
                return;
        }
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
                if (((unsigned long) fs.f_type & 0xffffffff) == kinds[i].magic) {
                        finding *found = findings_add(f, "disk.type", kinds[i].state, "%s is on %s%s%s", path, kinds[i].name,
                                                      kinds[i].why[0] != '\0' ? ": " : "", kinds[i].why);
                        if (kinds[i].state != FINDING_OK)
                                finding_remedy(found, "put the data directory on a local disk (ext4, xfs, btrfs or zfs)");
                        return;
                }
        (void) findings_add(f, "disk.type", FINDING_OK, "%s is on a file system of type 0x%lx, which isn't known here", path,
                            (unsigned long) fs.f_type & 0xffffffff);
}

static void check_space(findings *f, const char *path) {
        struct statvfs fs;
        if (statvfs(path, &fs) < 0)
                return; /* as above */
        uint64_t free_bytes = (uint64_t) fs.f_bavail * fs.f_frsize, total_bytes = (uint64_t) fs.f_blocks * fs.f_frsize;
        finding_state state = judge_space(free_bytes, total_bytes);
        finding *found = findings_add(f, "disk.space", state, "%" PRIu64 " of %" PRIu64 " MiB are free", free_bytes >> 20, total_bytes >> 20);
        finding_value(found, "free_bytes", (int64_t) free_bytes);
        finding_value(found, "total_bytes", (int64_t) total_bytes);
        if (state != FINDING_OK)
                finding_remedy(found, "make space: a full disk refuses writes");
        state = judge_inodes(fs.f_favail, fs.f_files);
        found = findings_add(f, "disk.inodes", state, "%llu of %llu inodes are free", (unsigned long long) fs.f_favail, (unsigned long long) fs.f_files);
        if (state != FINDING_OK)
                finding_remedy(found, "remove small files: without inodes no file can be made");
        if ((fs.f_flag & ST_RDONLY) != 0)
                finding_remedy(findings_add(f, "disk.type", FINDING_CRITICAL, "%s is mounted read-only", path),
                               "look for I/O errors in the kernel's messages (journalctl -k), mount it writable");
}

/* As the log does it: a write into room that the file has already, then
 * fdatasync. Returns how many times were taken. */
static size_t measure(int fd, uint64_t *times, int *ret_errno) {
        static const char block[WRITE_BYTES];
        uint64_t until_us = rq_clock_mono_us() + DISK_SECONDS * UINT64_C(1000000);
        size_t count = 0;
        for (off_t at = 0; at < SYNCS_MAX * WRITE_BYTES; at += WRITE_BYTES)
                if (pwrite(fd, block, sizeof block, at) != (ssize_t) sizeof block) {
                        *ret_errno = errno;
                        return 0;
                }
        if (fdatasync(fd) < 0) {
                *ret_errno = errno;
                return 0;
        }
        while (count < SYNCS_MAX && (count == 0 || rq_clock_mono_us() < until_us)) {
                uint64_t begun_us = rq_clock_mono_us();
                if (pwrite(fd, block, sizeof block, (off_t) count * WRITE_BYTES) != (ssize_t) sizeof block || fdatasync(fd) < 0) {
                        *ret_errno = errno;
                        return 0;
                }
                times[count++] = rq_clock_mono_us() - begun_us;
        }
        return count;
}

static void check_sync(findings *f, const rq_config *config, const char *path) {
        static const char check[] = "disk.sync";
        uint64_t times[SYNCS_MAX];
        int error = 0;
        RQ_CLEANUP(rq_closep) int fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); /* has no name: nothing can be left behind */
        if (fd < 0) {
                finding *found = findings_add(f, check, errno == EROFS ? FINDING_CRITICAL : FINDING_UNKNOWN, "can't measure in %s: %s", path, strerror(errno));
                if (errno == EACCES)
                        finding_remedy(found, "run rqd doctor as root or as the user of the services");
                return;
        }
        size_t count = measure(fd, times, &error);
        if (count == 0) {
                (void) findings_add(f, check, FINDING_CRITICAL, "writing into %s failed: %s", path, strerror(error));
                return;
        }
        uint64_t p50 = judge_percentile(times, count, 500), p99 = judge_percentile(times, count, 990), max = times[count - 1];
        finding_state state = judge_sync(p99, rq_config_raft_times(config).election_us);
        finding *found = findings_add(f, check, state, "fdatasync of 4 KiB: half of them take up to %.2f ms, 99%% up to %.2f ms, the longest %.2f ms (%zu)",
                                      (double) p50 / 1000, (double) p99 / 1000, (double) max / 1000, count);
        finding_value(found, "p50_us", (int64_t) p50);
        finding_value(found, "p99_us", (int64_t) p99);
        finding_value(found, "max_us", (int64_t) max);
        finding_value(found, "count", (int64_t) count);
        if (state != FINDING_OK)
                finding_remedy(found, "every write waits for one: take a faster disk, or one that nothing else keeps busy (iostat -x 1); "
                               "else raise -raft-heartbeat-timeout on all nodes");
}

void check_disk(findings *f, const rq_config *config, bool quick) {
        char path[PATH_MAX], log_path[PATH_MAX];
        existing_part(rq_config_data_dir(config), path, sizeof path);
        check_kind(f, path);
        check_space(f, path);
        /* The log may be on a disk of its own. */
        (void) snprintf(log_path, sizeof log_path, "%s/consensus", rq_config_data_dir(config));
        if (!quick)
                check_sync(f, config, access(log_path, F_OK) == 0 ? log_path : path);
}
