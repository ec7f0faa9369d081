#include "peer/peer_resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/list.h"
#include "config/config.h"

/* Outlives the resolver as long as a thread still asks. */
typedef struct mailbox {
        pthread_mutex_t lock;
        unsigned users;          /* the resolver and each thread */
        rq_list answered;        /* peer_lookup */
        rq_wake *wake;           /* NULL: the resolver is gone */
} mailbox;

struct peer_resolver {
        mailbox *box;
        rq_wake wake;
};

struct peer_lookup {
        rq_list node;            /* in answered, when it is */
        mailbox *box;
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        void (*on_answer)(void *arg, rq_err err, const peer_addresses *addresses);
        void *arg;
        rq_err err;
        peer_addresses addresses;
        bool answered, cancelled; /* under the lock */
};

static rq_err look_up(const char *host, const char *port, int flags, peer_addresses *ret_addresses) {
        struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags }, *list = NULL;
        if (getaddrinfo(host, port, &hints, &list) != 0)
                return RQ_ENOENT;
        peer_addresses found = {0};
        for (const struct addrinfo *a = list; a != NULL && found.count < PEER_ADDRESSES_MAX; a = a->ai_next) {
                if (a->ai_addrlen > sizeof found.v[0])
                        continue;
                memcpy(&found.v[found.count], a->ai_addr, a->ai_addrlen);
                found.sizes[found.count++] = a->ai_addrlen;
        }
        freeaddrinfo(list);
        if (found.count == 0)
                return RQ_ENOENT;
        *ret_addresses = found;
        return RQ_OK;
}

bool peer_resolve_literal(const char *host, const char *port, peer_addresses *ret_addresses) {
        const int numeric = AI_NUMERICHOST | AI_NUMERICSERV;
        peer_addresses both, six;
        if (strcasecmp(host, "localhost") != 0)
                return look_up(host, port, numeric, ret_addresses) >= 0;
        if (look_up("127.0.0.1", port, numeric, &both) < 0)
                return false;
        if (look_up("::1", port, numeric, &six) >= 0) {
                both.v[both.count] = six.v[0];
                both.sizes[both.count++] = six.sizes[0];
        }
        *ret_addresses = both;
        return true;
}

/* --- threads ---------------------------------------------------------------- */

/* Unlocks. */
static void leave(mailbox *box) {
        const bool last = --box->users == 0;
        (void) pthread_mutex_unlock(&box->lock);
        if (!last)
                return;
        (void) pthread_mutex_destroy(&box->lock);
        free(box);
}

static void *ask(void *arg) {
        peer_lookup *lookup = arg;
        mailbox *box = lookup->box;
        lookup->err = look_up(lookup->host, lookup->port, AI_ADDRCONFIG, &lookup->addresses);
        (void) pthread_mutex_lock(&box->lock);
        if (lookup->cancelled) {
                free(lookup);
        } else {
                lookup->answered = true;
                rq_list_append(&box->answered, &lookup->node);
                rq_wake_signal(box->wake);
        }
        leave(box);
        return NULL;
}

static void on_wake(void *arg) {
        peer_resolver *resolver = arg;
        mailbox *box = resolver->box;
        for (;;) {
                peer_lookup *lookup = NULL;
                (void) pthread_mutex_lock(&box->lock);
                if (!rq_list_empty(&box->answered)) {
                        lookup = RQ_LIST_ENTRY(box->answered.next, peer_lookup, node);
                        rq_list_remove(&lookup->node);
                }
                (void) pthread_mutex_unlock(&box->lock);
                if (lookup == NULL)
                        return;
                lookup->on_answer(lookup->arg, lookup->err, &lookup->addresses);
                free(lookup);
        }
}

rq_err peer_resolver_ask(peer_resolver *resolver, const char *host, const char *port,
                         void (*on_answer)(void *arg, rq_err err, const peer_addresses *addresses), void *arg,
                         peer_lookup **ret_lookup) {
        pthread_t thread;
        pthread_attr_t detached;
        sigset_t all, before;
        peer_lookup *lookup = calloc(1, sizeof *lookup);
        if (lookup == NULL)
                return RQ_ENOMEM;
        lookup->box = resolver->box;
        lookup->on_answer = on_answer;
        lookup->arg = arg;
        (void) snprintf(lookup->host, sizeof lookup->host, "%s", host);
        (void) snprintf(lookup->port, sizeof lookup->port, "%s", port);

        (void) pthread_mutex_lock(&resolver->box->lock);
        resolver->box->users++;
        (void) pthread_mutex_unlock(&resolver->box->lock);
        /* Signals are the loop's. */
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        (void) pthread_attr_init(&detached);
        (void) pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        int r = pthread_create(&thread, &detached, ask, lookup);
        (void) pthread_attr_destroy(&detached);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r != 0) {
                (void) pthread_mutex_lock(&resolver->box->lock);
                leave(resolver->box);
                free(lookup);
                return RQ_ENOMEM;
        }
        *ret_lookup = lookup;
        return RQ_OK;
}

peer_lookup *peer_lookup_cancel(peer_lookup *lookup) {
        if (lookup == NULL)
                return NULL;
        mailbox *box = lookup->box;
        (void) pthread_mutex_lock(&box->lock);
        lookup->cancelled = true;
        if (lookup->answered) {
                rq_list_remove(&lookup->node);
                free(lookup);
        } /* else its thread frees it */
        (void) pthread_mutex_unlock(&box->lock);
        return NULL;
}

rq_err peer_resolver_new(rq_loop *loop, peer_resolver **ret_resolver) {
        peer_resolver *resolver = calloc(1, sizeof *resolver);
        mailbox *box = calloc(1, sizeof *box);
        if (resolver == NULL || box == NULL || rq_wake_init(&resolver->wake, loop, on_wake, resolver) < 0) {
                free(resolver);
                free(box);
                return RQ_ENOMEM;
        }
        (void) pthread_mutex_init(&box->lock, NULL);
        rq_list_init(&box->answered);
        box->users = 1;
        box->wake = &resolver->wake;
        resolver->box = box;
        *ret_resolver = resolver;
        return RQ_OK;
}

peer_resolver *peer_resolver_free(peer_resolver *resolver) {
        if (resolver == NULL)
                return NULL;
        (void) pthread_mutex_lock(&resolver->box->lock);
        rq_assert(rq_list_empty(&resolver->box->answered));
        resolver->box->wake = NULL; /* nobody signals it: every lookup is cancelled */
        leave(resolver->box);
        rq_wake_done(&resolver->wake);
        free(resolver);
        return NULL;
}
