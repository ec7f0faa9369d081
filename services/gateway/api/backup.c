/* GET /db/backup: a copy of the database as the store makes it, passed on as it
 * comes; compressed here if that is asked for. */
#include <stdlib.h>

#include "api/api.h"
#include "backend.h"
#include "base/cleanup.h"
#include "io/gzip.h"
#include "store.pb-c.h"

enum { PATIENCE_US = 3600 * 1000 * 1000LL }; /* until the first byte, without `timeout`: a vacuumed copy is made before it */

static const char *format_problem(const params *p) {
        bool named = rq_bytes_equal(p->fmt, rq_bytes_text("sql")) || rq_bytes_equal(p->fmt, rq_bytes_text("delete"));
        return named && p->vacuum ? "invalid backup format" : NULL;
}

static Rq__Backup__Format format_of(const params *p) {
        if (rq_bytes_equal(p->fmt, rq_bytes_text("sql")))
                return RQ__BACKUP__FORMAT__SQL;
        if (rq_bytes_equal(p->fmt, rq_bytes_text("delete")))
                return RQ__BACKUP__FORMAT__DELETE;
        return p->vacuum ? RQ__BACKUP__FORMAT__VACUUM : RQ__BACKUP__FORMAT__BINARY; /* what isn't known, too */
}

static rq_bytes trimmed(rq_bytes name) {
        while (name.size > 0 && name.data[0] == ' ')
                name = rq_bytes_of(name.data + 1, name.size - 1);
        while (name.size > 0 && name.data[name.size - 1] == ' ')
                name.size--;
        return name;
}

/* Names between commas, borrowed; there is room for one more than there are commas. */
static size_t split_tables(rq_bytes text, ProtobufCBinaryData *names) {
        size_t count = 0;
        for (rq_bytes rest = text; rest.size > 0;) {
                const uint8_t *comma = memchr(rest.data, ',', rest.size);
                size_t size = comma != NULL ? (size_t) (comma - rest.data) : rest.size;
                rq_bytes name = trimmed(rq_bytes_of(rest.data, size));
                if (name.size > 0)
                        names[count++] = (ProtobufCBinaryData) { .data = (uint8_t *) (uintptr_t) name.data, .len = name.size };
                size += comma != NULL;
                rest = rq_bytes_of(rest.data + size, rest.size - size);
        }
        return count;
}

static rq_err put_backup(rq_buf *out, const params *p) {
        Rq__Backup backup = RQ__BACKUP__INIT;
        size_t commas = 0;
        for (size_t i = 0; i < p->tables.size; i++)
                commas += p->tables.data[i] == ',';
        RQ_CLEANUP(rq_freep) ProtobufCBinaryData *names = calloc(commas + 1, sizeof *names);
        if (names == NULL)
                return RQ_ENOMEM;
        backup.format = format_of(p);
        backup.n_tables = split_tables(p->tables, names);
        backup.tables = names;
        size_t size = rq__backup__get_packed_size(&backup);
        rq_err r = rq_buf_reserve(out, size);
        if (r >= 0)
                out->size += rq__backup__pack(&backup, out->data + out->size);
        return r;
}

static void begin(exchange *ex) {
        const params *p = &ex->params;
        if (!p->noleader && api_redirect(ex, begin))
                return;
        ex->text.size = 0;
        rq_err r = put_backup(&ex->text, p);
        if (r >= 0 && p->compress)
                r = gzip_new(GZIP_DEFLATE, &ex->gzip);
        if (r < 0) {
                api_answer_text(ex, 503, rq_err_text(r));
                return;
        }
        ex->is_file = true;
        ex->file_type = format_of(p) == RQ__BACKUP__FORMAT__SQL ? "application/sql" : "application/octet-stream";
        if (!p->has_timeout)
                ex->deadline_us = ex->started_ns / 1000 + PATIENCE_US;
        backend_start(ex);
}

void backup_complete(exchange *ex) {
        const params *p = &ex->params;
        ex->gw->metrics.http.backups++;
        const char *problem = format_problem(p);
        if (problem != NULL) {
                api_answer_text(ex, 500, problem);
                return;
        }
        ex->way = p->noleader ? WAY_QUERY : WAY_READ;
        ex->level = READ_WEAK;
        begin(ex);
}
