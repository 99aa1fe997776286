/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#include "pmctl/ecosystem.h"
#include "pmctl/last-state.h"
#include "pmctl/pmctl-definition.h"
#include "pmctl/reload-report.h"
#include "shared/parse-util.h"
#include "shared/path-util.h"
#include "shared/signal-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"
#include "shared/time-util.h"

/* Until every app has had the time that it may take to end. */
#define KILL_WAIT (300 * USEC_PER_SEC)

static const Action actions[] = {
        { "start", PMD_RESTART, "restartProcessId" }, /* of what is there already */
        { "stop", PMD_STOP, "stopProcessId" },
        { "restart", PMD_RESTART, "restartProcessId" },
        { "reload", PMD_RELOAD, "reloadProcessId" },
        { "gracefulReload", PMD_RELOAD, "softReloadProcessId" },
        { "startOrRestart", PMD_RESTART, "restartProcessId" },
        { "startOrReload", PMD_RELOAD, "reloadProcessId" },
        { "startOrGracefulReload", PMD_RELOAD, "softReloadProcessId" },
        { "delete", PMD_DELETE, "deleteProcessId" },
        { "del", PMD_DELETE, "deleteProcessId" },
};

bool action_starts(const Action *a) {
        return IN_SET(a->verb, PMD_RESTART, PMD_RELOAD);
}

const Action *action_find(const char *word) {
        for (size_t i = 0; i < ELEMENTSOF(actions); i++)
                if (streq(actions[i].word, word))
                        return actions + i;
        return NULL;
}

void announce_action(const Options *o, const char *action, const char *target, const ProcessList *l) {
        _cleanup_free_ char *escaped = string_escape_cc(target), *ids = format_ids(l);

        message_info(o, "%s action %s on app [%s](ids: %s)", o->dry_run ? "Would apply" : "Applying", action, strempty(escaped), strempty(ids));
}

void confirm_process(const Options *o, const char *name, uint32_t id) {
        _cleanup_free_ char *escaped = string_escape_cc(strempty(name));

        message_info(o, "[%s](%" PRIu32 ") \u2713", strempty(escaped), id);
}

bool process_has_failed(const pmd_result *result, uint32_t id) {
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

/* "restart --watch" turns watching on or off, as in pm2; with paths it is a change of the definition. */
static bool wants_toggle_watch(const Options *o, const Action *a) {
        if (!action_starts(a) || streq(a->word, "start"))
                return false;
        for (size_t i = 0; i < o->n_app_flags; i++)
                if (streq(o->app_flags[i].option->key, "watch") && !o->app_flags[i].value)
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

static void warn_of_cron(const Options *o, const pmd_process *p, const pmd_process *previous) {
        const pmd_attribute *a = process_attribute(p, "cron_restart");
        _cleanup_free_ char *name = string_escape_cc(p->name);

        if (!a || a->type != PMD_ATTRIBUTE_STRING || streq(a->string, "0") || (previous && streq(previous->name, p->name)))
                return;
        message_warn(o, "App %s stopped but CRON RESTART is still UP %s: it will be started again", strempty(name), a->string);
}

static int send_action(const Options *o, pmd_connection *c, const Action *a, char *const *targets, const pmd_definition *changes,
                       pmd_result *ret, pmd_error *reterr) {
        if (a->verb == PMD_RELOAD)
                return pmd_reload(c, targets, changes, 0, o->parallel, ret, reterr);
        return changes ? pmd_restart_changed(c, targets, changes, 0, ret, reterr) : pmd_request(c, a->verb, targets, ret, reterr);
}

static int run_action(const Options *o, pmd_connection *c, const Action *a, char *const *targets,
                      const pmd_definition *changes, const ProcessList *l) {
        _cleanup_(reload_report_done) ReloadReport report = { .options = o };
        _cleanup_(pmd_result_free) pmd_result result = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        int r = 0, code;

        if (a->verb == PMD_RELOAD)
                r = reload_report_add(&report, c, l);
        if (r >= 0)
                r = send_action(o, c, a, targets, changes, &result, &e);
        (void) pmd_set_progress(c, NULL, NULL);
        if (r < 0 && r != -EREMOTEIO)
                return report_error(o, r, &e);

        /* Of a reload that failed, only those are done that have been confirmed. */
        for (size_t i = 0; i < l->n && (r >= 0 || a->verb != PMD_RELOAD); i++)
                if (!process_has_failed(&result, l->items[i].id) && !reload_report_has_confirmed(&report, l->items[i].id))
                        confirm_process(o, l->items[i].name, l->items[i].id);
        if (action_starts(a))
                report_notes(o, c, &result);
        for (size_t i = 0; i < l->n && a->verb == PMD_STOP; i++)
                warn_of_cron(o, l->items + i, i > 0 ? l->items + i - 1 : NULL);
        code = report_failures(o, l, &result);
        reload_report_show_lines(&report, c, &result);
        if (r < 0 && code == EXIT_CODE_OK)
                code = report_error(o, r, NULL);
        return code;
}

int apply_changes(const Options *o, pmd_connection *c, const Action *a, char *const *targets, const Caller *caller) {
        _cleanup_(pmd_definition_freep) pmd_definition *changes = NULL;
        bool toggle = caller && wants_toggle_watch(o, a);
        _cleanup_process_list_ ProcessList l = {};
        int r = EXIT_CODE_OK;

        if (caller)
                r = overlay_from_options(o, caller, toggle, &changes);
        if (r == EXIT_CODE_OK)
                r = announce_targets(o, c, a->name, targets);
        if (r == EXIT_CODE_OK)
                r = fetch_processes(o, c, targets, 0, &l);
        if (r != EXIT_CODE_OK || o->dry_run)
                return r;

        if (toggle) {
                r = toggle_watch(o, c, targets);
                if (r != EXIT_CODE_OK)
                        return r;
        }
        return run_action(o, c, a, targets, changes, &l);
}

int apply_action(const Options *o, pmd_connection *c, pmd_verb verb, char *const *targets) {
        for (size_t i = 0; i < ELEMENTSOF(actions); i++)
                if (actions[i].verb == verb)
                        return apply_changes(o, c, actions + i, targets, NULL);
        return EXIT_CODE_USAGE;
}

/* A script's path stands for the apps that run it, unless it means something else. */
static bool is_script_of_app(const Options *o, pmd_connection *c, const char *operand) {
        _cleanup_process_list_ ProcessList l = {};

        return !path_is_absolute(operand) && access(operand, F_OK) >= 0 &&
                fetch_processes(o, c, TARGET(operand), 0, &l) == EXIT_CODE_NO_SUCH_APP;
}

static int find_scripts(const Options *o, pmd_connection *c, const char *cwd, char *const *operands, char ***ret) {
        _cleanup_strv_free_ char **targets = NULL;

        STRV_FOREACH(t, operands) {
                _cleanup_free_ char *path = is_script_of_app(o, c, *t) ? path_resolve(cwd, *t) : strdup(*t);

                if (!path || strv_extend(&targets, path) < 0)
                        return report_error(o, -ENOMEM, NULL);
        }

        *ret = TAKE_PTR(targets);
        return EXIT_CODE_OK;
}

/* The operands before the first that is a file, or that file. */
static int act_on_operands(const Options *o, pmd_connection *c, const Caller *caller, const Action *a, char **operands,
                           size_t *ret_n) {
        _cleanup_strv_free_ char **targets = NULL;
        char *end;
        size_t n = 0;
        int r;

        while (operands[n] && !ecosystem_is_file(operands[n]))
                n++;
        *ret_n = MAX(n, (size_t) 1);
        if (n == 0)
                return act_on_file(o, c, caller, a->word, operands[0]);

        end = operands[n];
        operands[n] = NULL;
        r = find_scripts(o, c, caller->cwd, operands, &targets);
        operands[n] = end;
        return r == EXIT_CODE_OK ? apply_changes(o, c, a, targets, action_starts(a) ? caller : NULL) : r;
}

static bool is_reload(const Action *a) {
        return streq(a->word, "reload") || streq(a->word, "gracefulReload");
}

int verb_act(int argc, char *argv[], const Options *o) {
        const Action *a = action_find(argv[0]);
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_caller_ Caller caller = {};
        bool files = false;
        int r;

        STRV_FOREACH(operand, argv + 1)
                files = files || ecosystem_is_file(*operand);
        if (o->env_name && !files && action_starts(a)) {
                message_error(o, "Using --env [env] without passing the ecosystem.config.js does not work");
                return EXIT_CODE_FAILED;
        }

        r = caller_get(o, &caller);
        if (r == EXIT_CODE_OK)
                r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;
        if (action_starts(a) && !files && !o->update_env && !o->silent)
                puts("Use --update-env to update environment variables");

        for (size_t i = 1, n; r == EXIT_CODE_OK && argv[i]; i += n)
                r = act_on_operands(o, c, &caller, a, argv + i, &n);
        if (r != EXIT_CODE_OK || o->dry_run || (is_reload(a) && !files))
                return r;
        return print_process_table(o, c);
}

/* startOrRestart and the like: what the file names is started where it is not there. */
int verb_act_on_file(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_caller_ Caller caller = {};
        int r;

        r = caller_get(o, &caller);
        if (r == EXIT_CODE_OK)
                r = acquire_connection(o, 0, &c);
        for (char **file = argv + 1; r == EXIT_CODE_OK && *file; file++)
                r = act_on_file(o, c, &caller, argv[0], *file);
        return r == EXIT_CODE_OK && !o->dry_run ? print_process_table(o, c) : r;
}

/* "3", "+3" or "-3" */
static int parse_scale(const char *s, int *ret, bool *ret_relative) {
        unsigned n;
        int r;

        *ret_relative = IN_SET(s[0], '+', '-');
        r = safe_atou(*ret_relative ? s + 1 : s, &n);
        if (r < 0 || n > INT_MAX)
                return -EINVAL;
        *ret = s[0] == '-' ? -(int) n : (int) n;
        return 0;
}

static int count_processes(const Options *o, pmd_connection *c, const char *app, unsigned *ret) {
        _cleanup_process_list_ ProcessList l = {};
        int r;

        *ret = 0;
        r = fetch_processes(o, c, NULL, 0, &l);
        if (r != EXIT_CODE_OK)
                return r;
        for (size_t i = 0; i < l.n; i++)
                *ret += streq_ptr(l.items[i].name, app);
        if (*ret > 0)
                return EXIT_CODE_OK;

        message_error(o, "Application %s not found", app);
        return EXIT_CODE_NO_SUCH_APP;
}

int scale_app(const Options *o, pmd_connection *c, const char *app, int n, bool relative) {
        _cleanup_(pmd_result_free) pmd_result result = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        _cleanup_free_ char *name = string_escape_cc(app);
        unsigned have;
        int r, code;

        r = count_processes(o, c, app, &have);
        if (r != EXIT_CODE_OK)
                return r;
        if (relative ? n == 0 : n == (int) have) {
                message_error(o, "Nothing to do");
                return EXIT_CODE_FAILED;
        }
        message_info(o, "%s %s application %s", o->dry_run ? "Would scale" : "Scaling",
                     relative ? (n > 0 ? "up" : "down") : (n > (int) have ? "up" : "down"), strempty(name));
        if (o->dry_run)
                return EXIT_CODE_OK;

        r = pmd_scale(c, app, n, relative, &result, &e);
        if (r < 0 && r != -EREMOTEIO)
                return report_error(o, r, &e);
        code = report_failures(o, NULL, &result);
        return r < 0 && code == EXIT_CODE_OK ? report_error(o, r, NULL) : code;
}

int verb_scale(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_free_ char *given = string_escape_cc(argv[2]);
        bool relative;
        int n, r;

        r = parse_scale(argv[2], &n, &relative);
        if (r < 0) {
                message_error(o, "'%s' is no number of processes: N, +N or -N", strempty(given));
                return EXIT_CODE_USAGE;
        }

        r = acquire_connection(o, 0, &c);
        if (r == EXIT_CODE_OK)
                r = scale_app(o, c, argv[1], n, relative);
        return r == EXIT_CODE_OK && !o->dry_run ? print_process_table(o, c) : r;
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
        /* As pm2: no counter is left that is not 0. */
        if (r < 0 && exit_code_from_error(r, &e) == EXIT_CODE_NO_SUCH_APP && argc == 2 && streq(argv[1], "all"))
                message_warn(o, "No process found");
        else if (r < 0)
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
                announce_action(o, "deleteProcessId", "all", ret);
        else
                message_warn(o, "No process found");
        return EXIT_CODE_OK;
}

/* pm2 starts its daemon to end it; where none runs, and none has left anything, there is nothing to do: then *ret is NULL. What apps a pmd has left
 * that was killed, only the next one can stop. */
static int open_to_kill(const Options *o, pmd_connection **ret) {
        _cleanup_(pmd_error_free) pmd_error e = {};
        bool keeper;
        int r;

        r = pmd_open(o->scope, o->home, PMD_OPEN_NO_START | PMD_OPEN_INTERACTIVE, ret, &e);
        if (r >= 0)
                return EXIT_CODE_OK;
        if (exit_code_from_error(r, &e) != EXIT_CODE_UNREACHABLE)
                return report_error(o, r, &e);
        *ret = NULL;
        if (!last_state_lives(o, &keeper))
                return EXIT_CODE_OK;

        r = keeper ? report_error(o, r, &e) : acquire_connection(o, 0, ret);
        if (r != EXIT_CODE_OK)
                (void) show_last_state(o);
        return r;
}

int verb_kill(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_process_list_ ProcessList l = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        int r;

        r = open_to_kill(o, &c);
        if (r != EXIT_CODE_OK)
                return r;
        if (!c) {
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
                confirm_process(o, l.items[i].name, l.items[i].id);
        message_info(o, "[v] All Applications Stopped");
        message_info(o, "[v] PM2 Daemon Stopped");
        return EXIT_CODE_OK;
}

/* pm2 saves, kills and resurrects for that. */
int verb_update(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        _cleanup_free_ char *version = NULL;
        int r;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;

        r = pmd_reexecute(c, &e);
        if (r >= 0)
                r = pmd_get_version(c, &version, &e);
        if (r < 0)
                return report_error(o, r, &e);
        message_info(o, "PM2 updated: pmd was started again, in version %s; the apps ran on", version);
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
