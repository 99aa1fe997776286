/* SPDX-License-Identifier: MIT */

#include "pmctl/pmctl-ecosystem.h"
#include "pmctl/reload-report.h"
#include "shared/json-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* What is under way at a time: enough to keep pmd busy, and far from what it refuses. */
#define IN_FLIGHT_MAX 64U

/* One pass over the apps of a plan. */
typedef struct Run {
        const Options *options;
        FilePlan *plan;
        const Action *action;
        pmd_connection *connection;
        ReloadReport report;
        size_t next, n_in_flight, n_told; /* apps sent, not answered yet, told of */
        int code;
} Run;

static bool is_there(const FileApp *a) {
        return a->processes.n > 0;
}

/* ---- differences ---- */

static json_object *attribute_to_json(const pmd_attribute *a) {
        json_object *array;

        switch (a->type) {
        case PMD_ATTRIBUTE_STRING:
                return json_object_new_string(a->string);
        case PMD_ATTRIBUTE_BOOL:
                return json_object_new_boolean(a->integer != 0);
        case PMD_ATTRIBUTE_INT:
                return json_object_new_int64(a->integer);
        case PMD_ATTRIBUTE_STRV:
                array = json_object_new_array();
                STRV_FOREACH(s, a->strv)
                        (void) json_object_array_add(array, json_object_new_string(*s));
                return array;
        case PMD_ATTRIBUTE_INTV:
                array = json_object_new_array();
                for (size_t i = 0; i < a->n_integers; i++)
                        (void) json_object_array_add(array, json_object_new_int64(a->integers[i]));
                return array;
        default:
                return NULL;
        }
}

static bool attribute_differs(const pmd_process *p, const char *key, json_object *value) {
        const pmd_attribute *a = process_attribute(p, key);
        _cleanup_(json_object_putp) json_object *has = a ? attribute_to_json(a) : NULL;

        return !json_object_equal(has, value);
}

/* Where the file says nothing, pmd may have been told the name, and always was the directory. */
static bool is_compared(const char *key) {
        return !streq(key, "name") && !streq(key, "cwd") && !streq(key, "own_env");
}

static int find_changes(FileApp *a) {
        const pmd_process *p = a->processes.items;
        _cleanup_(json_object_putp) json_object *given = NULL;
        int r;

        r = app_config_to_json(a->config, &given);
        if (r < 0)
                return r;

        json_object_object_foreach(given, key, value)
                if (is_compared(key) && attribute_differs(p, key, value)) {
                        r = strv_extend(&a->changes, key);
                        if (r < 0)
                                return r;
                }
        for (size_t i = 0; i < p->n_attributes; i++)
                if (is_compared(p->attributes[i].key) && !json_object_object_get_ex(given, p->attributes[i].key, NULL)) {
                        r = strv_extend(&a->changes, p->attributes[i].key);
                        if (r < 0)
                                return r;
                }
        if (!streq_ptr(p->cwd, a->finished->cwd))
                return strv_extend(&a->changes, "cwd");
        return 0;
}

/* ---- telling ---- */

static void tell_started(const Run *run, FileApp *a) {
        const Options *o = run->options;
        _cleanup_free_ char *name = string_escape_cc(a->name);

        message_info(o, "App [%s] launched (%d instances)", strempty(name), a->finished->instances);
}

static void tell_outcome(Run *run, FileApp *a) {
        const Options *o = run->options;
        int code = EXIT_CODE_OK;

        if (a->r < 0 && a->r != -EREMOTEIO)
                code = report_error(o, a->r, &a->error);
        else {
                for (size_t i = 0; i < a->processes.n && (a->r >= 0 || run->action->verb != PMD_RELOAD); i++)
                        if (!process_has_failed(&a->result, a->processes.items[i].id) &&
                            !reload_report_has_confirmed(&run->report, a->processes.items[i].id))
                                confirm_process(o, a->processes.items[i].name, a->processes.items[i].id);
                code = report_failures(o, &a->processes, &a->result);
                reload_report_show_lines(&run->report, run->connection, &a->result);
                if (code == EXIT_CODE_OK && a->r < 0)
                        code = report_error(o, a->r, NULL);
        }
        if (code == EXIT_CODE_OK && !is_there(a))
                tell_started(run, a);
        if (run->code == EXIT_CODE_OK)
                run->code = code;
}

/* In the order of the file, whatever comes first. */
static void tell_ended(Run *run) {
        for (; run->n_told < run->plan->n_apps && run->plan->apps[run->n_told].ended; run->n_told++)
                tell_outcome(run, run->plan->apps + run->n_told);
}

static char *join_names(const FilePlan *p, bool there) {
        _cleanup_strv_free_ char **names = NULL;

        for (size_t i = 0; i < p->n_apps; i++)
                if (is_there(p->apps + i) == there && p->apps[i].name) {
                        char *escaped = string_escape_cc(p->apps[i].name);

                        if (!escaped || strv_consume(&names, escaped) < 0)
                                return NULL;
                }
        return strv_isempty(names) ? NULL : strv_join(names, ", ");
}

static void announce_missing(const Options *o, const FilePlan *p) {
        _cleanup_free_ char *names = join_names(p, false);

        if (names)
                message_notice(o, "Applications %s not running, starting...", names);
}

static void announce_waiting(const Options *o, const FileApp *a) {
        _cleanup_free_ char *name = string_escape_cc(a->name);

        if (a->finished->wait_ready)
                message_notice(o, "App %s has option 'wait_ready' set, waiting for app to be ready...", strempty(name));
}

/* ---- doing ---- */

typedef struct Pending {
        Run *run;
        FileApp *app;
} Pending;

/* What is told of it is gone when on_done() returns. */
static int copy_result(const pmd_result *from, pmd_result *to) {
        to->canceled = from->canceled;
        to->failures = from->n_failures > 0 ? new0(pmd_failure, from->n_failures) : NULL;
        if (from->n_failures > 0 && !to->failures)
                return -ENOMEM;
        for (; to->n_failures < from->n_failures; to->n_failures++) {
                const pmd_failure *f = from->failures + to->n_failures;
                pmd_failure *copy = to->failures + to->n_failures;

                copy->process_id = f->process_id;
                if (free_and_strdup(&copy->error_name, f->error_name) < 0 || free_and_strdup(&copy->message, f->message) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static void on_done(pmd_connection *c, int r, const pmd_result *result, const pmd_error *error, void *userdata) {
        Pending *pending = userdata;
        FileApp *a = pending->app;
        Run *run = pending->run;

        free(pending);
        a->ended = true;
        a->r = r;
        if (error) {
                (void) free_and_strdup(&a->error.name, error->name);
                (void) free_and_strdup(&a->error.message, error->message);
        }
        if (copy_result(result, &a->result) < 0)
                a->r = -ENOMEM;
        run->n_in_flight--;
        tell_ended(run);
}

static int send_app(Run *run, pmd_connection *c, FileApp *a) {
        _cleanup_(pmd_definition_freep) pmd_definition *d = NULL;
        _cleanup_free_ Pending *pending = NULL;
        int r;

        r = make_definition(a->config, a->finished->cwd, &d);
        if (r < 0)
                return r;
        pending = new(Pending, 1);
        if (!pending)
                return -ENOMEM;
        *pending = (Pending) { run, a };

        if (is_there(a)) {
                announce_action(run->options, run->action->name, a->name, &a->processes);
                if (run->action->verb == PMD_RELOAD) {
                        r = reload_report_add(&run->report, c, &a->processes);
                        if (r < 0)
                                return r;
                        r = pmd_reload_async(c, TARGET(a->name), d, PMD_CHANGE_REPLACE, run->options->parallel, on_done, pending);
                } else
                        r = pmd_restart_changed_async(c, TARGET(a->name), d, PMD_CHANGE_REPLACE, on_done, pending);
        } else {
                announce_waiting(run->options, a);
                r = pmd_start_app_async(c, d, run->options->force, on_done, pending);
        }
        if (r < 0)
                return r;
        TAKE_PTR(pending);
        return 0;
}

/* Handles one thing, or waits until there is one: each may have made room for another request. */
static int dispatch_or_wait(pmd_connection *c) {
        int r;

        r = pmd_dispatch(c);
        return r != 0 ? r : pmd_wait(c, UINT64_MAX);
}

static int run_all(Run *run, pmd_connection *c) {
        int r;

        while (run->next < run->plan->n_apps || run->n_in_flight > 0) {
                if (run->next < run->plan->n_apps && run->n_in_flight < IN_FLIGHT_MAX) {
                        r = send_app(run, c, run->plan->apps + run->next);
                        if (r < 0)
                                return r;
                        run->next++;
                        run->n_in_flight++;
                        continue;
                }
                r = dispatch_or_wait(c);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A restart keeps the number of processes; that the file wants another one is done last. */
static int scale_changed(const Options *o, pmd_connection *c, const FilePlan *p) {
        int code = EXIT_CODE_OK, r;

        for (size_t i = 0; i < p->n_apps; i++) {
                FileApp *a = p->apps + i;

                if (!is_there(a) || !app_config_has(a->config, "instances") || a->processes.n == (size_t) a->finished->instances)
                        continue;
                r = scale_app(o, c, a->name, a->finished->instances, false);
                if (code == EXIT_CODE_OK)
                        code = r;
        }
        return code;
}

/* ---- saying what would be done ---- */

static void say_start(const Options *o, const FileApp *a) {
        _cleanup_free_ char *name = string_escape_cc(a->name), *path = string_escape_cc(a->finished->exec_path);

        message_info(o, "Would start %s: %s in %s (%d instance%s); it is not there yet", strempty(name), strempty(path),
                     exec_mode_to_string(a->finished->exec_mode), a->finished->instances, a->finished->instances == 1 ? "" : "s");
}

static int say_restart(const Options *o, const Action *action, FileApp *a) {
        _cleanup_free_ char *name = string_escape_cc(a->name), *ids = format_ids(&a->processes), *changes = NULL;
        int r;

        r = find_changes(a);
        if (r < 0)
                return report_error(o, r, NULL);
        changes = strv_isempty(a->changes) ? strdup("nothing but its environment may have changed") : strv_join(a->changes, ", ");
        message_info(o, "Would %s %s (ids: %s), which is %s; %s%s", startswith(action->name, "restart") ? "restart" : "reload",
                     strempty(name), strempty(ids), strempty(a->processes.items[0].status),
                     strv_isempty(a->changes) ? "" : "changed: ", strempty(changes));
        return EXIT_CODE_OK;
}

static int say_plan(const Options *o, const Action *action, FilePlan *p) {
        int r = EXIT_CODE_OK;

        for (size_t i = 0; r == EXIT_CODE_OK && i < p->n_apps; i++)
                if (is_there(p->apps + i))
                        r = say_restart(o, action, p->apps + i);
                else
                        say_start(o, p->apps + i);
        return r;
}

/* ---- verbs ---- */

static int start_or_restart(const Options *o, pmd_connection *c, const Action *action, FilePlan *p) {
        Run run = { .options = o, .plan = p, .action = action, .connection = c, .report.options = o };
        int r;

        if (o->dry_run)
                return say_plan(o, action, p);

        announce_missing(o, p);
        r = run_all(&run, c);
        (void) pmd_set_progress(c, NULL, NULL);
        reload_report_done(&run.report);
        if (r < 0)
                return report_error(o, r, NULL);
        if (run.code != EXIT_CODE_OK)
                return run.code;
        return scale_changed(o, c, p);
}

static int stop_or_delete(const Options *o, pmd_connection *c, const Action *action, const FilePlan *p) {
        _cleanup_free_ char *missing = join_names(p, false);
        _cleanup_strv_free_ char **names = NULL;

        for (size_t i = 0; i < p->n_apps; i++)
                if (is_there(p->apps + i) && !strv_contains(names, p->apps[i].name) && strv_extend(&names, p->apps[i].name) < 0)
                        return report_error(o, -ENOMEM, NULL);
        if (o->dry_run && missing)
                message_info(o, "Would leave alone %s, which pmd does not know", missing);
        if (strv_isempty(names))
                return EXIT_CODE_OK;
        return apply_changes(o, c, action, names, NULL);
}

int act_on_file(const Options *o, pmd_connection *c, const Caller *caller, const char *verb, const char *path) {
        const Action *action = action_find(verb);
        bool starts = action_starts(action);
        _cleanup_file_plan_ FilePlan p = {};
        int r;

        r = file_plan_read(o, caller, path, !starts, &p);
        if (r == EXIT_CODE_OK)
                r = file_plan_look_up(o, c, &p);
        if (r != EXIT_CODE_OK)
                return r;
        return starts ? start_or_restart(o, c, action, &p) : stop_or_delete(o, c, action, &p);
}
