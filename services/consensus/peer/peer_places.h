/* Places for connections that aren't a member's (yet): who gets one, and who gives his up for
 * it. A flood from outside must keep nobody out who is a member: addresses of members come first, and no
 * other address gets more than its share. Pure. */
#ifndef RQ_CONSENSUS_PEER_PLACES_H
#define RQ_CONSENSUS_PEER_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

enum {
        PEER_PLACES_MAX         = 64,
        PEER_PLACES_PER_ADDRESS = 16, /* of one where no member is known to be */
        PEER_PLACE_BYTES        = 16,
};

/* Where a connection comes from: an IPv4 address as it is mapped to IPv6 (RFC 4291, 2.5.5.2). No port. */
typedef struct peer_place { uint8_t bytes[PEER_PLACE_BYTES]; } peer_place;

/* False: no internet address. */
bool peer_place_of(const struct sockaddr *address, peer_place *ret_place);
/* Of host:port with a literal address, also in brackets. False: it is a name. */
bool peer_place_parse(const char *address, peer_place *ret_place);
bool peer_place_equal(const peer_place *a, const peer_place *b);

typedef struct peer_guest {
        peer_place from;
        bool known;   /* a member, or a node that this one was told to join, is at this address */
        bool done;    /* it was told why it isn't wanted */
        bool waits;   /* it has said who it is, and waits for what we tell it */
} peer_guest;

enum { PEER_PLACES_ROOM = -1, PEER_PLACES_NONE = -2 };

/* guests: oldest first, at most PEER_PLACES_MAX. Whose place the newcomer gets: an index; PEER_PLACES_ROOM: nobody's;
 * PEER_PLACES_NONE: it gets none. One of a known address always gets one. */
int peer_places_choose(const peer_guest *guests, size_t count, const peer_guest *newcomer);

#endif
