#include "clients.h"

#include <stdlib.h>

#include "base/assert.h"
#include "world.h"

enum { CLIENTS_WHEN_HEALED = 12 }; /* more may keep the connections so busy that who is behind stays there */
enum { GRACE_US = 1500000 }; /* behind its deadline a request is answered, unless something is down */

void clients_done(clients *c) {
        rq_buf_done(&c->requests);
        rq_buf_done(&c->busy);
}

sim_request *clients_request(world *w, uint64_t number) {
        size_t count = w->clients.requests.size / sizeof(sim_request);
        return number == 0 || number > count ? NULL : (sim_request *) (void *) w->clients.requests.data + (number - 1);
}

unsigned clients_place(world *w, uint64_t number) {
        const sim_request *r = clients_request(w, number);
        rq_assert(r != NULL);
        return r->place;
}

static void plan_client(world *w, uint32_t client, uint64_t after_us) {
        world_plan(w, after_us, (event) { .type = EVENT_CLIENT, .node = TRACE_NOBODY, .number = client });
}

void clients_start(world *w) {
        for (uint32_t i = 0; i < w->tuning.clients; i++) {
                const uint64_t none = 0;
                rq_assert(rq_buf_append(&w->clients.busy, &none, sizeof none) >= 0);
                plan_client(w, i, world_random(w, 2 * w->tuning.think_us + 1));
        }
}

static void finish(world *w, uint64_t number, request_state state) {
        sim_request *r = clients_request(w, number);
        if (r->state == REQUEST_PENDING)
                w->clients.pending--;
        r->state = state;
        r->returned_us = w->now_us;
        if (r->client == CLIENT_NONE)
                return;
        uint64_t *busy = (uint64_t *) (void *) w->clients.busy.data + r->client;
        if (*busy != number)
                return;
        *busy = 0;
        uint64_t pause_us = state == REQUEST_DONE ? w->tuning.think_us : 4 * w->tuning.think_us;
        plan_client(w, r->client, world_random(w, 2 * pause_us + 1));
}

static rq_err propose(world *w, sim_node *n, uint64_t number, const sim_request *r, uint64_t deadline_us) {
        uint8_t body[32768] = {0};
        size_t size = REQUEST_BYTES + world_random(w, w->tuning.body_bytes);
        request_encode(body, &(request_body) { .number = number, .node = n->number, .gateway = n->gateway,
                .place = r->place });
        const driver_proposal proposal = {
                .from = { .gateway = n->gateway, .request_id = number }, .kind = RECORD_SQL, .deadline_us = deadline_us,
                .step_budget = 1,
        };
        rq_err err = node_admit(n, size);
        return err < 0 ? err : driver_propose(n->driver, &proposal, rq_bytes_of(body, size));
}

static rq_err read(sim_node *n, uint64_t number, const sim_request *r, uint64_t deadline_us) {
        uint8_t query[REQUEST_BYTES];
        request_encode(query, &(request_body) { .number = number, .node = n->number, .gateway = n->gateway,
                .place = r->place });
        rq_err err = r->level == DRIVER_READ_STRONG ? node_admit(n, 0) : RQ_OK;
        return err < 0 ? err : driver_read(n->driver, (request_origin) { .gateway = n->gateway, .request_id = number },
                                           r->level,
                                           deadline_us, 0, rq_bytes_of(query, sizeof query));
}

uint64_t clients_ask(world *w, unsigned node_number, bool write, driver_read_level level, uint32_t client) {
        clients *c = &w->clients;
        sim_node *n = w->nodes[node_number];
        const sim_request new = {
                .write = write, .level = level, .node = (uint8_t) node_number,
                .place = (uint8_t) world_random(w, STORE_REGISTERS),
                .client = client, .invoked_us = w->now_us, .deadline_us = w->now_us + w->tuning.timeout_us,
                .floor = c->seen,
        };
        rq_assert(rq_buf_append(&c->requests, &new, sizeof new) >= 0);
        uint64_t number = c->requests.size / sizeof new;
        c->pending++;
        if (write)
                c->writes++;
        else
                c->reads++;
        if (client != CLIENT_NONE)
                ((uint64_t *) (void *) c->busy.data)[client] = number;
        if (!n->up) {
                finish(w, number, REQUEST_REFUSED);
                return number;
        }
        /* Longer or shorter by the node's own clock. */
        uint64_t deadline_us = node_now_us(w, n) + w->tuning.timeout_us;
        rq_err err = write ? propose(w, n, number, &new, deadline_us) : read(n, number, &new, deadline_us);
        world_trace(w, (trace_record) {
                .event = write ? TRACE_WRITE : TRACE_READ, .node = (uint8_t) node_number, .peer = TRACE_NOBODY,
                .index = number,
                .count = (uint64_t) level, .note = err < 0 ? rq_err_text(err) : NULL,
        });
        if (err < 0) {
                finish(w, number, REQUEST_REFUSED);
                return number;
        }
        world_plan(w, w->tuning.timeout_us + GRACE_US, (event) { .type = EVENT_OVERDUE, .node = TRACE_NOBODY,
                .number = number });
        node_wake(w, n);
        return number;
}

void clients_on_client(world *w, const event *e) {
        uint32_t client = (uint32_t) e->number;
        if (w->healed && (w->faults.quiet || client >= CLIENTS_WHEN_HEALED))
                return;
        unsigned node_number = (unsigned) world_random(w, w->node_count);
        if (w->duels.on && world_chance(w, 400))
                node_number = w->duels.target;
        const sim_node *n = w->nodes[node_number];
        if (n->paused_until_us > w->now_us) {
                plan_client(w, client, n->paused_until_us - w->now_us + world_random(w, 1000));
                return;
        }
        bool write = world_chance(w, 600);
        uint64_t dice = world_random(w, 10);
        driver_read_level level = dice < (w->tuning.lease_us > 0 ? 2u : 5u) ? DRIVER_READ_LINEARIZABLE : dice < 8
                ? DRIVER_READ_WEAK : DRIVER_READ_STRONG;
        (void) clients_ask(w, node_number, write, level, client);
}

static void see(world *w, raft_index index) {
        if (index > w->clients.seen)
                w->clients.seen = index;
}

void clients_on_result(world *w, sim_node *n, const event *e) {
        const uint64_t *result = e->data;
        sim_request *r = clients_request(w, e->number);
        if (r->node == n->number && e->tag == n->gateway && (r->state == REQUEST_PENDING ||
                                                             r->state == REQUEST_UNKNOWN)) {
                bool counts = r->state == REQUEST_PENDING; /* else nobody waits for it any more */
                r->index = result[0];
                r->value = result[1];
                world_trace(w, (trace_record) {
                        .event = TRACE_RESULT, .node = (uint8_t) n->number, .peer = TRACE_NOBODY, .index = e->number,
                        .count = r->index, .term = r->value,
                });
                check_result(w, e->number, r, counts);
                if (counts) {
                        see(w, r->index);
                        finish(w, e->number, REQUEST_DONE);
                }
        } else if (r->node == n->number && e->tag == n->gateway) {
                check_second_answer(w, e->number, r);
        }
        free(e->data);
}

void clients_answer(world *w, sim_node *n, const answer *a) {
        sim_request *r = clients_request(w, a->to.request_id);
        world_trace(w, (trace_record) {
                .event = TRACE_ANSWER, .node = (uint8_t) n->number, .peer = TRACE_NOBODY, .index = a->to.request_id,
                .count = a->outcome, .note = a->text,
        });
        if (r == NULL || a->to.gateway != n->gateway) {
                world_fail(w, "requests", "node %u answers a request %lu that nobody waits for", n->number,
                           (unsigned long) a->to.request_id);
                return;
        }
        if (r->state != REQUEST_PENDING) {
                /* "Committed, its result is lost": consensus doesn't know that it has arrived. */
                if (a->outcome != OUTCOME_COMMITTED || a->index != r->committed)
                        check_second_answer(w, a->to.request_id, r);
                return;
        }
        static const request_state states[] = {
                [OUTCOME_REFUSED] = REQUEST_REFUSED, [OUTCOME_DROPPED] = REQUEST_DROPPED,
                [OUTCOME_UNKNOWN] = REQUEST_UNKNOWN, [OUTCOME_COMMITTED] = REQUEST_COMMITTED,
        };
        finish(w, a->to.request_id, states[a->outcome]);
        check_answer(w, a->to.request_id, r, a);
        if (a->outcome == OUTCOME_COMMITTED)
                see(w, a->index);
}

void clients_on_overdue(world *w, const event *e) {
        sim_request *r = clients_request(w, e->number);
        if (r->state != REQUEST_PENDING)
                return;
        check_overdue(w, e->number, r);
        finish(w, e->number, REQUEST_LOST);
        world_trace(w, (trace_record) { .event = TRACE_GIVE_UP, .node = r->node, .peer = TRACE_NOBODY,
                .index = e->number });
}

void clients_gateway_gone(world *w, sim_node *n) {
        size_t count = w->clients.requests.size / sizeof(sim_request);
        for (uint64_t number = count; number > 0 && w->clients.pending > 0; number--) {
                const sim_request *r = clients_request(w, number);
                if (r->node == n->number && r->state == REQUEST_PENDING)
                        finish(w, number, REQUEST_LOST);
                if (r->invoked_us + w->tuning.timeout_us + GRACE_US < w->now_us)
                        break;
        }
        n->gateway++;
}
