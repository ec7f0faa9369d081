#include "core/wait_applied.h"

#include "base/assert.h"

static wait_item *of_index(rq_list *node) { return RQ_LIST_ENTRY(node, wait_item, by_index); }
static wait_item *of_deadline(rq_list *node) { return RQ_LIST_ENTRY(node, wait_item, by_deadline); }

/* rq_list_append puts before its head: any node of the list can be that. */
static void insert_behind(rq_list *at, rq_list *node) { rq_list_append(at->next, node); }

void wait_applied_init(wait_applied *w) {
        rq_list_init(&w->by_index);
        rq_list_init(&w->by_deadline);
        w->count = 0;
}

void wait_applied_add(wait_applied *w, wait_item *item, uint64_t index, uint64_t deadline_us) {
        rq_assert(item->in == NULL);
        item->index = index;
        item->deadline_us = deadline_us;
        item->in = w;
        w->count++;

        rq_list *at = w->by_index.prev;
        while (at != &w->by_index && of_index(at)->index > index)
                at = at->prev;
        insert_behind(at, &item->by_index);

        at = w->by_deadline.prev;
        while (at != &w->by_deadline && of_deadline(at)->deadline_us > deadline_us)
                at = at->prev;
        insert_behind(at, &item->by_deadline);
}

void wait_applied_remove(wait_applied *w, wait_item *item) {
        if (item->in != w)
                return;
        rq_list_remove(&item->by_index);
        rq_list_remove(&item->by_deadline);
        item->in = NULL;
        w->count--;
}

wait_item *wait_applied_ready(wait_applied *w, uint64_t applied_index) {
        if (rq_list_empty(&w->by_index))
                return NULL;
        wait_item *item = of_index(w->by_index.next);
        if (item->index > applied_index)
                return NULL;
        wait_applied_remove(w, item);
        return item;
}

wait_item *wait_applied_expired(wait_applied *w, uint64_t now_us) {
        if (rq_list_empty(&w->by_deadline))
                return NULL;
        wait_item *item = of_deadline(w->by_deadline.next);
        if (item->deadline_us > now_us)
                return NULL;
        wait_applied_remove(w, item);
        return item;
}

uint64_t wait_applied_next_deadline(const wait_applied *w) {
        return rq_list_empty(&w->by_deadline) ? UINT64_MAX : of_deadline(w->by_deadline.next)->deadline_us;
}
