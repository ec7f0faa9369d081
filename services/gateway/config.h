/* The gateway's own settings, out of the common catalog of flags. */
#ifndef RQ_GATEWAY_CONFIG_H
#define RQ_GATEWAY_CONFIG_H

#include <stdint.h>

#include "base/err.h"
#include "config/config.h"
#include "io/http_listen.h"
#include "tls/tls.h"

typedef struct gateway_config {
        http_place http_place;
        rq_tls_options tls;      /* of TCP sockets, if it has a cert_file */
        const char *api_addr;    /* http_adv_addr as nodes tell it to each other: with https:// if it is so */
        const char *auth_file;   /* "": no users */
        const char *join_as;     /* one of them; "": nobody */
        const char *http_adv_addr, *http_allow_origin, *raft_adv_addr, *node_id, *extensions_path;
        uint64_t http_idle_timeout_us, max_body_bytes, write_step_budget;
        uint64_t max_answer_rows, max_answer_bytes; /* of a read; 0: no limit */
        uint32_t max_inflight;
        uint64_t heartbeat_timeout_us, commit_timeout_us, checkpoint_interval_us, checkpoint_entries; /* told in /status; the first also says how long a leader may be away */
        uint32_t queue_capacity, queue_batch_size;
        uint64_t queue_timeout_us;
        bool queue_tx;              /* each queued request all or nothing */
        uint32_t max_connections;   /* -max-connections, and what the limit on open files allows */
} gateway_config;

/* Texts are borrowed from config. Errors: RQ_ECONFIG (logged). */
rq_err gateway_config_read(const rq_config *config, gateway_config *ret_config);

/* Looks into the files that are named (--check-config). Errors as rq_program_check has. */
rq_err gateway_config_check(const rq_config *config, char *const *argv, rq_buf *problem);

#endif
