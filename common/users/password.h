/* Does a password fit what the file of users has? */
#ifndef RQ_USERS_PASSWORD_H
#define RQ_USERS_PASSWORD_H

#include <stdbool.h>

#include "base/bytes.h"

typedef enum rq_password_form {
        RQ_PASSWORD_PLAIN,
        RQ_PASSWORD_HASHED,      /* one that rq_password_fits_hash() can check */
        RQ_PASSWORD_UNKNOWN,     /* looks like a hash ("$name$…"), but of no kind that is good enough or known */
        RQ_PASSWORD_CUT,         /* a hash of a known kind that lacks characters, or has more */
} rq_password_form;

rq_password_form rq_password_form_of(const char *text);

/* Compares in a time that depends on given's size alone. */
bool rq_password_equal(const char *stored, rq_bytes given);

/* By crypt(3). Takes 1 to some 100 ms and memory of its own, as the hash was made: for a
 * thread of its own. false also if it can't be computed, or given has a zero byte. */
bool rq_password_fits_hash(const char *stored, rq_bytes given);

#endif
