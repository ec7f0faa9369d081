/* rq-consensus: the log. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "condition.h"
#include "log/log.h"
#include "recovery.h"
#include "service.h"
#include "service/service.h"

enum {
        STATUS_INTERVAL_US = 2000000,
        MAPPED_BYTES_MIN   = 1024 * 1024,     /* an allocation from here on has pages of its own, which go back when it is freed */
        TRIMMED_BYTES_MIN  = 2 * 1024 * 1024, /* free at the end of the heap: likewise */
};

typedef struct state {
        rq_service *service;
        consensus *consensus;
        rq_timer tick;
        char told[CONDITION_BYTES];
} state;

static void tell_status(state *s) {
        char text[CONDITION_BYTES];
        if (strcmp(consensus_condition(s->consensus, text), s->told) == 0)
                return;
        memcpy(s->told, text, sizeof text);
        rq_service_ready(s->service, "%s", text);
}

static void on_tick(void *arg) {
        state *s = arg;
        tell_status(s);
        rq_timer_set(&s->tick, STATUS_INTERVAL_US);
}

static void on_stopped(void *arg) {
        state *s = arg;
        rq_service_stopped(s->service);
}

static void on_failed(void *arg) {
        state *s = arg;
        rq_service_fail(s->service, RQ_EXIT_FAILURE);
}

static void free_service(void *arg) {
        state *s = arg;
        (void) consensus_free(s->consensus);
        if (s->tick.event != NULL)
                rq_timer_done(&s->tick);
        free(s);
}

static rq_err start(rq_service *service, void **ret_state) {
        state *s = calloc(1, sizeof *s);
        if (s == NULL)
                return rq_log_error(RQ_ENOMEM, "Cannot start");
        s->service = service;
        consensus_options options = {
                .loop = rq_service_loop(service), .io = log_io_kernel(),
                .dir_fd = rq_service_folder_fd(service), .run_dir_fd = rq_service_run_dir_fd(service),
                .dir_path = rq_service_folder_path(service), .incarnation = *rq_service_incarnation(service),
                .on_stopped = on_stopped, .on_failed = on_failed, .arg = s,
        };
        rq_err r = consensus_config_read(rq_service_config(service), &options.config);
        if (r >= 0)
                r = rq_timer_init(&s->tick, options.loop, on_tick, s);
        if (r >= 0)
                r = consensus_new(&options, &s->consensus);
        if (r < 0) {
                free_service(s);
                return r;
        }
        *ret_state = s;
        tell_status(s); /* READY: it serves its status, whether or not there is a quorum */
        rq_timer_set(&s->tick, STATUS_INTERVAL_US);
        return RQ_OK;
}

static rq_err check(const rq_config *config, char *const *argv, rq_buf *problem) {
        consensus_config c;
        rq_tls *tls = NULL;
        (void) argv;
        rq_err r = consensus_config_read(config, &c);
        if (r >= 0)
                r = consensus_config_tls(&c, &tls, problem);
        (void) rq_tls_free(tls);
        return r;
}

static void reload(void *arg) {
        state *s = arg;
        consensus_reload(s->consensus);
}

static void shutdown_service(void *arg) {
        state *s = arg;
        consensus_stop(s->consensus);
        tell_status(s);
}

/* Recent records lie in pieces of 1 MiB and more, which come and go in order. Left alone, the C library puts such pieces into its
 * heap once it has freed one, and the few buffers that grow between them keep twice as much from the kernel as is in use. */
static void prepare_memory(void) {
        (void) mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
        (void) mallopt(M_TRIM_THRESHOLD, TRIMMED_BYTES_MIN);
}

int main(int argc, char **argv) {
        if (argc > 1 && strcmp(argv[1], "recover") == 0)
                return recovery_main(argc - 1, argv + 1);
        static const rq_service_def def = {
                .name = "rq-consensus", .folder = "consensus",
                .start = start, .check = check, .reload = reload, .shutdown = shutdown_service, .free = free_service,
        };
        prepare_memory();
        return rq_service_main(argc, argv, &def);
}
