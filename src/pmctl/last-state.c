/* SPDX-License-Identifier: MIT */
#include <json-c/json.h>

#include "pmctl/last-state.h"

#include "pmctl/pmctl-util.h"
#include "pmctl/table.h"
#include "shared/instance.h"
#include "shared/process-states.h"
#include "shared/string-util.h"

static int add_row(Table *t, json_object *o) {
        bool alive = process_state_is_alive(o);
        char id[16], pid[16], restarts[16];
        int r;

        (void) snprintf(pid, sizeof(pid), "%d", json_object_get_int(json_object_object_get(o, "pid")));
        (void) snprintf(id, sizeof(id), "%d", json_object_get_int(json_object_object_get(o, "id")));
        (void) snprintf(restarts, sizeof(restarts), "%d", json_object_get_int(json_object_object_get(o, "n_restarts")));

        r = table_add(t, id, COLOR_CYAN);
        if (r >= 0)
                r = table_add(t, strna(json_object_get_string(json_object_object_get(o, "app"))), COLOR_NORMAL);
        if (r >= 0)
                r = table_add(t, alive ? pid : "0", COLOR_NORMAL);
        if (r >= 0)
                r = table_add(t, restarts, COLOR_NORMAL);
        if (r >= 0)
                r = table_add(t, strna(json_object_get_string(json_object_object_get(o, "state"))), COLOR_NORMAL);
        return r < 0 ? r : table_add(t, alive ? "runs" : "does not run", alive ? COLOR_GREEN : COLOR_RED);
}

bool last_state_lives(const Options *o, bool *ret_keeper) {
        _cleanup_(instance_freep) Instance *instance = NULL;
        json_object **states;
        bool lives = false;
        size_t n;

        *ret_keeper = false;
        if (instance_new(instance_scope_of(o, NULL), o->home, &instance) < 0)
                return false;
        *ret_keeper = instance->scope == INSTANCE_PRIVATE && instance_keeper_lives(instance);
        if (process_states_load(instance->runtime_dir, &states, &n) < 0)
                return *ret_keeper;

        for (size_t i = 0; i < n; i++)
                lives = lives || process_state_is_alive(states[i]);
        process_states_free(states, n);
        return lives || *ret_keeper;
}

int show_last_state(const Options *o) {
        static const TableColumn columns[] = { { "id", 4, 0 }, { "name", 11, 40 }, { "pid", 10, 0 }, { "↺", 6, 0 }, { "last known as", 15, 0 }, { "now", 14, 0 } };
        _cleanup_(instance_freep) Instance *instance = NULL;
        _cleanup_(table_freep) Table *t = NULL;
        json_object **states;
        int n_rows = 0;
        size_t n;

        if (instance_new(instance_scope_of(o, NULL), o->home, &instance) < 0)
                return 0;
        if (table_new(columns, ELEMENTSOF(columns), &t) < 0 || process_states_load(instance->runtime_dir, &states, &n) < 0)
                return 0;

        for (size_t i = 0; i < n; i++)
                n_rows += add_row(t, states[i]) >= 0;
        process_states_free(states, n);
        if (n_rows == 0)
                return 0;
        message_warn(o, "pmd does not answer. What it knew of the processes last, and whether they run now:");
        (void) table_print(t, o, terminal_width());
        return n_rows;
}
