#include "service/service.h"

#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "log/log.h"
#include "log/log_fields.h"
#include "service/startup.h"

enum {
        LOCK_WAIT_MS  = 2000, /* the instance before us may still be dying */
        LOCK_RETRY_MS = 20,
        STATUS_BYTES  = 512,
};

struct rq_service {
        const rq_service_def *def;
        rq_config *config;
        rq_loop *loop;
        void *state;
        rq_uuid incarnation;

        char *folder_path;
        int folder_fd, run_dir_fd, lock_fd;

        int signal_fd, launcher_fd;
        struct event *signal_event, *launcher_event;
        rq_timer watchdog;
        uint64_t watchdog_us; /* between two beats; 0: nobody listens */

        bool ready_sent, stopping, finished;
        int exit_code;

        int argc; /* for reading the configuration again */
        char **argv;
};

/* --- notifications ---------------------------------------------------------- */

static void send_status(const char *prefix, const char *format, va_list args) {
        char status[STATUS_BYTES];
        if (vsnprintf(status, sizeof status, format, args) < 0)
                return;
        for (char *p = status; *p != '\0'; p++)
                if (*p == '\n') /* would begin another assignment */
                        *p = ' ';
        (void) sd_notifyf(0, "%sSTATUS=%s", prefix, status);
}

void rq_service_ready(rq_service *service, const char *format, ...) {
        va_list args;
        va_start(args, format);
        send_status(service->ready_sent ? "" : "READY=1\n", format, args);
        va_end(args);
        service->ready_sent = true;
}

void rq_service_status(rq_service *service, const char *format, ...) {
        va_list args;
        (void) service;
        va_start(args, format);
        send_status("", format, args);
        va_end(args);
}

void rq_service_extend(rq_service *service, uint64_t timeout_us) {
        (void) service;
        (void) sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%llu", (unsigned long long) timeout_us);
}

/* Only from the loop: a loop that hangs must be noticed, so no other thread
 * may keep the watchdog quiet. */
static void on_watchdog(void *arg) {
        rq_service *s = arg;
        (void) sd_notify(0, "WATCHDOG=1");
        rq_timer_set(&s->watchdog, s->watchdog_us);
}

/* --- the end ---------------------------------------------------------------- */

static void finish(rq_service *s, int exit_code) {
        if (!s->finished)
                s->exit_code = exit_code;
        s->finished = true;
        rq_loop_stop(s->loop);
}

void rq_service_stopped(rq_service *service) { finish(service, RQ_EXIT_OK); }
void rq_service_fail(rq_service *service, int exit_code) { finish(service, exit_code); }

static void stop_asked(rq_service *s, int signal_number) {
        if (s->stopping) {
                rq_log_warning("Second signal: stopping at once");
                finish(s, RQ_EXIT_FAILURE);
                return;
        }
        s->stopping = true;
        rq_log_info("Stopping on SIG%s", sigabbrev_np(signal_number));
        (void) sd_notify(0, "STOPPING=1\nSTATUS=stopping");
        if (s->def->shutdown != NULL)
                s->def->shutdown(s->state);
        else
                rq_service_stopped(s);
}

/* How much the log shows is taken from the file as it is now. All other values were
 * handed out at the start and stay: the new ones are checked, and wait for a restart. */
static void reload_log_level(rq_service *s) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        rq_config_action action = RQ_CONFIG_RUN;
        rq_config *config = NULL;
        rq_err r = rq_config_load(s->def->name, s->argc, s->argv, &config, &action, &problem);
        if (r < 0) {
                rq_log_error_event(r, RQ_MSG_RELOAD_FAILED, "The configuration stays as it was: %.*s", (int) problem.size, (const char *) problem.data);
                return;
        }
        if (config == NULL)
                return;
        rq_log_set_level(rq_config_log_level(config));
        rq_log_event(LOG_INFO, RQ_MSG_RELOADED, "Configuration read again: log level %s", rq_config_string(config, "log-level"));
        (void) rq_config_free(config);
}

static void reload(rq_service *s) {
        const struct timespec now = rq_clock_wait_time(0); /* the clock that sd_notify(3) asks for */
        (void) sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long) now.tv_sec * 1000000u + (unsigned long long) now.tv_nsec / 1000u);
        reload_log_level(s);
        if (s->def->reload != NULL)
                s->def->reload(s->state);
        (void) sd_notify(0, "READY=1");
}

static void on_signal(evutil_socket_t fd, short what, void *arg) {
        rq_service *s = arg;
        struct signalfd_siginfo info;
        (void) what;
        while (read(fd, &info, sizeof info) == (ssize_t) sizeof info) {
                if (info.ssi_signo == SIGHUP) {
                        if (!s->stopping)
                                reload(s);
                } else {
                        stop_asked(s, (int) info.ssi_signo);
                }
        }
}

/* rqd holds the other end and never writes: end of file means that it died.
 * PR_SET_PDEATHSIG does the same, but not for every way to be started. */
static void on_launcher(evutil_socket_t fd, short what, void *arg) {
        char byte;
        (void) what;
        (void) arg;
        if (read(fd, &byte, 1) == 0)
                _exit(RQ_EXIT_FAILURE);
}

/* --- process ---------------------------------------------------------------- */

static bool env_number(const char *name, long *ret_number) {
        const char *text = getenv(name);
        char *end;
        if (text == NULL || *text == '\0')
                return false;
        errno = 0;
        long number = strtol(text, &end, 10);
        if (errno != 0 || *end != '\0' || number < 0 || number > INT_MAX)
                return false;
        *ret_number = number;
        return true;
}

/* Without its launcher a service would hold the lock and the ports against
 * the next one. */
static void die_with_launcher(void) {
        long launcher_pid;
        if (!env_number("RQ_INTERNAL_LAUNCHER_PID", &launcher_pid))
                return;
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != (pid_t) launcher_pid) /* it died before the line above */
                _exit(RQ_EXIT_FAILURE);
}

static void raise_file_limit(void) {
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
                limit.rlim_cur = limit.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &limit);
        }
}

static void prepare_process(const char *name) {
        sigset_t mask;
        die_with_launcher();
        (void) prctl(PR_SET_NAME, name);
        (void) umask(0077);
        (void) signal(SIGPIPE, SIG_IGN);
        (void) signal(SIGXFSZ, SIG_IGN); /* EFBIG instead: as good as a full disk */
        raise_file_limit();
        /* A few threads share two arenas: memory that one frees, another uses. */
        (void) mallopt(M_ARENA_MAX, 2);

        /* Blocked before any thread exists, so that all inherit it and
         * signalfd is the only way in. */
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGTERM);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGHUP);
        (void) sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* --- folders ---------------------------------------------------------------- */

static bool is_folder(const char *path) {
        struct stat st;
        return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* mkdir -p with 0700. */
static rq_err make_folders(const char *path) {
        char prefix[PATH_MAX];
        if (strlen(path) >= sizeof prefix)
                return rq_log_error(RQ_ETOOBIG, "Cannot create a folder whose path has %zu bytes, at most %zu can be used", strlen(path), sizeof prefix - 1);
        for (const char *p = path + 1;; p++) {
                if (*p != '/' && *p != '\0')
                        continue;
                memcpy(prefix, path, (size_t) (p - path));
                prefix[p - path] = '\0';
                if (mkdir(prefix, 0700) < 0 && (errno != EEXIST || !is_folder(prefix))) {
                        const int failure = errno == EEXIST ? ENOTDIR : errno;
                        const rq_err r = rq_err_from_errno(failure);
                        return rq_log_error(r, "Cannot create %s: %s%s%s", path, prefix, r == RQ_EIO ? ": " : "",
                                            r == RQ_EIO ? strerror(failure) : "");
                }
                if (*p == '\0')
                        return RQ_OK;
        }
}

rq_err rq_folder_open(const char *path, int *ret_fd) {
        rq_err r = make_folders(path);
        if (r < 0)
                return r;
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return rq_log_error(rq_err_from_errno(errno), "Cannot open %s: %s", path, strerror(errno));
        *ret_fd = fd;
        return RQ_OK;
}

static void read_pid(int fd, char *text, size_t size) {
        ssize_t got = pread(fd, text, size - 1, 0);
        text[got > 0 ? got : 0] = '\0';
        text[strspn(text, "0123456789")] = '\0';
}

rq_err rq_folder_lock(int folder_fd, const char *file, const char *path, uint32_t wait_ms, int *ret_fd) {
        RQ_CLEANUP(rq_closep) int fd = openat(folder_fd, file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        char pid[16];
        if (fd < 0)
                return rq_log_error(rq_err_from_errno(errno), "Cannot open %s/%s: %s", path, file, strerror(errno));

        uint64_t give_up_us = rq_clock_mono_us() + (uint64_t) wait_ms * 1000;
        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK && errno != EINTR)
                        return rq_log_error(rq_err_from_errno(errno), "Cannot lock %s/%s: %s", path, file, strerror(errno));
                if (rq_clock_mono_us() >= give_up_us) {
                        read_pid(fd, pid, sizeof pid);
                        return rq_log_error_event(RQ_EBUSY, RQ_MSG_FOLDER_IN_USE, "Cannot lock %s%s%s%s", path,
                                            pid[0] != '\0' ? " (held by pid " : "", pid, pid[0] != '\0' ? ")" : "");
                }
                const struct timespec pause = { .tv_nsec = LOCK_RETRY_MS * 1000000L };
                (void) nanosleep(&pause, NULL);
        }

        /* For the message above only: a pid that can't be written is no error. */
        int size = snprintf(pid, sizeof pid, "%ld\n", (long) getpid());
        if (ftruncate(fd, 0) == 0)
                (void) !pwrite(fd, pid, (size_t) size, 0);
        *ret_fd = RQ_TAKE(fd, -1);
        return RQ_OK;
}

static rq_err open_folders(rq_service *s) {
        rq_err r = rq_folder_open(rq_config_run_dir(s->config), &s->run_dir_fd);
        if (r < 0 || s->def->folder == NULL)
                return r;
        if (asprintf(&s->folder_path, "%s/%s", rq_config_data_dir(s->config), s->def->folder) < 0) {
                s->folder_path = NULL;
                return RQ_ENOMEM;
        }
        r = rq_folder_open(s->folder_path, &s->folder_fd);
        if (r < 0)
                return r;
        /* Before anything else touches the folder: two writers of one log or
         * one database are the end of both. */
        return rq_folder_lock(s->folder_fd, "lock", s->folder_path, LOCK_WAIT_MS, &s->lock_fd);
}

/* --- skeleton --------------------------------------------------------------- */

static rq_err watch_signals(rq_service *s) {
        sigset_t mask;
        (void) sigprocmask(SIG_BLOCK, NULL, &mask); /* as prepare_process() left it */
        s->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
        if (s->signal_fd < 0)
                return rq_err_from_errno(errno);
        return rq_loop_watch_fd(s->loop, s->signal_fd, on_signal, s, &s->signal_event);
}

static rq_err watch_launcher(rq_service *s) {
        long fd;
        if (!env_number("RQ_INTERNAL_LAUNCHER_FD", &fd))
                return RQ_OK;
        if (fcntl((int) fd, F_SETFD, FD_CLOEXEC) < 0) /* not open: a variable left over */
                return RQ_OK;
        s->launcher_fd = (int) fd;
        return rq_loop_watch_fd(s->loop, s->launcher_fd, on_launcher, s, &s->launcher_event);
}

static rq_err start_watchdog(rq_service *s) {
        uint64_t limit_us = 0;
        rq_err r = rq_timer_init(&s->watchdog, s->loop, on_watchdog, s);
        if (r == RQ_OK && sd_watchdog_enabled(0, &limit_us) > 0 && limit_us > 0) {
                s->watchdog_us = limit_us / 2;
                rq_timer_set(&s->watchdog, 0);
        }
        return r;
}

static rq_err open_loop(rq_service *s) {
        rq_err r = rq_loop_new(&s->loop);
        if (r == RQ_OK)
                r = watch_signals(s);
        if (r == RQ_OK)
                r = watch_launcher(s);
        if (r == RQ_OK)
                r = start_watchdog(s);
        return r < 0 ? rq_log_error(r, "Cannot create the event loop") : RQ_OK;
}

static rq_err run(rq_service *s) {
        rq_err r = open_loop(s);
        if (r == RQ_OK)
                r = open_folders(s);
        if (r < 0)
                return r;

        char text[RQ_UUID_TEXT_BYTES];
        s->incarnation = rq_uuid_random();
        rq_log_debug("Starting %s, incarnation %s", RQ_VERSION, rq_uuid_text(&s->incarnation, text));
        rq_startup startup;
        rq_startup_begin(&startup);
        r = s->def->start(s, &s->state);
        rq_startup_end(&startup);
        if (r < 0)
                return r;
        if (!s->finished) /* start() may have ended it; the loop would not notice */
                rq_loop_run(s->loop);
        return RQ_OK;
}

static void service_done(rq_service *s) {
        if (s->state != NULL && s->def->free != NULL)
                s->def->free(s->state);
        if (s->signal_event != NULL)
                event_free(s->signal_event);
        if (s->launcher_event != NULL)
                event_free(s->launcher_event);
        rq_timer_done(&s->watchdog);
        rq_closep(&s->signal_fd);
        rq_closep(&s->launcher_fd);
        rq_closep(&s->run_dir_fd);
        rq_closep(&s->folder_fd);
        (void) rq_loop_free(s->loop);
        (void) rq_config_free(s->config);
        free(s->folder_path);
        rq_closep(&s->lock_fd); /* last: from here on the next instance may begin */
}

/* Under rqd it is rqd who says it. */
static void tell_what_has_no_effect(const char *name, const rq_config *config) {
        RQ_CLEANUP(rq_buf_done) rq_buf names = {0};
        long launcher_pid;
        if (env_number("RQ_INTERNAL_LAUNCHER_PID", &launcher_pid))
                return;
        if (rq_config_without_effect(config, name, &names) >= 0 && names.size > 0)
                rq_log_notice("No effect yet: %.*s", (int) names.size, (const char *) names.data);
}

static int tell_bad_config(const rq_buf *problem) {
        static const char *const fields[] = { RQ_MSG_BAD_CONFIG, NULL };
        if (problem->size > 0)
                rq_log_write(LOG_ERR, fields, "%.*s", (int) problem->size, (const char *) problem->data);
        return RQ_EXIT_CONFIG;
}

static int check_config(const rq_config *config, char *const *argv, rq_program_check check) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        rq_err r = check != NULL ? check(config, argv, &problem) : RQ_OK;
        if (r == RQ_ECONFIG)
                return tell_bad_config(&problem);
        if (r < 0) {
                (void) rq_log_error(r, "Cannot check the configuration");
                return RQ_EXIT_FAILURE;
        }
        (void) printf("configuration is valid\n");
        return fflush(stdout) == 0 ? RQ_EXIT_OK : RQ_EXIT_FAILURE;
}

bool rq_program_standard_files(void) {
        int fd;
        do
                fd = open("/dev/null", O_RDWR); /* not close-on-exec: children inherit it */
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd >= 0)
                (void) close(fd);
        return fd >= 0;
}

bool rq_program_configure(const char *name, int argc, char **argv, rq_program_check check, rq_config **ret_config, int *ret_exit_code) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        rq_config_action action = RQ_CONFIG_RUN;
        rq_config *config;

        rq_log_open(name, RQ_LOG_PLAIN, LOG_INFO);
        rq_err r = rq_config_load(name, argc, argv, &config, &action, &problem);
        if (r == RQ_ECONFIG) {
                *ret_exit_code = tell_bad_config(&problem);
                return false;
        }
        if (r < 0) {
                (void) rq_log_error(r, "Cannot read the configuration");
                *ret_exit_code = RQ_EXIT_FAILURE;
                return false;
        }
        if (action != RQ_CONFIG_RUN) {
                *ret_exit_code = action == RQ_CONFIG_CHECK ? check_config(config, argv, check) : RQ_EXIT_OK;
                if (action == RQ_CONFIG_CHECK)
                        config = rq_config_free(config);
                return false;
        }
        rq_log_open(name, strcasecmp(rq_config_string(config, "log-format"), "json") == 0 ? RQ_LOG_JSON : RQ_LOG_PLAIN,
                    rq_config_log_level(config));
        rq_log_set_node(rq_config_node_id(config));
        tell_what_has_no_effect(name, config);
        *ret_config = config;
        return true;
}

int rq_service_main(int argc, char **argv, const rq_service_def *def) {
        RQ_CLEANUP(service_done) rq_service s = {
                .def = def, .argc = argc, .argv = argv, .folder_fd = -1, .run_dir_fd = -1, .lock_fd = -1, .signal_fd = -1, .launcher_fd = -1,
        };
        int exit_code;
        if (!rq_program_standard_files())
                return RQ_EXIT_FAILURE;
        if (!rq_program_configure(def->name, argc, argv, def->check, &s.config, &exit_code))
                return exit_code;
        prepare_process(def->name);
        rq_err r = run(&s);
        if (r < 0)
                return r == RQ_ECONFIG ? RQ_EXIT_CONFIG : RQ_EXIT_FAILURE;
        return s.exit_code;
}

rq_loop *rq_service_loop(rq_service *service) { return service->loop; }
const rq_config *rq_service_config(rq_service *service) { return service->config; }
const rq_uuid *rq_service_incarnation(rq_service *service) { return &service->incarnation; }
int rq_service_folder_fd(rq_service *service) { return service->folder_fd; }
const char *rq_service_folder_path(rq_service *service) { return service->folder_path; }
int rq_service_run_dir_fd(rq_service *service) { return service->run_dir_fd; }
