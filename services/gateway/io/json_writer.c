#include "io/json_writer.h"

#include "io/json_text.h"

static void keep(json_writer *w, rq_err r) {
        if (w->err >= 0 && r < 0)
                w->err = r;
}

static void put(json_writer *w, const char *text) { keep(w, rq_buf_append_text(w->out, text)); }

static void new_line(json_writer *w) {
        if (!w->pretty)
                return;
        put(w, "\n");
        for (unsigned i = 0; i < w->depth; i++)
                put(w, "    ");
}

static void begin_member(json_writer *w, const char *key) {
        if (w->has_members)
                put(w, ",");
        if (w->depth > 0)
                new_line(w);
        w->has_members = true;
        if (key != NULL) {
                keep(w, json_put_string(w->out, rq_bytes_text(key)));
                put(w, w->pretty ? ": " : ":");
        }
}

void writer_open(json_writer *w, const char *key, char bracket) {
        begin_member(w, key);
        keep(w, rq_buf_append(w->out, &bracket, 1));
        w->depth++;
        w->has_members = false;
}

void writer_close(json_writer *w, char bracket) {
        w->depth--;
        if (w->has_members)
                new_line(w);
        keep(w, rq_buf_append(w->out, &bracket, 1));
        w->has_members = true;
}

void writer_string(json_writer *w, const char *key, rq_bytes value) {
        begin_member(w, key);
        keep(w, json_put_string(w->out, value));
}

void writer_text(json_writer *w, const char *key, const char *value) { writer_string(w, key, rq_bytes_text(value)); }

void writer_raw(json_writer *w, const char *key, const char *value) {
        begin_member(w, key);
        put(w, value);
}

void writer_bool(json_writer *w, const char *key, bool value) { writer_raw(w, key, value ? "true" : "false"); }
