/* SPDX-License-Identifier: MIT */
#include "libpmd/pmd-internal.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* How often the list is fetched again because a process went away before its environment was read. */
#define LIST_ATTEMPTS_MAX 3U

#define OWNED_STRINGS_MAX 10U

/* Instances of one app mostly share their variables: an array of them, the strings behind it, and before it how many have it. */
typedef struct Environment {
        size_t n_users;
        char *variables[];
} Environment;

static char **environment_copy(char *const *variables) {
        size_t n = strv_length(variables), size = 0;
        Environment *e;
        char *p;

        STRV_FOREACH(v, variables)
                size += strlen(*v) + 1;
        e = malloc(sizeof(Environment) + (n + 1) * sizeof(char *) + size);
        if (!e)
                return NULL;

        e->n_users = 1;
        p = (char *) (e->variables + n + 1);
        for (size_t i = 0; i < n; i++) {
                e->variables[i] = p;
                p = stpcpy(p, variables[i]) + 1;
        }
        e->variables[n] = NULL;
        return e->variables;
}

static Environment *environment_of(char **variables) {
        return (Environment *) ((char *) variables - offsetof(Environment, variables));
}

static char **environment_ref(char **variables) {
        environment_of(variables)->n_users++;
        return variables;
}

static void environment_unref(char **variables) {
        if (variables && --environment_of(variables)->n_users == 0)
                free(environment_of(variables));
}
DEFINE_CLEANUP_FUNC(char **, environment_unref)

static void process_done(pmd_process *p) {
        free(p->name); /* and what stands behind it, see own_strings() */
        free(p->cwd);
        strv_free(p->interpreter_args);
        strv_free(p->args);
        strv_free(p->notes);
        for (size_t i = 0; i < p->n_attributes; i++)
                attribute_done(p->attributes + i);
        free(p->attributes);
        environment_unref(p->environment);
}

_public_ void pmd_process_free_many(pmd_process *p, size_t n) {
        ProcessListHead *head;

        if (!p)
                return;
        head = process_list_head(p);
        for (size_t i = 0; i < n && !head->in_one_piece; i++)
                process_done(p + i);
        free(head);
}

typedef struct ProcessList {
        pmd_process *items;
        size_t n, n_allocated;
} ProcessList;

/* Makes room for one more. */
static int process_list_grow(ProcessList *l) {
        size_t n = MAX(l->n_allocated * 2, (size_t) 8);
        ProcessListHead *head;

        if (l->n < l->n_allocated)
                return 0;
        head = realloc(l->items ? process_list_head(l->items) : NULL, sizeof *head + n * sizeof(pmd_process));
        if (!head)
                return -ENOMEM;
        head->in_one_piece = false;
        l->items = head->items;
        l->n_allocated = n;
        return 0;
}

static void process_list_done(ProcessList *l) {
        pmd_process_free_many(l->items, l->n);
        *l = (ProcessList) {};
}

/* An integer of any width; type is its D-Bus type. 1, 0 at the end of an array, or a negative errno. */
static int read_integer(sd_bus_message *m, char type, int64_t *ret) {
        union {
                uint8_t y;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
        } v;
        int r;

        r = sd_bus_message_read_basic(m, type, &v);
        if (r < 0)
                return r;
        if (r == 0)
                return 0;

        switch (type) {
        case 'y':
                *ret = v.y;
                return 1;
        case 'n':
                *ret = v.n;
                return 1;
        case 'q':
                *ret = v.q;
                return 1;
        case 'i':
        case 'b': /* sd-bus reads booleans as int */
                *ret = v.i;
                return 1;
        case 'u':
                *ret = v.u;
                return 1;
        case 'x':
                *ret = v.x;
                return 1;
        default:
                *ret = (int64_t) MIN(v.t, (uint64_t) INT64_MAX);
                return 1;
        }
}

static int read_integers(sd_bus_message *m, char type, pmd_attribute *a) {
        size_t n_allocated = 0;
        int64_t v;
        int r;

        r = sd_bus_message_enter_container(m, 'a', (const char[]) { type, 0 });
        if (r < 0)
                return r;

        while ((r = read_integer(m, type, &v)) > 0) {
                if (!GREEDY_REALLOC(a->integers, n_allocated, a->n_integers + 1))
                        return -ENOMEM;
                a->integers[a->n_integers++] = v;
        }
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(m);
}

static bool is_integer_type(char type) {
        return type && strchr("ynqiuxt", type);
}

static int read_string_value(sd_bus_message *m, pmd_attribute *a) {
        const char *s;
        int r;

        r = sd_bus_message_read_basic(m, 's', &s);
        if (r < 0)
                return r;
        a->type = PMD_ATTRIBUTE_STRING;
        a->string = strdup(s);
        return a->string ? 1 : -ENOMEM;
}

/* 1 if the value was taken, 0 if a later version of pmd sends what we do not know. */
static int read_value(sd_bus_message *m, const char *signature, pmd_attribute *a) {
        int r;

        if (streq(signature, "s"))
                return read_string_value(m, a);

        if (streq(signature, "as")) {
                a->type = PMD_ATTRIBUTE_STRV;
                r = sd_bus_message_read_strv(m, &a->strv);
        } else if (streq(signature, "b")) {
                a->type = PMD_ATTRIBUTE_BOOL;
                r = read_integer(m, 'b', &a->integer);
        } else if (is_integer_type(signature[0]) && !signature[1]) {
                a->type = PMD_ATTRIBUTE_INT;
                r = read_integer(m, signature[0], &a->integer);
        } else if (signature[0] == 'a' && is_integer_type(signature[1]) && !signature[2]) {
                a->type = PMD_ATTRIBUTE_INTV;
                r = read_integers(m, signature[1], a);
        } else {
                r = sd_bus_message_skip(m, signature);
                return r < 0 ? r : 0;
        }

        return r < 0 ? r : 1;
}

/* One "{sv}" whose container has been entered. */
static int read_attribute(sd_bus_message *m, pmd_attribute *a) {
        const char *key, *signature;
        int r, taken;

        r = sd_bus_message_read_basic(m, 's', &key);
        if (r < 0)
                return r;
        r = sd_bus_message_peek_type(m, NULL, &signature);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(m, 'v', signature);
        if (r < 0)
                return r;

        taken = read_value(m, signature, a);
        if (taken < 0)
                return taken;

        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        if (taken == 0)
                return 0;

        a->key = strdup(key);
        return a->key ? 1 : -ENOMEM;
}

static int read_attributes(sd_bus_message *m, pmd_process *p) {
        size_t n_allocated = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                pmd_attribute a = {};

                r = read_attribute(m, &a);
                if (r > 0 && !GREEDY_REALLOC(p->attributes, n_allocated, p->n_attributes + 1))
                        r = -ENOMEM;
                if (r < 0) {
                        attribute_done(&a);
                        return r;
                }
                if (r > 0)
                        p->attributes[p->n_attributes++] = a;

                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        return sd_bus_message_exit_container(m);
}

/* Replaces strings that belong to the message by copies, in one piece of memory that the first of them begins. */
static int own_strings(char **const *fields, size_t n) {
        size_t sizes[OWNED_STRINGS_MAX], sum = 0;
        char *copy;

        assert(n <= ELEMENTSOF(sizes));

        for (size_t i = 0; i < n; i++) {
                sizes[i] = strlen(*fields[i]) + 1;
                sum += sizes[i];
        }
        copy = malloc(sum);
        if (!copy) {
                *fields[0] = NULL;
                return -ENOMEM;
        }
        for (size_t i = 0; i < n; copy += sizes[i++])
                *fields[i] = memcpy(copy, *fields[i], sizes[i]);
        return 0;
}

static int read_fixed_fields(sd_bus_message *m, pmd_process *p) {
        pmd_process v = {};
        char **const strings[] = {
                &v.name, &v.name_space, &v.status, &v.exec_mode, &v.exit_reason, &v.user, &v.version, &v.unit, &v.executable,
                &v.interpreter,
        };
        int r, watching;

        r = sd_bus_message_read(m, "ussususttuu(iis)ttdtsbssss",
                                &v.id, &v.name, &v.name_space, &v.instance, &v.status, &v.pid, &v.exec_mode,
                                &v.start_usec, &v.created_usec, &v.n_restarts, &v.unstable_restarts,
                                &v.exit_code, &v.exit_signal, &v.exit_reason,
                                &v.memory, &v.cpu_nsec, &v.cpu_percent, &v.tasks,
                                &v.user, &watching, &v.version, &v.unit, &v.executable, &v.interpreter);
        if (r < 0)
                return r;

        v.watching = watching;
        r = own_strings(strings, ELEMENTSOF(strings));
        *p = v;
        return r;
}

static int read_paths(sd_bus_message *m, pmd_process *p) {
        char *cwd, *out_log_path, *error_log_path, *pid_file, *unique_id, *status_text;
        char **const strings[] = { &cwd, &out_log_path, &error_log_path, &pid_file, &unique_id, &status_text };
        int r;

        r = sd_bus_message_read(m, "ssssss", &cwd, &out_log_path, &error_log_path, &pid_file, &unique_id, &status_text);
        if (r < 0)
                return r;

        r = own_strings(strings, ELEMENTSOF(strings));
        p->cwd = cwd;
        p->out_log_path = out_log_path;
        p->error_log_path = error_log_path;
        p->pid_file = pid_file;
        p->unique_id = unique_id;
        p->status_text = status_text;
        return r;
}

static int read_row(sd_bus_message *m, pmd_process *p) {
        int r;

        r = read_fixed_fields(m, p);
        if (r < 0)
                return r;
        r = sd_bus_message_read_strv(m, &p->interpreter_args);
        if (r < 0)
                return r;
        r = sd_bus_message_read_strv(m, &p->args);
        if (r < 0)
                return r;
        r = read_paths(m, p);
        if (r < 0)
                return r;
        r = sd_bus_message_read_strv(m, &p->notes);
        if (r < 0)
                return r;
        return read_attributes(m, p);
}

static int read_list(sd_bus_message *m, ProcessList *l) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(" PMD_LIST_ROW_SIGNATURE ")");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'r', PMD_LIST_ROW_SIGNATURE)) > 0) {
                r = process_list_grow(l);
                if (r < 0)
                        return r;
                l->items[l->n] = (pmd_process) {};
                r = read_row(m, l->items + l->n++);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r;
}

static int fetch_list(pmd_connection *c, char *const *targets, ProcessList *l, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "ListProcesses", &m);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) targets);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        r = connection_call(c, m, c->timeout_usec, &reply, reterr);
        if (r < 0)
                return r;

        r = read_list(reply, l);
        return r < 0 ? error_from_errno(c, r, reterr) : 0;
}

static pmd_process *find_process(ProcessList *l, uint32_t id, size_t expected) {
        if (expected < l->n && l->items[expected].id == id)
                return l->items + expected;
        for (size_t i = 0; i < l->n; i++)
                if (l->items[i].id == id)
                        return l->items + i;
        return NULL;
}

static int set_environments(ProcessList *l, const uint32_t *ids, size_t n, char *const *variables, size_t *position) {
        _cleanup_(environment_unrefp) char **environment = environment_copy(variables);

        if (!environment)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++, (*position)++) {
                pmd_process *p = find_process(l, ids[i], *position);

                if (!p || p->environment)
                        return -EBADMSG;
                p->environment = environment_ref(environment);
        }
        return 0;
}

static int read_environments(sd_bus_message *m, ProcessList *l) {
        size_t position = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(auas)");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'r', "auas")) > 0) {
                _cleanup_strv_free_ char **environment = NULL;
                const uint32_t *ids;
                size_t size;

                r = sd_bus_message_read_array(m, 'u', (const void **) &ids, &size);
                if (r < 0)
                        return r;
                r = sd_bus_message_read_strv(m, &environment);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
                r = set_environments(l, ids, size / sizeof(uint32_t), environment, &position);
                if (r < 0)
                        return r;
        }
        return r;
}

static int fetch_environments(pmd_connection *c, ProcessList *l, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        int r;

        if (l->n == 0)
                return 0;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "GetEnvironments", &m);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "u");
        for (size_t i = 0; r >= 0 && i < l->n; i++)
                r = sd_bus_message_append_basic(m, 'u', &l->items[i].id);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        r = connection_call(c, m, c->timeout_usec, &reply, reterr);
        if (r < 0)
                return r;

        r = read_environments(reply, l);
        return r < 0 ? error_from_errno(c, r, reterr) : 0;
}

/* With two calls, of a pmd that does not know ListPacked(). */
static int list_unpacked(pmd_connection *c, char *const *targets, unsigned flags, pmd_process **ret, size_t *ret_n, pmd_error *reterr) {
        int r;

        for (unsigned attempt = 1;; attempt++) {
                _cleanup_(process_list_done) ProcessList l = {};

                r = fetch_list(c, targets, &l, reterr);
                if (r < 0)
                        return r;

                if (flags & PMD_LIST_ENVIRONMENT) {
                        r = fetch_environments(c, &l, reterr);
                        if (r == -ESRCH && attempt < LIST_ATTEMPTS_MAX) {
                                pmd_error_free(reterr);
                                continue;
                        }
                        if (r < 0)
                                return r;
                }

                *ret = TAKE_PTR(l.items);
                *ret_n = TAKE_GENERIC(l.n, 0);
                return 0;
        }
}

_public_ int pmd_list(pmd_connection *c, char *const *targets, unsigned flags,
                      pmd_process **ret, size_t *ret_n, pmd_error *reterr) {
        int r;

        r = list_packed(c, targets, flags, ret, ret_n, reterr);
        if (r != -EOPNOTSUPP)
                return r;
        pmd_error_free(reterr);
        return list_unpacked(c, targets, flags, ret, ret_n, reterr);
}
