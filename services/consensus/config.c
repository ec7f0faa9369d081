#include "config.h"

#include "io/identity.h"
#include "log/log.h"

rq_err consensus_config_read(const rq_config *config, consensus_config *ret_config) {
        *ret_config = (consensus_config) {
                .node_id = rq_config_node_id(config),
                .node_id_given = rq_config_string(config, "node-id")[0] != '\0',
                .raft_addr = rq_config_raft_adv_addr(config),
                .api_addr = rq_config_http_adv_addr(config),
        };
        if (strlen(ret_config->node_id) > IDENTITY_NODE_BYTES_MAX)
                return rq_log_error(RQ_ECONFIG, "The node id is longer than %d bytes", IDENTITY_NODE_BYTES_MAX);
        if (rq_config_int(config, "bootstrap-expect") > 1)
                return rq_log_error(RQ_ECONFIG, "-bootstrap-expect %lld: a cluster has one node for now; use 0 or 1",
                                    (long long) rq_config_int(config, "bootstrap-expect"));
        return RQ_OK;
}
