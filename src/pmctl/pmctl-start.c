/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "pmctl/pmctl-options.h"
#include "pmctl/pmctl-util.h"
#include "shared/env-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

extern char **environ;

static inline void json_object_putp(json_object **o) {
        (void) json_object_put(*o);
}

/* By the name, as pm2 has it. A command line may well contain one, as an argument. */
static bool is_ecosystem_file(const char *s) {
        static const char *const marks[] = { ".json", ".yml", ".yaml", ".config.js", ".config.cjs", ".config.mjs" };

        if (strchr(s, ' ') && access(s, F_OK) < 0)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(marks); i++)
                if (strstr(s, marks[i]))
                        return true;
        return streq(s, "-");
}

static int refuse_ecosystem_file(const Options *o, const char *s) {
        _cleanup_free_ char *escaped = string_escape_cc(streq(s, "-") ? "standard input" : s);

        message_error(o, "%s is an ecosystem file; name the script, and say the rest with options", strempty(escaped));
        return EXIT_CODE_FAILED;
}

static int set_option(const Options *o, AppConfig *config, const char *key, json_object *value) {
        _cleanup_(json_object_putp) json_object *v = value;
        _cleanup_free_ char *fault = NULL;
        int r;

        if (!v)
                return report_error(o, -ENOMEM, NULL);
        r = app_config_set(config, key, v, &fault);
        if (r >= 0)
                return EXIT_CODE_OK;
        message_error(o, "%s", fault ?: strerror(-r));
        return EXIT_CODE_USAGE;
}

static json_object *json_of_strv(char *const *l) {
        json_object *array = json_object_new_array();

        if (array)
                STRV_FOREACH(s, l)
                        (void) json_object_array_add(array, json_object_new_string(*s));
        return array;
}

/* The environment of the caller, but for what D-Bus cannot carry, becomes the app's. */
static int set_environment(const Options *o, AppConfig *config) {
        _cleanup_free_ char *cwd = getcwd(NULL, 0), *fault = NULL;
        _cleanup_strv_free_ char **env = NULL;
        int r;

        STRV_FOREACH(e, environ) {
                _cleanup_free_ char *escaped = NULL;

                if (env_assignment_is_valid(*e) && utf8_is_valid(*e, strlen(*e))) {
                        if (strv_extend(&env, *e) < 0)
                                return report_error(o, -ENOMEM, NULL);
                        continue;
                }
                escaped = string_escape_cc(*e);
                message_warn(o, "Leaving out a variable of the environment that is not valid UTF-8: %.40s",
                             strempty(escaped));
        }

        r = app_config_make_env(config, env, cwd, &fault);
        if (r >= 0)
                return EXIT_CODE_OK;
        message_error(o, "%s", fault ?: strerror(-r));
        return EXIT_CODE_FAILED;
}

/* What the command line says, before anything is derived from it. */
static int config_from_options(const Options *o, const char *script, AppConfig **ret) {
        _cleanup_(app_config_unrefp) AppConfig *config = NULL;
        int r;

        r = app_config_new(&config);
        if (r < 0)
                return report_error(o, r, NULL);

        r = set_option(o, config, "script", json_object_new_string(script));
        if (r == EXIT_CODE_OK && !strv_isempty(o->script_args))
                r = set_option(o, config, "args", json_of_strv(o->script_args));

        for (size_t i = 0; r == EXIT_CODE_OK && i < o->n_app_flags; i++) {
                const AppFlag *f = o->app_flags + i;

                r = set_option(o, config, f->option->key, app_flag_to_json(f));
        }
        if (r == EXIT_CODE_OK)
                r = set_environment(o, config);
        if (r != EXIT_CODE_OK)
                return r;

        *ret = TAKE_PTR(config);
        return EXIT_CODE_OK;
}

/* Derives and checks everything where the caller stands: an error is about his files and his PATH. */
static int finish_config(const Options *o, const AppConfig *config, AppConfig **ret) {
        _cleanup_(app_config_unrefp) AppConfig *finished = NULL;
        _cleanup_free_ char *cwd = getcwd(NULL, 0), *fault = NULL;
        int r;

        r = app_config_copy(config, &finished);
        if (r < 0)
                return report_error(o, r, NULL);

        r = app_config_finish(finished, cwd, &fault);
        if (r < 0) {
                message_error(o, "%s", fault ?: strerror(-r));
                return EXIT_CODE_FAILED;
        }

        *ret = TAKE_PTR(finished);
        return EXIT_CODE_OK;
}

static int definition_set_array(pmd_definition *d, const char *key, json_object *array) {
        _cleanup_strv_free_ char **l = NULL;
        int r;

        for (size_t i = 0; i < json_object_array_length(array); i++) {
                r = strv_extend(&l, json_object_get_string(json_object_array_get_idx(array, i)));
                if (r < 0)
                        return r;
        }
        return pmd_definition_set_strv(d, key, l);
}

static int definition_set_value(pmd_definition *d, const char *key, json_object *value) {
        switch (json_object_get_type(value)) {
        case json_type_boolean:
                return pmd_definition_set_bool(d, key, json_object_get_boolean(value));
        case json_type_int:
                return pmd_definition_set_int(d, key, json_object_get_int64(value));
        case json_type_array:
                return definition_set_array(d, key, value);
        default:
                return pmd_definition_set_string(d, key, json_object_get_string(value));
        }
}

int make_definition(const AppConfig *config, const char *cwd, pmd_definition **ret) {
        _cleanup_(pmd_definition_freep) pmd_definition *d = NULL;
        _cleanup_(json_object_putp) json_object *given = NULL;
        int r;

        r = app_config_to_json(config, &given);
        if (r < 0)
                return r;
        r = pmd_definition_new(&d);
        if (r < 0)
                return r;

        json_object_object_foreach(given, key, value) {
                if (streq(key, "cwd"))
                        continue;
                r = definition_set_value(d, key, value);
                if (r < 0)
                        return r;
        }

        r = pmd_definition_set_string(d, "cwd", cwd);
        if (r >= 0)
                r = pmd_definition_set_strv(d, "env", config->env);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(d);
        return 0;
}

static int start_new(const Options *o, pmd_connection *c, const AppConfig *config, const AppConfig *finished) {
        _cleanup_(pmd_definition_freep) pmd_definition *d = NULL;
        _cleanup_(pmd_result_free) pmd_result result = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        _cleanup_free_ char *path = string_escape_cc(finished->exec_path), *name = string_escape_cc(finished->name);
        int r, code;

        r = make_definition(config, finished->cwd, &d);
        if (r < 0)
                return report_error(o, r, NULL);

        message_info(o, "Starting %s in %s (%d instance%s)", strempty(path), exec_mode_to_string(finished->exec_mode),
                     finished->instances, finished->instances == 1 ? "" : "s");
        if (finished->wait_ready)
                message_warn(o, "App %s has option 'wait_ready' set, waiting for app to be ready...", strempty(name));

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

static int start_script(const Options *o, pmd_connection *c, const char *script, const ProcessList *l) {
        _cleanup_(app_config_unrefp) AppConfig *config = NULL, *finished = NULL;
        const pmd_process *launched;
        int r;

        r = config_from_options(o, script, &config);
        if (r == EXIT_CODE_OK)
                r = finish_config(o, config, &finished);
        if (r != EXIT_CODE_OK)
                return r;

        launched = o->force ? NULL : find_launched(finished, l);
        if (launched && is_down(launched))
                return apply_action(o, c, PMD_RESTART, TARGET(launched->name));
        if (launched) {
                message_error(o, "Script already launched, add -f option to force re-execution");
                return EXIT_CODE_FAILED;
        }
        return start_new(o, c, config, finished);
}

static int start_operand(const Options *o, pmd_connection *c, const char *operand) {
        _cleanup_process_list_ ProcessList l = {};
        int r;

        if (is_ecosystem_file(operand))
                return refuse_ecosystem_file(o, operand);

        r = fetch_processes(o, c, NULL, 0, &l);
        if (r != EXIT_CODE_OK)
                return r;
        if (!is_known(operand, &l))
                return start_script(o, c, operand, &l);

        r = apply_action(o, c, PMD_RESTART, TARGET(operand));
        if (r == EXIT_CODE_OK)
                message_info(o, "Process successfully started");
        return r;
}

int verb_start(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        int r;

        if (argc < 2) {
                if (access("ecosystem.config.js", F_OK) >= 0)
                        return refuse_ecosystem_file(o, "ecosystem.config.js");
                message_error(o, "File ecosystem.config.js not found");
                return EXIT_CODE_FAILED;
        }

        r = acquire_connection(o, 0, &c);
        for (char **operand = argv + 1; r == EXIT_CODE_OK && *operand; operand++)
                r = start_operand(o, c, *operand);
        return r == EXIT_CODE_OK ? print_process_table(o, c) : r;
}
