/* SPDX-License-Identifier: MIT */
#include "systemd-fixture.h"
#include "test.h"

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
