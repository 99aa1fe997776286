/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>

#include "shared/oom-record.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"

void oom_record_done(OomRecord *r) {
        free(r->cgroup);
        free(r->limit_cgroup);
        *r = (OomRecord) {};
}

static const char *find_last(const char *text, const char *what) {
        const char *found = NULL;

        for (const char *p = text; (p = strstr(p, what)); p++)
                found = p;
        return found;
}

static const char *after(const char *text, const char *what) {
        const char *p = strstr(text, what);

        return p ? p + strlen(what) : NULL;
}

/* What programs write there is of another facility. */
static bool is_of_kernel(const char *text) {
        char *end;
        unsigned long v = strtoul(text, &end, 10);

        return end > text && *end == ',' && v < 8;
}

static int parse_pid(const char *text, pid_t *ret) {
        char buf[16];
        unsigned v;
        int r;

        (void) snprintf(buf, sizeof buf, "%.*s", (int) strcspn(text, ",\n"), text);
        r = safe_atou(buf, &v);
        if (r < 0)
                return r;
        if (v == 0 || v > INT_MAX)
                return -ERANGE;
        *ret = (pid_t) v;
        return 0;
}

static int hex_digit(char c) {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The log has \xNN for backslashes, which names of units are full of, and for what is not plain ASCII. */
static char *dup_unescaped(const char *s, size_t n) {
        char *copy = strndup(s, n), *to = copy;

        for (const char *from = copy; from && *from; to++) {
                if (from[0] == '\\' && from[1] == 'x' && hex_digit(from[2]) >= 0 && hex_digit(from[3]) >= 0) {
                        *to = (char) (hex_digit(from[2]) << 4 | hex_digit(from[3]));
                        from += 4;
                } else
                        *to = *from++;
        }
        if (to)
                *to = 0;
        return copy;
}

/* "6,1234,5678,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg=/a,task_memcg=/a/b,task=node,pid=7,uid=0": the name is the
 * app's to choose, so what follows it is looked for from the end. */
int oom_record_parse(const char *text, OomRecord *ret) {
        const char *message = strchr(text, ';'), *limit, *cgroup, *name, *pid;
        pid_t v;
        OomRecord x = {};

        message = message && is_of_kernel(text) ? startswith(message + 1, "oom-kill:") : NULL;
        if (!message)
                return 0;

        cgroup = after(message, ",task_memcg=");
        name = cgroup ? after(cgroup, ",task=") : NULL;
        pid = name ? find_last(name, ",pid=") : NULL;
        if (!pid || parse_pid(pid + STRLEN(",pid="), &v) < 0)
                return 0;

        x.pid = v;
        (void) snprintf(x.name, sizeof x.name, "%.*s", (int) MIN((size_t) (pid - name), sizeof x.name - 1), name);
        x.cgroup = dup_unescaped(cgroup, (size_t) (name - STRLEN(",task=") - cgroup));
        if (!x.cgroup)
                return -ENOMEM;

        limit = after(message, ",oom_memcg=");
        if (limit && limit < cgroup) {
                x.limit_cgroup = dup_unescaped(limit, (size_t) (cgroup - STRLEN(",task_memcg=") - limit));
                if (!x.limit_cgroup) {
                        oom_record_done(&x);
                        return -ENOMEM;
                }
        }

        *ret = x;
        return 1;
}
