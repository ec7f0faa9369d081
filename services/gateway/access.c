#include "access.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/rng.h"
#include "core/access_cache.h"
#include "core/attempts.h"
#include "core/basic_auth.h"
#include "core/password_places.h"
#include "io/password_thread.h"
#include "log/log.h"
#include "log/log_fields.h"
#include "users/password.h"
#include "users/users.h"

enum { LOOK_MS = 1000, NAME_BYTES_MAX = 256, SHOWN_BYTES = 64 };

/* Of one user from one address, and of all users from one address. */
static const attempts_rate user_rate = { .burst = 10, .interval_ms = 1000 }, address_rate = { .burst = 50, .interval_ms = 200 };

/* A password that the thread has; several requests may wait for it. */
typedef struct check {
        uint64_t id;             /* 0: free */
        rq_hash128 hash;         /* of the header */
        char name[NAME_BYTES_MAX], peer[HTTP_PEER_BYTES];
        char *stored;            /* what it is checked against; NULL: nobody of that name, it never fits */
        uint64_t keys[2];        /* of user and address, of the address */
        password_claim claim;
} check;

typedef struct file_stamp { dev_t device; ino_t inode; off_t size; struct timespec changed, moved; } file_stamp;

struct access_control {
        rq_loop *loop;
        const char *file;        /* borrowed from the configuration */
        rq_users *users;         /* NULL: no -auth */
        metrics *metrics;
        void (*on_checked)(void *arg, uint64_t check, rq_permissions may);
        void (*on_changed)(void *arg); /* NULL: nobody asks */
        void *arg;

        rq_hash_key key;
        access_cache cache;
        attempts attempts;
        known_addresses known;
        password_thread *thread; /* NULL: no hash was ever checked */
        check checks[PASSWORD_JOBS_MAX];
        uint64_t last_check;

        file_stamp stamp;        /* of what was read, or refused */
        rq_timer look;
        rq_log_limit wrong_log, slow_log;
};

bool access_is_on(const access_control *a) { return a->users != NULL; }

/* --- wrong passwords -------------------------------------------------------- */

/* A name from a stranger: what would confuse a reader of the log is left out. */
static const char *shown(const char *name, char text[static SHOWN_BYTES]) {
        size_t size = 0;
        for (const char *p = name; *p != '\0' && size + 1 < SHOWN_BYTES; p++)
                text[size++] = *p >= ' ' && *p <= '~' ? *p : '?';
        text[size] = '\0';
        return text;
}

static void log_refused(access_control *a, rq_log_limit *limit, const check *c, const char *what) {
        char name[SHOWN_BYTES], user[SHOWN_BYTES + 16], client[HTTP_PEER_BYTES + 16];
        const char *fields[] = {
                RQ_MSG_LOGIN_REFUSED, rq_log_field_text(user, sizeof user, RQ_FIELD_USER, shown(c->name, name)),
                rq_log_field_text(client, sizeof client, RQ_FIELD_CLIENT, c->peer), NULL,
        };
        uint32_t suppressed;
        a->metrics->http.auth_fail++;
        if (rq_log_allowed(limit, &suppressed))
                rq_log_write(LOG_WARNING, fields, "%s: \"%s\" from %s (%u more not shown)", what, name, c->peer, suppressed);
}

static void log_wrong(access_control *a, const check *c) { log_refused(a, &a->wrong_log, c, "Wrong user name or password"); }
static void log_slowed(access_control *a, const check *c) { log_refused(a, &a->slow_log, c, "Too many wrong passwords, to be slowed"); }

static void count_keys(access_control *a, check *c, const http_peer *peer) {
        uint8_t text[sizeof peer->key + NAME_BYTES_MAX];
        size_t name_size = strlen(c->name);
        memcpy(text, peer->key, sizeof peer->key);
        memcpy(text + sizeof peer->key, c->name, name_size);
        c->keys[0] = rq_keyed_hash(&a->key, rq_bytes_of(text, sizeof peer->key + name_size)).low;
        c->keys[1] = rq_keyed_hash(&a->key, rq_bytes_of(peer->key, sizeof peer->key)).high;
        c->claim = (password_claim) {
                .address = c->keys[1], .user = rq_keyed_hash(&a->key, rq_bytes_text(c->name)).low,
                .known = known_addresses_has(&a->known, c->keys[1], rq_clock_mono_us()),
        };
}

/* Every password that is looked at counts as wrong until it is found right. */
static uint32_t take_attempt(access_control *a, const check *c) {
        uint64_t now_us = rq_clock_mono_us();
        uint32_t wait_ms = attempts_take(&a->attempts, c->keys[0], user_rate, now_us);
        if (wait_ms > 0)
                return wait_ms;
        wait_ms = attempts_take(&a->attempts, c->keys[1], address_rate, now_us);
        if (wait_ms > 0)
                attempts_give_back(&a->attempts, c->keys[0], user_rate);
        return wait_ms;
}

/* It was right: no attempt, and its address is known from now on. */
static void password_was_right(access_control *a, const check *c) {
        attempts_give_back(&a->attempts, c->keys[0], user_rate);
        attempts_give_back(&a->attempts, c->keys[1], address_rate);
        known_addresses_put(&a->known, c->keys[1], rq_clock_mono_us());
}

static void give_attempt_back(access_control *a, const check *c) {
        attempts_give_back(&a->attempts, c->keys[0], user_rate);
        attempts_give_back(&a->attempts, c->keys[1], address_rate);
}

/* --- hashes ----------------------------------------------------------------- */

static void finish_check(access_control *a, check *c, bool fits) {
        const rq_user *user = c->stored != NULL ? rq_users_find(a->users, rq_bytes_text(c->name)) : NULL;
        uint64_t id = c->id;
        rq_permissions may = rq_users_everybody(a->users);
        /* The users may have changed meanwhile: it counts if it fits what they say now. */
        if (fits && user != NULL && strcmp(user->password, c->stored) == 0) {
                may |= user->may;
                access_cache_put(&a->cache, c->hash, user->may);
                password_was_right(a, c);
        } else {
                log_wrong(a, c);
        }
        if (c->stored != NULL)
                explicit_bzero(c->stored, strlen(c->stored));
        free(c->stored);
        *c = (check) {0};
        a->on_checked(a->arg, id, may);
}

static void on_password(void *arg, uint64_t id, bool fits) {
        access_control *a = arg;
        for (size_t i = 0; i < PASSWORD_JOBS_MAX; i++)
                if (a->checks[i].id == id) {
                        finish_check(a, &a->checks[i], fits);
                        return;
                }
}

static check *find_place(access_control *a, const password_claim *claim) {
        password_claim taken[PASSWORD_JOBS_MAX];
        check *place = NULL;
        size_t count = 0;
        for (size_t i = 0; i < PASSWORD_JOBS_MAX; i++)
                if (a->checks[i].id != 0)
                        taken[count++] = a->checks[i].claim;
                else
                        place = &a->checks[i];
        return password_place_allowed(taken, count, claim) ? place : NULL;
}

/* Also for a name that nobody has, so that the time doesn't tell which names there are. */
static rq_err begin_check(access_control *a, const check *c, const rq_user *user, rq_bytes password, uint64_t *ret_id) {
        const rq_user *against = user != NULL ? user : rq_users_any_hashed(a->users);
        check *place = find_place(a, &c->claim);
        rq_err r = RQ_OK;
        if (place == NULL)
                return RQ_EFULL;
        if (a->thread == NULL)
                r = password_thread_new(a->loop, on_password, a, &a->thread);
        if (r < 0)
                return r;
        char *stored = user != NULL ? strdup(user->password) : NULL;
        if (user != NULL && stored == NULL)
                return RQ_ENOMEM;
        r = password_thread_check(a->thread, a->last_check + 1, against->password, password, c->claim.known);
        if (r < 0) {
                free(stored);
                return r;
        }
        *place = *c;
        place->stored = stored;
        *ret_id = place->id = ++a->last_check;
        return RQ_OK;
}

/* --- requests --------------------------------------------------------------- */

static access_answer answer_of(access_control *a, rq_permissions may, rq_permissions needed) {
        bool covered = rq_permissions_cover(may, needed);
        if (covered)
                a->metrics->http.auth_ok++;
        else
                a->metrics->http.auth_fail++;
        return (access_answer) { .verdict = covered ? ACCESS_GRANTED : ACCESS_DENIED };
}

/* A header that was not seen before. */
static access_answer check_password(access_control *a, check *c, const basic_auth *auth, rq_permissions needed) {
        const rq_user *user = rq_users_find(a->users, auth->user);
        uint32_t wait_ms = take_attempt(a, c);
        access_answer answer = { .verdict = ACCESS_DENIED };
        if (wait_ms > 0) {
                log_slowed(a, c);
                return (access_answer) { .verdict = ACCESS_SLOWED, .wait_s = wait_ms / 1000 + 1 };
        }
        if (user != NULL ? user->is_hashed : rq_users_any_hashed(a->users) != NULL) {
                answer.verdict = begin_check(a, c, user, auth->password, &answer.check) < 0 ? ACCESS_BUSY : ACCESS_LATER;
                if (answer.verdict == ACCESS_BUSY)
                        give_attempt_back(a, c);
                return answer;
        }
        if (user == NULL || !rq_password_equal(user->password, auth->password)) {
                log_wrong(a, c);
                return answer;
        }
        password_was_right(a, c);
        access_cache_put(&a->cache, c->hash, user->may);
        return answer_of(a, user->may | rq_users_everybody(a->users), needed);
}

/* What needs no password, or one that is known or being checked. shown: what the client shows, as it is. */
static bool check_known(access_control *a, rq_bytes shown, rq_permissions needed, rq_hash128 *ret_hash, access_answer *ret_answer) {
        const rq_permissions everybody = rq_users_everybody(a->users);
        rq_permissions may;
        if (rq_permissions_cover(everybody, needed) || shown.size == 0) {
                *ret_answer = answer_of(a, everybody, needed);
                return true;
        }
        *ret_hash = rq_keyed_hash(&a->key, shown);
        if (access_cache_find(&a->cache, *ret_hash, &may)) {
                *ret_answer = answer_of(a, may | everybody, needed);
                return true;
        }
        for (size_t i = 0; i < PASSWORD_JOBS_MAX; i++)
                if (a->checks[i].id != 0 && rq_hash128_equal(a->checks[i].hash, *ret_hash)) {
                        *ret_answer = (access_answer) { .verdict = ACCESS_LATER, .check = a->checks[i].id };
                        return true;
                }
        return false;
}

static access_answer check_new(access_control *a, check *c, const basic_auth *auth, const http_peer *peer, rq_permissions needed) {
        memcpy(c->name, auth->user.data, auth->user.size);
        (void) strcpy(c->peer, peer->text);
        count_keys(a, c, peer);
        return check_password(a, c, auth, needed);
}

access_answer access_check(access_control *a, http_conn *conn, const route *r) {
        rq_bytes header = http_conn_request(conn)->authorization;
        access_answer answer;
        basic_auth auth;
        http_peer peer;
        check c = {0};
        if (r->needs == ROUTE_OPEN || a->users == NULL)
                return (access_answer) { .verdict = ACCESS_GRANTED };
        if (check_known(a, header, r->needs, &c.hash, &answer))
                return answer;
        if (!basic_auth_parse(header, &auth) || auth.user.size == 0 || auth.user.size >= NAME_BYTES_MAX)
                return answer_of(a, rq_users_everybody(a->users), r->needs);
        http_conn_peer(conn, &peer);
        answer = check_new(a, &c, &auth, &peer, r->needs);
        explicit_bzero(&auth, sizeof auth);
        return answer;
}

/* --- nodes that join -------------------------------------------------------- */

static rq_permissions join_permission(bool read_replica) { return read_replica ? RQ_MAY_JOIN_READ_REPLICA : RQ_MAY_JOIN; }

bool access_may_join(rq_permissions may, bool read_replica) { return rq_permissions_cover(may, join_permission(read_replica)); }

static bool split_credentials(rq_bytes credentials, basic_auth *ret_auth) {
        const uint8_t *colon = credentials.size > 0 && credentials.size <= sizeof ret_auth->text ? memchr(credentials.data, ':', credentials.size) : NULL;
        if (colon == NULL)
                return false;
        const size_t name_size = (size_t) (colon - credentials.data);
        memcpy(ret_auth->text, credentials.data, credentials.size);
        ret_auth->user = rq_bytes_of(ret_auth->text, name_size);
        ret_auth->password = rq_bytes_of(ret_auth->text + name_size + 1, credentials.size - name_size - 1);
        return name_size > 0 && name_size < NAME_BYTES_MAX && memchr(credentials.data, '\0', credentials.size) == NULL;
}

access_answer access_check_join(access_control *a, rq_bytes credentials, const char *address, bool read_replica) {
        const rq_permissions needed = join_permission(read_replica);
        access_answer answer;
        basic_auth auth;
        http_peer peer;
        check c = {0};
        if (a->users == NULL)
                return (access_answer) { .verdict = ACCESS_GRANTED };
        if (check_known(a, credentials, needed, &c.hash, &answer))
                return answer;
        if (split_credentials(credentials, &auth)) {
                http_peer_of(address, &peer);
                answer = check_new(a, &c, &auth, &peer, needed);
        } else {
                answer = answer_of(a, rq_users_everybody(a->users), needed);
        }
        explicit_bzero(&auth, sizeof auth);
        return answer;
}

rq_err access_credentials_of(const access_control *a, const char *user, rq_buf *ret_credentials, rq_buf *problem) {
        return rq_users_credentials(a->users, a->file, user, ret_credentials, problem);
}

void access_watch(access_control *a, void (*on_changed)(void *arg)) { a->on_changed = on_changed; }

/* --- the file --------------------------------------------------------------- */

static file_stamp stamp_of(const char *file) {
        struct stat st;
        if (stat(file, &st) != 0)
                return (file_stamp) {0};
        return (file_stamp) { .device = st.st_dev, .inode = st.st_ino, .size = st.st_size, .changed = st.st_mtim, .moved = st.st_ctim };
}

static bool same_time(struct timespec a, struct timespec b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

static bool same_stamp(const file_stamp *a, const file_stamp *b) {
        return a->device == b->device && a->inode == b->inode && a->size == b->size && same_time(a->changed, b->changed) && same_time(a->moved, b->moved);
}

static rq_err read_users(access_control *a, rq_buf *problem) {
        rq_users *users;
        a->stamp = stamp_of(a->file); /* before reading: a change in between is seen next time */
        rq_err r = rq_users_read(a->file, &users, problem);
        if (r < 0)
                return r;
        (void) rq_users_free(a->users);
        a->users = users;
        access_cache_clear(&a->cache);
        if (a->on_changed != NULL)
                a->on_changed(a->arg);
        return RQ_OK;
}

void access_reload(access_control *a) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        if (a->file[0] == '\0')
                return;
        rq_err r = read_users(a, &problem);
        if (r >= 0)
                rq_log_event(LOG_NOTICE, RQ_MSG_RELOADED, "Users were read again: %zu in %s", rq_users_count(a->users), a->file);
        else
                rq_log_event(LOG_ERR, RQ_MSG_RELOAD_FAILED, "The changed users are not used, the ones before are: %.*s",
                             r == RQ_ECONFIG ? (int) problem.size : 13, r == RQ_ECONFIG ? (const char *) problem.data : "out of memory");
}

static void on_look(void *arg) {
        access_control *a = arg;
        file_stamp now = stamp_of(a->file);
        if (!same_stamp(&now, &a->stamp))
                access_reload(a);
        rq_timer_set(&a->look, LOOK_MS * 1000);
}

static rq_err open_users(access_control *a) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        rq_err r = read_users(a, &problem);
        if (r == RQ_ECONFIG)
                rq_log_event(LOG_ERR, RQ_MSG_BAD_CONFIG, "%.*s", (int) problem.size, (const char *) problem.data);
        if (r >= 0)
                r = rq_timer_init(&a->look, a->loop, on_look, a);
        if (r < 0)
                return r;
        rq_timer_set(&a->look, LOOK_MS * 1000);
        rq_log_info("Users: %zu in %s", rq_users_count(a->users), a->file);
        return RQ_OK;
}

rq_err access_new(rq_loop *loop, const char *file, metrics *counters, void (*on_checked)(void *arg, uint64_t check, rq_permissions may),
                  void *arg, access_control **ret_access) {
        access_control *a = calloc(1, sizeof *a);
        if (a == NULL)
                return RQ_ENOMEM;
        a->loop = loop;
        a->file = file;
        a->metrics = counters;
        a->on_checked = on_checked;
        a->arg = arg;
        a->wrong_log = a->slow_log = (rq_log_limit) { .interval_ms = 1000, .burst = 5 };
        rq_random_bytes(&a->key, sizeof a->key);
        rq_err r = file[0] != '\0' ? open_users(a) : RQ_OK;
        if (r < 0) {
                (void) access_free(a);
                return r;
        }
        *ret_access = a;
        return RQ_OK;
}

access_control *access_free(access_control *a) {
        if (a == NULL)
                return NULL;
        (void) password_thread_free(a->thread);
        for (size_t i = 0; i < PASSWORD_JOBS_MAX; i++)
                free(a->checks[i].stored);
        rq_timer_done(&a->look);
        (void) rq_users_free(a->users);
        free(a);
        return NULL;
}
