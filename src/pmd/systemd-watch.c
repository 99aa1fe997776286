/* SPDX-License-Identifier: MIT */
#include "pmd/systemd-client-internal.h"
#include "shared/log.h"
#include "shared/string-util.h"

/* What others have the manager do. */

/* Every way to end passes through it, that of a user's manager as well. */
#define SHUTDOWN_TARGET "shutdown.target"

static int on_job_new(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        SystemdClient *c = ASSERT_PTR(userdata);
        const char *unit;
        int r;

        r = sd_bus_message_read(m, "uos", NULL, NULL, &unit);
        if (r < 0) {
                log_debug_errno(r, "Failed to read JobNew, ignoring: %m");
                return 0;
        }

        if (streq(unit, SHUTDOWN_TARGET))
                c->watch->stopping(true, c->watch_userdata);
        else if (endswith(unit, ".scope"))
                c->watch->scope_job(unit, c->watch_userdata);
        return 0;
}

static int on_watched_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        SystemdClient *c = ASSERT_PTR(userdata);
        const char *unit, *result;
        int r;

        r = sd_bus_message_read(m, "uoss", NULL, NULL, &unit, &result);
        if (r < 0) {
                log_debug_errno(r, "Failed to read JobRemoved, ignoring: %m");
                return 0;
        }

        if (streq(unit, SHUTDOWN_TARGET) && !streq(result, "done"))
                c->watch->stopping(false, c->watch_userdata);
        return 0;
}

int systemd_client_watch(SystemdClient *c, const SystemdWatch *watch, void *userdata) {
        int r;

        c->watch = watch;
        c->watch_userdata = userdata;
        r = client_match(c, &c->watch_new_slot, "JobNew", on_job_new);
        if (r < 0)
                return r;
        r = client_match(c, &c->watch_removed_slot, "JobRemoved", on_watched_job_removed);
        return r < 0 ? r : client_subscribe(c);
}

int systemd_client_ask_stopping(SystemdClient *c, sd_bus_message_handler_t told, void *userdata, sd_bus_slot **ret) {
        return sd_bus_call_method_async(c->bus, ret, SYSTEMD_NAME, SYSTEMD_PATH, "org.freedesktop.DBus.Properties", "Get",
                        told, userdata, "ss", SYSTEMD_MANAGER, "SystemState");
}

bool systemd_client_read_stopping(sd_bus_message *answer) {
        const char *state;
        int r;

        if (sd_bus_message_is_method_error(answer, NULL)) {
                log_debug("Failed to get the state of the service manager, ignoring: %s", sd_bus_message_get_error(answer)->message);
                return false;
        }

        r = sd_bus_message_read(answer, "v", "s", &state);
        if (r < 0) {
                log_debug_errno(r, "Failed to read the state of the service manager, ignoring: %m");
                return false;
        }
        return streq(state, "stopping");
}

bool systemd_client_is_connected(const SystemdClient *c) {
        return sd_bus_is_open(c->bus) > 0;
}
