/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <json-c/json.h>

#include "pmd/process-serialize-internal.h"

#include "pmd/app.h"
#include "pmd/definition-file.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/request-journal.h"
#include "pmd/state-slots.h"
#include "shared/app-config.h"
#include "shared/boot-id.h"
#include "shared/json-util.h"
#include "shared/log.h"
#include "shared/process-states.h"
#include "shared/string-util.h"

/* ---- a process from JSON ---- */

static uint64_t get_uint(json_object *o, const char *key) {
        return json_object_get_uint64(json_object_object_get(o, key));
}

static int get_int(json_object *o, const char *key, int fallback) {
        json_object *v;

        return json_object_object_get_ex(o, key, &v) ? json_object_get_int(v) : fallback;
}

static bool get_bool(json_object *o, const char *key) {
        return json_object_get_boolean(json_object_object_get(o, key));
}

static const char *get_string(json_object *o, const char *key) {
        return json_object_get_string(json_object_object_get(o, key));
}

/* A container has the boot of the host, but another process 1 each time. */
bool manager_is_of_this_boot(const Manager *m, json_object *o) {
        uint64_t init = get_uint(o, "init_start_time");

        if (init > 0 && m->init_start_time > 0 && init != m->init_start_time)
                return false;
        return boot_id_is_current(get_string(o, "boot"));
}

static void read_oom_kill(Process *p, json_object *o) {
        OomKill *k = &p->last_oom_kill;
        const char *name = get_string(o, "oom_name"), *limit_cgroup = get_string(o, "oom_limit_cgroup");

        k->realtime = get_uint(o, "oom_realtime");
        if (k->realtime == 0)
                return;
        p->n_oom_kills = get_uint(o, "n_oom_kills");
        p->oom_killed_as_group = get_bool(o, "oom_killed_as_group");
        k->pid = get_int(o, "oom_pid", 0);
        (void) snprintf(k->name, sizeof k->name, "%s", strempty(name));
        k->limit = get_uint(o, "oom_limit");
        k->peak = get_uint(o, "oom_peak");
        if (free_and_strdup(&k->limit_cgroup, limit_cgroup) < 0)
                log_oom();
}

static void read_process(Process *p, json_object *o) {
        const char *unique_id = get_string(o, "unique_id");

        if (unique_id && strlen(unique_id) < sizeof p->unique_id)
                strcpy(p->unique_id, unique_id);
        p->goal = process_goal_from_string(get_string(o, "goal"));
        p->restart_wanted = get_bool(o, "restart_wanted");
        p->delete_wanted = get_bool(o, "delete_wanted");
        p->reload_wanted = get_bool(o, "reload_wanted");
        p->start_timed_out = get_bool(o, "start_timed_out");
        p->ready_missed = get_bool(o, "ready_missed");
        p->listening = get_bool(o, "listening");
        p->kill_tried = get_bool(o, "kill_tried");
        p->restart_granted = get_bool(o, "restart_granted");
        p->watching = get_bool(o, "watching");
        p->reached_online = get_bool(o, "reached_online");
        p->gate_opened = get_bool(o, "gate_opened");
        p->incarnation = (unsigned) get_uint(o, "incarnation");
        p->worker_id = (unsigned) get_uint(o, "worker_id");
        p->last_incarnation = MAX(p->incarnation, (unsigned) get_uint(o, "last_incarnation"));
        p->n_restarts = (unsigned) get_uint(o, "n_restarts");
        p->history = (RestartHistory) {
                .unstable_restarts = (unsigned) get_uint(o, "unstable_restarts"),
                .created_at = get_uint(o, "history_created_at"),
                .prev_delay = get_uint(o, "prev_delay"),
        };
        p->created_realtime = get_uint(o, "created_realtime");
        p->started_monotonic = get_uint(o, "started_monotonic");
        p->started_realtime = get_uint(o, "started_realtime");
        p->last_exit = (LastExit) {
                .code = get_int(o, "exit_code", -1),
                .signal = get_int(o, "exit_signal", 0),
                .reason = MAX(exit_reason_from_string(get_string(o, "exit_reason")), EXIT_REASON_NONE),
        };
        read_oom_kill(p, o);
        (void) free_and_strdup(&p->status_text, get_string(o, "status_text"));
        p->timer = (ProcessTimer) get_int(o, "timer", PROCESS_TIMER_NONE);
        p->timer_at = get_uint(o, "timer_at");
        if (event_history_restore(&p->events, json_object_object_get(o, "events")) < 0)
                log_oom();
}

/* ---- taking over ---- */

/* What is in a slot, by which it is decided who comes first. */
typedef struct Found {
        unsigned slot, id, incarnation;
        bool hidden;
} Found;

typedef struct Readopt {
        Manager *manager;
        SavedDefinitions definitions;
        Found *found;
        size_t n_found;
} Readopt;

static void readopt_done(Readopt *d) {
        saved_definitions_done(&d->definitions);
        free(d->found);
}

/* What it was to become with its next start. */
static int read_next_definition(Readopt *d, Process *p, unsigned serial) {
        AppConfig *config;
        int r;

        if (serial == 0)
                return 0;
        r = saved_definitions_get(&d->definitions, d->manager, serial, &config);
        if (r < 0)
                return r;

        p->next_definition_serial = serial;
        p->saved_next_config = config;
        p->next_config = app_config_ref(config);
        if (p->reload_wanted)
                p->reload_config = app_config_ref(config);
        app_config_unref(p->app->config);
        p->app->config = app_config_ref(config);
        return 0;
}

static int get_app(Manager *m, const char *name, AppConfig *config, uid_t owner, App **ret) {
        App *a = manager_get_app(m, name);

        if (a) {
                *ret = a;
                return 0;
        }
        return manager_make_app(m, config, owner, ret);
}

static void enter_registry(Process *p, ProcessRole role) {
        if (role != PROCESS_CURRENT) {
                process_adopt_hidden(p, role);
                return;
        }
        LIST_APPEND(siblings, p->app->processes, p);
        manager_add_process(p->manager, p);
        p->manager->next_process_id = MAX(p->manager->next_process_id, p->id + 1);
}

/* Whoever is not current any more ends, be it that the job which wanted that has not said so yet. */
static void settle_hidden(Process *p) {
        if (p->role == PROCESS_RETIRED && p->goal == PROCESS_DOWN && IN_SET(p->state, PROCESS_STARTING, PROCESS_ONLINE))
                process_event(p, PROCESS_EVENT_RETIRE);
        else if (p->role == PROCESS_SUCCESSOR && p->peer && !p->peer->reload_wanted)
                process_abandon_reload(p->peer);
        else if (p->role != PROCESS_CURRENT && !p->peer)
                process_event(p, PROCESS_EVENT_DOWN);
        if (p->role != PROCESS_CURRENT)
                manager_wake(p->manager);
}

/* A pmd that died between the two writes of a swap has left two that are current. The later one is, see process_end_reload(). */
static ProcessRole read_role(const Manager *m, json_object *o, unsigned id) {
        const char *role = get_string(o, "role");
        ProcessRole r = role ? process_role_from_string(role) : PROCESS_CURRENT;

        return r == PROCESS_CURRENT && manager_get_process((Manager *) m, id) ? PROCESS_RETIRED : r;
}

static int check_state(const Manager *m, json_object *o) {
        if (!manager_is_of_this_boot(m, o))
                return -ESTALE;
        if (get_uint(o, "version") > PROCESS_STATE_VERSION)
                return -EPROTONOSUPPORT;
        if (!get_string(o, "app") || process_state_from_string(get_string(o, "state")) < 0 || process_goal_from_string(get_string(o, "goal")) < 0)
                return -EBADMSG;
        return 0;
}

static int readopt_state(Readopt *d, json_object *o, unsigned id, unsigned slot) {
        Manager *m = d->manager;
        unsigned serial = (unsigned) get_uint(o, "definition");
        AppConfig *config;
        ProcessRole role;
        Process *p;
        App *a;
        int r;

        r = check_state(m, o);
        if (r < 0)
                return r;
        role = read_role(m, o, id);
        if (role < 0)
                return -EBADMSG;

        r = saved_definitions_get(&d->definitions, m, serial, &config);
        if (r < 0)
                return r;
        r = manager_reserve_processes(m, 1);
        if (r < 0)
                return r;
        r = get_app(m, get_string(o, "app"), config, (uid_t) get_uint(o, "owner"), &a);
        if (r < 0)
                return r;
        r = process_new(m, a, config, id, (unsigned) get_uint(o, "instance"), &p);
        if (r < 0) {
                if (!a->processes)
                        manager_remove_app(m, a);
                return r;
        }

        read_process(p, o);
        p->definition_serial = serial;
        p->saved_config = config;
        p->state_slot = slot;
        if (role == PROCESS_RETIRED) {
                p->goal = PROCESS_DOWN;
                p->reload_wanted = false;
        }
        r = read_next_definition(d, p, (unsigned) get_uint(o, "next_definition"));
        if (r < 0)
                log_warning_errno(r, "The changed definition of process %u is lost: %m", id);
        enter_registry(p, role);

        process_adopt(p, process_state_from_string(get_string(o, "state")), &(ProcessRemains) {
                        .pid = (pid_t) get_uint(o, "pid"),
                        .pid_start_time = get_uint(o, "pid_start_time"),
                        .pid_id = get_uint(o, "pid_id"),
                        .cgroup = get_string(o, "cgroup"),
                        .invocation_id = get_string(o, "invocation_id"),
                });
        settle_hidden(p);
        return 0;
}

/* It is for the pmd that wrote it, should that come back: with its descriptors, its definition, and its number. */
static void leave_alone(Manager *m, unsigned id, uint64_t version) {
        log_error("Process %u is not taken over and runs on without pmd: what %s/" PROCESS_STATES_FILE " says of it is of format %" PRIu64
                  ", and this pmd knows those up to %d. Install the version that wrote it, or end the process yourself and remove the file, "
                  "which is made anew without it.", id, m->instance->runtime_dir, version, PROCESS_STATE_VERSION);
        m->first_process_id = MAX(m->first_process_id, id + 1);
        m->next_process_id = MAX(m->next_process_id, id + 1);
}

static void readopt_one(Readopt *d, const Found *f) {
        _cleanup_(json_object_putp) json_object *o = NULL;
        int r;

        r = state_slots_read(d->manager->state_slots, f->slot, &o);
        if (r >= 0)
                r = readopt_state(d, o, f->id, f->slot);
        if (r >= 0)
                return;
        if (r == -EPROTONOSUPPORT)
                return leave_alone(d->manager, f->id, get_uint(o, "version"));
        if (r != -ESTALE)
                log_warning_errno(r, "Cannot take over process %u, ignoring: %m", f->id);
        state_slots_release(d->manager->state_slots, f->slot);
}

/* The current ones by their numbers, the latest incarnation first, and then those that are not current. */
static int compare_found(const void *a, const void *b) {
        const Found *x = a, *y = b;

        if (x->hidden != y->hidden)
                return x->hidden ? 1 : -1;
        if (x->id != y->id)
                return x->id > y->id ? 1 : -1;
        return (x->incarnation < y->incarnation) - (x->incarnation > y->incarnation);
}

static void find_one(Readopt *d, unsigned slot) {
        _cleanup_(json_object_putp) json_object *o = NULL;
        const char *role;
        int r;

        r = state_slots_read(d->manager->state_slots, slot, &o);
        if (r == -ENODATA)
                return;
        if (r < 0) {
                log_warning_errno(r, "What is known of a process cannot be read from slot %u of %s/" PROCESS_STATES_FILE ", ignoring: %m", slot,
                                  d->manager->instance->runtime_dir);
                state_slots_release(d->manager->state_slots, slot);
                return;
        }

        role = get_string(o, "role");
        d->found[d->n_found++] = (Found) {
                .slot = slot,
                .id = (unsigned) get_uint(o, "id"),
                .incarnation = (unsigned) get_uint(o, "incarnation"),
                .hidden = role && process_role_from_string(role) != PROCESS_CURRENT,
        };
}

/* Everything is read twice, so that it is in memory one by one. */
static int readopt_processes(Readopt *d) {
        StateSlots *slots = d->manager->state_slots;
        unsigned n;
        int r;

        r = state_slots_load(slots, &n);
        if (r < 0)
                return r;
        d->found = new(Found, n);
        if (!d->found)
                return -ENOMEM;
        for (unsigned slot = 1; slot <= n; slot++)
                find_one(d, slot);

        if (d->n_found > 0)
                qsort(d->found, d->n_found, sizeof(Found), compare_found);
        for (size_t i = 0; i < d->n_found; i++)
                readopt_one(d, d->found + i);
        state_slots_clean(slots);
        return 0;
}

static bool delete_is_wanted(const Process *p) {
        return p->delete_wanted && !p->app->job;
}

static bool reload_is_wanted(const Process *p) {
        return p->reload_wanted && !p->delete_wanted && !p->app->job;
}

/* A job that had begun is carried through. */
static int resume_jobs(Manager *m, JobVerb verb, bool (*is_wanted)(const Process *p)) {
        _cleanup_free_ Process **processes = new(Process *, m->n_processes);
        _cleanup_free_ uint32_t *jobs = NULL;
        size_t n = 0, n_jobs;

        if (!processes)
                return -ENOMEM;
        for (size_t i = 0; i < m->n_processes; i++)
                if (is_wanted(m->processes[i]))
                        processes[n++] = m->processes[i];
        return n > 0 ? manager_enqueue_jobs(m, verb, processes, n, &jobs, &n_jobs) : 0;
}

int manager_readopt(Manager *m) {
        _cleanup_(readopt_done) Readopt d = { .manager = m };
        int r;

        r = definition_file_load(m->definition_file);
        if (r >= 0)
                r = readopt_processes(&d);
        if (r < 0)
                return r;

        manager_clean_definitions(m);
        manager_clean_clusters(m);
        if (m->n_processes > 0)
                log_info("Took over %zu processes.", m->n_processes);

        r = request_journal_resume(m->request_journal);
        if (r < 0)
                return r;
        r = resume_jobs(m, JOB_DELETE, delete_is_wanted);
        return r < 0 ? r : resume_jobs(m, JOB_RELOAD, reload_is_wanted);
}
