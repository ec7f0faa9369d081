/* Connections between nodes: for each pair two in each direction, for small
 * messages and for entries (and for a snapshot a third one), ordered like TCP. They break, and lose what is on its
 * way; a cut swallows until somebody notices. In wild mode single messages get
 * lost, doubled, late or replayed, too. */
#ifndef RQ_SIM_NET_H
#define RQ_SIM_NET_H

#include "core/driver.h"
#include "events.h"

typedef struct world world;

enum { NET_NODES_MAX = 8 };
/* NET_SNAPSHOT: only while a snapshot is on its way. */
typedef enum net_class { NET_CONTROL, NET_BULK, NET_SNAPSHOT, NET_CLASSES } net_class;
/* Of PACKET_SNAPSHOT_...: data is the frame's body, then its payload. */
typedef enum packet_kind { PACKET_RAFT, PACKET_FORWARD, PACKET_FORWARD_REFUSED, PACKET_SNAPSHOT_OFFER, PACKET_SNAPSHOT_CHUNK,
        PACKET_SNAPSHOT_REPLY, PACKET_SNAPSHOT_WANTED } packet_kind;

typedef struct packet {
        packet_kind kind;
        raft_id from_id, to_id;
        bool stray;              /* out of order: belongs to no connection */
        uint64_t account;        /* of the connection whose bytes it counts among; 0: of none */
        raft_message message;
        raft_term term;          /* FORWARD, FORWARD_REFUSED */
        uint64_t seed;
        rq_err err;
        uint8_t record_kind;
        uint64_t step_budget;
        size_t size;
        uint8_t data[];          /* records, or the body */
} packet;

typedef struct connection {
        bool up, wanted;         /* wanted: of a snapshot */
        uint64_t epoch;          /* counts breaks */
        uint64_t last_at_us;     /* when the last message arrives: order */
        uint64_t queued_bytes;
        uint64_t account;        /* counts how often the bytes began anew */
        bool suspect;            /* somebody will notice that nothing gets through */
        rq_buf held;             /* packet pointers swallowed by a cut */
} connection;

typedef struct net {
        connection connections[NET_NODES_MAX][NET_NODES_MAX][NET_CLASSES];
        bool cut[NET_NODES_MAX][NET_NODES_MAX];   /* from, to */
        uint64_t slow_us[NET_NODES_MAX];          /* extra latency of a sim_node */
        uint64_t messages, bytes;
        uint64_t loss, duplication, delay, replay; /* per mille, of single messages; 0 but in wild mode */
} net;

void net_done(net *n);
packet *packet_new(packet_kind kind, size_t size);

/* Takes the packet. */
void net_send(world *w, unsigned from, unsigned to, net_class class, packet *take);
uint64_t net_room(const world *w, unsigned from, unsigned to);   /* bytes that may be sent in bulk */

void net_on_packet(world *w, const event *e);
void net_on_link(world *w, const event *e);

/* The connection for a snapshot; shell_on_link() tells when it is there, or no more. */
void net_connect(world *w, unsigned from, unsigned to);
void net_disconnect(world *w, unsigned from, unsigned to);

void net_break(world *w, unsigned from, unsigned to, net_class class);
void net_set_cut(world *w, unsigned from, unsigned to, bool cut);
/* A node's process begins, ends (the kernel says so), or its machine is off (nobody says anything). */
void net_node_started(world *w, unsigned node);
void net_node_died(world *w, unsigned node, bool machine);

#endif
