/* SPDX-License-Identifier: MIT */
#include <json-c/linkhash.h>

#include "pmd/app.h"
#include "pmd/job.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "test.h"

/* Jobs, with a real manager that has neither bus nor runner, and processes whose host only takes notes. */

static Manager *manager;
static App *app;

static usec_t fake_now(Process *p) {
        return now(CLOCK_MONOTONIC);
}
static int fake_spawn(Process *p) {
        return 0;
}
static int fake_open_gate(Process *p) {
        return 0;
}
static void fake_operation(Process *p) {
}
static void fake_arm_timer(Process *p, usec_t at) {
}
static usec_t fake_take_restart(Process *p) {
        return 0;
}
static void fake_changed(Process *p, ProcessField f) {
}
static void fake_reconfigured(Process *p, const AppConfig *before) {
}
static void fake_settled(Process *p) {
        if (p->app->job)
                manager_enqueue_job_check(p->manager, p->app->job);
}

static const ProcessHostVTable fake_host = {
        fake_now, fake_spawn, fake_open_gate, fake_operation, fake_operation, fake_operation, fake_operation, fake_operation, fake_arm_timer,
        fake_take_restart, fake_changed, fake_reconfigured, fake_settled,
};

static void set_up(unsigned n) {
        _cleanup_(app_config_unrefp) AppConfig *c = NULL;
        Instance *instance;

        setenv("PMD_HOME", "/nonexistent", 1);
        ASSERT_OK(instance_new(INSTANCE_PRIVATE, NULL, &instance));
        ASSERT_OK(manager_new(instance, &manager));
        ASSERT_OK(app_config_new(&c));
        c->name = strdup("api");
        c->exec_path = strdup("/bin/true");
        ASSERT_OK(app_new(manager, c, 0, &app));
        ASSERT_OK(lh_table_insert(manager->apps, app->name, app));
        ASSERT_OK(app_add_processes(app, c, n));
        for (unsigned i = 0; i < n; i++)
                manager->processes[i]->host = &fake_host;
}

static void tear_down(void) {
        manager = manager_free(manager);
}

/* Lets the manager drain its queues. */
static void turn(void) {
        int r;

        do
                r = sd_event_run(manager->event, 0);
        while (r > 0);
        ASSERT_OK(r);
}

static Job *request(JobVerb verb, unsigned first, unsigned n) {
        Job *j;

        ASSERT_OK(job_new(app, verb, manager->processes + first, n, &j));
        turn();
        return j;
}

static void exec_ok(unsigned i) {
        process_event(manager->processes[i], PROCESS_EVENT_EXEC_OK);
}

static void ends(unsigned i) {
        process_event(manager->processes[i], PROCESS_EVENT_EXITED);
        process_event(manager->processes[i], PROCESS_EVENT_DRAINED);
}

TEST(a_start_ends_when_all_are_online) {
        set_up(2);
        request(JOB_START, 0, 2);
        turn();
        ASSERT_TRUE(app->job);
        exec_ok(0);
        turn();
        ASSERT_TRUE(app->job);
        exec_ok(1);
        turn();
        ASSERT_TRUE(!app->job);
        tear_down();
}

TEST(a_long_start_goes_on_as_processes_come_up) {
        set_up(100);
        request(JOB_START, 0, 100);
        ASSERT_EQ(app->job->n_begun, 32);
        for (unsigned i = 0; i < 100; i++) {
                ASSERT_EQ(manager->processes[i]->state, PROCESS_SPAWNING);
                exec_ok(i);
                turn();
        }
        ASSERT_TRUE(!app->job);
        tear_down();
}

TEST(one_job_runs_the_next_waits) {
        Job *first, *second;

        set_up(2);
        first = request(JOB_START, 0, 1);
        second = request(JOB_START, 1, 1);
        ASSERT_TRUE(app->job == first && first->running);
        ASSERT_TRUE(app->waiting_jobs == second && !second->running);
        exec_ok(0);
        turn();
        ASSERT_TRUE(app->job == second && second->running);
        exec_ok(1);
        turn();
        ASSERT_TRUE(!app->job && !app->waiting_jobs);
        tear_down();
}

TEST(a_stop_cancels_a_start) {
        Job *stop;

        set_up(1);
        request(JOB_START, 0, 1);
        stop = request(JOB_STOP, 0, 1);
        ASSERT_TRUE(app->job == stop);
        ends(0);
        turn();
        ASSERT_TRUE(!app->job);
        ASSERT_EQ(manager->processes[0]->state, PROCESS_STOPPED);
        tear_down();
}

TEST(a_start_does_not_cancel_a_stop) {
        set_up(1);
        request(JOB_START, 0, 1);
        exec_ok(0);
        turn();
        request(JOB_STOP, 0, 1);
        request(JOB_START, 0, 1);
        ends(0);
        turn();
        ASSERT_EQ(manager->processes[0]->state, PROCESS_SPAWNING);
        exec_ok(0);
        turn();
        ASSERT_TRUE(!app->job);
        tear_down();
}

TEST(the_last_delete_takes_the_app_along) {
        set_up(2);
        request(JOB_START, 0, 2);
        exec_ok(0);
        exec_ok(1);
        turn();
        request(JOB_DELETE, 0, 1);
        ends(0);
        turn();
        ASSERT_EQ(manager->n_processes, 1);
        ASSERT_TRUE(manager_get_app(manager, "api"));
        ASSERT_EQ(manager->next_process_id, 2);
        request(JOB_DELETE, 0, 1);
        ends(0);
        turn();
        ASSERT_TRUE(!manager_get_app(manager, "api"));
        ASSERT_EQ(manager->next_process_id, 0);
        tear_down();
}

TEST(an_exit_in_the_turn_of_the_start_is_still_a_start) {
        set_up(1);
        request(JOB_START, 0, 1);
        exec_ok(0);
        process_event(manager->processes[0], PROCESS_EVENT_EXITED);
        turn();
        ASSERT_TRUE(!app->job);
        tear_down();
}

TEST(the_queue_is_bounded) {
        Job *j;
        int r;

        set_up(1);
        request(JOB_START, 0, 1);
        for (unsigned i = 0; i < 64; i++)
                request(JOB_RESTART, 0, 1);
        r = job_new(app, JOB_RESTART, manager->processes, 1, &j);
        ASSERT_EQ(r, -EBUSY);
        tear_down();
}

TEST(names) {
        ASSERT_STRING_TABLE(job_verb, _JOB_VERB_MAX);
        ASSERT_STRING_TABLE(job_result, _JOB_RESULT_MAX);
}
