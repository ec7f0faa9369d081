/* Who gets a place on the Raft port, and who gives his up for it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "peer/peer_places.h"

typedef struct port {
        peer_guest guests[PEER_PLACES_MAX];
        size_t count;
} port;

static peer_guest guest(const char *host, bool known) {
        char address[80];
        peer_guest g = { .known = known };
        (void) snprintf(address, sizeof address, strchr(host, ':') != NULL ? "[%s]:1" : "%s:1", host);
        assert_true(peer_place_parse(address, &g.from));
        return g;
}

static int come(port *p, peer_guest g) {
        const int place = peer_places_choose(p->guests, p->count, &g);
        if (place >= 0) {
                assert_true((size_t) place < p->count);
                memmove(&p->guests[place], &p->guests[place + 1], (p->count - (size_t) place - 1) * sizeof g);
                p->count--;
        }
        if (place != PEER_PLACES_NONE) {
                assert_true(p->count < PEER_PLACES_MAX);
                p->guests[p->count++] = g;
        }
        return place;
}

static size_t count_known(const port *p) {
        size_t count = 0;
        for (size_t i = 0; i < p->count; i++)
                count += p->guests[i].known;
        return count;
}

static void one_address_has_its_share(void **state) {
        (void) state;
        port p = {0};
        for (int i = 0; i < 1000; i++)
                (void) come(&p, guest("192.0.2.1", false));
        assert_int_equal(p.count, PEER_PLACES_PER_ADDRESS);
        assert_int_equal(come(&p, guest("192.0.2.2", false)), PEER_PLACES_ROOM);
        /* A network of IPv6 is one address here. */
        char host[64];
        for (int i = 0; i < 1000; i++) {
                (void) snprintf(host, sizeof host, "2001:db8::%x", i + 1);
                (void) come(&p, guest(host, false));
        }
        assert_int_equal(p.count, 2 * PEER_PLACES_PER_ADDRESS + 1);
}

/* From as many addresses as there are: a member that comes always finds room, and keeps its place. */
static void members_always_find_room(void **state) {
        (void) state;
        port p = {0};
        char host[64];
        for (int i = 0; i < 3000; i++) {
                (void) snprintf(host, sizeof host, "198.51.%d.%d", i / 250, i % 250 + 1);
                (void) come(&p, guest(host, false));
                if (i % 100 == 50) {
                        assert_true(come(&p, guest("10.0.0.1", true)) != PEER_PLACES_NONE);
                        assert_int_equal(count_known(&p), (size_t) i / 100 + 1);
                }
        }
        assert_int_equal(p.count, PEER_PLACES_MAX);
        assert_int_equal(count_known(&p), 30);
        /* If all are of members, a stranger gets nothing, and another member the oldest one's. */
        while (count_known(&p) < PEER_PLACES_MAX)
                assert_true(come(&p, guest("10.0.0.2", true)) != PEER_PLACES_NONE);
        assert_int_equal(come(&p, guest("198.51.1.1", false)), PEER_PLACES_NONE);
        assert_true(come(&p, guest("10.0.0.3", true)) >= 0);
        assert_int_equal(count_known(&p), PEER_PLACES_MAX);
}

static void who_was_told_goes_first(void **state) {
        (void) state;
        port p = {0};
        for (int i = 0; i < PEER_PLACES_MAX; i++)
                assert_int_equal(come(&p, guest("10.0.0.1", true)), PEER_PLACES_ROOM);
        p.guests[40].done = true;
        assert_int_equal(come(&p, guest("192.0.2.1", false)), 40);
        /* Then strangers, those of the address with most places, the oldest of them; who waits for an answer last. */
        assert_int_equal(come(&p, guest("10.0.0.2", true)), 63);
        p.guests[0].waits = true;
        assert_int_equal(come(&p, guest("10.0.0.2", true)), 1);
}

static void addresses_are_told_apart(void **state) {
        (void) state;
        peer_place a, b;
        struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = 7, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
        const struct sockaddr other = { .sa_family = AF_UNIX };
        assert_true(peer_place_of((struct sockaddr *) &v4, &a) && peer_place_parse("127.0.0.1:4002", &b) && peer_place_equal(&a, &b));
        assert_true(peer_place_parse("localhost:4002", &b) && peer_place_equal(&a, &b));
        assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.1", &v6.sin6_addr), 1);
        assert_true(peer_place_of((struct sockaddr *) &v6, &b) && peer_place_equal(&a, &b)); /* as a port for both sees it */
        assert_true(peer_place_parse("[::1]:4002", &b) && !peer_place_equal(&a, &b));
        assert_false(peer_place_of(&other, &a));
        assert_false(peer_place_parse("node-1.example:4002", &a));
        assert_false(peer_place_parse("nonsense", &a));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_address_has_its_share), cmocka_unit_test(members_always_find_room),
                cmocka_unit_test(who_was_told_goes_first), cmocka_unit_test(addresses_are_told_apart),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
