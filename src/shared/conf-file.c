/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

#include "shared/conf-file.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define WHITESPACE " \t\r"
#define FILE_MAX (4U << 20)
#define ENTRIES_MAX 4096U
#define FAULTS_LENGTH_MAX 4096U

static void entry_done(ConfEntry *e) {
        free(e->section);
        free(e->key);
        free(e->value);
}

void conf_done(Conf *c) {
        for (size_t i = 0; i < c->n; i++)
                entry_done(c->entries + i);
        free(c->entries);
        *c = (Conf) {};
}

static ConfEntry *find(const Conf *c, const char *section, const char *key) {
        for (size_t i = 0; i < c->n; i++)
                if (streq(c->entries[i].section, section) && streq(c->entries[i].key, key))
                        return c->entries + i;
        return NULL;
}

const char *conf_get(const Conf *c, const char *section, const char *key) {
        const ConfEntry *e = find(c, section, key);

        return e ? e->value : NULL;
}

static bool is_text(const char *s) {
        return !isempty(s) && utf8_is_valid(s, strlen(s)) && !string_has_cc(s);
}

static bool section_is_valid(const char *s) {
        return is_text(s) && !strpbrk(s, "[]");
}

static bool key_is_valid(const char *s) {
        return is_text(s) && !strchr(s, '=') && !strchr("[#; ", s[0]) && s[strlen(s) - 1] != ' ';
}

static void remove_entry(Conf *c, ConfEntry *e) {
        size_t behind = (size_t) (c->entries + c->n - e - 1);

        entry_done(e);
        memmove(e, e + 1, behind * sizeof *e);
        c->n--;
}

static int append_entry(Conf *c, const char *section, const char *key, const char *value) {
        ConfEntry e;

        if (c->n >= ENTRIES_MAX)
                return -E2BIG;
        if (!GREEDY_REALLOC(c->entries, c->allocated, c->n + 1))
                return -ENOMEM;
        e = (ConfEntry) { strdup(section), strdup(key), strdup(value) };
        if (!e.section || !e.key || !e.value) {
                entry_done(&e);
                return -ENOMEM;
        }
        c->entries[c->n++] = e;
        return 0;
}

int conf_set(Conf *c, const char *section, const char *key, const char *value) {
        ConfEntry *e;

        if (!section_is_valid(section) || !key_is_valid(key) || (value && !utf8_is_valid(value, strlen(value))))
                return -EINVAL;

        e = find(c, section, key);
        if (!value) {
                if (e)
                        remove_entry(c, e);
                return 0;
        }
        return e ? free_and_strdup(&e->value, value) : append_entry(c, section, key, value);
}

/* ---- reading ---- */

typedef struct Parser {
        Conf *conf;
        const char *name;
        unsigned line;
        char *section; /* NULL: none yet, or one that makes no sense */
        bool in_bad_section;
        char **faults;
} Parser;

_printf_(2, 3) static int add_fault(char **faults, const char *format, ...) {
        _cleanup_free_ char *text = NULL, *escaped = NULL;
        char *joined;
        va_list ap;
        int n;

        if (*faults && strlen(*faults) > FAULTS_LENGTH_MAX)
                return 0;

        va_start(ap, format);
        n = vasprintf(&text, format, ap);
        va_end(ap);
        if (n < 0) {
                text = NULL; /* which is undefined then */
                return -ENOMEM;
        }

        escaped = string_escape_cc(text);
        joined = escaped ? strjoin(strempty(*faults), *faults ? "\n" : "", escaped) : NULL;
        if (!joined)
                return -ENOMEM;
        free(*faults);
        *faults = joined;
        return 0;
}

static char *strip(char *s) {
        char *end;

        s += strspn(s, WHITESPACE);
        end = s + strlen(s);
        while (end > s && strchr(WHITESPACE, end[-1]))
                *--end = 0;
        return s;
}

static int unhex(const char *s) {
        static const char digits[] = "0123456789abcdef";
        const char *high = s[0] ? strchr(digits, tolower((unsigned char) s[0])) : NULL;
        const char *low = high && s[1] ? strchr(digits, tolower((unsigned char) s[1])) : NULL;

        return low ? (int) ((high - digits) * 16 + (low - digits)) : -EINVAL;
}

/* In place; s begins with the quote. false if it makes no sense. */
static bool unquote(char *s) {
        static const char letters[] = "\"\\nrt", meanings[] = "\"\\\n\r\t";
        char *to = s;
        const char *letter;
        int c;

        for (const char *from = s + 1; *from; from++) {
                if (*from == '"') {
                        *to = 0;
                        return from[1] == 0;
                }
                if (*from != '\\') {
                        *to++ = *from;
                        continue;
                }

                from++;
                letter = *from ? strchr(letters, *from) : NULL;
                if (letter) {
                        *to++ = meanings[letter - letters];
                        continue;
                }
                c = *from == 'x' ? unhex(from + 1) : -EINVAL;
                if (c <= 0)
                        return false;
                *to++ = (char) c;
                from += 2;
        }
        return false;
}

static int parse_section(Parser *p, char *line) {
        char *end = endswith(line, "]");

        if (end)
                *end = 0;
        p->section = mfree(p->section);
        p->in_bad_section = !end || !section_is_valid(line + 1);
        if (p->in_bad_section)
                return add_fault(p->faults, "%s:%u: this is no [Section], ignoring it", p->name, p->line);

        p->section = strdup(line + 1);
        return p->section ? 0 : -ENOMEM;
}

static int parse_assignment(Parser *p, char *line) {
        char *equals = strchr(line, '='), *key, *value;

        if (!equals)
                return add_fault(p->faults, "%s:%u: this is no Key=value, ignoring the line", p->name, p->line);
        if (!p->section)
                return p->in_bad_section ? 0 :
                       add_fault(p->faults, "%s:%u: a line outside of a [Section], ignoring it", p->name, p->line);

        *equals = 0;
        key = strip(line);
        value = strip(equals + 1);
        if (!*value && key_is_valid(key))
                return conf_set(p->conf, p->section, key, NULL);
        if (!key_is_valid(key) || (*value == '"' && !unquote(value)) || !utf8_is_valid(value, strlen(value)))
                return add_fault(p->faults, "%s:%u: the line is malformed, ignoring it", p->name, p->line);
        return conf_set(p->conf, p->section, key, value);
}

static int parse_line(Parser *p, char *line) {
        line = strip(line);
        return *line == '[' ? parse_section(p, line) : *line ? parse_assignment(p, line) : 0;
}

/* Takes one line off *text, without its newline; NULL at the end, or if memory ran out (*text is untouched then). */
static char *next_line(const char **text) {
        size_t n = strcspn(*text, "\n");
        char *line;

        if (!**text)
                return NULL;
        line = strndup(*text, n);
        if (line)
                *text += n + ((*text)[n] == '\n');
        return line;
}

static bool is_comment(const char *line) {
        line += strspn(line, WHITESPACE);
        return *line == '#' || *line == ';';
}

/* Cuts off a backslash at the end. */
static bool is_continued(char *line) {
        size_t n = strlen(line);

        if (n > 0 && line[n - 1] == '\r')
                n--;
        if (n == 0 || line[n - 1] != '\\')
                return false;
        line[n - 1] = 0;
        return true;
}

int conf_parse(Conf *c, const char *text, const char *name, char **faults) {
        Parser p = { .conf = c, .name = name, .faults = faults };
        _cleanup_free_ char *logical = NULL;
        unsigned n_lines = 0;
        int r = 0;

        while (r >= 0 && *text) {
                _cleanup_free_ char *line = next_line(&text);
                bool continued;
                char *joined;

                if (!line) {
                        r = -ENOMEM;
                        break;
                }
                n_lines++;
                if (is_comment(line))
                        continue;
                if (!logical)
                        p.line = n_lines;

                continued = is_continued(line);
                joined = strjoin(strempty(logical), logical ? " " : "", line);
                if (!joined) {
                        r = -ENOMEM;
                        break;
                }
                free(logical);
                logical = joined;
                if (continued)
                        continue;

                r = parse_line(&p, logical);
                logical = mfree(logical);
        }
        if (r >= 0 && logical)
                r = parse_line(&p, logical);
        if (r == -E2BIG)
                r = add_fault(faults, "%s:%u: more than %u assignments, ignoring the rest", name, p.line, ENTRIES_MAX);

        free(p.section);
        return r;
}

/* ---- writing ---- */

static bool needs_quotes(const char *s) {
        size_t n = strlen(s);

        return n == 0 || s[0] == '"' || s[0] == ' ' || s[n - 1] == ' ' || s[n - 1] == '\\' || string_has_cc(s);
}

static void put_value(FILE *f, const char *s) {
        if (!needs_quotes(s)) {
                (void) fputs(s, f);
                return;
        }

        (void) fputc('"', f);
        for (; *s; s++)
                if (*s == '"' || *s == '\\')
                        (void) fprintf(f, "\\%c", *s);
                else if ((unsigned char) *s < 0x20 || *s == 0x7f)
                        (void) fprintf(f, "\\x%02x", (unsigned char) *s);
                else
                        (void) fputc(*s, f);
        (void) fputc('"', f);
}

static bool section_stands_before(const Conf *c, size_t i) {
        for (size_t k = 0; k < i; k++)
                if (streq(c->entries[k].section, c->entries[i].section))
                        return true;
        return false;
}

char *conf_format(const Conf *c) {
        char *text = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&text, &size);
        if (!f)
                return NULL;

        for (size_t i = 0; i < c->n; i++) {
                if (section_stands_before(c, i))
                        continue;
                (void) fprintf(f, "%s[%s]\n", i > 0 ? "\n" : "", c->entries[i].section);
                for (size_t k = i; k < c->n; k++) {
                        if (!streq(c->entries[k].section, c->entries[i].section))
                                continue;
                        (void) fprintf(f, "%s=", c->entries[k].key);
                        put_value(f, c->entries[k].value);
                        (void) fputc('\n', f);
                }
        }

        if (fclose(f) != 0)
                return mfree(text);
        return text;
}

/* ---- files ---- */

int conf_read_file(Conf *c, const char *path, char **faults) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = read_full_file_at(AT_FDCWD, path, FILE_MAX, &text, &size);
        if (r == -ENOMEM || r == -ENOENT)
                return r;
        if (r < 0)
                return add_fault(faults, "%s: it cannot be read: %s", path, strerror(-r));
        if (strlen(text) != size)
                return add_fault(faults, "%s: this is no text, ignoring it", path);
        return conf_parse(c, text, path, faults);
}

static int read_first(Conf *c, char *const *dirs, const char *name, char **faults) {
        STRV_FOREACH(dir, dirs) {
                _cleanup_free_ char *path = strjoin(*dir, "/", name);
                int r;

                if (!path)
                        return -ENOMEM;
                r = conf_read_file(c, path, faults);
                if (r != -ENOENT)
                        return r;
        }
        return 0;
}

static bool basename_is_in(char *const *paths, const char *name) {
        STRV_FOREACH(p, paths)
                if (streq(path_basename(*p), name))
                        return true;
        return false;
}

static int collect_drop_ins(const char *dir, char ***paths) {
        _cleanup_closedir_ DIR *d = opendir(dir);

        if (!d)
                return 0;

        for (struct dirent *e; (e = readdir(d));) {
                int r;

                if (e->d_name[0] == '.' || !endswith(e->d_name, ".conf") || basename_is_in(*paths, e->d_name))
                        continue;
                r = strv_consume(paths, strjoin(dir, "/", e->d_name));
                if (r < 0)
                        return r;
        }
        return 0;
}

static int compare_basenames(const void *a, const void *b) {
        return strcmp(path_basename(*(char *const *) a), path_basename(*(char *const *) b));
}

int conf_load(Conf *c, char *const *dirs, const char *name, char **faults) {
        _cleanup_strv_free_ char **paths = NULL;
        int r;

        r = read_first(c, dirs, name, faults);
        if (r < 0)
                return r;

        STRV_FOREACH(dir, dirs) {
                _cleanup_free_ char *sub = strjoin(*dir, "/", name, ".d");

                if (!sub)
                        return -ENOMEM;
                r = collect_drop_ins(sub, &paths);
                if (r < 0)
                        return r;
        }
        if (strv_isempty(paths))
                return 0;

        qsort(paths, strv_length(paths), sizeof *paths, compare_basenames);
        STRV_FOREACH(path, paths) {
                r = conf_read_file(c, *path, faults);
                if (r < 0 && r != -ENOENT)
                        return r;
        }
        return 0;
}
