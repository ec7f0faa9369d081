/* ZeroMQ over ipc:// against a unix stream socket with length-prefixed frames, both on a libevent loop.
 *
 *   gcc -O2 -std=gnu17 -Wall ipc_transport.c -o ipc_transport -levent_core -lzmq
 *   ./ipc_transport pair|dealer|unix INFLIGHT [SECONDS]     INFLIGHT 1 is ping-pong, 0 is idle
 * With -DNO_ZMQ and without -lzmq: only unix, to see the memory of a process that does not link ZeroMQ.
 *
 * Two processes. The client keeps INFLIGHT requests of 200 bytes on the way and the server echoes each. Everything
 * that is ready at a wake-up leaves as one batch: one ZeroMQ message holding many frames, or one write(). The client
 * never tops a batch up beyond INFLIGHT. Reported: requests answered per second, CPU of both processes per request,
 * voluntary context switches of both per request, and (mode 0) threads and PSS of a process with one idle link.
 * pair: a PUSH/PULL pair each way. dealer: DEALER against ROUTER. */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifndef NO_ZMQ
#include <zmq.h>
#endif

enum { MESSAGE = 200, FRAME = 4 + MESSAGE, BUFFER = 1 << 20 };

static bool is_client, idle;
static int inflight;
static uint64_t answered;
static struct event_base *base;
static char in[BUFFER], out[BUFFER];
static size_t in_length;

static double seconds(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Looks at every whole frame in in[], and prepares as many frames in out[]. Returns how many. */
static int take_frames(void) {
	size_t offset = 0;
	int count = 0;
	while (in_length - offset >= 4) {
		uint32_t length;
		memcpy(&length, in + offset, 4);
		if (length != MESSAGE)
			abort();
		if (in_length - offset < 4 + length)
			break;
		memcpy(out + (size_t)count * FRAME, in + offset, FRAME);
		offset += FRAME;
		count++;
	}
	memmove(in, in + offset, in_length - offset);
	in_length -= offset;
	answered += (uint64_t)count;
	return count;
}

static int first_frames(void) {
	uint32_t length = MESSAGE;
	memset(out, 'x', (size_t)inflight * FRAME);
	for (int i = 0; i < inflight; i++)
		memcpy(out + (size_t)i * FRAME, &length, 4);
	return inflight;
}

static void stop_client(evutil_socket_t fd, short what, void *arg) {
	(void)fd, (void)what, (void)arg;
	event_base_loopbreak(base);
}

/* ---- unix stream ---- */

static void unix_write(int fd, int frames) {
	size_t length = (size_t)frames * FRAME, done = 0;
	while (done < length) { /* INFLIGHT frames fit the socket buffer; a service would wait for EV_WRITE */
		ssize_t n = write(fd, out + done, length - done);
		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			_exit(0);
	}
}

static void unix_readable(evutil_socket_t fd, short what, void *arg) {
	(void)what, (void)arg;
	ssize_t n = read(fd, in + in_length, sizeof in - in_length);
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		event_base_loopbreak(base);
		return;
	}
	in_length += n < 0 ? 0 : (size_t)n;
	unix_write(fd, take_frames());
}

static void unix_setup(const char *path) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (is_client) {
		while (connect(fd, (struct sockaddr *)&address, sizeof address))
			usleep(1000);
	} else {
		int listener = fd;
		if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1))
			abort();
		fd = accept(listener, NULL, NULL);
	}
	evutil_make_socket_nonblocking(fd);
	event_add(event_new(base, fd, EV_READ | EV_PERSIST, unix_readable, NULL), NULL);
	if (is_client && !idle)
		unix_write(fd, first_frames());
}

#ifndef NO_ZMQ
/* ---- ZeroMQ ---- */

static void *sender, *receiver; /* the same socket for dealer */
static zmq_msg_t identity;
static bool routed;

static void zmq_write(int frames) {
	if (frames == 0)
		return;
	if (routed)
		zmq_send(sender, zmq_msg_data(&identity), zmq_msg_size(&identity), ZMQ_SNDMORE | ZMQ_DONTWAIT);
	if (zmq_send(sender, out, (size_t)frames * FRAME, ZMQ_DONTWAIT) < 0)
		abort();
}

/* ZMQ_FD is edge-triggered: receive until nothing is left, send what that made, and look again. */
static void zmq_ready(evutil_socket_t fd, short what, void *arg) {
	(void)fd, (void)what, (void)arg;
	for (;;) {
		int events;
		size_t size = sizeof events;
		zmq_getsockopt(receiver, ZMQ_EVENTS, &events, &size);
		if (!(events & ZMQ_POLLIN))
			break;
		for (;;) {
			if (routed) {
				zmq_msg_t id;
				zmq_msg_init(&id);
				if (zmq_msg_recv(&id, receiver, ZMQ_DONTWAIT) < 0)
					break;
				zmq_msg_move(&identity, &id);
			}
			int n = zmq_recv(receiver, in + in_length, sizeof in - in_length, ZMQ_DONTWAIT);
			if (n < 0)
				break;
			in_length += (size_t)n;
		}
		zmq_write(take_frames());
	}
	if (sender != receiver) { /* the sender's signals must be consumed as well */
		int events;
		size_t size = sizeof events;
		zmq_getsockopt(sender, ZMQ_EVENTS, &events, &size);
	}
}

static void watch(void *socket) {
	int fd;
	size_t size = sizeof fd;
	zmq_getsockopt(socket, ZMQ_FD, &fd, &size);
	event_add(event_new(base, fd, EV_READ | EV_PERSIST, zmq_ready, NULL), NULL);
}

static void zmq_setup(const char *path, bool dealer) {
	char to_server[160], to_client[160];
	void *context = zmq_ctx_new();
	snprintf(to_server, sizeof to_server, "ipc://%s", path);
	snprintf(to_client, sizeof to_client, "ipc://%s.back", path);
	zmq_msg_init(&identity);
	if (dealer) {
		routed = !is_client;
		sender = receiver = zmq_socket(context, is_client ? ZMQ_DEALER : ZMQ_ROUTER);
		if (is_client ? zmq_connect(sender, to_server) : zmq_bind(sender, to_server))
			abort();
	} else {
		receiver = zmq_socket(context, ZMQ_PULL);
		sender = zmq_socket(context, ZMQ_PUSH);
		if (zmq_bind(receiver, is_client ? to_client : to_server) || zmq_connect(sender, is_client ? to_server : to_client))
			abort();
	}
	watch(receiver);
	usleep(200000); /* let both ends connect */
	if (is_client && !idle)
		zmq_write(first_frames());
	zmq_ready(-1, 0, NULL);
}
#else
#define zmq_setup(path, dealer) abort()
#endif

static void run(const char *mode, const char *path, double duration) {
	struct timeval limit = {(time_t)duration, (suseconds_t)((duration - (time_t)duration) * 1e6)};
	base = event_base_new();
	if (!strcmp(mode, "unix"))
		unix_setup(path);
	else
		zmq_setup(path, !strcmp(mode, "dealer"));
	if (is_client)
		event_add(evtimer_new(base, stop_client, NULL), &limit);
	event_base_dispatch(base);
}

int main(int argc, char **argv) {
	if (argc < 3)
		return 2;
	double duration = argc > 3 ? atof(argv[3]) : 2;
	char directory[] = "/tmp/ipcXXXXXX", path[64];
	inflight = atoi(argv[2]);
	idle = inflight == 0;
	snprintf(path, sizeof path, "%s/s", mkdtemp(directory));
	pid_t server = fork();
	if (server == 0) {
		run(argv[1], path, 0);
		_exit(0);
	}
	is_client = true;
	double start = seconds(CLOCK_MONOTONIC);
	run(argv[1], path, duration);
	double wall = seconds(CLOCK_MONOTONIC) - start - (strcmp(argv[1], "unix") ? 0.2 : 0);
	if (idle)
		(void)!system("grep Threads /proc/$PPID/status; grep -E '^(Pss|Private_Dirty):' /proc/$PPID/smaps_rollup");
	struct rusage mine, child;
	getrusage(RUSAGE_SELF, &mine);
	kill(server, SIGTERM);
	wait4(server, NULL, 0, &child);
	double cpu = 0;
	for (struct rusage *r = &mine; r; r = r == &mine ? &child : NULL)
		cpu += r->ru_utime.tv_sec + r->ru_stime.tv_sec + (r->ru_utime.tv_usec + r->ru_stime.tv_usec) * 1e-6;
	if (!idle)
		printf("%-6s inflight %3d: %8.0f msg/s  %7.2f us wall  %6.2f us CPU  %5.2f nvcsw  %5.2f nivcsw per message\n", argv[1],
		       inflight, answered / wall, wall / answered * 1e6, cpu / answered * 1e6,
		       (double)(mine.ru_nvcsw + child.ru_nvcsw) / answered, (double)(mine.ru_nivcsw + child.ru_nivcsw) / answered);
	unlink(path);
	strcat(path, ".back");
	unlink(path);
	rmdir(directory);
}
