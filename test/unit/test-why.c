/* SPDX-License-Identifier: MIT */
#include <signal.h>

#include "pmctl/why.h"
#include "shared/strv.h"
#include "test.h"

#define MINUTE (60 * USEC_PER_SEC)
#define NOW (1000 * MINUTE)

static WhyFacts make(const char *status) {
        return (WhyFacts) { .id = 3, .name = (char *) "api", .status = (char *) status, .now = NOW, .started = NOW - 5 * MINUTE };
}

static void done(WhyFacts *f) {
        event_history_done(&f->events);
}

static void add(WhyFacts *f, HistoryEvent e, usec_t ago, EventDecision decision, const char *why, unsigned count) {
        HistoryEvent *added;

        ASSERT_OK(event_history_add(&f->events, &e, NOW - ago, &added));
        added->count = count;
        ASSERT_OK(event_history_decide(&f->events, decision, why));
}

#define EXIT(c) (HistoryEvent) { .kind = EVENT_EXITED, .code = (c), .reason = "exited", .ran = 40000 }
#define SIGNALED(s, why) (HistoryEvent) { .kind = EVENT_EXITED, .code = -1, .signal = (s), .reason = why, .ran = 3 * MINUTE }
#define REQUEST(what) (HistoryEvent) { .kind = EVENT_REQUESTED, .code = -1, .text = (char *) what, .uid = 4000000, .pid = 77, .command = "pmctl" }

static bool says(char *const *l, const char *text) {
        STRV_FOREACH(s, l)
                if (strstr(*s, text))
                        return true;
        return false;
}

#define ASSERT_SAYS(l, text)                                                            \
        do {                                                                            \
                _cleanup_free_ char *_all = strv_join((l), " | ");                      \
                if (!says((l), (text)))                                                 \
                        TEST_FAIL("\"%s\" is not said in: %s", text, strna(_all));      \
        } while (false)

TEST(errored_after_too_many_exits) {
        _cleanup_(done) WhyFacts f = make("errored");
        _cleanup_strv_free_ char **l = NULL, **advice = NULL;
        char *lines[] = { (char *) "Error: listen EADDRINUSE: address already in use :::3000", NULL };

        f.lines = lines;
        add(&f, EXIT(1), 2 * MINUTE, EVENT_DECISION_GIVE_UP, "too many unstable restarts", 16);
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_SAYS(l, "api (id 3) is errored: it ended 16 times in a row");
        ASSERT_SAYS(l, "exited with code 1 2 min ago, after it had run for 40 ms. pmd does not try again.");
        ASSERT_OK(why_advise(&f, &advice));
        ASSERT_SAYS(advice, "Port 3000 is in use");
        ASSERT_SAYS(advice, "pmctl logs api --err");
}

TEST(could_not_be_started) {
        _cleanup_(done) WhyFacts f = make("errored");
        _cleanup_strv_free_ char **l = NULL;

        add(&f, (HistoryEvent) { .kind = EVENT_FAILED, .code = -1, .reason = "exec-failed", .text = (char *) "Cannot execute 'x\033'." }, MINUTE,
            EVENT_DECISION_GIVE_UP, NULL, 1);
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_STREQ(l[0], "api (id 3) cannot be started: Cannot execute 'x\\x1b'. That was 60 s ago.");
}

TEST(waits) {
        _cleanup_(done) WhyFacts f = make("waiting restart");
        _cleanup_strv_free_ char **l = NULL;

        f.next_restart = NOW + 17 * USEC_PER_SEC;
        add(&f, EXIT(137), 3 * USEC_PER_SEC, EVENT_DECISION_RESTART_LATER, "it exited", 4);
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_SAYS(l, "exited with code 137 (a shell's word for SIGKILL) 3.0 s ago");
        ASSERT_SAYS(l, "(4 times in a row by now). The next try comes in 17 s.");
}

TEST(stopped_by_somebody) {
        _cleanup_(done) WhyFacts f = make("stopped");
        _cleanup_strv_free_ char **l = NULL, **advice = NULL;

        add(&f, REQUEST("stop"), 3 * MINUTE, EVENT_DECISION_NONE, NULL, 1);
        add(&f, SIGNALED(SIGINT, "signal"), 2 * MINUTE, EVENT_DECISION_STAY_DOWN, "it was to stop", 1);
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_SAYS(l, "is stopped: uid 4000000 (process 77, pmctl) asked for that 3 min ago. It then was killed by SIGINT 2 min ago");
        ASSERT_OK(why_advise(&f, &advice));
        ASSERT_STREQ(advice[0], "pmctl start api");
}

/* An old stop is not the reason for a new end. */
TEST(stopped_by_itself) {
        _cleanup_(done) WhyFacts f = make("stopped");
        _cleanup_strv_free_ char **l = NULL;

        add(&f, REQUEST("stop"), 30 * MINUTE, EVENT_DECISION_NONE, NULL, 1);
        add(&f, REQUEST("start"), 20 * MINUTE, EVENT_DECISION_NONE, NULL, 1);
        add(&f, EXIT(0), 2 * MINUTE, EVENT_DECISION_STAY_DOWN, "autorestart is off", 1);
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_SAYS(l, "is stopped: it exited with code 0");
        ASSERT_SAYS(l, "is not started again: autorestart is off.");
        ASSERT_TRUE(!says(l, "asked"));
}

TEST(never_started) {
        _cleanup_(done) WhyFacts f = make("stopped");
        _cleanup_strv_free_ char **l = NULL;

        f.started = 0;
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_SAYS(l, "it has not been started yet");
}

TEST(online_again) {
        _cleanup_(done) WhyFacts f = make("online");
        _cleanup_strv_free_ char **l = NULL;

        f.pid = 4711;
        f.n_restarts = 12;
        add(&f, REQUEST("the signal SIGKILL"), 6 * MINUTE, EVENT_DECISION_NONE, NULL, 1);
        add(&f, SIGNALED(SIGKILL, "signal"), 5 * MINUTE, EVENT_DECISION_RESTART, "it exited", 1);
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_SAYS(l, "is online: its process 4711 runs since 5 min.");
        ASSERT_SAYS(l, "It was restarted 12 times. Before, it was killed by SIGKILL, which uid 4000000 (process 77, pmctl) had pmd send");
}

TEST(online_after_a_trigger) {
        _cleanup_(done) WhyFacts f = make("online");
        _cleanup_strv_free_ char **l = NULL;

        add(&f, (HistoryEvent) { .kind = EVENT_TRIGGERED, .text = (char *) "watch: x.js changed" }, 2 * MINUTE, EVENT_DECISION_NONE, NULL, 1);
        add(&f, SIGNALED(SIGINT, "signal"), 2 * MINUTE, EVENT_DECISION_RESTART, "it was to be restarted", 1);
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_SAYS(l, "The last restart was 2 min ago, because of watch: x.js changed.");
}

TEST(online_after_a_failed_reload) {
        _cleanup_(done) WhyFacts f = make("online");
        _cleanup_strv_free_ char **l = NULL;

        add(&f, (HistoryEvent) { .kind = EVENT_RELOAD_FAILED, .text = (char *) "it was not ready within 3000 ms" }, 2 * MINUTE, EVENT_DECISION_NONE, NULL, 1);
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_SAYS(l, "The last reload, 2 min ago, failed and left it as it was: it was not ready within 3000 ms.");
}

TEST(out_of_memory) {
        _cleanup_(done) WhyFacts f = make("waiting restart");
        _cleanup_strv_free_ char **l = NULL, **advice = NULL;

        f.memory_max = (char *) "300M";
        add(&f, (HistoryEvent) { .kind = EVENT_OOM_KILL, .text = (char *) "the kernel killed node (pid 12) for lack of memory, limit 300M" }, MINUTE, EVENT_DECISION_NONE, NULL, 1);
        add(&f, SIGNALED(SIGKILL, "oom-kill"), MINUTE, EVENT_DECISION_RESTART_LATER, NULL, 1);
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_SAYS(l, "was killed by the kernel for lack of memory 60 s ago");
        ASSERT_SAYS(l, "Out of memory: the kernel killed node (pid 12) for lack of memory, limit 300M, 60 s ago.");
        ASSERT_OK(why_advise(&f, &advice));
        ASSERT_SAYS(advice, "Its memory_max is 300M");
}

TEST(a_child_out_of_memory) {
        _cleanup_(done) WhyFacts f = make("online");
        _cleanup_strv_free_ char **l = NULL, **later = NULL;

        add(&f, (HistoryEvent) { .kind = EVENT_OOM_KILL, .text = (char *) "the kernel killed x (pid 1) for lack of memory" }, MINUTE, EVENT_DECISION_NONE, NULL, 1);
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_SAYS(l, "Out of memory: the kernel killed x (pid 1)");

        add(&f, EXIT(1), 40 * USEC_PER_SEC, EVENT_DECISION_RESTART, NULL, 1);
        add(&f, EXIT(2), 20 * USEC_PER_SEC, EVENT_DECISION_RESTART, NULL, 1);
        ASSERT_OK(why_explain(&f, &later));
        ASSERT_TRUE(!says(later, "Out of memory"));
}

TEST(an_oom_kill_in_the_history) {
        _cleanup_free_ char *text = NULL;

        text = why_describe_event(&(HistoryEvent) { .kind = EVENT_OOM_KILL, .text = (char *) "the kernel killed evil\033 (pid 8)", .count = 2 });
        ASSERT_STREQ(text, "out of memory: the kernel killed evil\\x1b (pid 8), 2 times in a row");
}

TEST(a_kill_that_nobody_asked_for) {
        _cleanup_(done) WhyFacts f = make("waiting restart");
        _cleanup_strv_free_ char **advice = NULL;

        add(&f, SIGNALED(SIGKILL, "signal"), MINUTE, EVENT_DECISION_RESTART_LATER, NULL, 1);
        ASSERT_OK(why_advise(&f, &advice));
        ASSERT_SAYS(advice, "Nobody asked pmd for that SIGKILL");
}

TEST(no_pmd) {
        _cleanup_(done) WhyFacts f = make("online");
        _cleanup_strv_free_ char **l = NULL;

        f.no_pmd = f.alive = true;
        f.pid = 12;
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_STREQ(l[0], "api (id 3) was online when pmd ended, and its process 12 still runs.");
}

TEST(addresses_in_use) {
        static const struct {
                const char *line, *advice;
        } cases[] = {
                { "Error: listen EADDRINUSE: address already in use 0.0.0.0:8080", "Port 8080 is" },
                { "listen tcp :9090: bind: address already in use", "Port 9090 is" },
                { "OSError: [Errno 98] Address already in use", "The port it wants is in use" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(done) WhyFacts f = make("errored");
                char *lines[] = { (char *) cases[i].line, NULL };
                _cleanup_strv_free_ char **advice = NULL;

                f.lines = lines;
                add(&f, EXIT(1), MINUTE, EVENT_DECISION_GIVE_UP, NULL, 1);
                ASSERT_OK(why_advise(&f, &advice));
                ASSERT_SAYS(advice, cases[i].advice);
        }
}

/* Of what node prints the first lines matter, and frames and properties stand behind them. */
TEST(lines_without_most_frames) {
        _cleanup_strv_free_ char **lines = NULL, **chosen = NULL, **advice = NULL;
        _cleanup_(done) WhyFacts f = make("errored");

        for (unsigned run = 0; run < 2; run++) {
                ASSERT_OK(strv_extend(&lines, "Error: listen EADDRINUSE: address already in use :::3000"));
                for (unsigned i = 0; i < 9; i++)
                        ASSERT_OK(strv_extend(&lines, "    at Server.setupListenHandle (node:net:1937:16)"));
                ASSERT_OK(strv_extend(&lines, "Emitted 'error' event on Server instance at:"));
                ASSERT_OK(strv_extend(&lines, "\tat emitErrorNT (node:net:1916:8)"));
                for (unsigned i = 0; i < 4; i++)
                        ASSERT_OK(strv_extend(&lines, "  code: 'EADDRINUSE',"));
        }
        ASSERT_OK(why_choose_lines(&lines, 12, &chosen));
        ASSERT_TRUE(!lines);
        ASSERT_EQ(strv_length(chosen), 12);
        ASSERT_STREQ(chosen[0], "  code: 'EADDRINUSE',");
        ASSERT_STREQ(chosen[4], "Error: listen EADDRINUSE: address already in use :::3000");
        ASSERT_STREQ(chosen[5], "    at Server.setupListenHandle (node:net:1937:16) ...");
        ASSERT_STREQ(chosen[6], "Emitted 'error' event on Server instance at:");
        ASSERT_STREQ(chosen[7], "\\x09at emitErrorNT (node:net:1916:8)");

        f.lines = chosen;
        add(&f, EXIT(1), MINUTE, EVENT_DECISION_GIVE_UP, NULL, 1);
        ASSERT_OK(why_advise(&f, &advice));
        ASSERT_SAYS(advice, "Port 3000 is in use");
}

TEST(a_library_that_is_missing) {
        char *lines[] = { (char *) "./app: error while loading shared libraries: libfoo.so: cannot open shared object file: No such file or directory", NULL };
        _cleanup_(done) WhyFacts f = make("errored");
        _cleanup_strv_free_ char **advice = NULL;

        f.lines = lines;
        add(&f, EXIT(127), MINUTE, EVENT_DECISION_GIVE_UP, NULL, 1);
        ASSERT_OK(why_advise(&f, &advice));
        ASSERT_SAYS(advice, "A shared library is missing");
        ASSERT_TRUE(!says(advice, "shell's word"));
}

TEST(a_core_dump) {
        _cleanup_(done) WhyFacts f = make("errored");
        _cleanup_strv_free_ char **advice = NULL;

        add(&f, SIGNALED(SIGSEGV, "core-dump"), MINUTE, EVENT_DECISION_GIVE_UP, NULL, 1);
        ASSERT_OK(why_advise(&f, &advice));
        ASSERT_SAYS(advice, "coredumpctl");
}

/* What an interpreter says of a script that it does not find is not about modules, nor about PATH. */
TEST(what_is_gone_explains_the_rest) {
        char *lines[] = { (char *) "Error: Cannot find module '/srv/api/app.js'", NULL };

        for (unsigned i = 0; i < 2; i++) {
                _cleanup_(done) WhyFacts f = make("errored");
                _cleanup_strv_free_ char **advice = NULL;

                f.script = (char *) "/srv/api/app.js";
                f.cwd = (char *) "/srv/api";
                f.script_is_gone = true;
                f.cwd_is_gone = i > 0;
                f.lines = lines;
                add(&f, EXIT(127), MINUTE, EVENT_DECISION_GIVE_UP, NULL, 1);
                ASSERT_OK(why_advise(&f, &advice));
                ASSERT_SAYS(advice, i > 0 ? "Its directory /srv/api is gone" : "Its script /srv/api/app.js is gone");
                ASSERT_TRUE(!says(advice, "npm") && !says(advice, "PATH"));
        }
}

TEST(an_interpreter_that_is_gone) {
        _cleanup_(done) WhyFacts f = make("errored");
        _cleanup_strv_free_ char **advice = NULL, **l = NULL;

        add(&f, (HistoryEvent) { .kind = EVENT_FAILED, .code = -1, .reason = "exec-failed", .text = (char *) "Cannot execute '/opt/node': No such file or directory (ENOENT)" },
            MINUTE, EVENT_DECISION_GIVE_UP, NULL, 1);
        ASSERT_OK(why_advise(&f, &advice));
        ASSERT_SAYS(advice, "pmctl restart api --interpreter PATH");
        ASSERT_OK(why_explain(&f, &l));
        ASSERT_SAYS(l, "(ENOENT). That was 60 s ago.");
}

TEST(a_process_that_does_not_run) {
        static const struct {
                char state;
                const char *sentence;
        } cases[] = {
                { 'T', "was stopped by a signal" }, { 't', "A debugger holds" }, { 'D', "waits for a disk" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(done) WhyFacts f = make("online");
                _cleanup_strv_free_ char **l = NULL, **advice = NULL;

                f.pid = 4711;
                f.main_state = cases[i].state;
                ASSERT_OK(why_explain(&f, &l));
                ASSERT_SAYS(l, cases[i].sentence);
                ASSERT_OK(why_advise(&f, &advice));
                ASSERT_EQ(says(advice, "pmctl sendSignal SIGCONT api"), cases[i].state == 'T');
        }
}

TEST(an_app_that_triggers_itself) {
        _cleanup_(done) WhyFacts f = make("online");
        _cleanup_strv_free_ char **advice = NULL;

        f.n_restarts = 7;
        for (unsigned i = 3; i > 0; i--) {
                add(&f, (HistoryEvent) { .kind = EVENT_TRIGGERED, .code = -1, .text = (char *) "watch: own.log changed" }, i * MINUTE, EVENT_DECISION_NONE, NULL, 1);
                add(&f, SIGNALED(SIGINT, "signal"), i * MINUTE, EVENT_DECISION_RESTART, "it was to be restarted", 1);
        }
        ASSERT_OK(why_advise(&f, &advice));
        ASSERT_STREQ(advice[0], "If it writes these files itself: pmctl restart api --ignore-watch NAME leaves them out.");
        ASSERT_TRUE(!advice[1]);
}

/* Only who was asked to say so can have failed to. */
TEST(readiness_that_nobody_waits_for) {
        for (unsigned i = 0; i < 2; i++) {
                _cleanup_(done) WhyFacts f = make("launching");
                _cleanup_strv_free_ char **l = NULL;

                f.pid = 4711;
                f.says_when_ready = i > 0;
                ASSERT_OK(why_explain(&f, &l));
                ASSERT_EQ(says(l, "has not said yet that it is ready"), i > 0);
        }
}
