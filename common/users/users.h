/* Who may do what: the file of -auth, in rqlite's form, checked as a whole.
 *
 *   [ {"username": "bob", "password": "...", "perms": ["query", "status"]},
 *     {"username": "*", "perms": ["ready"]} ]
 *
 * A password is written as it is, or as crypt(3) hashes it (yescrypt, bcrypt,
 * SHA-512, SHA-256). Each entry stands for itself: nothing is taken over from the one before.
 * "*" is everybody, also who gives no name or a wrong password. What is read never changes: a
 * changed file is another rq_users. Knows neither HTTP nor peers. */
#ifndef RQ_USERS_USERS_H
#define RQ_USERS_USERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "users/permissions.h"

/* Of a permission's name; 0: there is none of that name. */
rq_permissions rq_permission_of(rq_bytes name);

typedef struct rq_user {
        const char *name;
        const char *password;    /* never logged */
        bool is_hashed;
        rq_permissions may;
} rq_user;

typedef struct rq_users rq_users;

/* problem gets one line: file, place in it, what is wrong, what would be right; no
 * password. Errors: RQ_ECONFIG, RQ_ENOMEM. */
rq_err rq_users_read(const char *file, rq_users **ret_users, rq_buf *problem);
rq_users *rq_users_free(rq_users *users); /* accepts NULL, returns it; wipes passwords */

const rq_user *rq_users_find(const rq_users *users, rq_bytes name); /* NULL: nobody of that name */
rq_permissions rq_users_everybody(const rq_users *users);           /* what "*" may */
size_t rq_users_count(const rq_users *users);                       /* without "*" */
/* What the user shows to log in, "name:password"; wipe it. Errors: RQ_ECONFIG (nobody of that name, or only a hash is
 * known; problem says so, naming file), RQ_ENOMEM. */
rq_err rq_users_credentials(const rq_users *users, const char *file, const char *name, rq_buf *ret_credentials, rq_buf *problem);
/* One with a hashed password, if there is any: what it costs to check one. */
const rq_user *rq_users_any_hashed(const rq_users *users);

#endif
