#include "core/password_places.h"

bool password_place_allowed(const password_claim *taken, size_t count, const password_claim *claim) {
        size_t of_address = 0, of_user = 0, of_strangers = 0;
        for (size_t i = 0; i < count; i++) {
                of_address += taken[i].address == claim->address;
                of_strangers += !taken[i].known;
                of_user += !taken[i].known && taken[i].user == claim->user;
        }
        if (claim->known)
                return of_address < PLACES_OF_KNOWN;
        return of_address < PLACES_OF_STRANGER && of_user < PLACES_OF_USER && of_strangers < PLACES_OF_STRANGERS;
}

bool known_addresses_has(const known_addresses *k, uint64_t address, uint64_t now_us) {
        const struct known_address *set = k->entries[address % KNOWN_ADDRESS_SETS];
        for (int i = 0; i < KNOWN_ADDRESS_WAYS; i++)
                if (set[i].address == address && set[i].until_us > now_us)
                        return true;
        return false;
}

void known_addresses_put(known_addresses *k, uint64_t address, uint64_t now_us) {
        struct known_address *set = k->entries[address % KNOWN_ADDRESS_SETS], *place = &set[0];
        for (int i = 0; i < KNOWN_ADDRESS_WAYS; i++) {
                if (set[i].address == address && set[i].until_us != 0) {
                        place = &set[i];
                        break;
                }
                if (set[i].until_us < place->until_us)
                        place = &set[i];
        }
        *place = (struct known_address) { .address = address, .until_us = now_us + KNOWN_ADDRESS_S * UINT64_C(1000000) };
}
