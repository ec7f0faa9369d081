#include "peer/peer_dial.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/rng.h"
#include "config/config.h"
#include "peer/peer_link.h"

typedef enum dial_state { RESTING, WAITING, RESOLVING, CONNECTING } dial_state;

struct peer_dial {
        rq_loop *loop;
        peer_resolver *resolver;
        const peer_dial_handlers *handlers;
        void *owner;
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        dial_state state;
        rq_timer timer;            /* WAITING: begin; CONNECTING: give up */
        peer_lookup *lookup;
        peer_addresses addresses;
        size_t next;               /* address to try */
        int fd;
        struct event *writable;
        uint64_t back_off_us;
        rq_rng rng;
        const char *problem;       /* of the first address, or of one that didn't just refuse */
        bool refused;              /* by all that answered */
};

static void try_next(peer_dial *dial);

static void end_attempt(peer_dial *dial) {
        if (dial->writable != NULL)
                event_free(dial->writable);
        dial->writable = NULL;
        rq_closep(&dial->fd);
        rq_timer_cancel(&dial->timer);
}

static void wait_for(peer_dial *dial, uint64_t after_us) {
        dial->state = WAITING;
        rq_timer_set(&dial->timer, after_us);
}

static void back_off(peer_dial *dial, bool slow) {
        uint64_t us = slow ? PEER_DIAL_SLOW_US : dial->back_off_us;
        dial->back_off_us = dial->back_off_us * 2 < PEER_DIAL_LAST_US ? dial->back_off_us * 2 : PEER_DIAL_LAST_US;
        wait_for(dial, us - us / 4 + rq_rng_below(&dial->rng, us / 2));
}

static void failed(peer_dial *dial, const char *problem, bool refused) {
        back_off(dial, false);
        dial->handlers->on_failed(dial->owner, problem, refused);
}

static void connected(peer_dial *dial) {
        int fd = RQ_TAKE(dial->fd, -1);
        end_attempt(dial);
        dial->state = RESTING;
        dial->handlers->on_connected(dial->owner, fd);
}

static const char *problem_of(int errno_value) {
        switch (errno_value) {
        case ECONNREFUSED: return "connection refused";
        case ETIMEDOUT: return "no answer";
        case EHOSTUNREACH:
        case ENETUNREACH: return "not reachable";
        default: return "cannot connect";
        }
}

static void address_failed(peer_dial *dial, int errno_value) {
        end_attempt(dial);
        dial->refused = dial->refused || errno_value == ECONNREFUSED;
        if (errno_value != ECONNREFUSED || dial->problem == NULL)
                dial->problem = problem_of(errno_value);
        try_next(dial);
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
        peer_dial *dial = arg;
        int error = 0;
        socklen_t size = sizeof error;
        (void) what;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
                error = errno;
        if (error == 0)
                connected(dial);
        else
                address_failed(dial, error);
}

static void try_next(peer_dial *dial) {
        if (dial->next == dial->addresses.count) {
                failed(dial, dial->problem, dial->refused);
                return;
        }
        const struct sockaddr_storage *to = &dial->addresses.v[dial->next];
        const socklen_t size = dial->addresses.sizes[dial->next++];
        dial->state = CONNECTING;
        dial->fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (dial->fd < 0) {
                address_failed(dial, errno);
                return;
        }
        peer_socket_prepare(dial->fd, false);
        int r = connect(dial->fd, (const struct sockaddr *) to, size);
        if (r == 0) {
                connected(dial);
                return;
        }
        if (errno != EINPROGRESS) {
                address_failed(dial, errno);
                return;
        }
        dial->writable = event_new(rq_loop_base(dial->loop), dial->fd, EV_WRITE, on_writable, dial);
        if (dial->writable == NULL || event_add(dial->writable, NULL) != 0) {
                address_failed(dial, ENOMEM);
                return;
        }
        rq_timer_set(&dial->timer, PEER_DIAL_WAIT_US);
}

static void try_addresses(peer_dial *dial) {
        dial->next = 0;
        dial->problem = NULL;
        dial->refused = false;
        try_next(dial);
}

static void on_answer(void *arg, rq_err err, const peer_addresses *addresses) {
        peer_dial *dial = arg;
        dial->lookup = NULL;
        if (err < 0) {
                failed(dial, "no such host", false);
                return;
        }
        dial->addresses = *addresses;
        try_addresses(dial);
}

/* Names are asked each time: an address may have moved. */
static void begin(peer_dial *dial) {
        if (peer_resolve_literal(dial->host, dial->port, &dial->addresses)) {
                try_addresses(dial);
                return;
        }
        dial->state = RESOLVING;
        rq_err r = peer_resolver_ask(dial->resolver, dial->host, dial->port, on_answer, dial, &dial->lookup);
        if (r < 0)
                failed(dial, rq_err_text(r), false);
}

static void on_timer(void *arg) {
        peer_dial *dial = arg;
        if (dial->state == WAITING)
                begin(dial);
        else if (dial->state == CONNECTING)
                address_failed(dial, ETIMEDOUT);
}

void peer_dial_at_once(peer_dial *dial) {
        if (dial->state == RESTING || dial->state == WAITING)
                wait_for(dial, 0);
}

void peer_dial_later(peer_dial *dial, bool slow) {
        if (dial->state == RESTING)
                back_off(dial, slow);
}

const char *peer_dial_host(const peer_dial *dial) { return dial->host; }
void peer_dial_reset(peer_dial *dial) { dial->back_off_us = PEER_DIAL_FIRST_US; }

rq_err peer_dial_new(rq_loop *loop, peer_resolver *resolver, const char *address, const peer_dial_handlers *handlers,
                     void *owner, peer_dial **ret_dial) {
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        uint64_t seed;
        if (rq_address_split(address, host, port) < 0)
                return RQ_EINVAL;
        peer_dial *dial = calloc(1, sizeof *dial);
        if (dial == NULL)
                return RQ_ENOMEM;
        rq_random_bytes(&seed, sizeof seed);
        *dial = (peer_dial) {
                .loop = loop, .resolver = resolver, .handlers = handlers, .owner = owner, .fd = -1,
                .back_off_us = PEER_DIAL_FIRST_US, .rng = rq_rng_seeded(seed),
        };
        memcpy(dial->host, host, sizeof host);
        memcpy(dial->port, port, sizeof port);
        if (rq_timer_init(&dial->timer, loop, on_timer, dial) < 0) {
                free(dial);
                return RQ_ENOMEM;
        }
        *ret_dial = dial;
        return RQ_OK;
}

peer_dial *peer_dial_free(peer_dial *dial) {
        if (dial == NULL)
                return NULL;
        end_attempt(dial);
        dial->lookup = peer_lookup_cancel(dial->lookup);
        rq_timer_done(&dial->timer);
        free(dial);
        return NULL;
}
