/* GET /db/backup: a copy of the database as the store makes it, passed on as it
 * comes; compressed here if that is asked for. */
#include "api/api.h"
#include "backend.h"
#include "io/gzip.h"
#include "io/wire.h"

enum { PATIENCE_US = 3600 * 1000 * 1000LL }; /* until the first byte, without `timeout`: a vacuumed copy is made before it */

static const char *format_problem(const params *p) {
        bool named = rq_bytes_equal(p->fmt, rq_bytes_text("sql")) || rq_bytes_equal(p->fmt, rq_bytes_text("delete"));
        return named && p->vacuum ? "invalid backup format" : NULL;
}

/* Backup.Format of proto/store.proto */
typedef enum backup_format { BACKUP_BINARY = 0, BACKUP_DELETE = 1, BACKUP_VACUUM = 2, BACKUP_SQL = 3 } backup_format;

static backup_format format_of(const params *p) {
        if (rq_bytes_equal(p->fmt, rq_bytes_text("sql")))
                return BACKUP_SQL;
        if (rq_bytes_equal(p->fmt, rq_bytes_text("delete")))
                return BACKUP_DELETE;
        return p->vacuum ? BACKUP_VACUUM : BACKUP_BINARY; /* what isn't known, too */
}

static rq_bytes trimmed(rq_bytes name) {
        while (name.size > 0 && name.data[0] == ' ')
                name = rq_bytes_of(name.data + 1, name.size - 1);
        while (name.size > 0 && name.data[name.size - 1] == ' ')
                name.size--;
        return name;
}

/* Backup: format 1, tables 2. */
static rq_err put_backup(rq_buf *out, const params *p) {
        /* Never more than the parameter's own bytes and a length for each comma. */
        rq_err r = rq_buf_reserve(out, 2 + (p->tables.size + 1) * (2 + WIRE_VARINT_BYTES_MAX));
        if (r < 0)
                return r;
        uint8_t *to = out->data + out->size;
        *to++ = wire_small_tag(1, WIRE_VARINT);
        *to++ = (uint8_t) format_of(p);
        for (rq_bytes rest = p->tables; rest.size > 0;) {
                const uint8_t *comma = memchr(rest.data, ',', rest.size);
                size_t size = comma != NULL ? (size_t) (comma - rest.data) : rest.size;
                rq_bytes name = trimmed(rq_bytes_of(rest.data, size));
                to = wire_put_bytes(to, 2, name.data, name.size);
                size += comma != NULL;
                rest = rq_bytes_of(rest.data + size, rest.size - size);
        }
        out->size = (size_t) (to - out->data);
        return RQ_OK;
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
        if (!p->noleader && api_redirect(ex))
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
        ex->file_type = format_of(p) == BACKUP_SQL ? "application/sql" : "application/octet-stream";
        if (!p->has_timeout)
                ex->deadline_us = ex->started_ns / 1000 + PATIENCE_US;
        backend_start(ex);
}
