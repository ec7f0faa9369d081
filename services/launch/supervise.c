#include "supervise.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "core/child.h"
#include "io/notify.h"
#include "io/report.h"
#include "io/spawn.h"
#include "log/log.h"
#include "log/log_fields.h"
#include "loop/loop.h"

/* In the order of their start. */
enum {
        FIRST_STARTS_MAX = 5,      /* of a service that fails before the node was ever up */
        SAME_SIGNAL_US   = 500000,
};

enum { CONSENSUS, STORE, GATEWAY, SERVICE_COUNT };
static const char *const service_names[SERVICE_COUNT] = { "rq-consensus", "rq-store", "rq-gateway" };

/* Nobody may lose what still answers him: first the way in, last the database. */
static const int stop_order[SERVICE_COUNT] = { GATEWAY, CONSENSUS, STORE };

typedef struct service {
        supervisor *owner;
        const char *name;
        char path[PATH_MAX];
        child child;
        pid_t pid;                        /* 0: no process */
        rq_timer deadline;
        uint64_t since_wall_us;
        char last_exit[64];
        char status[NOTIFY_STATUS_BYTES];
} service;

struct supervisor {
        const rq_config *config;
        char *const *argv;
        child_limits limits;
        rq_loop *loop;
        service services[SERVICE_COUNT];
        int run_dir_fd;                   /* borrowed */
        int signal_fd, notify_fd;
        int alive_pipe[2];                /* never written: its end tells the services that we died */
        char notify_name[NOTIFY_NAME_BYTES];
        struct event *signal_event, *notify_event;
        rq_task report;
        rq_timer own_watchdog;
        uint64_t own_watchdog_us;
        bool had_terminal, announced, stopping, report_failed;
        bool forced, killed;              /* at the end: by a second signal; because it didn't end in time */
        uint64_t stop_since_us;
        int exit_code;
};

/* --- what others see -------------------------------------------------------- */

static void on_report(void *arg) {
        supervisor *s = arg;
        report_child children[SERVICE_COUNT];
        for (int i = 0; i < SERVICE_COUNT; i++) {
                const service *v = &s->services[i];
                children[i] = (report_child) {
                        .name = v->name, .state = child_state_name(v->child.state), .status = v->status, .last_exit = v->last_exit,
                        .pid = v->pid, .restarts = v->child.restarts, .since_wall_us = v->since_wall_us,
                };
        }
        rq_err r = report_write(s->run_dir_fd, children, SERVICE_COUNT);
        if (r < 0 && !s->report_failed) /* once: a full disk is told by those it hurts */
                (void) rq_log_error(r, "Cannot write %s/launcher.json", rq_config_run_dir(s->config));
        s->report_failed = r < 0;

        char status[256];
        size_t used = 0;
        for (int i = 0; i < SERVICE_COUNT; i++)
                used += (size_t) snprintf(status + used, sizeof status - used, "%s%s %s", i > 0 ? ", " : "", children[i].name, children[i].state);
        (void) sd_notifyf(0, "STATUS=%s", status);
}

static void announce(supervisor *s) {
        const char *http = rq_config_api_addr(s->config), *scheme = strstr(http, "://") == NULL ? "http://" : "";
        (void) sd_notify(0, "READY=1");
        rq_log_info("All services are running");
        (void) printf("rq %s: node %s is up\n"
                      "  HTTP API   %s%s\n"
                      "  data       %s\n"
                      "  try        curl -XPOST '%s%s/db/execute?pretty' -H 'Content-Type: application/json' "
                      "-d '[\"CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)\"]'\n"
                      "  stop       Ctrl-C, or kill %ld\n",
                      RQ_VERSION, rq_config_node_id(s->config), scheme, http, rq_config_data_dir(s->config), scheme, http, (long) getpid());
        (void) fflush(stdout);
}

/* --- one service ------------------------------------------------------------ */

static void step(service *v, child_event event);

static void do_spawn(service *v) {
        supervisor *s = v->owner;
        const spawn_plan plan = {
                .path = v->path, .name = v->name, .argv = s->argv, .notify_socket = s->notify_name,
                .watchdog_us = s->limits.watchdog_us, .launcher_fd = s->alive_pipe[0],
        };
        v->status[0] = '\0';
        rq_err r = spawn_service(&plan, &v->pid);
        if (r == RQ_OK) {
                rq_log_debug("%s started, pid %ld", v->name, (long) v->pid);
                return;
        }
        (void) rq_log_error(r, "Cannot start %s", v->name);
        (void) snprintf(v->last_exit, sizeof v->last_exit, "could not be started");
        step(v, CHILD_EXITED);
}

/* Safe from pid reuse: a pid is ours until we reap it, and then it is 0 here. */
static void do_kill(service *v, int signal_number) {
        if (v->pid > 0)
                (void) kill(v->pid, signal_number);
}

static void perform(service *v, child_action action) {
        char field[64];
        const char *fields[] = { RQ_MSG_CHILD_HUNG, rq_log_field_text(field, sizeof field, RQ_FIELD_CHILD, v->name), NULL };
        switch (action) {
        case CHILD_NOTHING: break;
        case CHILD_SPAWN: do_spawn(v); break;
        case CHILD_TERMINATE: do_kill(v, SIGTERM); break;
        case CHILD_ABORT:
                rq_log_write(LOG_ERR, fields, v->child.ready_us == 0 ? "%s (pid %ld) did not get ready in time, ending it"
                                                                      : "%s (pid %ld) is silent, ending it", v->name, (long) v->pid);
                do_kill(v, SIGABRT);
                break;
        case CHILD_KILL:
                rq_log_write(LOG_WARNING, fields, "%s (pid %ld) does not end, killing it", v->name, (long) v->pid);
                do_kill(v, SIGKILL);
                if (v->child.state == CHILD_ENDING && !v->owner->forced)
                        v->owner->killed = true;
                break;
        }
}

static void arm_deadline(service *v, uint64_t now_us) {
        if (v->child.deadline_us == 0)
                rq_timer_cancel(&v->deadline);
        else
                rq_timer_set(&v->deadline, v->child.deadline_us > now_us ? v->child.deadline_us - now_us : 0);
}

static void stop_next(supervisor *s);

static void step(service *v, child_event event) {
        supervisor *s = v->owner;
        uint64_t now_us = rq_clock_mono_us();
        child_state before = v->child.state;
        child_action action = child_step(&v->child, event, now_us, &s->limits);
        arm_deadline(v, now_us);
        if (v->child.state != before) {
                v->since_wall_us = rq_clock_wall_us();
                rq_task_post(&s->report);
        }
        perform(v, action);
}

static void on_deadline(void *arg) {
        service *v = arg;
        /* A timer may also be a little early: its clock is a coarse one. */
        uint64_t now_us = rq_clock_mono_us(), deadline_us = v->child.deadline_us;
        uint64_t late_us = now_us > deadline_us ? now_us - deadline_us : 0;
        /* We were stopped ourselves, or the machine was: its beat may lie unread. */
        if (v->child.state == CHILD_UP && late_us > v->owner->limits.watchdog_us / 4)
                step(v, CHILD_ALIVE);
        else
                step(v, CHILD_TIMEOUT);
        if (v->owner->stopping)
                stop_next(v->owner);
}

/* --- the end ---------------------------------------------------------------- */

/* One after the other; each call goes as far as it can. */
static void stop_next(supervisor *s) {
        for (int i = 0; i < SERVICE_COUNT; i++) {
                service *v = &s->services[stop_order[i]];
                step(v, CHILD_STOP);
                if (v->child.state != CHILD_STOPPED)
                        return;
        }
        rq_loop_stop(s->loop);
}

static void begin_stop(supervisor *s, int exit_code) {
        if (s->stopping)
                return;
        s->stopping = true;
        s->stop_since_us = rq_clock_mono_us();
        s->exit_code = exit_code;
        (void) sd_notify(0, "STOPPING=1");
        stop_next(s);
}

static void force_stop(supervisor *s) {
        s->forced = true;
        for (int i = 0; i < SERVICE_COUNT; i++)
                step(&s->services[i], CHILD_FORCE);
        stop_next(s);
}

/* --- deaths ----------------------------------------------------------------- */

static void exit_text(int status, char *text, size_t size) {
        if (WIFEXITED(status))
                (void) snprintf(text, size, "exit code %d", WEXITSTATUS(status));
        else
                (void) snprintf(text, size, "killed by SIG%s%s", sigabbrev_np(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
}

static void log_death(const service *v, pid_t pid) {
        char field[64];
        const char *fields[] = { RQ_MSG_CHILD_DIED, rq_log_field_text(field, sizeof field, RQ_FIELD_CHILD, v->name), NULL };
        uint64_t now_us = rq_clock_mono_us();
        if (v->child.state == CHILD_STOPPED)
                rq_log_info("%s (pid %ld) stopped: %s", v->name, (long) pid, v->last_exit);
        else if (v->child.deadline_us <= now_us)
                rq_log_write(LOG_WARNING, fields, "%s (pid %ld) died: %s; starting it again", v->name, (long) pid, v->last_exit);
        else
                rq_log_write(LOG_WARNING, fields, "%s (pid %ld) died: %s; starting it again in %llu ms", v->name, (long) pid, v->last_exit,
                             (unsigned long long) (v->child.deadline_us - now_us) / 1000);
}

static void service_died(service *v, int status) {
        supervisor *s = v->owner;
        pid_t pid = RQ_TAKE(v->pid, 0);
        bool bad_config = WIFEXITED(status) && WEXITSTATUS(status) == RQ_EXIT_CONFIG;
        exit_text(status, v->last_exit, sizeof v->last_exit);
        v->status[0] = '\0';
        rq_task_post(&s->report);
        step(v, s->stopping || bad_config ? CHILD_HOPELESS : CHILD_EXITED);
        log_death(v, pid);
        if (bad_config && !s->stopping) {
                rq_log_event(LOG_ERR, RQ_MSG_BAD_CONFIG, "%s refuses the configuration (see its message above): stopping", v->name);
                begin_stop(s, RQ_EXIT_CONFIG);
        } else if (s->stopping) {
                stop_next(s);
        } else if (!s->announced && WIFEXITED(status) && WEXITSTATUS(status) == RQ_EXIT_FAILURE &&
                   v->child.failures >= FIRST_STARTS_MAX) {
                /* It never ran: that won't pass by itself, and nobody is served. */
                rq_log_event(LOG_ERR, RQ_MSG_CHILD_DIED, "%s could not start %u times (see its message above; a port that is taken is changed with "
                             "-http-addr): stopping", v->name, v->child.failures);
                begin_stop(s, RQ_EXIT_FAILURE);
        }
}

/* All that is dead, also what is not ours: as process 1 of a container we
 * inherit orphans. */
static void reap(supervisor *s) {
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                for (int i = 0; i < SERVICE_COUNT; i++)
                        if (s->services[i].pid == pid) {
                                service_died(&s->services[i], status);
                                break;
                        }
}

/* --- events ----------------------------------------------------------------- */

static bool have_terminal(void) {
        int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0)
                (void) close(fd);
        return fd >= 0;
}

/* SIGHUP is "reload" from an operator, but "the terminal is closed" from the
 * kernel: a node started by hand ends with its window. */
static void on_hangup(supervisor *s) {
        if (s->had_terminal && !have_terminal()) {
                rq_log_info("The terminal is gone: stopping");
                begin_stop(s, RQ_EXIT_OK);
                return;
        }
        rq_log_info("SIGHUP: passed on to all services");
        for (int i = 0; i < SERVICE_COUNT; i++)
                if (child_is_running(&s->services[i].child))
                        do_kill(&s->services[i], SIGHUP);
}

static void on_signal(evutil_socket_t fd, short what, void *arg) {
        supervisor *s = arg;
        struct signalfd_siginfo info;
        (void) what;
        while (read(fd, &info, sizeof info) == (ssize_t) sizeof info) {
                if (info.ssi_signo == SIGCHLD) {
                        reap(s);
                } else if (info.ssi_signo == SIGHUP) {
                        on_hangup(s);
                } else if (s->stopping && rq_clock_mono_us() - s->stop_since_us < SAME_SIGNAL_US) {
                        continue; /* to us and to our process group: one wish, said twice */
                } else if (s->stopping) {
                        rq_log_warning("Second signal: killing what still runs");
                        force_stop(s);
                } else {
                        rq_log_info("Stopping on SIG%s", sigabbrev_np((int) info.ssi_signo));
                        begin_stop(s, RQ_EXIT_OK);
                }
        }
}

static service *service_of_pid(supervisor *s, pid_t pid) {
        for (int i = 0; i < SERVICE_COUNT; i++)
                if (pid > 0 && s->services[i].pid == pid)
                        return &s->services[i];
        return NULL;
}

static bool all_up(const supervisor *s) {
        for (int i = 0; i < SERVICE_COUNT; i++)
                if (s->services[i].child.state != CHILD_UP)
                        return false;
        return true;
}

static void service_said(service *v, const notify_message *m) {
        supervisor *s = v->owner;
        if (m->has_status && strcmp(v->status, m->status) != 0) {
                memcpy(v->status, m->status, sizeof v->status);
                rq_task_post(&s->report);
        }
        if (m->extend_us > 0) {
                uint64_t now_us = rq_clock_mono_us();
                child_extend(&v->child, now_us, m->extend_us);
                arm_deadline(v, now_us);
        }
        if (m->alive)
                step(v, CHILD_ALIVE);
        if (m->ready)
                step(v, CHILD_READY);
        if (!s->announced && !s->stopping && all_up(s)) {
                s->announced = true;
                announce(s);
        }
}

static void on_notify(evutil_socket_t fd, short what, void *arg) {
        supervisor *s = arg;
        notify_message message;
        rq_err r;
        (void) what;
        while ((r = notify_receive(fd, &message)) != RQ_EAGAIN) {
                service *v = r == RQ_OK ? service_of_pid(s, message.pid) : NULL;
                if (v != NULL) /* a stranger may send here, but says nothing */
                        service_said(v, &message);
        }
}

static void on_own_watchdog(void *arg) {
        supervisor *s = arg;
        (void) sd_notify(0, "WATCHDOG=1");
        rq_timer_set(&s->own_watchdog, s->own_watchdog_us);
}

/* --- making ----------------------------------------------------------------- */

static rq_err open_signals(supervisor *s) {
        sigset_t mask;
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        (void) sigaddset(&mask, SIGTERM);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGHUP);
        (void) sigprocmask(SIG_SETMASK, &mask, NULL);
        (void) signal(SIGPIPE, SIG_IGN);
        s->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
        return s->signal_fd < 0 ? rq_err_from_errno(errno) : RQ_OK;
}

static rq_err find_programs(supervisor *s, const char *bin_dir) {
        for (int i = 0; i < SERVICE_COUNT; i++) {
                service *v = &s->services[i];
                int size = snprintf(v->path, sizeof v->path, "%s/%s", bin_dir, v->name);
                if (size < 0 || (size_t) size >= sizeof v->path || access(v->path, X_OK) < 0)
                        return rq_log_error(RQ_ENOENT, "Cannot execute %s/%s: the services' programs belong beside rqd", bin_dir, v->name);
        }
        return RQ_OK;
}

static rq_err open_all(supervisor *s) {
        rq_err r = rq_loop_new(&s->loop);
        if (r == RQ_OK)
                r = open_signals(s);
        if (r == RQ_OK && pipe2(s->alive_pipe, O_CLOEXEC) < 0)
                r = rq_err_from_errno(errno);
        if (r == RQ_OK)
                r = notify_open(&s->notify_fd, s->notify_name);
        if (r == RQ_OK)
                r = rq_loop_watch_fd(s->loop, s->signal_fd, on_signal, s, &s->signal_event);
        if (r == RQ_OK)
                r = rq_loop_watch_fd(s->loop, s->notify_fd, on_notify, s, &s->notify_event);
        if (r == RQ_OK)
                r = rq_task_init(&s->report, s->loop, on_report, s);
        if (r == RQ_OK)
                r = rq_timer_init(&s->own_watchdog, s->loop, on_own_watchdog, s);
        for (int i = 0; i < SERVICE_COUNT && r == RQ_OK; i++)
                r = rq_timer_init(&s->services[i].deadline, s->loop, on_deadline, &s->services[i]);
        return r < 0 ? rq_log_error(r, "Cannot set up the supervisor") : RQ_OK;
}

rq_err supervisor_check(char *const *argv, const char *bin_dir) {
        char path[PATH_MAX];
        rq_err verdict = RQ_OK;
        for (int i = 0; i < SERVICE_COUNT; i++) {
                int code;
                if ((size_t) snprintf(path, sizeof path, "%s/%s", bin_dir, service_names[i]) >= sizeof path)
                        return RQ_EINVAL;
                rq_err r = spawn_and_wait(path, service_names[i], argv, &code);
                if (r < 0)
                        return r;
                if (code == RQ_EXIT_CONFIG)
                        verdict = RQ_ECONFIG; /* the others may have more to say */
                else if (code != RQ_EXIT_OK)
                        return rq_log_error(code == 127 ? RQ_ENOENT : RQ_EIO, "%s could not check the configuration", service_names[i]);
        }
        return verdict;
}

rq_err supervisor_new(const rq_config *config, char *const *argv, const char *bin_dir, int run_dir_fd, supervisor **ret_supervisor) {
        supervisor *s = calloc(1, sizeof *s);
        if (s == NULL)
                return rq_log_error(RQ_ENOMEM, "Cannot set up the supervisor");
        s->config = config;
        s->argv = argv;
        s->run_dir_fd = run_dir_fd;
        s->signal_fd = s->notify_fd = s->alive_pipe[0] = s->alive_pipe[1] = -1;
        s->limits = child_limits_usual;
        s->limits.watchdog_us = (uint64_t) rq_config_duration_us(config, "watchdog");
        s->had_terminal = have_terminal();
        for (int i = 0; i < SERVICE_COUNT; i++) {
                s->services[i].owner = s;
                s->services[i].name = service_names[i];
                s->services[i].child = child_new();
                s->services[i].since_wall_us = rq_clock_wall_us();
        }
        rq_err r = find_programs(s, bin_dir);
        if (r == RQ_OK)
                r = open_all(s);
        if (r < 0) {
                (void) supervisor_free(s);
                return r;
        }
        *ret_supervisor = s;
        return RQ_OK;
}

supervisor *supervisor_free(supervisor *s) {
        if (s == NULL)
                return NULL;
        for (int i = 0; i < SERVICE_COUNT; i++)
                rq_timer_done(&s->services[i].deadline);
        rq_timer_done(&s->own_watchdog);
        rq_task_done(&s->report);
        if (s->signal_event != NULL)
                event_free(s->signal_event);
        if (s->notify_event != NULL)
                event_free(s->notify_event);
        rq_closep(&s->signal_fd);
        rq_closep(&s->notify_fd);
        rq_closep(&s->alive_pipe[0]);
        rq_closep(&s->alive_pipe[1]);
        (void) rq_loop_free(s->loop);
        free(s);
        return NULL;
}

int supervisor_run(supervisor *s) {
        uint64_t limit_us = 0;
        if (sd_watchdog_enabled(0, &limit_us) > 0 && limit_us > 0) {
                s->own_watchdog_us = limit_us / 2;
                rq_timer_set(&s->own_watchdog, 0);
        }
        for (int i = 0; i < SERVICE_COUNT; i++)
                step(&s->services[i], CHILD_START);
        rq_loop_run(s->loop);
        on_report(s); /* the last word: all stopped */
        if (s->killed && s->exit_code == RQ_EXIT_OK) {
                rq_log_write(LOG_ERR, (const char *const[]) { RQ_MSG_CHILD_HUNG, NULL }, "Stopped, but not cleanly: a service "
                             "that didn't end in time was killed (see above; a disk that doesn't answer?). What was acknowledged is in the log");
                return RQ_EXIT_FAILURE;
        }
        return s->exit_code;
}
