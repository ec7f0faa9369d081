#include "core/failure.h"

#include <stdio.h>

static void say(failure_answer *answer, unsigned status, unsigned retry_after_s, const char *text) {
        answer->status = status;
        answer->retry_after_s = retry_after_s;
        (void) snprintf(answer->text, sizeof answer->text, "%s", text);
}

/* "text: what the service said" */
static void say_why(failure_answer *answer, unsigned status, unsigned retry_after_s, const char *text, rq_bytes why) {
        say(answer, status, retry_after_s, text);
        size_t used = strlen(answer->text);
        if (why.size > 0)
                (void) snprintf(answer->text + used, sizeof answer->text - used, ": %.*s",
                                why.size > 300 ? 300 : (int) why.size, (const char *) why.data);
}

/* Nothing happened. */
static void answer_refused(const failure *f, failure_answer *answer) {
        switch (f->reason) {
        case FAILED_NO_LEADER:
        case FAILED_NOT_LEADER:
                say(answer, 503, 0, "leader not found");
                return;
        case FAILED_STALE:
                say(answer, 200, 0, "{\"results\":[],\"error\":\"stale read\"}");
                answer->json = true;
                return;
        case FAILED_OVERLOADED:
                say_why(answer, 503, 1, "too many requests are under way, nothing was done, try again", f->text);
                return;
        case FAILED_DISK_FULL:
                say_why(answer, 503, 10, "the disk is full, nothing was done", f->text);
                answer->server_error = true;
                return;
        case FAILED_STOPPING:
                say_why(answer, 503, 1, "the node is stopping, nothing was done, try again", f->text);
                return;
        case FAILED_INVALID:
                say_why(answer, 400, 0, "invalid request", f->text);
                return;
        case FAILED_TIMEOUT:
                say_why(answer, 503, 1, "timed out before anything was done, try again", f->text);
                return;
        case FAILED_STORE_FAILED:
                say_why(answer, 503, 1, "a service of this node is not available, nothing was done", f->text);
                answer->server_error = true;
                return;
        case FAILED_OTHER:
        case FAILED_NEEDS_LOG:
                break;
        }
        say_why(answer, 503, 1, "refused, nothing was done", f->text);
}

void failure_answer_of(const failure *f, failure_answer *ret_answer) {
        failure_answer answer = {0};
        /* Whatever became of a read, nothing was changed by it. */
        failure_outcome outcome = f->write || f->outcome == FAILED_DROPPED ? f->outcome : FAILED_REFUSED;

        if (!f->write && f->reason == FAILED_TIMEOUT) {
                say_why(&answer, 504, 0, "timed out, the read was not finished", f->text);
        } else if (outcome == FAILED_REFUSED) {
                answer_refused(f, &answer);
        } else if (outcome == FAILED_DROPPED) {
                say(&answer, 503, 1, "leadership changed and the request was dropped, nothing was done, try again");
        } else if (outcome == FAILED_COMMITTED) {
                (void) snprintf(answer.text, sizeof answer.text,
                                "committed at index %llu, but the result is lost; do not send it again",
                                (unsigned long long) f->index);
                answer.status = 500;
                answer.server_error = true;
        } else {
                say_why(&answer, 504, 0, "the outcome is unknown: the request may or may not be carried out", f->text);
                answer.server_error = true;
        }
        *ret_answer = answer;
}
