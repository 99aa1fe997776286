/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "pmd/runner.h"
#include "pmd/systemd-client.h"
#include "shared/cgroup-util.h"
#include "shared/fd-util.h"
#include "shared/resource-limits.h"
#include "test.h"
#include "tree.h"

/* The client against a service manager that answers when it is told to, at the other end of a socket pair. */

#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"
#define JOB "/org/freedesktop/systemd1/job/7"

typedef struct Fake {
        sd_event *event;
        sd_bus *server, *bus;
        SystemdClient *client;
        PidRef self;

        sd_bus_message *starts[128]; /* StartTransientUnit() calls, in order */
        size_t n_starts;
        sd_bus_message *set_properties; /* the last SetUnitProperties() */
        sd_bus_message *fetch;       /* the last Get() of an invocation id */
        unsigned n_fetches;
        bool job_waits;              /* units have no invocation id yet */
        const char *state;           /* SystemState; NULL: refuses to tell */
        const char *cgroup;          /* ControlGroup of each scope; NULL: there is none of this name any more */
        unsigned n_cgroup_fetches;
        const char *left;            /* the one unit that ListUnitsByNames() knows; NULL: refuses to tell */
        unsigned n_lists;
        unsigned n_stops;
        bool hold_fetch;
} Fake;

typedef struct Scope {
        ScopeRef *ref;
        unsigned n_started, n_removed;
        int error;
        bool has_cgroup, free_when_started;
        char invocation_id[33];
} Scope;

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

static void pump(Fake *f) {
        int r;

        while ((r = sd_event_run(f->event, 0)) > 0)
                ;
        ASSERT_OK(r);
}

static void fake_init(Fake *f) {
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

static void fake_done(Fake *f) {
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

static void reply_job(Fake *f, size_t i) {
        ASSERT_OK(sd_bus_reply_method_return(f->starts[i], "o", JOB));
        pump(f);
}

static void reply_error(Fake *f, size_t i, const char *name) {
        ASSERT_OK(sd_bus_reply_method_errorf(f->starts[i], name, "No."));
        pump(f);
}

static void send_signal(Fake *f, const char *member, const char *types, ...) {
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

static void send_job_removed(Fake *f, const char *job, const char *unit, const char *result) {
        send_signal(f, "JobRemoved", "uoss", 7, job, unit, result);
}

static void send_unit_removed(Fake *f, const char *unit) {
        send_signal(f, "UnitRemoved", "so", unit, "/x");
}

/* The name of the property that passes the process, "PIDs" or "PIDFDs". */
static const char *pid_property(sd_bus_message *call) {
        const char *name;

        ASSERT_OK(sd_bus_message_rewind(call, true));
        ASSERT_OK(sd_bus_message_skip(call, "ss"));
        ASSERT_OK(sd_bus_message_enter_container(call, 'a', "(sv)"));
        ASSERT_OK(sd_bus_message_enter_container(call, 'r', "sv"));
        ASSERT_OK(sd_bus_message_read(call, "s", &name));
        return name;
}

/* What the call asks for, NULL: nothing. */
static const char *oom_policy(sd_bus_message *call) {
        const char *name, *value = NULL;

        ASSERT_OK(sd_bus_message_rewind(call, true));
        ASSERT_OK(sd_bus_message_skip(call, "ss"));
        ASSERT_OK(sd_bus_message_enter_container(call, 'a', "(sv)"));
        while (!value && sd_bus_message_enter_container(call, 'r', "sv") > 0) {
                ASSERT_OK(sd_bus_message_read(call, "s", &name));
                if (streq(name, "OOMPolicy"))
                        ASSERT_OK(sd_bus_message_read(call, "v", "s", &value));
                else
                        ASSERT_OK(sd_bus_message_skip(call, "v"));
                ASSERT_OK(sd_bus_message_exit_container(call));
        }
        return value;
}

/* ---- the caller ---- */

static void on_started(void *userdata, int error, const char *cgroup, const char *invocation_id) {
        Scope *s = userdata;

        s->n_started++;
        s->error = error;
        s->has_cgroup = cgroup;
        (void) snprintf(s->invocation_id, sizeof(s->invocation_id), "%s", strempty(invocation_id));
        if (s->free_when_started)
                s->ref = scope_ref_free(s->ref);
}

static void on_removed(void *userdata) {
        Scope *s = userdata;

        s->n_removed++;
}

static int scope_ask(Fake *f, Scope *s, const char *unit) {
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

static int scope_start(Fake *f, Scope *s, const char *unit) {
        int r;

        r = scope_ask(f, s, unit);
        pump(f);
        return r;
}

static void scope_bring_up(Fake *f, Scope *s, const char *unit) {
        ASSERT_OK(scope_start(f, s, unit));
        reply_job(f, f->n_starts - 1);
        send_job_removed(f, JOB, unit, "done");
        ASSERT_EQ(s->n_started, 1);
        ASSERT_EQ(s->error, 0);
}

TEST(start) {
        Scope s = {};
        Fake f;

        fake_init(&f);
        scope_bring_up(&f, &s, "a.scope");
        ASSERT_STREQ(s.invocation_id, "ab0102030405060708090a0b0c0d0e0f");
        ASSERT_TRUE(s.has_cgroup);
        ASSERT_EQ(f.n_stops, 0);
        scope_ref_free(s.ref);
        pump(&f);
        ASSERT_EQ(f.n_stops, 0); /* a scope that runs is not stopped by being forgotten */
        fake_done(&f);
}

/* Where the manager has nothing else to do, it is asked for the id while it is at work on the job. */
TEST(id_is_asked_for_early) {
        Scope s = {}, t = {}, u = {};
        Fake f;

        fake_init(&f);
        ASSERT_OK(scope_start(&f, &s, "a.scope"));
        reply_job(&f, 0);
        pump(&f);
        ASSERT_EQ(f.n_fetches, 1);
        ASSERT_EQ(s.n_started, 0);
        send_job_removed(&f, JOB, "a.scope", "done");
        ASSERT_EQ(s.n_started, 1);
        ASSERT_STREQ(s.invocation_id, "ab0102030405060708090a0b0c0d0e0f");
        ASSERT_EQ(f.n_fetches, 1);

        f.job_waits = true;
        ASSERT_OK(scope_start(&f, &t, "b.scope"));
        reply_job(&f, 1);
        pump(&f);
        ASSERT_EQ(f.n_fetches, 2);
        f.job_waits = false;
        send_job_removed(&f, JOB, "b.scope", "done");
        ASSERT_STREQ(t.invocation_id, "ab0102030405060708090a0b0c0d0e0f");
        ASSERT_EQ(f.n_fetches, 3);

        /* Of two, the answer to the one would come before the job of the other. */
        s.ref = scope_ref_free(s.ref);
        s = (Scope) {};
        ASSERT_OK(scope_start(&f, &s, "c.scope"));
        ASSERT_OK(scope_start(&f, &u, "d.scope"));
        reply_job(&f, 2);
        pump(&f);
        ASSERT_EQ(f.n_fetches, 3);

        scope_ref_free(s.ref);
        scope_ref_free(t.ref);
        scope_ref_free(u.ref);
        fake_done(&f);
}

/* Reads "(sv)" until the end of the array into a text of "Name=value" lines. */
static char *read_properties(sd_bus_message *m) {
        char *text = strdup("");

        ASSERT_OK(sd_bus_message_enter_container(m, 'a', "(sv)"));
        while (sd_bus_message_enter_container(m, 'r', "sv") > 0) {
                const char *name, *type;
                char *next;

                ASSERT_OK(sd_bus_message_read(m, "s", &name));
                ASSERT_OK(sd_bus_message_peek_type(m, NULL, &type));
                if (streq(type, "t")) {
                        uint64_t v;

                        ASSERT_OK(sd_bus_message_read(m, "v", "t", &v));
                        next = strprintf("%s%s=%" PRIu64 "\n", text, name, v);
                } else if (streq(type, "ay")) {
                        const uint8_t *bytes;
                        size_t n;

                        ASSERT_OK(sd_bus_message_enter_container(m, 'v', "ay"));
                        ASSERT_OK(sd_bus_message_read_array(m, 'y', (const void **) &bytes, &n));
                        ASSERT_OK(sd_bus_message_exit_container(m));
                        next = strprintf("%s%s=%zu:%u:%u\n", text, name, n, n > 0 ? bytes[0] : 0, n > 1 ? bytes[1] : 0);
                } else {
                        ASSERT_OK(sd_bus_message_skip(m, "v"));
                        next = strdup(text);
                }
                free(text);
                text = next;
                ASSERT_OK(sd_bus_message_exit_container(m));
        }
        ASSERT_OK(sd_bus_message_exit_container(m));
        return text;
}

static const ResourceLimits all_limits = {
        .memory_max = { .bytes = 1 << 20 },
        .memory_high = { .bytes = UINT64_MAX },
        .cpu_quota = 1500000,
        .cpu_weight = 20,
        .io_weight = 30,
        .tasks_max = 40,
        .allowed_cpus = (char *) "0-1,9",
};

TEST(limits_of_start) {
        _cleanup_free_ char *text = NULL, *slice = NULL;
        const char *unit;
        Scope s = {};
        Fake f;

        fake_init(&f);
        ASSERT_OK(systemd_client_start_scope(f.client,
                        &(ScopeSpec) {
                                .unit = "a.scope",
                                .slice = "pm-x.slice",
                                .description = "x",
                                .main = &f.self,
                                .limits = &all_limits,
                                .slice_weights = LIMIT_BIT(LIMIT_CPU_WEIGHT),
                        },
                        on_started, on_removed, &s, &s.ref));

        /* It comes first, so that the slice begins with it; and one call at a time until it is known how a pid is passed. */
        while (!f.set_properties)
                ASSERT_OK(sd_event_run(f.event, UINT64_MAX));
        ASSERT_EQ(f.n_starts, 0);
        pump(&f);
        ASSERT_OK(sd_bus_message_read(f.set_properties, "sb", &unit, NULL));
        ASSERT_STREQ(unit, "pm-x.slice");
        slice = read_properties(f.set_properties);
        ASSERT_STREQ(slice, "CPUWeight=20\n");
        ASSERT_EQ(f.n_starts, 1);
        ASSERT_OK(sd_bus_message_rewind(f.starts[0], true));
        ASSERT_OK(sd_bus_message_skip(f.starts[0], "ss"));
        text = read_properties(f.starts[0]);
        ASSERT_STREQ(text, "TimeoutStopUSec=0\nMemoryHigh=18446744073709551615\nMemoryMax=1048576\nCPUQuotaPerSecUSec=1500000\n"
                           "CPUWeight=20\nIOWeight=30\nTasksMax=40\nAllowedCPUs=2:3:2\n");
        scope_ref_free(s.ref);
        fake_done(&f);
}

TEST(limits_later) {
        _cleanup_free_ char *text = NULL, *reset = NULL;
        const char *unit;
        Fake f;
        int runtime;

        fake_init(&f);
        ASSERT_OK(systemd_client_set_limits(f.client, "a.scope", &all_limits, LIMIT_BIT(LIMIT_MEMORY_MAX) | LIMIT_BIT(LIMIT_ALLOWED_CPUS)));
        pump(&f);
        ASSERT_TRUE(f.set_properties);
        ASSERT_OK(sd_bus_message_read(f.set_properties, "sb", &unit, &runtime));
        ASSERT_STREQ(unit, "a.scope");
        ASSERT_EQ(runtime, 1);
        text = read_properties(f.set_properties);
        ASSERT_STREQ(text, "MemoryMax=1048576\nAllowedCPUs=2:3:2\n");

        /* What is not said goes back to none. */
        ASSERT_OK(systemd_client_set_limits(f.client, "a.scope", &(ResourceLimits) {}, LIMIT_BIT(_LIMIT_KIND_MAX) - 1));
        pump(&f);
        ASSERT_OK(sd_bus_message_skip(f.set_properties, "sb"));
        reset = read_properties(f.set_properties);
        ASSERT_STREQ(reset, "MemoryHigh=18446744073709551615\nMemoryMax=18446744073709551615\nCPUQuotaPerSecUSec=18446744073709551615\n"
                            "CPUWeight=18446744073709551615\nIOWeight=18446744073709551615\nTasksMax=18446744073709551615\n"
                            "AllowedCPUs=0:0:0\n");
        fake_done(&f);
}

TEST(job_ends_before_reply) {
        Scope s = {};
        Fake f;

        fake_init(&f);
        ASSERT_OK(scope_start(&f, &s, "a.scope"));
        send_job_removed(&f, JOB, "a.scope", "done");
        ASSERT_EQ(s.n_started, 0);
        reply_job(&f, 0);
        ASSERT_EQ(s.n_started, 1);
        ASSERT_EQ(s.error, 0);
        scope_ref_free(s.ref);
        fake_done(&f);
}

TEST(other_job_of_the_unit) {
        Scope s = {};
        Fake f;

        fake_init(&f);
        ASSERT_OK(scope_start(&f, &s, "a.scope"));
        send_job_removed(&f, "/other", "a.scope", "failed");
        reply_job(&f, 0);
        send_job_removed(&f, "/other", "a.scope", "failed");
        ASSERT_EQ(s.n_started, 0);
        send_job_removed(&f, JOB, "a.scope", "done");
        ASSERT_EQ(s.n_started, 1);
        ASSERT_EQ(s.error, 0);
        scope_ref_free(s.ref);
        fake_done(&f);
}

TEST(job_fails) {
        static const struct {
                const char *result;
                int error;
        } table[] = {
                { "failed", -EIO },
                { "dependency", -EIO },
                { "canceled", -ECANCELED },
                { "skipped", -ECANCELED },
                { "timeout", -ETIMEDOUT },
        };
        Fake f;

        fake_init(&f);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                Scope s = {};

                ASSERT_OK(scope_start(&f, &s, "a.scope"));
                reply_job(&f, i);
                send_job_removed(&f, JOB, "a.scope", table[i].result);
                ASSERT_EQ(s.n_started, 1);
                ASSERT_EQ(s.error, table[i].error);
                send_unit_removed(&f, "a.scope");
                ASSERT_EQ(s.n_removed, 0);
                scope_ref_free(s.ref);
        }
        fake_done(&f);
}

TEST(name_taken) {
        Scope s = {}, t = {};
        Fake f;

        fake_init(&f);
        ASSERT_OK(scope_start(&f, &s, "a.scope"));
        ASSERT_EQ(scope_start(&f, &t, "a.scope"), -EEXIST);
        reply_error(&f, 0, "org.freedesktop.systemd1.UnitExists");
        ASSERT_EQ(s.n_started, 1);
        ASSERT_EQ(s.error, -EEXIST);
        ASSERT_EQ(t.n_started, 0);
        scope_ref_free(s.ref);
        pump(&f);
        ASSERT_EQ(f.n_stops, 0); /* it is somebody else's */
        fake_done(&f);
}

TEST(name_left_over) {
        _cleanup_close_ int own_fd = -EBADF;
        _cleanup_free_ char *own = NULL;
        Fake f;

        ASSERT_OK(cgroup_path_of_pid(getpid(), &own));
        own_fd = cgroup_open(own); /* the root of all has no cgroup.events */
        const struct {
                const char *cgroup;
                unsigned n_stops;
        } table[] = {
                { "/no-such-slice/a.scope", 1 },
                { own_fd >= 0 && faccessat(own_fd, "cgroup.events", F_OK, 0) >= 0 ? own : "", 0 }, /* somebody lives in it */
                { "", 0 }, /* it is just being started */
                { NULL, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                Scope s = {};

                fake_init(&f);
                f.cgroup = table[i].cgroup;
                ASSERT_OK(scope_start(&f, &s, "a.scope"));
                reply_error(&f, 0, "org.freedesktop.systemd1.UnitExists");
                ASSERT_EQ(s.n_started, 1);
                ASSERT_EQ(s.error, -EEXIST);
                ASSERT_EQ(f.n_cgroup_fetches, 1);
                ASSERT_EQ(f.n_stops, table[i].n_stops);
                scope_ref_free(s.ref);
                fake_done(&f);
        }
}

static void on_attached(RunnerUnit *u, int error) {
        *(int *) u->userdata = error;
}

/* What the client stops then must not look like an operator's stop. */
TEST(name_taken_of_a_process) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *socket = tree_write(dir, "systemd/private", "", 0, 0600);
        _cleanup_app_config_unref_ AppConfig *config = NULL;
        RunnerUnit *u;
        int error = 0;
        Runner *r;
        Fake f;

        ASSERT_OK(setenv("XDG_RUNTIME_DIR", dir, true));
        fake_init(&f);
        ASSERT_OK(app_config_new(&config));
        ASSERT_OK(free_and_strdup(&config->name, "x"));
        ASSERT_OK(runner_new(f.event, f.client, INSTANCE_USER, "scope", &r));
        ASSERT_OK(runner_unit_new(r, "x", 0, 1, config, &f.self, &u));
        u->on_attached = on_attached;
        u->userdata = &error;
        ASSERT_OK(runner_unit_attach(u));
        pump(&f);
        ASSERT_EQ(f.n_starts, 1);
        ASSERT_TRUE(!u->stopped_by_us);
        reply_error(&f, 0, "org.freedesktop.systemd1.UnitExists");
        ASSERT_EQ(error, -EEXIST);
        ASSERT_TRUE(u->stopped_by_us);
        runner_unit_free(u);
        runner_free(r);
        fake_done(&f);
}

TEST(pidfds_refused) {
        Scope s = {}, t = {};
        Fake f;

        fake_init(&f);
        ASSERT_OK(scope_start(&f, &s, "a.scope"));
        ASSERT_STREQ(pid_property(f.starts[0]), "PIDFDs");
        ASSERT_OK(scope_start(&f, &t, "b.scope"));
        ASSERT_EQ(f.n_starts, 1); /* the first one finds out */

        reply_error(&f, 0, SD_BUS_ERROR_PROPERTY_READ_ONLY);
        ASSERT_EQ(f.n_starts, 3);
        ASSERT_STREQ(pid_property(f.starts[1]), "PIDs");
        ASSERT_STREQ(pid_property(f.starts[2]), "PIDs");

        send_unit_removed(&f, "a.scope"); /* of the refused attempt */
        reply_job(&f, 1);
        send_job_removed(&f, JOB, "a.scope", "done");
        ASSERT_EQ(s.n_started, 1);
        ASSERT_EQ(s.error, 0);
        ASSERT_EQ(s.n_removed, 0);
        scope_ref_free(s.ref);
        scope_ref_free(t.ref);
        fake_done(&f);
}

TEST(oom_policy_refused) {
        Scope s = {}, t = {};
        Fake f;

        fake_init(&f);
        ASSERT_OK(scope_start(&f, &s, "a.scope"));
        ASSERT_STREQ(oom_policy(f.starts[0]), "continue");
        reply_error(&f, 0, SD_BUS_ERROR_PROPERTY_READ_ONLY); /* the pidfds */
        ASSERT_EQ(f.n_starts, 2);
        ASSERT_STREQ(oom_policy(f.starts[1]), "continue");
        reply_error(&f, 1, SD_BUS_ERROR_PROPERTY_READ_ONLY);
        ASSERT_EQ(f.n_starts, 3);
        ASSERT_TRUE(!oom_policy(f.starts[2]));
        reply_job(&f, 2);
        send_job_removed(&f, JOB, "a.scope", "done");
        ASSERT_EQ(s.n_started, 1);
        ASSERT_EQ(s.error, 0);

        ASSERT_OK(scope_start(&f, &t, "b.scope"));
        ASSERT_TRUE(!oom_policy(f.starts[3]));
        reply_error(&f, 3, SD_BUS_ERROR_PROPERTY_READ_ONLY); /* nothing is left to leave out */
        ASSERT_EQ(t.n_started, 1);
        ASSERT_TRUE(t.error < 0);
        scope_ref_free(s.ref);
        scope_ref_free(t.ref);
        fake_done(&f);
}

TEST(pidfds_taken) {
        Scope s = {}, t = {};
        Fake f;

        fake_init(&f);
        scope_bring_up(&f, &s, "a.scope");
        ASSERT_OK(scope_start(&f, &t, "b.scope"));
        ASSERT_STREQ(pid_property(f.starts[1]), "PIDFDs");
        scope_ref_free(s.ref);
        scope_ref_free(t.ref);
        fake_done(&f);
}

TEST(in_flight) {
        Scope first = {}, s[100] = {};
        char unit[32];
        Fake f;

        fake_init(&f);
        scope_bring_up(&f, &first, "first.scope");
        for (unsigned i = 0; i < ELEMENTSOF(s); i++) {
                (void) snprintf(unit, sizeof(unit), "%u.scope", i);
                ASSERT_OK(scope_start(&f, &s[i], unit));
        }
        ASSERT_EQ(f.n_starts, 1 + 64);

        /* A reply alone makes no room, the end of the job does. */
        reply_job(&f, 1);
        ASSERT_EQ(f.n_starts, 1 + 64);
        send_job_removed(&f, JOB, "0.scope", "done");
        ASSERT_EQ(f.n_starts, 1 + 65);
        reply_error(&f, 2, SD_BUS_ERROR_FAILED);
        ASSERT_EQ(f.n_starts, 1 + 66);

        /* What is forgotten while it waits is never asked for. */
        for (unsigned i = 66; i < ELEMENTSOF(s); i++)
                s[i].ref = scope_ref_free(s[i].ref);
        reply_error(&f, 3, SD_BUS_ERROR_FAILED);
        ASSERT_EQ(f.n_starts, 1 + 66);

        for (unsigned i = 0; i < 66; i++)
                scope_ref_free(s[i].ref);
        scope_ref_free(first.ref);
        fake_done(&f);
}

/* While pmd is busy with the next child. */
TEST(goes_out_at_once) {
        Scope first = {}, s = {};
        Fake f;
        int r;

        fake_init(&f);
        scope_bring_up(&f, &first, "first.scope");
        ASSERT_OK(scope_ask(&f, &s, "a.scope"));
        while ((r = sd_bus_process(f.server, NULL)) > 0)
                ;
        ASSERT_OK(r);
        ASSERT_EQ(f.n_starts, 2);
        ASSERT_EQ(s.n_started, 0);

        scope_ref_free(s.ref);
        scope_ref_free(first.ref);
        fake_done(&f);
}

TEST(forgotten_while_calling) {
        Scope r = {}, s = {}, t = {};
        Fake f;

        fake_init(&f);
        ASSERT_OK(scope_start(&f, &r, "r.scope"));
        scope_ref_free(r.ref);
        reply_error(&f, 0, SD_BUS_ERROR_PROPERTY_READ_ONLY);
        ASSERT_EQ(f.n_starts, 1);

        ASSERT_OK(scope_start(&f, &s, "a.scope"));
        scope_ref_free(s.ref);
        reply_job(&f, 1);
        send_job_removed(&f, JOB, "a.scope", "done");
        ASSERT_EQ(f.n_stops, 1);

        ASSERT_OK(scope_start(&f, &t, "b.scope"));
        scope_ref_free(t.ref);
        reply_error(&f, 2, "org.freedesktop.systemd1.UnitExists");
        ASSERT_EQ(f.n_stops, 1);

        ASSERT_EQ(r.n_started + s.n_started + t.n_started, 0);
        fake_done(&f);
}

TEST(forgotten_while_waiting) {
        Scope s = {};
        Fake f;

        fake_init(&f);
        ASSERT_OK(scope_start(&f, &s, "a.scope"));
        reply_job(&f, 0);
        scope_ref_free(s.ref);
        pump(&f);
        ASSERT_EQ(f.n_stops, 1);
        send_job_removed(&f, JOB, "a.scope", "canceled");
        ASSERT_EQ(s.n_started, 0);
        fake_done(&f);
}

TEST(forgotten_when_started) {
        Scope s = { .free_when_started = true };
        Fake f;

        fake_init(&f);
        scope_bring_up(&f, &s, "a.scope");
        send_unit_removed(&f, "a.scope");
        ASSERT_EQ(s.n_removed, 0);
        fake_done(&f);
}

TEST(unit_removed) {
        Scope s = {}, t = {};
        Fake f;

        fake_init(&f);
        scope_bring_up(&f, &s, "a.scope");
        send_unit_removed(&f, "b.scope");
        ASSERT_EQ(s.n_removed, 0);
        send_unit_removed(&f, "a.scope");
        send_unit_removed(&f, "a.scope");
        ASSERT_EQ(s.n_removed, 1);
        scope_ref_free(s.ref);

        /* Before the invocation id came: both are told, in order. */
        f.hold_fetch = true;
        ASSERT_OK(scope_start(&f, &t, "a.scope"));
        reply_job(&f, 1);
        send_job_removed(&f, JOB, "a.scope", "done");
        ASSERT_EQ(t.n_started, 0);
        send_unit_removed(&f, "a.scope");
        ASSERT_EQ(t.n_started, 1);
        ASSERT_EQ(t.error, 0);
        ASSERT_STREQ(t.invocation_id, "");
        ASSERT_EQ(t.n_removed, 1);
        scope_ref_free(t.ref);
        fake_done(&f);
}

/* A manager that reads its units again says of all of them that they are removed, and then that there are new ones. */
TEST(reload_removes_nothing) {
        Scope left = {}, gone = {};
        Fake f;

        fake_init(&f);
        scope_bring_up(&f, &left, "left.scope");
        scope_bring_up(&f, &gone, "gone.scope");

        for (unsigned i = 0; i < 2; i++) {
                f.left = i > 0 ? "left.scope" : NULL;
                send_signal(&f, "Reloading", "b", true);
                send_unit_removed(&f, "left.scope");
                send_unit_removed(&f, "gone.scope");
                ASSERT_EQ(left.n_removed + gone.n_removed, 0);
                ASSERT_EQ(f.n_lists, i);
                send_signal(&f, "Reloading", "b", false);
                ASSERT_EQ(f.n_lists, i + 1);
                ASSERT_EQ(left.n_removed, 0);
                ASSERT_EQ(gone.n_removed, i); /* a manager that does not tell is no reason to give it up */
        }

        /* Nobody is in doubt any more. */
        send_signal(&f, "Reloading", "b", false);
        ASSERT_EQ(f.n_lists, 2);
        send_unit_removed(&f, "left.scope");
        ASSERT_EQ(left.n_removed, 1);
        scope_ref_free(left.ref);
        scope_ref_free(gone.ref);
        fake_done(&f);
}

TEST(disconnected) {
        Scope calling = {}, waiting = {}, running = {};
        Fake f;

        fake_init(&f);
        scope_bring_up(&f, &running, "running.scope");
        ASSERT_OK(scope_start(&f, &waiting, "waiting.scope"));
        reply_job(&f, 1);
        ASSERT_OK(scope_start(&f, &calling, "calling.scope"));

        sd_bus_close(f.server);
        pump(&f);
        ASSERT_EQ(waiting.n_started, 1);
        ASSERT_EQ(waiting.error, -ENOTCONN);
        ASSERT_EQ(calling.n_started, 1);
        ASSERT_TRUE(calling.error < 0);
        ASSERT_EQ(running.n_removed, 0);
        ASSERT_EQ(scope_start(&f, &(Scope) {}, "later.scope"), -ENOTCONN);

        scope_ref_free(calling.ref);
        scope_ref_free(waiting.ref);
        scope_ref_free(running.ref);
        fake_done(&f);
}

TEST(client_goes_first) {
        Scope s[4] = {};
        Fake f;

        fake_init(&f);
        scope_bring_up(&f, &s[0], "running.scope");
        ASSERT_OK(scope_start(&f, &s[1], "waiting.scope"));
        reply_job(&f, 1);
        ASSERT_OK(scope_start(&f, &s[2], "calling.scope"));
        ASSERT_OK(scope_start(&f, &s[3], "forgotten.scope"));
        s[3].ref = scope_ref_free(s[3].ref);

        f.client = systemd_client_free(f.client);
        reply_job(&f, 2);
        send_unit_removed(&f, "running.scope");
        ASSERT_EQ(s[1].n_started + s[2].n_started + s[3].n_started, 0);
        ASSERT_EQ(s[0].n_removed, 0);
        for (size_t i = 0; i < ELEMENTSOF(s); i++)
                scope_ref_free(s[i].ref);
        fake_done(&f);
}

/* ---- what others have the manager do ---- */

static char watched[128];

static void note_job(const char *unit, void *userdata) {
        strcat(strcat(watched, unit), " ");
}

static void note_stopping(bool stopping, void *userdata) {
        strcat(watched, stopping ? "down " : "up ");
}

TEST(watch) {
        static const SystemdWatch watch = { note_job, note_stopping };
        Scope s = {};
        Fake f;

        fake_init(&f);
        *watched = 0;
        ASSERT_OK(systemd_client_watch(f.client, &watch, NULL));
        pump(&f);

        send_signal(&f, "JobNew", "uos", 1, JOB, "pm-a-0-1.scope");
        send_signal(&f, "JobNew", "uos", 2, JOB, "cron.service");
        send_signal(&f, "JobNew", "uos", 3, JOB, "shutdown.target");
        ASSERT_STREQ(watched, "pm-a-0-1.scope down ");

        *watched = 0;
        send_job_removed(&f, JOB, "cron.service", "canceled");
        send_job_removed(&f, JOB, "shutdown.target", "done");
        ASSERT_STREQ(watched, "");
        send_job_removed(&f, JOB, "shutdown.target", "canceled");
        ASSERT_STREQ(watched, "up ");

        /* It is not in the way of scopes. */
        scope_bring_up(&f, &s, "a.scope");
        scope_ref_free(s.ref);
        fake_done(&f);
}

static int on_state(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        *(int *) userdata = systemd_client_read_stopping(m);
        return 0;
}

TEST(ask_whether_stopping) {
        static const struct {
                const char *state;
                int stopping;
        } table[] = {
                { "stopping", true },
                { "running", false },
                { "degraded", false },
                { NULL, false },
        };
        Fake f;

        fake_init(&f);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                sd_bus_slot *slot = NULL;
                int stopping = -1;

                f.state = table[i].state;
                ASSERT_OK(systemd_client_ask_stopping(f.client, on_state, &stopping, &slot));
                ASSERT_EQ(stopping, -1);
                pump(&f);
                ASSERT_EQ(stopping, table[i].stopping);
                sd_bus_slot_unref(slot);
        }
        fake_done(&f);
}

TEST(slice_weights_are_found) {
        char dir[] = "/tmp/test-systemd-client.XXXXXX";
        _cleanup_free_ char *path = NULL;
        int fd;

        ASSERT_TRUE(mkdtemp(dir));
        ASSERT_OK(setenv("XDG_RUNTIME_DIR", dir, true));
        ASSERT_EQ(systemd_slice_weights("app-pm-x.slice", true), 0);

        path = strprintf("mkdir -p %s/systemd/user.control/app-pm-x.slice.d", dir);
        ASSERT_EQ(system(path), 0);
        free(path);
        path = strprintf("%s/systemd/user.control/app-pm-x.slice.d/50-IOWeight.conf", dir);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ASSERT_OK(fd);
        ASSERT_OK(close(fd));
        ASSERT_EQ(systemd_slice_weights("app-pm-x.slice", true), LIMIT_BIT(LIMIT_IO_WEIGHT));
        ASSERT_EQ(systemd_slice_weights("app-pm-y.slice", true), 0);

        free(path);
        path = strprintf("rm -r %s", dir);
        ASSERT_EQ(system(path), 0);
}
