/* A wire between network namespaces: forwards Ethernet frames between TAP devices, and loses and delays
 * them as it is told. cluster_net.py compiles and drives it; where the kernel has no netem it
 * is the only way to a poor link, and everywhere the same.
 *
 * Arguments: descriptors of the devices, in the order of their numbers; a frame to 02:00:00:00:00:NN goes to number
 * NN - 1, to :fe to the last one, a multicast to all. Commands on standard input, one a line:
 *   FROM TO LOSS DELAY JITTER     loss in 1/1000, times in us; order is kept
 * Ends with its standard input. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DEVICES_MAX = 17, FRAME_BYTES_MAX = 2048, QUEUE_FRAMES_MAX = 4096 };

typedef struct frame {
        struct frame *next;
        uint64_t due_us;
        size_t size;
        uint8_t data[];
} frame;

typedef struct way {
        unsigned loss, delay_us, jitter_us;
        frame *first, **end;
        unsigned count;
        uint64_t last_due_us;
} way;

static int device_count, fds[DEVICES_MAX];
static way ways[DEVICES_MAX][DEVICES_MAX];

static uint64_t now_us(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static void send_frame(int to, const uint8_t *data, size_t size) {
        if (write(fds[to], data, size) < 0 && errno != EAGAIN && errno != EIO)
                perror("wire: write");
}

static void forward(int from, int to, const uint8_t *data, size_t size) {
        way *w = &ways[from][to];
        if (w->loss > 0 && (unsigned) (rand() % 1000) < w->loss)
                return;
        if (w->delay_us == 0 && w->jitter_us == 0 && w->first == NULL) {
                send_frame(to, data, size);
                return;
        }
        if (w->count >= QUEUE_FRAMES_MAX)
                return;
        frame *f = malloc(sizeof *f + size);
        if (f == NULL)
                return;
        uint64_t due_us = now_us() + w->delay_us + (w->jitter_us > 0 ? (uint64_t) rand() % w->jitter_us : 0);
        f->due_us = w->last_due_us = due_us > w->last_due_us ? due_us : w->last_due_us;
        f->next = NULL;
        f->size = size;
        memcpy(f->data, data, size);
        *w->end = f;
        w->end = &f->next;
        w->count++;
}

static void receive(int from) {
        uint8_t data[FRAME_BYTES_MAX];
        for (;;) {
                ssize_t size = read(fds[from], data, sizeof data);
                if (size < 14)
                        return;
                if ((data[0] & 1) != 0) {
                        for (int to = 0; to < device_count; to++)
                                if (to != from)
                                        forward(from, to, data, (size_t) size);
                        continue;
                }
                const int to = data[5] == 0xfe ? device_count - 1 : data[5] - 1;
                if (data[0] == 2 && data[4] == 0 && to >= 0 && to < device_count && to != from)
                        forward(from, to, data, (size_t) size);
        }
}

/* What is due; returns when the next one is, 0: none waits. */
static uint64_t deliver(void) {
        uint64_t next_us = 0, at_us = now_us();
        for (int from = 0; from < device_count; from++)
                for (int to = 0; to < device_count; to++) {
                        way *w = &ways[from][to];
                        while (w->first != NULL && w->first->due_us <= at_us) {
                                frame *f = w->first;
                                w->first = f->next;
                                if (w->first == NULL)
                                        w->end = &w->first;
                                w->count--;
                                send_frame(to, f->data, f->size);
                                free(f);
                        }
                        if (w->first != NULL && (next_us == 0 || w->first->due_us < next_us))
                                next_us = w->first->due_us;
                }
        return next_us;
}

static bool obey(void) {
        static char text[65536];
        static size_t size;
        ssize_t got = read(STDIN_FILENO, text + size, sizeof text - size - 1);
        if (got <= 0)
                return false;
        size += (size_t) got;
        text[size] = '\0';
        char *line = text, *end;
        while ((end = strchr(line, '\n')) != NULL) {
                int from, to;
                unsigned loss, delay_us, jitter_us;
                if (sscanf(line, "%d %d %u %u %u", &from, &to, &loss, &delay_us, &jitter_us) == 5 && from >= 0 && to >= 0 &&
                    from < device_count && to < device_count) {
                        ways[from][to].loss = loss;
                        ways[from][to].delay_us = delay_us;
                        ways[from][to].jitter_us = jitter_us;
                }
                line = end + 1;
        }
        size -= (size_t) (line - text);
        memmove(text, line, size);
        return true;
}

int main(int argc, char **argv) {
        struct pollfd polled[DEVICES_MAX + 1] = {{ .fd = STDIN_FILENO, .events = POLLIN }};
        device_count = argc - 1;
        if (device_count < 2 || device_count > DEVICES_MAX)
                return 2;
        for (int i = 0; i < device_count; i++) {
                fds[i] = atoi(argv[i + 1]);
                polled[i + 1] = (struct pollfd) { .fd = fds[i], .events = POLLIN };
                for (int to = 0; to < device_count; to++)
                        ways[i][to].end = &ways[i][to].first;
        }
        for (;;) {
                const uint64_t next_us = deliver(), at_us = now_us();
                const uint64_t wait_us = next_us == 0 ? 3600000000u : next_us > at_us ? next_us - at_us : 0;
                const struct timespec wait = { .tv_sec = (time_t) (wait_us / 1000000), .tv_nsec = (long) (wait_us % 1000000) * 1000 };
                if (ppoll(polled, (nfds_t) device_count + 1, &wait, NULL) < 0 && errno != EINTR)
                        return 1;
                for (int i = 0; i < device_count; i++)
                        if (polled[i + 1].revents != 0)
                                receive(i);
                if (polled[0].revents != 0 && !obey())
                        return 0;
        }
}
