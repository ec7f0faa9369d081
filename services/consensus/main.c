/* rq-consensus: the log. */
#include "service/service.h"

#include "log/log.h"
#include "recovery.h"
#include "service.h"

static void on_stopped(void *arg) { rq_service_stopped(arg); }

static void on_failed(void *arg) { rq_service_fail(arg, RQ_EXIT_FAILURE); }

static rq_err start(rq_service *service, void **ret_state) {
        consensus_options options = {
                .loop = rq_service_loop(service), .io = log_io_kernel(),
                .dir_fd = rq_service_folder_fd(service), .run_dir_fd = rq_service_run_dir_fd(service),
                .dir_path = rq_service_folder_path(service), .incarnation = *rq_service_incarnation(service),
                .on_stopped = on_stopped, .on_failed = on_failed, .arg = service,
        };
        rq_err r = consensus_config_read(rq_service_config(service), &options.config);
        if (r < 0)
                return r;
        consensus *c;
        r = consensus_new(&options, &c);
        if (r < 0)
                return r;
        *ret_state = c;
        rq_service_ready(service, "Node %s, log up to index %llu", c->identity.node_id,
                         (unsigned long long) raft_trail_of(driver_raft(c->driver))->last);
        return RQ_OK;
}

static void shutdown_service(void *state) { consensus_stop(state); }
static void free_service(void *state) { (void) consensus_free(state); }

int main(int argc, char **argv) {
        if (argc > 1 && strcmp(argv[1], "recover") == 0)
                return recovery_main(argc - 1, argv + 1);
        static const rq_service_def def = {
                .name = "rq-consensus", .folder = "consensus",
                .start = start, .shutdown = shutdown_service, .free = free_service,
        };
        return rq_service_main(argc, argv, &def);
}
