/* rq-gateway: the HTTP port of a node. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "gateway.h"
#include "log/log.h"
#include "service/service.h"

enum { STATUS_BYTES = 2 * NODE_TEXT_BYTES + 128 };

typedef struct state {
        rq_service *service;
        gateway_config config;
        gateway *gateway;
        char told[STATUS_BYTES];
} state;

/* Who leads, for who looks at systemctl status or launcher.json. */
static void on_node(void *arg) {
        state *s = arg;
        const node_view *node = &s->gateway->node;
        char text[STATUS_BYTES];
        if (s->gateway->stopping) /* and perhaps half gone */
                return;
        const char *address = http_server_address(s->gateway->http);
        if (!node->known)
                (void) snprintf(text, sizeof text, "serving HTTP on %s, waiting for rq-consensus", address);
        else if (node->leader_id[0] == '\0')
                (void) snprintf(text, sizeof text, "serving HTTP on %s, no leader", address);
        else if (node->role == ROLE_LEADER)
                (void) snprintf(text, sizeof text, "serving HTTP on %s, this node leads", address);
        else
                (void) snprintf(text, sizeof text, "serving HTTP on %s, leader is %s", address, node->leader_id);
        if (strcmp(text, s->told) == 0)
                return;
        (void) strcpy(s->told, text);
        rq_service_status(s->service, "%s", text);
}

static void state_free(void *arg) {
        state *s = arg;
        if (s == NULL)
                return;
        (void) gateway_free(s->gateway);
        free(s);
}

static rq_err start(rq_service *service, void **ret_state) {
        state *s = calloc(1, sizeof *s);
        if (s == NULL)
                return rq_log_error(RQ_ENOMEM, "Cannot start");
        s->service = service;
        rq_err r = gateway_config_read(rq_service_config(service), &s->config);
        if (r >= 0)
                r = gateway_new(rq_service_loop(service), &s->config, rq_service_run_dir_fd(service),
                                rq_service_incarnation(service), &s->gateway);
        if (r < 0) {
                state_free(s);
                return r;
        }
        *ret_state = s;
        rq_log_info("Serving HTTP on %s", http_server_address(s->gateway->http));
        gateway_watch_node(s->gateway, on_node, s);
        rq_service_ready(service, "serving HTTP on %s", http_server_address(s->gateway->http));
        return RQ_OK;
}

static void on_stopped(void *arg) {
        state *s = arg;
        rq_service_stopped(s->service);
}

static void shut_down(void *arg) {
        state *s = arg;
        gateway_stop(s->gateway, on_stopped, s);
}

static void reload(void *arg) {
        state *s = arg;
        gateway_reload(s->gateway);
}

int main(int argc, char **argv) {
        static const rq_service_def def = { .name = "rq-gateway", .start = start, .check = gateway_config_check, .shutdown = shut_down, .reload = reload, .free = state_free };
        return rq_service_main(argc, argv, &def);
}
