/* SPDX-License-Identifier: MIT */
#include "pmd/app.h"
#include "pmd/bus-polkit.h"
#include "pmd/bus-request.h"
#include "pmd/event-log.h"
#include "pmd/manager-log-bus.h"
#include "pmd/manager.h"

int method_reopen_logs(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        int r;

        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;
        r = log_relay_reopen_files(m->log_relay);
        if (r < 0)
                return r;
        return sd_bus_reply_method_return(message, NULL);
}

int method_flush_logs(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_free_ Process **processes = NULL;
        _cleanup_free_ uint32_t *ids = NULL;
        Manager *m = ASSERT_PTR(userdata);
        const App *flushed = NULL;
        size_t n;
        int r;

        r = bus_request_read_targets(m, message, true, &processes, &n, reterr);
        if (r < 0)
                return r;
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        ids = new(uint32_t, n);
        if (!ids)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                r = process_flush_log(processes[i]);
                if (r < 0)
                        return r;
                if (processes[i]->app != flushed)
                        event_log_flushed(m, processes[i]->app->name);
                flushed = processes[i]->app;
                ids[i] = processes[i]->id;
        }
        return bus_request_reply_u32_array(message, ids, n);
}
