/* SPDX-License-Identifier: MIT */
#include "pmctl/pmctl-util.h"
#include "shared/env-util.h"
#include "shared/fileio.h"
#include "shared/json-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* Starts what pm2 has saved: an array with an entry per process, which holds the options of the app, what pm2 made of
 * them, and every variable of the environment once more, all side by side. */

typedef struct Import {
        const Options *options;
        pmd_connection *connection;
        const char *file;
        char *pm2_home;
        json_object *entries;
        ProcessList known; /* to pmd, before */
} Import;

static void import_done(Import *i) {
        free(i->pm2_home);
        json_object_put(i->entries);
        process_list_done(&i->known);
}

/* ---- the file ---- */

static int find_pm2_home(Import *i) {
        const char *home = getenv("PM2_HOME");

        if (isempty(home)) {
                home = getenv("HOME");
                i->pm2_home = isempty(home) ? strdup("/etc/.pm2") : strjoin(home, "/.pm2");
        } else
                i->pm2_home = strdup(home);
        return i->pm2_home ? EXIT_CODE_OK : report_error(i->options, -ENOMEM, NULL);
}

static int load_dump(Import *i) {
        _cleanup_free_ char *text = NULL, *path = string_escape_cc(i->file);
        int r;

        r = read_full_file(i->file, &text, NULL);
        if (r < 0) {
                message_error(i->options, "Failed to read dump file in %s: %s", strempty(path), strerror(-r));
                return EXIT_CODE_FAILED;
        }
        i->entries = json_tokener_parse(text);
        if (!json_object_is_type(i->entries, json_type_array)) {
                message_error(i->options, "%s is no dump of pm2", strempty(path));
                return EXIT_CODE_FAILED;
        }
        return EXIT_CODE_OK;
}

static const char *get_string(json_object *entry, const char *key) {
        json_object *value;

        if (!json_object_object_get_ex(entry, key, &value) || !json_object_is_type(value, json_type_string))
                return NULL;
        return json_object_get_string(value);
}

/* ---- the definition ---- */

/* What pm2 says in another form, or what is not the app's. */
static const char *const not_as_it_stands[] = {
        "name", "script", "cwd", "env", "args", "interpreter", "interpreter_args", "exec_mode", "instances", "user", "group",
        "out_file", "error_file", "log_file", "pid_file", "force", "autostart", NULL,
};

/* Variables of pm2 itself, and those that pmd sets. */
static const char *const not_of_the_app[] = {
        "PM2_HOME", "PM2_USAGE", "PM2_JSON_PROCESSING", "PM2_INTERACTOR_PROCESSING", "NODE_APP_INSTANCE", "unique_id", NULL,
};

static int set(const Import *i, AppConfig *config, const char *key, json_object *value) {
        _cleanup_free_ char *fault = NULL, *name = string_escape_cc(strempty(config->name));
        int r;

        if (!value)
                return 0;
        r = app_config_set(config, key, value, &fault);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                message_warn(i->options, "%s: %s; leaving it out", strempty(name), fault ?: strerror(-r));
        return 0;
}

static int set_as(const Import *i, AppConfig *config, const char *key, json_object *entry, const char *pm2_key) {
        return set(i, config, key, json_object_object_get(entry, pm2_key));
}

/* A variable of the environment may have the name of an option. */
static bool is_variable(json_object *entry, const char *key, json_object *value) {
        json_object *env, *variable;

        return json_object_object_get_ex(entry, "env", &env) && json_object_is_type(env, json_type_object) &&
               json_object_object_get_ex(env, key, &variable) && json_object_equal(variable, value);
}

static int set_options(const Import *i, AppConfig *config, json_object *entry) {
        const AppOption *options;
        json_object *value;
        size_t n;
        int r;

        options = app_options(&n);
        for (const AppOption *option = options; option < options + n; option++) {
                if (strv_contains((char *const *) not_as_it_stands, option->key) ||
                    !json_object_object_get_ex(entry, option->key, &value) || is_variable(entry, option->key, value))
                        continue;
                r = set(i, config, option->key, value);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* pm2's default files are below its own directory, and pmd has its own. */
static int set_file(const Import *i, AppConfig *config, const char *key, json_object *entry, const char *pm2_key) {
        const char *path = get_string(entry, pm2_key), *rest = path ? startswith(path, i->pm2_home) : NULL;

        return !path || (rest && *rest == '/') ? 0 : set_as(i, config, key, entry, pm2_key);
}

static int set_environment(const Import *i, AppConfig *config, json_object *entry) {
        _cleanup_strv_free_ char **env = NULL;
        json_object *object;
        int r;

        if (!json_object_object_get_ex(entry, "env", &object) || !json_object_is_type(object, json_type_object))
                return 0;

        json_object_object_foreach(object, key, value) {
                if (json_object_is_type(value, json_type_object) || json_object_is_type(value, json_type_null) ||
                    strv_contains((char *const *) not_of_the_app, key) || !env_name_is_valid(key))
                        continue;
                r = strv_env_set(&env, key, json_object_get_string(value));
                if (r < 0)
                        return r;
        }

        strv_free(config->env);
        config->env = TAKE_PTR(env);
        return 0;
}

static int config_of_entry(const Import *i, json_object *entry, unsigned n, AppConfig **ret) {
        _cleanup_app_config_unref_ AppConfig *config = NULL;
        _cleanup_(json_object_putp) json_object *instances = json_object_new_int((int) n);
        const char *status = get_string(entry, "status");
        int r;

        r = app_config_new(&config);
        if (r < 0)
                return r;

        r = set_as(i, config, "name", entry, "name");
        RET_GATHER(r, set_as(i, config, "script", entry, "pm_exec_path"));
        RET_GATHER(r, set_as(i, config, "cwd", entry, "pm_cwd"));
        RET_GATHER(r, set_as(i, config, "args", entry, "args"));
        RET_GATHER(r, set_as(i, config, "interpreter_args", entry, "node_args"));
        RET_GATHER(r, set_as(i, config, "interpreter", entry, "exec_interpreter"));
        RET_GATHER(r, set_as(i, config, "exec_mode", entry, "exec_mode"));
        RET_GATHER(r, set_as(i, config, "user", entry, "uid"));
        RET_GATHER(r, set_as(i, config, "group", entry, "gid"));
        RET_GATHER(r, set_file(i, config, "out_file", entry, "pm_out_log_path"));
        RET_GATHER(r, set_file(i, config, "error_file", entry, "pm_err_log_path"));
        RET_GATHER(r, set_file(i, config, "log_file", entry, "pm_log_path"));
        RET_GATHER(r, set_file(i, config, "pid_file", entry, "pm_pid_path"));
        RET_GATHER(r, set_options(i, config, entry));
        RET_GATHER(r, set_environment(i, config, entry));
        if (n > 1)
                RET_GATHER(r, set(i, config, "instances", instances));
        if (streq_ptr(status, "stopped")) {
                _cleanup_(json_object_putp) json_object *no = json_object_new_boolean(false);

                RET_GATHER(r, set(i, config, "autostart", no));
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(config);
        return 0;
}

/* ---- starting ---- */

static bool is_known(const Import *i, const char *name) {
        for (size_t k = 0; k < i->known.n; k++)
                if (streq_ptr(i->known.items[k].name, name))
                        return true;
        return false;
}

static int start(const Import *i, const AppConfig *config) {
        _cleanup_(pmd_definition_freep) pmd_definition *d = NULL;
        _cleanup_(pmd_result_free) pmd_result result = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        const Options *o = i->options;
        int r, code;

        r = make_definition(config, config->cwd, &d);
        if (r < 0)
                return report_error(o, r, NULL);
        r = pmd_start_app(i->connection, d, false, &result, &e);
        if (r < 0 && r != -EREMOTEIO)
                return report_error(o, r, &e);
        code = report_failures(o, NULL, &result);
        return r < 0 && code == EXIT_CODE_OK ? EXIT_CODE_FAILED : code;
}

/* As many entries in a row as have its name are its processes. */
static size_t count_instances(json_object *entries, size_t at, const char *name) {
        size_t n = json_object_array_length(entries), i = at;

        while (i < n && streq_ptr(get_string(json_object_array_get_idx(entries, i), "name"), name))
                i++;
        return i - at;
}

static int import_app(const Import *i, json_object *entry, const char *name, size_t n) {
        _cleanup_app_config_unref_ AppConfig *config = NULL;
        _cleanup_free_ char *escaped = string_escape_cc(name);
        int r;

        if (is_known(i, name)) {
                message_info(i->options, "%s is there already, skipping it", strempty(escaped));
                return EXIT_CODE_OK;
        }

        r = config_of_entry(i, entry, (unsigned) n, &config);
        if (r < 0)
                return report_error(i->options, r, NULL);
        if (!config->cwd || !config->script || !config->name) {
                message_error(i->options, "%s: its entry does not say what to run, and where", strempty(escaped));
                return EXIT_CODE_FAILED;
        }

        r = start(i, config);
        if (r == EXIT_CODE_OK)
                message_info(i->options, "%s imported (%zu instance%s%s)", strempty(escaped), n, n == 1 ? "" : "s",
                             config->autostart ? "" : ", stopped");
        return r;
}

static int import_all(const Import *i) {
        size_t n = json_object_array_length(i->entries), k = 0;
        int r, result = EXIT_CODE_OK;

        while (k < n) {
                json_object *entry = json_object_array_get_idx(i->entries, k);
                const char *name = get_string(entry, "name");
                size_t n_instances;

                if (isempty(name)) {
                        message_error(i->options, "Entry %zu has no name", k);
                        result = EXIT_CODE_FAILED;
                        k++;
                        continue;
                }
                n_instances = count_instances(i->entries, k, name);
                r = import_app(i, entry, name, n_instances);
                if (r != EXIT_CODE_OK)
                        result = r;
                k += n_instances;
        }
        return result;
}

int verb_import(int argc, char *argv[], const Options *o) {
        _cleanup_(import_done) Import i = { .options = o };
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_free_ char *path = NULL;
        int r, k;

        if (!streq(argv[1], "pm2")) {
                message_error(o, "Only \"import pm2\" is known");
                return EXIT_CODE_USAGE;
        }

        r = find_pm2_home(&i);
        if (r != EXIT_CODE_OK)
                return r;
        path = argv[2] ? strdup(argv[2]) : strjoin(i.pm2_home, "/dump.pm2");
        if (!path)
                return report_error(o, -ENOMEM, NULL);
        i.file = path;

        r = load_dump(&i);
        if (r == EXIT_CODE_OK)
                r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;
        i.connection = c;

        r = fetch_processes(o, c, NULL, 0, &i.known);
        if (r == EXIT_CODE_OK)
                r = import_all(&i);
        k = print_process_table(o, c);
        return r == EXIT_CODE_OK ? k : r;
}
