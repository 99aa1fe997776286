/* SPDX-License-Identifier: MIT */
#include "shared/env-file.h"

#include "shared/env-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define BLANKS " \t\r"

typedef struct Reader {
        const char *p;    /* NUL behind the last byte */
        unsigned line;
        const char *why;
} Reader;

static int fail(Reader *r, const char *why) {
        r->why = why;
        return -EINVAL;
}

static void skip_line(Reader *r) {
        r->p += strcspn(r->p, "\n");
        if (*r->p) {
                r->p++;
                r->line++;
        }
}

static int read_name(Reader *r, char **ret) {
        const char *after = startswith(r->p, "export");
        size_t n;

        if (after && strspn(after, " \t") > 0)
                r->p = after + strspn(after, " \t");

        n = strcspn(r->p, "=\n");
        if (r->p[n] != '=')
                return fail(r, "there is no '='");
        *ret = strndup(r->p, n);
        if (!*ret)
                return -ENOMEM;
        r->p += n + 1;

        while (n > 0 && strchr(BLANKS, (*ret)[n - 1]))
                (*ret)[--n] = 0;
        return env_name_is_valid(*ret) && !strpbrk(*ret, " \t#\"'") ? 0 : fail(r, "this cannot be the name of a variable");
}

static char unescape(char c) {
        switch (c) {
        case 'n':
                return '\n';
        case 'r':
                return '\r';
        case 't':
                return '\t';
        default:
                return c;
        }
}

/* Writes to out, which has room for all that is left. */
static int read_double_quoted(Reader *r, char *out) {
        for (;; r->p++) {
                if (!*r->p)
                        return fail(r, "the quote is not closed");
                if (*r->p == '"')
                        break;
                if (*r->p == '\n')
                        r->line++;
                if (*r->p != '\\' || !r->p[1] || !strchr("\"\\$`nrt\n", r->p[1])) {
                        *out++ = *r->p;
                        continue;
                }
                r->p++;
                if (*r->p == '\n')
                        r->line++;
                else
                        *out++ = unescape(*r->p);
        }
        r->p++;
        *out = 0;
        return 0;
}

static int read_single_quoted(Reader *r, char *out) {
        for (; *r->p != '\''; r->p++) {
                if (!*r->p)
                        return fail(r, "the quote is not closed");
                if (*r->p == '\n')
                        r->line++;
                *out++ = *r->p;
        }
        r->p++;
        *out = 0;
        return 0;
}

static void read_plain(Reader *r, char *out) {
        size_t n = strcspn(r->p, "\n");

        memcpy(out, r->p, n);
        r->p += n;
        while (n > 0 && strchr(BLANKS, out[n - 1]))
                n--;
        out[n] = 0;
}

static int read_value(Reader *r, char **ret) {
        _cleanup_free_ char *value = NULL;
        int k;

        r->p += strspn(r->p, BLANKS);
        value = new(char, strlen(r->p) + 1);
        if (!value)
                return -ENOMEM;

        if (IN_SET(*r->p, '"', '\'')) {
                k = *r->p++ == '"' ? read_double_quoted(r, value) : read_single_quoted(r, value);
                if (k < 0)
                        return k;
                r->p += strspn(r->p, BLANKS);
                if (!IN_SET(*r->p, 0, '\n', '#'))
                        return fail(r, "something follows the closing quote");
        } else
                read_plain(r, value);

        *ret = TAKE_PTR(value);
        return 0;
}

static int read_assignment(Reader *r, char ***env) {
        _cleanup_free_ char *name = NULL, *value = NULL;
        int k;

        k = read_name(r, &name);
        if (k < 0)
                return k;
        k = read_value(r, &value);
        if (k < 0)
                return k;
        return strv_env_set(env, name, value);
}

int env_file_parse(const char *text, size_t size, char ***ret, unsigned *ret_line, const char **ret_why) {
        _cleanup_strv_free_ char **env = new0(char *, 1);
        Reader r = { .p = text, .line = 1 };
        int k = 0;

        if (!env)
                return -ENOMEM;
        if (strlen(text) != size)
                k = fail(&r, "there is a NUL byte in it");
        else if (!utf8_is_valid(text, size))
                k = fail(&r, "it is not valid UTF-8");

        while (k >= 0 && *r.p) {
                r.p += strspn(r.p, BLANKS);
                if (!IN_SET(*r.p, 0, '\n', '#'))
                        k = read_assignment(&r, &env);
                if (k >= 0)
                        skip_line(&r);
        }

        if (k < 0) {
                *ret_line = r.line;
                *ret_why = strempty(r.why);
                return k;
        }
        *ret = TAKE_PTR(env);
        return 0;
}
