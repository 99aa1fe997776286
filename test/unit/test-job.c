/* SPDX-License-Identifier: MIT */
#include <json-c/linkhash.h>

#include "pmd/app.h"
#include "pmd/job.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "test.h"
#include "tree.h"

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
static bool fake_ask_to_finish(Process *p) {
        return true;
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
        manager_process_settled(p->manager);
}

static const ProcessHostVTable fake_host = {
        fake_now, fake_spawn, fake_open_gate, fake_ask_to_finish, fake_operation, fake_operation, fake_operation, fake_operation, fake_operation, fake_arm_timer,
        fake_take_restart, fake_changed, fake_reconfigured, fake_settled,
};

static char *home;

static void set_up(unsigned n) {
        _cleanup_(app_config_unrefp) AppConfig *c = NULL;
        Instance *instance;

        home = tree_new();
        setenv("PMD_HOME", home, 1);
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
        tree_remove(&home);
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

/* ---- reload ---- */

static void come_up(unsigned n) {
        set_up(n);
        request(JOB_START, 0, n);
        for (unsigned i = 0; i < n; i++)
                exec_ok(i);
        turn();
        app->config->exec_mode = EXEC_MODE_CLUSTER;
        ASSERT_TRUE(!app->job);
}

static void successor_is_ready(unsigned i) {
        process_event(manager->processes[i]->peer, PROCESS_EVENT_EXEC_OK);
        process_event(manager->processes[i]->peer, PROCESS_EVENT_TIMER);
        turn();
}

static void retired_end(void) {
        while (manager->hidden_processes) {
                process_event(manager->hidden_processes, PROCESS_EVENT_EXITED);
                process_event(manager->hidden_processes, PROCESS_EVENT_DRAINED);
                turn();
        }
}

TEST(a_reload_goes_from_one_process_to_the_next) {
        Process *old[2];

        come_up(2);
        old[0] = manager->processes[0];
        old[1] = manager->processes[1];
        request(JOB_RELOAD, 0, 2);
        ASSERT_TRUE(old[0]->peer && !old[1]->peer);
        ASSERT_EQ(old[0]->state, PROCESS_ONLINE);

        successor_is_ready(0);
        ASSERT_TRUE(manager_get_process(manager, 0) != old[0]);
        ASSERT_EQ(manager_get_process(manager, 0)->n_restarts, 1);
        ASSERT_EQ(old[0]->state, PROCESS_STOPPING);
        ASSERT_TRUE(old[1]->peer && app->job);

        successor_is_ready(1);
        ASSERT_TRUE(!app->job);
        ASSERT_TRUE(app->processes == manager->processes[0] && app->processes->siblings_next == manager->processes[1]);
        retired_end();
        tear_down();
}

TEST(a_reload_takes_as_many_at_a_time_as_is_said) {
        Job *j;

        come_up(3);
        ASSERT_OK(job_new(app, JOB_RELOAD, manager->processes, 3, &j));
        j->parallel = 2;
        turn();
        ASSERT_TRUE(manager->processes[0]->peer && manager->processes[1]->peer && !manager->processes[2]->peer);
        for (unsigned i = 0; i < 3; i++)
                successor_is_ready(i);
        ASSERT_TRUE(!app->job);
        retired_end();
        tear_down();
}

TEST(a_failing_successor_ends_the_reload_and_leaves_the_old) {
        Process *old;

        come_up(2);
        old = manager->processes[0];
        request(JOB_RELOAD, 0, 2);
        process_event(old->peer, PROCESS_EVENT_EXEC_OK);
        process_event(old->peer, PROCESS_EVENT_EXITED);
        process_event(old->peer, PROCESS_EVENT_DRAINED);
        turn();
        ASSERT_TRUE(!app->job);
        ASSERT_TRUE(manager->processes[0] == old && old->state == PROCESS_ONLINE && !old->peer && !old->reload_wanted);
        ASSERT_TRUE(!manager->processes[1]->peer && !manager->processes[1]->reload_wanted);
        ASSERT_TRUE(!manager->hidden_processes);
        /* No unit's name is used twice. */
        ASSERT_EQ(old->incarnation, 1);
        ASSERT_EQ(old->last_incarnation, 2);
        tear_down();
}

TEST(a_stop_ends_both_incarnations) {
        come_up(1);
        request(JOB_RELOAD, 0, 1);
        ASSERT_TRUE(manager->hidden_processes);
        request(JOB_STOP, 0, 1);
        ASSERT_EQ(manager->hidden_processes->state, PROCESS_KILLING);
        ends(0);
        turn();
        ASSERT_TRUE(app->job); /* the other still runs */
        retired_end();
        ASSERT_TRUE(!app->job);
        ASSERT_EQ(manager->processes[0]->state, PROCESS_STOPPED);
        tear_down();
}

TEST(the_current_process_may_crash_meanwhile) {
        come_up(1);
        request(JOB_RELOAD, 0, 1);
        ends(0);
        ASSERT_EQ(manager->processes[0]->state, PROCESS_SPAWNING);
        ASSERT_EQ(manager->processes[0]->incarnation, 3);
        successor_is_ready(0);
        ASSERT_EQ(manager->processes[0]->state, PROCESS_ONLINE);
        ASSERT_EQ(manager->processes[0]->incarnation, 2);
        ASSERT_EQ(manager->processes[0]->last_incarnation, 3);
        ASSERT_EQ(manager->hidden_processes->state, PROCESS_KILLING);
        retired_end();
        ASSERT_TRUE(!app->job);
        tear_down();
}
