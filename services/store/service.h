/* The store service: owns the parts and passes events between them. */
#ifndef RQ_STORE_SERVICE_H
#define RQ_STORE_SERVICE_H

#include "config.h"
#include "core/commit_stream.h"
#include "gateways.h"
#include "io/extensions.h"
#include "io/apply_thread.h"
#include "io/files.h"
#include "io/profile.h"
#include "outcome_marks.h"
#include "ipc/ipc_endpoint.h"
#include "reads.h"
#include "results.h"
#include "service/service.h"

typedef struct snapshots snapshots; /* snapshots.h */

extern const rq_service_def store_service;

typedef struct store {
        rq_service *service;
        store_config config;
        extensions *extensions;
        files *files;
        apply_thread *writer;
        reads *reads;
        results *results;
        snapshots *snapshots;
        gateways gateways;
        sqlite3 *status_db;      /* the loop's own, for figures of /status */
        ipc_listener *listener;
        rq_wake applied;         /* the writer's thread has news */
        rq_timer tick, refetch, tell;
        bool tell_pending;
        rq_timer reopen;         /* reopen.c */
        bool reopening;          /* no stream, no new reads: the files are about to be opened anew */
        uint64_t reopen_by_us;
        rq_task stopped;         /* behind what the last turn has to send */

        ipc_link *consensus;     /* NULL: not connected */
        commit_stream stream;
        store_state state;       /* as of the last output that was taken */
        uint64_t commit_index;   /* as consensus said last; 0: not yet */
        bool disk_full, told_disk_full; /* the next entry can't be applied for lack of space */
        uint64_t told_checkpoint_index;
        execution_profile profile;
        outcome_marks marks, marks_made; /* to be told to consensus; and all that were made since the files were opened */
        uint64_t running_index, running_since_us; /* of the write that ran at the last tick; 0: none did */
        uint64_t running_tell_us; /* it is told of when it has run so long */
        uint64_t opened_index;   /* where the files went on at this start */
        bool fetch_wanted;
        bool stopping, finished; /* finished: the writer's thread has ended */
        uint64_t stop_by_us;
        char misfit[192];        /* why nothing is served: consensus says that this isn't its log's database; "": it is */
        char status[192];        /* as last told to the supervisor */
} store;

/* For dispatch. */

/* Errors: RQ_EPROTO, RQ_ECORRUPT, RQ_EVERSION, RQ_ENOMEM: close the link. */
rq_err store_committed(store *s, const committed_batch *batch, uint64_t commit_index, rq_bytes records);
void store_consensus_up(store *s, ipc_link *link);
void store_consensus_down(store *s, ipc_link *link);
/* What is here isn't of its log: nothing is served until it sends some. reason: copied. */
void store_misfit(store *s, rq_bytes reason);
/* A majority's outcomes are others than ours: the database is to be kept aside. */
void store_set_aside(store *s, uint64_t index, uint64_t own_hash, uint64_t majority_hash);
void store_gateway_up(store *s, ipc_link *link);
void store_gateway_down(store *s, ipc_link *link);

/* Opens the files anew, after files_swap(): new reads wait, running ones get some
 * time, then the writer's thread, readers and files are made again. Results of
 * writes that are on their way stay. */
void store_reopen(store *s);
rq_err store_reopen_init(store *s);

/* For reopen.c. */
applier_options store_applier_options(const store *s); /* the same at the start and when the files are opened anew */
rq_err store_open_files(store *s);
void store_fetch(store *s);

/* One line: what the store does now. Returns text. */
char *store_condition(store *s, char *text, size_t size);

#endif
