/* SPDX-License-Identifier: MIT */
#include <json-c/json.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/app-resolve.h"

#include "shared/fileio.h"
#include "shared/json-util.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define HEAD_MAX 1024U
#define PACKAGE_JSON_MAX (1024U * 1024U)
#define VERSION_MAX 64U
#define SPACES " \t\n\v\f\r"

static const char *interpreter_by_extension(const char *path) {
        static const struct {
                const char *extension, *interpreter;
        } table[] = {
                { ".sh", "bash" },  { ".py", "python" },     { ".rb", "ruby" }, { ".php", "php" }, { ".pl", "perl" },
                { ".js", "node" },  { ".mjs", "node" },      { ".cjs", "node" }, { ".ts", "bun" },  { ".tsx", "bun" },
                { ".ls", "lsc" },   { ".coffee", "coffee" },
        };
        const char *name = path_basename(path), *dot = strrchr(name, '.');

        if (!dot || dot == name)
                return NULL;
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (streq(dot, table[i].extension))
                        return table[i].interpreter;
        return NULL;
}

static int interpreter_by_content(const char *path, const char **ret) {
        _cleanup_free_ char *head = NULL;
        mode_t mode;
        size_t n;
        int r;

        r = read_regular_file(path, HEAD_MAX, &head, &n, &mode);
        if (r == -EACCES && access(path, X_OK) >= 0) {
                /* What may be executed but not read is no use to an interpreter. */
                *ret = "none";
                return 0;
        }
        if (r < 0)
                return r;

        if (memchr(head, 0, n))
                *ret = "none";
        else if (startswith(head, "#!") && (mode & 0111) != 0)
                *ret = "none";
        else
                *ret = "node";
        return 0;
}

int interpreter_for_script(const char *path, char **ret) {
        const char *interpreter;
        char *copy;
        int r;

        interpreter = interpreter_by_extension(path);
        if (!interpreter) {
                r = interpreter_by_content(path, &interpreter);
                if (r < 0)
                        return r;
        }

        copy = strdup(interpreter);
        if (!copy)
                return -ENOMEM;

        *ret = copy;
        return 0;
}

/* A string of a directory's package.json. -ENOENT if there is no such file, -ENODATA if there is, without (or with a useless) value. */
static int package_json_string(const char *dir, const char *key, char **ret) {
        _cleanup_(json_object_putp) json_object *package = NULL;
        _cleanup_free_ char *path = NULL, *text = NULL;
        json_object *value;
        const char *s;
        size_t n;
        char *copy;
        int r;

        path = strjoin(dir, "/package.json");
        if (!path)
                return -ENOMEM;

        r = read_regular_file(path, PACKAGE_JSON_MAX, &text, &n, NULL);
        if (r < 0)
                return r == -ENOTDIR ? -ENOENT : r;

        package = json_tokener_parse(text);
        if (!json_object_is_type(package, json_type_object) || !json_object_object_get_ex(package, key, &value) ||
            !json_object_is_type(value, json_type_string))
                return -ENODATA;

        s = json_object_get_string(value);
        n = (size_t) json_object_get_string_len(value);
        if (n == 0 || strlen(s) != n || !utf8_is_valid(s, n) || string_has_cc(s))
                return -ENODATA;

        copy = strdup(s);
        if (!copy)
                return -ENOMEM;

        *ret = copy;
        return 0;
}

static int regular_file_exists(const char *path) {
        struct stat st;

        if (stat(path, &st) < 0)
                return -errno;
        return S_ISREG(st.st_mode) ? 0 : S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
}

/* As require() takes a module's "main": the file, the same with ".js", or index.js in that directory. */
static int module_file(const char *path, char **ret) {
        static const char *const suffixes[] = { "", ".js", "/index.js" };

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
                _cleanup_free_ char *p = strjoin(path, suffixes[i]);

                if (!p)
                        return -ENOMEM;
                if (regular_file_exists(p) >= 0) {
                        *ret = TAKE_PTR(p);
                        return 0;
                }
        }

        return -ENOENT;
}

static int directory_script(const char *dir, char **ret) {
        _cleanup_free_ char *entry = NULL, *path = NULL;
        int r;

        r = package_json_string(dir, "main", &entry);
        if (r == -ENOMEM)
                return r;
        if (r >= 0) {
                path = path_resolve(dir, entry);
                if (!path)
                        return -ENOMEM;
                r = module_file(path, ret);
                if (r != -ENOENT)
                        return r;
                path = mfree(path);
        }

        path = strjoin(dir, "/index.js");
        if (!path)
                return -ENOMEM;
        r = regular_file_exists(path);
        if (r < 0)
                return -ENOENT;

        *ret = TAKE_PTR(path);
        return 0;
}

int script_file(const char *path, char **ret) {
        char *copy;
        int r;

        r = regular_file_exists(path);
        if (r == -EISDIR)
                return directory_script(path, ret);
        if (r < 0)
                return r;

        copy = strdup(path);
        if (!copy)
                return -ENOMEM;

        *ret = copy;
        return 0;
}

int version_of_script(const char *path, char **ret) {
        _cleanup_free_ char *dir = NULL, *version = NULL;
        int r = -ENOENT;

        dir = strdup(path);
        if (!dir)
                return -ENOMEM;

        for (char *slash; r == -ENOENT && (slash = strrchr(dir, '/'));) {
                *slash = 0;
                r = package_json_string(dir, "version", &version);
        }
        if (r == -ENOMEM)
                return r;

        if (!version || strlen(version) > VERSION_MAX) {
                r = free_and_strdup(&version, "N/A");
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(version);
        return 0;
}

/* The length of what stands in quotes at s, with them; 0: nothing does. */
static size_t quoted_length(const char *s) {
        const char *end = IN_SET(*s, '\'', '"') ? strchr(s + 1, *s) : NULL;

        return end ? (size_t) (end - s) + 1 : 0;
}

/* NAME="a b", where the quotes stay: who reads it may be a shell, or take JSON */
static size_t assignment_length(const char *s) {
        size_t name = strcspn(s, SPACES "='\""), value = name > 0 && s[name] == '=' ? quoted_length(s + name + 1) : 0;

        return value > 0 ? name + 1 + value : 0;
}

int split_args(const char *s, char ***ret) {
        _cleanup_strv_free_ char **l = new0(char *, 1);
        size_t n = 0, allocated = 1;

        if (!l)
                return -ENOMEM;

        for (s += strspn(s, SPACES); *s; s += strspn(s, SPACES)) {
                size_t quoted = quoted_length(s), length = quoted ?: assignment_length(s) ?: strcspn(s, SPACES);
                const char *word = quoted > 0 ? s + 1 : s;

                s += length;
                if (quoted == 2)
                        continue;
                if (!GREEDY_REALLOC(l, allocated, n + 2))
                        return -ENOMEM;
                l[n] = strndup(word, quoted > 0 ? quoted - 2 : length);
                if (!l[n])
                        return -ENOMEM;
                l[++n] = NULL;
        }

        *ret = TAKE_PTR(l);
        return 0;
}
