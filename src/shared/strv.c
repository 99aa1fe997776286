/* SPDX-License-Identifier: MIT */
#include "shared/strv.h"

#include "shared/string-util.h"

char **strv_free(char **l) {
        STRV_FOREACH(s, l)
                free(*s);
        free(l);
        return NULL;
}

size_t strv_length(char *const *l) {
        size_t n = 0;

        STRV_FOREACH(s, l)
                n++;
        return n;
}

char **strv_copy(char *const *l) {
        _cleanup_strv_free_ char **c = NULL;
        size_t n = 0;

        c = new0(char *, strv_length(l) + 1);
        if (!c)
                return NULL;

        STRV_FOREACH(s, l) {
                c[n] = strdup(*s);
                if (!c[n++])
                        return NULL;
        }

        return TAKE_PTR(c);
}

bool strv_contains(char *const *l, const char *s) {
        STRV_FOREACH(i, l)
                if (streq(*i, s))
                        return true;
        return false;
}

bool strv_equal(char *const *a, char *const *b) {
        size_t n = strv_length(a);

        if (n != strv_length(b))
                return false;
        for (size_t i = 0; i < n; i++)
                if (!streq(a[i], b[i]))
                        return false;
        return true;
}

int strv_consume(char ***l, char *s) {
        size_t n = strv_length(*l);
        char **c = NULL;

        if (s)
                c = reallocarray(*l, n + 2, sizeof(char *));
        if (!c) {
                free(s);
                return -ENOMEM;
        }

        c[n] = s;
        c[n + 1] = NULL;
        *l = c;
        return 0;
}

int strv_extend(char ***l, const char *s) {
        return strv_consume(l, strdup(s));
}

char *strv_join(char *const *l, const char *separator) {
        size_t n = 0, k = strlen(separator);
        char *p, *q;

        STRV_FOREACH(s, l)
                n += strlen(*s) + k;

        p = q = new(char, n + 1);
        if (!p)
                return NULL;

        *q = 0;
        STRV_FOREACH(s, l) {
                if (s != l)
                        q = stpcpy(q, separator);
                q = stpcpy(q, *s);
        }

        return p;
}

char **strv_split(const char *s, const char *separators) {
        _cleanup_strv_free_ char **l = new0(char *, 1);
        size_t n = 0, allocated = 1;

        if (!l)
                return NULL;

        for (size_t k; *(s += strspn(s, separators)); s += k) {
                k = strcspn(s, separators);
                if (!GREEDY_REALLOC(l, allocated, n + 2))
                        return NULL;
                l[n] = strndup(s, k);
                if (!l[n])
                        return NULL;
                l[++n] = NULL;
        }

        return TAKE_PTR(l);
}
