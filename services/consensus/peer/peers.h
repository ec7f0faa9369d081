/* The other members, over TCP: two connections to each that this node makes and
 * sends on (control and bulk), and those that they make, on which it receives.
 * Keeps its own up, with back-off, for as long as a member is listed. Knows
 * neither Raft's rules nor what a founding means. Belongs to the loop's thread.
 *
 * Who isn't a member of this cluster (by disk uuid) costs one rate-limited line;
 * nothing of it reaches the callbacks but on_hello and on_found. No callback runs inside a
 * call of this header. */
#ifndef RQ_CONSENSUS_PEERS_H
#define RQ_CONSENSUS_PEERS_H

#include "loop/loop.h"
#include "peer/peer_message.h"
#include "peer/peer_outcomes.h"
#include "peer/peer_snapshot.h"
#include "tls/tls.h"

enum {
        PEERS_BULK_WINDOW_BYTES    = 8 * 1024 * 1024,  /* queued for a member, beside one frame */
        PEERS_CONTROL_QUEUE_BYTES  = 1024 * 1024,      /* above it messages are dropped: the member doesn't read */
        PEERS_HALF_OPEN_MAX        = 64,               /* inbound connections that aren't a member's (yet): see peer_places.h */
        PEERS_SEEDS_MAX            = 32,
};

typedef struct peers peers;

/* Borrowed arguments until return. */
typedef struct peers_callbacks {
        /* message->from and to are right; records: the payload of an append, unchecked. An
         * error but RQ_ENOMEM and RQ_EFULL closes the connection. */
        rq_err (*on_message)(void *arg, raft_id from, const raft_message *message, rq_bytes records);
        /* forward->to is from whom; an error closes the connection (a refusal is no error). */
        rq_err (*on_forward)(void *arg, const driver_forward *forward);
        void (*on_forward_refused)(void *arg, raft_id from, raft_term term, uint64_t seed, rq_err err);
        void (*on_down)(void *arg, raft_id id, bool refused); /* see driver_peer_down(); refused once each time it goes */
        void (*on_room)(void *arg, raft_id id);  /* the bulk connection is up, or has drained after peers_bulk_room() was small */
        /* Everything of a wake-up was handled: run a turn, write once. */
        void (*on_turn_end)(void *arg);
        /* Somebody said HELLO, or one who had is gone: see peers_next_hello(). Forming wants it; may be NULL. */
        void (*on_hello)(void *arg);
        /* A founded node tells its founding (founding.h decides); only if its disk uuid isn't ours. An error closes. */
        rq_err (*on_found)(void *arg, const peer_hello *from, bool virgin, rq_bytes record);
        /* Whether this node is virgin now (founding.h): asked when HELLO and FOUND are sent. */
        bool (*is_virgin)(void *arg);
        void *arg;
} peers_callbacks;

/* What to do with a node of our cluster that isn't a member as far as we know. */
typedef enum peers_stranger {
        PEERS_STRANGER_REFUSE,
        PEERS_STRANGER_REMOVED, /* it knows less than we do: tell it that it isn't one any more */
        PEERS_STRANGER_ADMIT,   /* it knows more than we do: listen to it, until the list of members is set anew */
} peers_stranger;

/* Whether a member is to be let in (starts.h). */
typedef enum peers_start {
        PEERS_START_GOOD,
        PEERS_START_OLD_COPY, /* of its folder: tell it so */
        PEERS_START_LATER,    /* it says something new too often: it asks again */
} peers_start;

/* What a node shows that wants to join, beside its HELLO. */
typedef struct peers_join {
        bool stays;                /* as a learner */
        rq_bytes credentials;      /* "user:password", a stranger's; empty: none. Never logged */
        const char *address;       /* numeric host:port that it asks from */
} peers_join;

/* Joining, leaving, and who comes from outside. Borrowed arguments until return. */
typedef struct peers_changes {
        /* Fill the reply; payload: appended to ret_payload. */
        void (*on_join)(void *arg, const peer_hello *from, const peers_join *join, peer_join_reply *ret_reply, rq_buf *ret_payload);
        void (*on_join_reply)(void *arg, const peer_hello *from, const peer_join_reply *reply, rq_bytes payload);
        void (*on_remove)(void *arg, const peer_remove *remove, rq_bytes node_id); /* answer with peers_send_remove_reply() */
        void (*on_remove_reply)(void *arg, const peer_remove_reply *reply, rq_bytes text);
        peers_stranger (*on_stranger)(void *arg, const peer_hello *from);
        void (*on_removed)(void *arg, const peer_hello *from, raft_index configuration);
        /* Asked before any connection of a member counts, also of one that is listened to without being known as one. Fills
         * what it is to be told, with PEERS_START_OLD_COPY. */
        peers_start (*on_start)(void *arg, const peer_hello *from, peer_old_copy *ret_told);
        void (*on_old_copy)(void *arg, const peer_hello *from, const peer_old_copy *told); /* a member says so of this node */
        raft_index (*configuration)(void *arg); /* for HELLO */
        void (*on_pong)(void *arg, raft_id from, uint64_t number); /* to peers_send_ping(); may be NULL */
        /* The highest term that elections can have led to, as far as this node can tell: who speaks of a higher one is
         * hung up on, since taking it would end elections for ever. */
        raft_term (*term_max)(void *arg);
        void (*on_visit)(void *arg, const peer_hello *from); /* a member that has started looks for the others (-join); may be NULL */
        void *arg;
} peers_changes;

/* Snapshots, in and out. from and to of what comes are right. */
typedef struct peers_snapshots {
        rq_err (*on_offer)(void *arg, const peer_snapshot_offer *offer, rq_bytes payload);
        void (*on_chunk)(void *arg, const peer_snapshot_chunk *chunk, rq_bytes data);
        void (*on_reply)(void *arg, const peer_snapshot_reply *reply);
        void (*on_wanted)(void *arg, const peer_snapshot_wanted *wanted);
        void (*on_link)(void *arg, raft_id id, bool up); /* of peers_snapshot_connect() */
        void *arg;
} peers_snapshots;

/* Comparing outcomes. from and to of what comes are right. payload: checked. */
typedef struct peers_outcomes {
        void (*on_profile)(void *arg, const peer_profile *profile);
        void (*on_outcomes)(void *arg, const peer_outcomes *outcomes);
        void (*on_refuted)(void *arg, const peer_refuted *refuted);
        void *arg;
} peers_outcomes;

typedef struct peers_options {
        rq_loop *loop;
        const char *listen_addr;   /* host:port to bind; copied */
        peer_hello self;           /* class, virgin, minor and level are set by peers */
        peers_callbacks callbacks; /* on_hello may be NULL; no other */
        rq_tls *tls;               /* NULL: without; borrowed, outlives the peers */
        bool tls_transition;       /* with tls: see peer_transport.h */
        peers_changes changes;     /* {0}: nobody joins, no stranger is admitted; else all of them */
        peers_snapshots snapshots; /* {0}: none are taken or sent; else all of them */
        peers_outcomes outcomes;   /* likewise */
} peers_options;

/* Doesn't listen and connect yet. Errors: RQ_ENOMEM. */
rq_err peers_new(const peers_options *options, peers **ret_peers);
/* Not from a callback. Accepts NULL, returns it. */
peers *peers_free(peers *p);

/* Errors, logged: RQ_ECONFIG (address), RQ_EADDRINUSE, RQ_EACCES and the like. */
rq_err peers_listen(peers *p);
uint16_t peers_port(const peers *p); /* that it listens on, also when asked for 0 */

/* Forming, joining, looking for members that have moved: connects (control, as a visitor) to addresses whose nodes it
 * doesn't know yet, and goes on until they are set anew; count 0: none. Its own address may be among them. Copied. Not from a
 * callback but on_turn_end and on_hello. Errors: RQ_ETOOBIG (PEERS_SEEDS_MAX), RQ_ENOMEM. */
rq_err peers_set_seeds(peers *p, const char *const *addresses, size_t count);

/* One more, also from any callback. Errors: RQ_EEXIST, RQ_ETOOBIG (PEERS_SEEDS_MAX, or its length), RQ_ENOMEM. */
rq_err peers_add_seed(peers *p, const char *address);

/* JOIN to all seeds that are connected and in a cluster, but for those that were asked to and didn't answer yet.
 * credentials: at most PEER_JOIN_CREDENTIALS_MAX; empty: none; who doesn't know them yet (an older build) isn't shown them. */
void peers_send_join(peers *p, bool stays, rq_bytes credentials);

/* HELLOs of nodes that are connected now, this one's not among them; one node may come
 * twice. Start with *cursor = 0; NULL at the end. Borrowed until the loop goes on. */
const peer_hello *peers_next_hello(const peers *p, size_t *cursor);

/* This node is in the cluster now (zero: in none): if that is another one than before, all
 * connections are made anew at the end of the turn. record: entry 1, for FOUND; empty: not known any more. Copied. */
rq_err peers_set_cluster(peers *p, const rq_uuid *cluster_id, rq_bytes record);

/* The members; this node itself may be among them and is skipped. Connections
 * of those that stay with their address stay. Not from a callback but on_turn_end
 * and on_hello. Errors: RQ_ENOMEM (as before). */
rq_err peers_set_members(peers *p, const membership *members);

/* Errors of all of them: RQ_EPIPE (not connected: lost), RQ_EFULL (likewise),
 * RQ_ENOMEM. Everything is copied, and leaves at the end of the turn. */
rq_err peers_send(peers *p, const raft_message *message);            /* to message->to, control */
rq_err peers_send_append(peers *p, const raft_message *message, const rq_bytes *pieces, size_t piece_count); /* bulk */
rq_err peers_send_forward(peers *p, const driver_forward *forward);  /* to forward->to, bulk */
rq_err peers_send_forward_refused(peers *p, raft_id to, raft_term term, uint64_t seed, rq_err err);
rq_err peers_send_remove(peers *p, raft_id to, uint64_t number, const char *node_id);
rq_err peers_send_remove_reply(peers *p, const peer_remove *remove, peer_remove_result result, const char *text);

/* Is it there? on_pong() tells, or on_down(), or nothing. Also RQ_EVERSION: an older build, which doesn't answer. */
rq_err peers_send_ping(peers *p, raft_id to, uint64_t number);

/* A third connection to this member, until it isn't wanted any more; on_link() when it
 * is up or broken. Not from on_link(). Errors: RQ_ENOENT (no member), RQ_ENOMEM, RQ_EINVAL (its address). */
rq_err peers_snapshot_connect(peers *p, raft_id to);
void peers_snapshot_disconnect(peers *p, raft_id to); /* from anywhere */
rq_err peers_send_snapshot_offer(peers *p, const peer_snapshot_offer *offer, const rq_bytes pieces[static 2]);
rq_err peers_send_snapshot_chunk(peers *p, const peer_snapshot_chunk *chunk, rq_bytes data);
rq_err peers_send_snapshot_reply(peers *p, const peer_snapshot_reply *reply);
rq_err peers_send_snapshot_wanted(peers *p, const peer_snapshot_wanted *wanted);

/* To a member of minor 3 (peers_view) or later. */
rq_err peers_send_profile(peers *p, const peer_profile *profile);
rq_err peers_send_outcomes(peers *p, const peer_outcomes *outcomes);
rq_err peers_send_refuted(peers *p, const peer_refuted *refuted);

/* Bytes that may still be queued for this member; 0: not connected, or full. When
 * it is small, on_room() follows. One append or forward may be larger if all room is there. */
size_t peers_bulk_room(peers *p, raft_id to);
bool peers_is_up(const peers *p, raft_id to); /* control */

/* For status. Text is borrowed until the loop goes on; "" where the node hasn't said HELLO yet. */
typedef struct peers_view {
        raft_id id;
        const char *node_id, *raft_addr; /* by the membership */
        const char *api_addr;            /* by its last HELLO */
        const char *said_addr;           /* the Raft address that its last HELLO named */
        uint16_t protocol_minor;         /* likewise */
        uint32_t feature_level;          /* by the last HELLO that was let in; 0: it hasn't said one yet */
        peer_start start;                /* likewise; number 0: none */
        bool up;                         /* both ways: we reach it, it reaches us */
        bool tls;                        /* our control connection to it is encrypted */
        uint64_t since_us;               /* monotonic: of that state; 0: since the start */
        size_t queued_bytes;             /* both connections */
        const char *problem;             /* why it isn't up; "" if nothing is known */
} peers_view;
bool peers_view_of(const peers *p, raft_id id, peers_view *ret_view); /* false: no such member */
/* The last round trips, smoothed by the kernel, which is asked; 0: not up. */
uint32_t peers_rtt_us(const peers *p, raft_id id);

typedef struct peers_stats {
        uint64_t frames_in, frames_out, bytes_in, bytes_out;
        uint64_t refused_count;          /* inbound connections closed: garbage, strangers, too many */
        uint64_t skipped_count;          /* frames of unknown types */
        uint64_t dropped_count;          /* messages not queued */
        uint64_t remade_count;           /* connections to members that broke and were made anew */
} peers_stats;
void peers_get_stats(const peers *p, peers_stats *ret_stats);

#endif
