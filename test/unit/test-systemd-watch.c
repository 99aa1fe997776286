/* SPDX-License-Identifier: MIT */
#include "systemd-fixture.h"
#include "test.h"

/* What the manager does that nobody has asked it for here. */

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
