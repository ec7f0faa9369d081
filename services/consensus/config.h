/* What rq-consensus takes from the configuration, and what it can't do yet. */
#ifndef RQ_CONSENSUS_CONFIG_H
#define RQ_CONSENSUS_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"
#include "tls/tls.h"

typedef struct consensus_config {
        const char *node_id;       /* borrowed from the rq_config, like all text here */
        bool node_id_given;        /* by the operator, not the default */
        const char *raft_addr;     /* advertised */
        const char *raft_listen_addr;
        const char *api_addr;      /* likewise */
        uint32_t bootstrap_expect; /* 0, 1: an empty folder founds a cluster of this node alone */
        const char *join;          /* addresses, separated by commas; "" */
        bool joins;                /* an empty folder asks to become a member of the cluster there */
        uint32_t join_attempts;
        uint64_t join_interval_us;
        bool stays_learner;        /* -raft-non-voter */
        bool leaves;               /* the cluster, when stopping */
        bool users;                /* -auth: who joins must be one who may */
        bool joins_as_user;        /* -join-as, with -auth: the gateway tells what to show */
        uint64_t reap_voter_us, reap_learner_us; /* members that were silent for so long are removed; 0: never */
        uint64_t forming_timeout_us;
        uint64_t heartbeat_us, election_us, lease_us, disk_stall_us; /* see raft/raft.h */
        uint64_t log_kept_bytes;   /* of the log, for members that are away */
        uint64_t log_held_bytes;   /* for those that get a snapshot now */
        uint64_t segment_bytes;    /* of a new segment */
        bool step_down;            /* hand leadership over before stopping */
        bool tls;                  /* between nodes */
        bool tls_transition;       /* see peer/peer_transport.h */
        rq_tls_options tls_options;
} consensus_config;

/* The TLS between nodes that it asks for; *ret_tls NULL: none. Errors: RQ_ECONFIG (problem says why), RQ_ENOMEM. */
rq_err consensus_config_tls(const consensus_config *c, rq_tls **ret_tls, rq_buf *problem);

/* Errors: RQ_ECONFIG (logged). */
rq_err consensus_config_read(const rq_config *config, consensus_config *ret_config);

#endif
