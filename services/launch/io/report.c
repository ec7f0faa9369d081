#include "io/report.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"

static rq_err put_string(rq_buf *out, const char *text) {
        rq_err r = rq_buf_append_text(out, "\"");
        for (; *text != '\0' && r == RQ_OK; text++) {
                uint8_t c = (uint8_t) *text;
                if (c == '"' || c == '\\')
                        r = rq_buf_printf(out, "\\%c", c);
                else if (c < 0x20 || c >= 0x7f) /* our own words are ASCII; the rest may be anything */
                        r = rq_buf_printf(out, "\\u%04x", c < 0x80 ? c : 0xfffdu);
                else
                        r = rq_buf_append(out, &c, 1);
        }
        return r == RQ_OK ? rq_buf_append_text(out, "\"") : r;
}

static rq_err put_child(rq_buf *out, const report_child *child) {
        const struct { const char *name, *text; } strings[] = {
                { "name", child->name }, { "state", child->state }, { "status", child->status }, { "last_exit", child->last_exit },
        };
        time_t seconds = (time_t) (child->since_wall_us / 1000000);
        struct tm tm;
        char since[64];
        rq_err r = rq_buf_append_text(out, "{");
        for (size_t i = 0; i < sizeof strings / sizeof strings[0] && r == RQ_OK; i++) {
                r = rq_buf_printf(out, "\"%s\":", strings[i].name);
                if (r == RQ_OK)
                        r = put_string(out, strings[i].text);
                if (r == RQ_OK)
                        r = rq_buf_append_text(out, ",");
        }
        if (r < 0)
                return r;
        (void) gmtime_r(&seconds, &tm);
        (void) strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%S", &tm);
        return rq_buf_printf(out, "\"pid\":%ld,\"restarts\":%u,\"since\":\"%s.%03uZ\"}", (long) child->pid, child->restarts,
                             since, (unsigned) (child->since_wall_us / 1000 % 1000));
}

static rq_err compose(const report_child *children, size_t count, rq_buf *out) {
        rq_err r = rq_buf_printf(out, "{\"pid\":%ld,\"version\":\"%s\",\"children\":[", (long) getpid(), RQ_VERSION);
        for (size_t i = 0; i < count && r == RQ_OK; i++) {
                if (i > 0)
                        r = rq_buf_append_text(out, ",");
                if (r == RQ_OK)
                        r = put_child(out, &children[i]);
        }
        return r == RQ_OK ? rq_buf_append_text(out, "]}\n") : r;
}

static rq_err replace(int run_dir_fd, const char *name, const char *new_name, rq_bytes text) {
        RQ_CLEANUP(rq_closep) int fd = openat(run_dir_fd, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return rq_err_from_errno(errno);
        ssize_t written = write(fd, text.data, text.size);
        if (written < 0)
                return rq_err_from_errno(errno);
        if ((size_t) written != text.size) /* a full tmpfs */
                return RQ_ENOSPC;
        return renameat(run_dir_fd, new_name, run_dir_fd, name) < 0 ? rq_err_from_errno(errno) : RQ_OK;
}

rq_err report_write(int run_dir_fd, const report_child *children, size_t count) {
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        rq_err r = compose(children, count, &text);
        return r < 0 ? r : replace(run_dir_fd, "launcher.json", "launcher.json.new", rq_buf_bytes(&text));
}

rq_err report_write_config(int run_dir_fd, rq_bytes text) { return replace(run_dir_fd, "rqd.conf", "rqd.conf.new", text); }
