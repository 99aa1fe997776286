/* SPDX-License-Identifier: MIT */
#include "pmd/systemd-client.h"
#include "pmd/systemd-client-internal.h"
#include "shared/fault.h"
#include "shared/log.h"
#include "shared/string-util.h"

/* dbus-daemon ends a connection's calls at 128 without a reply. */
#define CALLS_IN_FLIGHT_MAX 64U
#define CALLS_QUEUED_MAX 16384U

static const char *const pid_passing_table[_PID_PASSING_MAX] = {
        [PID_PASSING_UNKNOWN] = "unknown",
        [PID_PASSING_PIDFD] = "pidfd",
        [PID_PASSING_PID] = "pid",
};

DEFINE_STRING_TABLE(PidPassing, pid_passing);

/* ---- calls ---- */

static Call *call_free(Call *call) {
        if (!call)
                return NULL;

        sd_bus_slot_unref(call->slot);
        sd_bus_message_unref(call->message);
        return mfree(call);
}

/* From the event loop, so that no callback comes from within the call that asked for it. */
void client_schedule(SystemdClient *c) {
        int r;

        r = sd_event_source_set_enabled(c->dispatch_source, SD_EVENT_ONESHOT);
        if (r < 0)
                log_debug_errno(r, "Failed to schedule calls to the service manager, ignoring: %m");
}

void client_end_call(SystemdClient *c, Call *call) {
        LIST_REMOVE(in_flight, c->in_flight, call);
        c->n_in_flight--;
        call_free(call);
        client_schedule(c);
}

/* One alone until it is known whether pidfds are taken, so that not 64 have to be said twice. */
static bool client_has_room(const SystemdClient *c) {
        return c->n_in_flight < (c->pid_passing == PID_PASSING_UNKNOWN ? 1 : CALLS_IN_FLIGHT_MAX);
}

static void client_add_in_flight(SystemdClient *c, Call *call) {
        LIST_PREPEND(in_flight, c->in_flight, call);
        c->n_in_flight++;
}

/* The manager is at work on it while the next child is spawned. What cannot be sent is left to the event loop, which tells of it. */
static bool client_start_now(SystemdClient *c, Call *call) {
        ScopeRef *s = call->scope;

        if (!s || c->queue_first || !client_has_room(c))
                return false;
        if (scope_send_start(s) < 0)
                return false;
        scope_set_phase(s, SCOPE_CALLING);
        client_add_in_flight(c, call);
        return true;
}

int client_enqueue(SystemdClient *c, sd_bus_message *m, ScopeRef *scope) {
        Call *call;

        if (c->n_queued >= CALLS_QUEUED_MAX)
                return -ENOBUFS;

        call = new0(Call, 1);
        if (!call)
                return -ENOMEM;
        call->client = c;
        call->message = sd_bus_message_ref(m);
        call->scope = scope;
        if (scope)
                scope->call = call;
        if (client_start_now(c, call))
                return 0;

        if (c->queue_last)
                c->queue_last->queue_next = call;
        else
                c->queue_first = call;
        c->queue_last = call;
        c->n_queued++;
        client_schedule(c);
        return 0;
}

static Call *client_dequeue(SystemdClient *c) {
        Call *call = c->queue_first;

        if (!call)
                return NULL;
        c->queue_first = call->queue_next;
        if (!c->queue_first)
                c->queue_last = NULL;
        call->queue_next = NULL;
        c->n_queued--;
        return call;
}

/* ---- the queue ---- */

static int on_call_reply(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Call *call = ASSERT_PTR(userdata);

        /* What is stopped or killed may have ended by itself; other things were asked for by somebody. */
        if (sd_bus_message_is_method_error(m, NULL))
                log_full_errno(streq(sd_bus_message_get_member(call->message), "SetUnitProperties") ? LOG_WARNING : LOG_DEBUG, 0,
                         "Call of %s failed, ignoring: %s",
                         sd_bus_message_get_member(call->message), sd_bus_message_get_error(m)->message);
        client_end_call(call->client, call);
        return 0;
}

static void client_begin_call(SystemdClient *c, Call *call) {
        ScopeRef *s = call->scope;
        int r;

        client_add_in_flight(c, call);
        if (s) {
                scope_set_phase(s, SCOPE_CALLING);
                r = scope_send_start(s);
                if (r < 0) {
                        log_debug_errno(r, "Failed to ask for the start of %s: %m", s->unit);
                        scope_fail(s, r);
                }
                return;
        }

        r = call->message ? sd_bus_call_async(c->bus, &call->slot, call->message, on_call_reply, call, 0) : -ECANCELED;
        if (r < 0) {
                if (call->message)
                        log_debug_errno(r, "Failed to call %s, ignoring: %m", sd_bus_message_get_member(call->message));
                client_end_call(c, call);
        }
}

static int on_dispatch(sd_event_source *source, void *userdata) {
        SystemdClient *c = ASSERT_PTR(userdata);

        while (c->queue_first && client_has_room(c))
                client_begin_call(c, client_dequeue(c));
        return 0;
}

static int client_call_manager(SystemdClient *c, const char *member, const char *types, ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        va_list ap;
        int r;

        r = sd_bus_message_new_method_call(c->bus, &m, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER, member);
        if (r < 0)
                return r;

        va_start(ap, types);
        r = sd_bus_message_appendv(m, types, ap);
        va_end(ap);
        if (r < 0)
                return r;

        return client_enqueue(c, m, NULL);
}

int systemd_client_stop_unit(SystemdClient *c, const char *unit) {
        int r;

        FAULT_BEFORE(SCOPE_STOP);
        r = client_call_manager(c, "StopUnit", "ss", unit, "replace");
        FAULT_AFTER(SCOPE_STOP);
        return r;
}

int systemd_client_kill_unit(SystemdClient *c, const char *unit, int signo) {
        return client_call_manager(c, "KillUnit", "ssi", unit, "all", (int32_t) signo);
}

/* ---- the connection ---- */

/* Starts whose reply has not come are ended by sd-bus, which answers every call that is under way with an error. */
static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        SystemdClient *c = ASSERT_PTR(userdata);
        bool again;

        log_debug("Lost the connection to the service manager.");
        do {
                again = false;
                LIST_FOREACH(in_flight, call, c->in_flight)
                        if (call->scope && call->scope->phase == SCOPE_WAITING) {
                                scope_fail(call->scope, -ENOTCONN);
                                again = true; /* the callback may have changed the list */
                                break;
                        }
        } while (again);
        return 0;
}

static int on_setup_reply(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        if (sd_bus_message_is_method_error(m, NULL))
                log_warning("Failed to subscribe to signals of the service manager, ignoring: %s",
                        sd_bus_message_get_error(m)->message);
        return 0;
}

int client_match(SystemdClient *c, sd_bus_slot **slot, const char *member, sd_bus_message_handler_t handler) {
        return sd_bus_match_signal_async(c->bus, slot, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER, member,
                        handler, on_setup_reply, c);
}

static int client_listen(SystemdClient *c) {
        int r;

        /* Before the first call: the number of a job is only known from its reply, and then the job may be over. */
        r = client_match(c, &c->job_removed_slot, "JobRemoved", on_job_removed);
        if (r < 0)
                return r;
        r = client_match(c, &c->reloading_slot, "Reloading", on_reloading);
        if (r < 0)
                return r;
        r = client_match(c, &c->unit_removed_slot, "UnitRemoved", on_unit_removed);
        if (r < 0)
                return r;
        return sd_bus_match_signal_async(c->bus, &c->disconnected_slot,
                        "org.freedesktop.DBus.Local", "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Disconnected",
                        on_disconnected, NULL, c);
}

/* Not before the first start: where pmd does without a service manager, none shall be activated. */
int client_subscribe(SystemdClient *c) {
        if (c->subscribe_slot)
                return 0;
        return sd_bus_call_method_async(c->bus, &c->subscribe_slot, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER, "Subscribe",
                        on_setup_reply, c, NULL);
}

int systemd_client_new(sd_bus *bus, SystemdClient **ret) {
        _cleanup_(systemd_client_freep) SystemdClient *c = NULL;
        sd_event *event;
        int r;

        event = sd_bus_get_event(bus);
        if (!event)
                return -EINVAL;

        c = new0(SystemdClient, 1);
        if (!c)
                return -ENOMEM;
        c->bus = sd_bus_ref(bus);
        c->event = sd_event_ref(event);
        c->scopes = lh_kchar_table_new(64, NULL);
        if (!c->scopes)
                return -ENOMEM;

        r = sd_event_add_defer(event, &c->dispatch_source, on_dispatch, c);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(c->dispatch_source, SD_EVENT_OFF);
        if (r < 0)
                return r;
        r = client_listen(c);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(c);
        return 0;
}

/* References outlive the client as empty ones; what nobody holds any more goes with it. */
static void client_detach_scopes(SystemdClient *c) {
        struct lh_entry *entry, *next;

        lh_foreach_safe(c->scopes, entry, next) {
                ScopeRef *s = (ScopeRef *) lh_entry_v(entry);

                s->client = NULL;
                s->call = NULL;
                s->fetch_slot = sd_bus_slot_unref(s->fetch_slot);
                s->timeout_source = sd_event_source_disable_unref(s->timeout_source);
                if (s->forgotten) {
                        lh_table_delete_entry(c->scopes, entry);
                        scope_destroy(s);
                }
        }
        lh_table_free(c->scopes);
}

SystemdClient *systemd_client_free(SystemdClient *c) {
        Call *call;

        if (!c)
                return NULL;

        sd_bus_slot_unref(c->subscribe_slot);
        sd_bus_slot_unref(c->watch_new_slot);
        sd_bus_slot_unref(c->watch_removed_slot);
        sd_bus_slot_unref(c->list_slot);
        sd_bus_slot_unref(c->job_removed_slot);
        sd_bus_slot_unref(c->reloading_slot);
        sd_bus_slot_unref(c->unit_removed_slot);
        sd_bus_slot_unref(c->disconnected_slot);
        sd_event_source_disable_unref(c->dispatch_source);

        while ((call = client_dequeue(c))) {
                if (call->message)
                        (void) sd_bus_send(c->bus, call->message, NULL);
                call_free(call);
        }
        while ((call = c->in_flight)) {
                LIST_REMOVE(in_flight, c->in_flight, call);
                call_free(call);
        }
        if (c->scopes)
                client_detach_scopes(c);

        sd_event_unref(c->event);
        sd_bus_unref(c->bus);
        return mfree(c);
}
