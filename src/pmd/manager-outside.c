/* SPDX-License-Identifier: MIT */
#include "pmd/manager-outside.h"

#include "pmd/manager.h"
#include "pmd/process.h"
#include "pmd/systemd-client.h"
#include "shared/log.h"

void manager_set_stopping(Manager *m, bool stopping) {
        if (m->stopping == stopping)
                return;

        m->stopping = stopping;
        log_info(stopping ? "The service manager is about to end; what it ends before us is not started again." :
                            "The service manager does not end after all.");
        for (size_t i = 0; i < m->n_processes; i++)
                process_hold(m->processes[i], stopping);
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
