/* SPDX-License-Identifier: MIT */
#include "pmd/manager-outside.h"

#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/systemd-client.h"
#include "shared/log.h"

const char *manager_hold_reason(const Manager *m) {
        return m->stopping ? "the machine is going down" : m->without_systemd ? "the service manager cannot be reached" : NULL;
}

static void hold_all(Manager *m) {
        for (size_t i = 0; i < m->n_processes; i++)
                process_hold(m->processes[i], manager_hold_reason(m));
}

void manager_set_stopping(Manager *m, bool stopping) {
        if (m->stopping == stopping)
                return;

        m->stopping = stopping;
        log_info(stopping ? "The service manager is about to end; what it ends before us is not started again." :
                            "The service manager does not end after all.");
        hold_all(m);
}

void manager_hold_without_systemd(Manager *m) {
        m->without_systemd = true;
        hold_all(m);
}

static void on_scope_job(const char *unit, void *userdata) {
        Manager *m = ASSERT_PTR(userdata);

        for (size_t i = 0; i < m->n_processes; i++)
                process_unit_job_seen(m->processes[i], unit);
}

static void on_stopping(bool stopping, void *userdata) {
        manager_set_stopping(ASSERT_PTR(userdata), stopping);
}

int manager_watch_systemd(Manager *m) {
        static const SystemdWatch watch = {
                .scope_job = on_scope_job,
                .stopping = on_stopping,
        };

        return systemd_client_watch(m->systemd, &watch, m);
}
