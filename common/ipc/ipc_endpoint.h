/* Where links come from: a listener (store, consensus) or a connector that
 * keeps one link up, with back-off, for as long as it lives (gateway,
 * consensus). Sockets live in the runtime directory and are addressed through
 * its descriptor, so that a deep path doesn't meet the 107 bytes of sun_path. */
#ifndef RQ_IPC_ENDPOINT_H
#define RQ_IPC_ENDPOINT_H

#include "ipc/ipc_link.h"

#define IPC_SOCKET_CONSENSUS "consensus.sock"
#define IPC_SOCKET_STORE     "store.sock"

typedef struct ipc_listener ipc_listener;
typedef struct ipc_connector ipc_connector;

/* Replaces a stale socket file: the caller holds the lock of its folder, so
 * that no other process can be listening. Mode 0660. A connection from a
 * process that is neither of our user, of our group, nor root is refused. */
rq_err ipc_listen(rq_loop *loop, int run_dir_fd, const char *socket_name, const ipc_identity *self,
                  const ipc_handlers *handlers, ipc_listener **ret_listener);
/* Closes its links, too; not from a handler of one of them. */
ipc_listener *ipc_listener_free(ipc_listener *listener);

rq_err ipc_connect(rq_loop *loop, int run_dir_fd, const char *socket_name, const ipc_identity *self,
                   const ipc_handlers *handlers, ipc_connector **ret_connector);
/* Not from a handler of its link. */
ipc_connector *ipc_connector_free(ipc_connector *connector);

/* The link if it is up, else NULL. */
ipc_link *ipc_connector_link(const ipc_connector *connector);

#endif
