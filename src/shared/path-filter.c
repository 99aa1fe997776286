/* SPDX-License-Identifier: MIT */
#include <regex.h>
#include <stdio.h>

#include "shared/path-filter.h"

#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

typedef enum RuleKind {
        RULE_NAME,  /* of the last component */
        RULE_PATH,  /* of the whole path */
        RULE_BELOW, /* of what follows the directory */
} RuleKind;

typedef struct Rule {
        RuleKind kind;
        bool negated;
        regex_t regex;
} Rule;

struct PathFilter {
        Rule *rules;
        size_t n_rules, n_allocated;
};

bool string_is_glob(const char *s) {
        for (; *s; s++) {
                if (*s == '\\' && s[1])
                        s++;
                else if (strchr("*?[{", *s))
                        return true;
        }
        return false;
}

static void put_literal(FILE *f, char c) {
        if (strchr(".^$*+?()[]{}|\\", c))
                (void) fputc('\\', f);
        (void) fputc(c, f);
}

/* "**" with what belongs to it: a slash behind it, so that "a/" followed by it and "b" matches "a/b", or at the end the slash before
 * it. Returns what follows. */
static const char *put_double_star(FILE *f, const char *s, const char *glob) {
        bool whole = s == glob || s[-1] == '/';

        s += strspn(s, "*");
        if (whole && *s == '/') {
                (void) fputs("(.*/)?", f);
                return s + 1;
        }
        (void) fputs(".*", f);
        return s;
}

/* Returns what follows the bracket, or NULL if it is never closed. */
static const char *put_bracket(FILE *f, const char *s) {
        bool negated = s[1] == '!' || s[1] == '^';
        const char *first = s + 1 + negated, *end;

        end = *first ? strchr(first + 1, ']') : NULL;
        if (!end)
                return NULL;
        (void) fprintf(f, "[%s%.*s]", negated ? "^" : "", (int) (end - first), first);
        return end + 1;
}

/* Whether "{a,b}" begins here: one without a comma, or without an end, is text. */
static bool is_choice(const char *s) {
        const char *end = strchr(s, '}');

        return end && memchr(s, ',', (size_t) (end - s));
}

static void put_glob(FILE *f, const char *glob) {
        unsigned depth = 0;

        for (const char *s = glob; *s;) {
                const char *next;

                if (*s == '\\' && s[1]) {
                        put_literal(f, s[1]);
                        s += 2;
                } else if (s[0] == '*' && s[1] == '*')
                        s = put_double_star(f, s, glob);
                else if (*s == '[' && (next = put_bracket(f, s)))
                        s = next;
                else if (streq(s, "/**")) {
                        (void) fputs("(/.*)?", f);
                        s += 3;
                } else {
                        if (*s == '*')
                                (void) fputs("[^/]*", f);
                        else if (*s == '?')
                                (void) fputs("[^/]", f);
                        else if (*s == '{' && is_choice(s)) {
                                (void) fputc('(', f);
                                depth++;
                        } else if (*s == ',' && depth > 0)
                                (void) fputc('|', f);
                        else if (*s == '}' && depth > 0) {
                                (void) fputc(')', f);
                                depth--;
                        } else
                                put_literal(f, *s);
                        s++;
                }
        }
        while (depth-- > 0)
                (void) fputc(')', f);
}

/* An extended one without anchors. New memory, or NULL. */
static char *glob_to_regex(const char *glob) {
        char *text = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&text, &size);
        if (!f)
                return NULL;
        put_glob(f, glob);
        if (fclose(f) != 0)
                text = mfree(text);
        return text;
}

static char *escape_literal(const char *s) {
        char *text = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&text, &size);
        if (!f)
                return NULL;
        for (; *s; s++)
                put_literal(f, *s);
        if (fclose(f) != 0)
                text = mfree(text);
        return text;
}

/* Writes JavaScript's \d and (?: as POSIX does. */
static char *regex_from_javascript(const char *s, size_t n) {
        char *text = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&text, &size);
        if (!f)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                bool more = i + 1 < n;

                if (s[i] == '\\' && more) {
                        i++;
                        if (s[i] == 'd')
                                (void) fputs("[0-9]", f);
                        else if (s[i] == '/')
                                (void) fputc('/', f);
                        else
                                (void) fprintf(f, "\\%c", s[i]);
                } else if (i + 2 < n && strncmp(s + i, "(?:", 3) == 0) {
                        (void) fputc('(', f);
                        i += 2;
                } else
                        (void) fputc(s[i], f);
        }
        if (fclose(f) != 0)
                text = mfree(text);
        return text;
}

static int compile(const char *pattern, bool anchored, int flags, regex_t *ret) {
        _cleanup_free_ char *whole = anchored ? strjoin("^(", pattern, ")$") : strdup(pattern);

        if (!whole)
                return -ENOMEM;
        switch (regcomp(ret, whole, REG_EXTENDED | REG_NOSUB | flags)) {
        case 0:
                return 0;
        case REG_ESPACE:
                return -ENOMEM;
        default:
                return -EINVAL;
        }
}

/* Where the text between the slashes of "/regex/flags" ends; NULL if it is none. */
static const char *regex_end(const char *rule) {
        const char *end = strrchr(rule, '/');

        return rule[0] == '/' && end > rule + 1 && strspn(end + 1, "dgimsuvy") == strlen(end + 1) ? end : NULL;
}

static int compile_regex(const char *rule, const char *end, Rule *ret) {
        _cleanup_free_ char *pattern = regex_from_javascript(rule + 1, (size_t) (end - rule - 1));

        if (!pattern)
                return -ENOMEM;
        ret->kind = RULE_BELOW;
        return compile(pattern, false, strchr(end, 'i') ? REG_ICASE : 0, &ret->regex);
}

/* "dir/" means "dir". */
static char *without_trailing_slashes(const char *s) {
        size_t n = strlen(s);

        while (n > 1 && s[n - 1] == '/')
                n--;
        return strndup(s, n);
}

/* Like path_resolve(), but what stands in base is text, not a pattern. */
static char *pattern_of_path(const char *glob, const char *base) {
        _cleanup_free_ char *resolved = NULL, *head = NULL, *tail = NULL;

        resolved = path_resolve("/", glob);
        if (!resolved)
                return NULL;
        tail = glob_to_regex(resolved);
        if (!tail || path_is_absolute(glob))
                return TAKE_PTR(tail);

        head = escape_literal(streq(base, "/") ? "" : base);
        if (!head)
                return NULL;
        return strjoin(head, tail);
}

static int compile_glob(const char *rule, const char *base, Rule *ret) {
        _cleanup_free_ char *glob = without_trailing_slashes(rule), *pattern = NULL;

        if (!glob)
                return -ENOMEM;
        ret->kind = strchr(glob, '/') ? RULE_PATH : RULE_NAME;
        pattern = ret->kind == RULE_PATH ? pattern_of_path(glob, base) : glob_to_regex(glob);
        if (!pattern)
                return -ENOMEM;
        return compile(pattern, true, 0, &ret->regex);
}

static int compile_rule(const char *rule, const char *base, Rule *ret) {
        const char *end;

        *ret = (Rule) { .negated = rule[0] == '!' };
        rule += ret->negated;
        end = regex_end(rule);
        return end ? compile_regex(rule, end, ret) : compile_glob(rule, base, ret);
}

int path_filter_new(char *const *rules, const char *base, PathFilter **ret, const char **ret_bad) {
        _cleanup_(path_filter_freep) PathFilter *f = new0(PathFilter, 1);
        int r;

        if (!f)
                return -ENOMEM;

        STRV_FOREACH(rule, rules) {
                if (isempty(*rule))
                        continue;
                if (!GREEDY_REALLOC(f->rules, f->n_allocated, f->n_rules + 1))
                        return -ENOMEM;
                r = compile_rule(*rule, base, f->rules + f->n_rules);
                if (r < 0) {
                        *ret_bad = *rule;
                        return r;
                }
                f->n_rules++;
        }

        *ret = TAKE_PTR(f);
        return 0;
}

PathFilter *path_filter_free(PathFilter *f) {
        if (!f)
                return NULL;
        for (size_t i = 0; i < f->n_rules; i++)
                regfree(&f->rules[i].regex);
        free(f->rules);
        return mfree(f);
}

static bool rule_matches(const Rule *rule, const char *path, size_t root_len) {
        const char *text = rule->kind == RULE_NAME ? path_basename(path) : rule->kind == RULE_BELOW ? path + root_len : path;

        return regexec(&rule->regex, text, 0, NULL, 0) == 0;
}

bool path_filter_matches(const PathFilter *f, const char *path, size_t root_len) {
        bool matches = false;

        for (size_t i = 0; f && i < f->n_rules; i++) {
                if (!rule_matches(f->rules + i, path, root_len))
                        continue;
                if (f->rules[i].negated)
                        return false;
                matches = true;
        }
        return matches;
}
