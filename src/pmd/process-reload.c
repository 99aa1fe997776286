/* SPDX-License-Identifier: MIT */
#include "pmd/manager.h"
#include "pmd/process-serialize.h"
#include "pmd/process.h"
#include "shared/fault.h"
#include "shared/log.h"

/* Two incarnations at once: the successor is made, becomes the current process, or is given up; the one that is not current any
 * more ends in its own time. */

/* Old incarnations of one process that may be finishing at a time; more are told to end at once. */
#define RETIRED_MAX 2U

static void hide(Process *p, ProcessRole role) {
        p->role = role;
        LIST_PREPEND(hidden, p->manager->hidden_processes, p);
}

static void part(Process *p) {
        if (!p->peer)
                return;
        p->last_incarnation = p->peer->last_incarnation = MAX(p->last_incarnation, p->peer->last_incarnation);
        p->peer->peer = NULL;
        p->peer = NULL;
}

void process_want_reload(Process *p, bool wanted) {
        p->reload_wanted = wanted;
        app_config_unref(p->reload_config);
        p->reload_config = wanted && p->next_config ? app_config_ref(p->next_config) : NULL;
        manager_enqueue_changed(p->manager, p);
}

int process_begin_reload(Process *p) {
        Process *s;
        int r;

        if (p->peer)
                return 0;

        r = process_new(p->manager, p->app, p->next_config ?: p->config, p->id, p->instance, &s);
        if (r < 0)
                return r;

        hide(s, PROCESS_SUCCESSOR);
        s->peer = p;
        p->peer = s;
        s->host = p->host;
        s->n_restarts = p->n_restarts + 1;
        s->watching = p->watching;
        process_event(s, PROCESS_EVENT_UP);
        return 0;
}

void process_adopt_hidden(Process *p, ProcessRole role) {
        Process *current = manager_get_process(p->manager, p->id);

        hide(p, role);
        if (role != PROCESS_SUCCESSOR)
                return;
        p->peer = current;
        if (current)
                current->peer = p;
}

static void retire(Process *p) {
        unsigned n = 0;

        LIST_FOREACH(hidden, h, p->manager->hidden_processes)
                if (h->id == p->id && h->role == PROCESS_RETIRED && ++n > RETIRED_MAX)
                        process_event(h, PROCESS_EVENT_DOWN);
        process_event(p, PROCESS_EVENT_RETIRE);
        manager_wake(p->manager);
}

/* The successor first: of two that are current on file the later one is. */
static void save_swapped(Process *p, Process *s) {
        int r;

        r = process_save(s);
        FAULT_BEFORE(RETIRE);
        if (r >= 0)
                r = process_save(p);
        FAULT_AFTER(RETIRE);
        if (r < 0)
                log_warning_errno(r, "Failed to save what is known of process %u, ignoring: %m", p->id);
}

/* What is known of the number rather than of the incarnation. */
static void inherit(Process *s, Process *p) {
        event_history_done(&s->events);
        s->events = TAKE_GENERIC(p->events, (EventHistory) {});
        s->memory_restarted_at = p->memory_restarted_at;
}

void process_end_reload(Process *p) {
        Process *s = p->peer;

        part(p);
        LIST_REMOVE(hidden, p->manager->hidden_processes, s);
        s->role = PROCESS_CURRENT;
        manager_replace_process(p->manager, p, s);
        hide(p, PROCESS_RETIRED);
        p->goal = PROCESS_DOWN;
        process_want_reload(p, false);
        inherit(s, p);

        FAULT_BEFORE(SWAP);
        save_swapped(p, s);
        FAULT_AFTER(SWAP);
        process_write_pid_file(s);
        process_mark_new(s);
        retire(p);
}

void process_abandon_reload(Process *p) {
        Process *s = p->peer;

        /* It is not to be made by the next restart after all, whether this process was come to or not. */
        if (p->next_config && p->next_config == p->reload_config)
                p->next_config = app_config_unref(p->next_config);
        process_want_reload(p, false);
        if (!s)
                return;

        part(p);
        s->role = PROCESS_RETIRED;
        process_event(s, PROCESS_EVENT_DOWN);
        manager_wake(p->manager);
}

void process_end_hidden(Process *p) {
        LIST_FOREACH(hidden, h, p->manager->hidden_processes)
                if (h->id == p->id)
                        process_event(h, PROCESS_EVENT_DOWN);
}

bool process_has_hidden(const Process *p) {
        LIST_FOREACH(hidden, h, p->manager->hidden_processes)
                if (h->id == p->id)
                        return true;
        return false;
}

bool process_is_forgettable(const Process *p) {
        return p->role == PROCESS_RETIRED && IN_SET(p->state, PROCESS_STOPPED, PROCESS_ERRORED);
}
