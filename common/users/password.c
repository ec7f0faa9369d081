#include "users/password.h"

#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum { GIVEN_BYTES_MAX = CRYPT_MAX_PASSPHRASE_SIZE };

/* How long what follows the last '$' is, by kind. */
static const struct { const char *prefix; size_t last_size; } kinds[] = {
        { "$y$", 43 }, { "$gy$", 43 }, { "$7$", 43 }, { "$2a$", 53 }, { "$2b$", 53 }, { "$2y$", 53 }, { "$6$", 86 }, { "$5$", 43 },
};

static bool has_form_of_hash(const char *text) {
        size_t size = text[0] == '$' ? strspn(text + 1, "abcdefghijklmnopqrstuvwxyz0123456789-") : 0;
        return size > 0 && size < 16 && text[1 + size] == '$';
}

rq_password_form rq_password_form_of(const char *text) {
        if (!has_form_of_hash(text))
                return RQ_PASSWORD_PLAIN;
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
                if (strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix)) != 0)
                        continue;
                int verdict = crypt_checksalt(text); /* how dear or how new it is, is the operator's choice */
                if (verdict == CRYPT_SALT_INVALID || verdict == CRYPT_SALT_METHOD_DISABLED)
                        return RQ_PASSWORD_UNKNOWN;
                return strlen(strrchr(text, '$') + 1) == kinds[i].last_size && strlen(text) < CRYPT_OUTPUT_SIZE ? RQ_PASSWORD_HASHED : RQ_PASSWORD_CUT;
        }
        return RQ_PASSWORD_UNKNOWN;
}

bool rq_password_equal(const char *stored, rq_bytes given) {
        size_t stored_size = strlen(stored);
        volatile uint8_t differs = stored_size != given.size;
        for (size_t i = 0; i < given.size; i++)
                differs = (uint8_t) (differs | (given.data[i] ^ (uint8_t) stored[i < stored_size ? i : stored_size]));
        return differs == 0;
}

static void wipe_datap(struct crypt_data **data) {
        if (*data != NULL)
                explicit_bzero(*data, sizeof **data);
        free(*data);
}

bool rq_password_fits_hash(const char *stored, rq_bytes given) {
        RQ_CLEANUP(wipe_datap) struct crypt_data *data = calloc(1, sizeof *data);
        char phrase[GIVEN_BYTES_MAX];
        if (data == NULL || given.size >= sizeof phrase || (given.size > 0 && memchr(given.data, 0, given.size) != NULL))
                return false;
        if (given.size > 0)
                memcpy(phrase, given.data, given.size);
        phrase[given.size] = '\0';
        const char *hash = crypt_r(phrase, stored, data);
        explicit_bzero(phrase, sizeof phrase);
        return hash != NULL && hash[0] != '*' && rq_password_equal(stored, rq_bytes_text(hash));
}
