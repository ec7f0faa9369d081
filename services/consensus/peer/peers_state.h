/* What peers.c, peers_out.c and peers_in.c share. */
#ifndef RQ_CONSENSUS_PEERS_STATE_H
#define RQ_CONSENSUS_PEERS_STATE_H

#include "base/list.h"
#include "log/log.h"
#include "peer/peer_dial.h"
#include "peer/peer_link.h"
#include "peer/peer_places.h"
#include "peer/peers.h"

enum {
        PEERS_PROBLEM_BYTES = 256,
        PEERS_LISTENERS_MAX = PEER_ADDRESSES_MAX,
        PEERS_ADMITTED_MAX = 4,
        PEERS_BULK_QUEUE_BYTES = PEERS_BULK_WINDOW_BYTES + 2 * DRIVER_APPEND_BYTES_MAX,
};

#define PEERS_OLD_COPY_TEXT "it came with an older copy of its data folder, which may not vote"
#define PEERS_LATER_TEXT "it was started too often within seconds"

typedef struct remote remote;

/* A connection that we make and send on. */
typedef struct outbound {
        peers *p;
        remote *remote;
        peer_class class;
        peer_dial *dial;            /* NULL: of a class that isn't wanted */
        peer_link *link;            /* NULL: dialling */
        bool up;                    /* the right node is there, in our cluster */
        bool wants_room;
        bool plain;                 /* without TLS the next time: it met a node without (transition) */
        bool ends;                  /* a snapshot's: not wanted any more; ended at the end of the turn */
        uint64_t at_once_us;        /* when it was last dialled without a pause */
} outbound;

/* One that somebody else has made. */
typedef struct inbound {
        rq_list node;               /* in guests or members_in */
        peers *p;
        remote *remote;             /* NULL: a guest */
        peer_link *link;
        peer_place from;
        bool known;                 /* when it came: see peer_guest */
        const char *problem;        /* static: more than the error says; NULL: nothing */
} inbound;

struct remote {
        raft_id id;                 /* 0: a seed */
        rq_uuid disk_uuid;
        char node_id[MEMBERSHIP_NODE_MAX + 1];
        char address[MEMBERSHIP_ADDRESS_MAX + 1]; /* where it is dialled */
        char listed[MEMBERSHIP_ADDRESS_MAX + 1];  /* by the membership: the same, unless its node has said another */
        char said[MEMBERSHIP_ADDRESS_MAX + 1];    /* by its last HELLO; "" */
        uint16_t protocol_minor;    /* likewise */
        uint32_t feature_level;     /* by the last one that was let in; 0: none yet */
        peer_start start;           /* likewise */
        char api_addr[PEER_API_ADDRESS_MAX + 1];
        outbound out[PEER_CLASSES];
        inbound *in[PEER_CLASSES];
        peer_place place;           /* where its connections come from and go to */
        bool placed;
        bool up;
        bool myself;                /* a seed that turned out to be this node */
        bool asked;                 /* a seed: JOIN is on its way */
        bool admitted;              /* no member as far as this node knows */
        bool refusal_told;
        bool met;                   /* it was up once */
        uint64_t since_us, nudged_us;
        const char *problem;        /* static, or problem_text */
        char problem_text[PEERS_PROBLEM_BYTES];
};

struct peers {
        peers_options o;
        peer_security security;
        char *listen_addr;
        raft_id id;                 /* ours */
        rq_buf record;              /* entry 1 */
        peer_resolver *resolver;
        struct evconnlistener *listeners[PEERS_LISTENERS_MAX];
        rq_timer accept_again;   /* the system had no room for a connection */
        size_t listener_count;
        remote *members[MEMBERSHIP_COUNT_MAX + PEERS_ADMITTED_MAX];
        size_t member_count;
        remote *seeds[PEERS_SEEDS_MAX];
        size_t seed_count;
        rq_list guests, members_in; /* inbound */
        size_t guest_count;
        rq_task turn;
        bool hellos_changed;
        peers_stats stats;
        rq_log_limit limit_garbage, limit_tls, limit_foreign, limit_broken, limit_copy, limit_crowd, limit_accept;
};

/* At the end of the turn: on_turn_end, and on_hello if hellos. */
void peers_touch(peers *p, bool hellos);
peer_hello peers_hello_for(const peers *p, peer_class class);
bool peers_is_formed(const peers *p);
remote *peers_member(const peers *p, raft_id id);                    /* NULL: none */
remote *peers_member_of_disk(const peers *p, const rq_uuid *disk_uuid);
void peers_update_up(peers *p, remote *r);
/* The node of this member says where it is; what isn't connected is dialled there. */
void peers_learn_address(peers *p, remote *r, const peer_hello *hello);
remote *peers_admit(peers *p, const peer_hello *hello); /* NULL: no room, no memory */
void peers_count_link(peers *p, const peer_link *link); /* it ends */

/* peers_out.c */
rq_err peers_out_begin(peers *p, remote *r, peer_class class, outbound *out);
void peers_out_end(outbound *out);
void peers_out_nudge(remote *r); /* it is there: don't wait */

/* peers_in.c */
rq_err peers_in_listen(peers *p);
void peers_in_forget(peers *p, remote *r); /* its connections end at once */
void peers_in_end(peers *p);

#endif
