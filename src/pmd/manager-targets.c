/* SPDX-License-Identifier: MIT */
#include <regex.h>

#include "pmd/app.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/parse-util.h"
#include "shared/path-util.h"
#include "shared/regex-cost.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* What an operand of a verb means. An operand is tried as each kind in turn, and the first kind that has an answer counts. */

typedef struct Operand {
        const char *text;
        bool has_regex, has_id;
        regex_t regex;
        unsigned id;
} Operand;

static void operand_done(Operand *o) {
        if (o->has_regex)
                regfree(&o->regex);
}

static int operand_parse(Operand *o, const char *text, unsigned *budget) {
        size_t n = strlen(text);

        *o = (Operand) { .text = text };
        o->has_id = safe_atou(text, &o->id) >= 0;

        if (n >= 3 && text[0] == '/' && text[n - 1] == '/') {
                _cleanup_free_ char *pattern = strndup(text + 1, n - 2);
                unsigned cost;

                if (!pattern)
                        return -ENOMEM;
                cost = regex_cost(pattern);
                if (cost > *budget)
                        return -E2BIG;
                *budget -= cost;
                if (regcomp(&o->regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
                        return -EINVAL;
                o->has_regex = true;
        }
        return 0;
}

static bool match_all(const Operand *o, const Process *p) {
        return streq(o->text, "all");
}

static bool match_name(const Operand *o, const Process *p) {
        return streq(o->text, p->app->name);
}

static bool match_namespace(const Operand *o, const Process *p) {
        return streq(o->text, p->config->name_space);
}

static bool match_id(const Operand *o, const Process *p) {
        return o->has_id && o->id == p->id;
}

static bool match_regex(const Operand *o, const Process *p) {
        return o->has_regex && regexec(&o->regex, p->app->name, 0, NULL, 0) == 0;
}

static bool match_path(const Operand *o, const Process *p) {
        return path_is_absolute(o->text) && streq_ptr(o->text, p->config->exec_path);
}

static bool (*const kinds[])(const Operand *o, const Process *p) = {
        match_all, match_name, match_namespace, match_id, match_regex, match_path,
};

/* Marks what the operand means; false if it means nothing. */
static bool operand_mark(const Operand *o, const Manager *m, bool *marks) {
        bool found = false;

        for (size_t k = 0; k < ELEMENTSOF(kinds) && !found; k++)
                for (size_t i = 0; i < m->n_processes; i++)
                        if (kinds[k](o, m->processes[i]))
                                found = marks[i] = true;
        return found;
}

int manager_resolve_targets(Manager *m, char *const *targets, Process ***ret, size_t *ret_n, const char **ret_unknown) {
        _cleanup_free_ Process **found = NULL;
        _cleanup_free_ bool *marks = NULL;
        unsigned budget = REGEX_COST_MAX;
        size_t n = 0;

        marks = new0(bool, m->n_processes);
        found = new(Process *, m->n_processes);
        if (!marks || !found)
                return -ENOMEM;

        STRV_FOREACH(t, targets) {
                Operand o;
                bool any;
                int r;

                r = operand_parse(&o, *t, &budget);
                if (r < 0) {
                        *ret_unknown = *t;
                        return r;
                }
                any = operand_mark(&o, m, marks);
                operand_done(&o);
                if (!any) {
                        *ret_unknown = *t;
                        return -ENOENT;
                }
        }

        for (size_t i = 0; i < m->n_processes; i++)
                if (marks[i])
                        found[n++] = m->processes[i];

        *ret = TAKE_PTR(found);
        *ret_n = n;
        return 0;
}
