/* SPDX-License-Identifier: MIT */
#include "pmctl/report.h"
#include "pmctl/table.h"
#include "shared/string-util.h"

/* Who has no channel to pmd has never reported anything. */
static bool may_report(const pmd_process *p) {
        const char *slash = strrchr(p->interpreter, '/'), *name = slash ? slash + 1 : p->interpreter;

        return startswith(name, "node") || startswith(name, "bun") || process_attribute(p, "wait_ready") ||
                process_attribute(p, "shutdown_with_message");
}

void fetch_reports(pmd_connection *c, char *const *targets, ProcessList *l) {
        bool wanted = false;

        for (size_t i = 0; i < l->n && !wanted; i++)
                wanted = may_report(l->items + i);
        if (!wanted)
                return;
        (void) pmd_list_reports(c, targets, &l->reports, &l->n_reports, NULL);
}

json_object *process_report(const ProcessList *l, uint32_t id) {
        for (size_t i = 0; i < l->n_reports; i++)
                if (l->reports[i].process_id == id)
                        return json_tokener_parse(l->reports[i].json);
        return NULL;
}

static void write_member(JsonWriter *w, json_object *report, const char *key, const char *fallback) {
        json_object *value;

        if (json_object_object_get_ex(report, key, &value))
                json_writer_json(w, key, json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        else if (fallback)
                json_writer_json(w, key, fallback);
}

void write_report(JsonWriter *w, json_object *report) {
        write_member(w, report, "axm_actions", "[]");
        write_member(w, report, "axm_monitor", "{}");
        write_member(w, report, "axm_options", "{}");
        write_member(w, report, "node_version", NULL);
}

static const TableColumn columns[] = { { NULL, 19, 0 }, { NULL, 20, 0 } };

static void print_title(const Options *o, const char *title) {
        printf("%s %s %s\n", color(o, COLOR_INVERSE), title, color(o, COLOR_NORMAL));
}

static int add_row(Table *t, const char *key, const char *value) {
        int r;

        r = table_add(t, key, COLOR_HEADER);
        return r < 0 ? r : table_add(t, value, COLOR_NORMAL);
}

static int print_actions(const Options *o, const pmd_process *p, json_object *actions) {
        static const TableColumn one[] = { { NULL, 19, 0 } };
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_free_ char *name = string_escape_cc(strempty(p->name));
        size_t n = json_object_array_length(actions);
        int r;

        r = table_new(one, ELEMENTSOF(one), &t);
        for (size_t i = 0; r >= 0 && i < n; i++) {
                json_object *action = json_object_array_get_idx(actions, i);

                r = table_add(t, strempty(json_object_get_string(json_object_object_get(action, "action_name"))), COLOR_NORMAL);
        }
        if (r < 0)
                return r;

        print_title(o, "Actions available");
        r = table_print(t, o, SIZE_MAX);
        printf(" Trigger via: pmctl trigger %s <action_name>\n\n", strempty(name));
        return r;
}

/* "6.98 MiB" */
static char *format_metric(json_object *metric) {
        json_object *value = NULL, *unit = NULL;

        if (!json_object_is_type(metric, json_type_object))
                return strdup(strempty(json_object_get_string(metric)));
        (void) json_object_object_get_ex(metric, "value", &value);
        (void) json_object_object_get_ex(metric, "unit", &unit);
        return strjoin(strempty(json_object_get_string(value)), unit ? " " : "", strempty(json_object_get_string(unit)));
}

static int print_metrics(const Options *o, json_object *metrics) {
        _cleanup_(table_freep) Table *t = NULL;
        int r;

        r = table_new(columns, ELEMENTSOF(columns), &t);
        if (r < 0)
                return r;
        json_object_object_foreach(metrics, key, metric) {
                _cleanup_free_ char *value = format_metric(metric);

                r = value ? add_row(t, key, value) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        print_title(o, "Code metrics value");
        return table_print(t, o, SIZE_MAX);
}

int print_report(const Options *o, const pmd_process *p, json_object *report) {
        json_object *actions, *metrics;
        int r = 0;

        if (json_object_object_get_ex(report, "axm_actions", &actions) && json_object_is_type(actions, json_type_array) &&
            json_object_array_length(actions) > 0)
                r = print_actions(o, p, actions);
        if (r >= 0 && json_object_object_get_ex(report, "axm_monitor", &metrics) && json_object_is_type(metrics, json_type_object) &&
            json_object_object_length(metrics) > 0)
                r = print_metrics(o, metrics);
        return r;
}
