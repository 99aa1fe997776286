/* SPDX-License-Identifier: MIT */
#include "pmctl/pmctl-ecosystem.h"
#include "pmctl/pmctl-options.h"
#include "shared/json-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

static void file_app_done(FileApp *a) {
        app_config_unref(a->config);
        app_config_unref(a->finished);
        free(a->name);
        strv_free(a->changes);
        free(a->processes.items); /* what they hold belongs to another list */
        pmd_result_free(&a->result);
        pmd_error_free(&a->error);
}

void file_plan_done(FilePlan *p) {
        for (size_t i = 0; i < p->n_apps; i++)
                file_app_done(p->apps + i);
        free(p->apps);
        process_list_done(&p->known);
        ecosystem_free(p->file);
        strv_free(p->faults);
        *p = (FilePlan) {};
}

static int add_lines(char ***lines, const EcosystemApp *entry, const char *text) {
        _cleanup_free_ char *placed = ecosystem_app_faults(entry, text);

        return placed ? strv_extend(lines, placed) : -ENOMEM;
}

/* ---- reading ---- */

static void print_lines(const Options *o, void (*print)(const Options *o, const char *format, ...), const char *text) {
        _cleanup_strv_free_ char **lines = strv_split(text, "\n");

        STRV_FOREACH(line, lines)
                print(o, "%s", *line);
}

static int load_file(const Options *o, const char *path, Ecosystem **ret) {
        _cleanup_free_ char *fault = NULL;
        int r;

        r = ecosystem_load(path, o->env_name, o->only, ret, &fault);
        if (r < 0) {
                print_lines(o, message_error, fault ?: strerror(-r));
                return EXIT_CODE_FAILED;
        }
        STRV_FOREACH(w, (*ret)->warnings)
                message_warn(o, "%s", *w);
        return EXIT_CODE_OK;
}

/* pm2 lets these win over the file; the others only say what the file does not. */
static bool flag_wins(const char *key) {
        return strv_contains((char *const[]) { (char *) "instances", (char *) "user", (char *) "group", (char *) "cwd", NULL }, key);
}

/* A wrong value is the same for each app; it is told where there are faults to be added to. */
static int take_flags(const Options *o, FileApp *a, char ***faults) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < o->n_app_flags; i++) {
                const AppFlag *f = o->app_flags + i;
                _cleanup_(json_object_putp) json_object *value = NULL;
                _cleanup_free_ char *fault = NULL;

                if (streq(f->option->key, "name") || (!flag_wins(f->option->key) && app_config_has(a->config, f->option->key)))
                        continue;
                value = app_flag_to_json(o, f);
                r = value ? app_config_set(a->config, f->option->key, value, &fault) : -ENOMEM;
                if (r < 0 && r != -ENOMEM)
                        r = faults ? strv_extend(faults, fault ?: strerror(-r)) : 0;
        }
        if (r >= 0 && !strv_isempty(o->script_args) && !app_config_has(a->config, "args")) {
                _cleanup_(json_object_putp) json_object *args = json_object_new_array();

                STRV_FOREACH(s, o->script_args)
                        (void) json_object_array_add(args, json_object_new_string(*s));
                r = app_config_set(a->config, "args", args, NULL);
        }
        return r;
}

static int set_definition(const Options *o, FileApp *a, char ***faults) {
        _cleanup_free_ char *notes = NULL, *fault = NULL, *placed = NULL;
        int r;

        r = app_config_set_all_noted(a->config, a->entry->definition, &notes, &fault);
        if (r == -ENOMEM)
                return r;
        if (notes) {
                placed = ecosystem_app_faults(a->entry, notes);
                print_lines(o, message_warn, strempty(placed));
        }
        return r < 0 ? add_lines(faults, a->entry, fault ?: strerror(-r)) : 0;
}

/* Faults of the app are added to those of the file; only memory can fail. */
static int finish_definition(FileApp *a, const Caller *caller, char ***faults) {
        _cleanup_free_ char *fault = NULL;
        int r;

        r = app_config_make_env(a->config, caller->env, caller->cwd, &fault);
        if (r >= 0)
                r = config_finish(a->config, caller, &a->finished, &fault);
        if (r < 0 && r != -ENOMEM)
                return add_lines(faults, a->entry, fault ?: strerror(-r));
        if (r < 0)
                return r;
        return free_and_strdup(&a->name, a->finished->name);
}

static int check_name(FilePlan *p, FileApp *a) {
        for (FileApp *b = p->apps; a->name && b < a; b++)
                if (streq_ptr(a->name, b->name)) {
                        _cleanup_free_ char *escaped = string_escape_cc(a->name),
                                            *text = strprintf("name: %s is called '%s' too", b->entry->path, strempty(escaped));

                        return text ? add_lines(&p->faults, a->entry, text) : -ENOMEM;
                }
        return 0;
}

static int read_app(const Options *o, const Caller *caller, FilePlan *p, FileApp *a) {
        size_t n = strv_length(p->faults);
        int r;

        r = app_config_new(&a->config);
        if (r >= 0)
                r = set_definition(o, a, &p->faults);
        if (r >= 0)
                r = take_flags(o, a, a == p->apps ? &p->faults : NULL);
        /* What is not understood cannot be looked at further. */
        if (r >= 0 && n == strv_length(p->faults))
                r = finish_definition(a, caller, &p->faults);
        return r < 0 ? r : check_name(p, a);
}

/* What an app is called, whatever else is wrong with its definition. */
static int read_name(FileApp *a, const Caller *caller) {
        int r;

        r = app_config_new(&a->config);
        if (r < 0)
                return r;
        r = app_config_set_all_noted(a->config, a->entry->definition, NULL, NULL);
        if (r == -ENOMEM)
                return r;
        if (app_config_has(a->config, "name"))
                return free_and_strdup(&a->name, a->config->name);
        return a->config->script ? app_name_from_script(a->config->script, caller->cwd, &a->name) : 0;
}

int file_plan_read(const Options *o, const Caller *caller, const char *path, bool names_only, FilePlan *p) {
        int r;

        r = load_file(o, path, &p->file);
        if (r != EXIT_CODE_OK)
                return r;
        p->apps = new0(FileApp, p->file->n_apps);
        if (!p->apps)
                return report_error(o, -ENOMEM, NULL);

        for (; p->n_apps < p->file->n_apps; p->n_apps++) {
                FileApp *a = p->apps + p->n_apps;

                a->entry = p->file->apps + p->n_apps;
                r = names_only ? read_name(a, caller) : read_app(o, caller, p, a);
                if (r < 0) {
                        p->n_apps++;
                        return report_error(o, r, NULL);
                }
        }
        if (strv_isempty(p->faults))
                return EXIT_CODE_OK;

        STRV_FOREACH(f, p->faults)
                print_lines(o, message_error, *f);
        return EXIT_CODE_FAILED;
}

/* ---- what is there already ---- */

static int compare_names(const void *a, const void *b) {
        const pmd_process *x = a, *y = b;
        int r = strcmp(strempty(x->name), strempty(y->name));

        return r != 0 ? r : (x->id > y->id) - (x->id < y->id);
}

static int compare_name_to_process(const void *name, const void *process) {
        return strcmp(name, strempty(((const pmd_process *) process)->name));
}

static int take_processes(FileApp *a, const ProcessList *sorted) {
        const pmd_process *first, *end, *found = NULL;

        if (a->name && sorted->n > 0)
                found = bsearch(a->name, sorted->items, sorted->n, sizeof *sorted->items, compare_name_to_process);
        if (!found)
                return 0;

        for (first = found; first > sorted->items && streq_ptr(first[-1].name, a->name);)
                first--;
        for (end = found + 1; end < sorted->items + sorted->n && streq_ptr(end->name, a->name);)
                end++;
        a->processes.items = new(pmd_process, (size_t) (end - first));
        if (!a->processes.items)
                return -ENOMEM;
        a->processes.n = (size_t) (end - first);
        memcpy(a->processes.items, first, a->processes.n * sizeof *first);
        return 0;
}

int file_plan_look_up(const Options *o, pmd_connection *c, FilePlan *p) {
        int r;

        r = fetch_processes(o, c, NULL, 0, &p->known);
        if (r != EXIT_CODE_OK)
                return r;
        if (p->known.n > 1)
                qsort(p->known.items, p->known.n, sizeof *p->known.items, compare_names);
        for (size_t i = 0; i < p->n_apps; i++) {
                r = take_processes(p->apps + i, &p->known);
                if (r < 0)
                        return report_error(o, r, NULL);
        }
        return EXIT_CODE_OK;
}

/* ---- the sample ---- */

int verb_ecosystem(int argc, char *argv[], const Options *o) {
        _cleanup_free_ char *fault = NULL, *escaped = string_escape_cc(strempty(argv[1]));
        const char *name;
        int r;

        if (argc > 1 && !streq(argv[1], "simple")) {
                message_error(o, "There is no sample '%s', only 'simple' and the full one", strempty(escaped));
                return EXIT_CODE_USAGE;
        }
        r = ecosystem_write_sample(argc > 1, o->force, &name, &fault);
        if (r < 0) {
                message_error(o, "%s", fault ?: strerror(-r));
                return EXIT_CODE_FAILED;
        }
        if (!o->silent)
                printf("File %s generated\n", name);
        return EXIT_CODE_OK;
}
