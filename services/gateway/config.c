#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "log/log.h"
#include "users/users.h"
#include "log/log_fields.h"

enum {
        FILES_RESERVED  = 64, /* libraries, links, listeners, the journal */
        CONNECTIONS_MIN = 16,
};

static uint32_t connections_allowed(void) {
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < FILES_RESERVED + CONNECTIONS_MIN)
                return CONNECTIONS_MIN;
        rlim_t count = limit.rlim_cur - FILES_RESERVED;
        return count > 1000000 ? 1000000 : (uint32_t) count;
}

static uint32_t connections_max(const rq_config *config) {
        uint32_t allowed = connections_allowed();
        int64_t wanted = rq_config_int(config, "max-connections");
        if (wanted > allowed)
                rq_log_warning("-max-connections: the limit on open files allows only %u connections", allowed);
        return wanted == 0 || wanted > allowed ? allowed : (uint32_t) wanted;
}

static rq_tls_options tls_options(const rq_config *config) {
        return (rq_tls_options) {
                .flags = "http",
                .cert_file = rq_config_string(config, "http-cert"),
                .key_file = rq_config_string(config, "http-key"),
                .ca_file = rq_config_string(config, "http-ca-cert"),
                .verify_client = rq_config_bool(config, "http-verify-client"),
                .client_common_name = rq_config_string(config, "http-verify-common-name"),
                .resumption = true,
        };
}

static rq_err check_join_as(const rq_users *users, const char *auth_file, const char *join_as, rq_buf *problem) {
        rq_buf credentials = {0};
        rq_err r = rq_users_credentials(users, auth_file, join_as, &credentials, problem);
        if (credentials.data != NULL)
                explicit_bzero(credentials.data, credentials.capacity);
        rq_buf_done(&credentials);
        return r;
}

rq_err gateway_config_check(const rq_config *config, char *const *argv, rq_buf *problem) {
        const rq_tls_options options = tls_options(config);
        const char *auth_file = rq_config_string(config, "auth"), *join_as = rq_config_string(config, "join-as");
        rq_users *users = NULL;
        rq_tls *tls = NULL;
        (void) argv;
        rq_err r = auth_file[0] != '\0' ? rq_users_read(auth_file, &users, problem) : RQ_OK;
        if (r >= 0 && users != NULL && join_as[0] != '\0')
                r = check_join_as(users, auth_file, join_as, problem);
        if (r >= 0 && options.cert_file[0] != '\0')
                r = rq_tls_new(&options, &tls, problem);
        (void) rq_users_free(users);
        (void) rq_tls_free(tls);
        return r;
}

rq_err gateway_config_read(const rq_config *config, gateway_config *ret_config) {
        gateway_config c = {
                .http_place = {
                        .addresses = rq_config_string(config, "http-addr"),
                        .unix_mode = (uint32_t) strtoul(rq_config_string(config, "http-unix-mode"), NULL, 8), /* digits, by the rules */
                        .unix_group = rq_config_string(config, "http-unix-group"),
                },
                .tls = tls_options(config),
                .api_addr = rq_config_api_addr(config),
                .auth_file = rq_config_string(config, "auth"),
                .join_as = rq_config_string(config, "join-as"),
                .http_adv_addr = rq_config_http_adv_addr(config),
                .http_allow_origin = rq_config_string(config, "http-allow-origin"),
                .raft_adv_addr = rq_config_raft_adv_addr(config),
                .node_id = rq_config_node_id(config),
                .extensions_path = rq_config_string(config, "extensions-path"),
                .http_idle_timeout_us = (uint64_t) rq_config_duration_us(config, "http-idle-timeout"),
                .max_body_bytes = (uint64_t) rq_config_int(config, "max-body-size"),
                .write_step_budget = (uint64_t) rq_config_int(config, "write-step-budget"),
                .max_inflight = (uint32_t) rq_config_int(config, "max-inflight"),
                .max_answer_rows = (uint64_t) rq_config_int(config, "max-answer-rows"),
                .max_answer_bytes = (uint64_t) rq_config_int(config, "max-answer-size"),
                .max_connections = connections_max(config),
                .heartbeat_timeout_us = (uint64_t) rq_config_duration_us(config, "raft-heartbeat-timeout"),
                .commit_timeout_us = (uint64_t) rq_config_duration_us(config, "raft-commit-timeout"),
                .checkpoint_interval_us = (uint64_t) rq_config_duration_us(config, "raft-snap-int"),
                .checkpoint_entries = (uint64_t) rq_config_int(config, "raft-snap"),
                .queue_capacity = (uint32_t) rq_config_int(config, "write-queue-capacity"),
                .queue_batch_size = (uint32_t) rq_config_int(config, "write-queue-batch-size"),
                .queue_timeout_us = (uint64_t) rq_config_duration_us(config, "write-queue-timeout"),
                .queue_tx = rq_config_bool(config, "write-queue-tx"),
        };
        /* It becomes a line of every answer: a line break would become another. */
        if (strpbrk(c.http_allow_origin, "\r\n") != NULL || strpbrk(c.http_adv_addr, "\r\n") != NULL) {
                rq_log_event(LOG_ERR, RQ_MSG_BAD_CONFIG, "-http-allow-origin and -http-adv-addr must be one line");
                return RQ_ECONFIG;
        }
        *ret_config = c;
        return RQ_OK;
}
