#include "io/own_node.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool is_unix(const char *way) { return strncmp(way, "unix:", 5) == 0; }

static bool answers(const rq_config *config, const http_user *user, own_node *own) {
        static const char *const schemes[] = { "http", "https" };
        const http_user nobody = { .ca_file = "", .cert_file = user->cert_file, .key_file = user->key_file };
        char url[OWN_NODE_URL_BYTES], problem[HTTP_GET_PROBLEM_BYTES];
        for (size_t i = 0; i < (is_unix(own->way) ? 1 : 2); i++) {
                http_got got = {0};
                (void) snprintf(url, sizeof url, "%s://%s/readyz?noleader", schemes[i], rq_config_http_adv_addr(config));
                rq_err r = http_get(url, own->way, &nobody, &got, problem);
                own->running = r == RQ_OK && got.by_rq;
                own->wants_certificate = r == RQ_EACCES && rq_config_bool(config, "http-verify-client");
                rq_buf_done(&got.body);
                if (own->wants_certificate)
                        own->running = true;
                if (own->running)
                        return true;
        }
        return false;
}

/* Where a service of this machine reaches what listens on all of its addresses. */
static void set_tcp_way(own_node *own, const char *address) {
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        (void) snprintf(own->way, sizeof own->way, "%s", address);
        if (rq_address_split(address, host, port) < 0)
                return;
        if (host[0] == '\0' || strcmp(host, "0.0.0.0") == 0)
                (void) snprintf(own->way, sizeof own->way, "127.0.0.1:%s", port);
        else if (strcmp(host, "::") == 0)
                (void) snprintf(own->way, sizeof own->way, "[::1]:%s", port);
}

own_node own_node_find(const rq_config *config, const http_user *user) {
        own_node own = {0};
        char address[RQ_ADDRESS_BYTES_MAX];
        const char *list = rq_config_string(config, "http-addr");
        struct stat st;
        int size = snprintf(own.way, sizeof own.way, "unix:%s/http.sock", rq_config_run_dir(config)); /* of the units */
        if (size > 0 && (size_t) size < sizeof own.way && stat(own.way + 5, &st) == 0 && S_ISSOCK(st.st_mode) && answers(config, user, &own))
                return own;
        for (size_t at = 0; rq_address_next(list, &at, address);) {
                if (!is_unix(address))
                        continue;
                (void) snprintf(own.way, sizeof own.way, "%s", address);
                if (answers(config, user, &own))
                        return own;
        }
        for (size_t at = 0; rq_address_next(list, &at, address);) {
                if (is_unix(address))
                        continue;
                set_tcp_way(&own, address);
                if (answers(config, user, &own))
                        return own;
        }
        return (own_node) {0};
}

void own_node_url(const rq_config *config, const own_node *own, const char *path, char ret_url[static OWN_NODE_URL_BYTES]) {
        const bool tls = !is_unix(own->way) && rq_config_string(config, "http-cert")[0] != '\0';
        (void) snprintf(ret_url, OWN_NODE_URL_BYTES, "http%s://%s%s", tls ? "s" : "", rq_config_http_adv_addr(config), path);
}
