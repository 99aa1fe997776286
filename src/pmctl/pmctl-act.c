/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "pmctl/pmctl-util.h"
#include "shared/signal-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"
#include "shared/time-util.h"

/* Until every app has had the time that it may take to end. */
#define KILL_WAIT (300 * USEC_PER_SEC)

static const char *action_name(pmd_verb verb) {
        switch (verb) {
        case PMD_START:
                return "startProcessId";
        case PMD_STOP:
                return "stopProcessId";
        case PMD_RESTART:
                return "restartProcessId";
        case PMD_DELETE:
                return "deleteProcessId";
        }
        return "";
}

static void announce_action(const Options *o, const char *action, const char *target, const ProcessList *l) {
        _cleanup_free_ char *escaped = string_escape_cc(target), *ids = format_ids(l);

        message_info(o, "Applying action %s on app [%s](ids: %s)", action, strempty(escaped), strempty(ids));
}

static void confirm_process(const Options *o, const pmd_process *p) {
        _cleanup_free_ char *name = string_escape_cc(strempty(p->name));

        message_info(o, "[%s](%" PRIu32 ") \u2713", strempty(name), p->id);
}

static bool has_failed(const pmd_result *result, uint32_t id) {
        for (size_t i = 0; i < result->n_failures; i++)
                if (result->failures[i].process_id == id)
                        return true;
        return result->canceled;
}

/* Looks every operand up before anything is done, so that a misspelt one leaves all as it was. */
static int announce_targets(const Options *o, pmd_connection *c, const char *action, char *const *targets) {
        STRV_FOREACH(t, targets) {
                _cleanup_process_list_ ProcessList l = {};
                int r;

                r = fetch_processes(o, c, TARGET(*t), 0, &l);
                if (r == EXIT_CODE_NO_SUCH_APP && streq(*t, "all")) {
                        message_warn(o, "No process found");
                        return EXIT_CODE_FAILED;
                }
                if (r == EXIT_CODE_NO_SUCH_APP)
                        return report_no_such_target(o, *t);
                if (r != EXIT_CODE_OK)
                        return r;
                announce_action(o, action, *t, &l);
        }
        return EXIT_CODE_OK;
}

/* "restart --watch" turns watching on or off, as in pm2; paths would be a definition. */
static bool wants_toggle_watch(const Options *o) {
        for (size_t i = 0; i < o->n_app_flags; i++)
                if (streq(o->app_flags[i].option->key, "watch"))
                        return true;
        return false;
}

static int toggle_watch(const Options *o, pmd_connection *c, char *const *targets) {
        _cleanup_free_ uint32_t *ids = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        size_t n;
        int r;

        r = pmd_toggle_watch(c, targets, &ids, &n, &e);
        return r < 0 ? report_error(o, r, &e) : EXIT_CODE_OK;
}

static void warn_unused_definition(const Options *o) {
        if (o->n_app_flags > wants_toggle_watch(o) || !strv_isempty(o->script_args) || o->update_env)
                message_warn(o, "A restart keeps the definition: options of the app, arguments and --update-env "
                                "have no effect");
}

int apply_action(const Options *o, pmd_connection *c, pmd_verb verb, char *const *targets) {
        _cleanup_process_list_ ProcessList l = {};
        _cleanup_(pmd_result_free) pmd_result result = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        int r, code;

        if (verb == PMD_RESTART)
                warn_unused_definition(o);
        code = announce_targets(o, c, action_name(verb), targets);
        if (code != EXIT_CODE_OK)
                return code;
        code = fetch_processes(o, c, targets, 0, &l);
        if (code != EXIT_CODE_OK)
                return code;

        if (verb == PMD_RESTART && wants_toggle_watch(o)) {
                code = toggle_watch(o, c, targets);
                if (code != EXIT_CODE_OK)
                        return code;
        }

        r = pmd_request(c, verb, targets, &result, &e);
        if (r < 0 && r != -EREMOTEIO)
                return report_error(o, r, &e);

        for (size_t i = 0; i < l.n; i++)
                if (!has_failed(&result, l.items[i].id))
                        confirm_process(o, l.items + i);
        if (IN_SET(verb, PMD_START, PMD_RESTART))
                report_notes(o, c, &result);
        code = report_failures(o, &l, &result);
        if (r < 0 && code == EXIT_CODE_OK)
                code = report_error(o, r, NULL);
        return code;
}

int verb_act(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        pmd_verb verb = streq(argv[0], "stop") ? PMD_STOP : streq(argv[0], "restart") ? PMD_RESTART : PMD_DELETE;
        int r;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;

        r = apply_action(o, c, verb, argv + 1);
        return r == EXIT_CODE_OK ? print_process_table(o, c) : r;
}

int verb_reset(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_free_ uint32_t *ids = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        size_t n = 0;
        int r;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;

        r = pmd_reset(c, argv + 1, &ids, &n, &e);
        if (r < 0)
                return report_error(o, r, &e);

        for (size_t i = 0; i < n; i++)
                message_info(o, "Resetting meta for process id %" PRIu32, ids[i]);
        return print_process_table(o, c);
}

int verb_flush(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_free_ uint32_t *ids = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        size_t n = 0;
        int r;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;

        r = pmd_flush_logs(c, argv + 1, &ids, &n, &e);
        if (r < 0)
                return report_error(o, r, &e);

        for (size_t i = 0; i < n; i++)
                message_info(o, "Flushing the logs of process id %" PRIu32, ids[i]);
        message_info(o, "Logs flushed. What is in the journal stays there; pmctl logs no longer shows it.");
        return EXIT_CODE_OK;
}

int verb_reload_logs(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        int r;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;

        message_info(o, "Reloading all logs...");
        r = pmd_reopen_logs(c, &e);
        if (r < 0)
                return report_error(o, r, &e);
        message_info(o, "All logs reloaded");
        return EXIT_CODE_OK;
}

int verb_send_signal(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_free_ char *signal_name = string_escape_cc(argv[1]);
        int signo = signal_from_string(argv[1]), r;

        if (signo <= 0) {
                message_error(o, "Error when sending signal (signal unknown): %s", strempty(signal_name));
                return EXIT_CODE_USAGE;
        }

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;

        for (char **t = argv + 2; *t; t++) {
                _cleanup_free_ char *target = string_escape_cc(*t);
                _cleanup_free_ uint32_t *ids = NULL;
                const char *kind = target_is_id(*t) ? "process id" : "process name";
                _cleanup_(pmd_error_free) pmd_error e = {};
                size_t n = 0;

                message_info(o, "Sending signal to %s %s", kind, strempty(target));
                r = pmd_send_signal(c, TARGET(*t), false, signo, &ids, &n, &e);
                if (r < 0)
                        return report_error(o, r, &e);
                message_info(o, "successfully sent signal %s to %s %s", strempty(signal_name), kind, strempty(target));
        }
        return EXIT_CODE_OK;
}

/* Tells what will be stopped; that nobody is there is no reason to leave pmd running. */
static int announce_kill(const Options *o, pmd_connection *c, ProcessList *ret) {
        int r;

        r = fetch_processes(o, c, NULL, 0, ret);
        if (r != EXIT_CODE_OK)
                return r;
        if (ret->n > 0)
                announce_action(o, action_name(PMD_DELETE), "all", ret);
        else
                message_warn(o, "No process found");
        return EXIT_CODE_OK;
}

int verb_kill(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_process_list_ ProcessList l = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        int r;

        /* pm2 starts its daemon to end it; where none runs there is nothing to do. */
        r = pmd_open(o->scope, o->home, PMD_OPEN_NO_START | PMD_OPEN_INTERACTIVE, &c, &e);
        if (r < 0 && exit_code_from_error(r, &e) != EXIT_CODE_UNREACHABLE)
                return report_error(o, r, &e);
        if (r < 0) {
                message_warn(o, "No process found");
                message_info(o, "[v] PM2 Daemon Stopped");
                return EXIT_CODE_OK;
        }

        r = announce_kill(o, c, &l);
        if (r != EXIT_CODE_OK)
                return r;

        pmd_set_timeout(c, KILL_WAIT);
        r = pmd_exit(c, &e);
        if (r < 0)
                return report_error(o, r, &e);

        for (size_t i = 0; i < l.n; i++)
                confirm_process(o, l.items + i);
        message_info(o, "[v] All Applications Stopped");
        message_info(o, "[v] PM2 Daemon Stopped");
        return EXIT_CODE_OK;
}

int verb_ping(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        int r;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;

        r = pmd_ping(c, &e);
        if (r < 0)
                return report_error(o, r, &e);
        if (o->json || !o->silent)
                puts(o->json ? "{\"msg\":\"pong\"}" : "{ msg: 'pong' }");
        return EXIT_CODE_OK;
}
