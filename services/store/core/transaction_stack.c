#include "core/transaction_stack.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

const char transaction_left_open[] =
        "the request left a transaction open, and it was rolled back: end it in the same request, or use the parameter 'transaction'";

static void say(char problem[static MOVE_PROBLEM_BYTES], const char *text) { (void) snprintf(problem, MOVE_PROBLEM_BYTES, "%s", text); }

static bool is_open(const transaction_stack *s) { return s->open || s->by_parameter; }

/* The newest of that name; 0: none. */
static uint32_t find(const transaction_stack *s, const char *name) {
        for (uint32_t n = s->depth; n > 0; n--)
                if (strcasecmp(s->names[n - 1], name) == 0)
                        return n;
        return 0;
}

static transaction_move end(const transaction_stack *s, control_kind kind, char problem[static MOVE_PROBLEM_BYTES]) {
        const char *word = kind == CONTROL_COMMIT ? "commit" : "rollback";
        if (s->by_parameter)
                (void) snprintf(problem, MOVE_PROBLEM_BYTES, "cannot %s - the request's parameter 'transaction' ends the transaction", word);
        else if (!s->open)
                (void) snprintf(problem, MOVE_PROBLEM_BYTES, "cannot %s - no transaction is active", word);
        return (transaction_move) { .kind = kind, .closes = true, .undoes = kind == CONTROL_ROLLBACK };
}

static transaction_move save(const transaction_stack *s, const char *name, char problem[static MOVE_PROBLEM_BYTES]) {
        if (strlen(name) > SAVEPOINT_NAME_MAX)
                say(problem, "the name of a savepoint is too long");
        else if (s->depth == SAVEPOINTS_MAX)
                say(problem, "too many savepoints are open");
        return (transaction_move) { .kind = CONTROL_SAVEPOINT, .opens = !is_open(s), .savepoint = s->depth + 1 };
}

void transaction_stack_begin(transaction_stack *s, bool by_parameter) {
        s->by_parameter = by_parameter;
        transaction_stack_ended(s);
}

transaction_move transaction_stack_move(const transaction_stack *s, control_kind kind, const char *name,
                                        char problem[static MOVE_PROBLEM_BYTES]) {
        transaction_move move = { .kind = kind };
        problem[0] = '\0';
        switch (kind) {
        case CONTROL_BEGIN:
                if (is_open(s))
                        say(problem, "cannot start a transaction within a transaction");
                move.opens = true;
                return move;
        case CONTROL_COMMIT:
        case CONTROL_ROLLBACK:
                return end(s, kind, problem);
        case CONTROL_SAVEPOINT:
                return save(s, name, problem);
        case CONTROL_RELEASE:
        case CONTROL_ROLLBACK_TO:
                move.savepoint = find(s, name);
                if (move.savepoint == 0)
                        (void) snprintf(problem, MOVE_PROBLEM_BYTES, "no such savepoint: %.*s", SAVEPOINT_NAME_MAX, name);
                move.undoes = kind == CONTROL_ROLLBACK_TO;
                move.closes = kind == CONTROL_RELEASE && move.savepoint == 1 && s->open && !s->begun;
                return move;
        case CONTROL_NONE:
                break;
        }
        return move;
}

void transaction_stack_moved(transaction_stack *s, const transaction_move *move, const char *name) {
        if (move->closes) {
                transaction_stack_ended(s);
                return;
        }
        if (move->opens) {
                s->open = true;
                s->begun = move->kind == CONTROL_BEGIN;
        }
        switch (move->kind) {
        case CONTROL_SAVEPOINT:
                (void) snprintf(s->names[s->depth++], sizeof s->names[0], "%s", name);
                return;
        case CONTROL_RELEASE:
                s->depth = move->savepoint - 1;
                return;
        case CONTROL_ROLLBACK_TO:
                s->depth = move->savepoint;
                return;
        default:
                return;
        }
}

void transaction_stack_ended(transaction_stack *s) {
        s->open = s->begun = false;
        s->depth = 0;
}
