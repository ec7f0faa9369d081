#include <stddef.h>

#include "log/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"

static bool may_wait_for_a_reader(const struct stat *st, int fd) {
        return S_ISFIFO(st->st_mode) || (S_ISCHR(st->st_mode) && isatty(fd) == 1);
}

void log_sink_open(log_sink *sink, int fd) {
        char path[48];
        struct stat st;
        *sink = (log_sink) { .kind = LOG_SINK_FILE, .fd = fd };
        if (fstat(fd, &st) < 0)
                return;
        if (S_ISSOCK(st.st_mode))
                sink->kind = LOG_SINK_SOCKET;
        if (!may_wait_for_a_reader(&st, fd))
                return;
        (void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        *sink = own >= 0 ? (log_sink) { .kind = LOG_SINK_OWN, .fd = own } : (log_sink) { .kind = LOG_SINK_SHARED, .fd = fd };
}

void log_sink_close(log_sink *sink) {
        if (sink->kind == LOG_SINK_OWN)
                (void) close(sink->fd);
        *sink = (log_sink) { .fd = -1 };
}

static bool has_room(int fd, int timeout_ms) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        return poll(&p, 1, timeout_ms) != 0; /* an error is the write's to find */
}

static ssize_t write_shared(int fd, const char *text, size_t size) {
        struct iovec vector = { .iov_base = (void *) (uintptr_t) text, .iov_len = size };
        ssize_t written = pwritev2(fd, &vector, 1, -1, RWF_NOWAIT);
        if (written >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
                return written;
        if (has_room(fd, 0))
                return write(fd, text, size);
        errno = EAGAIN;
        return -1;
}

/* Without waiting. */
static ssize_t write_some(const log_sink *sink, const char *text, size_t size) {
        switch (sink->kind) {
        case LOG_SINK_SOCKET: return send(sink->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        case LOG_SINK_SHARED: return write_shared(sink->fd, text, size);
        case LOG_SINK_FILE:
        case LOG_SINK_OWN: break;
        }
        return write(sink->fd, text, size);
}

/* All of it by until_us, as far as there is room. Returns what was written; errors other than a lack of room
 * count as all: nobody can do anything about them. */
static size_t write_until(const log_sink *sink, const char *text, size_t size, uint64_t until_us) {
        size_t done = 0;
        while (done < size) {
                ssize_t written = write_some(sink, text + done, size - done);
                if (written > 0) {
                        done += (size_t) written;
                        continue;
                }
                if (written < 0 && errno == EINTR)
                        continue;
                if (written == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
                        return size;
                const uint64_t now_us = rq_clock_mono_us();
                if (now_us >= until_us)
                        break;
                (void) has_room(sink->fd, (int) ((until_us - now_us + 999) / 1000));
        }
        return done;
}

bool log_sink_write(log_sink *sink, const char *line, size_t size) {
        const uint64_t until_us = sink->full ? 0 : rq_clock_mono_us() + LOG_SINK_PATIENCE_US;
        size_t done = 0;
        if (!sink->cut || write_until(sink, "\n", 1, until_us) == 1) {
                done = write_until(sink, line, size, until_us);
                sink->cut = done > 0 && done < size;
        }
        sink->full = done < size;
        sink->lost += done < size;
        return done == size;
}
