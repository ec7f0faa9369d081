#include "users/users.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "users/password.h"

enum {
        FILE_BYTES_MAX = 4 * 1024 * 1024,
        USERS_MAX      = 10000,
        TEXT_BYTES_MAX = 255, /* of a name, of a password */
};

struct rq_users {
        rq_user *list;           /* by name */
        size_t count;
        rq_permissions everybody;
        bool has_everybody;
};

#define complain(problem, ...) (rq_buf_printf(problem, __VA_ARGS__) < 0 ? RQ_ENOMEM : RQ_ECONFIG)

static const struct { const char *name; rq_permissions bit; } permissions[] = {
        { "all", RQ_MAY_ALL }, { "execute", RQ_MAY_EXECUTE }, { "query", RQ_MAY_QUERY }, { "load", RQ_MAY_LOAD }, { "backup", RQ_MAY_BACKUP },
        { "snapshot", RQ_MAY_SNAPSHOT }, { "status", RQ_MAY_STATUS }, { "ready", RQ_MAY_READY }, { "remove", RQ_MAY_REMOVE },
        { "leader-ops", RQ_MAY_LEADER_OPS }, { "join", RQ_MAY_JOIN }, { "join-read-only", RQ_MAY_JOIN_READ_REPLICA },
        { "join-read-replica", RQ_MAY_JOIN_READ_REPLICA }, { "ui", RQ_MAY_UI },
};

enum { PERMISSION_COUNT = sizeof permissions / sizeof permissions[0] };

rq_permissions rq_permission_of(rq_bytes name) {
        for (size_t i = 0; i < PERMISSION_COUNT; i++)
                if (rq_bytes_equal(name, rq_bytes_text(permissions[i].name)))
                        return permissions[i].bit;
        return 0;
}

static void wipe(const char *secret) {
        if (secret != NULL)
                explicit_bzero((char *) (uintptr_t) secret, strlen(secret));
        free((char *) (uintptr_t) secret);
}

rq_users *rq_users_free(rq_users *users) {
        if (users == NULL)
                return NULL;
        for (size_t i = 0; i < users->count; i++) {
                free((char *) (uintptr_t) users->list[i].name);
                wipe(users->list[i].password);
        }
        free(users->list);
        free(users);
        return NULL;
}

/* --- one entry -------------------------------------------------------------- */

typedef struct place {
        const char *file;
        size_t number;           /* of the entry, from 1 */
        char name[TEXT_BYTES_MAX + 1];
        rq_buf *problem;
} place;

#define complain_at(p, ...) (say_where(p) < 0 ? RQ_ENOMEM : complain((p)->problem, __VA_ARGS__))

static rq_err say_where(const place *p) {
        rq_err r = rq_buf_printf(p->problem, "%s: entry %zu", p->file, p->number);
        if (r >= 0 && p->name[0] != '\0')
                r = rq_buf_printf(p->problem, " (%s)", p->name);
        return r < 0 ? r : rq_buf_append_text(p->problem, ": ");
}

static rq_err unknown_permission(place *p, const char *name) {
        rq_err r = complain_at(p, "there is no permission \"%.64s\"; there are", name);
        for (size_t i = 0; i < PERMISSION_COUNT && r == RQ_ECONFIG; i++)
                r = complain(p->problem, "%s %s", i > 0 ? "," : "", permissions[i].name);
        return r;
}

static rq_err read_permissions(place *p, const json_t *perms, rq_permissions *ret_may) {
        size_t i;
        const json_t *item;
        rq_permissions may = 0;
        if (perms != NULL && !json_is_array(perms))
                return complain_at(p, "\"perms\" must be an array of strings, such as [\"query\", \"status\"]");
        json_array_foreach(perms, i, item) {
                if (!json_is_string(item))
                        return complain_at(p, "permission %zu of \"perms\" must be a string", i + 1);
                rq_permissions bit = rq_permission_of(rq_bytes_of(json_string_value(item), json_string_length(item)));
                if (bit == 0)
                        return unknown_permission(p, json_string_value(item));
                may |= bit;
        }
        *ret_may = may;
        return RQ_OK;
}

static rq_err check_password(place *p, const json_t *password, bool *ret_is_hashed) {
        if (password == NULL)
                return complain_at(p, "lacks \"password\"");
        if (!json_is_string(password))
                return complain_at(p, "\"password\" must be a string");
        if (json_string_length(password) == 0)
                return complain_at(p, "\"password\" is empty: anybody could log in (for everybody, use the user name \"*\")");
        if (json_string_length(password) > TEXT_BYTES_MAX)
                return complain_at(p, "\"password\" has more than %d bytes", TEXT_BYTES_MAX);
        switch (rq_password_form_of(json_string_value(password))) {
        case RQ_PASSWORD_UNKNOWN:
                return complain_at(p, "\"password\" looks like a hash, but of no kind that is accepted; those are yescrypt ($y$), bcrypt ($2b$), "
                                   "SHA-512 ($6$) and SHA-256 ($5$), as 'mkpasswd' makes them");
        case RQ_PASSWORD_CUT:
                return complain_at(p, "\"password\" is a hash of the wrong length: perhaps it was not copied whole");
        case RQ_PASSWORD_HASHED:
                *ret_is_hashed = true;
                return RQ_OK;
        case RQ_PASSWORD_PLAIN:
                break;
        }
        *ret_is_hashed = false;
        return RQ_OK;
}

static rq_err check_name(place *p, const json_t *name) {
        if (name == NULL)
                return complain_at(p, "lacks \"username\"");
        if (!json_is_string(name))
                return complain_at(p, "\"username\" must be a string");
        if (json_string_length(name) == 0)
                return complain_at(p, "\"username\" is empty");
        if (json_string_length(name) > TEXT_BYTES_MAX)
                return complain_at(p, "\"username\" has more than %d bytes", TEXT_BYTES_MAX);
        if (strchr(json_string_value(name), ':') != NULL)
                return complain_at(p, "\"username\" has a colon, which ends the name in HTTP");
        (void) strcpy(p->name, json_string_value(name));
        return RQ_OK;
}

static rq_err check_keys(place *p, const json_t *entry) {
        static const char *const keys[] = { "username", "password", "perms" };
        const char *key;
        const json_t *value;
        json_object_foreach((json_t *) (uintptr_t) entry, key, value) {
                bool known = false;
                for (size_t i = 0; i < 3; i++)
                        known = known || strcmp(key, keys[i]) == 0;
                if (!known)
                        return complain_at(p, "has no use for \"%.64s\"; there are \"username\", \"password\" and \"perms\"", key);
        }
        return RQ_OK;
}

static rq_err add_user(rq_users *users, const json_t *password, rq_user *user, const char *name) {
        user->name = strdup(name);
        user->password = strdup(json_string_value(password));
        if (user->name == NULL || user->password == NULL) {
                free((char *) (uintptr_t) user->name);
                wipe(user->password);
                return RQ_ENOMEM;
        }
        users->list[users->count++] = *user;
        return RQ_OK;
}

static rq_err read_entry(rq_users *users, place *p, const json_t *entry) {
        rq_user user = {0};
        p->name[0] = '\0';
        if (!json_is_object(entry))
                return complain_at(p, "must be an object with \"username\", \"password\" and \"perms\"");
        const json_t *password = json_object_get(entry, "password");
        rq_err r = check_name(p, json_object_get(entry, "username"));
        if (r >= 0)
                r = check_keys(p, entry);
        if (r >= 0)
                r = read_permissions(p, json_object_get(entry, "perms"), &user.may);
        if (r < 0)
                return r;
        if (strcmp(p->name, "*") == 0) {
                if (users->has_everybody)
                        return complain_at(p, "is there already");
                users->has_everybody = true;
                users->everybody = user.may;
                return RQ_OK;
        }
        r = check_password(p, password, &user.is_hashed);
        return r < 0 ? r : add_user(users, password, &user, p->name);
}

/* --- the file --------------------------------------------------------------- */

static int compare(const void *a, const void *b) { return strcmp(((const rq_user *) a)->name, ((const rq_user *) b)->name); }

static rq_err read_entries(rq_users *users, const char *file, const json_t *root, rq_buf *problem) {
        place p = { .file = file, .problem = problem };
        size_t i;
        const json_t *entry;
        if (!json_is_array(root))
                return complain(problem, "%s: must be an array of users: [{\"username\": …, \"password\": …, \"perms\": […]}]", file);
        if (json_array_size(root) > USERS_MAX)
                return complain(problem, "%s: has more than %d users", file, USERS_MAX);
        users->list = calloc(json_array_size(root) + 1, sizeof *users->list);
        if (users->list == NULL)
                return RQ_ENOMEM;
        json_array_foreach(root, i, entry) {
                p.number = i + 1;
                rq_err r = read_entry(users, &p, entry);
                if (r < 0)
                        return r;
        }
        qsort(users->list, users->count, sizeof *users->list, compare);
        for (size_t k = 1; k < users->count; k++)
                if (strcmp(users->list[k - 1].name, users->list[k].name) == 0)
                        return complain(problem, "%s: user \"%s\" is there twice; one entry must have all of its permissions", file, users->list[k].name);
        return RQ_OK;
}

static rq_err read_text(const char *file, rq_buf *text, rq_buf *problem) {
        struct stat st;
        RQ_CLEANUP(rq_closep) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) != 0)
                return complain(problem, "cannot read -auth %s: %s", file, strerror(errno));
        if (!S_ISREG(st.st_mode))
                return complain(problem, "cannot read -auth %s: not a file", file);
        /* Room for all of it at once: growing would leave copies of passwords behind. */
        if (rq_buf_reserve(text, st.st_size < FILE_BYTES_MAX ? (size_t) st.st_size + 1 : FILE_BYTES_MAX + 1) < 0)
                return RQ_ENOMEM;
        while (text->size <= FILE_BYTES_MAX) {
                if (text->size == text->capacity && rq_buf_reserve(text, 4096) < 0)
                        return RQ_ENOMEM;
                ssize_t n = read(fd, text->data + text->size, text->capacity - text->size);
                if (n < 0 && errno != EINTR)
                        return complain(problem, "cannot read -auth %s: %s", file, strerror(errno));
                if (n == 0)
                        return RQ_OK;
                text->size += n > 0 ? (size_t) n : 0;
        }
        return complain(problem, "%s: larger than %d bytes", file, FILE_BYTES_MAX);
}

static void wipe_buf(rq_buf *buf) {
        if (buf->data != NULL)
                explicit_bzero(buf->data, buf->capacity);
        rq_buf_done(buf);
}

static void users_freep(rq_users **users) { *users = rq_users_free(*users); }
static void json_freep(json_t **json) { json_decref(*json); }

rq_err rq_users_read(const char *file, rq_users **ret_users, rq_buf *problem) {
        RQ_CLEANUP(wipe_buf) rq_buf text = {0};
        RQ_CLEANUP(users_freep) rq_users *users = calloc(1, sizeof *users);
        RQ_CLEANUP(json_freep) json_t *root = NULL;
        json_error_t error;
        if (users == NULL)
                return RQ_ENOMEM;
        rq_err r = read_text(file, &text, problem);
        if (r < 0)
                return r;
        root = json_loadb((const char *) text.data, text.size, JSON_REJECT_DUPLICATES, &error);
        if (root == NULL) /* its words may show a piece of the text, hence a password: the place is enough */
                return complain(problem, "%s:%d: not valid JSON, column %d%s", file, error.line, error.column,
                                json_error_code(&error) == json_error_duplicate_key ? " (the same key twice in one entry)" : "");
        r = read_entries(users, file, root, problem);
        if (r >= 0)
                *ret_users = RQ_TAKE(users, NULL);
        return r;
}

const rq_user *rq_users_find(const rq_users *users, rq_bytes name) {
        size_t low = 0, high = users->count;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                const char *other = users->list[middle].name;
                size_t other_size = strlen(other), size = name.size < other_size ? name.size : other_size;
                int order = size > 0 ? memcmp(name.data, other, size) : 0;
                if (order == 0)
                        order = (name.size > other_size) - (name.size < other_size);
                if (order == 0)
                        return &users->list[middle];
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return NULL;
}

rq_permissions rq_users_everybody(const rq_users *users) { return users->everybody; }
size_t rq_users_count(const rq_users *users) { return users->count; }

rq_err rq_users_credentials(const rq_users *users, const char *file, const char *name, rq_buf *ret_credentials, rq_buf *problem) {
        const rq_user *user = rq_users_find(users, rq_bytes_text(name));
        if (user == NULL)
                return complain(problem, "-join-as %s: %s has no user of that name", name, file);
        if (user->is_hashed)
                return complain(problem, "-join-as %s: the password in %s is hashed, but this node must know it to show it: write it as it is here, with the permission "
                                "\"join\" or \"join-read-replica\" only; the other nodes may have it hashed", name, file);
        return rq_buf_printf(ret_credentials, "%s:%s", user->name, user->password);
}

const rq_user *rq_users_any_hashed(const rq_users *users) {
        for (size_t i = 0; i < users->count; i++)
                if (users->list[i].is_hashed)
                        return &users->list[i];
        return NULL;
}
