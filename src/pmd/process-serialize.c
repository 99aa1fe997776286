/* SPDX-License-Identifier: MIT */
#include <json-c/json.h>
#include <stdio.h>
#include <systemd/sd-id128.h>

#include "pmd/process-serialize-internal.h"

#include "pmd/app.h"
#include "pmd/definition-file.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/runner.h"
#include "pmd/state-slots.h"
#include "shared/process-states.h"
#include "shared/string-util.h"

/* A longer one is lost with pmd. */
#define STATUS_TEXT_MAX 256U
/* Leaves room for the rest in a slot. */
#define EVENTS_SIZE_MAX 2400U

/* ---- as JSON ---- */

/* A process is written several times while it starts, so no tree is built before. */
typedef struct StateText {
        char *text;
        size_t n, n_allocated;
        bool failed; /* no memory */
} StateText;

static void add_text(StateText *t, const char *s, size_t n) {
        t->failed = t->failed || !GREEDY_REALLOC(t->text, t->n_allocated, MAX(t->n + n + 1, (size_t) PROCESS_STATE_SIZE));
        if (t->failed)
                return;
        memcpy(t->text + t->n, s, n);
        t->n += n;
        t->text[t->n] = 0;
}

static void add_key(StateText *t, const char *key) {
        add_text(t, t->n > 0 ? ",\"" : "{\"", 2);
        add_text(t, key, strlen(key));
        add_text(t, "\":", 2);
}

static void add_uint(StateText *t, const char *key, uint64_t v) {
        char buf[24], *p = buf + sizeof buf;

        do
                *--p = (char) ('0' + v % 10);
        while (v /= 10);
        add_key(t, key);
        add_text(t, p, (size_t) (buf + sizeof buf - p));
}

static void add_int(StateText *t, const char *key, int v) {
        char buf[16];

        add_key(t, key);
        add_text(t, buf, (size_t) snprintf(buf, sizeof buf, "%d", v));
}

static void add_bool(StateText *t, const char *key, bool v) {
        add_key(t, key);
        add_text(t, v ? "true" : "false", v ? 4 : 5);
}

/* Takes v. */
static void add_json(StateText *t, const char *key, json_object *v) {
        const char *s;
        size_t n;

        s = v ? json_object_to_json_string_length(v, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n) : NULL;
        if (s) {
                add_key(t, key);
                add_text(t, s, n);
        } else
                t->failed = true;
        json_object_put(v);
}

static bool is_plain(const char *s) {
        for (; *s; s++)
                if ((unsigned char) *s < ' ' || *s == '"' || *s == '\\')
                        return false;
        return true;
}

static void add_string(StateText *t, const char *key, const char *v) {
        if (!v)
                return;
        if (!is_plain(v))
                return add_json(t, key, json_object_new_string(v));
        add_key(t, key);
        add_text(t, "\"", 1);
        add_text(t, v, strlen(v));
        add_text(t, "\"", 1);
}

static void add_events(StateText *t, const Process *p) {
        json_object *events;

        if (p->events.n > 0 && event_history_save(&p->events, EVENTS_SIZE_MAX, &events) >= 0)
                add_json(t, "events", events);
}

static void add_oom_kill(StateText *t, const Process *p) {
        const OomKill *k = &p->last_oom_kill;

        if (k->realtime == 0)
                return;
        add_uint(t, "n_oom_kills", p->n_oom_kills);
        add_bool(t, "oom_killed_as_group", p->oom_killed_as_group);
        add_uint(t, "oom_realtime", k->realtime);
        add_int(t, "oom_pid", k->pid);
        add_string(t, "oom_name", k->name);
        add_uint(t, "oom_limit", k->limit);
        add_uint(t, "oom_peak", k->peak);
        add_string(t, "oom_limit_cgroup", k->limit_cgroup);
}

static void add_process(StateText *t, const Process *p) {
        add_uint(t, "id", p->id);
        add_string(t, "role", process_role_to_string(p->role));
        add_string(t, "app", p->app->name);
        add_uint(t, "owner", p->app->owner);
        add_uint(t, "definition", p->definition_serial);
        if (p->next_definition_serial > 0)
                add_uint(t, "next_definition", p->next_definition_serial);
        add_uint(t, "instance", p->instance);
        add_string(t, "unique_id", p->unique_id);
        add_string(t, "goal", process_goal_to_string(p->goal));
        add_string(t, "state", process_state_to_string(p->state));
        add_bool(t, "restart_wanted", p->restart_wanted);
        add_bool(t, "delete_wanted", p->delete_wanted);
        add_bool(t, "reload_wanted", p->reload_wanted);
        add_bool(t, "start_timed_out", p->start_timed_out);
        add_bool(t, "listening", p->listening);
        add_bool(t, "kill_tried", p->kill_tried);
        add_bool(t, "restart_granted", p->restart_granted);
        add_bool(t, "watching", p->watching);
        add_bool(t, "reached_online", p->reached_online);
        add_bool(t, "gate_opened", p->gate_opened);
        add_uint(t, "incarnation", p->incarnation);
        add_uint(t, "worker_id", p->worker_id);
        add_uint(t, "last_incarnation", p->last_incarnation);
        add_uint(t, "n_restarts", p->n_restarts);
        add_uint(t, "unstable_restarts", p->history.unstable_restarts);
        add_uint(t, "history_created_at", p->history.created_at);
        add_uint(t, "prev_delay", p->history.prev_delay);
        add_uint(t, "created_realtime", p->created_realtime);
        add_uint(t, "started_monotonic", p->started_monotonic);
        add_uint(t, "started_realtime", p->started_realtime);
        add_int(t, "exit_code", p->last_exit.code);
        add_int(t, "exit_signal", p->last_exit.signal);
        add_string(t, "exit_reason", exit_reason_to_string(p->last_exit.reason));
        add_oom_kill(t, p);
        if (p->status_text && strlen(p->status_text) <= STATUS_TEXT_MAX)
                add_string(t, "status_text", p->status_text);
        add_int(t, "timer", p->timer);
        add_uint(t, "timer_at", p->timer_at);
        add_events(t, p);
}

static void add_incarnation(StateText *t, const Process *p) {
        if (!pidref_is_set(&p->main) || !p->unit)
                return;
        add_int(t, "pid", p->main.pid);
        add_uint(t, "pid_start_time", p->main.start_time);
        add_uint(t, "pid_id", p->main.fd_id);
        add_string(t, "cgroup", p->unit->cgroup);
        add_string(t, "invocation_id", p->unit->invocation_id);
}

static int add_boot(StateText *t, const Manager *m) {
        char text[SD_ID128_STRING_MAX];
        sd_id128_t boot;
        int r;

        r = sd_id128_get_boot(&boot);
        if (r < 0)
                return r;
        add_string(t, "boot", sd_id128_to_string(boot, text));
        add_uint(t, "init_start_time", m->init_start_time);
        return 0;
}

static int describe_process(const Process *p, StateText *t) {
        int r;

        add_uint(t, "version", PROCESS_STATE_VERSION);
        r = add_boot(t, p->manager);
        if (r < 0)
                return r;
        add_process(t, p);
        add_incarnation(t, p);
        add_text(t, "}", 1);
        return t->failed ? -ENOMEM : 0;
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

static int write_state(Process *p, const StateText *t) {
        int r = 0;

        if (p->state_slot == 0)
                r = state_slots_take(p->manager->state_slots, &p->state_slot);
        return r < 0 ? r : state_slots_write(p->manager->state_slots, p->state_slot, t->text, t->n);
}

static int save_state(Process *p) {
        StateText t = {};
        int r;

        r = describe_process(p, &t);
        if (r >= 0)
                r = write_state(p, &t);
        free(t.text);
        return r;
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
