/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <json-c/linkhash.h>
#include <systemd/sd-daemon.h>

#include "pmd/app.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/log.h"

/* As shells say it. */
#define STATUS_NOT_EXECUTABLE 126
#define STATUS_NOT_FOUND 127
#define STATUS_SIGNAL 128

static bool is_over(const Process *p) {
        return IN_SET(p->state, PROCESS_STOPPED, PROCESS_ERRORED);
}

static bool all_are_over(Manager *m) {
        struct lh_entry *e;

        if (m->hidden_processes)
                return false;
        for (size_t i = 0; i < m->n_processes; i++)
                if (!is_over(m->processes[i]))
                        return false;
        /* What a job is about to start, or cron, is stopped yet. */
        lh_foreach(m->apps, e) {
                const App *a = lh_entry_v(e);

                if (a->job || a->waiting_jobs || a->cron)
                        return false;
        }
        return true;
}

static int status_of(const Process *p) {
        const LastExit *x = &p->last_exit;

        switch (x->reason) {
        case EXIT_REASON_NONE:
                return EXIT_SUCCESS;
        case EXIT_REASON_EXEC_FAILED:
                return p->spawn_error == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
        case EXIT_REASON_SPAWN_FAILED:
        case EXIT_REASON_UNKNOWN:
                return EXIT_FAILURE;
        default:
                return x->signal > 0 ? STATUS_SIGNAL + x->signal : x->code;
        }
}

/* That of the only app, or of the first that did not end well. */
static int exit_status(const Manager *m) {
        for (size_t i = 0; i < m->n_processes; i++)
                if (status_of(m->processes[i]) != EXIT_SUCCESS)
                        return status_of(m->processes[i]);
        return EXIT_SUCCESS;
}

void manager_check_done(Manager *m) {
        if (!m->exit_when_done || m->exiting || !all_are_over(m))
                return;

        m->exit_status = exit_status(m);
        log_info("No app runs any more, ending with status %d.", m->exit_status);
        (void) sd_notifyf(false, "EXIT_STATUS=%d", m->exit_status);
        (void) manager_exit(m);
}
