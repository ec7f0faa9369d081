/* BEGIN, COMMIT, SAVEPOINT and their like within one request: which are open,
 * and what each comes to. SQLite's rules and words (sqlite.org/lang_transaction,
 * lang_savepoint), but that nothing outlives the request. Decides only: who runs
 * the statements does what the move says and then tells transaction_stack_moved(). */
#ifndef RQ_STORE_TRANSACTION_STACK_H
#define RQ_STORE_TRANSACTION_STACK_H

#include <stdbool.h>
#include <stdint.h>

enum {
        SAVEPOINTS_MAX     = 64,  /* open at a time */
        SAVEPOINT_NAME_MAX = 128, /* bytes */
        MOVE_PROBLEM_BYTES = SAVEPOINT_NAME_MAX + 96,
};

/* What a statement says. */
typedef enum control_kind {
        CONTROL_NONE, CONTROL_BEGIN, CONTROL_COMMIT, CONTROL_ROLLBACK,
        CONTROL_SAVEPOINT, CONTROL_RELEASE, CONTROL_ROLLBACK_TO,
} control_kind;

typedef struct transaction_stack {
        bool by_parameter; /* the request's `transaction`, which ends it, too */
        bool open;         /* by BEGIN or a first SAVEPOINT */
        bool begun;        /* by BEGIN: RELEASE of the first savepoint doesn't end it */
        uint32_t depth;    /* savepoints; their numbers are 1..depth */
        char names[SAVEPOINTS_MAX][SAVEPOINT_NAME_MAX + 1];
} transaction_stack;

typedef struct transaction_move {
        control_kind kind;
        bool opens;        /* a transaction begins (before a savepoint does) */
        bool closes;       /* it ends; else only the savepoint is meant */
        bool undoes;       /* what was done since is undone */
        uint32_t savepoint; /* 0: none */
} transaction_move;

/* A request begins. */
void transaction_stack_begin(transaction_stack *s, bool by_parameter);

/* Errors are texts for the client in problem: then there is nothing to do; else
 * it is "". name: of a savepoint, else ignored. */
transaction_move transaction_stack_move(const transaction_stack *s, control_kind kind, const char *name,
                                        char problem[static MOVE_PROBLEM_BYTES]);
void transaction_stack_moved(transaction_stack *s, const transaction_move *move, const char *name);

/* A statement (OR ROLLBACK, RAISE(ROLLBACK)) has ended what was open, if anything was. */
void transaction_stack_ended(transaction_stack *s);

/* Of a request that ends with an open transaction. */
extern const char transaction_left_open[];

#endif
