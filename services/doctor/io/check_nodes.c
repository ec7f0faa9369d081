#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "core/judge.h"
#include "io/checks.h"
#include "io/http_get.h"

enum { NODES_MAX = 32, VERSION_BYTES = 64, NAME_BYTES = 128 };

/* What a node says of itself. */
typedef struct node_report {
        char name[NAME_BYTES], version[VERSION_BYTES], sqlite[VERSION_BYTES];
        int64_t clock_us; /* ahead of ours */
        bool answered, has_clock;
} node_report;

static const char *text_of(json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));
        return text != NULL ? text : "";
}

/* NULL: told as a finding. */
static json_t *get_json(findings *f, const char *check, const http_user *user, const char *url, const char *way, const char *who, finding_state if_not) {
        char problem[HTTP_GET_PROBLEM_BYTES];
        http_got got = {0};
        rq_err r = http_get(url, way, user, &got, problem);
        json_t *json = r == RQ_OK && got.status == 200 ? json_loadb((const char *) got.body.data, got.body.size, 0, NULL) : NULL;
        rq_buf_done(&got.body);
        if (r == RQ_EACCES)
                finding_remedy(findings_add(f, check, FINDING_UNKNOWN, "%s wants a client's certificate: %s can't be asked", who, url),
                               "--client-cert FILE --client-key FILE");
        else if (r < 0)
                finding_remedy(findings_add(f, check, if_not, "%s doesn't answer at %s: %s", who, url, problem),
                               "does it run, and can its HTTP port be reached from here?");
        else if (got.status == 401)
                finding_remedy(findings_add(f, check, FINDING_UNKNOWN, "%s wants %s user: %s can't be asked", who,
                                            user->name_password[0] != '\0' ? "another" : "a", url),
                               "--credentials FILE, with a line name:password of a user who may \"status\"");
        else if (json == NULL)
                (void) findings_add(f, check, FINDING_UNKNOWN, "%s answers %ld to %s", who, got.status, url);
        return json;
}

/* "2026-01-31T12:00:00.123456Z"; false: something else. */
static bool read_time(const char *text, int64_t *ret_us) {
        struct tm tm = {0};
        const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
        double fraction = 0;
        char zone[2] = "";
        if (rest == NULL || (sscanf(rest, "%lf%1[Z]", &fraction, zone) != 2 && strcmp(rest, "Z") != 0))
                return false;
        *ret_us = (int64_t) timegm(&tm) * 1000000 + (int64_t) (fraction * 1000000);
        return true;
}

static void ask_node(findings *f, const http_user *user, const char *status_url, const char *way, node_report *n) {
        int64_t begun_us = (int64_t) rq_clock_wall_us(), time_us;
        RQ_CLEANUP(json_decrefp) json_t *status = get_json(f, "nodes", user, status_url, way, n->name, FINDING_WARNING);
        if (status == NULL)
                return;
        int64_t middle_us = begun_us + ((int64_t) rq_clock_wall_us() - begun_us) / 2;
        n->answered = true;
        (void) snprintf(n->version, sizeof n->version, "%s", text_of(json_object_get(status, "build"), "version"));
        (void) snprintf(n->sqlite, sizeof n->sqlite, "%s", text_of(json_object_get(json_object_get(status, "store"), "sqlite3"), "version"));
        if (read_time(text_of(json_object_get(status, "node"), "current_time"), &time_us)) {
                n->has_clock = true;
                n->clock_us = time_us - middle_us;
        }
}

static void check_versions(findings *f, const node_report *nodes, size_t count) {
        const node_report *first = NULL;
        char text[400] = "";
        size_t used = 0;
        bool same = true, same_sqlite = true;
        for (size_t i = 0; i < count; i++) {
                if (!nodes[i].answered)
                        continue;
                if (first == NULL)
                        first = &nodes[i];
                same = same && strcmp(first->version, nodes[i].version) == 0;
                same_sqlite = same_sqlite && strcmp(first->sqlite, nodes[i].sqlite) == 0;
                if (used < sizeof text)
                        used += (size_t) snprintf(text + used, sizeof text - used, "%s%s %s (SQLite %s)", used > 0 ? ", " : "", nodes[i].name,
                                                  nodes[i].version, nodes[i].sqlite);
        }
        if (first == NULL)
                return;
        finding *found = findings_add(f, "versions", same && same_sqlite ? FINDING_OK : FINDING_WARNING, "%s", text);
        if (!same_sqlite)
                finding_remedy(found, "install the same SQLite everywhere: another version may compute other results");
        else if (!same)
                finding_remedy(found, "finish the upgrade: all nodes should run one version");
}

static void check_clocks(findings *f, const node_report *nodes, size_t count) {
        for (size_t i = 0; i < count; i++) {
                if (!nodes[i].has_clock)
                        continue;
                finding_state state = judge_clock_difference(nodes[i].clock_us);
                if (state == FINDING_OK)
                        continue;
                finding *found = findings_add(f, "clock", state, "the clock of %s differs from this one by %.1f s", nodes[i].name,
                                              (double) nodes[i].clock_us / 1000000);
                finding_value(found, "difference_us", nodes[i].clock_us);
                finding_remedy(found, "keep the clocks of all nodes set (chronyd, systemd-timesyncd)");
        }
}

/* One of /nodes?ver=2; the report's name is set in any case. */
static void check_member(findings *f, const rq_config *config, const http_user *user, const own_node *own, json_t *node, node_report *n,
                         bool *ret_leader) {
        char url[OWN_NODE_URL_BYTES];
        (void) snprintf(n->name, sizeof n->name, "%s", text_of(node, "id"));
        *ret_leader = *ret_leader || json_is_true(json_object_get(node, "leader"));
        if (!json_is_true(json_object_get(node, "reachable"))) {
                finding *found = findings_add(f, "nodes", FINDING_CRITICAL, "%s at %s can't be reached by this node: %s", n->name, text_of(node, "addr"),
                                              text_of(node, "error"));
                finding_remedy(found, "does it run, and can its Raft port be reached? With a majority away no writes are taken");
                return;
        }
        if (strcmp(n->name, rq_config_node_id(config)) == 0) {
                own_node_url(config, own, "/status", url);
                ask_node(f, user, url, own->way, n);
        } else if (text_of(node, "api_addr")[0] != '\0') {
                (void) snprintf(url, sizeof url, "%s/status", text_of(node, "api_addr"));
                ask_node(f, user, url, "", n);
        }
}

void check_nodes(findings *f, const rq_config *config, const http_user *user, const own_node *own) {
        node_report reports[NODES_MAX] = {0};
        char url[OWN_NODE_URL_BYTES], who[NAME_BYTES];
        bool leader = false;
        size_t count = 0;
        json_t *node;
        own_node_url(config, own, "/nodes?ver=2&nonvoters", url);
        (void) snprintf(who, sizeof who, "this node (%s)", rq_config_node_id(config));
        RQ_CLEANUP(json_decrefp) json_t *root = get_json(f, "nodes", user, url, own->way, who, FINDING_CRITICAL);
        if (root == NULL)
                return;
        json_t *list = json_object_get(root, "nodes");
        for (count = 0; count < json_array_size(list) && count < NODES_MAX; count++) {
                node = json_array_get(list, count);
                check_member(f, config, user, own, node, &reports[count], &leader);
        }
        size_t answered = 0;
        for (size_t i = 0; i < count; i++)
                answered += reports[i].answered;
        finding *found = findings_add(f, "cluster", leader ? FINDING_OK : FINDING_CRITICAL, "%zu of %zu members answer, %s", answered, count,
                                      leader ? "one leads" : "none leads: no writes are taken");
        finding_value(found, "members", (int64_t) count);
        finding_value(found, "answering", (int64_t) answered);
        check_versions(f, reports, count);
        check_clocks(f, reports, count);
}
