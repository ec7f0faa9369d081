/* rqd-doctor: is this host, and what runs on it, fit for a node? rqd doctor runs it. */
#include <curl/curl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "config/config.h"
#include "io/checks.h"
#include "io/print.h"
#include "log/log.h"

typedef struct wishes { bool json, quick, help; const char *credentials, *cert, *key; } wishes;

static void config_freep(rq_config **config) { *config = rq_config_free(*config); }

static bool is_flag(const char *word, const char *name) {
        return word[0] == '-' && (strcmp(word + 1, name) == 0 || (word[1] == '-' && strcmp(word + 2, name) == 0));
}

/* "--name VALUE" or "--name=VALUE"; *i moves behind the value. */
static const char *value_of(char **argv, int *i, const char *name) {
        const char *word = argv[*i] + (argv[*i][0] == '-') + (argv[*i][0] == '-' && argv[*i][1] == '-');
        size_t size = strlen(name);
        if (word == argv[*i] || strncmp(word, name, size) != 0)
                return NULL;
        if (word[size] == '=')
                return word + size + 1;
        return word[size] == '\0' && argv[*i + 1] != NULL ? argv[++*i] : NULL;
}

/* Takes our own flags out of argv. */
static void take_wishes(int *argc, char **argv, wishes *w) {
        int kept = 1;
        for (int i = 1; i < *argc; i++) {
                const char *value;
                if ((value = value_of(argv, &i, "credentials")) != NULL)
                        w->credentials = value;
                else if ((value = value_of(argv, &i, "client-cert")) != NULL)
                        w->cert = value;
                else if ((value = value_of(argv, &i, "client-key")) != NULL)
                        w->key = value;
                else if (is_flag(argv[i], "json"))
                        w->json = true;
                else if (is_flag(argv[i], "quick"))
                        w->quick = true;
                else if (is_flag(argv[i], "help") || is_flag(argv[i], "h"))
                        w->help = true;
                else
                        argv[kept++] = argv[i];
        }
        argv[kept] = NULL;
        *argc = kept;
}

static void print_help(void) {
        (void) printf("Usage: rqd doctor [--json] [--quick] [--credentials FILE] [--client-cert FILE --client-key FILE] [flags] [DATA_DIR]\n\n"
                      "Checks configuration, folders, disk, clock, limits, ports, the cluster's nodes and certificates.\n"
                      "Takes the flags, file and environment of the node (rqd --help). Without any: the node of the package,\n"
                      "with /etc/rq/rq.conf, /run/rq and /var/lib/rq, if that file is there.\n\n"
                      "  --json    results as JSON\n"
                      "  --quick   don't measure the disk\n"
                      "  --credentials FILE\n"
                      "            name:password of a user who may \"status\", if the nodes want one (-auth)\n"
                      "  --client-cert FILE, --client-key FILE\n"
                      "            shown to nodes that want a certificate (-http-verify-client)\n\n"
                      "Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN\n");
}

static void check_config(findings *f, const rq_config *config) {
        RQ_CLEANUP(rq_buf_done) rq_buf names = {0};
        (void) findings_add(f, "config", FINDING_OK, "the configuration is valid");
        if (rq_config_without_effect(config, "rqd", &names) >= 0 && names.size > 0)
                (void) findings_add(f, "config", FINDING_WARNING, "without effect yet: %.*s", (int) names.size, (const char *) names.data);
}

/* A password on the command line would be in the list of processes. */
static void read_credentials(findings *f, const char *file_name, http_user *user) {
        struct stat st;
        if (file_name == NULL)
                return;
        FILE *file = fopen(file_name, "re");
        bool got = file != NULL && fgets(user->name_password, sizeof user->name_password, file) != NULL;
        if (got && fstat(fileno(file), &st) == 0 && (st.st_mode & 077) != 0)
                finding_remedy(findings_add(f, "files", FINDING_CRITICAL, "--credentials %s has mode %04o: others can read the password", file_name,
                                            st.st_mode & 07777u), "chmod 0600 %s", file_name);
        if (file != NULL)
                (void) fclose(file);
        user->name_password[strcspn(user->name_password, "\r\n")] = '\0';
        if (!got || strchr(user->name_password, ':') == NULL) {
                (void) findings_add(f, "files", FINDING_CRITICAL, "--credentials %s: there is no line name:password", file_name);
                user->name_password[0] = '\0';
        }
}

static void check_all(findings *f, const rq_config *config, const wishes *w) {
        http_user user = { .ca_file = rq_config_string(config, "http-ca-cert"), .cert_file = w->cert, .key_file = w->key };
        read_credentials(f, w->credentials, &user);
        check_config(f, config);
        check_folders(f, config);
        check_disk(f, config, w->quick);
        check_host(f, config);
        const own_node own = own_node_find(config, &user);
        check_ports(f, config, &own);
        check_running(f, config, &user, &own);
        if (own.running && !own.wants_certificate)
                check_nodes(f, config, &user, &own);
        check_certificates(f, config);
        explicit_bzero(user.name_password, sizeof user.name_password);
}

/* Without -config: what the node was run with last (rqd writes it down), under what is said here and in the
 * environment. A file of somebody else is none of the node's. */
static rq_err add_own_config(int argc, char **argv, rq_config **config, rq_config_action *action, rq_buf *problem) {
        static char config_flag[] = "-config";
        char file[PATH_MAX];
        struct stat folder, st;
        if (rq_config_is_set(*config, "config") ||
            (size_t) snprintf(file, sizeof file, "%s/rqd.conf", rq_config_run_dir(*config)) >= sizeof file ||
            lstat(file, &st) < 0 || !S_ISREG(st.st_mode) || stat(rq_config_run_dir(*config), &folder) < 0 || st.st_uid != folder.st_uid ||
            access(file, R_OK) < 0)
                return RQ_OK;
        RQ_CLEANUP(rq_freep) char **words = calloc((size_t) argc + 3, sizeof *words);
        if (words == NULL)
                return RQ_ENOMEM;
        words[0] = argv[0];
        words[1] = config_flag;
        words[2] = file;
        memcpy(words + 3, argv + 1, ((size_t) argc - 1) * sizeof *words);
        *config = rq_config_free(*config);
        return rq_config_load("rqd doctor", argc + 2, words, config, action, problem);
}

/* Returns false if there is nothing more to do: an action was printed, or the
 * configuration isn't valid, which is a finding. */
static bool configure(int argc, char **argv, findings *f, rq_config **ret_config, bool *ret_done) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        rq_config_action action = RQ_CONFIG_RUN;
        static char config_flag[] = "-config", run_flag[] = "-run-dir", run_dir[] = "/run/rq", data_dir[] = "/var/lib/rq";
        static char file[] = "/etc/rq/rq.conf";
        char *as_packaged[] = { argv[0], config_flag, file, run_flag, run_dir, data_dir, NULL }; /* what the units say */
        bool nothing_said = argc == 1 && getenv("RQ_CONFIG") == NULL && getenv("RQ_DATA_DIR") == NULL;
        if (nothing_said && access(file, F_OK) == 0) {
                argc = sizeof as_packaged / sizeof as_packaged[0] - 1;
                argv = as_packaged;
        }
        rq_err r = rq_config_load("rqd doctor", argc, argv, ret_config, &action, &problem);
        if (r == RQ_OK && action == RQ_CONFIG_RUN)
                r = add_own_config(argc, argv, ret_config, &action, &problem);
        *ret_done = r == RQ_OK && action == RQ_CONFIG_DONE;
        if (r == RQ_OK)
                return !*ret_done;
        finding *found = findings_add(f, "config", r == RQ_ECONFIG ? FINDING_CRITICAL : FINDING_UNKNOWN, "%.*s",
                                      r == RQ_ECONFIG ? (int) problem.size : (int) strlen(rq_err_text(r)),
                                      r == RQ_ECONFIG ? (const char *) problem.data : rq_err_text(r));
        finding_remedy(found, "give rqd doctor the flags of the node, its file (-config FILE), or its data directory");
        return false;
}

int main(int argc, char **argv) {
        RQ_CLEANUP(config_freep) rq_config *config = NULL;
        RQ_CLEANUP(rq_freep) findings *f = calloc(1, sizeof *f);
        wishes w = {0};
        bool done = false;
        if (f == NULL)
                return FINDING_UNKNOWN;
        rq_log_open("rqd-doctor", RQ_LOG_PLAIN, LOG_ERR);
        take_wishes(&argc, argv, &w);
        if (w.help) {
                print_help();
                return FINDING_OK;
        }
        (void) curl_global_init(CURL_GLOBAL_DEFAULT);
        if (configure(argc, argv, f, &config, &done))
                check_all(f, config, &w);
        curl_global_cleanup();
        if (done)
                return FINDING_OK;
        const print_head head = {
                .node_id = config != NULL ? rq_config_node_id(config) : "?", .data_dir = config != NULL ? rq_config_data_dir(config) : "?",
        };
        if (!w.json)
                print_text(f, &head);
        else if (print_json(f, &head) < 0)
                return FINDING_UNKNOWN;
        return (int) findings_worst(f);
}
