#include "config.h"

#include "io/identity.h"
#include "io/log_segment.h"
#include "log/log.h"
#include "log/log_fields.h"

enum {
        DISK_STALL_US_MIN = 1000000,
        JOIN_INTERVAL_US_MIN = 10000,
        SEGMENT_BYTES_MIN = 64 * 1024,
        SEGMENTS_KEPT     = 8,          /* a limit on the log counts in segments */
        HELD_FACTOR       = 4,
        HELD_BYTES_MIN    = 64 * 1024 * 1024, /* what comes while one takes its snapshot mustn't make it need another */
};

static void read_times(const rq_config *config, consensus_config *c) {
        const rq_raft_times times = rq_config_raft_times(config);
        c->heartbeat_us = times.heartbeat_us;
        c->election_us = times.election_us;
        c->lease_us = times.lease_us;
        c->disk_stall_us = 4 * times.election_us > DISK_STALL_US_MIN ? 4 * times.election_us : DISK_STALL_US_MIN;
        c->join_interval_us = (uint64_t) rq_config_duration_us(config, "join-interval");
        c->reap_voter_us = (uint64_t) rq_config_duration_us(config, "raft-reap-node-timeout");
        c->reap_learner_us = (uint64_t) rq_config_duration_us(config, "raft-reap-read-only-node-timeout");
        if (c->join_interval_us < JOIN_INTERVAL_US_MIN)
                c->join_interval_us = JOIN_INTERVAL_US_MIN;
        c->forming_timeout_us = (uint64_t) rq_config_duration_us(config, "bootstrap-expect-timeout");
}

static void read_tls(const rq_config *config, consensus_config *c) {
        c->tls = rq_config_string(config, "node-cert")[0] != '\0';
        c->tls_transition = rq_config_bool(config, "node-tls-transition");
        c->tls_options = (rq_tls_options) {
                .flags = "node",
                .cert_file = rq_config_string(config, "node-cert"),
                .key_file = rq_config_string(config, "node-key"),
                .ca_file = rq_config_string(config, "node-ca-cert"),
                .verify_client = rq_config_bool(config, "node-verify-client"),
                .client_common_name = rq_config_string(config, "node-verify-common-name"),
                .no_verify = rq_config_bool(config, "node-no-verify"),
                .server_name = rq_config_string(config, "node-verify-server-name"),
        };
}

rq_err consensus_config_tls(const consensus_config *c, rq_tls **ret_tls, rq_buf *problem) {
        *ret_tls = NULL;
        return c->tls ? rq_tls_new(&c->tls_options, ret_tls, problem) : RQ_OK;
}

/* Dropped in whole segments: with small limits they are small, too. */
static void read_log_size(const rq_config *config, consensus_config *c) {
        c->log_kept_bytes = (uint64_t) rq_config_int(config, "raft-log-keep-size");
        c->log_held_bytes = HELD_FACTOR * c->log_kept_bytes > HELD_BYTES_MIN ? HELD_FACTOR * c->log_kept_bytes : HELD_BYTES_MIN;
        c->segment_bytes = c->log_kept_bytes / SEGMENTS_KEPT / SEGMENT_DATA_AT * SEGMENT_DATA_AT;
        if (c->segment_bytes < SEGMENT_BYTES_MIN)
                c->segment_bytes = SEGMENT_BYTES_MIN;
        if (c->segment_bytes > SEGMENT_BYTES)
                c->segment_bytes = SEGMENT_BYTES;
}

/* With -bootstrap-expect: whether this is one of the founders. */
static bool names_itself(const consensus_config *c) {
        char address[RQ_ADDRESS_BYTES_MAX];
        for (size_t at = 0; c->bootstrap_expect > 0 && rq_address_next(c->join, &at, address);)
                if (strcmp(address, c->raft_addr) == 0 || (c->bootstrap_expect == 1 && strcmp(address, c->raft_listen_addr) == 0))
                        return true;
        return false;
}

rq_err consensus_config_read(const rq_config *config, consensus_config *ret_config) {
        *ret_config = (consensus_config) {
                .node_id = rq_config_node_id(config),
                .node_id_given = rq_config_string(config, "node-id")[0] != '\0',
                .raft_addr = rq_config_raft_adv_addr(config),
                .raft_listen_addr = rq_config_string(config, "raft-addr"),
                .api_addr = rq_config_api_addr(config),
                .bootstrap_expect = (uint32_t) rq_config_int(config, "bootstrap-expect"),
                .join = rq_config_string(config, "join"),
                .join_attempts = (uint32_t) rq_config_int(config, "join-attempts"),
                .stays_learner = rq_config_bool(config, "raft-non-voter"),
                .leaves = rq_config_bool(config, "raft-cluster-remove-shutdown"),
                .users = rq_config_string(config, "auth")[0] != '\0',
                .step_down = rq_config_bool(config, "raft-shutdown-stepdown"),
        };
        read_times(config, ret_config);
        read_tls(config, ret_config);
        read_log_size(config, ret_config);
        ret_config->joins_as_user = ret_config->users && rq_config_string(config, "join-as")[0] != '\0';
        ret_config->joins = ret_config->join[0] != '\0' && !names_itself(ret_config);
        if (ret_config->join_attempts == 0)
                ret_config->join_attempts = 1;
        if (strlen(ret_config->node_id) > IDENTITY_NODE_BYTES_MAX)
                return rq_log_error_event(RQ_ECONFIG, RQ_MSG_BAD_CONFIG, "The node id is longer than %d bytes", IDENTITY_NODE_BYTES_MAX);
        return RQ_OK;
}
