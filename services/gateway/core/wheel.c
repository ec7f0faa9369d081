#include "core/wheel.h"

void wheel_init(wheel *w, uint64_t tick_us, uint64_t now_us) {
        *w = (wheel) { .tick_us = tick_us, .done_tick = now_us / tick_us };
        for (int i = 0; i < WHEEL_SLOTS; i++)
                rq_list_init(&w->slots[i]);
}

void wheel_cancel(wheel *w, wheel_entry *entry) {
        if (!entry->set)
                return;
        rq_list_remove(&entry->node);
        entry->set = false;
        w->count--;
}

void wheel_set(wheel *w, wheel_entry *entry, uint64_t deadline_us) {
        wheel_cancel(w, entry);
        /* Rounded up: the slot is looked at when the whole tick is over. A
         * deadline in the past goes to the next slot to be looked at. */
        uint64_t tick = deadline_us / w->tick_us + 1;
        if (tick <= w->done_tick)
                tick = w->done_tick + 1;
        entry->deadline_us = deadline_us;
        entry->set = true;
        rq_list_append(&w->slots[tick % WHEEL_SLOTS], &entry->node);
        w->count++;
}

/* Entries of a later turn of the wheel share the slot and stay. */
static wheel_entry *expired_in(rq_list *slot, uint64_t now_us) {
        for (rq_list *node = slot->next; node != slot; node = node->next) {
                wheel_entry *entry = RQ_LIST_ENTRY(node, wheel_entry, node);
                if (entry->deadline_us <= now_us)
                        return entry;
        }
        return NULL;
}

wheel_entry *wheel_expired(wheel *w, uint64_t now_us) {
        uint64_t now_tick = now_us / w->tick_us;
        if (w->count == 0) {
                if (now_tick > w->done_tick)
                        w->done_tick = now_tick;
                return NULL;
        }
        if (now_tick > w->done_tick + WHEEL_SLOTS)
                w->done_tick = now_tick - WHEEL_SLOTS; /* one whole turn sees every slot */
        while (w->done_tick < now_tick) {
                wheel_entry *entry = expired_in(&w->slots[(w->done_tick + 1) % WHEEL_SLOTS], now_us);
                if (entry != NULL) {
                        wheel_cancel(w, entry);
                        return entry;
                }
                w->done_tick++;
        }
        return NULL;
}
