/* Who may wait for a password to be checked: hashes are slow by design, so places are few, and who
 * fills them keeps others out. An address has so many, a user name, and all addresses together that
 * no right password came from lately: the rest is for those that one came from. Whether a name is a
 * user's makes no difference: an answer must not tell. */
#ifndef RQ_GATEWAY_PASSWORD_PLACES_H
#define RQ_GATEWAY_PASSWORD_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        PLACES_OF_STRANGER  = 8,    /* one address; */
        PLACES_OF_STRANGERS = 48,   /* all of them */
        PLACES_OF_KNOWN     = 32,   /* an address that a right password came from */
        PLACES_OF_USER      = 16,   /* one name, from strangers */
        KNOWN_ADDRESS_S     = 24 * 3600,
        KNOWN_ADDRESS_SETS  = 256,
        KNOWN_ADDRESS_WAYS  = 4,    /* 16 KiB */
};

/* address, user: keyed hashes, so that nobody can choose whom he is taken for. */
typedef struct password_claim { uint64_t address, user; bool known; } password_claim;

/* taken: those that wait now; whether there is a place at all is the caller's. */
bool password_place_allowed(const password_claim *taken, size_t count, const password_claim *claim);

/* Addresses that a right password came from lately; of those that share a place the one longest unused is forgotten. */
typedef struct known_addresses {
        struct known_address { uint64_t address, until_us; } entries[KNOWN_ADDRESS_SETS][KNOWN_ADDRESS_WAYS];
} known_addresses; /* all zero: empty */

bool known_addresses_has(const known_addresses *k, uint64_t address, uint64_t now_us);
void known_addresses_put(known_addresses *k, uint64_t address, uint64_t now_us);

#endif
