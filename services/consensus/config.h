/* What rq-consensus takes from the configuration, and what it can't do yet. */
#ifndef RQ_CONSENSUS_CONFIG_H
#define RQ_CONSENSUS_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"

typedef struct consensus_config {
        const char *node_id;       /* borrowed from the rq_config, like all text here */
        bool node_id_given;        /* by the operator, not the default */
        const char *raft_addr;     /* advertised */
        const char *api_addr;      /* likewise */
} consensus_config;

/* Errors: RQ_ECONFIG (logged). */
rq_err consensus_config_read(const rq_config *config, consensus_config *ret_config);

#endif
