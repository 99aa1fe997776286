/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <unistd.h>

#include "pmd/runner.h"
#include "shared/cgroup-util.h"
#include "shared/fd-util.h"
#include "systemd-fixture.h"
#include "test.h"
#include "tree.h"

/* A scope whose name is taken, and what an older manager does not know. */

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
