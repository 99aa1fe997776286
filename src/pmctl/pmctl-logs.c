/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <regex.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pmctl/logs.h"
#include "pmctl/pager.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* Where the lines of a process are: in its files where it has any, else in the journal. What pmd cannot tell, because
 * it is not running or has forgotten the app, is looked for by name. */

typedef struct Logs {
        Options options;            /* a copy: what was given decides about what was not */
        LogFilter filter;
        Pager pager;
        pmd_connection *connection; /* NULL: no pmd */
        Instance *instance;
        LogView view;
        LogSelections selections;
        LogReader *reader;          /* NULL: no journal */
        LogFollower *follower;
        unsigned n_groups;
        bool following;
        usec_t search_at;           /* CLOCK_MONOTONIC: when to look for newcomers, 0: not at all */
} Logs;

static void logs_done(Logs *l) {
        pager_close(&l->pager);
        log_filter_done(&l->filter);
        if (l->connection)
                (void) pmd_close(l->connection);
        instance_free(l->instance);
        log_selections_done(&l->selections);
        log_reader_free(l->reader);
        log_follower_free(l->follower);
}

static void connect_if_running(Logs *l) {
        _cleanup_(pmd_error_free) pmd_error e = {};
        _cleanup_free_ char *text = NULL;
        int r;

        r = pmd_open(l->options.scope, l->options.home, PMD_OPEN_NO_START, &l->connection, &e);
        if (r >= 0)
                return;

        text = r == -ECONNREFUSED ? NULL : string_escape_cc(strempty(e.message));
        if (isempty(text))
                message_warn(&l->options, "No pmd is running; looking for logs by name.");
        else
                message_warn(&l->options, "%s Looking for logs by name.", text);
}

static int logs_open(Logs *l) {
        InstanceScope scope;
        int r;

        connect_if_running(l);
        scope = instance_scope_of(&l->options, l->connection);

        r = instance_new(scope, l->options.home, &l->instance);
        if (r < 0)
                return r;
        r = log_follower_new(&l->follower);
        if (r < 0)
                return r;
        if (scope == INSTANCE_PRIVATE)
                return 0;

        r = log_reader_new(scope, &l->reader);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                message_warn(&l->options, "Cannot read the journal: %s", strerror(-r));
        else if (scope == INSTANCE_SYSTEM && log_journal_is_closed())
                message_warn(&l->options, "The system's journal is not for this user to read: lines may be missing here. Members of the group systemd-journal may read it.");
        return 0;
}

static bool wants(const Logs *l, bool err) {
        const Options *o = &l->options;

        return o->out == o->err || (err ? o->err : o->out);
}

/* ---- what pmd knows ---- */

/* What a pmd in the foreground prints cannot be read again. */
static bool is_file(const char *path) {
        return !isempty(path) && !streq(path, "/dev/null") && !streq(path, "/dev/stdout") && !streq(path, "/dev/stderr");
}

static int add_process(Logs *l, const pmd_process *p) {
        _cleanup_free_ char *id = strprintf("%u", p->id);
        int r;

        if (!id)
                return -ENOMEM;
        log_view_note_app(&l->view, p->name);

        if (!is_file(p->out_log_path) && !is_file(p->error_log_path))
                return l->reader && !l->following ? log_selections_add(&l->selections, p->name, NULL, id, ++l->n_groups) : 0;

        r = log_selections_hide(&l->selections, p->name, id);
        if (r >= 0 && is_file(p->out_log_path) && wants(l, false))
                r = log_follower_add(l->follower, p->out_log_path, p->name, id, false);
        if (r >= 0 && is_file(p->error_log_path) && wants(l, true))
                r = log_follower_add(l->follower, p->error_log_path, p->name, id, true);
        return r;
}

typedef enum OperandKind {
        OPERAND_ALL,
        OPERAND_ID,
        OPERAND_REGEX,
        OPERAND_PATH,
        OPERAND_NAME, /* of an app or a namespace */
} OperandKind;

static OperandKind operand_kind(const char *operand) {
        size_t n = strlen(operand);

        if (streq(operand, "all"))
                return OPERAND_ALL;
        if (target_is_id(operand))
                return OPERAND_ID;
        if (operand[0] != '/')
                return OPERAND_NAME;
        return n >= 3 && operand[n - 1] == '/' ? OPERAND_REGEX : OPERAND_PATH;
}

/* Processes that are made while we follow: their last lines were not to be printed, but what they write is. Their files are looked for
 * below. */
static int follow_newcomers(Logs *l, const char *operand) {
        int r;

        if (!l->reader)
                return 0;

        switch (operand_kind(operand)) {
        case OPERAND_ALL:
                return log_selections_add(&l->selections, NULL, NULL, NULL, 0);
        case OPERAND_NAME:
                r = log_selections_add(&l->selections, operand, NULL, NULL, 0);
                return r < 0 ? r : log_selections_add(&l->selections, NULL, operand, NULL, 0);
        default:
                return 0;
        }
}

static int add_known(Logs *l, const char *operand, const ProcessList *processes) {
        int r;

        for (size_t i = 0; i < processes->n; i++) {
                r = add_process(l, processes->items + i);
                if (r < 0)
                        return r;
        }
        return follow_newcomers(l, operand);
}

/* ---- what the names of files and the fields of the journal tell ---- */

typedef struct Wanted {
        OperandKind kind;
        const char *operand;
        char *file_name;  /* OPERAND_NAME */
        regex_t regex;    /* OPERAND_REGEX */
        bool has_regex;
} Wanted;

static void wanted_done(Wanted *w) {
        free(w->file_name);
        if (w->has_regex)
                regfree(&w->regex);
}

static int wanted_init(Wanted *w, const char *operand) {
        *w = (Wanted) { .kind = operand_kind(operand), .operand = operand };

        if (w->kind == OPERAND_NAME) {
                w->file_name = file_name_of_app(operand);
                return w->file_name ? 0 : -ENOMEM;
        }
        if (w->kind == OPERAND_REGEX) {
                _cleanup_free_ char *pattern = strndup(operand + 1, strlen(operand) - 2);

                if (!pattern)
                        return -ENOMEM;
                if (regcomp(&w->regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
                        return -EINVAL;
                w->has_regex = true;
        }
        return 0;
}

static bool wanted_file(const Wanted *w, const char *name, const char *id) {
        switch (w->kind) {
        case OPERAND_ALL:
                return true;
        case OPERAND_ID:
                return streq_ptr(w->operand, id);
        case OPERAND_REGEX:
                return regexec(&w->regex, name, 0, NULL, 0) == 0;
        case OPERAND_NAME:
                return streq(w->file_name, name);
        default:
                return false;
        }
}

/* "api-out-3.log" and "api-error.log": cuts the text into its parts. */
static bool parse_file_name(char *text, char **ret_id, bool *ret_err) {
        char *end = endswith(text, ".log"), *dash, *id = NULL;

        if (!end)
                return false;
        *end = '\0';

        dash = strrchr(text, '-');
        if (dash && target_is_id(dash + 1)) {
                *dash = '\0';
                id = dash + 1;
                dash = strrchr(text, '-');
        }
        if (!dash || (!streq(dash, "-out") && !streq(dash, "-error")))
                return false;

        *ret_err = streq(dash, "-error");
        *ret_id = id;
        *dash = '\0';
        return true;
}

static int add_file_by_name(Logs *l, const Wanted *w, const char *file_name) {
        _cleanup_free_ char *app = strdup(file_name), *path = strjoin(l->instance->log_dir, "/", file_name);
        char *id;
        bool err;

        if (!app || !path)
                return -ENOMEM;
        if (!parse_file_name(app, &id, &err) || !wanted_file(w, app, id) || !wants(l, err))
                return 0;

        log_view_note_app(&l->view, app);
        return log_follower_add(l->follower, path, app, id, err);
}

static int add_files(Logs *l, const Wanted *w) {
        DIR *d = opendir(l->instance->log_dir);
        int r = 0;

        if (!d)
                return 0;
        for (struct dirent *e; r >= 0 && (e = readdir(d));)
                r = add_file_by_name(l, w, e->d_name);
        (void) closedir(d);
        return r;
}

static int add_journal_apps(Logs *l, const Wanted *w) {
        _cleanup_strv_free_ char **apps = NULL;
        int r;

        r = log_reader_list_apps(l->reader, &apps);
        if (r < 0)
                return r;

        STRV_FOREACH(app, apps) {
                if (regexec(&w->regex, *app, 0, NULL, 0) != 0)
                        continue;
                r = log_selections_add(&l->selections, *app, NULL, NULL, ++l->n_groups);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_journal(Logs *l, const Wanted *w) {
        int r;

        switch (w->kind) {
        case OPERAND_ALL:
                return log_selections_add(&l->selections, NULL, NULL, NULL, ++l->n_groups);
        case OPERAND_ID:
                return log_selections_add(&l->selections, NULL, NULL, w->operand, ++l->n_groups);
        case OPERAND_REGEX:
                return add_journal_apps(l, w);
        case OPERAND_NAME:
                r = log_selections_add(&l->selections, w->operand, NULL, NULL, ++l->n_groups);
                return r < 0 ? r : log_selections_add(&l->selections, NULL, w->operand, NULL, l->n_groups);
        default:
                return 0;
        }
}

static int add_by_name(Logs *l, const char *operand) {
        _cleanup_(wanted_done) Wanted w = {};
        int r;

        r = wanted_init(&w, operand);
        if (r < 0)
                return r;
        r = add_files(l, &w);
        if (r < 0 || !l->reader)
                return r;
        return add_journal(l, &w);
}

/* ---- newcomers with files ---- */

#define SEARCH_DELAY_USEC (USEC_PER_SEC / 10)

/* What the pmd that is there now knows. */
static void list_again(Logs *l, const char *operand, ProcessList *processes) {
        char *const *targets = streq(operand, "all") ? NULL : TARGET(operand);
        int r = -ENOTCONN;

        for (unsigned i = 0; i < 2 && r < 0; i++) {
                _cleanup_(pmd_error_free) pmd_error e = {};

                if (!l->connection && pmd_open(l->options.scope, l->options.home, PMD_OPEN_NO_START, &l->connection, &e) < 0)
                        return;

                r = pmd_list(l->connection, targets, 0, &processes->items, &processes->n, &e);
                if (r >= 0 || exit_code_from_error(r, &e) == EXIT_CODE_NO_SUCH_APP)
                        return;
                (void) pmd_close(l->connection); /* it has ended, and there may be another one */
                l->connection = NULL;
        }
}

static int add_listed(Logs *l, const char *operand) {
        _cleanup_process_list_ ProcessList processes = {};
        int r = 0;

        list_again(l, operand, &processes);
        for (size_t i = 0; i < processes.n && r >= 0; i++)
                r = add_process(l, processes.items + i);
        return r;
}

static int search_newcomers(Logs *l, char *const *operands) {
        int r;

        l->search_at = 0;
        STRV_FOREACH(operand, operands) {
                _cleanup_(wanted_done) Wanted w = {};

                r = add_listed(l, *operand);
                if (r >= 0)
                        r = wanted_init(&w, *operand);
                if (r >= 0)
                        r = add_files(l, &w);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The delay is so that many make one search. */
static int search_if_due(Logs *l, char *const *operands, int *ret_timeout) {
        usec_t t = now(CLOCK_MONOTONIC);

        if (log_follower_take_created(l->follower) && l->search_at == 0)
                l->search_at = t + SEARCH_DELAY_USEC;

        *ret_timeout = l->search_at == 0 ? -1 : (int) (usec_sub(l->search_at, t) / USEC_PER_MSEC) + 1;
        if (l->search_at == 0 || t < l->search_at)
                return 0;
        *ret_timeout = -1;
        return search_newcomers(l, operands);
}

/* Also what has files from earlier, and writes again: it goes on at their ends. */
static int begin_search(Logs *l, char *const *operands) {
        struct rlimit limit;
        int r;

        if (getrlimit(RLIMIT_NOFILE, &limit) >= 0) {
                limit.rlim_cur = limit.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &limit);
        }

        l->following = true;
        r = search_newcomers(l, operands);
        if (r >= 0)
                r = log_follower_watch(l->follower, &l->view);
        if (r >= 0)
                r = log_follower_watch_directory(l->follower, l->instance->log_dir);
        if (r >= 0)
                r = log_follower_watch_directory(l->follower, l->instance->pid_dir);
        return r;
}

/* ---- the verb ---- */

static int add_operand(Logs *l, const char *operand) {
        bool all = streq(operand, "all");
        ExitCode code = EXIT_CODE_NO_SUCH_APP;
        int r;

        if (l->connection) {
                _cleanup_process_list_ ProcessList processes = {};

                code = fetch_processes(&l->options, l->connection, all ? NULL : TARGET(operand), 0, &processes);
                if (!IN_SET(code, EXIT_CODE_OK, EXIT_CODE_NO_SUCH_APP))
                        return code;
                if (code == EXIT_CODE_OK) {
                        r = add_known(l, operand, &processes);
                        return r < 0 ? report_error(&l->options, r, NULL) : EXIT_CODE_OK;
                }
        }

        if (l->connection) {
                _cleanup_free_ char *escaped = string_escape_cc(operand);

                message_warn(&l->options, "Process or Namespace %s not found; looking for old logs of that name.",
                             strempty(escaped));
        }
        r = add_by_name(l, operand);
        return r < 0 ? report_error(&l->options, r, NULL) : EXIT_CODE_OK;
}

static void print_header(const Logs *l, char *const *operands) {
        const Options *o = &l->options;
        _cleanup_free_ char *joined = NULL, *escaped = NULL;
        bool several = operands[1] || operand_kind(operands[0]) == OPERAND_ALL;

        if (o->json || o->raw || o->format || o->silent)
                return;

        joined = strv_join(operands, ", ");
        escaped = joined ? string_escape_cc(joined) : NULL;
        if (o->lines == UINT_MAX) {
                (void) printf("%s[TAILING] Tailing all wanted lines for [%s] process%s%s\n", color(o, COLOR_BOLD), strempty(escaped),
                              several ? "es" : "", color(o, COLOR_NORMAL));
                return;
        }
        (void) printf("%s[TAILING] Tailing last %u lines for [%s] process%s (change the value with --lines option)%s\n",
                      color(o, COLOR_BOLD), o->lines, strempty(escaped), several ? "es" : "", color(o, COLOR_NORMAL));
}

static int tail(Logs *l) {
        log_follower_tail(l->follower, &l->view, l->options.nostream);
        return l->reader ? log_reader_tail(l->reader, &l->selections, &l->view) : 0;
}

static int shorter_timeout(int a, int b) {
        return a < 0 ? b : b < 0 ? a : MIN(a, b);
}

/* Prints what has come. *ret_timeout: how long to wait for more, in ms, -1: for ever. */
static int process(Logs *l, char *const *operands, int *ret_timeout) {
        int timeout, search, r;

        log_follower_process(l->follower, &l->view);
        r = search_if_due(l, operands, &search);
        if (r < 0)
                return r;
        timeout = shorter_timeout(search, log_follower_get_timeout(l->follower));

        if (l->reader) {
                r = log_reader_process(l->reader, &l->selections, &l->view);
                if (r < 0)
                        return r;
                timeout = shorter_timeout(timeout, log_reader_get_timeout(l->reader));
        }

        *ret_timeout = timeout;
        return fflush(stdout) != 0 ? -errno : 0;
}

static int follow(Logs *l, char *const *operands) {
        int timeout, r;

        r = begin_search(l, operands);
        if (r >= 0 && l->reader)
                r = log_reader_follow(l->reader, &l->selections, &l->options);
        if (r < 0)
                return r;

        struct pollfd p[] = {
                { .fd = STDOUT_FILENO }, /* that the one who read us has gone would else show with the next line only */
                { .fd = log_follower_get_fd(l->follower), .events = POLLIN },
                { .fd = l->reader ? log_reader_get_fd(l->reader) : -EBADF },
        };

        while (!(p[0].revents & (POLLERR | POLLHUP))) {
                r = process(l, operands, &timeout);
                if (r < 0)
                        return r;
                if (l->reader)
                        p[2].events = (short) log_reader_get_events(l->reader);
                if (poll(p, ELEMENTSOF(p), timeout) < 0 && errno != EINTR)
                        return -errno;
        }
        return 0;
}

static bool has_source(const Logs *l, char *const *operands) {
        STRV_FOREACH(operand, operands)
                if (operand_kind(*operand) == OPERAND_ALL)
                        return true;
        return !log_follower_is_empty(l->follower) || l->reader;
}

int verb_logs(int argc, char *argv[], const Options *o) {
        char *const all[] = { (char *) "all", NULL }, *const *operands = argc > 1 ? argv + 1 : all;
        _cleanup_(logs_done) Logs l = { .options = *o };
        int r;

        r = log_filter_init(&l.filter, o);
        if (r != EXIT_CODE_OK)
                return r;
        /* Who says from when on, or what, wants all of it, as with journalctl. */
        if (!o->lines_given && (log_filter_is_active(&l.filter) || o->cursor))
                l.options.lines = UINT_MAX;
        l.options.nostream = o->nostream || o->until;

        o = &l.options;
        log_view_init(&l.view, o, &l.filter);
        if (o->nostream)
                pager_open(&l.pager, o);
        r = logs_open(&l);
        if (r < 0)
                return report_error(o, r, NULL);

        for (char *const *operand = operands; *operand; operand++) {
                r = add_operand(&l, *operand);
                if (r != EXIT_CODE_OK)
                        return r;
        }

        if (l.selections.n == 0)
                l.reader = log_reader_free(l.reader); /* no match would mean every entry */

        print_header(&l, operands);
        r = tail(&l);
        if (r >= 0 && !o->nostream && has_source(&l, operands))
                r = follow(&l, operands);
        return r < 0 ? report_error(o, r, NULL) : EXIT_CODE_OK;
}
