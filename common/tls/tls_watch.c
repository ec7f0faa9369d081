#include "tls/tls_watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "log/log.h"
#include "log/log_fields.h"

enum {
        LOOK_INTERVAL_US   = 1000000,
        EXPIRY_NOTICE_S    = 14 * 24 * 3600, /* before the end */
        EXPIRY_INTERVAL_S  = 24 * 3600,
};

struct rq_tls_watch {
        rq_tls *tls;
        const char *what;
        void (*on_change)(void *arg);
        void *arg;
        rq_timer timer;
        uint64_t expiry_told_us; /* monotonic; 0: not yet */
};

static const char *day_text(int64_t at_s, char text[static 32]) {
        const time_t at = (time_t) at_s;
        struct tm parts;
        if (gmtime_r(&at, &parts) == NULL || strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
                text[0] = '\0';
        return text;
}

static void tell_expiry(rq_tls_watch *watch) {
        const uint64_t now_us = rq_clock_mono_us();
        const int64_t left_s = rq_tls_expires_s(watch->tls) - (int64_t) (rq_clock_wall_us() / 1000000);
        char file[1024], day[32];
        const char *fields[] = { RQ_MSG_CERTIFICATE_EXPIRES,
                                 rq_log_field_text(file, sizeof file, RQ_FIELD_FILE, rq_tls_cert_file(watch->tls)), NULL };
        if (left_s > EXPIRY_NOTICE_S ||
            (watch->expiry_told_us != 0 && now_us - watch->expiry_told_us < (uint64_t) EXPIRY_INTERVAL_S * 1000000))
                return;
        watch->expiry_told_us = now_us;
        rq_log_write(LOG_WARNING, fields, left_s > 0 ? "%s: the certificate %s ends at %s: replace the file, it is read by itself" :
                     "%s: the certificate %s has ended at %s, new connections with it are refused: replace the file, it is read by itself",
                     watch->what, rq_tls_cert_file(watch->tls), day_text(rq_tls_expires_s(watch->tls), day));
}

static void look(rq_tls_watch *watch, bool forced) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        char file[1024], day[32];
        const char *fields[] = { RQ_MSG_RELOADED, rq_log_field_text(file, sizeof file, RQ_FIELD_FILE, rq_tls_cert_file(watch->tls)), NULL };
        rq_err r = rq_tls_refresh(watch->tls, forced, &problem);
        if (r >= 0) {
                rq_log_write(LOG_NOTICE, fields, "%s: read the certificate %s anew (valid until %s); new connections use it", watch->what,
                             rq_tls_cert_file(watch->tls), day_text(rq_tls_expires_s(watch->tls), day));
                watch->expiry_told_us = 0;
                if (watch->on_change != NULL)
                        watch->on_change(watch->arg);
        } else if (r != RQ_EAGAIN) {
                fields[0] = RQ_MSG_RELOAD_FAILED;
                rq_log_write(LOG_WARNING, fields, "%s: the new files can't be used, those read before stay in use: %.*s", watch->what,
                             (int) problem.size, problem.size > 0 ? (const char *) problem.data : "");
        }
        tell_expiry(watch);
}

static void on_timer(void *arg) {
        rq_tls_watch *watch = arg;
        look(watch, false);
        rq_timer_set(&watch->timer, LOOK_INTERVAL_US);
}

void rq_tls_watch_now(rq_tls_watch *watch) { look(watch, true); }

rq_err rq_tls_watch_new(rq_loop *loop, rq_tls *tls, const char *what, void (*on_change)(void *arg), void *arg, rq_tls_watch **ret_watch) {
        rq_tls_watch *watch = calloc(1, sizeof *watch);
        if (watch == NULL)
                return RQ_ENOMEM;
        *watch = (rq_tls_watch) { .tls = tls, .what = what, .on_change = on_change, .arg = arg };
        rq_err r = rq_timer_init(&watch->timer, loop, on_timer, watch);
        if (r < 0) {
                free(watch);
                return r;
        }
        tell_expiry(watch);
        rq_timer_set(&watch->timer, LOOK_INTERVAL_US);
        *ret_watch = watch;
        return RQ_OK;
}

rq_tls_watch *rq_tls_watch_free(rq_tls_watch *watch) {
        if (watch == NULL)
                return NULL;
        rq_timer_done(&watch->timer);
        free(watch);
        return NULL;
}
