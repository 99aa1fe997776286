/* SPDX-License-Identifier: MIT */
#include "pmd/process-report.h"

#include "shared/string-util.h"

#define ACTIONS_MAX 128U
#define ACTION_SIZE_MAX 4096U
#define MEMBERS_MAX 256
#define OBJECT_SIZE_MAX (64U * 1024U)
#define NODE_VERSION_MAX 64U

ProcessReport *process_report_free(ProcessReport *r) {
        if (!r)
                return NULL;
        json_object_put(r->actions);
        json_object_put(r->metrics);
        json_object_put(r->options);
        free(r->node_version);
        return mfree(r);
}

static ProcessReport *process_report_new(void) {
        _cleanup_(process_report_freep) ProcessReport *r = new0(ProcessReport, 1);

        if (!r)
                return NULL;
        r->actions = json_object_new_array();
        r->metrics = json_object_new_object();
        r->options = json_object_new_object();
        return r->actions && r->metrics && r->options ? TAKE_PTR(r) : NULL;
}

static size_t json_size(json_object *o) {
        size_t n = 0;

        (void) json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);
        return n;
}

static const char *action_name(json_object *action) {
        json_object *name;

        if (!json_object_object_get_ex(action, "action_name", &name) || !json_object_is_type(name, json_type_string))
                return NULL;
        return json_object_get_string(name);
}

static ssize_t find_action(const ProcessReport *r, const char *name) {
        size_t n = json_object_array_length(r->actions);

        for (size_t i = 0; i < n; i++)
                if (streq_ptr(action_name(json_object_array_get_idx(r->actions, i)), name))
                        return (ssize_t) i;
        return -1;
}

static bool add_action(ProcessReport *r, json_object *action) {
        const char *name = action_name(action);
        ssize_t i;

        if (!name || json_size(action) > ACTION_SIZE_MAX)
                return false;

        i = find_action(r, name);
        if (i >= 0)
                return json_object_array_put_idx(r->actions, (size_t) i, json_object_get(action)) >= 0;
        if (json_object_array_length(r->actions) >= ACTIONS_MAX)
                return false;
        return json_object_array_add(r->actions, json_object_get(action)) >= 0;
}

/* All members or none: *to stays what it was if there would be too much. */
static bool merge(json_object **to, json_object *from) {
        json_object *merged = NULL;

        if (!json_object_is_type(from, json_type_object) || json_size(from) > OBJECT_SIZE_MAX)
                return false;

        merged = json_object_new_object();
        if (!merged)
                return false;
        json_object_object_foreach(*to, old_key, old_value)
                (void) json_object_object_add(merged, old_key, json_object_get(old_value));
        json_object_object_foreach(from, key, value)
                (void) json_object_object_add(merged, key, json_object_get(value));
        if (json_object_object_length(merged) > MEMBERS_MAX || json_size(merged) > OBJECT_SIZE_MAX) {
                json_object_put(merged);
                return false;
        }

        json_object_put(*to);
        *to = merged;
        return true;
}

static bool take_node_version(ProcessReport *r, json_object *version) {
        const char *s = json_object_get_string(version);

        return s && strlen(s) <= NODE_VERSION_MAX && free_and_strdup(&r->node_version, s) >= 0;
}

static bool take_data(ProcessReport *r, const char *type, json_object *data) {
        if (streq(type, "axm:action"))
                return add_action(r, data);
        if (streq(type, "axm:monitor"))
                return merge(&r->metrics, data);
        if (streq(type, "axm:option:configuration"))
                return merge(&r->options, data);
        return true; /* axm:option:setPID: who the main process is pmd knows better */
}

static bool is_for_report(const char *type) {
        return streq(type, "axm:action") || streq(type, "axm:monitor") || startswith(type, "axm:option:");
}

bool process_report_take(ProcessReport **report, json_object *message) {
        json_object *type, *data = NULL, *version;
        bool has_type, taken;

        if (!json_object_is_type(message, json_type_object))
                return false;

        has_type = json_object_object_get_ex(message, "type", &type) && json_object_is_type(type, json_type_string);
        if (has_type ? !is_for_report(json_object_get_string(type)) : !json_object_object_get_ex(message, "node_version", &version))
                return false;

        if (!*report)
                *report = process_report_new();
        if (!*report)
                return true;

        (void) json_object_object_get_ex(message, "data", &data);
        taken = has_type ? take_data(*report, json_object_get_string(type), data) : take_node_version(*report, version);
        (*report)->n_refused += !taken;
        return true;
}

bool process_report_has_action(const ProcessReport *r, const char *name) {
        return r && find_action(r, name) >= 0;
}

bool process_report_has_actions(const ProcessReport *r) {
        return r && json_object_array_length(r->actions) > 0;
}

json_object *process_report_to_json(const ProcessReport *r) {
        json_object *o = json_object_new_object();

        if (!o)
                return NULL;
        (void) json_object_object_add(o, "axm_actions", r ? json_object_get(r->actions) : json_object_new_array());
        (void) json_object_object_add(o, "axm_monitor", r ? json_object_get(r->metrics) : json_object_new_object());
        (void) json_object_object_add(o, "axm_options", r ? json_object_get(r->options) : json_object_new_object());
        if (r && r->node_version)
                (void) json_object_object_add(o, "node_version", json_object_new_string(r->node_version));
        return o;
}
