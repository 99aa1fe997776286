/* SPDX-License-Identifier: MIT */
#include "pmd/app.h"
#include "pmd/bus-polkit.h"
#include "pmd/bus-request.h"
#include "pmd/event-log.h"
#include "pmd/log-relay.h"
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

/* A call that is answered when the files are empty. */
typedef struct FlushCall {
        sd_bus_message *message;
        uint32_t *ids;
        size_t n;
} FlushCall;

static FlushCall *flush_call_free(FlushCall *c) {
        if (!c)
                return NULL;
        sd_bus_message_unref(c->message);
        free(c->ids);
        return mfree(c);
}
DEFINE_CLEANUP_FUNC(FlushCall *, flush_call_free);

static void on_flushed(void *userdata) {
        _cleanup_(flush_call_freep) FlushCall *c = ASSERT_PTR(userdata);

        (void) bus_request_reply_u32_array(c->message, c->ids, c->n);
}

/* Takes ids. */
static int reply_when_flushed(Manager *m, sd_bus_message *message, uint32_t *ids, size_t n) {
        _cleanup_(flush_call_freep) FlushCall *c = new0(FlushCall, 1);
        int r;

        if (!c) {
                free(ids);
                return -ENOMEM;
        }
        *c = (FlushCall) { sd_bus_message_ref(message), ids, n };
        r = log_relay_sync(m->log_relay, on_flushed, c);
        if (r < 0)
                return r;
        TAKE_PTR(c);
        return 1;
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
        return reply_when_flushed(m, message, TAKE_PTR(ids), n);
}
