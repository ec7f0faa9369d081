#include "peer/peer_places.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "config/config.h"

enum { V4_AT = 12, V6_NETWORK_BYTES = 8 };

static const uint8_t v4_mapped[V4_AT] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static void place_of_v4(const struct in_addr *address, peer_place *place) {
        memcpy(place->bytes, v4_mapped, sizeof v4_mapped);
        memcpy(place->bytes + V4_AT, address, sizeof *address);
}

bool peer_place_of(const struct sockaddr *address, peer_place *ret_place) {
        if (address->sa_family == AF_INET)
                place_of_v4(&((const struct sockaddr_in *) (const void *) address)->sin_addr, ret_place);
        else if (address->sa_family == AF_INET6)
                memcpy(ret_place->bytes, &((const struct sockaddr_in6 *) (const void *) address)->sin6_addr, sizeof ret_place->bytes);
        else
                return false;
        return true;
}

bool peer_place_parse(const char *address, peer_place *ret_place) {
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        struct in_addr v4;
        struct in6_addr v6;
        if (rq_address_split(address, host, port) < 0)
                return false;
        if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4) == 1)
                place_of_v4(&v4, ret_place);
        else if (inet_pton(AF_INET6, host, &v6) == 1)
                memcpy(ret_place->bytes, &v6, sizeof ret_place->bytes);
        else
                return false;
        return true;
}

bool peer_place_equal(const peer_place *a, const peer_place *b) { return memcmp(a, b, sizeof *a) == 0; }

/* A machine has a whole network of IPv6 addresses for itself (RFC 6177): they share a share. */
static bool shares(const peer_place *a, const peer_place *b) {
        const bool v4 = memcmp(a->bytes, v4_mapped, sizeof v4_mapped) == 0;
        return memcmp(a->bytes, b->bytes, v4 ? PEER_PLACE_BYTES : V6_NETWORK_BYTES) == 0;
}

static size_t places_of(const peer_guest *guests, size_t count, const peer_guest *of) {
        size_t places = 0;
        for (size_t i = 0; i < count; i++)
                places += shares(&guests[i].from, &of->from);
        return places;
}

/* Whether a gives its place up before b does. */
static bool goes_first(const peer_guest *guests, size_t count, const peer_guest *a, const peer_guest *b) {
        if (a->done != b->done)
                return a->done;
        if (a->known != b->known)
                return !a->known;
        const size_t places_a = places_of(guests, count, a), places_b = places_of(guests, count, b);
        if (places_a != places_b)
                return places_a > places_b;
        return !a->waits && b->waits;
}

static int oldest_of(const peer_guest *guests, size_t count, const peer_guest *of) {
        for (size_t i = 0; i < count; i++)
                if (!guests[i].known && shares(&guests[i].from, &of->from))
                        return (int) i;
        return PEER_PLACES_NONE;
}

int peer_places_choose(const peer_guest *guests, size_t count, const peer_guest *newcomer) {
        if (!newcomer->known && places_of(guests, count, newcomer) >= PEER_PLACES_PER_ADDRESS)
                return oldest_of(guests, count, newcomer);
        if (count < PEER_PLACES_MAX)
                return PEER_PLACES_ROOM;
        size_t victim = 0;
        for (size_t i = 1; i < count; i++)
                if (goes_first(guests, count, &guests[i], &guests[victim]))
                        victim = i;
        return guests[victim].known && !guests[victim].done && !newcomer->known ? PEER_PLACES_NONE : (int) victim;
}
