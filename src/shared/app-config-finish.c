/* SPDX-License-Identifier: MIT */
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/app-config.h"

#include "shared/app-option.h"
#include "shared/app-resolve.h"
#include "shared/env-util.h"
#include "shared/listen-address.h"
#include "shared/parse-util.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

int config_resolve_path(
                char *const *env, const char *base, const char *key, const char *path, char **ret, char **reterr) {
        _cleanup_free_ char *expanded = NULL;
        const char *home;
        char *p;

        if (path[0] == '~' && IN_SET(path[1], 0, '/')) {
                home = strv_env_get(env, "HOME");
                if (!home || !path_is_absolute(home))
                        return config_fault(reterr, -EINVAL,
                                            "%s: '~' is the home directory, but HOME is not in the environment", key);
                expanded = strjoin(home, path + 1);
                if (!expanded)
                        return -ENOMEM;
                path = expanded;
        }

        if (!base && !path_is_absolute(path))
                return config_fault(reterr, -EINVAL, "%s: '%s' is not absolute", key, path);

        p = path_resolve(strempty(base), path);
        if (!p)
                return -ENOMEM;

        *ret = p;
        return 0;
}

static int resolve_path(
                const AppConfig *c, const char *base, const char *key, const char *path, char **ret, char **reterr) {
        return config_resolve_path(c->env, base, key, path, ret, reterr);
}

/* Directories of PATH may be relative; they mean the app's working directory then, not ours. */
static int find_in_path(const AppConfig *c, const char *name, char **ret) {
        const char *path = strv_env_get(c->env, "PATH");
        _cleanup_strv_free_ char **dirs = NULL;
        _cleanup_free_ char *search = NULL;

        if (!path)
                return find_executable(name, NULL, ret);

        dirs = strv_split(path, ":");
        if (!dirs)
                return -ENOMEM;

        STRV_FOREACH(d, dirs) {
                char *absolute = path_resolve(c->cwd, *d);

                if (!absolute)
                        return -ENOMEM;
                free(*d);
                *d = absolute;
        }

        search = strv_join(dirs, ":");
        if (!search)
                return -ENOMEM;
        return find_executable(name, search, ret);
}

static int finish_cwd(AppConfig *c, const char *base, char **reterr) {
        bool derive = base && !app_config_has(c, "cwd");
        _cleanup_free_ char *cwd = NULL;
        struct stat st;
        int r;

        if (!derive && !c->cwd)
                return config_fault(reterr, -EINVAL, "cwd: it is not given");

        r = resolve_path(c, base, "cwd", derive ? base : c->cwd, &cwd, reterr);
        if (r < 0)
                return r;

        if (stat(cwd, &st) < 0)
                return config_fault(reterr, -errno,
                                    "cwd: '%s' cannot be used: %m. Create it, or give another directory with --cwd", cwd);
        if (!S_ISDIR(st.st_mode))
                return config_fault(reterr, -ENOTDIR, "cwd: '%s' is not a directory. Give another one with --cwd", cwd);

        free(c->cwd);
        c->cwd = TAKE_PTR(cwd);
        return 0;
}

/* Whether pmd may become that user is seen when it does: this is run by clients too. */
static int check_user(const AppConfig *c, char **reterr) {
        unsigned id;

        if (c->user && !(safe_atou(c->user, &id) >= 0 ? getpwuid(id) : getpwnam(c->user)))
                return config_fault(reterr, -EINVAL, "user: User %s cannot be found", c->user);
        if (c->group && !(safe_atou(c->group, &id) >= 0 ? getgrgid(id) : getgrnam(c->group)))
                return config_fault(reterr, -EINVAL, "group: Group %s cannot be found", c->group);
        return 0;
}

static int check_listen(const AppConfig *c, char **reterr) {
        STRV_FOREACH(l, c->listen) {
                _cleanup_listen_address_ ListenAddress address = {};
                const char *fault;
                int r;

                r = listen_address_parse(*l, &address, &fault);
                if (r == -EINVAL)
                        return config_fault(reterr, r, "listen: '%s' cannot be listened on: %s", *l, fault);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- the script ---- */

/* Takes out what finish_shell() put in, so that a definition can be changed and finished again. */
static void forget_shell(AppConfig *c) {
        if (!c->shell)
                return;

        free(c->args[0]);
        free(c->args[1]);
        memmove(c->args, c->args + 2, (strv_length(c->args + 2) + 1) * sizeof(char *));
        c->shell = false;
}

static int finish_shell(AppConfig *c, char **reterr) {
        _cleanup_strv_free_ char **args = NULL;
        _cleanup_free_ char *shell = NULL;
        size_t n;
        int r;

        r = find_in_path(c, "bash", &shell);
        if (r < 0 && r != -ENOMEM)
                r = find_in_path(c, "sh", &shell);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return config_fault(reterr, r, "Interpreter sh is NOT AVAILABLE in PATH. (type 'which sh' to double check.)");

        n = strv_length(c->args);
        args = new0(char *, n + 3);
        if (!args)
                return -ENOMEM;
        args[0] = strdup("-c");
        if (!args[0])
                return -ENOMEM;
        args[1] = strdup(c->script);
        if (!args[1])
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                args[i + 2] = TAKE_PTR(c->args[i]);

        free(c->args);
        c->args = TAKE_PTR(args);
        c->shell = true;

        free(c->exec_path);
        c->exec_path = TAKE_PTR(shell);
        return 0;
}

static int finish_command(AppConfig *c, const char *path, char **reterr) {
        _cleanup_free_ char *found = NULL;
        int r;

        r = strchr(c->script, '/') ? -ENOENT : find_in_path(c, c->script, &found);
        if (r == -ENOMEM)
                return r;
        if (r == -EACCES)
                return config_fault(reterr, r,
                                    "Script not executable: '%s' is in PATH, but no file of this name there may be executed",
                                    c->script);
        if (r < 0)
                return config_fault(reterr, -ENOENT, "Script not found: %s", path);

        free(c->exec_path);
        c->exec_path = TAKE_PTR(found);
        return 0;
}

static int finish_script(AppConfig *c, char **reterr) {
        _cleanup_free_ char *path = NULL, *file = NULL;
        int r;

        forget_shell(c);

        if (!c->script)
                return config_fault(reterr, -EINVAL, "script: it is not given");

        r = resolve_path(c, c->cwd, "script", c->script, &path, reterr);
        if (r < 0)
                return r;

        r = script_file(path, &file);
        if (r == -ENOMEM)
                return r;
        if (r >= 0) {
                free(c->exec_path);
                c->exec_path = TAKE_PTR(file);
                return 0;
        }

        if (strchr(c->script, ' '))
                return finish_shell(c, reterr);
        if (IN_SET(r, -ENOENT, -ENOTDIR))
                return finish_command(c, path, reterr);
        if (r == -EINVAL)
                return config_fault(reterr, r, "script: '%s' is no regular file", path);
        return config_fault(reterr, r, "script: '%s' cannot be used: %m", path);
}

/* ---- the interpreter ---- */

static int find_interpreter(const AppConfig *c, const char *name, char **ret, char **reterr) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (!strchr(name, '/'))
                return find_in_path(c, name, ret);

        r = resolve_path(c, c->cwd, "interpreter", name, &path, reterr);
        if (r < 0)
                return r;
        return find_executable(path, NULL, ret);
}

/* What else can run the same script. */
static const char *other_interpreter(const AppConfig *c, const char *name, bool derived) {
        if (streq(name, "python"))
                return "python3";
        /* Node.js strips the types of .ts files, but knows no JSX. */
        if (derived && streq(name, "bun") && endswith(c->exec_path, ".ts"))
                return "node";
        return NULL;
}

static int derive_interpreter(AppConfig *c, char **reterr) {
        char *interpreter;
        int r;

        if (c->shell)
                return free_and_strdup(&c->interpreter, "none");

        r = interpreter_for_script(c->exec_path, &interpreter);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return config_fault(reterr, r, "script: '%s' cannot be read: %m", c->exec_path);

        free(c->interpreter);
        c->interpreter = interpreter;
        return 0;
}

static int finish_python(AppConfig *c) {
        if (!startswith(path_basename(c->interpreter), "python") || strv_env_get(c->env, "PYTHONUNBUFFERED"))
                return 0;
        return strv_env_set(&c->env, "PYTHONUNBUFFERED", "1");
}

static int finish_interpreter(AppConfig *c, char **reterr) {
        bool derived = c->shell || !app_config_has(c, "interpreter");
        _cleanup_free_ char *path = NULL;
        const char *name, *other;
        int r;

        if (derived) {
                r = derive_interpreter(c, reterr);
                if (r < 0)
                        return r;
        }

        c->interpreter_path = mfree(c->interpreter_path);
        if (streq(c->interpreter, "none"))
                return 0;

        name = c->interpreter;
        other = other_interpreter(c, name, derived);
        r = find_interpreter(c, name, &path, reterr);
        if (r == -ENOENT && other) {
                r = find_interpreter(c, other, &path, reterr);
                if (r >= 0)
                        name = other;
        }
        if (IN_SET(r, -ENOMEM, -EINVAL))
                return r;
        if (r == -EACCES)
                return config_fault(reterr, r, "Interpreter %s may not be executed. Check its permissions", name);
        if (r < 0)
                return config_fault(reterr, r, "Interpreter %s is NOT AVAILABLE in PATH. (type 'which %s' to double check.)",
                                    name, name);

        if (derived && name == other) {
                r = free_and_strdup(&c->interpreter, name);
                if (r < 0)
                        return r;
        }

        c->interpreter_path = TAKE_PTR(path);
        return finish_python(c);
}

/* ---- the rest ---- */

int app_name_from_script(const char *given, const char *cwd, char **ret) {
        _cleanup_free_ char *script = NULL, *path = NULL;
        const char *base;
        char *dot, *name;
        size_t n;

        script = strdup(given);
        if (!script)
                return -ENOMEM;
        for (n = strlen(script); n > 1 && script[n - 1] == '/'; n--)
                script[n - 1] = 0;

        base = path_basename(script);
        if (streq(base, ".") || streq(base, "..")) {
                /* It is named after the directory that it is. */
                path = path_resolve(cwd, script);
                if (!path)
                        return -ENOMEM;
                base = path_basename(path);
        }

        dot = strrchr(base, '.');
        name = strndup(base, dot && dot > base ? (size_t) (dot - base) : strlen(base));
        if (!name)
                return -ENOMEM;

        *ret = name;
        return 0;
}

/* The prefix becomes part of the name that was given, so that a definition can be finished again. */
static int add_name_prefix(AppConfig *c, char **name) {
        json_object *value;
        char *prefixed;
        int r;

        if (!c->name_prefix)
                return 0;
        prefixed = strjoin(c->name_prefix, ":", *name);
        if (!prefixed)
                return -ENOMEM;
        free(*name);
        *name = prefixed;

        value = json_object_new_string(prefixed);
        if (!value)
                return -ENOMEM;
        r = app_config_set(c, "name", value, NULL);
        json_object_put(value);
        return r < 0 ? r : app_config_set(c, "name_prefix", NULL, NULL);
}

static int finish_name(AppConfig *c, char **reterr) {
        bool given = app_config_has(c, "name");
        _cleanup_free_ char *name = NULL;
        const char *why;
        int r;

        if (given)
                name = strdup(c->name);
        else {
                r = app_name_from_script(c->script, c->cwd, &name);
                if (r < 0)
                        return r;
        }
        if (!name)
                return -ENOMEM;
        r = add_name_prefix(c, &name);
        if (r < 0)
                return r;

        why = app_name_fault(name);
        if (why)
                return config_fault(reterr, -EINVAL, "name: '%s' cannot be the name of an app: %s%s", name, why,
                                    given ? "" : ". Give another one with --name");
        why = app_name_fault(c->name_space);
        if (why)
                return config_fault(reterr, -EINVAL, "namespace: '%s' cannot be a namespace: %s", c->name_space, why);

        free(c->name);
        c->name = TAKE_PTR(name);
        return 0;
}

static bool runs_node(const AppConfig *c) {
        const char *base = path_basename(c->interpreter);

        return endswith(base, "node") || endswith(base, "bun");
}

static void finish_exec_mode(AppConfig *c) {
        bool cluster = c->instances_set && c->instances_given >= -1 && runs_node(c);

        if (c->exec_mode == EXEC_MODE_AUTO || !app_config_has(c, "exec_mode"))
                c->exec_mode = cluster ? EXEC_MODE_CLUSTER : EXEC_MODE_FORK;

        c->instances = c->instances_given > 0 ? c->instances_given : MAX((int) sysconf(_SC_NPROCESSORS_ONLN) + c->instances_given, 1);

        if (!c->merge_logs_set)
                c->merge_logs = c->exec_mode == EXEC_MODE_FORK && !c->instances_set;
}

static int read_version(const AppConfig *c, char **ret) {
        _cleanup_free_ char *path = NULL;

        /* A shell says nothing about the app: what it is probably lies where it works. */
        path = c->shell ? strjoin(c->cwd, "/.") : strdup(c->exec_path);
        return path ? version_of_script(path, ret) : -ENOMEM;
}

static int finish_version(AppConfig *c) {
        char *version;
        int r;

        r = read_version(c, &version);
        if (r < 0)
                return r;

        free(c->version);
        c->version = version;
        return 0;
}

int app_config_update_version(const AppConfig *c, AppConfig **ret) {
        _cleanup_app_config_unref_ AppConfig *n = NULL;
        _cleanup_free_ char *version = NULL;
        int r;

        if (!c->exec_path || !c->cwd)
                return 0;
        r = read_version(c, &version);
        if (r < 0)
                return r;
        if (streq_ptr(version, c->version))
                return 0;

        r = app_config_copy(c, &n);
        if (r < 0)
                return r;
        free(n->version);
        n->version = TAKE_PTR(version);
        *ret = TAKE_PTR(n);
        return 1;
}

static int finish_files(AppConfig *c, char **reterr) {
        const struct {
                const char *key;
                char **path;
        } files[] = {
                { "out_file", &c->out_file },
                { "error_file", &c->error_file },
                { "log_file", &c->log_file },
                { "pid_file", &c->pid_file },
        };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                const char *given = *files[i].path;
                char *path;

                if (isempty(given)) /* "" is the log_file with the default name */
                        continue;
                r = resolve_path(c, c->cwd, files[i].key, streq(given, "NULL") ? "/dev/null" : given, &path, reterr);
                if (r < 0)
                        return r;
                free(*files[i].path);
                *files[i].path = path;
        }

        return 0;
}

int app_config_finish(AppConfig *c, const char *base, char **reterr) {
        int r;

        r = finish_cwd(c, base, reterr);
        if (r < 0)
                return r;

        r = check_user(c, reterr);
        if (r < 0)
                return r;

        r = check_listen(c, reterr);
        if (r < 0)
                return r;

        r = finish_script(c, reterr);
        if (r < 0)
                return r;

        r = finish_interpreter(c, reterr);
        if (r < 0)
                return r;

        r = finish_name(c, reterr);
        if (r < 0)
                return r;

        if (!env_name_is_valid(c->instance_var))
                return config_fault(reterr, -EINVAL, "instance_var: '%s' cannot be the name of a variable", c->instance_var);

        if (c->increment_var && !env_name_is_valid(c->increment_var))
                return config_fault(reterr, -EINVAL, "increment_var: '%s' cannot be the name of a variable", c->increment_var);

        finish_exec_mode(c);

        r = finish_files(c, reterr);
        if (r < 0)
                return r;

        return finish_version(c);
}
