#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "io/checks.h"
#include "io/http_get.h"

static const char check[] = "running";

enum { LAUNCHER_BYTES_MAX = 64 * 1024 };

/* rqd writes down what became of its services (launcher.json). Under systemd there is
 * no such file: then a node that doesn't run is one that should. */
static bool was_stopped(const rq_config *config) {
        char path[PATH_MAX];
        struct stat st;
        size_t i;
        json_t *child;
        if ((size_t) snprintf(path, sizeof path, "%s/launcher.json", rq_config_run_dir(config)) >= sizeof path || lstat(path, &st) < 0 ||
            !S_ISREG(st.st_mode) || st.st_size > LAUNCHER_BYTES_MAX)
                return false;
        RQ_CLEANUP(json_decrefp) json_t *launcher = json_load_file(path, 0, NULL);
        const json_t *children = json_object_get(launcher, "children");
        json_array_foreach(children, i, child) {
                const char *state = json_string_value(json_object_get(child, "state"));
                if (state == NULL || strcmp(state, "stopped") != 0)
                        return false;
        }
        return json_array_size(children) > 0;
}

static void check_absent(findings *f, const rq_config *config) {
        char path[PATH_MAX];
        struct stat st;
        if ((size_t) snprintf(path, sizeof path, "%s/consensus", rq_config_data_dir(config)) >= sizeof path || stat(path, &st) < 0)
                return; /* there is no node yet, or one that check_folders() can't look at either */
        if (was_stopped(config)) {
                finding_remedy(findings_add(f, check, FINDING_WARNING, "the node is stopped"), "start it again, if it should run");
        } else {
                finding *found = findings_add(f, check, FINDING_CRITICAL, "there is a node in %s, and it doesn't run", rq_config_data_dir(config));
                finding_remedy(found, "start it (systemctl start rq.target, or rqd); its last records say why it ended");
        }
}

/* The line of /readyz that says what is missing: the last one, behind its mark. */
static void last_line(const rq_buf *body, char *ret, size_t ret_size) {
        size_t end = body->size, begin;
        while (end > 0 && body->data[end - 1] == '\n')
                end--;
        for (begin = end; begin > 0 && body->data[begin - 1] != '\n'; begin--)
                ;
        if (end - begin > 3 && memcmp(body->data + begin, "[+]", 3) == 0)
                begin += 3;
        (void) snprintf(ret, ret_size, "%.*s", (int) (end - begin < ret_size ? end - begin : ret_size - 1), (const char *) body->data + begin);
}

void check_running(findings *f, const rq_config *config, const http_user *user, const own_node *own) {
        char url[OWN_NODE_URL_BYTES], problem[HTTP_GET_PROBLEM_BYTES], reason[200];
        http_got got = {0};
        if (!own->running) {
                check_absent(f, config);
                return;
        }
        own_node_url(config, own, "/readyz?timeout=2s", url);
        rq_err r = http_get(url, own->way, user, &got, problem);
        if (own->wants_certificate || r == RQ_EACCES) {
                finding *found = findings_add(f, check, FINDING_UNKNOWN, "this node wants a client's certificate (-http-verify-client): it can't be asked");
                finding_remedy(found, "--client-cert FILE --client-key FILE; or unix:/PATH in -http-addr, which needs none");
        } else if (r < 0) {
                (void) findings_add(f, check, FINDING_CRITICAL, "this node doesn't answer at %s: %s", url, problem);
        } else if (got.status == 200) {
                (void) findings_add(f, check, FINDING_OK, "this node is ready");
        } else if (got.status != 401) { /* who may "status" needn't be one who may "ready" */
                last_line(&got.body, reason, sizeof reason);
                finding *found = findings_add(f, check, FINDING_CRITICAL, "this node isn't ready: %s", reason);
                finding_remedy(found, "its log says why: journalctl -p warning -t rq-consensus -t rq-store -t rq-gateway, or its standard error");
        }
        rq_buf_done(&got.body);
}
