/* Intrusive doubly linked list; the head is a node of its own. */
#ifndef RQ_BASE_LIST_H
#define RQ_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct rq_list { struct rq_list *next, *prev; } rq_list;

#define RQ_LIST_ENTRY(node, type, member) ((type *) (void *) ((char *) (node) - offsetof(type, member)))

static inline void rq_list_init(rq_list *head) { head->next = head->prev = head; }
static inline bool rq_list_empty(const rq_list *head) { return head->next == head; }

static inline void rq_list_append(rq_list *head, rq_list *node) {
        node->prev = head->prev;
        node->next = head;
        head->prev->next = node;
        head->prev = node;
}

static inline void rq_list_remove(rq_list *node) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
        node->next = node->prev = node;
}

#endif
