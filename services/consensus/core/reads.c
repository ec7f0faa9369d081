#include "core/reads.h"

#include <stdlib.h>

static read_request *read_of(const rq_list *node) { return RQ_LIST_ENTRY(node, read_request, node); }

/* Body of a loop over a list whose current node may go. */
#define RQ_EACH_READ(list, node, next)                                          \
        for (rq_list *node = (list)->next, *next = node->next; node != (list);  \
             node = next, next = node->next)

void reads_init(reads *r) {
        *r = (reads) { .deadline_us = UINT64_MAX };
        rq_list_init(&r->fresh);
        rq_list_init(&r->waiting);
        rq_list_init(&r->ready);
}

static void stop_being_fresh(reads *r, read_request *read) {
        if (read->fresh)
                r->fresh_count[read->level]--;
        read->fresh = false;
}

void reads_remove(reads *r, read_request *read) {
        stop_being_fresh(r, read);
        rq_list_remove(&read->node);
        r->count--;
        r->bytes -= read->query_bytes;
        free(read);
}

static void remove_all(reads *r, rq_list *list) {
        while (!rq_list_empty(list))
                reads_remove(r, read_of(list->next));
}

void reads_done(reads *r) {
        if (r->fresh.next == NULL)
                return; /* never initialised */
        remove_all(r, &r->fresh);
        remove_all(r, &r->waiting);
        remove_all(r, &r->ready);
}

rq_err reads_add(reads *r, request_origin from, read_level level, uint64_t deadline_us, raft_index min_index, rq_bytes query) {
        read_request *read = malloc(sizeof *read + query.size);
        if (read == NULL)
                return RQ_ENOMEM;
        *read = (read_request) {
                .from = from, .level = level, .deadline_us = deadline_us, .min_index = min_index,
                .query_bytes = query.size, .fresh = true,
        };
        if (query.size > 0)
                memcpy(read->query, query.data, query.size);
        rq_list_append(&r->fresh, &read->node);
        r->count++;
        r->bytes += query.size;
        r->fresh_count[level]++;
        if (deadline_us < r->deadline_us)
                r->deadline_us = deadline_us;
        return RQ_OK;
}

uint32_t reads_fresh_count(const reads *r) {
        return r->fresh_count[READ_WEAK] + r->fresh_count[READ_LINEARIZABLE] + r->fresh_count[READ_STRONG];
}

void reads_assign(reads *r, read_level level, uint64_t round_or_barrier) {
        RQ_EACH_READ(&r->fresh, node, next) {
                read_request *read = read_of(node);
                if (read->level != level)
                        continue;
                stop_being_fresh(r, read);
                if (level == READ_STRONG)
                        read->barrier = round_or_barrier;
                else
                        read->round = round_or_barrier;
                rq_list_remove(node);
                rq_list_append(&r->waiting, node);
        }
}

static void make_ready(reads *r, read_request *read, raft_index index) {
        stop_being_fresh(r, read);
        read->index = index > read->min_index ? index : read->min_index;
        rq_list_remove(&read->node);
        rq_list_append(&r->ready, &read->node);
}

void reads_make_ready(reads *r, read_level level, raft_index index) {
        RQ_EACH_READ(&r->fresh, node, next)
                if (read_of(node)->level == level)
                        make_ready(r, read_of(node), index);
}

void reads_round_ready(reads *r, uint64_t round, raft_index index) {
        RQ_EACH_READ(&r->waiting, node, next)
                if (read_of(node)->round != 0 && read_of(node)->round <= round)
                        make_ready(r, read_of(node), index);
}

void reads_barrier_ready(reads *r, uint64_t barrier, raft_index index) {
        RQ_EACH_READ(&r->waiting, node, next)
                if (read_of(node)->barrier == barrier)
                        make_ready(r, read_of(node), index);
}

static void make_fresh(reads *r, read_request *read) {
        read->round = 0;
        read->barrier = 0;
        read->fresh = true;
        r->fresh_count[read->level]++;
        rq_list_remove(&read->node);
        rq_list_append(&r->fresh, &read->node);
}

bool reads_retry_rounds(reads *r, uint64_t round) {
        uint32_t before = reads_fresh_count(r);
        RQ_EACH_READ(&r->waiting, node, next)
                if (read_of(node)->round != 0 && read_of(node)->round <= round)
                        make_fresh(r, read_of(node));
        return reads_fresh_count(r) > before;
}

void reads_retry_barrier(reads *r, uint64_t barrier) {
        RQ_EACH_READ(&r->waiting, node, next)
                if (read_of(node)->barrier == barrier)
                        make_fresh(r, read_of(node));
}

static void refuse(reads *r, read_request *read, answers *out, answer_reason reason, const char *text) {
        answers_add(out, read->from, OUTCOME_REFUSED, reason, 0, text);
        reads_remove(r, read);
}

void reads_refuse_barrier(reads *r, uint64_t barrier, answers *out, answer_reason reason, const char *text) {
        RQ_EACH_READ(&r->waiting, node, next)
                if (read_of(node)->barrier == barrier)
                        refuse(r, read_of(node), out, reason, text);
}

void reads_refuse_all(reads *r, bool only_fresh, answers *out, answer_reason reason, const char *text) {
        while (!rq_list_empty(&r->fresh))
                refuse(r, read_of(r->fresh.next), out, reason, text);
        while (!only_fresh && !rq_list_empty(&r->waiting))
                refuse(r, read_of(r->waiting.next), out, reason, text);
}

static void expire_list(reads *r, rq_list *list, uint64_t now_us, answers *out, answer_reason reason, const char *text) {
        RQ_EACH_READ(list, node, next) {
                if (read_of(node)->deadline_us <= now_us)
                        refuse(r, read_of(node), out, reason, text);
                else if (read_of(node)->deadline_us < r->deadline_us)
                        r->deadline_us = read_of(node)->deadline_us;
        }
}

void reads_expire(reads *r, uint64_t now_us, answers *out) {
        if (now_us < r->deadline_us)
                return;
        r->deadline_us = UINT64_MAX;
        expire_list(r, &r->fresh, now_us, out, REASON_TIMEOUT, "the index to read at was not known in time");
        expire_list(r, &r->waiting, now_us, out, REASON_TIMEOUT, "the index to read at was not known in time");
        expire_list(r, &r->ready, now_us, out, REASON_STORE_FAILED, "the database was not available in time");
}

void reads_gateway_gone(reads *r, uint32_t gateway) {
        rq_list *const lists[] = { &r->fresh, &r->waiting, &r->ready };
        for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
                RQ_EACH_READ(lists[i], node, next)
                        if (read_of(node)->from.gateway == gateway)
                                reads_remove(r, read_of(node));
}

read_request *reads_next_ready(const reads *r) {
        return rq_list_empty(&r->ready) ? NULL : read_of(r->ready.next);
}
