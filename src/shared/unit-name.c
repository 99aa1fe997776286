/* SPDX-License-Identifier: MIT */
#include "shared/string-util.h"
#include "shared/unit-name.h"

#define UNIT_NAME_LENGTH_MAX 255

static bool stays(const char *start, const char *p) {
        return (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                *p == ':' || *p == '_' || (*p == '.' && p > start);
}

char *unit_name_escape(const char *s) {
        static const char hex[] = "0123456789abcdef";
        char *escaped, *t;

        escaped = t = new(char, strlen(s) * STRLEN("\\xNN") + 1);
        if (!escaped)
                return NULL;

        for (const char *p = s; *p; p++)
                if (*p == '/')
                        *t++ = '-';
                else if (stays(s, p))
                        *t++ = *p;
                else {
                        *t++ = '\\';
                        *t++ = 'x';
                        *t++ = hex[(unsigned char) *p >> 4];
                        *t++ = hex[(unsigned char) *p & 15];
                }

        *t = 0;
        return escaped;
}

static const char *prefix(bool user) {
        return user ? "app-pm" : "pm";
}

/* Takes over name. */
static int check_length(char *name, char **ret) {
        if (!name)
                return -ENOMEM;
        if (strlen(name) > UNIT_NAME_LENGTH_MAX) {
                free(name);
                return -ENAMETOOLONG;
        }

        *ret = name;
        return 0;
}

int unit_name_slice(const char *app, bool user, char **ret) {
        _cleanup_free_ char *escaped = unit_name_escape(app);

        return escaped ? check_length(strprintf("%s-%s.slice", prefix(user), escaped), ret) : -ENOMEM;
}

int unit_name_scope(const char *app, unsigned id, unsigned incarnation, bool user, char **ret) {
        _cleanup_free_ char *escaped = unit_name_escape(app);

        return escaped ? check_length(strprintf("%s-%s-%u-%u.scope", prefix(user), escaped, id, incarnation), ret) : -ENOMEM;
}
