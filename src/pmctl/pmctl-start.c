/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "pmctl/ecosystem.h"
#include "pmctl/pmctl-definition.h"
#include "shared/string-util.h"

static int start_new(const Options *o, pmd_connection *c, const AppConfig *config, const AppConfig *finished) {
        _cleanup_(pmd_definition_freep) pmd_definition *d = NULL;
        _cleanup_(pmd_result_free) pmd_result result = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        _cleanup_free_ char *path = string_escape_cc(finished->exec_path), *name = string_escape_cc(finished->name);
        int r, code;

        r = make_definition(config, finished->cwd, &d);
        if (r < 0)
                return report_error(o, r, NULL);

        message_info(o, "%s %s in %s (%d instance%s)", o->dry_run ? "Would start" : "Starting", strempty(path),
                     exec_mode_to_string(finished->exec_mode), finished->instances, finished->instances == 1 ? "" : "s");
        if (o->dry_run)
                return EXIT_CODE_OK;
        if (finished->wait_ready)
                message_notice(o, "App %s has option 'wait_ready' set, waiting for app to be ready...", strempty(name));

        r = pmd_start_app(c, d, o->force, &result, &e);
        if (r < 0 && r != -EREMOTEIO)
                return report_error(o, r, &e);
        code = report_failures(o, NULL, &result);
        if (r < 0 && code == EXIT_CODE_OK)
                return report_error(o, r, NULL);
        report_notes(o, c, &result);
        if (code == EXIT_CODE_OK)
                message_info(o, "Done.");
        return code;
}

static bool may_be_name(const char *s) {
        return !strchr(s, '/') && (!strchr(s, '.') || access(s, F_OK) < 0);
}

/* Whether the operand means what pmd knows already: a name, a namespace, a number, or all. */
static bool is_known(const char *s, const ProcessList *l) {
        if (streq(s, "all") || target_is_id(s))
                return true;
        for (size_t i = 0; i < l->n; i++)
                if ((may_be_name(s) && streq_ptr(l->items[i].name, s)) || streq_ptr(l->items[i].name_space, s))
                        return true;
        return false;
}

static const pmd_process *find_launched(const AppConfig *finished, const ProcessList *l) {
        for (size_t i = 0; i < l->n; i++)
                if (streq_ptr(l->items[i].executable, finished->exec_path) && streq_ptr(l->items[i].name, finished->name))
                        return l->items + i;
        return NULL;
}

static bool is_down(const pmd_process *p) {
        return streq_ptr(p->status, "stopped") || streq_ptr(p->status, "stopping") || streq_ptr(p->status, "errored");
}

/* What is there already is restarted, with what the command line says anew. */
static int restart_known(const Options *o, pmd_connection *c, const Caller *caller, const char *target) {
        return apply_changes(o, c, action_find("restart"), TARGET(target), caller);
}

static int start_script(const Options *o, pmd_connection *c, const Caller *caller, const char *script, const ProcessList *l) {
        _cleanup_app_config_unref_ AppConfig *config = NULL, *finished = NULL;
        _cleanup_free_ char *fault = NULL;
        const pmd_process *launched;
        int r;

        r = config_from_options(o, caller, script, &config);
        if (r != EXIT_CODE_OK)
                return r;
        r = config_finish(config, caller, &finished, &fault);
        if (r < 0) {
                message_error(o, "%s", fault ?: strerror(-r));
                return EXIT_CODE_FAILED;
        }

        launched = o->force ? NULL : find_launched(finished, l);
        if (launched && is_down(launched))
                return restart_known(o, c, caller, launched->name);
        if (launched) {
                message_error(o, "Script already launched, add -f option to force re-execution");
                return EXIT_CODE_FAILED;
        }
        return start_new(o, c, config, finished);
}

static int start_operand(const Options *o, pmd_connection *c, const Caller *caller, const char *operand) {
        _cleanup_process_list_ ProcessList l = {};
        int r;

        if (ecosystem_is_file(operand))
                return act_on_file(o, c, caller, "start", operand);

        r = fetch_processes(o, c, NULL, 0, &l);
        if (r != EXIT_CODE_OK)
                return r;
        if (!is_known(operand, &l))
                return start_script(o, c, caller, operand, &l);

        r = restart_known(o, c, caller, operand);
        if (r == EXIT_CODE_OK && !o->dry_run)
                message_info(o, "Process successfully started");
        return r;
}

static int start_all(int argc, char *argv[], const Options *o) {
        char *const bare[] = { argv[0], (char *) "ecosystem.config.js", NULL };
        char *const *operands = argc < 2 ? bare : argv;
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_caller_ Caller caller = {};
        int r;

        r = caller_get(o, &caller);
        if (r == EXIT_CODE_OK)
                r = acquire_connection(o, 0, &c);
        for (char *const *operand = operands + 1; r == EXIT_CODE_OK && *operand; operand++)
                r = start_operand(o, c, &caller, *operand);
        return r == EXIT_CODE_OK && !o->dry_run ? print_process_table(o, c) : r;
}

int verb_start(int argc, char *argv[], const Options *o) {
        char *logs[] = { (char *) "logs", NULL };
        int r;

        if (o->no_daemon && !o->dry_run) {
                r = start_in_foreground(argv, o);
                if (r >= 0)
                        return r;
        }

        r = start_all(argc, argv, o);
        /* As pm2 where a daemon runs already: its apps stay when the one who looks on has gone. */
        return r == EXIT_CODE_OK && o->no_daemon && !o->dry_run ? verb_logs(1, logs, o) : r;
}
