/* SPDX-License-Identifier: MIT */
#include <sys/socket.h>
#include <unistd.h>

#include "systemd-fixture.h"
#include "test.h"

#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"

/* ---- the manager ---- */

static int reply_invocation_id(const Fake *f, sd_bus_message *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const uint8_t id[16] = { 0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

        ASSERT_OK(sd_bus_message_new_method_return(call, &reply));
        ASSERT_OK(sd_bus_message_open_container(reply, 'v', "ay"));
        ASSERT_OK(sd_bus_message_append_array(reply, 'y', id, f->job_waits ? 0 : sizeof(id)));
        ASSERT_OK(sd_bus_message_close_container(reply));
        return sd_bus_send(NULL, reply, NULL);
}

static bool is_get_cgroup(sd_bus_message *call) {
        const char *interface, *name;

        ASSERT_OK(sd_bus_message_read(call, "ss", &interface, &name));
        ASSERT_OK(sd_bus_message_rewind(call, true));
        return streq(interface, "org.freedesktop.systemd1.Scope") && streq(name, "ControlGroup");
}

static int reply_units(Fake *f, sd_bus_message *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *unit;
        int r;

        f->n_lists++;
        if (!f->left)
                return sd_bus_reply_method_errorf(call, SD_BUS_ERROR_FAILED, "No.");

        ASSERT_OK(sd_bus_message_new_method_return(call, &reply));
        ASSERT_OK(sd_bus_message_open_container(reply, 'a', "(ssssssouso)"));
        ASSERT_OK(sd_bus_message_enter_container(call, 'a', "s"));
        while ((r = sd_bus_message_read(call, "s", &unit)) > 0) {
                bool there = streq(unit, f->left);

                ASSERT_OK(sd_bus_message_append(reply, "(ssssssouso)", unit, unit, there ? "loaded" : "not-found", there ? "active" : "inactive",
                                                there ? "running" : "dead", "", "/x", 0, "", "/"));
        }
        ASSERT_OK(r);
        ASSERT_OK(sd_bus_message_close_container(reply));
        return sd_bus_send(NULL, reply, NULL);
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Fake *f = userdata;

        if (sd_bus_message_is_method_call(m, MANAGER, "StartTransientUnit")) {
                ASSERT_TRUE(f->n_starts < ELEMENTSOF(f->starts));
                f->starts[f->n_starts++] = sd_bus_message_ref(m);
                return 1;
        }
        if (sd_bus_message_is_method_call(m, NULL, "Get") && streq(sd_bus_message_get_path(m), MANAGER_PATH)) {
                const char *interface, *name;

                ASSERT_OK(sd_bus_message_read(m, "ss", &interface, &name));
                ASSERT_STREQ(interface, MANAGER);
                ASSERT_STREQ(name, "SystemState");
                return f->state ? sd_bus_reply_method_return(m, "v", "s", f->state) : sd_bus_reply_method_errorf(m, SD_BUS_ERROR_FAILED, "No.");
        }
        if (sd_bus_message_is_method_call(m, NULL, "Get") && is_get_cgroup(m)) {
                f->n_cgroup_fetches++;
                return f->cgroup ? sd_bus_reply_method_return(m, "v", "s", f->cgroup) : sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_OBJECT, "No.");
        }
        if (sd_bus_message_is_method_call(m, NULL, "Get")) {
                sd_bus_message_unref(f->fetch);
                f->fetch = sd_bus_message_ref(m);
                f->n_fetches++;
                return f->hold_fetch ? 1 : reply_invocation_id(f, m) < 0 ? -EIO : 1;
        }
        if (sd_bus_message_is_method_call(m, MANAGER, "SetUnitProperties")) {
                sd_bus_message_unref(f->set_properties);
                f->set_properties = sd_bus_message_ref(m);
        }
        if (sd_bus_message_is_method_call(m, MANAGER, "ListUnitsByNames"))
                return reply_units(f, m) < 0 ? -EIO : 1;
        if (sd_bus_message_is_method_call(m, MANAGER, "StopUnit"))
                f->n_stops++;
        if (sd_bus_message_is_method_call(m, NULL, NULL))
                return sd_bus_reply_method_return(m, NULL);
        return 0;
}

void pump(Fake *f) {
        int r;

        while ((r = sd_event_run(f->event, 0)) > 0)
                ;
        ASSERT_OK(r);
}

void fake_init(Fake *f) {
        sd_id128_t id;
        int fds[2];

        *f = (Fake) { .self = PIDREF_NULL };
        ASSERT_OK(pidref_open(&f->self, getpid()));
        ASSERT_OK(sd_event_new(&f->event));
        ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));

        ASSERT_OK(sd_id128_randomize(&id));
        ASSERT_OK(sd_bus_new(&f->server));
        ASSERT_OK(sd_bus_set_fd(f->server, fds[0], fds[0]));
        ASSERT_OK(sd_bus_set_server(f->server, true, id));
        ASSERT_OK(sd_bus_negotiate_fds(f->server, true));
        ASSERT_OK(sd_bus_start(f->server));
        ASSERT_OK(sd_bus_attach_event(f->server, f->event, 0));
        ASSERT_OK(sd_bus_add_filter(f->server, NULL, on_message, f));

        ASSERT_OK(sd_bus_new(&f->bus));
        ASSERT_OK(sd_bus_set_fd(f->bus, fds[1], fds[1]));
        ASSERT_OK(sd_bus_negotiate_fds(f->bus, true));
        ASSERT_OK(sd_bus_start(f->bus));
        ASSERT_OK(sd_bus_attach_event(f->bus, f->event, 0));

        ASSERT_OK(systemd_client_new(f->bus, &f->client));
        pump(f);
}

void fake_done(Fake *f) {
        systemd_client_free(f->client);
        for (size_t i = 0; i < f->n_starts; i++)
                sd_bus_message_unref(f->starts[i]);
        sd_bus_message_unref(f->fetch);
        sd_bus_message_unref(f->set_properties);
        sd_bus_close_unref(f->bus);
        sd_bus_close_unref(f->server);
        sd_event_unref(f->event);
        pidref_done(&f->self);
}

void reply_job(Fake *f, size_t i) {
        ASSERT_OK(sd_bus_reply_method_return(f->starts[i], "o", JOB));
        pump(f);
}

void reply_error(Fake *f, size_t i, const char *name) {
        ASSERT_OK(sd_bus_reply_method_errorf(f->starts[i], name, "No."));
        pump(f);
}

void send_signal(Fake *f, const char *member, const char *types, ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        va_list ap;

        ASSERT_OK(sd_bus_message_new_signal(f->server, &m, MANAGER_PATH, MANAGER, member));
        va_start(ap, types);
        ASSERT_OK(sd_bus_message_appendv(m, types, ap));
        va_end(ap);
        ASSERT_OK(sd_bus_message_set_sender(m, "org.freedesktop.systemd1"));
        ASSERT_OK(sd_bus_send(f->server, m, NULL));
        pump(f);
}

void send_job_removed(Fake *f, const char *job, const char *unit, const char *result) {
        send_signal(f, "JobRemoved", "uoss", 7, job, unit, result);
}

void send_unit_removed(Fake *f, const char *unit) {
        send_signal(f, "UnitRemoved", "so", unit, "/x");
}

/* ---- the caller ---- */

void on_started(void *userdata, int error, const char *cgroup, const char *invocation_id) {
        Scope *s = userdata;

        s->n_started++;
        s->error = error;
        s->has_cgroup = cgroup;
        (void) snprintf(s->invocation_id, sizeof(s->invocation_id), "%s", strempty(invocation_id));
        if (s->free_when_started)
                s->ref = scope_ref_free(s->ref);
}

void on_removed(void *userdata) {
        Scope *s = userdata;

        s->n_removed++;
}

int scope_ask(Fake *f, Scope *s, const char *unit) {
        return systemd_client_start_scope(f->client,
                        &(ScopeSpec) {
                                .unit = unit,
                                .slice = "pm-x.slice",
                                .description = "x",
                                .main = &f->self,
                                .kill_signal = SIGINT,
                                .timeout_stop = 1000,
                        },
                        on_started, on_removed, s, &s->ref);
}

int scope_start(Fake *f, Scope *s, const char *unit) {
        int r;

        r = scope_ask(f, s, unit);
        pump(f);
        return r;
}

void scope_bring_up(Fake *f, Scope *s, const char *unit) {
        ASSERT_OK(scope_start(f, s, unit));
        reply_job(f, f->n_starts - 1);
        send_job_removed(f, JOB, unit, "done");
        ASSERT_EQ(s->n_started, 1);
        ASSERT_EQ(s->error, 0);
}
