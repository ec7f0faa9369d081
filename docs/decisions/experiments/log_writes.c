/* What a durable append costs in the file system at hand, by how the file was prepared.
 *
 *   gcc -O2 -std=gnu17 -Wall log_writes.c -o log_writes
 *   ./log_writes DIRECTORY [SECONDS PER CASE]
 *
 * For 300 B, 4 KiB and 64 KiB: (a) append to a growing file, fdatasync; (b) fallocate()d file, fdatasync; (c) file filled
 * with zeros and fsynced before, as a recycled segment would be, fdatasync; (d) like c, one pwrite to an O_DSYNC
 * descriptor; (e) like c, O_DIRECT|O_DSYNC, aligned to 4 KiB: an append of 300 B rewrites the block that it begins in.
 * (c0) is c with the file's pages dropped from the page cache, as in a segment that was written long ago: a write of part
 * of a page must read it first. (b0) is fallocate with FALLOC_FL_KEEP_SIZE, so the size still changes. Latency p50 and p99, CPU of this process. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { SEGMENT = 64 << 20, BLOCK = 4096, MOST = 100000 };

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static double cpu(void) {
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void check(int bad, const char *what) {
	if (bad) {
		perror(what);
		exit(1);
	}
}

static void fill(int fd) {
	static char zeros[1 << 20];
	for (off_t at = 0; at < SEGMENT; at += sizeof zeros)
		check(pwrite(fd, zeros, sizeof zeros, at) != sizeof zeros, "fill");
	check(fsync(fd), "fsync");
}

static void measure(const char *way, const char *path, size_t size, double limit) {
	static double took[MOST];
	static char *buffer;
	int flags = 0, direct = *way == 'e', count = 0;
	if (!buffer)
		buffer = aligned_alloc(BLOCK, (64 << 10) + 2 * BLOCK);
	memset(buffer, 'x', (64 << 10) + 2 * BLOCK);
	unlink(path);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	check(fd < 0, path);
	double prepare = now();
	if (!strcmp(way, "b0"))
		check(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, SEGMENT), "fallocate");
	else if (*way == 'b')
		check(fallocate(fd, 0, 0, SEGMENT), "fallocate");
	else if (*way != 'a')
		fill(fd);
	check(fsync(fd), "fsync");
	prepare = now() - prepare;
	if (!strcmp(way, "c0"))
		check(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), "fadvise");
	if (*way == 'd')
		flags = O_DSYNC;
	if (direct)
		flags = O_DSYNC | O_DIRECT;
	if (flags) {
		close(fd);
		fd = open(path, O_RDWR | flags);
		check(fd < 0, "open");
	}
	off_t at = 0;
	double begin = now(), cpu_begin = cpu();
	while (count < MOST && now() - begin < limit && at + (off_t)size <= SEGMENT) {
		double start = now();
		if (direct) {
			off_t first = at / BLOCK * BLOCK, end = (at + (off_t)size + BLOCK - 1) / BLOCK * BLOCK;
			check(pwrite(fd, buffer, (size_t)(end - first), first) != end - first, "pwrite");
		} else {
			check(pwrite(fd, buffer, size, at) != (ssize_t)size, "pwrite");
			if (!flags)
				check(fdatasync(fd), "fdatasync");
		}
		took[count++] = now() - start;
		at += (off_t)size;
	}
	double used = cpu() - cpu_begin;
	qsort(took, (size_t)count, sizeof *took, compare);
	printf("%-2s %6zu B  %6d appends  p50 %7.0f us  p99 %7.0f us  CPU %6.1f us  (preparing 64 MiB: %.0f ms)\n", way, size, count,
	       took[count / 2] * 1e6, took[count * 99 / 100] * 1e6, used / count * 1e6, prepare * 1e3);
	fflush(stdout);
	close(fd);
	unlink(path);
}

int main(int argc, char **argv) {
	static const char *const ways[] = {"a", "b0", "b", "c", "c0", "d", "e"};
	static const size_t sizes[] = {300, 4096, 65536};
	char path[512];
	if (argc < 2)
		return 2;
	snprintf(path, sizeof path, "%s/log_writes.tmp", argv[1]);
	for (size_t s = 0; s < 3; s++)
		for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
			measure(ways[w], path, sizes[s], argc > 2 ? atof(argv[2]) : 1.5);
}
