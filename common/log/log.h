/* Log once, at the top, with fields. To the journal in its native protocol
 * when stderr is a journal stream (JOURNAL_STREAM), else one line a record on
 * stderr: "2026-01-31T12:00:00.123Z rq-store info: message FIELD=value".
 * A service without a journal started by rqd writes the same line. Field names
 * and MESSAGE_IDs live in log_fields.h, wording with the caller.
 *
 * A record waits at most 100 ms for somebody to read standard error; then records are dropped until
 * somebody does, and the first one after that is preceded by how many (log_sink.h).
 *
 * Any thread may log. Never log a secret, a password or a parameter value.
 *
 * Priorities: LOG_ERR: something is lost, refused or stopped until somebody acts.
 * LOG_WARNING: it goes on, but somebody should look. LOG_NOTICE: a change that
 * explains later what happened (a leader, a founding). LOG_INFO: the normal
 * course. So that `journalctl -p warning` is worth reading, nothing that heals
 * itself in the normal course, or that a client did, is a warning.
 *
 * Records of one format string are bounded (log_flood.h); the next one that is
 * written tells in RQ_SUPPRESSED how many were not. */
#ifndef RQ_LOG_LOG_H
#define RQ_LOG_LOG_H

#include <stddef.h>
#include <stdint.h>
#include <syslog.h>

#include "base/err.h"

typedef enum rq_log_format { RQ_LOG_PLAIN, RQ_LOG_JSON } rq_log_format;

/* program: static string. level: LOG_ERR .. LOG_DEBUG, the least urgent shown. */
void rq_log_open(const char *program, rq_log_format format, int level);

/* From any thread. */
void rq_log_set_level(int level);

/* This node's id, for the field RQ_NODE of every record in the journal and in
 * JSON (a plain line has no room for what is always the same). Copied. */
void rq_log_set_node(const char *node_id);

/* fields: array of "NAME=value" strings, NULL-terminated; may be NULL. */
void rq_log_write(int priority, const char *const *fields, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

#define rq_log_debug(...)   rq_log_write(LOG_DEBUG, NULL, __VA_ARGS__)
#define rq_log_info(...)    rq_log_write(LOG_INFO, NULL, __VA_ARGS__)
#define rq_log_notice(...)  rq_log_write(LOG_NOTICE, NULL, __VA_ARGS__)
#define rq_log_warning(...) rq_log_write(LOG_WARNING, NULL, __VA_ARGS__)

/* An event that an operator acts on: id is one of log_fields.h's RQ_MSG_. With
 * more fields: rq_log_write(). */
#define rq_log_event(priority, id, ...) rq_log_write(priority, (const char *const[]) { id, NULL }, __VA_ARGS__)

/* Logs "text: error text" at LOG_ERR and returns err, so that an error path
 * is one line: return rq_log_error(r, "Cannot open %s", path). RQ_ECONFIG without
 * fields is the event RQ_MSG_BAD_CONFIG. */
#define rq_log_error(err, ...) rq_log_error_(err, NULL, __VA_ARGS__)
#define rq_log_error_event(err, id, ...) rq_log_error_(err, (const char *const[]) { id, NULL }, __VA_ARGS__)
rq_err rq_log_error_(rq_err err, const char *const *fields, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* A "NAME=value" string for a fields array; buf is the caller's. Returns buf. */
char *rq_log_field_u64(char *buf, size_t size, const char *name, uint64_t value);
char *rq_log_field_text(char *buf, size_t size, const char *name, const char *value);

/* Rate limit for one place: at most burst records each interval. Returns 1 if
 * this one may be logged, and then sets *ret_suppressed to how many were not. */
typedef struct rq_log_limit {
        uint32_t interval_ms, burst;
        uint64_t window_start_us;
        uint32_t used, suppressed;
} rq_log_limit;
int rq_log_allowed(rq_log_limit *limit, uint32_t *ret_suppressed);

#endif
