/* Where lines go that don't go to the journal: standard error. A pipe or a terminal that somebody holds and doesn't
 * read would stop whoever has a line to write; so a line waits for room a moment, and if there is none, it
 * and those after it are dropped without waiting, and counted, until there is room again.
 *
 * Standard error itself is never set non-blocking: that is a property of the open file, which others share (other
 * services, a shell). A pipe or terminal is opened once more, by its name in /proc; where that isn't
 * allowed (a pipe of another user), each write asks the kernel not to wait (Linux 6.4), or is made when poll() says that
 * there is room (older: another process may take that room in between, then it waits).
 *
 * Not safe from two threads at once: log.c has a lock. */
#ifndef RQ_LOG_SINK_H
#define RQ_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOG_SINK_PATIENCE_US = 100000 };

typedef enum log_sink_kind {
        LOG_SINK_FILE,   /* a file: a write ends */
        LOG_SINK_OWN,    /* fd is our own, non-blocking */
        LOG_SINK_SOCKET,
        LOG_SINK_SHARED, /* a pipe or terminal that can't be opened once more */
} log_sink_kind;

typedef struct log_sink {
        log_sink_kind kind;
        int fd;
        bool full;         /* nobody reads: no line waits */
        bool cut;          /* the last line went out in part */
        uint64_t lost;     /* lines; who tells of them sets it to 0 */
} log_sink;

/* fd: borrowed, stays as it is. Always works: at worst as LOG_SINK_FILE. */
void log_sink_open(log_sink *sink, int fd);
void log_sink_close(log_sink *sink); /* also of one that was never opened: { .fd = -1 } */

/* A whole line, newline included, of at most PIPE_BUF bytes. False: it is lost for lack of room, and counted.
 * Other errors are nobody's business: true. */
bool log_sink_write(log_sink *sink, const char *line, size_t size);

#endif
