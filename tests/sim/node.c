#include "node.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "core/compaction.h"
#include "node_parts.h"
#include "world.h"

enum { HINT_INTERVAL_US = 1000000, TIMER_US_MIN = 1000, PIECES_MAX = 16 };

uint64_t node_now_us(const world *w, const sim_node *n) {
        return n->clock_base_us + w->now_us / 1000000 * n->clock_ppm + w->now_us % 1000000 * n->clock_ppm / 1000000;
}

uint64_t node_wall_us(const world *w,
                      const sim_node *n) { return (uint64_t) ((int64_t) w->now_us + n->wall_offset_us); }

bool node_runs(const sim_node *n) { return n->up && !n->storage_failed; }

/* --- shadow log ---------------------------------------------------------------- */

raft_index node_shadow_last(const sim_node *n) { return n->shadow_base + n->shadow.size / sizeof(shadow_entry); }

const shadow_entry *node_shadow(const sim_node *n, raft_index index) {
        if (index <= n->shadow_base || index > node_shadow_last(n))
                return NULL;
        return (const shadow_entry *) (const void *) n->shadow.data + (index - n->shadow_base - 1);
}

uint64_t node_chain(const sim_node *n, raft_index index) {
        const shadow_entry *entry = node_shadow(n, index);
        return entry != NULL ? entry->chain : index == n->shadow_base ? n->shadow_base_chain : 0;
}

void node_shadow_add(world *w, sim_node *n, rq_bytes records) {
        for (size_t at = 0; at < records.size;) {
                const uint8_t *record = records.data + at;
                size_t size = record_peek_bytes(record);
                shadow_entry entry = {
                        .term = record_peek_term(record), .clock_us = record_peek_clock_us(record),
                        .kind = (uint8_t) record_peek_kind(record),
                        .chain = record_chain(node_chain(n, node_shadow_last(n)), record),
                };
                rq_bytes body = rq_bytes_of(record + RECORD_HEADER_BYTES, size - RECORD_HEADER_BYTES);
                request_body request;
                if (entry.kind == RECORD_SQL && request_decode(body, &request))
                        entry.request = request.number;
                if (entry.kind == RECORD_CONFIGURATION)
                        check_configuration_seen(w, entry.chain, body);
                rq_assert(record_peek_index(record) == node_shadow_last(n) + 1);
                rq_assert(rq_buf_append(&n->shadow, &entry, sizeof entry) >= 0);
                at += size;
        }
}

static void shadow_plan(world *w, sim_node *n, const driver_plan *plan) {
        if (!plan->persist || plan->first == 0)
                return;
        if (plan->first <= node_shadow_last(n))
                n->shadow.size = (plan->first - n->shadow_base - 1) * sizeof(shadow_entry);
        if (plan->first <= n->durable)
                n->durable = plan->first - 1;
        for (raft_index next = plan->first; next <= plan->last;) {
                raft_index last;
                rq_bytes piece = driver_entry_piece(n->driver, next, plan->last, SIZE_MAX, &last);
                node_shadow_add(w, n, piece);
                next = last + 1;
        }
        for (raft_index i = plan->first; i <= plan->last; i++)
                check_appended(w, n, i);
}

/* --- effects -------------------------------------------------------------------- */

/* False: the process has died before this one. */
bool node_effect(sim_node *n) {
        if (n->effects_left == 0) {
                n->dying = true;
                return false;
        }
        if (n->effects_left != UINT32_MAX)
                n->effects_left--;
        return true;
}

static rq_err submit(sim_node *n, const log_write *write, bool acknowledges, const raft_persisted *when_durable) {
        if (!node_effect(n))
                return RQ_OK;
        node_write w = {
                .bytes = write->records.size, .acknowledges = acknowledges, .hard = write->hard,
                .term = write->state.term, .vote = write->state.vote,
                .first = write->first_index, .last = write->last_index,
        };
        if (when_durable != NULL)
                w.when_durable = *when_durable;
        rq_err r = log_queue_add(&n->queue, write, &w.sequence);
        if (r >= 0)
                r = rq_buf_append(&n->writes, &w, sizeof w);
        n->write_bytes += w.bytes;
        return r;
}

static uint64_t commit_hint(const sim_node *n) { return raft_appliable_of(driver_raft(n->driver)); }

static log_write hard_write(world *w, sim_node *n, raft_term term, raft_id vote) {
        n->hint = commit_hint(n);
        n->hint_at_us = w->now_us;
        n->hint_wanted = false;
        return (log_write) { .hard = true, .state = { .term = term, .vote = vote, .commit = n->hint } };
}

/* As the service does. */
static rq_err hand_over(world *w, sim_node *n, const driver_plan *plan) {
        log_write hard = {0};
        if (plan->hard)
                hard = hard_write(w, n, plan->term, plan->vote);
        world_trace(w, (trace_record) {
                .event = TRACE_PERSIST, .node = (uint8_t) n->number, .peer = TRACE_NOBODY, .flag = plan->hard,
                .term = plan->hard ? plan->term : 0,
                .index = plan->first, .count = plan->last,
        });
        if (plan->first == 0)
                return submit(n, &hard, true, &plan->when_durable);
        const raft_trail *trail = raft_trail_of(driver_raft(n->driver));
        raft_index next = plan->first;
        raft_term previous_term = plan->previous_term;
        while (next <= plan->last) {
                log_write write = next == plan->first ? hard : (log_write) {0};
                write.first_index = next;
                write.previous_term = previous_term;
                write.records = driver_entry_piece(n->driver, next, plan->last, SIZE_MAX, &write.last_index);
                raft_index last;
                rq_bytes last_record = driver_entry_piece(n->driver, write.last_index, write.last_index, SIZE_MAX,
                                                          &last);
                write.last_term = previous_term = raft_trail_term_at(trail, write.last_index);
                write.last_clock_us = record_peek_clock_us(last_record.data);
                next = write.last_index + 1;
                rq_err r = submit(n, &write, next > plan->last, &plan->when_durable);
                if (r < 0)
                        return r;
        }
        return RQ_OK;
}

static void write_hint(world *w, sim_node *n) {
        if (n->storage_failed || commit_hint(n) <= n->hint || !n->hint_wanted ||
            w->now_us - n->hint_at_us < HINT_INTERVAL_US / 10)
                return;
        const raft *r = driver_raft(n->driver);
        log_write write = hard_write(w, n, raft_term_of(r), raft_vote_of(r));
        (void) submit(n, &write, false, NULL);
}

/* How far a node's disk holds the log that is committed; behind it may be what will be replaced. */
static raft_index held_by(const world *w, const sim_node *n) {
        raft_index index = n->durable < checks_commit(w) ? n->durable : checks_commit(w);
        while (index > n->shadow_base && node_chain(n, index) != checks_committed(w, index)->chain)
                index--;
        return index;
}

/* As released_index() of service.c. */
static raft_index released_past_who_is_behind(const world *w, const sim_node *n) {
        raft_index released = driver_stream(n->driver)->checkpoint;
        const raft *r = driver_raft(n->driver);
        const membership *m = driver_membership(n->driver, NULL);
        const raft_index held = shell_held(n);
        if (held < released)
                released = held;
        if (m == NULL || m->count < 2 || log_catalog_bytes(&n->catalog) > w->tuning.log_kept_bytes)
                return released;
        if (raft_role_of(r) != RAFT_LEADER)
                return 0;
        for (uint32_t i = 0; i < m->count; i++) {
                raft_progress_view p;
                if (raft_progress_of(r, membership_raft_id(&m->members[i].disk_uuid), &p) && p.match < released)
                        released = p.match;
        }
        return released;
}

/* In runs without snapshots nothing goes that another node may still need. */
static raft_index released(const world *w, const sim_node *n) {
        raft_index released = driver_stream(n->driver)->checkpoint;
        for (unsigned i = 0; i < w->node_count; i++) {
                raft_index held = w->nodes[i]->broken ? released : held_by(w, w->nodes[i]);
                if (held < released)
                        released = held;
                /* Nor what this one believes that they need: acknowledgements get lost, too. */
                raft_progress_view view;
                if (raft_progress_of(driver_raft(n->driver), w->nodes[i]->id, &view) && view.match < released)
                        released = view.match;
        }
        return released;
}

static void compact(world *w, sim_node *n) {
        log_catalog *catalog = &n->catalog;
        if (!w->tuning.compaction || catalog->segment_count <= COMPACTION_KEEP_SEGMENTS + 1 || n->storage_failed)
                return;
        uint64_t lasts[NODE_SEGMENTS_MAX];
        rq_assert(catalog->segment_count <= NODE_SEGMENTS_MAX);
        for (size_t i = 0; i < catalog->segment_count; i++)
                lasts[i] = catalog->segments[i].last_index;
        raft_index checkpoint = w->tuning.snapshots ? released_past_who_is_behind(w, n) : released(w, n);
        if (checkpoint > n->seen_commit)
                checkpoint = n->seen_commit;
        for (size_t drop = compaction_count(lasts, catalog->segment_count, checkpoint); drop > 0; drop--) {
                const log_catalog_segment *oldest = &catalog->segments[0];
                log_write write = { .drop_first_index = oldest->header.first_index,
                        .drop_bytes = oldest->header.file_bytes };
                if (submit(n, &write, false, NULL) < 0)
                        return;
                world_trace(w, (trace_record) { .event = TRACE_COMPACT, .node = (uint8_t) n->number,
                        .peer = TRACE_NOBODY, .index = oldest->last_index });
                driver_compacted(n->driver, oldest->last_index);
                log_catalog_drop_oldest(catalog);
                n->hint_wanted = true;
        }
}

/* --- sending --------------------------------------------------------------------- */

static trace_event sent_as(raft_message_type type, bool received) {
        static const trace_event names[] = {
                [RAFT_MSG_VOTE] = TRACE_SEND_VOTE_REQUEST, [RAFT_MSG_VOTE_REPLY] = TRACE_SEND_VOTE_RESPONSE,
                [RAFT_MSG_APPEND] = TRACE_SEND_APPEND_REQUEST, [RAFT_MSG_APPEND_REPLY] = TRACE_SEND_APPEND_RESPONSE,
                [RAFT_MSG_HEARTBEAT] = TRACE_SEND_HEARTBEAT, [RAFT_MSG_HEARTBEAT_REPLY] = TRACE_SEND_HEARTBEAT_RESPONSE,
                [RAFT_MSG_TIMEOUT_NOW] = TRACE_SEND_TIMEOUT_NOW, [RAFT_MSG_READ] = TRACE_SEND_READ,
                        [RAFT_MSG_READ_REPLY] = TRACE_SEND_READ_RESPONSE, [RAFT_MSG_TRANSFER] = TRACE_SEND_TRANSFER,
        };
        return received ? names[type] + (TRACE_RECEIVE_VOTE_REQUEST - TRACE_SEND_VOTE_REQUEST) : names[type];
}

static void trace_message(world *w, unsigned node_number, unsigned peer, const raft_message *m, bool received) {
        trace_record r = { .event = (uint8_t) sent_as(m->type, received), .node = (uint8_t) node_number,
                .peer = (uint8_t) peer, .term = m->term };
        switch (m->type) {
        case RAFT_MSG_VOTE: r.flag = m->vote.pre; r.index = m->vote.last_index; r.count = m->vote.campaign_term; break;
        case RAFT_MSG_VOTE_REPLY:
                r.flag = m->vote_reply.granted;
                r.index = m->vote_reply.pre;
                r.count = m->vote_reply.campaign_term;
                break;
        case RAFT_MSG_APPEND: r.index = m->append.previous_index; r.count = m->append.count; break;
        case RAFT_MSG_APPEND_REPLY:
                r.flag = m->append_reply.rejected;
                r.index = m->append_reply.index;
                r.count = m->append_reply.hint_index;
                break;
        case RAFT_MSG_HEARTBEAT: r.index = m->heartbeat.commit; r.count = m->heartbeat.round; break;
        case RAFT_MSG_HEARTBEAT_REPLY: r.index = m->heartbeat_reply.index; r.count = m->heartbeat_reply.round; break;
        case RAFT_MSG_TRANSFER:
        case RAFT_MSG_TIMEOUT_NOW: break;
        case RAFT_MSG_READ: r.flag = m->read.weak; r.count = m->read.round; break;
        case RAFT_MSG_READ_REPLY:
                r.flag = m->read_reply.refused;
                r.index = m->read_reply.index;
                r.count = m->read_reply.round;
                break;
        }
        world_trace(w, r);
}

static void send_messages(world *w, sim_node *n) {
        raft_message m;
        while (driver_next_message(n->driver, &m)) {
                const sim_node *to = world_node_of(w, m.to);
                if (to == NULL || to == n || !node_effect(n))
                        continue;
                check_sent(w, n, &m);
                trace_message(w, n->number, to->number, &m, false);
                packet *p = packet_new(PACKET_RAFT, 0);
                p->from_id = n->id;
                p->to_id = m.to;
                p->message = m;
                net_send(w, n->number, to->number, NET_CONTROL, p);
        }
}

/* Records of entries into the scratch buffer: as many as fit. False: they can't be read. */
static bool gather(sim_node *n, raft_index first, raft_index last, uint64_t bytes_max, bool in_memory,
                   uint32_t *ret_count) {
        n->scratch.size = 0;
        if (!in_memory) {
                RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
                return log_catalog_read(&n->catalog, first, last, bytes_max, &n->scratch, ret_count, &problem) >= 0;
        }
        raft_index next = first;
        for (int pieces = 0; next <= last && n->scratch.size < bytes_max && pieces < PIECES_MAX; pieces++) {
                raft_index piece_last;
                rq_bytes piece = driver_entry_piece(n->driver, next, last, bytes_max - n->scratch.size, &piece_last);
                if (pieces > 0 && n->scratch.size + piece.size > bytes_max)
                        break;
                rq_assert(rq_buf_append_bytes(&n->scratch, piece) >= 0);
                next = piece_last + 1;
        }
        *ret_count = (uint32_t) (next - first);
        return true;
}

static void unreadable(world *w, sim_node *n) {
        /* Its log is damaged: the node goes, as the service would. */
        (void) w;
        n->feed_failed = true;
        n->dying = true;
        n->effects_left = 0;
}

static void send_appends(world *w, sim_node *n, const sim_node *to) {
        driver_append append;
        while (net_room(w, n->number, to->number) > 0 && driver_next_append(n->driver, to->id, &append)) {
                uint32_t count = 0;
                uint64_t room = net_room(w, n->number, to->number), bytes_max = append.bytes_max < room
                        ? append.bytes_max : room;
                n->scratch.size = 0;
                if (!node_effect(n))
                        return;
                if (append.first <= append.last && !gather(n, append.first, append.last, bytes_max, append.in_memory,
                                                           &count)) {
                        unreadable(w, n);
                        return;
                }
                append.message.append.count = count;
                trace_message(w, n->number, to->number, &append.message, false);
                packet *p = packet_new(PACKET_RAFT, n->scratch.size);
                p->from_id = n->id;
                p->to_id = to->id;
                p->message = append.message;
                if (p->size > 0)
                        memcpy(p->data, n->scratch.data, p->size);
                net_send(w, n->number, to->number, NET_BULK, p);
                driver_append_sent(n->driver, to->id, count, n->scratch.size, node_now_us(w, n));
        }
}

static void send_forwards(world *w, sim_node *n) {
        driver_forward f;
        while (driver_next_forward(n->driver, &f)) {
                const sim_node *to = world_node_of(w, f.to);
                if (to == NULL || net_room(w, n->number, to->number) == 0 || !node_effect(n))
                        break;
                packet *p = packet_new(PACKET_FORWARD, f.body.size);
                p->from_id = n->id;
                p->to_id = f.to;
                p->term = f.term;
                p->seed = f.seed;
                p->record_kind = f.kind;
                p->step_budget = f.step_budget;
                if (p->size > 0)
                        memcpy(p->data, f.body.data, p->size);
                world_trace(w, (trace_record) { .event = TRACE_SEND_FORWARD, .node = (uint8_t) n->number,
                        .peer = (uint8_t) to->number, .term = f.term, .index = f.seed });
                net_send(w, n->number, to->number, NET_BULK, p);
                driver_forward_sent(n->driver, &f);
        }
}

static void send_all(world *w, sim_node *n) {
        send_messages(w, n);
        for (unsigned i = 0; i < w->node_count; i++)
                if (i != n->number)
                        send_appends(w, n, w->nodes[i]);
        send_forwards(w, n);
}

/* --- the store's stream ------------------------------------------------------------ */

static void feed(world *w, sim_node *n) {
        driver_batch batch;
        while (n->store.up && n->store.asked && !n->feed_failed && driver_next_batch(n->driver, &batch)) {
                uint32_t count = 0;
                n->scratch.size = 0;
                if (batch.first <= batch.last && !gather(n, batch.first, batch.last, batch.bytes_max, batch.in_memory,
                                                         &count)) {
                        unreadable(w, n);
                        return;
                }
                if (count > 0 && !driver_batch_fits(n->driver, n->scratch.size))
                        break;
                if (!node_effect(n))
                        return;
                rq_bytes piece = rq_buf_bytes(&n->scratch);
                store_send_batch(w, n, &batch, count, &piece, 1);
                driver_batch_sent(n->driver, count, piece.size);
        }
        if (driver_stream(n->driver)->state != STREAM_OPEN)
                return;
        for (read_request *r; (r = driver_next_read(n->driver)) != NULL;) {
                if (r->from.gateway == n->gateway && node_effect(n))
                        store_send_read(w, n, r->from.request_id, r->index);
                driver_read_passed_on(n->driver, r);
        }
}

void node_send_answers(world *w, sim_node *n) {
        answers *list = driver_answers(n->driver);
        for (size_t i = 0; i < list->count; i++)
                if (list->v[i].to.gateway == n->gateway && node_effect(n))
                        clients_answer(w, n, &list->v[i]);
        list->count = 0;
}

/* --- the turn ------------------------------------------------------------------------ */

void node_wake(world *w, sim_node *n) {
        if (n->turn_planned || !n->up)
                return;
        n->turn_planned = true;
        world_plan(w, world_random(w, 40), (event) { .type = EVENT_TURN, .node = (uint8_t) n->number,
                .tag = n->incarnation });
}

void node_wake_if_waiting(world *w, unsigned from, unsigned to) {
        const connection *c = &w->net.connections[from][to][NET_BULK];
        if (c->queued_bytes == 0 && w->nodes[from]->up)
                node_wake(w, w->nodes[from]);
}

static void set_timer(world *w, sim_node *n) {
        uint64_t due_us = driver_deadline_us(n->driver), now_us = node_now_us(w, n);
        uint64_t after_us = due_us > now_us ? (due_us - now_us) * 1000000 / n->clock_ppm + 1 : 0, shell_us = shell_after_us(n);
        if (due_us == UINT64_MAX || shell_us < after_us)
                after_us = shell_us;
        if (after_us == UINT64_MAX)
                return;
        uint64_t at_us = w->now_us + (after_us < TIMER_US_MIN ? TIMER_US_MIN : after_us);
        if (at_us >= n->timer_at_us)
                return;
        n->timer_at_us = at_us;
        world_plan(w, at_us - w->now_us, (event) { .type = EVENT_TIMER, .node = (uint8_t) n->number,
                .tag = n->incarnation, .number = at_us });
}

void node_on_timer(world *w, sim_node *n, uint64_t at_us) {
        if (at_us != n->timer_at_us)
                return;
        n->timer_at_us = UINT64_MAX;
        node_wake(w, n);
}

static void observe(world *w, sim_node *n) {
        const raft *r = driver_raft(n->driver);
        raft_index commit = raft_commit_of(r);
        check_state(w, n);
        n->seen_role = raft_role_of(r);
        n->seen_term = raft_term_of(r);
        if (commit > n->seen_commit) {
                world_trace(w, (trace_record) { .event = TRACE_COMMIT, .node = (uint8_t) n->number,
                        .peer = TRACE_NOBODY, .term = raft_term_of(r), .index = commit });
                check_commit(w, n, n->seen_commit + 1, commit);
                n->seen_commit = commit;
        } else if (commit < n->seen_commit) {
                world_fail(w, "commit", "node %u: its commit index falls from %lu to %lu", n->number,
                           (unsigned long) n->seen_commit, (unsigned long) commit);
        }
        check_bounds(w, n);
}

void node_on_turn(world *w, sim_node *n) {
        driver_plan plan;
        n->turn_planned = false;
        compact(w, n);
        driver_turn(n->driver, node_now_us(w, n), node_wall_us(w, n), &plan);
        shadow_plan(w, n, &plan);
        observe(w, n);
        if (w->failed)
                return;
        /* Either order is allowed: the driver says only what may be said. */
        bool send_first = world_chance(w, 300);
        if (send_first)
                send_all(w, n);
        if (plan.persist && !n->storage_failed && hand_over(w, n, &plan) < 0)
                rq_assert(false);
        feed(w, n);
        node_send_answers(w, n);
        if (!send_first)
                send_all(w, n);
        shell_turn(n);
        write_hint(w, n);
        if (n->dying) {
                bool again = !n->feed_failed;
                node_die(w, n, NODE_KILLED);
                if (again)
                        node_start_later(w, n, world_random(w, w->faults.down_us + 1));
                else
                        n->broken = true;
                if (!again)
                        faults_broke(w, n);
                return;
        }
        n->effects_left = UINT32_MAX;
        node_begin_batch(w, n);
        set_timer(w, n);
}

/* --- receiving ------------------------------------------------------------------------- */

static void refuse_forward(world *w, const sim_node *n, unsigned from, const packet *f, rq_err err) {
        packet *p = packet_new(PACKET_FORWARD_REFUSED, 0);
        p->from_id = n->id;
        p->to_id = f->from_id;
        p->term = f->term;
        p->seed = f->seed;
        p->err = err;
        world_trace(w, (trace_record) {
                .event = TRACE_SEND_FORWARD_REFUSED, .node = (uint8_t) n->number, .peer = (uint8_t) from,
                .term = f->term, .index = f->seed, .note = rq_err_text(err),
        });
        net_send(w, n->number, from, NET_CONTROL, p); /* so it may come later than what was appended behind it */
}

static void receive_forward(world *w, sim_node *n, unsigned from, const packet *p) {
        const driver_forward forward = {
                .to = p->from_id, .term = p->term, .seed = p->seed, .kind = p->record_kind,
                .step_budget = p->step_budget,
                .body = rq_bytes_of(p->data, p->size),
        };
        world_trace(w, (trace_record) { .event = TRACE_RECEIVE_FORWARD, .node = (uint8_t) n->number,
                .peer = (uint8_t) from, .term = p->term, .index = p->seed });
        rq_err r = node_admit(n, p->size);
        if (r >= 0 && !w->healed && world_chance(w, w->tuning.refusals))
                r = world_chance(w, 500) ? RQ_EFULL : RQ_ENOTLEADER;
        if (r >= 0)
                r = driver_forwarded(n->driver, &forward);
        if (r < 0)
                refuse_forward(w, n, from, p, r);
}

void node_receive(world *w, sim_node *n, unsigned from, packet *p) {
        rq_err r;
        switch (p->kind) {
        case PACKET_RAFT:
                trace_message(w, n->number, from, &p->message, true);
                r = driver_receive(n->driver, &p->message, rq_bytes_of(p->data, p->size), node_now_us(w, n));
                if (r == RQ_EPROTO || r == RQ_ECORRUPT)
                        world_fail(w, "protocol", "node %u refuses a message of type %d from node %u: %s", n->number,
                                   p->message.type, from, rq_err_text(r));
                break;
        case PACKET_FORWARD:
                receive_forward(w, n, from, p);
                break;
        case PACKET_FORWARD_REFUSED:
                world_trace(w, (trace_record) { .event = TRACE_RECEIVE_FORWARD_REFUSED, .node = (uint8_t) n->number,
                        .peer = (uint8_t) from, .term = p->term, .index = p->seed });
                driver_forward_refused(n->driver, p->from_id, p->term, p->seed, p->err);
                break;
        default:
                break;
        }
        if (p->kind >= PACKET_SNAPSHOT_OFFER)
                shell_receive(n, p);
        node_wake(w, n);
}

void node_peer_down(world *w, unsigned node_number, unsigned peer, bool refused) {
        sim_node *n = w->nodes[node_number];
        if (!n->up)
                return;
        world_trace(w, (trace_record) { .event = TRACE_PEER_DOWN, .node = (uint8_t) node_number, .peer = (uint8_t) peer,
                .flag = refused });
        driver_peer_down(n->driver, w->nodes[peer]->id, refused);
        node_wake(w, n);
}
