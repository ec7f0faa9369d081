#include "io/print.h"

#include <jansson.h>
#include <stdio.h>

#include "base/cleanup.h"

static void print_verdict(const findings *f) {
        const finding *first = findings_first_worst(f);
        finding_state worst = findings_worst(f);
        (void) printf("rq %s", finding_state_name(worst));
        if (worst != FINDING_OK && first != NULL)
                (void) printf(" - %s: %s", first->name, first->text);
        (void) printf(" (%zu OK", findings_of_state(f, FINDING_OK));
        static const finding_state states[] = { FINDING_WARNING, FINDING_CRITICAL, FINDING_UNKNOWN };
        for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
                if (findings_of_state(f, states[i]) > 0)
                        (void) printf(", %zu %s", findings_of_state(f, states[i]), finding_state_name(states[i]));
        (void) printf(")\n");
}

void print_text(const findings *f, const print_head *head) {
        print_verdict(f);
        (void) printf("\nnode %s, data in %s\n\n", head->node_id, head->data_dir);
        for (size_t i = 0; i < f->count; i++) {
                const finding *one = &f->list[i];
                (void) printf("%-8s  %-20s  %s\n", finding_state_name(one->state), one->name, one->text);
                if (one->remedy[0] != '\0')
                        (void) printf("%-8s  %-20s  -> %s\n", "", "", one->remedy);
        }
}

/* Names of files, and what others answered, are perhaps no UTF-8. */
static json_t *json_text(const char *text) {
        char plain[sizeof ((finding *) NULL)->text];
        json_t *value = json_string(text);
        if (value != NULL)
                return value;
        (void) snprintf(plain, sizeof plain, "%s", text);
        for (char *p = plain; *p != '\0'; p++)
                if ((unsigned char) *p >= 0x80)
                        *p = '?';
        return json_string(plain);
}

static json_t *json_of(const finding *one) {
        json_t *values = json_object();
        for (size_t i = 0; i < one->value_count; i++)
                (void) json_object_set_new(values, one->values[i].name, json_integer(one->values[i].number));
        return json_pack("{s:s, s:s, s:o, s:o, s:o}", "check", one->name, "state", finding_state_name(one->state),
                         "text", json_text(one->text), "remedy", json_text(one->remedy), "values", values);
}

rq_err print_json(const findings *f, const print_head *head) {
        finding_state worst = findings_worst(f);
        RQ_CLEANUP(json_decrefp) json_t *list = json_array();
        for (size_t i = 0; i < f->count; i++)
                if (json_array_append_new(list, json_of(&f->list[i])) != 0)
                        return RQ_ENOMEM;
        RQ_CLEANUP(json_decrefp) json_t *root = json_pack("{s:s, s:i, s:o, s:o, s:O}", "state", finding_state_name(worst), "exit_code", (int) worst,
                                                          "node", json_text(head->node_id), "data_dir", json_text(head->data_dir), "checks", list);
        if (root == NULL || json_dumpf(root, stdout, JSON_INDENT(2)) != 0)
                return RQ_ENOMEM;
        (void) printf("\n");
        return RQ_OK;
}
