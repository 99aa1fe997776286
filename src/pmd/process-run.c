/* SPDX-License-Identifier: MIT */
#include <sys/wait.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "pmd/process-run-internal.h"

#include "pmd/app-sockets.h"
#include "pmd/app-triggers.h"
#include "pmd/app.h"
#include "pmd/credentials.h"
#include "pmd/event-bus.h"
#include "pmd/event-log.h"
#include "pmd/fd-store.h"
#include "pmd/input-pipe.h"
#include "pmd/keeper-exits.h"
#include "pmd/manager-outside.h"
#include "pmd/manager.h"
#include "pmd/node-channel.h"
#include "pmd/process-history.h"
#include "pmd/process-report.h"
#include "pmd/process-serialize.h"
#include "pmd/process.h"
#include "pmd/runner.h"
#include "pmd/spawner.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/string-util.h"

/* Who reaps a process that is not ours needs less; what was killed is to be known to have ended before its kill_timeout is over. */
#define REAP_PATIENCE_USEC (50 * USEC_PER_MSEC)

/* The host of process.c for real: forks, signals, waits and drains. */

static usec_t run_now(Process *p) {
        return now(CLOCK_MONOTONIC);
}

static void run_changed(Process *p, ProcessField fields) {
        event_log_process(p, fields);
        event_bus_process_changed(p, fields);
        process_history_changed(p, fields);
        if (fields & PROCESS_FIELD_STATUS)
                process_update_watchdog(p);
        p->dirty |= fields;
        manager_enqueue_changed(p->manager, p);
        if (fields & PROCESS_FIELD_STATUS && p->role == PROCESS_CURRENT)
                app_triggers_process_changed(p);
}

void process_mark_new(Process *p) {
        p->dirty |= PROCESS_FIELD_ALL;
        manager_enqueue_changed(p->manager, p);
        app_triggers_process_changed(p);
}

static void run_reconfigured(Process *p, const AppConfig *before) {
        if (p->role == PROCESS_CURRENT)
                app_triggers_reconfigure(p, before);
}

static void run_settled(Process *p) {
        if (p->app->job)
                manager_enqueue_job_check(p->manager, p->app->job);
        manager_process_settled(p->manager);
        app_release_listeners(p->app);
        app_release_sockets(p->app);
}

/* ---- the timer ---- */

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Process *p = ASSERT_PTR(userdata);

        process_event(p, PROCESS_EVENT_TIMER);
        return 0;
}

static void run_arm_timer(Process *p, usec_t at) {
        int r;

        if (at == USEC_INFINITY) {
                if (p->timer_source)
                        (void) sd_event_source_set_enabled(p->timer_source, SD_EVENT_OFF);
                return;
        }

        if (!p->timer_source)
                r = sd_event_add_time(p->manager->event, &p->timer_source, CLOCK_MONOTONIC, at, 1000, on_timer, p);
        else {
                r = sd_event_source_set_time(p->timer_source, at);
                if (r >= 0)
                        r = sd_event_source_set_enabled(p->timer_source, SD_EVENT_ONESHOT);
        }
        if (r < 0)
                log_error_errno(r, "Failed to arm the timer of process %u, ignoring: %m", p->id);
}

static usec_t run_take_restart(Process *p) {
        return restart_budget_take(&p->manager->restart_budget, run_now(p), p->manager->spawn_usec);
}

/* ---- the end of an incarnation ---- */

/* Before the child has executed its program, or has ended, it is still there. */
static void release_place(Process *p, bool gone) {
        p->spawn_place = spawn_place_release(p->spawn_place, gone ? -EBADF : p->main.fd);
}

static void release_incarnation(Process *p) {
        process_oom_end(p);
        process_forget_outside(p);
        p->attached_waits = false;
        process_unwatch_main(p);
        p->error_source = sd_event_source_disable_unref(p->error_source);
        p->gate_fd = safe_close(p->gate_fd);
        p->error_fd = safe_close(p->error_fd);
        release_place(p, false);
        p->unit = runner_unit_free(p->unit);
        p->unit_empty = false;
        pidref_done(&p->main);
        p->main = PIDREF_NULL;

        for (size_t k = 0; k < ELEMENTSOF(p->streams); k++)
                if (p->streams[k] != 0)
                        (void) log_relay_forget(p->manager->log_relay, TAKE_GENERIC(p->streams[k], 0));
}

/* It has ended, or never came to be: what others, or the store, have of it goes as well. */
static void end_incarnation(Process *p) {
        process_close_notify(p);
        process_close_input(p);
        process_close_channel(p);
        release_incarnation(p);
}

static int on_drained(sd_event_source *s, void *userdata) {
        Process *p = ASSERT_PTR(userdata);

        process_unstore_incarnation(p);
        end_incarnation(p);
        process_event(p, PROCESS_EVENT_DRAINED);
        return 0;
}

/* From an event source of its own: the state machine must not be entered from within one of its own operations. */
void process_check_drained(Process *p) {
        int r;

        if (p->state != PROCESS_DRAINING || p->outside_slot || !p->unit_empty || p->streams[LOG_STREAM_OUT] != 0 || p->streams[LOG_STREAM_ERR] != 0)
                return;

        if (!p->drained_source) {
                r = sd_event_add_defer(p->manager->event, &p->drained_source, on_drained, p);
                if (r < 0) {
                        log_oom();
                        return;
                }
        } else
                (void) sd_event_source_set_enabled(p->drained_source, SD_EVENT_ONESHOT);
}

static void on_stream_closed(uint64_t stream, void *userdata) {
        Process *p = ASSERT_PTR(userdata);

        for (size_t k = 0; k < ELEMENTSOF(p->streams); k++)
                if (p->streams[k] == stream) {
                        p->streams[k] = 0;
                        process_unstore_stream(p, (LogStreamKind) k);
                }
        process_check_drained(p);
}

int process_follow_stream(Process *p, LogStreamKind kind, int read_fd) {
        return process_relay_stream(p, kind, read_fd, on_stream_closed);
}

static void on_unit_empty(RunnerUnit *u) {
        Process *p = ASSERT_PTR(u->userdata);

        p->unit_empty = true;
        process_check_drained(p);
}

static void run_drain(Process *p) {
        int r;

        if (p->role == PROCESS_CURRENT)
                process_remove_pid_file(p);
        if (!p->restart_wanted)
                process_ask_outside(p);

        r = runner_unit_drain(p->unit);
        if (r < 0) {
                log_warning_errno(r, "Failed to watch what process %u left behind, ignoring: %m", p->id);
                p->unit_empty = true;
        }
        if (!p->unit_empty)
                (void) runner_unit_signal(p->unit, p->config->kill_signal);
        process_check_drained(p);
}

static void run_give_up_drain(Process *p) {
        if (!p->unit_empty || p->streams[LOG_STREAM_OUT] != 0 || p->streams[LOG_STREAM_ERR] != 0)
                log_warning("Process %u (%s) left processes behind that cannot be ended; going on without them.", p->id, p->config->name);

        process_forget_outside(p);
        p->unit_empty = true;
        for (size_t k = 0; k < ELEMENTSOF(p->streams); k++)
                if (p->streams[k] != 0)
                        (void) log_relay_give_up(p->manager->log_relay, p->streams[k]);
        process_check_drained(p);
}

/* ---- signals ---- */

int process_signal(Process *p, int signo, bool whole_unit) {
        int r;

        if (!process_is_running(p) || !pidref_is_set(&p->main))
                return -ESRCH;
        FAULT_BEFORE(SIGNAL);
        r = whole_unit ? runner_unit_signal(p->unit, signo) : pidref_kill(&p->main, signo);
        FAULT_AFTER(SIGNAL);
        return r;
}

static bool run_ask_to_finish(Process *p) {
        bool told = process_ask_by_message(p);

        return process_send_disconnect(p, told ? 0 : p->config->kill_signal) >= 0 || told;
}

static void run_ask_to_end(Process *p) {
        int r;

        if (process_ask_by_message(p))
                return;
        r = process_signal(p, p->config->kill_signal, p->config->treekill);
        if (r < 0 && r != -ESRCH)
                log_warning_errno(r, "Failed to signal process %u, ignoring: %m", p->id);
}

static void run_abort(Process *p) {
        int r;

        r = pidref_kill(&p->main, SIGABRT);
        if (r < 0 && r != -ESRCH)
                log_warning_errno(r, "Failed to signal process %u, ignoring: %m", p->id);
}

static void run_kill(Process *p) {
        int r;

        FAULT_BEFORE(KILL);
        /* At the gate the child may not be in its unit yet. */
        if (process_is_running(p))
                (void) pidref_kill(&p->main, SIGKILL);
        r = p->unit ? runner_unit_kill(p->unit) : 0;
        FAULT_AFTER(KILL);
        if (r < 0 && r != -ESRCH)
                log_warning_errno(r, "Failed to kill process %u, ignoring: %m", p->id);
}

/* ---- the life of the main process ---- */

/* Whether the child has executed its program, as far as it is known now. */
static void check_exec(Process *p) {
        SpawnStep step;
        int r;

        r = spawn_read_error(p->error_fd, &step);
        if (r == 0)
                return;

        p->error_source = sd_event_source_disable_unref(p->error_source);
        p->error_fd = safe_close(p->error_fd);
        release_place(p, r > 0);

        if (r > 0) {
                if (p->role == PROCESS_CURRENT)
                        process_write_pid_file(p);
                process_event(p, PROCESS_EVENT_EXEC_OK);
                return;
        }

        p->spawn_error = r;
        p->spawn_failed_step = step;
        process_event(p, PROCESS_EVENT_EXEC_FAILED);
}

void process_check_exec(Process *p) {
        if (p->error_fd >= 0 && p->gate_fd < 0)
                check_exec(p);
}

static int on_error_pipe(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Process *p = ASSERT_PTR(userdata);

        check_exec(p);
        return 0;
}

static LastExit last_exit_from_siginfo(Process *p, const siginfo_t *si) {
        if (process_oom_killed_main(p, si))
                return (LastExit) { -1, SIGKILL, EXIT_REASON_OOM_KILL };
        if (p->watchdog_missed && si->si_code != CLD_EXITED)
                return (LastExit) { -1, si->si_status, EXIT_REASON_WATCHDOG };
        if (p->watchdog_missed)
                return (LastExit) { si->si_status, 0, EXIT_REASON_WATCHDOG };
        if (si->si_code == CLD_EXITED)
                return (LastExit) { si->si_status, 0, EXIT_REASON_EXITED };
        if (si->si_code == CLD_DUMPED)
                return (LastExit) { -1, si->si_status, EXIT_REASON_CORE_DUMP };
        if (si->si_status == SIGKILL && p->state == PROCESS_KILLING && p->reached_online)
                return (LastExit) { -1, si->si_status, EXIT_REASON_KILL_TIMEOUT };
        return (LastExit) { -1, si->si_status, EXIT_REASON_SIGNAL };
}

static LastExit last_exit_unseen(Process *p) {
        if (process_oom_killed_main(p, NULL))
                return (LastExit) { -1, SIGKILL, EXIT_REASON_OOM_KILL };
        return (LastExit) { -1, 0, EXIT_REASON_UNKNOWN };
}

/* 1: known. 0: it has not been reaped yet. < 0: nobody can tell any more. */
static int get_exit(const Process *p, siginfo_t *ret) {
        int r;

        r = pidref_wait(&p->main, ret);
        if (r == -ECHILD)
                r = pidref_get_exit(&p->main, ret);
        return r == -EOPNOTSUPP ? keeper_exits_get(p->manager->keeper_exits, &p->main, ret) : r;
}

static bool found_gate_closed(const Process *p, const siginfo_t *si) {
        return p->gate_unsure && si->si_code == CLD_EXITED && si->si_status == SPAWN_EXIT_GATE_CLOSED;
}

/* si: how, NULL: nobody can tell. */
static void main_exited(Process *p, const siginfo_t *si) {
        process_unwatch_main(p);
        if (si && found_gate_closed(p, si))
                p->restart_wanted = p->goal == PROCESS_UP; /* nothing of the app ran: this does not count */
        else if (p->spawn_error >= 0)
                p->last_exit = si ? last_exit_from_siginfo(p, si) : last_exit_unseen(p);
        process_event(p, PROCESS_EVENT_EXITED);
}

static int on_reap_timeout(sd_event_source *s, uint64_t usec, void *userdata) {
        Process *p = ASSERT_PTR(userdata);
        siginfo_t si = {};
        int r;

        p->reap_source = sd_event_source_disable_unref(p->reap_source);
        r = get_exit(p, &si);
        if (r == 0)
                r = pidref_get_zombie_exit(&p->main, &si);
        if (r != 0)
                main_exited(p, r > 0 ? &si : NULL);
        return 0;
}

/* It was the child of a pmd that has ended; its new parent is about to reap it, and then there is EPOLLHUP. Or a debugger has to be told first,
 * and then there is SIGCHLD. But where there is no keeper any more the new parent may be a process 1 that reaps nobody. */
static int wait_for_reaping(Process *p) {
        int r;

        r = sd_event_source_set_io_events(p->exit_source, 0);
        if (r < 0 || p->reap_source)
                return r;
        return sd_event_add_time_relative(p->manager->event, &p->reap_source, CLOCK_MONOTONIC, REAP_PATIENCE_USEC, 0, on_reap_timeout, p);
}

static int on_main_exit(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Process *p = ASSERT_PTR(userdata);
        siginfo_t si = {};
        int r;

        /* Both became readable in this turn of the loop: what happened first must be told first. */
        process_check_exec(p);

        r = get_exit(p, &si);
        if (r == 0)
                return wait_for_reaping(p);
        main_exited(p, r > 0 ? &si : NULL);
        return 0;
}

void process_unwatch_main(Process *p) {
        p->exit_source = sd_event_source_disable_unref(p->exit_source);
        p->reap_source = sd_event_source_disable_unref(p->reap_source);
}

int process_watch_main(Process *p) {
        return sd_event_add_io(p->manager->event, &p->exit_source, p->main.fd, EPOLLIN, on_main_exit, p);
}

void process_check_exit(Process *p) {
        if (p->exit_source && !pidref_is_alive(&p->main))
                (void) on_main_exit(p->exit_source, p->main.fd, 0, p);
}

static int run_open_gate(Process *p) {
        int r;

        p->gate_opened = true;
        r = process_save(p);
        if (r < 0)
                log_warning_errno(r, "Failed to save what is known of process %u, ignoring: %m", p->id);
        else {
                p->saved_at_gate = true;
                p->unsaved = false;
        }

        p->gate_fd = spawn_open_gate(TAKE_FD(p->gate_fd), p->unit->invocation_id);

        r = sd_event_add_io(p->manager->event, &p->error_source, p->error_fd, EPOLLIN, on_error_pipe, p);
        if (r < 0)
                return log_error_errno(r, "Failed to watch the start of process %u: %m", p->id);
        return 0;
}

static void on_attached(RunnerUnit *u, int error) {
        Process *p = ASSERT_PTR(u->userdata);

        if (error < 0) {
                log_warning_errno(error, "Failed to put process %u into %s: %m", p->id, u->name);
                if (p->state == PROCESS_SPAWNING)
                        p->spawn_error = error;
                process_event(p, PROCESS_EVENT_ATTACH_FAILED);
                return;
        }

        process_oom_begin(p);
        run_changed(p, PROCESS_FIELD_PID);
        error = process_check_limits(p);
        if (error < 0) {
                p->spawn_error = error;
                process_event(p, PROCESS_EVENT_ATTACH_FAILED);
                return;
        }

        for (size_t k = 0; k < ELEMENTSOF(p->streams); k++)
                if (p->streams[k] != 0)
                        (void) log_relay_set_pid(p->manager->log_relay, p->streams[k], p->main.pid, u->name);
        p->attached_waits = true;
        process_go_on_when_stored(p);
}

void process_go_on_when_stored(Process *p) {
        if (!p->attached_waits || fd_store_is_behind(p->manager->fd_store))
                return;
        p->attached_waits = false;
        process_event(p, PROCESS_EVENT_ATTACHED);
}

/* ---- spawning ---- */

int process_make_unit(Process *p) {
        int r;

        r = runner_unit_new(p->manager->runner, p->app->name, p->id, p->incarnation, p->config, &p->main, &p->unit);
        if (r < 0)
                return r;

        p->unit->on_attached = on_attached;
        p->unit->on_empty = on_unit_empty;
        p->unit->userdata = p;
        p->unit->mark = strjoin("unique_id=", p->unique_id);
        return p->unit->mark ? 0 : -ENOMEM;
}

/* The last one is a quarter of the figure, so that a slow one by accident matters little. */
static void note_duration(Manager *m, usec_t took) {
        m->spawn_usec = (3 * m->spawn_usec + took) / 4;
}

static int run_spawn(Process *p) {
        int r = TAKE_GENERIC(p->restore_error, 0);
        usec_t begin = run_now(p);

        if (r < 0)
                return log_warning_errno(r, "Process %u (%s) cannot be started: %s", p->id, p->config->name, p->start_fault);
        p->start_fault = mfree(p->start_fault);

        r = process_spawn_and_attach(p);
        note_duration(p->manager, usec_sub(run_now(p), begin));
        if (r < 0) {
                end_incarnation(p);
                return log_warning_errno(r, "Failed to spawn process %u (%s): %m", p->id, p->config->name);
        }

        run_changed(p, PROCESS_FIELD_PID);
        return 0;
}

const ProcessHostVTable process_run_host = {
        .now = run_now,
        .spawn = run_spawn,
        .open_gate = run_open_gate,
        .ask_to_finish = run_ask_to_finish,
        .ask_to_end = run_ask_to_end,
        .abort = run_abort,
        .kill = run_kill,
        .drain = run_drain,
        .give_up_drain = run_give_up_drain,
        .arm_timer = run_arm_timer,
        .take_restart = run_take_restart,
        .changed = run_changed,
        .reconfigured = run_reconfigured,
        .settled = run_settled,
};

/* ---- construction ---- */

static int process_make(Manager *m, App *app, AppConfig *config, unsigned id, unsigned instance, Process **ret) {
        _cleanup_(process_freep) Process *p = NULL;
        sd_id128_t uuid;
        int r;

        p = new0(Process, 1);
        if (!p)
                return -ENOMEM;
        process_init(p, &process_run_host, app, config, id, instance);
        p->manager = m;
        p->held = manager_hold_reason(m);
        p->created_realtime = now(CLOCK_REALTIME);

        r = sd_id128_randomize(&uuid);
        if (r < 0)
                return r;
        (void) sd_id128_to_uuid_string(uuid, p->unique_id);

        *ret = TAKE_PTR(p);
        return 0;
}

int process_new(Manager *m, App *app, AppConfig *config, unsigned id, unsigned instance, Process **ret) {
        _cleanup_(process_freep) Process *p = NULL;
        int r;

        r = process_make(m, app, config, id, instance, &p);
        if (r < 0)
                return r;
        r = process_look_up_user(p);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(p);
        return 0;
}

int process_new_restored(Manager *m, App *app, AppConfig *config, unsigned id, unsigned instance, int error, const char *fault, Process **ret) {
        _cleanup_(process_freep) Process *p = NULL;
        int r;

        r = process_make(m, app, config, id, instance, &p);
        if (r < 0)
                return r;

        p->restore_error = error;
        if (error < 0) {
                p->start_fault = strdup(fault);
                if (!p->start_fault)
                        return -ENOMEM;
        }

        *ret = TAKE_PTR(p);
        return 0;
}

Process *process_free(Process *p) {
        if (!p)
                return NULL;

        if (p->peer)
                p->peer->peer = NULL;
        release_incarnation(p);
        sd_event_source_disable_unref(p->timer_source);
        sd_event_source_disable_unref(p->drained_source);
        credentials_unref(p->credentials);
        log_counter_unref(p->log_dropped);
        app_config_unref(p->config);
        app_config_unref(p->next_config);
        app_config_unref(p->reload_config);
        free(p->start_fault);
        free(p->restart_trigger);
        oom_kill_done(&p->last_oom_kill);
        event_history_done(&p->events);
        free(p->status_text);
        process_report_free(p->report);
        input_pipe_free(p->input);
        sd_event_source_disable_unref(p->watchdog_source);
        notify_socket_free(p->notify);
        node_channel_free(p->channel);
        return mfree(p);
}
