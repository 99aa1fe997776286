/* SPDX-License-Identifier: MIT */
#include "pmd/cron.h"
#include "test.h"

/* When jobs are called, under a fake clock; and once under the real one. */

#define MINUTE (60 * USEC_PER_SEC)
#define HOUR (60 * MINUTE)
#define MIDNIGHT ((usec_t) 1704067200 * USEC_PER_SEC) /* 2024-01-01 00:00:00 UTC, a Monday */

static usec_t fake_time;

static usec_t fake_now(void) {
        return fake_time;
}

typedef struct Fixture {
        sd_event *event;
        CronClock *clock;
        CronJob *job;
        unsigned n_due;
} Fixture;

static void on_due(void *userdata) {
        ((Fixture *) userdata)->n_due++;
}

static int setup(Fixture *f, cron_now_t get_now, const char *expression) {
        char *error = NULL;
        int r;

        (void) setenv("TZ", "UTC", 1);
        *f = (Fixture) {};
        fake_time = MIDNIGHT;
        assert(sd_event_new(&f->event) >= 0);
        assert(cron_clock_new(f->event, get_now, &f->clock) >= 0);
        r = cron_job_new(f->clock, expression, on_due, f, &f->job, &error);
        free(error);
        return r;
}

static void done(Fixture *f) {
        cron_job_free(f->job);
        cron_clock_free(f->clock);
        sd_event_unref(f->event);
}

static void at(Fixture *f, usec_t t) {
        fake_time = t;
        cron_clock_run(f->clock);
}

static void set_clock(Fixture *f, usec_t t) {
        fake_time = t;
        cron_clock_changed(f->clock);
}

TEST(due_once_each_time) {
        Fixture f;

        ASSERT_OK(setup(&f, fake_now, "0 3 * * *"));
        ASSERT_STREQ(cron_job_expression(f.job), "0 3 * * *");
        ASSERT_EQ(cron_job_next(f.job), MIDNIGHT + 3 * HOUR);
        at(&f, MIDNIGHT + 3 * HOUR - 1);
        ASSERT_EQ(f.n_due, 0);
        at(&f, MIDNIGHT + 3 * HOUR);
        ASSERT_EQ(f.n_due, 1);
        ASSERT_EQ(cron_job_next(f.job), MIDNIGHT + 27 * HOUR);
        at(&f, MIDNIGHT + 3 * HOUR + 1);
        ASSERT_EQ(f.n_due, 1);
        done(&f);
}

TEST(missed_runs_are_one) {
        Fixture f;

        ASSERT_OK(setup(&f, fake_now, "*/5 * * * *"));
        at(&f, MIDNIGHT + 8 * HOUR + 2 * MINUTE); /* slept all night */
        ASSERT_EQ(f.n_due, 1);
        ASSERT_EQ(cron_job_next(f.job), MIDNIGHT + 8 * HOUR + 5 * MINUTE);
        done(&f);
}

TEST(changes_of_the_clock) {
        static const struct {
                const char *what;
                usec_t from, to;     /* after midnight */
                unsigned n_due;      /* altogether */
                usec_t next;
        } rows[] = {
                { "an hour ahead",                   30 * MINUTE,          90 * MINUTE,          0, 3 * HOUR },
                { "ahead, over the time",            170 * MINUTE,         230 * MINUTE,         0, 27 * HOUR },
                { "ten years ahead",                 170 * MINUTE,         87672 * HOUR,         0, 87675 * HOUR },
                { "a step over the time",            3 * HOUR - 1,         3 * HOUR + MINUTE,    1, 27 * HOUR },
                { "a step too large for that",       3 * HOUR - 1,         3 * HOUR + MINUTE + 1, 0, 27 * HOUR },
                { "back by a step, after the run",   3 * HOUR,             3 * HOUR - 1,         1, 27 * HOUR },
                { "back by an hour, after the run",  3 * HOUR,             2 * HOUR,             1, 3 * HOUR },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Fixture f;

                ASSERT_OK(setup(&f, fake_now, "0 3 * * *"));
                at(&f, MIDNIGHT + rows[i].from);
                set_clock(&f, MIDNIGHT + rows[i].to);
                if (f.n_due != rows[i].n_due || cron_job_next(f.job) != MIDNIGHT + rows[i].next)
                        TEST_FAIL("%s: due %u times, next %llu", rows[i].what, f.n_due,
                                  (unsigned long long) (cron_job_next(f.job) - MIDNIGHT));
                done(&f);
        }
}

TEST(back_to_1970) {
        Fixture f;

        ASSERT_OK(setup(&f, fake_now, "0 3 * * *"));
        set_clock(&f, 0);
        ASSERT_EQ(f.n_due, 0);
        ASSERT_EQ(cron_job_next(f.job), 3 * HOUR);
        done(&f);
}

TEST(change_of_the_time_zone) {
        Fixture f;

        ASSERT_OK(setup(&f, fake_now, "0 3 * * *"));
        (void) setenv("TZ", "XXX-2", 1); /* two hours east */
        set_clock(&f, MIDNIGHT);
        (void) setenv("TZ", "UTC", 1);
        ASSERT_EQ(cron_job_next(f.job), MIDNIGHT + 1 * HOUR);
        done(&f);
}

TEST(never) {
        Fixture f;

        ASSERT_OK(setup(&f, fake_now, "0 0 30 2 *"));
        ASSERT_EQ(cron_job_next(f.job), USEC_INFINITY);
        at(&f, MIDNIGHT + 100000 * HOUR);
        ASSERT_EQ(f.n_due, 0);
        done(&f);
}

TEST(no_expression) {
        Fixture f;

        ASSERT_EQ(setup(&f, fake_now, "61 * * * *"), -EINVAL);
        ASSERT_TRUE(!f.job);
        done(&f);
}

static void free_both(void *userdata) {
        CronJob **jobs = userdata;

        jobs[0] = cron_job_free(jobs[0]);
        jobs[1] = cron_job_free(jobs[1]);
}

TEST(jobs_are_freed_from_within) {
        CronJob *jobs[2];
        Fixture f;

        ASSERT_OK(setup(&f, fake_now, "0 3 * * *"));
        ASSERT_OK(cron_job_new(f.clock, "* * * * *", free_both, jobs, &jobs[0], NULL));
        ASSERT_OK(cron_job_new(f.clock, "* * * * *", free_both, jobs, &jobs[1], NULL));
        at(&f, MIDNIGHT + MINUTE);
        ASSERT_TRUE(!jobs[0] && !jobs[1]);
        ASSERT_EQ(cron_job_next(f.job), MIDNIGHT + 3 * HOUR);
        done(&f);
}

TEST(real_timer) {
        Fixture f;

        ASSERT_OK(setup(&f, NULL, "* * * * * *"));
        for (usec_t end = now(CLOCK_MONOTONIC) + 20 * USEC_PER_SEC; f.n_due < 2;) {
                ASSERT_TRUE(now(CLOCK_MONOTONIC) < end);
                ASSERT_OK(sd_event_run(f.event, 100 * USEC_PER_MSEC));
        }
        ASSERT_EQ(f.n_due, 2);
        done(&f);
}
