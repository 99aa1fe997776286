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
#include "shared/boot-id.h"
#include "shared/json-writer.h"

/* A longer one is lost with pmd. */
#define STATUS_TEXT_MAX 256U
/* Leaves room for the rest in a slot. */
#define EVENTS_SIZE_MAX 2400U

/* ---- as JSON ---- */

/* What is not known is left out. */
static void add_string(JsonWriter *w, const char *key, const char *v) {
        if (v)
                json_writer_string(w, key, v);
}

static void add_events(JsonWriter *w, const Process *p) {
        json_object *events;

        if (p->events.n == 0 || event_history_save(&p->events, EVENTS_SIZE_MAX, &events) < 0)
                return;
        json_writer_json(w, "events", json_object_to_json_string_ext(events, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(events);
}

static void add_oom_kill(JsonWriter *w, const Process *p) {
        const OomKill *k = &p->last_oom_kill;

        if (k->realtime == 0)
                return;
        json_writer_uint(w, "n_oom_kills", p->n_oom_kills);
        json_writer_bool(w, "oom_killed_as_group", p->oom_killed_as_group);
        json_writer_uint(w, "oom_realtime", k->realtime);
        json_writer_int(w, "oom_pid", k->pid);
        add_string(w, "oom_name", k->name);
        json_writer_uint(w, "oom_limit", k->limit);
        json_writer_uint(w, "oom_peak", k->peak);
        add_string(w, "oom_limit_cgroup", k->limit_cgroup);
}

static void add_process(JsonWriter *w, const Process *p) {
        json_writer_uint(w, "id", p->id);
        add_string(w, "role", process_role_to_string(p->role));
        add_string(w, "app", p->app->name);
        json_writer_uint(w, "owner", p->app->owner);
        json_writer_uint(w, "definition", p->definition_serial);
        if (p->next_definition_serial > 0)
                json_writer_uint(w, "next_definition", p->next_definition_serial);
        json_writer_uint(w, "instance", p->instance);
        add_string(w, "unique_id", p->unique_id);
        add_string(w, "goal", process_goal_to_string(p->goal));
        add_string(w, "state", process_state_to_string(p->state));
        json_writer_bool(w, "restart_wanted", p->restart_wanted);
        json_writer_bool(w, "delete_wanted", p->delete_wanted);
        json_writer_bool(w, "reload_wanted", p->reload_wanted);
        json_writer_bool(w, "start_timed_out", p->start_timed_out);
        json_writer_bool(w, "ready_missed", p->ready_missed);
        json_writer_bool(w, "listening", p->listening);
        json_writer_bool(w, "kill_tried", p->kill_tried);
        json_writer_bool(w, "restart_granted", p->restart_granted);
        json_writer_bool(w, "watching", p->watching);
        json_writer_bool(w, "reached_online", p->reached_online);
        json_writer_bool(w, "gate_opened", p->gate_opened);
        json_writer_uint(w, "incarnation", p->incarnation);
        json_writer_uint(w, "worker_id", p->worker_id);
        json_writer_uint(w, "last_incarnation", p->last_incarnation);
        json_writer_uint(w, "n_restarts", p->n_restarts);
        json_writer_uint(w, "unstable_restarts", p->history.unstable_restarts);
        json_writer_uint(w, "history_created_at", p->history.created_at);
        json_writer_uint(w, "prev_delay", p->history.prev_delay);
        json_writer_uint(w, "created_realtime", p->created_realtime);
        json_writer_uint(w, "started_monotonic", p->started_monotonic);
        json_writer_uint(w, "started_realtime", p->started_realtime);
        json_writer_int(w, "exit_code", p->last_exit.code);
        json_writer_int(w, "exit_signal", p->last_exit.signal);
        add_string(w, "exit_reason", exit_reason_to_string(p->last_exit.reason));
        add_oom_kill(w, p);
        if (p->status_text && strlen(p->status_text) <= STATUS_TEXT_MAX)
                add_string(w, "status_text", p->status_text);
        json_writer_int(w, "timer", p->timer);
        json_writer_uint(w, "timer_at", p->timer_at);
        add_events(w, p);
}

static void add_incarnation(JsonWriter *w, const Process *p) {
        if (!pidref_is_set(&p->main) || !p->unit)
                return;
        json_writer_int(w, "pid", p->main.pid);
        json_writer_uint(w, "pid_start_time", p->main.start_time);
        json_writer_uint(w, "pid_id", p->main.fd_id);
        add_string(w, "cgroup", p->unit->cgroup);
        add_string(w, "invocation_id", p->unit->invocation_id);
}

static int add_boot(JsonWriter *w, const Manager *m) {
        char boot[SD_ID128_STRING_MAX];
        int r;

        r = boot_id_get(boot);
        if (r < 0)
                return r;
        add_string(w, "boot", boot);
        json_writer_uint(w, "init_start_time", m->init_start_time);
        return 0;
}

static int describe_process(const Process *p, JsonWriter *w) {
        int r;

        json_writer_begin(w, NULL, '{');
        json_writer_uint(w, "version", PROCESS_STATE_VERSION);
        r = add_boot(w, p->manager);
        if (r < 0)
                return r;
        add_process(w, p);
        add_incarnation(w, p);
        json_writer_end(w, '}');
        return 0;
}

/* ---- what somebody has removed ---- */

static void forget_definitions(Process *p) {
        p->definition_serial = p->next_definition_serial = 0;
        p->saved_config = p->saved_next_config = NULL;
}

static void write_all_again(Manager *m, bool definitions) {
        Process *p;

        MANAGER_FOREACH_INCARNATION(p, m) {
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

static int write_state(Process *p, const char *text, size_t n) {
        int r = 0;

        if (p->state_slot == 0)
                r = state_slots_take(p->manager->state_slots, &p->state_slot);
        return r < 0 ? r : state_slots_write(p->manager->state_slots, p->state_slot, text, n);
}

static int save_state(Process *p) {
        _cleanup_json_writer_ JsonWriter w = {};
        const char *text;
        int r;

        r = describe_process(p, &w);
        if (r >= 0)
                r = json_writer_finish(&w, &text);
        return r < 0 ? r : write_state(p, text, w.size);
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
                r = save_state(p);
        if (r < 0)
                return r;

        /* Not before: until now the state named them. */
        process_remove_unused_definition(p, old);
        process_remove_unused_definition(p, old_next);
        return 0;
}

void process_unsave(Process *p) {
        unsigned serial = TAKE_GENERIC(p->definition_serial, 0), next = TAKE_GENERIC(p->next_definition_serial, 0);

        if (p->state_slot > 0)
                state_slots_release(p->manager->state_slots, TAKE_GENERIC(p->state_slot, 0));
        process_remove_unused_definition(p, serial);
        process_remove_unused_definition(p, next);
}
