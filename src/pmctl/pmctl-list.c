/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <unistd.h>

#include "pmctl/inspect.h"
#include "pmctl/last-state.h"
#include "pmctl/process-json.h"
#include "pmctl/report.h"
#include "pmctl/table.h"
#include "shared/string-util.h"
#include "shared/strv.h"

typedef enum Layout {
        LAYOUT_FULL,
        LAYOUT_CONDENSED,
        LAYOUT_MINI,
        _LAYOUT_MAX,
} Layout;

typedef struct ProcessColumn {
        const char *title;
        char *(*format)(const pmd_process *p);
        Color (*color)(const pmd_process *p); /* NULL: none */
        struct {
                size_t min, max;
        } width[_LAYOUT_MAX]; /* 0: not in this layout */
} ProcessColumn;

static char *format_id(const pmd_process *p) {
        return format_uint(p->id, "");
}

static char *format_name(const pmd_process *p) {
        return strdup(strempty(p->name));
}

static char *format_namespace(const pmd_process *p) {
        return strdup(strempty(p->name_space));
}

static char *format_version(const pmd_process *p) {
        return strdup(isempty(p->version) ? "N/A" : p->version);
}

static char *format_mode(const pmd_process *p) {
        const char *mode = strempty(p->exec_mode), *end = endswith(mode, "_mode");

        return end ? strndup(mode, (size_t) (end - mode)) : strdup(mode);
}

static char *format_pid(const pmd_process *p) {
        return format_uint(p->pid, "");
}

static char *format_restarts(const pmd_process *p) {
        return format_uint(p->n_restarts, "");
}

static char *format_status(const pmd_process *p) {
        return strdup(strempty(p->status));
}

static char *format_cpu(const pmd_process *p) {
        double percent = process_is_online(p) ? p->cpu_percent : 0;
        char *s, *end;

        s = strprintf("%.1f%%", percent);
        end = s ? endswith(s, ".0%") : NULL;
        if (end)
                memcpy(end, "%", 2);
        return s;
}

static char *format_memory(const pmd_process *p) {
        return format_bytes(process_is_online(p) && p->memory != UINT64_MAX ? p->memory : 0);
}

static char *format_user(const pmd_process *p) {
        return strdup(strempty(p->user));
}

static char *format_watching(const pmd_process *p) {
        return strdup(p->watching ? "enabled" : "disabled");
}

static Color color_id(const pmd_process *p) {
        return COLOR_HEADER;
}

static Color color_status(const pmd_process *p) {
        if (process_is_online(p))
                return COLOR_GREEN;
        return streq_ptr(p->status, "launching") ? COLOR_BLUE : COLOR_RED;
}

static Color color_watching(const pmd_process *p) {
        return p->watching ? COLOR_GREEN : COLOR_GREY;
}

static const ProcessColumn process_columns[] = {
        { "id", format_id, color_id, { { 4 }, { 4 }, { 4 } } },
        { "name", format_name, NULL, { { 11, 40 }, { 11, 20 }, { 11, 16 } } },
        { "namespace", format_namespace, NULL, { { 13 } } },
        { "version", format_version, NULL, { { 9 } } },
        { "mode", format_mode, NULL, { { 9 }, { 10 } } },
        { "pid", format_pid, NULL, { { 10 } } },
        { "uptime", format_uptime, NULL, { { 8 } } },
        { "↺", format_restarts, NULL, { { 6 }, { 6 } } },
        { "status", format_status, color_status, { { 11 }, { 11 }, { 11 } } },
        { "cpu", format_cpu, NULL, { { 10 }, { 10 }, { 8 } } },
        { "mem", format_memory, NULL, { { 10 }, { 10 }, { 10 } } },
        { "user", format_user, NULL, { { 10 } } },
        { "watching", format_watching, color_watching, { { 10 } } },
};

static int make_table(const ProcessList *l, Layout layout, Table **ret) {
        TableColumn columns[ELEMENTSOF(process_columns)];
        _cleanup_(table_freep) Table *t = NULL;
        size_t n = 0;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(process_columns); i++) {
                const ProcessColumn *c = process_columns + i;

                if (c->width[layout].min > 0)
                        columns[n++] = (TableColumn) { c->title, c->width[layout].min, c->width[layout].max };
        }
        r = table_new(columns, n, &t);
        if (r < 0)
                return r;

        for (size_t k = 0; k < l->n; k++)
                for (size_t i = 0; i < ELEMENTSOF(process_columns); i++) {
                        const ProcessColumn *c = process_columns + i;
                        _cleanup_free_ char *s = NULL;

                        if (c->width[layout].min == 0)
                                continue;
                        s = c->format(l->items + k);
                        r = s ? table_add(t, s, c->color ? c->color(l->items + k) : COLOR_NORMAL) : -ENOMEM;
                        if (r < 0)
                                return r;
                }

        *ret = TAKE_PTR(t);
        return 0;
}

/* The richest layout that the terminal has room for. */
static int print_table(const Options *o, const ProcessList *l) {
        size_t width = terminal_width();
        int r;

        for (Layout layout = LAYOUT_FULL;; layout++) {
                _cleanup_(table_freep) Table *t = NULL;

                r = make_table(l, layout, &t);
                if (r < 0)
                        return r;
                if (layout == LAYOUT_MINI || table_width_min(t) <= width)
                        return table_print(t, o, width);
        }
}

static void print_field(const char *key, const char *value) {
        _cleanup_free_ char *escaped = string_escape_cc(strempty(value));

        printf("%s : %s\n", key, strempty(escaped));
}

static void print_mini_list(const ProcessList *l) {
        for (size_t i = 0; i < l->n; i++) {
                const pmd_process *p = l->items + i;
                _cleanup_free_ char *name = string_escape_cc(strempty(p->name)), *id = format_id(p), *pid = format_pid(p),
                                    *mode = format_mode(p), *restarts = format_restarts(p), *uptime = format_uptime(p),
                                    *memory = format_memory(p);

                printf("+--- %s\n", strempty(name));
                print_field("namespace", p->name_space);
                print_field("version", p->version);
                print_field("pid", pid);
                print_field("pm2 id", id);
                print_field("status", p->status);
                print_field("mode", mode);
                print_field("restarted", restarts);
                print_field("uptime", uptime);
                print_field("memory usage", memory);
                print_field("error log", p->error_log_path);
                print_field("watching", p->watching ? "yes" : "no");
                print_field("PID file", p->pid_file);
        }
}

/* ---- order ---- */

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

typedef int (*compare_func_t)(const pmd_process *a, const pmd_process *b);

static int compare_name(const pmd_process *a, const pmd_process *b) {
        return strcmp(strempty(a->name), strempty(b->name));
}

static int compare_namespace(const pmd_process *a, const pmd_process *b) {
        return strcmp(strempty(a->name_space), strempty(b->name_space));
}

static int compare_pid(const pmd_process *a, const pmd_process *b) {
        return COMPARE(a->pid, b->pid);
}

static int compare_id(const pmd_process *a, const pmd_process *b) {
        return COMPARE(a->id, b->id);
}

static int compare_cpu(const pmd_process *a, const pmd_process *b) {
        return COMPARE(a->cpu_percent, b->cpu_percent);
}

/* An unknown figure counts as the least. */
static int compare_memory(const pmd_process *a, const pmd_process *b) {
        return COMPARE(a->memory + 1, b->memory + 1);
}

/* The longest runs first downwards: by start, the other way round. */
static int compare_uptime(const pmd_process *a, const pmd_process *b) {
        return COMPARE(b->start_usec, a->start_usec);
}

static int compare_status(const pmd_process *a, const pmd_process *b) {
        return strcmp(strempty(a->status), strempty(b->status));
}

static const struct {
        const char *field;
        compare_func_t compare;
} orders[] = {
        { "name", compare_name },
        { "namespace", compare_namespace },
        { "pid", compare_pid },
        { "id", compare_id },
        { "cpu", compare_cpu },
        { "memory", compare_memory },
        { "uptime", compare_uptime },
        { "status", compare_status },
};

typedef struct Order {
        compare_func_t compare;
        int direction;
} Order;

static int parse_order(const Options *o, Order *ret) {
        const char *sort = o->sort ?: "name", *colon = strchrnul(sort, ':');
        _cleanup_free_ char *escaped = NULL;

        for (size_t i = 0; i < ELEMENTSOF(orders); i++) {
                if (strlen(orders[i].field) != (size_t) (colon - sort) || !startswith(sort, orders[i].field))
                        continue;
                if (*colon && !streq(colon, ":asc") && !streq(colon, ":desc"))
                        break;
                *ret = (Order) { orders[i].compare, streq(colon, ":desc") ? -1 : 1 };
                return EXIT_CODE_OK;
        }

        escaped = string_escape_cc(sort);
        message_error(o, "Cannot sort by '%s'; fields are name, namespace, pid, id, cpu, memory, uptime and status",
                      strempty(escaped));
        return EXIT_CODE_USAGE;
}

static int compare_in_order(const void *a, const void *b, void *userdata) {
        const Order *order = userdata;

        return order->direction * order->compare(a, b) ?: compare_id(a, b);
}

/* ---- verbs ---- */

static int show_list(const Options *o, pmd_connection *c, char *const *targets, Order *order) {
        _cleanup_process_list_ ProcessList l = {};
        int r;

        r = fetch_processes(o, c, targets, 0, &l);
        if (r == EXIT_CODE_NO_SUCH_APP) {
                _cleanup_free_ char *joined = strv_join(targets, " ");

                return report_no_such_target(o, strempty(joined));
        }
        if (r != EXIT_CODE_OK)
                return r;
        if (l.n > 1)
                qsort_r(l.items, l.n, sizeof *l.items, compare_in_order, order);

        if (o->json) {
                _cleanup_json_writer_ JsonWriter w = {};

                write_processes(&w, &l, NULL, NULL);
                return print_json(o, &w);
        }
        if (o->silent)
                return EXIT_CODE_OK;
        if (o->mini_list) {
                print_mini_list(&l);
                return EXIT_CODE_OK;
        }
        r = print_table(o, &l);
        return r < 0 ? report_error(o, r, NULL) : EXIT_CODE_OK;
}

int print_process_table(const Options *o, pmd_connection *c) {
        Order order;
        int r;

        if (o->silent)
                return EXIT_CODE_OK;
        r = parse_order(o, &order);
        return r == EXIT_CODE_OK ? show_list(o, c, NULL, &order) : r;
}

int verb_list(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        Order order;
        int r;

        r = parse_order(o, &order);
        if (r == EXIT_CODE_OK)
                r = acquire_connection(o, 0, &c);
        if (IN_SET(r, EXIT_CODE_UNREACHABLE, EXIT_CODE_TIMED_OUT) && !o->silent)
                (void) show_last_state(o);
        return r == EXIT_CODE_OK ? show_list(o, c, argv + 1, &order) : r;
}

static int write_jlist(const Options *o, JsonWriter *w) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_process_list_ ProcessList l = {};
        int r;

        r = acquire_connection(o, 0, &c);
        if (r == EXIT_CODE_OK)
                r = fetch_processes(o, c, NULL, FETCH_ENVIRONMENT_IF_ALLOWED, &l);
        if (r != EXIT_CODE_OK)
                return r;

        fetch_reports(c, NULL, &l);
        write_pm2_processes(w, &l);
        return EXIT_CODE_OK;
}

int verb_jlist(int argc, char *argv[], const Options *o) {
        _cleanup_json_writer_ JsonWriter w = { .stream = stdout };
        int r;

        r = write_jlist(o, &w);
        return r == EXIT_CODE_OK ? print_json(o, &w) : r;
}

int verb_prettylist(int argc, char *argv[], const Options *o) {
        _cleanup_json_writer_ JsonWriter w = {};
        _cleanup_free_ char *pretty = NULL;
        json_object *list;
        const char *text;
        int r;

        r = write_jlist(o, &w);
        if (r != EXIT_CODE_OK)
                return r;
        if (o->json)
                return print_json(o, &w);

        r = json_writer_finish(&w, &text);
        if (r < 0)
                return report_error(o, r, NULL);
        list = json_tokener_parse(text);
        pretty = list ? inspect(list) : NULL;
        json_object_put(list);
        if (!pretty)
                return report_error(o, -ENOMEM, NULL);
        return puts(pretty) < 0 ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

/* What pid and id look at: that nothing answers to a name is an empty answer there, as in pm2. */
static int fetch_matching(const Options *o, const char *target, ProcessList *ret) {
        _cleanup_connection_ pmd_connection *c = NULL;
        int r;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;
        r = fetch_processes(o, c, target ? TARGET(target) : NULL, 0, ret);
        return r == EXIT_CODE_NO_SUCH_APP ? EXIT_CODE_OK : r;
}

int verb_pid(int argc, char *argv[], const Options *o) {
        _cleanup_process_list_ ProcessList l = {};
        _cleanup_json_writer_ JsonWriter w = {};
        int r;

        r = fetch_matching(o, argc > 1 ? argv[1] : NULL, &l);
        if (r != EXIT_CODE_OK)
                return r;

        if (!o->json) {
                for (size_t i = 0; i < l.n && !o->silent; i++)
                        printf("%" PRIu32 "\n", l.items[i].pid);
                return EXIT_CODE_OK;
        }

        json_writer_begin(&w, NULL, '[');
        for (size_t i = 0; i < l.n; i++) {
                json_writer_begin(&w, NULL, '{');
                json_writer_uint(&w, "id", l.items[i].id);
                json_writer_string(&w, "name", l.items[i].name);
                json_writer_uint(&w, "pid", l.items[i].pid);
                json_writer_end(&w, '}');
        }
        json_writer_end(&w, ']');
        return print_json(o, &w);
}

int verb_id(int argc, char *argv[], const Options *o) {
        _cleanup_process_list_ ProcessList l = {};
        _cleanup_json_writer_ JsonWriter w = {};
        _cleanup_free_ char *ids = NULL;
        int r;

        r = fetch_matching(o, argv[1], &l);
        if (r != EXIT_CODE_OK)
                return r;

        if (!o->json) {
                ids = format_ids(&l);
                if (!ids)
                        return report_error(o, -ENOMEM, NULL);
                if (!o->silent)
                        puts(ids);
                return EXIT_CODE_OK;
        }

        json_writer_begin(&w, NULL, '[');
        for (size_t i = 0; i < l.n; i++)
                json_writer_uint(&w, NULL, l.items[i].id);
        json_writer_end(&w, ']');
        return print_json(o, &w);
}

static void print_variable(const char *key, const char *value, bool escape) {
        _cleanup_free_ char *escaped = escape ? string_escape_cc(value) : NULL;

        printf("%s: %s\n", key, escaped ?: value);
}

static void print_environment(const pmd_process *p) {
        _cleanup_free_ char *instance = strprintf("%" PRIu32, p->instance);
        bool tty = isatty(STDOUT_FILENO);

        print_variable("version", isempty(p->version) ? "N/A" : p->version, tty);
        print_variable("namespace", p->name_space, tty);
        print_variable("unique_id", strempty(p->unique_id), tty);
        print_variable(instance_variable(p), strempty(instance), tty);
        STRV_FOREACH(e, p->environment) {
                _cleanup_free_ char *name = strndup(*e, strcspn(*e, "="));

                if (name && !streq(name, "unique_id") && !streq(name, "namespace") && !streq(name, instance_variable(p)))
                        print_variable(name, *e + strlen(name) + 1, tty);
        }
}

static void write_environment(JsonWriter *w, char **environment) {
        json_writer_begin(w, NULL, '{');
        STRV_FOREACH(e, environment) {
                _cleanup_free_ char *name = strndup(*e, strcspn(*e, "="));

                if (name)
                        json_writer_string(w, name, *e + strlen(name) + 1);
        }
        json_writer_end(w, '}');
}

int verb_env(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_process_list_ ProcessList l = {};
        _cleanup_json_writer_ JsonWriter w = {};
        _cleanup_free_ char *target = string_escape_cc(argv[1]);
        int r;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;
        r = fetch_processes(o, c, TARGET(argv[1]), PMD_LIST_ENVIRONMENT, &l);
        if (r == EXIT_CODE_NO_SUCH_APP) {
                message_error(o, "Modules with id %s not found", strempty(target));
                return EXIT_CODE_NO_SUCH_APP;
        }
        if (r != EXIT_CODE_OK)
                return r;
        if (l.n > 1) {
                message_error(o, "%s means %zu processes; name one by its number", strempty(target), l.n);
                return EXIT_CODE_USAGE;
        }

        if (o->json) {
                write_environment(&w, l.items[0].environment);
                return print_json(o, &w);
        }
        if (!o->silent)
                print_environment(l.items);
        return EXIT_CODE_OK;
}

void complete_targets(const Options *o) {
        _cleanup_(pmd_error_free) pmd_error e = {};
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_process_list_ ProcessList l = {};
        _cleanup_strv_free_ char **seen = NULL;

        if (pmd_open(o->scope, o->home, PMD_OPEN_NO_START, &c, &e) < 0 || pmd_list(c, NULL, 0, &l.items, &l.n, &e) < 0)
                return;

        for (size_t i = 0; i < l.n; i++) {
                const pmd_process *p = l.items + i;

                printf("%" PRIu32 "\tprocess of %s\n", p->id, p->name);
                if (!strv_contains(seen, p->name) && strv_extend(&seen, p->name) >= 0)
                        printf("%s\tapp\n", p->name);
                if (!strv_contains(seen, p->name_space) && strv_extend(&seen, p->name_space) >= 0)
                        printf("%s\tnamespace\n", p->name_space);
        }
        if (l.n > 0)
                puts("all\tevery process");
}
