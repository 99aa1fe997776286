/* SPDX-License-Identifier: MIT */
#include <json-c/json.h>
#include <systemd/sd-id128.h>

#include "pmd/process-serialize-internal.h"

#include "pmd/app.h"
#include "pmd/definition-file.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/runner.h"
#include "pmd/state-slots.h"
#include "shared/string-util.h"

/* A longer one is lost with pmd. */
#define STATUS_TEXT_MAX 256U
/* Leaves room for the rest in a slot. */
#define EVENTS_SIZE_MAX 2400U

DEFINE_CLEANUP_FUNC(json_object *, json_object_put)

/* ---- as JSON ---- */

static void add_int(json_object *o, const char *key, int64_t v) {
        (void) json_object_object_add(o, key, json_object_new_int64(v));
}

static void add_uint(json_object *o, const char *key, uint64_t v) {
        (void) json_object_object_add(o, key, json_object_new_uint64(v));
}

static void add_bool(json_object *o, const char *key, bool v) {
        (void) json_object_object_add(o, key, json_object_new_boolean(v));
}

static void add_string(json_object *o, const char *key, const char *v) {
        if (v)
                (void) json_object_object_add(o, key, json_object_new_string(v));
}

static void add_events(json_object *o, const Process *p) {
        json_object *events;

        if (p->events.n > 0 && event_history_save(&p->events, EVENTS_SIZE_MAX, &events) >= 0)
                (void) json_object_object_add(o, "events", events);
}

static void add_oom_kill(json_object *o, const Process *p) {
        const OomKill *k = &p->last_oom_kill;

        if (k->realtime == 0)
                return;
        add_uint(o, "n_oom_kills", p->n_oom_kills);
        add_bool(o, "oom_killed_as_group", p->oom_killed_as_group);
        add_uint(o, "oom_realtime", k->realtime);
        add_int(o, "oom_pid", k->pid);
        add_string(o, "oom_name", k->name);
        add_uint(o, "oom_limit", k->limit);
        add_uint(o, "oom_peak", k->peak);
        add_string(o, "oom_limit_cgroup", k->limit_cgroup);
}

static void add_process(json_object *o, const Process *p) {
        add_uint(o, "id", p->id);
        add_string(o, "role", process_role_to_string(p->role));
        add_string(o, "app", p->app->name);
        add_uint(o, "owner", p->app->owner);
        add_uint(o, "definition", p->definition_serial);
        if (p->next_definition_serial > 0)
                add_uint(o, "next_definition", p->next_definition_serial);
        add_uint(o, "instance", p->instance);
        add_string(o, "unique_id", p->unique_id);
        add_string(o, "goal", process_goal_to_string(p->goal));
        add_string(o, "state", process_state_to_string(p->state));
        add_bool(o, "restart_wanted", p->restart_wanted);
        add_bool(o, "delete_wanted", p->delete_wanted);
        add_bool(o, "reload_wanted", p->reload_wanted);
        add_bool(o, "start_timed_out", p->start_timed_out);
        add_bool(o, "listening", p->listening);
        add_bool(o, "kill_tried", p->kill_tried);
        add_bool(o, "restart_granted", p->restart_granted);
        add_bool(o, "watching", p->watching);
        add_bool(o, "reached_online", p->reached_online);
        add_bool(o, "gate_opened", p->gate_opened);
        add_uint(o, "incarnation", p->incarnation);
        add_uint(o, "worker_id", p->worker_id);
        add_bool(o, "listening", p->listening);
        add_uint(o, "last_incarnation", p->last_incarnation);
        add_uint(o, "n_restarts", p->n_restarts);
        add_uint(o, "unstable_restarts", p->history.unstable_restarts);
        add_uint(o, "history_created_at", p->history.created_at);
        add_uint(o, "prev_delay", p->history.prev_delay);
        add_uint(o, "created_realtime", p->created_realtime);
        add_uint(o, "started_monotonic", p->started_monotonic);
        add_uint(o, "started_realtime", p->started_realtime);
        add_int(o, "exit_code", p->last_exit.code);
        add_int(o, "exit_signal", p->last_exit.signal);
        add_string(o, "exit_reason", exit_reason_to_string(p->last_exit.reason));
        add_oom_kill(o, p);
        if (p->status_text && strlen(p->status_text) <= STATUS_TEXT_MAX)
                add_string(o, "status_text", p->status_text);
        add_int(o, "timer", p->timer);
        add_uint(o, "timer_at", p->timer_at);
        add_events(o, p);
}

static void add_incarnation(json_object *o, const Process *p) {
        if (!pidref_is_set(&p->main) || !p->unit)
                return;
        add_int(o, "pid", p->main.pid);
        add_uint(o, "pid_start_time", p->main.start_time);
        add_uint(o, "pid_id", p->main.fd_id);
        add_string(o, "cgroup", p->unit->cgroup);
        add_string(o, "invocation_id", p->unit->invocation_id);
}

static int add_boot(json_object *o, const Manager *m) {
        char text[SD_ID128_STRING_MAX];
        sd_id128_t boot;
        int r;

        r = sd_id128_get_boot(&boot);
        if (r < 0)
                return r;
        add_string(o, "boot", sd_id128_to_string(boot, text));
        add_uint(o, "init_start_time", m->init_start_time);
        return 0;
}

static int describe_process(const Process *p, json_object **ret) {
        _cleanup_(json_object_putp) json_object *o = json_object_new_object();
        int r;

        if (!o)
                return -ENOMEM;
        add_uint(o, "version", PROCESS_STATE_VERSION);
        r = add_boot(o, p->manager);
        if (r < 0)
                return r;
        add_process(o, p);
        add_incarnation(o, p);
        *ret = TAKE_PTR(o);
        return 0;
}

/* ---- what somebody has removed ---- */

static void forget_definitions(Process *p) {
        p->definition_serial = p->next_definition_serial = 0;
        p->saved_config = p->saved_next_config = NULL;
}

static void write_all_again(Manager *m, bool definitions) {
        for (size_t i = 0; i < m->n_processes; i++) {
                if (definitions)
                        forget_definitions(m->processes[i]);
                manager_enqueue_changed(m, m->processes[i]);
        }
        LIST_FOREACH(hidden, p, m->hidden_processes) {
                if (definitions)
                        forget_definitions(p);
                manager_enqueue_changed(m, p);
        }
}

static int check_files(Manager *m) {
        int states, definitions;

        states = state_slots_check(m->state_slots);
        definitions = definition_file_check(m->definition_file);
        if (states == 0 || definitions == 0)
                write_all_again(m, definitions == 0);
        return MIN(states, definitions);
}

void manager_check_state_files(Manager *m) {
        state_slots_check_path(m->state_slots);
        definition_file_check_path(m->definition_file);
}

/* ---- writing ---- */

static int write_state(Process *p) {
        _cleanup_(json_object_putp) json_object *o = NULL;
        const char *text;
        size_t n;
        int r;

        r = describe_process(p, &o);
        if (r < 0)
                return r;
        text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);
        if (!text)
                return -ENOMEM;
        if (p->state_slot == 0) {
                r = state_slots_take(p->manager->state_slots, &p->state_slot);
                if (r < 0)
                        return r;
        }
        return state_slots_write(p->manager->state_slots, p->state_slot, text, n);
}

int process_save(Process *p) {
        unsigned old, old_next;
        int r;

        r = check_files(p->manager);
        if (r < 0)
                return r;
        old = p->definition_serial;
        old_next = p->next_definition_serial;
        r = process_save_definitions(p);
        if (r >= 0)
                r = write_state(p);
        if (r < 0)
                return r;

        /* Not before: until now the state named them. */
        manager_remove_unused_definition(p->manager, old);
        manager_remove_unused_definition(p->manager, old_next);
        return 0;
}

void process_unsave(Process *p) {
        unsigned serial = TAKE_GENERIC(p->definition_serial, 0), next = TAKE_GENERIC(p->next_definition_serial, 0);

        if (p->state_slot > 0)
                state_slots_release(p->manager->state_slots, TAKE_GENERIC(p->state_slot, 0));
        manager_remove_unused_definition(p->manager, serial);
        manager_remove_unused_definition(p->manager, next);
}
