/* SPDX-License-Identifier: MIT */
#include <signal.h>

#include "pmd/manager-outside.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/runner.h"
#include "pmd/systemd-client.h"
#include "shared/log.h"
#include "shared/string-util.h"

/* The service manager stops the unit of a process: somebody wants it to, or the machine goes down. From the end of the main process alone
 * that cannot be told from a crash, and the news of it may come later; so it is asked before the end has consequences. */

static void follow_stop(Process *p) {
        log_info("Process %u (%s) is being stopped by the service manager, as somebody asked it to.", p->id, p->config->name);
        process_event(p, PROCESS_EVENT_DOWN);
        p->restart_reason = "its scope was stopped by the service manager";
        p->host->changed(p, PROCESS_FIELD_COUNTERS);
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Process *p = ASSERT_PTR(userdata);

        p->outside_slot = sd_bus_slot_unref(p->outside_slot);

        if (systemd_client_read_stopping(m))
                manager_set_stopping(p->manager, true);
        else if (!systemd_client_is_connected(p->manager->systemd))
                manager_hold_without_systemd(p->manager);
        else if (p->unit_job_seen && p->goal == PROCESS_UP && !p->held)
                follow_stop(p);

        process_check_drained(p);
        return 0;
}

static void ask(Process *p) {
        int r;

        if (p->outside_slot || p->goal != PROCESS_UP || !p->manager->systemd || p->manager->runner->vtable != &runner_scope_vtable)
                return;

        r = systemd_client_ask_stopping(p->manager->systemd, on_answer, p, &p->outside_slot);
        if (r < 0)
                log_debug_errno(r, "Failed to ask for the state of the service manager, ignoring: %m");
}

/* A program may answer a stop by any exit status or signal, also by a crash in its handler; only SIGKILL comes so much later
 * than the stop that there is one would be known here. */
#define TOLD_WITHIN_USEC USEC_PER_SEC

static bool ended_as_if_asked(const Process *p) {
        return p->last_exit.signal != SIGKILL || p->unit_job_seen || p->config->kill_signal == SIGKILL ||
               p->config->kill_timeout < TOLD_WITHIN_USEC;
}

void process_ask_outside(Process *p) {
        if (ended_as_if_asked(p))
                ask(p);
}

void process_unit_job_seen(Process *p, const char *unit) {
        if (!p->unit || p->unit->stopped_by_us || !streq(p->unit->name, unit))
                return;
        /* The job that starts it is ours, and who is told to end already needs no second reason. */
        if (!IN_SET(p->state, PROCESS_STARTING, PROCESS_ONLINE, PROCESS_DRAINING))
                return;

        p->unit_job_seen = true;
        ask(p);
}

void process_forget_outside(Process *p) {
        p->outside_slot = sd_bus_slot_unref(p->outside_slot);
        p->unit_job_seen = false;
}

void process_hold(Process *p, const char *reason) {
        p->held = reason;
        if (!reason && p->state == PROCESS_BACKOFF && p->timer == PROCESS_TIMER_NONE)
                process_event(p, PROCESS_EVENT_TIMER);
}
