#include "net.h"

#include <stdlib.h>

#include "base/assert.h"
#include "world.h"

enum {
        RETRY_US        = 20000,
        NOTICE_US       = 300000,  /* until a dead connection is noticed, at most */
        RESET_US        = 800,     /* until a connection that is reset is */
};

static connection *connection_of(world *w, unsigned from, unsigned to, net_class class) {
        return &w->net.connections[from][to][class];
}

static void forget_held(connection *c) {
        packet **held = (packet **) (void *) c->held.data;
        for (size_t i = 0; i < c->held.size / sizeof *held; i++)
                free(held[i]);
        c->held.size = 0;
}

void net_done(net *n) {
        for (unsigned from = 0; from < NET_NODES_MAX; from++)
                for (unsigned to = 0; to < NET_NODES_MAX; to++)
                        for (int class = 0; class < NET_CLASSES; class++) {
                                forget_held(&n->connections[from][to][class]);
                                rq_buf_done(&n->connections[from][to][class].held);
                        }
}

packet *packet_new(packet_kind kind, size_t size) {
        packet *p = calloc(1, sizeof *p + size);
        rq_assert(p != NULL);
        p->kind = kind;
        p->size = size;
        return p;
}

static uint64_t latency(world *w, unsigned from, unsigned to) {
        uint64_t slow_us = w->net.slow_us[from] + w->net.slow_us[to];
        return w->tuning.latency_us + world_random(w, w->tuning.latency_more_us) + slow_us;
}

static void plan_packet(world *w, unsigned from, unsigned to, net_class class, uint64_t after_us, packet *p) {
        world_plan(w, after_us, (event) {
                .type = EVENT_PACKET, .node = (uint8_t) to, .peer = (uint8_t) from, .class_ = (uint8_t) class,
                .tag = connection_of(w, from, to, class)->epoch, .data = p,
        });
}

static void plan_link(world *w, unsigned from, unsigned to, net_class class, uint64_t after_us) {
        world_plan(w, after_us, (event) {
                .type = EVENT_LINK, .node = (uint8_t) to, .peer = (uint8_t) from, .class_ = (uint8_t) class,
                .tag = connection_of(w, from, to, class)->epoch,
        });
}

static void deliver_in_order(world *w, unsigned from, unsigned to, net_class class, packet *p) {
        connection *c = connection_of(w, from, to, class);
        uint64_t at_us = w->now_us + latency(w, from, to) + p->size / 100; /* 100 MB/s */
        if (at_us < c->last_at_us)
                at_us = c->last_at_us;
        c->last_at_us = at_us;
        plan_packet(w, from, to, class, at_us - w->now_us, p);
}

/* Forwards only come over a connection: they are never doubled, and in order. */
static void stray_copy(world *w, unsigned from, unsigned to, net_class class, const packet *p, uint64_t after_us) {
        packet *copy = packet_new(p->kind, p->size);
        memcpy(copy, p, sizeof *p + p->size);
        copy->stray = true;
        copy->account = 0;
        plan_packet(w, from, to, class, after_us, copy);
}

/* True: the packet has found another end. */
static bool mistreat(world *w, unsigned from, unsigned to, net_class class, packet *p) {
        const net *n = &w->net;
        if (n->loss + n->duplication + n->delay + n->replay == 0)
                return false;
        const bool doubles = p->kind != PACKET_FORWARD && p->kind != PACKET_FORWARD_REFUSED;
        if (w->healed) { /* a lost message or two must not hinder progress */
                bool lost = n->loss > 0 && doubles && world_chance(w, 10);
                if (lost)
                        free(p);
                return lost;
        }
        if (doubles && world_chance(w, n->duplication))
                stray_copy(w, from, to, class, p, latency(w, from, to) + world_random(w, 20000));
        if (doubles && world_chance(w, n->replay))
                stray_copy(w, from, to, class, p, world_random(w, 3000000));
        if (world_chance(w, n->loss)) {
                free(p);
                return true;
        }
        if (p->kind == PACKET_FORWARD || !world_chance(w, n->delay))
                return false;
        p->stray = true;
        plan_packet(w, from, to, class, latency(w, from, to) + world_random(w, 100000), p);
        return true;
}

void net_send(world *w, unsigned from, unsigned to, net_class class, packet *take) {
        connection *c = connection_of(w, from, to, class);
        if (!c->up) {
                free(take);
                return;
        }
        w->net.messages++;
        w->net.bytes += take->size;
        if (mistreat(w, from, to, class, take))
                return;
        take->account = c->account + 1;
        c->queued_bytes += take->size;
        if (!w->net.cut[from][to] && w->nodes[to]->machine_up) {
                deliver_in_order(w, from, to, class, take);
                return;
        }
        rq_assert(rq_buf_append(&c->held, &take, sizeof take) >= 0);
        if (!c->suspect)
                plan_link(w, from, to, class, 20000 + world_random(w, NOTICE_US));
        c->suspect = true;
}

uint64_t net_room(const world *w, unsigned from, unsigned to) {
        const connection *c = &w->net.connections[from][to][NET_BULK];
        return !c->up || c->queued_bytes >= w->tuning.link_bytes ? 0 : w->tuning.link_bytes - c->queued_bytes;
}

static void connection_ends(world *w, unsigned from, unsigned to, net_class class, bool refused) {
        connection *c = connection_of(w, from, to, class);
        bool was_up = c->up;
        c->up = c->suspect = false;
        c->epoch++;
        c->queued_bytes = 0;
        c->account++;
        c->last_at_us = 0;
        forget_held(c);
        if (class != NET_SNAPSHOT || c->wanted)
                plan_link(w, from, to, class, 1000 + world_random(w, RETRY_US));
        if (class == NET_SNAPSHOT) {
                if (was_up && c->wanted)
                        shell_on_link(w->nodes[from], w->nodes[to]->id, false);
        } else if (was_up || refused) {
                node_peer_down(w, from, to, refused);
        }
}

void net_connect(world *w, unsigned from, unsigned to) {
        connection *c = connection_of(w, from, to, NET_SNAPSHOT);
        net_disconnect(w, from, to);
        c->wanted = true;
        plan_link(w, from, to, NET_SNAPSHOT, world_random(w, 2000));
}

void net_disconnect(world *w, unsigned from, unsigned to) {
        connection *c = connection_of(w, from, to, NET_SNAPSHOT);
        c->wanted = false;
        if (!c->up)
                return;
        /* What is on its way still arrives, or not. */
        c->up = c->suspect = false;
        c->queued_bytes = 0;
        c->account++;
        c->last_at_us = 0;
        if (world_chance(w, 500))
                c->epoch++;
        forget_held(c);
}

static bool reachable(const world *w, unsigned from, unsigned to) { return !w->net.cut[from][to] &&
        !w->net.cut[to][from]; }

/* Either somebody notices that nothing gets through, or a new attempt. */
void net_on_link(world *w, const event *e) {
        unsigned from = e->peer, to = e->node;
        net_class class = (net_class) e->class_;
        connection *c = connection_of(w, from, to, class);
        if (e->tag != c->epoch || !w->nodes[from]->up || (class == NET_SNAPSHOT && !c->wanted))
                return;
        bool process_gone = w->nodes[to]->machine_up && !w->nodes[to]->up;
        if (c->up) {
                if (c->suspect || !w->nodes[to]->up)
                        connection_ends(w, from, to, class, process_gone && reachable(w, from, to));
                return;
        }
        if (!reachable(w, from, to) || !w->nodes[to]->up) {
                plan_link(w, from, to, class, RETRY_US / 2 + world_random(w, RETRY_US));
                return;
        }
        c->up = true;
        world_trace(w, (trace_record) { .event = TRACE_LINK_UP, .node = (uint8_t) from, .peer = (uint8_t) to,
                .count = class });
        if (class == NET_SNAPSHOT)
                shell_on_link(w->nodes[from], w->nodes[to]->id, true);
        node_wake(w, w->nodes[from]);
}

void net_break(world *w, unsigned from, unsigned to, net_class class) {
        if (connection_of(w, from, to, class)->up)
                connection_ends(w, from, to, class, false);
}

/* Half of the connections outlive a cut, and bring what was sent meanwhile. */
static void cut_ends(world *w, unsigned from, unsigned to, net_class class) {
        connection *c = connection_of(w, from, to, class);
        if (!c->up || c->held.size == 0)
                return;
        if (world_chance(w, 500) || !w->nodes[to]->up) {
                connection_ends(w, from, to, class, false);
                return;
        }
        c->suspect = false;
        packet **held = (packet **) (void *) c->held.data;
        for (size_t i = 0; i < c->held.size / sizeof *held; i++)
                deliver_in_order(w, from, to, class, held[i]);
        c->held.size = 0;
}

void net_set_cut(world *w, unsigned from, unsigned to, bool cut) {
        if (w->net.cut[from][to] == cut)
                return;
        w->net.cut[from][to] = cut;
        for (int class = 0; class < NET_CLASSES && !cut; class++)
                cut_ends(w, from, to, (net_class) class);
}

void net_node_started(world *w, unsigned node) {
        for (unsigned other = 0; other < w->node_count; other++)
                for (int class = 0; class < NET_SNAPSHOT && other != node; class++)
                        plan_link(w, node, other, (net_class) class, world_random(w, 2000));
}

static void peer_died(world *w, unsigned other, unsigned node, net_class class, bool machine) {
        connection *c = connection_of(w, other, node, class);
        if (!c->up)
                return;
        c->suspect = true;
        plan_link(w, other, node, class, machine ? 20000 + world_random(w, NOTICE_US) : world_random(w, RESET_US));
}

void net_node_died(world *w, unsigned node, bool machine) {
        for (unsigned other = 0; other < w->node_count; other++)
                for (int class = 0; class < NET_CLASSES && other != node; class++) {
                        connection *own = connection_of(w, node, other, (net_class) class);
                        own->up = own->suspect = own->wanted = false;
                        own->queued_bytes = 0;
                        own->account++;
                        forget_held(own);
                        /* What the kernel has may still arrive. */
                        if (machine || world_chance(w, 500)) {
                                own->epoch++;
                                own->last_at_us = 0;
                        }
                        peer_died(w, other, node, (net_class) class, machine);
                }
}

void net_on_packet(world *w, const event *e) {
        unsigned from = e->peer, to = e->node;
        connection *c = connection_of(w, from, to, (net_class) e->class_);
        packet *p = e->data;
        sim_node *target = w->nodes[to];
        if (p->account == c->account + 1) {
                c->queued_bytes -= p->size;
                node_wake_if_waiting(w, from, to);
        }
        /* Over a connection one knows who speaks and who is spoken to. */
        bool lost = (!p->stray && e->tag != c->epoch) || !target->up || p->to_id != target->id;
        if (!lost)
                node_receive(w, target, from, p);
        free(p);
}
