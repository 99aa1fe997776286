/* SPDX-License-Identifier: MIT */
#include <json-c/linkhash.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "pmd/app-action.h"
#include "pmd/app-triggers.h"
#include "pmd/app.h"
#include "pmd/bus-face.h"
#include "pmd/definition-file.h"
#include "pmd/event-bus.h"
#include "pmd/fd-store.h"
#include "pmd/keeper-exits.h"
#include "pmd/keeper.h"
#include "pmd/log-relay.h"
#include "pmd/manager-boot.h"
#include "pmd/manager-outside.h"
#include "pmd/manager-runtime.h"
#include "pmd/manager-settings.h"
#include "pmd/manager.h"
#include "pmd/oom-log.h"
#include "pmd/process-serialize.h"
#include "pmd/process.h"
#include "pmd/request-journal.h"
#include "pmd/runner.h"
#include "pmd/spawner.h"
#include "pmd/state-slots.h"
#include "pmd/store-writer.h"
#include "pmd/systemd-client.h"
#include "shared/fd-bag.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/pmd-protocol.h"
#include "shared/proc-util.h"
#include "shared/string-util.h"

/* Until what could not be written is tried again. */
#define SAVE_AGAIN_USEC (2 * USEC_PER_SEC)

/* ---- the deferred queues ---- */

static void on_descriptors_stored(void *userdata) {
        Manager *m = ASSERT_PTR(userdata);
        Process *p;

        MANAGER_FOREACH_INCARNATION(p, m)
                process_go_on_when_stored(p);
}

static void finish_exit(Manager *m) {
        Process *p;

        event_bus_killed(m);
        MANAGER_FOREACH_INCARNATION(p, m)
                process_unsave(p);
        if (m->exit_message) {
                (void) sd_bus_reply_method_return(m->exit_message, NULL);
                m->exit_message = sd_bus_message_unref(m->exit_message);
        }
        (void) sd_event_exit(m->event, 0);
}

static bool may_still_end(const Process *p) {
        return process_is_running(p) ? !p->stuck : p->state == PROCESS_DRAINING;
}

static void check_exit(Manager *m) {
        Process *p;

        MANAGER_FOREACH_INCARNATION(p, m)
                if (may_still_end(p))
                        return;
        finish_exit(m);
}

static int on_save_again(sd_event_source *s, uint64_t usec, void *userdata) {
        Manager *m = ASSERT_PTR(userdata);
        Process *p;

        MANAGER_FOREACH_INCARNATION(p, m)
                if (p->unsaved)
                        manager_enqueue_changed(m, p);
        return 0;
}

/* Nobody tells that there is space again. */
static void save_later(Manager *m) {
        int r;

        if (!m->save_again_source)
                r = sd_event_add_time_relative(m->event, &m->save_again_source, CLOCK_MONOTONIC, SAVE_AGAIN_USEC, 0, on_save_again, m);
        else {
                r = sd_event_source_set_time_relative(m->save_again_source, SAVE_AGAIN_USEC);
                if (r >= 0)
                        r = sd_event_source_set_enabled(m->save_again_source, SD_EVENT_ONESHOT);
        }
        if (r < 0)
                log_warning_errno(r, "Failed to set a timer, ignoring: %m");
}

static void save_process(Process *p) {
        int r;

        /* On file it is what it was before; opening the gate saves it. */
        if (p->state == PROCESS_SPAWNING && !p->gate_opened)
                return;
        if (p->saved_at_gate)
                return;

        r = process_save(p);
        if (r >= 0) {
                p->unsaved = false;
                return;
        }
        log_full_errno(p->unsaved ? LOG_DEBUG : LOG_WARNING, r, "Failed to save what is known of process %u, trying again later: %m", p->id);
        p->unsaved = true;
        save_later(p->manager);
}

static void forget_hidden(Process *p) {
        Manager *m = p->manager;
        App *a = p->app;

        process_unsave(p);
        LIST_REMOVE(hidden, m->hidden_processes, p);
        if (p->in_dirty_queue)
                LIST_REMOVE(dirty_queue, m->dirty_processes, p);
        process_free(p);

        if (a->job)
                manager_enqueue_job_check(m, a->job);
}

static void check_jobs(Manager *m) {
        for (Job *j; (j = m->jobs_to_check);) {
                manager_dequeue_job_check(m, j);
                job_check(j);
        }
}

static int on_dispatch(sd_event_source *s, void *userdata) {
        Manager *m = ASSERT_PTR(userdata);

        request_journal_write(m->request_journal);

        check_jobs(m);
        LIST_FOREACH_SAFE(hidden, p, m->hidden_processes)
                if (process_is_forgettable(p))
                        forget_hidden(p);
        check_jobs(m);

        for (Process *p; (p = m->dirty_processes);) {
                ProcessField fields = TAKE_GENERIC(p->dirty, 0);

                LIST_REMOVE(dirty_queue, m->dirty_processes, p);
                p->in_dirty_queue = false;
                save_process(p);
                if (p->role == PROCESS_CURRENT)
                        bus_face_process_changed(m->bus_face, p, fields);
        }

        manager_check_done(m);
        if (m->exiting)
                check_exit(m);
        return 0;
}

void manager_wake(Manager *m) {
        int r;

        r = sd_event_source_set_enabled(m->dispatch_source, SD_EVENT_ONESHOT);
        if (r < 0)
                log_error_errno(r, "Failed to schedule the dispatch of the queues: %m");
}

void manager_enqueue_job_check(Manager *m, Job *j) {
        if (!j->in_check_queue) {
                LIST_PREPEND(check_queue, m->jobs_to_check, j);
                j->in_check_queue = true;
        }
        manager_wake(m);
}

void manager_dequeue_job_check(Manager *m, Job *j) {
        if (!j->in_check_queue)
                return;
        LIST_REMOVE(check_queue, m->jobs_to_check, j);
        j->in_check_queue = false;
}

void manager_enqueue_changed(Manager *m, Process *p) {
        p->saved_at_gate = false;
        if (p->in_dirty_queue)
                return;
        LIST_PREPEND(dirty_queue, m->dirty_processes, p);
        p->in_dirty_queue = true;
        manager_wake(m);
}

void manager_process_settled(Manager *m) {
        if (m->exiting || m->hidden_processes)
                manager_wake(m);
}

void manager_job_new(Manager *m, Job *j) {
        do
                j->id = ++m->next_job_id;
        while (j->id == 0);
        request_journal_job_new(m->request_journal, j);
        bus_face_job_new(m->bus_face, j);
}

/* ---- registries ---- */

App *manager_get_app(Manager *m, const char *name) {
        void *a;

        return lh_table_lookup_ex(m->apps, name, &a) ? a : NULL;
}

int manager_make_app(Manager *m, AppConfig *config, uid_t owner, App **ret) {
        App *a;
        int r;

        r = app_new(m, config, owner, &a);
        if (r < 0)
                return r;
        if (lh_table_insert(m->apps, a->name, a) < 0) {
                app_free(a);
                return -ENOMEM;
        }
        bus_face_app_new(m->bus_face, a);
        *ret = a;
        return 0;
}

/* Where id stands, or would stand, in the ascending array. */
static size_t process_index(const Manager *m, unsigned id) {
        size_t lo = 0, hi = m->n_processes;

        while (lo < hi) {
                size_t mid = lo + (hi - lo) / 2;

                if (m->processes[mid]->id < id)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo;
}

Process *manager_get_process(Manager *m, unsigned id) {
        size_t i = process_index(m, id);

        return i < m->n_processes && m->processes[i]->id == id ? m->processes[i] : NULL;
}

Process *manager_next_incarnation(const Manager *m, IncarnationIterator *i) {
        Process *p;

        if (i->i < m->n_processes)
                return m->processes[i->i++];
        if (i->i < SIZE_MAX)
                *i = (IncarnationIterator) { SIZE_MAX, m->hidden_processes };
        p = i->next_hidden;
        if (p)
                i->next_hidden = p->hidden_next;
        return p;
}

int manager_reserve_processes(Manager *m, size_t n) {
        return GREEDY_REALLOC(m->processes, m->n_processes_allocated, m->n_processes + n) ? 0 : -ENOMEM;
}

void manager_add_process(Manager *m, Process *p) {
        assert(m->n_processes < m->n_processes_allocated);
        m->processes[m->n_processes++] = p; /* ids only grow while there are processes */
        bus_face_process_new(m->bus_face, p);
        app_triggers_process_added(p);
}

void manager_replace_process(Manager *m, Process *old, Process *p) {
        App *a = old->app;

        m->processes[process_index(m, old->id)] = p;

        p->siblings_prev = old->siblings_prev;
        p->siblings_next = old->siblings_next;
        if (p->siblings_prev)
                p->siblings_prev->siblings_next = p;
        else
                a->processes = p;
        if (p->siblings_next)
                p->siblings_next->siblings_prev = p;
        old->siblings_prev = old->siblings_next = NULL;
}

void manager_remove_app(Manager *m, App *a) {
        bus_face_app_removed(m->bus_face, a);
        (void) lh_table_delete(m->apps, a->name);
        app_free(a);
}

void manager_remove_process(Manager *m, Process *p) {
        size_t i = process_index(m, p->id);

        bus_face_process_removed(m->bus_face, p);

        LIST_REMOVE(siblings, p->app->processes, p);
        if (p->in_dirty_queue)
                LIST_REMOVE(dirty_queue, m->dirty_processes, p);
        memmove(m->processes + i, m->processes + i + 1, (m->n_processes - i - 1) * sizeof(Process *));
        if (--m->n_processes == 0)
                m->next_process_id = m->first_process_id;
        process_free(p);
}

void manager_job_progress(Manager *m, const Job *j, unsigned process_id) {
        bus_face_job_progress(m->bus_face, j, process_id);
}

void manager_job_removed(Manager *m, Job *j, JobResult result) {
        request_journal_job_removed(m->request_journal, j, result);
        bus_face_job_removed(m->bus_face, j, result);
}

/* ---- the end that is asked for ---- */

int manager_exit(Manager *m) {
        struct lh_entry *e;
        Process *p;

        if (m->exiting)
                return 0;

        m->exiting = true;
        request_journal_clear(m->request_journal);
        (void) sd_notify(false, "STOPPING=1");
        lh_foreach(m->apps, e)
                app_cancel_starts(lh_entry_v(e));
        MANAGER_FOREACH_INCARNATION(p, m)
                process_event(p, PROCESS_EVENT_DOWN);
        manager_wake(m);
        return 0;
}

/* Who gave us a socket to be notified at, and keeps our descriptors, starts us again. */
static int on_quiet(sd_event_source *s, void *userdata) {
        Manager *m = ASSERT_PTR(userdata);

        if (fd_store_get_pending(m->fd_store) > 0)
                return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
        m->exit_status = PMD_EXIT_REEXECUTE;
        return sd_event_exit(m->event, 0);
}

int manager_reexecute(Manager *m) {
        int r;

        if (m->exiting || m->stopping)
                return -ESHUTDOWN;
        if (!fd_store_is_kept(m->fd_store))
                return -EOPNOTSUPP;
        if (m->reexecute_source)
                return 0;

        /* After the answer, and what else is to be done in this turn. */
        r = sd_event_add_defer(m->event, &m->reexecute_source, on_quiet, m);
        if (r >= 0)
                r = sd_event_source_set_priority(m->reexecute_source, SD_EVENT_PRIORITY_IDLE);
        if (r < 0)
                return r;
        log_info("Ending, to be started again. The apps run on.");
        return 0;
}

/* ---- start-up and shutdown ---- */

static int on_signal_exit(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        Manager *m = ASSERT_PTR(userdata);

        /* Scopes go on without pmd, and the next one takes them over; where pmd is all there is, it takes its apps along. */
        if (streq(m->runner->vtable->name, "scope")) {
                log_info("Got SIG%s, leaving the apps to the next pmd.", strna(sigabbrev_np((int) si->ssi_signo)));
                return sd_event_exit(m->event, 0);
        }

        log_info("Got SIG%s, stopping all apps.", strna(sigabbrev_np((int) si->ssi_signo)));
        manager_boot_forget(m);
        return manager_exit(m);
}

static int on_signal_done(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        Manager *m = ASSERT_PTR(userdata);

        m->exit_when_done = true;
        manager_wake(m);
        return 0;
}

static int on_signal_reopen(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        Manager *m = ASSERT_PTR(userdata);

        (void) log_relay_reopen_files(m->log_relay);
        return 0;
}

static int on_signal_reload(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        Manager *m = ASSERT_PTR(userdata);
        int r;

        r = manager_load_settings(m);
        if (r < 0)
                log_warning_errno(r, "Failed to read the settings again, ignoring: %m");
        (void) log_relay_reopen_files(m->log_relay);
        return 0;
}

static int add_signals(Manager *m) {
        const struct {
                int signo;
                sd_event_signal_handler_t handler;
                sd_event_source **source;
        } signals[] = {
                { SIGTERM, on_signal_exit, &m->sigterm_source },
                { SIGINT, on_signal_exit, &m->sigint_source },
                { SIGHUP, on_signal_reload, &m->sighup_source },
                { SIGUSR2, on_signal_reopen, &m->sigusr2_source },
                { SIGRTMIN + 1, on_signal_done, &m->sigdone_source },
        };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(signals); i++) {
                r = sd_event_add_signal(m->event, signals[i].source, signals[i].signo, signals[i].handler, m);
                if (r < 0)
                        return r;
        }
        return 0;
}

int manager_new(Instance *instance, Manager **ret) {
        _cleanup_(manager_freep) Manager *m = NULL;
        ProcStat init = {};
        int r;

        m = new0(Manager, 1);
        if (!m) {
                instance_free(instance);
                return -ENOMEM;
        }
        m->instance = instance;
        m->lock_fd = -EBADF;
        m->uid = geteuid();
        if (proc_read_stat(1, &init) >= 0)
                m->init_start_time = init.start_time;
        m->log_to_journal = instance->scope != INSTANCE_PRIVATE;

        m->apps = lh_kchar_table_new(16, NULL);
        if (!m->apps)
                return -ENOMEM;

        r = state_slots_new(instance->runtime_dir, &m->state_slots);
        if (r >= 0)
                r = definition_file_new(instance->runtime_dir, &m->definition_file);
        if (r < 0)
                return r;

        r = sd_event_new(&m->event);
        if (r < 0)
                return r;
        (void) sd_event_set_watchdog(m->event, true);
        r = triggers_new(m, &m->triggers);
        if (r < 0)
                return r;

        r = sd_event_add_defer(m->event, &m->dispatch_source, on_dispatch, m);
        if (r >= 0)
                r = sd_event_source_set_enabled(m->dispatch_source, SD_EVENT_OFF);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(m);
        return 0;
}

static Process *process_of_main(const Manager *m, pid_t pid) {
        Process *p;

        MANAGER_FOREACH_INCARNATION(p, m)
                if (p->main.pid == pid)
                        return p;
        return NULL;
}

static bool is_main(pid_t pid, void *userdata) {
        return process_of_main(userdata, pid);
}

static void on_exit_told(pid_t pid, void *userdata) {
        Process *p = process_of_main(userdata, pid);

        if (p)
                process_check_exit(p);
}

static int start_runner(Manager *m, const char *name) {
        sd_bus *bus = bus_face_get_bus(m->bus_face);
        int r;

        if (bus) {
                r = systemd_client_new(bus, &m->systemd);
                if (r < 0)
                        return log_error_errno(r, "Failed to set up the connection to systemd: %m");
        }

        r = runner_new(m->event, m->systemd, m->instance->scope, name, &m->runner);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the runner%s%s: %m", name ? " " : "", strempty(name));

        if (m->systemd && m->runner->vtable == &runner_scope_vtable) {
                r = manager_watch_systemd(m);
                if (r < 0)
                        return log_error_errno(r, "Failed to watch the service manager: %m");
        }

        r = runner_set_reaper(m->runner, is_main, on_exit_told, m);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the reaping of orphans: %m");

        log_info("Keeping the processes of apps together by %s.", m->runner->vtable->name);
        return 0;
}

int manager_startup(Manager *m, const char *runner_name) {
        int r;

        r = instance_make_directories(m->instance);
        if (r < 0)
                return log_error_errno(r, "Failed to make the directories below %s: %m", m->instance->home);
        r = manager_take_lock(m);
        if (r < 0)
                return r;
        r = manager_load_settings(m);
        if (r < 0)
                return log_error_errno(r, "Failed to read the settings: %m");
        manager_use_settings_of_start(m);
        r = add_signals(m);
        if (r < 0)
                return log_error_errno(r, "Failed to watch for signals: %m");
        r = fd_store_new(m->event, &m->fd_store);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the store of descriptors: %m");
        r = spawner_new(&m->spawner);
        if (r < 0)
                return log_error_errno(r, "Failed to prepare for children: %m");
        r = fd_store_set_sent(m->fd_store, on_descriptors_stored, m);
        if (r < 0)
                return log_error_errno(r, "Failed to follow the store of descriptors: %m");
        m->with_bags = fd_bag_is_harmless();
        r = keeper_exits_new(m->event, fd_store_take(m->fd_store, KEEPER_EXITS), on_exit_told, m, &m->keeper_exits);
        if (r < 0)
                return log_error_errno(r, "Failed to listen to the keeper: %m");
        r = log_relay_new(m->event, &m->log_relay);
        if (r < 0)
                return log_error_errno(r, "Failed to start the log thread: %m");
        r = oom_log_new(&m->oom_log);
        if (r < 0)
                return log_oom();
        r = bus_face_new(m, &m->bus_face);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the bus: %m");
        r = start_runner(m, runner_name);
        if (r < 0)
                return r;
        r = request_journal_new(m, &m->request_journal);
        if (r < 0)
                return log_oom();
        r = manager_readopt(m);
        if (r < 0)
                return log_error_errno(r, "Failed to take over the processes of the pmd before from %s: %m", m->instance->runtime_dir);
        if (m->first_process_id == 0)
                (void) fd_store_drop_rest(m->fd_store);
        r = bus_face_start(m->bus_face);
        if (r < 0)
                return log_error_errno(r, "Failed to serve: %m");
        /* Without it, what somebody removes stays so. */
        (void) manager_watch_runtime(m);
        manager_repair_log(m);
        return 0;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;

        sd_bus_message_unref(m->exit_message);
        LIST_FOREACH(dirty_queue, p, m->dirty_processes)
                save_process(p);
        for (Process *p; (p = m->hidden_processes);) {
                LIST_REMOVE(hidden, m->hidden_processes, p);
                if (p->in_dirty_queue)
                        LIST_REMOVE(dirty_queue, m->dirty_processes, p);
                process_free(p);
        }
        while (m->n_processes > 0)
                manager_remove_process(m, m->processes[m->n_processes - 1]);
        free(m->processes);
        m->request_journal = request_journal_free(m->request_journal);
        if (m->apps)
                for (struct lh_entry *e; (e = lh_table_head(m->apps));)
                        manager_remove_app(m, lh_entry_v(e));
        lh_table_free(m->apps);
        triggers_free(m->triggers);

        state_slots_free(m->state_slots);
        definition_file_free(m->definition_file);
        store_writer_free(m->store_writer);
        free(m->node_drain);
        sd_bus_slot_unref(m->boot_slot);
        conf_done(&m->settings);
        runner_free(m->runner);
        systemd_client_free(m->systemd);
        while (m->actions)
                app_action_free(m->actions);
        manager_unwatch_runtime(m);
        bus_face_free(m->bus_face);
        log_relay_free(m->log_relay);
        oom_log_free(m->oom_log);
        keeper_exits_free(m->keeper_exits);
        fd_store_free(m->fd_store);
        spawner_free(m->spawner);

        sd_event_source_unref(m->reexecute_source);
        sd_event_source_unref(m->dispatch_source);
        sd_event_source_unref(m->save_again_source);
        sd_event_source_unref(m->sigterm_source);
        sd_event_source_unref(m->sigint_source);
        sd_event_source_unref(m->sighup_source);
        sd_event_source_unref(m->sigusr2_source);
        sd_event_source_unref(m->sigdone_source);
        sd_event_unref(m->event);

        safe_close(m->lock_fd);
        instance_free(m->instance);
        return mfree(m);
}
