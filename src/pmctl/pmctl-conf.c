/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <fcntl.h>
#include <sys/file.h>

#include "pmctl/pmctl-util.h"
#include "shared/app-resolve.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/path-util.h"
#include "shared/settings.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* pmctl writes a drop-in of its own, so that what people write is left alone. */
#define DROP_IN "50-pmctl.conf"
#define PMD_MODULE "pmd"

typedef struct Place {
        char *section, *key;
        char *module; /* as pm2 has it: what stands before the colon; NULL: none */
} Place;

static void place_done(Place *p) {
        free(p->section);
        free(p->key);
        free(p->module);
}

/* ---- keys ---- */

/* Splits at "." and ":"; quotes protect. */
static int split_key(const char *s, char ***ret) {
        _cleanup_strv_free_ char **l = NULL;
        _cleanup_free_ char *part = new0(char, strlen(s) + 1);
        char quote = 0;
        size_t n = 0;
        int r;

        if (!part)
                return -ENOMEM;

        for (;; s++) {
                if (*s && (quote ? *s == quote : *s == '"' || *s == '\'')) {
                        quote = quote ? 0 : *s;
                        continue;
                }
                if (*s && (quote || (*s != '.' && *s != ':'))) {
                        part[n++] = *s;
                        continue;
                }

                part[n] = 0;
                if (n == 0 || streq(part, "__proto__") || streq(part, "constructor") || streq(part, "prototype"))
                        return -EINVAL;
                r = strv_extend(&l, part);
                if (r < 0)
                        return r;
                n = 0;
                if (!*s)
                        break;
        }
        if (quote)
                return -EINVAL;

        *ret = TAKE_PTR(l);
        return 0;
}

static int report_unknown_setting(const Options *o, const char *key) {
        _cleanup_free_ char *escaped = string_escape_cc(key);
        const Setting *table;
        size_t n;

        table = settings_table(&n);
        message_error(o, "%s is no setting of pmd. There are:", strempty(escaped));
        for (size_t i = 0; i < n; i++)
                message_error(o, "  %-24s%s (%s)", table[i].key, table[i].help, table[i].default_value);
        return EXIT_CODE_USAGE;
}

static int parse_place(const Options *o, const char *s, Place *ret) {
        _cleanup_(place_done) Place p = {};
        _cleanup_strv_free_ char **parts = NULL;
        bool own;
        int r;

        r = split_key(s, &parts);
        if (r == -EINVAL) {
                _cleanup_free_ char *escaped = string_escape_cc(s);

                message_error(o, "'%s' cannot be a key", strempty(escaped));
                return EXIT_CODE_USAGE;
        }
        if (r < 0)
                return report_error(o, r, NULL);

        own = parts[1] ? streq(parts[0], PMD_MODULE) || streq(parts[0], SETTINGS_SECTION) : setting_find(parts[0]) != NULL;
        /* pm2 knows no such keys, so this can only be a misspelt one. */
        if (!own && !parts[1] && isupper((unsigned char) parts[0][0]))
                return report_unknown_setting(o, parts[0]);

        p.key = parts[1] ? strv_join(parts + 1, ".") : strdup(parts[0]);
        p.module = own ? strdup(PMD_MODULE) : parts[1] ? strdup(parts[0]) : NULL;
        p.section = own ? strdup(SETTINGS_SECTION) :
                    parts[1] ? strjoin(SETTINGS_MODULE_PREFIX, parts[0]) : strdup(SETTINGS_MODULE_NONE);
        if (!p.key || !p.section || (own && !p.module))
                return report_error(o, -ENOMEM, NULL);
        if (own && !setting_find(p.key))
                return report_unknown_setting(o, p.key);

        *ret = TAKE_GENERIC(p, (Place) {});
        return EXIT_CODE_OK;
}

/* ---- files ---- */

static int get_instance(const Options *o, Instance **ret) {
        static const InstanceScope scopes[] = {
                [PMD_SCOPE_SYSTEM] = INSTANCE_SYSTEM,
                [PMD_SCOPE_USER] = INSTANCE_USER,
                [PMD_SCOPE_PRIVATE] = INSTANCE_PRIVATE,
        };
        int r;

        r = instance_new(o->scope == PMD_SCOPE_AUTO ? instance_scope_default() : scopes[o->scope], o->home, ret);
        if (r == -ENXIO)
                message_error(o, "Neither HOME nor XDG_RUNTIME_DIR tell where pmd.conf is; set PMD_HOME");
        else if (r < 0)
                return report_error(o, r, NULL);
        return r < 0 ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

static void warn_faults(const Options *o, const char *faults) {
        _cleanup_strv_free_ char **lines = faults ? strv_split(faults, "\n") : NULL;

        STRV_FOREACH(line, lines)
                message_warn(o, "%s", *line);
}

static int load_settings(const Options *o, Conf *ret) {
        _cleanup_(instance_freep) Instance *instance = NULL;
        _cleanup_free_ char *faults = NULL;
        int r;

        r = get_instance(o, &instance);
        if (r != EXIT_CODE_OK)
                return r;
        r = settings_load(instance, ret, &faults);
        if (r < 0)
                return report_error(o, r, NULL);
        warn_faults(o, faults);
        return EXIT_CODE_OK;
}

static int report_file_error(const Options *o, int r, const char *path) {
        message_error(o, "Failed to write %s: %s", path, strerror(-r));
        return IN_SET(r, -EACCES, -EPERM) ? EXIT_CODE_NO_PERMISSION : EXIT_CODE_FAILED;
}

/* Our drop-in, with the directory locked against another pmctl as long as the fd is open. */
typedef struct DropIn {
        char *dir, *path;
        int lock_fd;
        Conf conf;
} DropIn;

static void drop_in_done(DropIn *d) {
        conf_done(&d->conf);
        safe_close(d->lock_fd);
        free(d->dir);
        free(d->path);
}

static int drop_in_open(const Options *o, DropIn *d) {
        _cleanup_(instance_freep) Instance *instance = NULL;
        _cleanup_free_ char *faults = NULL;
        int r;

        r = get_instance(o, &instance);
        if (r != EXIT_CODE_OK)
                return r;
        d->dir = strjoin(instance->conf_dirs[0], "/" SETTINGS_FILE ".d");
        d->path = d->dir ? strjoin(d->dir, "/" DROP_IN) : NULL;
        if (!d->path)
                return report_error(o, -ENOMEM, NULL);

        r = mkdir_p(d->dir, 0755);
        if (r < 0)
                return report_file_error(o, r, d->path);
        d->lock_fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (d->lock_fd < 0 || flock(d->lock_fd, LOCK_EX) < 0)
                return report_file_error(o, -errno, d->path);

        r = conf_read_file(&d->conf, d->path, &faults);
        if (r < 0 && r != -ENOENT)
                return report_error(o, r, NULL);
        warn_faults(o, faults);
        return EXIT_CODE_OK;
}

static int drop_in_write(const Options *o, const DropIn *d) {
        _cleanup_free_ char *body = conf_format(&d->conf), *text = NULL;
        int r;

        text = body ? strjoin("# Written by pmctl set; what stands in ../" SETTINGS_FILE " or in other files here is left alone.\n\n", body) : NULL;
        if (!text)
                return report_error(o, -ENOMEM, NULL);
        r = write_file_atomic(d->path, text, strlen(text), 0600);
        return r < 0 ? report_file_error(o, r, d->path) : EXIT_CODE_OK;
}

/* ---- what follows a change ---- */

static bool app_exists(const ProcessList *l, const char *name) {
        for (size_t i = 0; i < l->n; i++)
                if (streq_ptr(l->items[i].name, name))
                        return true;
        return false;
}

/* A pmd that runs reads the settings again; apps of the modules get theirs by a restart, as with pm2. */
static int tell_pmd(const Options *o, char *const *modules) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_process_list_ ProcessList l = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        int r;

        if (pmd_open(o->scope, o->home, PMD_OPEN_NO_START | PMD_OPEN_INTERACTIVE, &c, NULL) < 0)
                return EXIT_CODE_OK;
        r = pmd_reload_settings(c, &e);
        if (r < 0)
                return report_error(o, r, &e);

        r = fetch_processes(o, c, NULL, 0, &l);
        if (r != EXIT_CODE_OK)
                return r;
        STRV_FOREACH(m, modules) {
                if (!app_exists(&l, *m))
                        continue;
                r = apply_action(o, c, PMD_RESTART, TARGET(*m));
                if (r != EXIT_CODE_OK)
                        return r;
        }
        return EXIT_CODE_OK;
}

/* ---- showing ---- */

static const char *module_of_section(const char *section) {
        return startswith(section, SETTINGS_MODULE_PREFIX) ?: streq(section, SETTINGS_SECTION) ? PMD_MODULE : "";
}

static void print_escaped(const char *a, const char *b, const char *c, const char *d, const char *e) {
        _cleanup_free_ char *text = strjoin(a, b, c, d, e), *escaped = text ? string_escape_cc(text) : NULL;

        puts(strempty(escaped));
}

static void show_section(const Conf *c, const char *section) {
        const char *module = module_of_section(section);

        print_escaped("Module: ", isempty(module) ? "(none)" : module, "", "", "");
        for (size_t i = 0; i < c->n; i++) {
                const ConfEntry *e = c->entries + i;
                _cleanup_free_ char *key = NULL;

                if (!streq(e->section, section))
                        continue;
                key = strjoin(module, *module ? ":" : "", e->key);
                print_escaped("$ pmctl set ", strempty(key), " ", e->value, "");
        }
}

static bool is_first_of_section(const Conf *c, size_t i) {
        for (size_t k = 0; k < i; k++)
                if (streq(c->entries[k].section, c->entries[i].section))
                        return false;
        return true;
}

static int show_all(const Options *o, const Conf *c) {
        _cleanup_json_writer_ JsonWriter w = {};

        if (!o->json) {
                for (size_t i = 0; i < c->n; i++)
                        if (is_first_of_section(c, i))
                                show_section(c, c->entries[i].section);
                return EXIT_CODE_OK;
        }

        json_writer_begin(&w, NULL, '{');
        for (size_t i = 0; i < c->n; i++) {
                if (!is_first_of_section(c, i))
                        continue;
                json_writer_begin(&w, module_of_section(c->entries[i].section), '{');
                for (size_t k = i; k < c->n; k++)
                        if (streq(c->entries[k].section, c->entries[i].section))
                                json_writer_string(&w, c->entries[k].key, c->entries[k].value);
                json_writer_end(&w, '}');
        }
        json_writer_end(&w, '}');
        return print_json(o, &w);
}

static bool has_section(const Conf *c, const char *section) {
        for (size_t i = 0; i < c->n; i++)
                if (streq(c->entries[i].section, section))
                        return true;
        return false;
}

static char *section_of_module(const char *s) {
        return streq(s, PMD_MODULE) ? strdup(SETTINGS_SECTION) : strjoin(SETTINGS_MODULE_PREFIX, s);
}

static int show_value(const Options *o, const Place *p, const char *value) {
        _cleanup_json_writer_ JsonWriter w = {};

        if (o->json) {
                json_writer_string(&w, NULL, value);
                return print_json(o, &w);
        }
        if (p->module) {
                _cleanup_free_ char *head = strjoin("Value for module ", p->module, " key ");

                print_escaped(strempty(head), p->key, ": ", value, "");
        } else
                print_escaped("Value for ", p->key, ": ", value, "");
        return EXIT_CODE_OK;
}

int verb_get(int argc, char *argv[], const Options *o) {
        _cleanup_free_ char *section = NULL;
        _cleanup_(place_done) Place p = {};
        _cleanup_conf_ Conf c = {};
        const char *value;
        int r;

        r = load_settings(o, &c);
        if (r != EXIT_CODE_OK || argc < 2)
                return r == EXIT_CODE_OK ? show_all(o, &c) : r;

        section = section_of_module(argv[1]);
        if (section && has_section(&c, section)) {
                show_section(&c, section);
                return EXIT_CODE_OK;
        }

        r = parse_place(o, argv[1], &p);
        if (r != EXIT_CODE_OK)
                return r;
        value = streq(p.section, SETTINGS_SECTION) ? settings_get(&c, p.key) : conf_get(&c, p.section, p.key);
        return value ? show_value(o, &p, value) : EXIT_CODE_FAILED;
}

void complete_settings(void) {
        const Setting *table;
        size_t n;

        table = settings_table(&n);
        for (size_t i = 0; i < n; i++)
                printf("%s\t%s\n", table[i].key, table[i].help);
}

/* ---- changing ---- */

static int check_value(const Options *o, const Place *p, const char *value) {
        _cleanup_free_ char *fault = NULL;

        if (!streq(p->section, SETTINGS_SECTION) || setting_check(setting_find(p->key), value, &fault) >= 0)
                return EXIT_CODE_OK;
        message_error(o, "%s", fault ?: strerror(ENOMEM));
        return EXIT_CODE_USAGE;
}

static int change(const Options *o, Conf *c, const char *key, const char *value, char ***modules) {
        _cleanup_(place_done) Place p = {};
        int r;

        r = parse_place(o, key, &p);
        if (r == EXIT_CODE_OK && value)
                r = check_value(o, &p, value);
        if (r != EXIT_CODE_OK)
                return r;

        r = conf_set(c, p.section, p.key, value);
        if (r == -EINVAL) {
                message_error(o, "This key or value cannot be kept in a file");
                return EXIT_CODE_USAGE;
        }
        if (r >= 0 && p.module && !streq(p.module, PMD_MODULE) && !strv_contains(*modules, p.module))
                r = strv_extend(modules, p.module);
        return r < 0 ? report_error(o, r, NULL) : EXIT_CODE_OK;
}

/* words: keys and values in turn */
static int set_all(const Options *o, char *const *words) {
        _cleanup_(drop_in_done) DropIn d = { .lock_fd = -EBADF };
        _cleanup_strv_free_ char **modules = NULL;
        int r;

        r = drop_in_open(o, &d);
        for (size_t i = 0; r == EXIT_CODE_OK && words[i]; i += 2)
                r = change(o, &d.conf, words[i], words[i + 1], &modules);
        if (r == EXIT_CODE_OK)
                r = drop_in_write(o, &d);
        if (r != EXIT_CODE_OK)
                return r;

        message_info(o, "Setting changed");
        r = tell_pmd(o, modules);
        if (o->silent)
                return r;
        for (size_t i = 0; i < d.conf.n; i++)
                if (is_first_of_section(&d.conf, i) && strv_contains(modules, module_of_section(d.conf.entries[i].section)))
                        show_section(&d.conf, d.conf.entries[i].section);
        return r;
}

int verb_set(int argc, char *argv[], const Options *o) {
        return argc < 3 ? verb_get(argc, argv, o) : set_all(o, argv + 1);
}

int verb_multiset(int argc, char *argv[], const Options *o) {
        _cleanup_strv_free_ char **words = NULL;
        int r;

        r = split_args(argv[1], &words);
        if (r < 0)
                return report_error(o, r, NULL);
        if (strv_isempty(words) || strv_length(words) % 2 != 0) {
                message_error(o, "multiset takes one operand, of keys and values in turn: pmctl multiset \"KEY VALUE KEY VALUE\"");
                return EXIT_CODE_USAGE;
        }
        return set_all(o, words);
}

static int remove_section(Conf *c, const char *section) {
        for (size_t i = c->n; i > 0; i--)
                if (streq(c->entries[i - 1].section, section))
                        (void) conf_set(c, section, c->entries[i - 1].key, NULL);
        return EXIT_CODE_OK;
}

/* What others have written is theirs to remove. */
static int check_removed(const Options *o, const char *word) {
        _cleanup_(place_done) Place p = {};
        _cleanup_conf_ Conf c = {};
        int r;

        r = load_settings(o, &c);
        if (r == EXIT_CODE_OK)
                r = parse_place(o, word, &p);
        if (r != EXIT_CODE_OK)
                return r;
        if (!conf_get(&c, p.section, p.key))
                return EXIT_CODE_OK;
        message_error(o, "%s is still set in a file that pmctl has not written, see pmd.conf(5)", p.key);
        return EXIT_CODE_FAILED;
}

int verb_unset(int argc, char *argv[], const Options *o) {
        _cleanup_(drop_in_done) DropIn d = { .lock_fd = -EBADF };
        _cleanup_free_ char *section = section_of_module(argv[1]);
        _cleanup_strv_free_ char **modules = NULL;
        bool whole;
        int r;

        r = drop_in_open(o, &d);
        if (r != EXIT_CODE_OK)
                return r;
        whole = section && has_section(&d.conf, section);
        if (whole && strv_extend(&modules, argv[1]) < 0)
                return report_error(o, -ENOMEM, NULL);
        r = whole ? remove_section(&d.conf, section) : change(o, &d.conf, argv[1], NULL, &modules);
        if (r == EXIT_CODE_OK)
                r = drop_in_write(o, &d);
        if (r == EXIT_CODE_OK && !whole)
                r = check_removed(o, argv[1]);
        if (r != EXIT_CODE_OK)
                return r;

        message_info(o, "Setting changed");
        return tell_pmd(o, modules);
}
