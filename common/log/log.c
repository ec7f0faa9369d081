#include <stddef.h>

#include "log/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Without it sd_journal_sendv() would be a macro that adds our own file and
 * line to every record: those of this file. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "log/log_fields.h"
#include "log/log_flood.h"
#include "log/log_sink.h"

enum {
        /* PIPE_BUF: one write(2) of that many bytes is not torn apart by those
         * of the sibling services that share the pipe. */
        LINE_BYTES_MAX    = 4096,
        MESSAGE_BYTES_MAX = 3072,
        FIELDS_MAX        = 24,
        TAIL_BYTES        = 8, /* kept free for what closes a line */
        NODE_BYTES_MAX    = 320,
};

static struct {
        const char *program;
        rq_log_format format;
        _Atomic int level; /* may change while other threads log */
        bool to_journal;
        char node_field[NODE_BYTES_MAX]; /* "RQ_NODE=n1"; "": not known */
        pthread_mutex_t flood_mutex;
        log_flood flood;
        pthread_mutex_t sink_mutex;
        log_sink sink;
} log_state = { .program = "rq", .format = RQ_LOG_PLAIN, .level = LOG_INFO, .flood_mutex = PTHREAD_MUTEX_INITIALIZER,
                .sink_mutex = PTHREAD_MUTEX_INITIALIZER, .sink = { .fd = STDERR_FILENO } };

/* JOURNAL_STREAM is device:inode of the stream that systemd connected; stderr
 * may have been redirected since (systemd.exec(5)). */
static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;
        char rest;
        if (stream == NULL || sscanf(stream, "%llu:%llu%c", &device, &inode, &rest) != 2)
                return false;
        if (fstat(STDERR_FILENO, &st) < 0 || st.st_dev != device || st.st_ino != inode)
                return false;
        /* In a chroot the stream may be there and the socket not; then
         * sd_journal_sendv() would drop records and say success. */
        return access("/run/systemd/journal/socket", W_OK) == 0;
}

void rq_log_open(const char *program, rq_log_format format, int level) {
        log_state.program = program;
        log_state.format = format;
        log_state.level = level;
        log_state.to_journal = stderr_is_journal();
        (void) pthread_mutex_lock(&log_state.flood_mutex); /* also when the level is read again */
        log_state.flood = (log_flood) {0};
        (void) pthread_mutex_unlock(&log_state.flood_mutex);
        (void) pthread_mutex_lock(&log_state.sink_mutex);
        log_sink_close(&log_state.sink);
        log_sink_open(&log_state.sink, STDERR_FILENO);
        (void) pthread_mutex_unlock(&log_state.sink_mutex);
}

void rq_log_set_level(int level) { log_state.level = level; }

void rq_log_set_node(const char *node_id) {
        (void) snprintf(log_state.node_field, sizeof log_state.node_field, "%s=%s", RQ_FIELD_NODE, node_id);
}

static const char *level_name(int priority) {
        static const char *const names[] = { "emergency", "alert", "critical", "error", "warning", "notice", "info", "debug" };
        return priority >= 0 && priority < 8 ? names[priority] : "info";
}

/* --- one line -------------------------------------------------------------- */

typedef struct line {
        char text[LINE_BYTES_MAX];
        size_t size;
} line;

/* All or nothing, so that an escape is never cut in two. */
static bool put(line *l, const char *text, size_t size) {
        if (size > sizeof l->text - TAIL_BYTES - l->size)
                return false;
        memcpy(l->text + l->size, text, size);
        l->size += size;
        return true;
}

static bool put_text(line *l, const char *text) { return put(l, text, strlen(text)); }

/* What closes the line: TAIL_BYTES are there for it. */
static void put_tail(line *l, const char *text) {
        size_t size = strlen(text);
        memcpy(l->text + l->size, text, size);
        l->size += size;
}

/* Bytes of the valid UTF-8 character at p; 0: none (also overlong forms and
 * surrogates). Sets *ret_code. */
static size_t utf8_char(const uint8_t *p, uint32_t *ret_code) {
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t size = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
        if (size == 0)
                return 0;
        uint32_t code = size == 1 ? p[0] : p[0] & (0xffu >> (size + 1));
        for (size_t i = 1; i < size; i++) {
                if (p[i] >> 6 != 2) /* also at the NUL that ends the text */
                        return 0;
                code = code << 6 | (p[i] & 0x3f);
        }
        if (code < least[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
                return 0;
        *ret_code = code;
        return size;
}

static bool is_control(uint32_t code) {
        return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

static bool put_escape(line *l, uint32_t code, bool json) {
        char escape[16];
        int size = code == '\n' ? snprintf(escape, sizeof escape, "\\n")
                 : code == '\t' ? snprintf(escape, sizeof escape, "\\t")
                 : json         ? snprintf(escape, sizeof escape, "\\u%04x", code)
                                : snprintf(escape, sizeof escape, "\\x%02x", code);
        return put(l, escape, (size_t) size);
}

/* Text of others (SQL, names, errors) never ends a line, hides one from a
 * terminal, or closes a quotation. quoted: inside "...". */
static void put_escaped(line *l, const char *text, bool quoted) {
        bool json = log_state.format == RQ_LOG_JSON;
        const uint8_t *p = (const uint8_t *) text;
        bool fits = true;
        while (*p != '\0' && fits) {
                uint32_t code = *p;
                size_t size = utf8_char(p, &code);
                if (size == 0) {
                        fits = json ? put_text(l, "\\ufffd") : put_escape(l, *p, false);
                        size = 1;
                } else if (is_control(code)) {
                        fits = put_escape(l, code, json);
                } else if (quoted && (code == '"' || code == '\\')) {
                        const char escape[2] = { '\\', (char) code };
                        fits = put(l, escape, 2);
                } else {
                        fits = put(l, (const char *) p, size);
                }
                p += size;
        }
}

static void put_time(line *l) {
        uint64_t now_us = rq_clock_wall_us();
        time_t seconds = (time_t) (now_us / 1000000);
        struct tm tm;
        char text[64];
        (void) gmtime_r(&seconds, &tm);
        size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
        (void) snprintf(text + used, sizeof text - used, ".%03uZ", (unsigned) (now_us / 1000 % 1000));
        (void) put_text(l, text);
}

static bool is_message_id(const char *field) { return strncmp(field, "MESSAGE_ID=", 11) == 0; }

static void put_plain(line *l, int priority, const char *message, const char *const *fields) {
        put_time(l);
        (void) put_text(l, " ");
        (void) put_text(l, log_state.program);
        (void) put_text(l, " ");
        (void) put_text(l, level_name(priority));
        (void) put_text(l, ": ");
        put_escaped(l, message, false);
        for (; fields != NULL && *fields != NULL; fields++) {
                const char *equals = strchr(*fields, '=');
                if (equals == NULL || is_message_id(*fields)) /* an id is for programs */
                        continue;
                bool quoted = equals[1] == '\0' || strpbrk(equals + 1, " \"\\=") != NULL;
                if (!put_text(l, " ") || !put(l, *fields, (size_t) (equals + 1 - *fields)))
                        break;
                if (quoted && !put_text(l, "\""))
                        break;
                put_escaped(l, equals + 1, quoted);
                if (quoted && !put_text(l, "\"")) {
                        put_tail(l, "\"");
                        break;
                }
        }
        put_tail(l, "\n");
}

static void put_json(line *l, int priority, const char *message, const char *const *fields) {
        char pid[32];
        (void) snprintf(pid, sizeof pid, "\",\"pid\":%ld", (long) getpid());
        (void) put_text(l, "{\"time\":\"");
        put_time(l);
        (void) put_text(l, "\",\"level\":\"");
        (void) put_text(l, level_name(priority));
        (void) put_text(l, "\",\"program\":\"");
        put_escaped(l, log_state.program, true);
        (void) put_text(l, pid);
        (void) put_text(l, ",\"message\":\"");
        put_escaped(l, message, true);
        for (; fields != NULL && *fields != NULL; fields++) {
                const char *equals = strchr(*fields, '=');
                size_t before = l->size;
                if (equals == NULL)
                        continue;
                if (!put_text(l, "\",\"") || !put(l, *fields, (size_t) (equals - *fields)) || !put_text(l, "\":\"")) {
                        l->size = before; /* no half field: the line stays JSON */
                        break;
                }
                put_escaped(l, equals + 1, true);
        }
        put_tail(l, "\"}\n");
}

/* --- one record ------------------------------------------------------------ */

static bool send_to_journal(int priority, const char *message, const char *const *fields) {
        struct iovec vector[FIELDS_MAX + 3]; /* with ours: all_fields() */
        char priority_field[16], program_field[64], message_field[MESSAGE_BYTES_MAX + 8];
        int count = 0;

        (void) snprintf(message_field, sizeof message_field, "MESSAGE=%s", message);
        (void) snprintf(priority_field, sizeof priority_field, "PRIORITY=%i", priority);
        (void) snprintf(program_field, sizeof program_field, "SYSLOG_IDENTIFIER=%s", log_state.program);
        vector[count++] = (struct iovec) { message_field, strlen(message_field) };
        vector[count++] = (struct iovec) { priority_field, strlen(priority_field) };
        vector[count++] = (struct iovec) { program_field, strlen(program_field) };
        for (int i = 0; fields != NULL && fields[i] != NULL && i < FIELDS_MAX; i++)
                vector[count++] = (struct iovec) { (void *) (uintptr_t) fields[i], strlen(fields[i]) };
        return sd_journal_sendv(vector, count) >= 0;
}

/* The caller's fields and ours. */
static void all_fields(const char *const *fields, const char *suppressed, const char *all[static FIELDS_MAX + 1]) {
        size_t count = 0;
        for (; fields != NULL && fields[count] != NULL && count < FIELDS_MAX - 2; count++)
                all[count] = fields[count];
        if (log_state.node_field[0] != '\0' && (log_state.to_journal || log_state.format == RQ_LOG_JSON))
                all[count++] = log_state.node_field;
        if (suppressed != NULL)
                all[count++] = suppressed;
        all[count] = NULL;
}

static void put_record(line *l, int priority, const char *message, const char *const *fields) {
        l->size = 0;
        if (log_state.format == RQ_LOG_JSON)
                put_json(l, priority, message, fields);
        else
                put_plain(l, priority, message, fields);
}

/* Under the sink's mutex. False: still nobody reads; who asked has lost his record, which was counted. */
static bool tell_lost(void) {
        char message[128], field[32];
        const char *fields[FIELDS_MAX + 1];
        line l;
        (void) snprintf(message, sizeof message, "%llu records are missing here: nobody read standard error", (unsigned long long) log_state.sink.lost);
        all_fields(NULL, rq_log_field_u64(field, sizeof field, RQ_FIELD_SUPPRESSED, log_state.sink.lost), fields);
        put_record(&l, LOG_WARNING, message, fields);
        if (!log_sink_write(&log_state.sink, l.text, l.size))
                return false;
        log_state.sink.lost = 0;
        return true;
}

static void write_record(int priority, const char *const *callers_fields, uint32_t suppressed, const char *message) {
        const char *fields[FIELDS_MAX + 1];
        char suppressed_field[32];
        line l;
        all_fields(callers_fields, suppressed == 0 ? NULL : rq_log_field_u64(suppressed_field, sizeof suppressed_field, RQ_FIELD_SUPPRESSED, suppressed),
                   fields);
        if (log_state.to_journal && send_to_journal(priority, message, fields))
                return;
        put_record(&l, priority, message, fields);
        /* One write: whole lines, also beside other processes. A log that
         * nobody takes any more must not stop the service. */
        (void) pthread_mutex_lock(&log_state.sink_mutex);
        if (log_state.sink.lost == 0 || tell_lost())
                (void) log_sink_write(&log_state.sink, l.text, l.size);
        (void) pthread_mutex_unlock(&log_state.sink_mutex);
}

/* What was suppressed and never followed by another of its kind. */
static void tell_suppressed(uint64_t now_us) {
        int priority = LOG_INFO;
        uint32_t suppressed = 0;
        char message[512];
        (void) pthread_mutex_lock(&log_state.flood_mutex);
        const char *format = log_flood_owed(&log_state.flood, now_us, &priority, &suppressed);
        (void) pthread_mutex_unlock(&log_state.flood_mutex);
        if (format == NULL)
                return;
        (void) snprintf(message, sizeof message, "%u records were not shown of the kind: %s", suppressed, format);
        write_record(priority, NULL, suppressed, message);
}

/* Debug records are asked for; all others are bounded. */
static bool may_write(int priority, const char *format, uint32_t *ret_suppressed) {
        *ret_suppressed = 0;
        if (priority > log_state.level)
                return false;
        if (priority >= LOG_DEBUG)
                return true;
        uint64_t now_us = rq_clock_mono_us();
        (void) pthread_mutex_lock(&log_state.flood_mutex);
        bool allowed = log_flood_allows(&log_state.flood, format, priority, now_us, ret_suppressed);
        (void) pthread_mutex_unlock(&log_state.flood_mutex);
        if (allowed)
                tell_suppressed(now_us);
        return allowed;
}

void rq_log_write(int priority, const char *const *fields, const char *format, ...) {
        int saved_errno = errno;
        char message[MESSAGE_BYTES_MAX];
        uint32_t suppressed;
        va_list args;
        if (!may_write(priority, format, &suppressed))
                return;
        va_start(args, format);
        if (vsnprintf(message, sizeof message, format, args) < 0)
                message[0] = '\0';
        va_end(args);
        write_record(priority, fields, suppressed, message);
        errno = saved_errno;
}

rq_err rq_log_error_(rq_err err, const char *const *fields, const char *format, ...) {
        static const char *const bad_config[] = { RQ_MSG_BAD_CONFIG, NULL };
        int saved_errno = errno;
        char message[MESSAGE_BYTES_MAX];
        uint32_t suppressed;
        va_list args;
        if (!may_write(LOG_ERR, format, &suppressed))
                return err;
        va_start(args, format);
        int size = vsnprintf(message, sizeof message, format, args);
        va_end(args);
        if (size < 0)
                size = 0;
        if ((size_t) size < sizeof message)
                (void) snprintf(message + size, sizeof message - (size_t) size, ": %s", rq_err_text(err));
        write_record(LOG_ERR, fields == NULL && err == RQ_ECONFIG ? bad_config : fields, suppressed, message);
        errno = saved_errno;
        return err;
}

char *rq_log_field_u64(char *buf, size_t size, const char *name, uint64_t value) {
        (void) snprintf(buf, size, "%s=%llu", name, (unsigned long long) value);
        return buf;
}

char *rq_log_field_text(char *buf, size_t size, const char *name, const char *value) {
        (void) snprintf(buf, size, "%s=%s", name, value);
        return buf;
}

int rq_log_allowed(rq_log_limit *limit, uint32_t *ret_suppressed) {
        uint64_t now_us = rq_clock_mono_us();
        if (limit->window_start_us == 0 || now_us - limit->window_start_us >= (uint64_t) limit->interval_ms * 1000) {
                limit->window_start_us = now_us;
                limit->used = 0;
        }
        if (limit->used >= limit->burst) {
                limit->suppressed++;
                return 0;
        }
        limit->used++;
        *ret_suppressed = RQ_TAKE(limit->suppressed, 0);
        return 1;
}
