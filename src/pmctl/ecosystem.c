/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pmctl/ecosystem.h"

#include "pmctl/ecosystem-internal.h"
#include "shared/fileio.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

typedef enum FileKind {
        FILE_JSON,
        FILE_YAML,
        FILE_MODULE,
        _FILE_KIND_MAX,
        _FILE_KIND_INVALID = -EINVAL,
} FileKind;

static const struct {
        const char *part;
        FileKind kind;
} file_kinds[] = {
        { ".config.js", FILE_MODULE },
        { ".config.cjs", FILE_MODULE },
        { ".config.mjs", FILE_MODULE },
        { ".json", FILE_JSON },
        { ".yml", FILE_YAML },
        { ".yaml", FILE_YAML },
};

/* What a directory is searched for, in this order. */
static const char *const file_names[] = {
        "ecosystem.config.js",
        "ecosystem.config.cjs",
        "ecosystem.config.mjs",
        "ecosystem.json",
        "ecosystem.yml",
        "ecosystem.yaml",
};

/* pm2 takes the parts anywhere in the name ("app.json.dist"); of several the one at the end counts. */
static FileKind file_kind(const char *path) {
        const char *name = path_basename(path);

        for (size_t i = 0; i < ELEMENTSOF(file_kinds); i++)
                if (endswith(name, file_kinds[i].part))
                        return file_kinds[i].kind;
        for (size_t i = 0; i < ELEMENTSOF(file_kinds); i++)
                if (strstr(name, file_kinds[i].part))
                        return file_kinds[i].kind;
        return _FILE_KIND_INVALID;
}

/* 0, -ENOENT or -ENOMEM */
static int find_in_directory(const char *dir, char **ret) {
        for (size_t i = 0; i < ELEMENTSOF(file_names); i++) {
                _cleanup_free_ char *path = strjoin(dir, endswith(dir, "/") ? "" : "/", file_names[i]);

                if (!path)
                        return -ENOMEM;
                if (access(path, F_OK) >= 0) {
                        *ret = TAKE_PTR(path);
                        return 0;
                }
        }
        return -ENOENT;
}

bool ecosystem_is_file(const char *arg) {
        _cleanup_free_ char *found = NULL;

        if (streq(arg, "-"))
                return true;
        if (path_is_directory(arg))
                return find_in_directory(arg, &found) >= 0;
        if (file_kind(arg) < 0)
                return false;
        return !strchr(arg, ' ') || access(arg, F_OK) >= 0;
}

static char *escape_lines(const char *s) {
        _cleanup_strv_free_ char **lines = strv_split(s, "\n");

        if (!lines)
                return NULL;
        STRV_FOREACH(l, lines) {
                char *escaped = string_escape_cc(*l);

                if (!escaped)
                        return NULL;
                free(*l);
                *l = escaped;
        }
        return strv_join(lines, "\n");
}

int ecosystem_fault(char **reterr, int error, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        char *escaped;
        va_list ap;
        int r;

        if (!reterr)
                return error;

        va_start(ap, format);
        errno = -error;
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0) {
                text = NULL;
                return -ENOMEM;
        }

        escaped = escape_lines(text);
        if (!escaped)
                return -ENOMEM;

        free(*reterr);
        *reterr = escaped;
        return error;
}

static int find_file(const char *path, char **ret, char **reterr) {
        char *file;
        int r;

        if (streq(path, "-"))
                file = strdup("standard input");
        else if (path_is_directory(path)) {
                r = find_in_directory(path, &file);
                if (r == -ENOENT)
                        return ecosystem_fault(reterr, r, "File %s%secosystem.config.js not found", path, endswith(path, "/") ? "" : "/");
                if (r < 0)
                        return r;
        } else
                file = strdup(path);
        if (!file)
                return -ENOMEM;

        *ret = file;
        return 0;
}

static int read_text(const char *path, char **ret, size_t *ret_size, char **reterr) {
        int r;

        if (streq(path, "-"))
                r = read_full_fd(STDIN_FILENO, ECOSYSTEM_SIZE_MAX, ret, ret_size);
        else
                r = read_full_file_at(AT_FDCWD, path, ECOSYSTEM_SIZE_MAX, ret, ret_size);
        if (r == -E2BIG)
                return ecosystem_fault(reterr, r, "it is larger than %u MiB", ECOSYSTEM_SIZE_MAX >> 20);
        return r;
}

/* A module is read by node; that it is there and not too large is told better by us. */
static int check_module(const char *path, char **reterr) {
        struct stat st;

        if (stat(path, &st) < 0 || access(path, R_OK) < 0)
                return -errno;
        if (st.st_size > ECOSYSTEM_SIZE_MAX)
                return ecosystem_fault(reterr, -E2BIG, "it is larger than %u MiB", ECOSYSTEM_SIZE_MAX >> 20);
        return 0;
}

static int read_document(const char *path, const char *file, json_object **ret, char **reterr) {
        FileKind kind = streq(path, "-") ? FILE_JSON : file_kind(file);
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        if (kind == FILE_MODULE) {
                r = check_module(file, reterr);
                if (r < 0)
                        return r;
                return ecosystem_evaluate(file, NULL, 0, ECOSYSTEM_NODE_TIMEOUT, ret, reterr);
        }

        r = read_text(streq(path, "-") ? path : file, &text, &size, reterr);
        if (r < 0)
                return r;
        if (kind == FILE_YAML)
                return ecosystem_parse_yaml(text, size, ret, reterr);
        return ecosystem_parse_json(text, size, file, ret, reterr);
}

/* Puts the name of the file before what is wrong with it. */
static int fault_in_file(const char *path, const char *file, int error, const char *fault, char **reterr) {
        bool is_stdin = streq(path, "-");
        const char *word = is_stdin ? "Standard input" : "File ";
        const char *name = is_stdin ? "" : file;

        if (error == -ENOMEM)
                return error;
        if (error == -EINVAL && fault)
                return ecosystem_fault(reterr, error, "%s%s malformated: %s", word, name, fault);
        if (fault)
                return ecosystem_fault(reterr, error, "%s%s cannot be used: %s", word, name, fault);
        if (IN_SET(error, -ENOENT, -ENOTDIR))
                return ecosystem_fault(reterr, -ENOENT, "%s%s not found", word, name);
        return ecosystem_fault(reterr, error, "%s%s cannot be read: %m", word, name);
}

int ecosystem_load(const char *path, const char *env_name, const char *only, Ecosystem **ret, char **reterr) {
        _cleanup_ecosystem_free_ Ecosystem *e = new0(Ecosystem, 1);
        _cleanup_json_ json_object *document = NULL;
        _cleanup_free_ char *fault = NULL;
        int r;

        if (!e)
                return -ENOMEM;
        r = find_file(path, &e->file, reterr);
        if (r < 0)
                return r;

        r = read_document(path, e->file, &document, &fault);
        if (r >= 0)
                r = ecosystem_take_document(e, document, env_name, only, &fault);
        if (r < 0)
                return fault_in_file(path, e->file, r, fault, reterr);

        *ret = TAKE_PTR(e);
        return 0;
}

Ecosystem *ecosystem_free(Ecosystem *e) {
        if (!e)
                return NULL;

        strv_free(e->warnings);
        json_object_put(e->deploy);
        for (size_t i = 0; i < e->n_apps; i++) {
                json_object_put(e->apps[i].definition);
                free(e->apps[i].path);
        }
        free(e->apps);
        free(e->file);
        return mfree(e);
}

char *ecosystem_app_faults(const EcosystemApp *app, const char *faults) {
        _cleanup_strv_free_ char **lines = strv_split(faults, "\n");

        if (!lines)
                return NULL;
        STRV_FOREACH(l, lines) {
                /* A sentence of its own has no attribute in front. */
                const char *separator = isempty(app->path) ? "" : isupper((unsigned char) **l) ? ": " : ".";
                char *placed = strjoin(app->path, separator, *l);

                if (!placed)
                        return NULL;
                free(*l);
                *l = placed;
        }
        return strv_join(lines, "\n");
}
