/* What the log costs: proposals a second and CPU for each, with so many in
 * flight.   bench_consensus DIR [SECONDS [BODY BYTES [fresh]]] */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <syslog.h>

#include "base/assert.h"
#include "base/clock.h"
#include "client.h"

static struct {
        uint64_t next_id, done, stop_at_us, body_bytes;
        uint32_t in_flight;
        uint64_t *sent_us, *took_us;
        bool finished;
} bench;

static void send_next(client *c) {
        uint64_t id = bench.next_id++ % CLIENT_REQUESTS;
        bench.sent_us[id] = rq_clock_mono_us();
        bench.in_flight++;
        client_propose(c, id, bench.body_bytes, 5000000);
}

static void on_committed(client *c, uint64_t id) {
        uint64_t now_us = rq_clock_mono_us();
        if (bench.done < CLIENT_REQUESTS)
                bench.took_us[bench.done] = now_us - bench.sent_us[id];
        bench.done++;
        bench.in_flight--;
        if (now_us < bench.stop_at_us)
                send_next(c);
        else
                bench.finished = bench.in_flight == 0;
}

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
        return (x > y) - (x < y);
}

static uint64_t cpu_ns(pid_t pid) {
        char path[64];
        clockid_t clock;
        struct timespec t;
        (void) snprintf(path, sizeof path, "/proc/%d", (int) pid);
        if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
                return 0;
        return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

static void run(client *c, pid_t pid, uint32_t in_flight, double seconds) {
        bench.done = bench.in_flight = 0;
        bench.finished = false;
        uint64_t cpu = cpu_ns(pid), start_us = rq_clock_mono_us();
        bench.stop_at_us = start_us + (uint64_t) (seconds * 1e6);
        for (uint32_t i = 0; i < in_flight; i++)
                send_next(c);
        while (!bench.finished)
                (void) event_base_loop(rq_loop_base(c->loop), EVLOOP_ONCE);
        double took = (double) (rq_clock_mono_us() - start_us) / 1e6;
        size_t count = bench.done < CLIENT_REQUESTS ? bench.done : CLIENT_REQUESTS;
        qsort(bench.took_us, count, sizeof *bench.took_us, compare);
        printf("%5u in flight: %9.0f/s  CPU %6.2f us each  latency p50 %6llu us  p99 %6llu us\n", in_flight,
               (double) bench.done / took, (double) (cpu_ns(pid) - cpu) / 1e3 / (double) bench.done,
               (unsigned long long) bench.took_us[count / 2], (unsigned long long) bench.took_us[count * 99 / 100]);
        (void) fflush(stdout);
}

int main(int argc, char **argv) {
        if (argc < 2) {
                (void) fprintf(stderr, "usage: bench_consensus DIR [SECONDS [BODY BYTES [fresh]]]\n");
                return 2;
        }
        double seconds = argc > 2 ? atof(argv[2]) : 2;
        bench.body_bytes = argc > 3 ? strtoull(argv[3], NULL, 10) : 200;
        bench.sent_us = calloc(CLIENT_REQUESTS, sizeof(uint64_t));
        bench.took_us = calloc(CLIENT_REQUESTS, sizeof(uint64_t));
        rq_assert(bench.sent_us != NULL && bench.took_us != NULL);
        pid_t pid = service_start(argv[1], log_io_kernel(), LOG_WARNING);
        client *c = client_new(argv[1], true);
        c->on_committed = on_committed;
        c->checkpoints = argc <= 4; /* segments are recycled, as in a node that runs for long */
        if (!client_wait(c, &c->ready) || !client_wait(c, &c->stream_open))
                return 1;
        static const uint32_t steps[] = { 1, 1, 16, 64, 64, 256, 1024 };
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
                run(c, pid, steps[i], seconds);
        client_get_status(c);
        printf("%s\n", (const char *) c->status.data);
        (void) client_free(c);
        int code = service_kill(pid, SIGTERM);
        free(bench.sent_us);
        free(bench.took_us);
        return code;
}
