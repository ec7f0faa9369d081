/* The two neighbours of rq-consensus, for tests: a gateway that proposes and
 * reads, and a store that takes the stream and checks what README.md of proto/
 * promises. And the service itself in a process of its own. */
#ifndef RQ_TESTS_CONSENSUS_CLIENT_H
#define RQ_TESTS_CONSENSUS_CLIENT_H

#include <stdbool.h>
#include <sys/types.h>

#include "consensus.pb-c.h"
#include "ipc/ipc_endpoint.h"
#include "record.h"
#include "io/log_io.h"

enum { CLIENT_REQUESTS = 1 << 18 };

typedef struct client_request {
        uint64_t committed_index;   /* 0: no entry with this id was seen */
        uint64_t read_index;        /* of READ_AT */
        bool failed;
        Rq__RequestFailed__Outcome outcome;
        Rq__RequestFailed__Reason reason;
        uint64_t failed_index;
} client_request;

typedef struct client {
        rq_loop *loop;
        rq_timer tick;
        int dir_fd, run_dir_fd;
        ipc_connector *gateway;
        ipc_listener *store;
        ipc_link *store_link;
        rq_uuid incarnation;
        char failed_text[512];      /* why the last request failed */
        /* gateway */
        bool ready;
        rq_buf status;              /* the last one, NUL-terminated */
        bool status_came;
        client_request *requests;   /* by id */
        /* store */
        char misfit[200];           /* why the last FETCH was refused; "": it wasn't */
        bool stream_open, fetch_by_hand, mute; /* mute: acknowledges nothing */
        rq_uuid stream_id, database_id;
        uint64_t applied, applied_term, acknowledged, clock_us, commit_seen;
        uint64_t noops, barriers, batches;
        uint64_t unacknowledged_bytes_max, unacknowledged_bytes;
        uint64_t checkpoint;
        bool checkpoints;           /* everything applied is durable with the store */
        void (*on_committed)(struct client *c, uint64_t request_id);
} client;

client *client_new(const char *dir, bool with_store);
client *client_free(client *c);

/* Body of every proposal: the request's id, then padding. */
void client_propose(client *c, uint64_t request_id, size_t bytes, uint64_t timeout_us);
void client_propose_kind(client *c, uint32_t kind, uint64_t request_id, size_t bytes, uint64_t timeout_us);
void client_read(client *c, uint64_t request_id, Rq__ReadLevel level);
void client_fetch(client *c, uint64_t from_index, uint64_t term);
void client_applied(client *c);
void client_get_status(client *c);

/* Turns the loop until *flag (or *number >= wanted); false after 10 s. */
bool client_wait(client *c, const bool *flag);
bool client_wait_number(client *c, const uint64_t *number, uint64_t wanted);
void client_turn(client *c, uint32_t ms);
void client_store_restart(client *c);

/* rq-consensus as a child process on dir (which it makes), with its log on the
 * given table of calls. Returns the pid. */
pid_t service_start(const char *dir, const log_io *io, int log_level);
/* For other members; expect: as -bootstrap-expect says, of an empty folder. */
pid_t service_start_at(const char *dir, const log_io *io, int log_level, const char *raft_listen_addr, uint32_t expect);
int service_kill(pid_t pid, int signal); /* exit code, or 128 + signal */

char *temporary_dir(char *template_text);
void remove_dir(const char *dir);

#endif
