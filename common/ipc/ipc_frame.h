/* The envelope of every message between the processes of a node, on unix
 * stream sockets (docs/decisions/0001). proto/README.md lists them.
 *
 *   u32 magic "rqI1"   u16 version   u16 type
 *   u32 body_bytes     u32 payload_bytes
 *   u64 request_id                              24 bytes, little-endian
 *   body     a protobuf message (proto/), decoded by the receiver
 *   payload  opaque to who passes it on: a log entry, a query, a piece of JSON
 *
 * The first frame of each side is HELLO: it names the sender's service and its
 * incarnation, so that a message can't be taken for one of an earlier run, and
 * what the sender's build knows, so that a newer one can do without:
 *
 *   u8 role   16 bytes incarnation   u16 protocol minor   u32 feature level
 *
 * A longer HELLO is of a newer build and its rest is ignored; one that ends
 * behind the incarnation is of a build that said no more (both numbers 0). */
#ifndef RQ_IPC_FRAME_H
#define RQ_IPC_FRAME_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
        IPC_MAGIC             = 0x31497172, /* "rqI1" */
        IPC_VERSION           = 1,
        IPC_PROTOCOL_MINOR    = 6, /* what is new can be ignored by who doesn't know it */
        IPC_FEATURE_LEVEL     = 1, /* what all of a cluster must know before it is used */
        IPC_HELLO_BYTES_MIN   = 17,
        IPC_HELLO_BYTES       = 23,
        IPC_HELLO_BYTES_MAX   = 256,
        IPC_HEADER_BYTES      = 24,
        IPC_BODY_BYTES_MAX    = 1024 * 1024,
        IPC_PAYLOAD_BYTES_MAX = 80 * 1024 * 1024, /* one log entry of 64 MiB fits, with its frame */
};

/* Who is at the other end; bits, so that a rule can allow several. */
typedef enum ipc_role {
        IPC_GATEWAY   = 1 << 0,
        IPC_CONSENSUS = 1 << 1,
        IPC_STORE     = 1 << 2,
        IPC_BACKUP    = 1 << 3,
} ipc_role;

/* Numbers are never reused. proto/README.md lists body and payload of each.
 * Reserved: 36 WAITING (store -> consensus: what it waits for); 90-95 backup; 96-99
 * changes. */
typedef enum ipc_type {
        IPC_HELLO          = 1,
        IPC_STATUS_GET     = 2,  /* any -> any: asks for the STATUS document */
        IPC_STATUS         = 3,  /* payload: JSON object */

        IPC_PROPOSE        = 16, /* gateway -> consensus */
        IPC_READ           = 17, /* gateway -> consensus: a read that needs an index */
        IPC_REQUEST_FAILED = 18, /* consensus, store -> gateway: no result will come */
        IPC_NODE_STATE     = 19, /* consensus -> gateway: identity, role, leader */
        IPC_TRANSFER       = 20, /* gateway -> consensus: hand leadership over (minor 2) */
        IPC_TRANSFER_DONE  = 21, /* consensus -> gateway: the answer */
        IPC_REMOVE         = 24, /* gateway -> consensus: a node is to leave the cluster (minor 3) */
        IPC_REMOVE_DONE    = 25, /* consensus -> gateway: the answer */
        IPC_JOIN_CREDENTIALS = 26, /* gateway -> consensus: what this node shows when it joins a cluster (minor 5) */
        IPC_JOIN_CHECK     = 27, /* consensus -> gateway: may who shows this join? (minor 5) */
        IPC_JOIN_CHECKED   = 28, /* gateway -> consensus: the answer */

        IPC_COMMITTED      = 32, /* consensus -> store: a batch of log records */
        IPC_READ_AT        = 33, /* consensus -> store: run this read once index is applied */
        IPC_FETCH          = 34, /* store -> consensus: (re)start the stream at an index */
        IPC_APPLIED        = 35, /* store -> consensus: how far it is */
        IPC_SET_ASIDE      = 37, /* consensus -> store: your database has diverged (minor 5) */
        IPC_MISFIT         = 38, /* consensus -> store: the answer to a FETCH of a database that isn't of this log (minor 6) */

        IPC_QUERY          = 48, /* gateway -> store: a read that needs no index */
        IPC_CREDIT         = 49, /* gateway -> store: more bytes of a result may be sent */
        IPC_CANCEL         = 50, /* gateway -> store: the client is gone */
        IPC_RESULT         = 51, /* store -> gateway: piece of the answer */
        IPC_CHECKPOINT     = 52, /* gateway -> store: make one soon; STATUS tells when (minor 4) */

        IPC_SNAPSHOT_OPEN   = 80, /* consensus -> store: an image of the database (minor 3, with all that follow) */
        IPC_SNAPSHOT_HEAD   = 81, /* store -> consensus: what it is */
        IPC_SNAPSHOT_READ   = 82, /* consensus -> store: these bytes may be sent */
        IPC_SNAPSHOT_CHUNK  = 83, /* store -> consensus */
        IPC_SNAPSHOT_CLOSE  = 84, /* consensus -> store */
        IPC_SNAPSHOT_FAILED = 85, /* store -> consensus */
        IPC_INSTALL_BEGIN   = 86, /* consensus -> store: stage an image */
        IPC_INSTALL_CHUNK   = 87, /* consensus -> store */
        IPC_INSTALL_COMMIT  = 88, /* consensus -> store: it becomes the database */
        IPC_INSTALL_STATE   = 89, /* store -> consensus */
} ipc_type;

typedef struct ipc_frame {
        uint16_t type;
        uint64_t request_id;
        rq_bytes body;    /* borrowed until the handler returns */
        rq_bytes payload; /* likewise */
} ipc_frame;

typedef struct ipc_header {
        uint16_t type;
        uint32_t body_bytes, payload_bytes;
        uint64_t request_id;
} ipc_header;

void ipc_header_encode(uint8_t out[static IPC_HEADER_BYTES], const ipc_header *header);

/* Errors: RQ_EPROTO (magic), RQ_EVERSION, RQ_ETOOBIG (above the envelope's own
 * limits; a rule's limits are checked by the link). */
rq_err ipc_header_decode(const uint8_t in[static IPC_HEADER_BYTES], ipc_header *ret_header);

#endif
