/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <systemd/sd-id128.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "pmctl/logs.h"
#include "shared/parse-util.h"
#include "shared/pmd-messages.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* When the log of an app was last emptied. */
typedef struct Flush {
        char *app;
        usec_t at;
} Flush;

struct LogReader {
        sd_journal *journal, *flush_journal; /* the latter for looking into it beside */
        char *uid_match;
        Flush *flushes;
        size_t n_flushes, n_flushes_allocated;
        char *cursor; /* of the last entry when tail began, NULL: the journal was empty */
};

static char *dup_or_null(const char *s, bool *oom) {
        char *t = s ? strdup(s) : NULL;

        *oom = *oom || (s && !t);
        return t;
}

static void log_selection_done(LogSelection *s) {
        free(s->app);
        free(s->name_space);
        free(s->id);
}

static int add_selection(
                LogSelection **items,
                size_t *n,
                size_t *allocated,
                const char *app,
                const char *name_space,
                const char *id,
                unsigned group) {

        bool oom = false;
        LogSelection s = {
                .app = dup_or_null(app, &oom),
                .name_space = dup_or_null(name_space, &oom),
                .id = dup_or_null(id, &oom),
                .group = group,
        };

        if (oom || !GREEDY_REALLOC(*items, *allocated, *n + 1)) {
                log_selection_done(&s);
                return -ENOMEM;
        }
        (*items)[(*n)++] = s;
        return 0;
}

int log_selections_add(LogSelections *s, const char *app, const char *name_space, const char *id, unsigned group) {
        return add_selection(&s->items, &s->n, &s->n_allocated, app, name_space, id, group);
}

int log_selections_hide(LogSelections *s, const char *app, const char *id) {
        return add_selection(&s->hidden, &s->n_hidden, &s->n_hidden_allocated, app, NULL, id, 0);
}

bool log_selections_is_hidden(const LogSelections *s, const char *app, const char *id) {
        for (size_t i = 0; i < s->n_hidden; i++)
                if (streq_ptr(s->hidden[i].app, app) && streq_ptr(s->hidden[i].id, id))
                        return true;
        return false;
}

void log_selections_done(LogSelections *s) {
        for (size_t i = 0; i < s->n; i++)
                log_selection_done(s->items + i);
        for (size_t i = 0; i < s->n_hidden; i++)
                log_selection_done(s->hidden + i);
        free(s->items);
        free(s->hidden);
        *s = (LogSelections) {};
}

bool log_journal_is_closed(void) {
        static const char *const directories[] = { "/var/log/journal", "/run/log/journal" };
        char machine[SD_ID128_STRING_MAX];
        bool closed = false;
        sd_id128_t id;

        if (sd_id128_get_machine(&id) < 0)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(directories); i++) {
                _cleanup_free_ char *path = strprintf("%s/%s/system.journal", directories[i], sd_id128_to_string(id, machine));

                if (path && access(path, R_OK) >= 0)
                        return false;
                closed = closed || (path && errno == EACCES);
        }
        return closed;
}

int log_reader_new(InstanceScope scope, LogReader **ret) {
        _cleanup_(log_reader_freep) LogReader *l = new0(LogReader, 1);
        int r;

        if (!l)
                return -ENOMEM;

        l->uid_match = strprintf("_UID=%u", scope == INSTANCE_SYSTEM ? 0 : geteuid());
        if (!l->uid_match)
                return -ENOMEM;

        r = sd_journal_open(&l->journal, SD_JOURNAL_LOCAL_ONLY);
        if (r < 0)
                return r;
        r = sd_journal_set_data_threshold(l->journal, 0);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(l);
        return 0;
}

LogReader *log_reader_free(LogReader *l) {
        if (!l)
                return NULL;

        if (l->journal)
                sd_journal_close(l->journal);
        if (l->flush_journal)
                sd_journal_close(l->flush_journal);
        for (size_t i = 0; i < l->n_flushes; i++)
                free(l->flushes[i].app);
        free(l->flushes);
        free(l->uid_match);
        free(l->cursor);
        return mfree(l);
}

int log_reader_list_apps(LogReader *l, char ***ret) {
        _cleanup_strv_free_ char **apps = NULL;
        const void *data;
        size_t size;
        int r;

        r = sd_journal_query_unique(l->journal, "PM_APP");
        if (r < 0)
                return r;

        SD_JOURNAL_FOREACH_UNIQUE(l->journal, data, size) {
                const char *value = (const char *) data + STRLEN("PM_APP=");
                char *app = strndup(value, size - STRLEN("PM_APP="));

                if (!app)
                        return -ENOMEM;
                r = strv_consume(&apps, app);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(apps);
        return 0;
}

/* ---- matches ---- */

static int match_field(LogReader *l, const char *field, const char *value) {
        _cleanup_free_ char *match = NULL;

        if (!value)
                return 0;
        match = strjoin(field, "=", value);
        return match ? sd_journal_add_match(l->journal, match, 0) : -ENOMEM;
}

static int match_selection(LogReader *l, const LogSelection *s, const Options *o) {
        bool both = o->out == o->err;
        int r;

        r = sd_journal_add_disjunction(l->journal);
        RET_GATHER(r, sd_journal_add_match(l->journal, l->uid_match, 0));
        RET_GATHER(r, match_field(l, "PM_APP", s->app));
        RET_GATHER(r, match_field(l, "PM_NAMESPACE", s->name_space));
        RET_GATHER(r, match_field(l, "PM_ID", s->id));
        /* Every line of an app has this field, and nothing else has it. */
        if (both || o->out)
                RET_GATHER(r, match_field(l, "PM_STREAM", "out"));
        if (both || o->err)
                RET_GATHER(r, match_field(l, "PM_STREAM", "err"));
        return r;
}

static int match_events(LogReader *l, const LogSelection *s) {
        static const char *const ids[] = {
                PMD_MESSAGE_STARTED_STR, PMD_MESSAGE_EXITED_STR, PMD_MESSAGE_RESTART_STR, PMD_MESSAGE_GAVE_UP_STR, PMD_MESSAGE_STOPPED_STR,
                PMD_MESSAGE_REQUESTED_STR, PMD_MESSAGE_FLUSHED_STR,
        };
        int r;

        r = sd_journal_add_disjunction(l->journal);
        RET_GATHER(r, sd_journal_add_match(l->journal, l->uid_match, 0));
        RET_GATHER(r, match_field(l, "PM_APP", s->app));
        RET_GATHER(r, match_field(l, "PM_NAMESPACE", s->name_space));
        RET_GATHER(r, match_field(l, "PM_ID", s->id));
        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                RET_GATHER(r, match_field(l, "MESSAGE_ID", ids[i]));
        return r;
}

/* ---- entries ---- */

typedef struct Entry {
        LogEntry line;
        char *app, *id, *message, *catalog;
        uint64_t number;
} Entry;

static void entry_done(Entry *e) {
        free(e->app);
        free(e->id);
        free(e->message);
        free(e->catalog);
        *e = (Entry) {};
}

static int copy_field(LogReader *l, const char *field, char **ret, size_t *ret_size) {
        size_t n = strlen(field) + 1, size;
        const void *data;
        char *copy;
        int r;

        r = sd_journal_get_data(l->journal, field, &data, &size);
        if (r < 0)
                return r;
        if (size < n)
                return -EBADMSG;

        copy = new(char, size - n + 1);
        if (!copy)
                return -ENOMEM;
        memcpy(copy, (const char *) data + n, size - n);
        copy[size - n] = '\0';

        *ret = copy;
        if (ret_size)
                *ret_size = size - n;
        return 0;
}

static int read_priority(LogReader *l) {
        _cleanup_free_ char *text = NULL;
        unsigned priority;

        return copy_field(l, "PRIORITY", &text, NULL) < 0 || safe_atou(text, &priority) < 0 ? -1 : (int) priority;
}

static int read_line(LogReader *l, Entry *e) {
        _cleanup_free_ char *stream = NULL;
        int r;

        r = copy_field(l, "PM_STREAM", &stream, NULL);
        RET_GATHER(r, copy_field(l, "PM_APP", &e->app, NULL));
        RET_GATHER(r, copy_field(l, "PM_ID", &e->id, NULL));
        e->line.err = r >= 0 && streq(stream, "err");
        return r;
}

/* What pmd says of an app, or of all. */
static int read_event(LogReader *l, Entry *e, bool explain) {
        e->line.event = true;
        if (copy_field(l, "PM_APP", &e->app, NULL) < 0)
                e->app = strdup("all");
        (void) copy_field(l, "PM_ID", &e->id, NULL);
        if (explain)
                (void) sd_journal_get_catalog(l->journal, &e->catalog);
        return e->app ? 0 : -ENOMEM;
}

static int read_entry(LogReader *l, const Options *o, Entry *ret) {
        _cleanup_(entry_done) Entry e = {};
        const void *data;
        size_t size;
        int r;

        r = sd_journal_get_data(l->journal, "PM_STREAM", &data, &size) >= 0 ? read_line(l, &e) : read_event(l, &e, o->catalog);
        RET_GATHER(r, copy_field(l, "MESSAGE", &e.message, &e.line.size));
        RET_GATHER(r, sd_journal_get_realtime_usec(l->journal, &e.line.realtime));
        if (r < 0)
                return r;

        e.line.priority = read_priority(l);
        e.line.app = e.app;
        e.line.id = e.id;
        e.line.message = e.message;

        *ret = e;
        e = (Entry) {};
        return 0;
}

static void print_entry(const LogView *v, const Entry *e) {
        log_view_print(v, &e->line);
        for (const char *p = strempty(e->catalog); *p;) {
                size_t n = strcspn(p, "\n");

                (void) printf("-- %.*s\n", (int) n, p);
                p += n + (p[n] == '\n');
        }
}

/* ---- what was flushed ---- */

static usec_t look_up_flush(LogReader *l, const char *app) {
        _cleanup_free_ char *match = strjoin("PM_APP=", app);
        usec_t at = 0;
        int r = 0;

        if (!l->flush_journal && sd_journal_open(&l->flush_journal, SD_JOURNAL_LOCAL_ONLY) < 0)
                return 0;

        sd_journal_flush_matches(l->flush_journal);
        RET_GATHER(r, sd_journal_add_match(l->flush_journal, l->uid_match, 0));
        RET_GATHER(r, sd_journal_add_match(l->flush_journal, "MESSAGE_ID=" PMD_MESSAGE_FLUSHED_STR, 0));
        RET_GATHER(r, match ? sd_journal_add_match(l->flush_journal, match, 0) : -ENOMEM);
        RET_GATHER(r, sd_journal_seek_tail(l->flush_journal));
        if (r >= 0 && sd_journal_previous(l->flush_journal) > 0)
                (void) sd_journal_get_realtime_usec(l->flush_journal, &at);
        return at;
}

static usec_t flushed_at(LogReader *l, const char *app) {
        Flush f;

        for (size_t i = 0; i < l->n_flushes; i++)
                if (streq(l->flushes[i].app, app))
                        return l->flushes[i].at;

        f = (Flush) { strdup(app), look_up_flush(l, app) };
        if (f.app && GREEDY_REALLOC(l->flushes, l->n_flushes_allocated, l->n_flushes + 1))
                l->flushes[l->n_flushes++] = f;
        else
                free(f.app);
        return f.at;
}

typedef struct Entries {
        Entry *items;
        size_t n, n_allocated;
} Entries;

static void entries_done(Entries *e) {
        for (size_t i = 0; i < e->n; i++)
                entry_done(e->items + i);
        free(e->items);
}

static int compare_entries(const void *a, const void *b) {
        const Entry *x = a, *y = b;

        if (x->line.realtime != y->line.realtime)
                return x->line.realtime < y->line.realtime ? -1 : 1;
        return (x->number > y->number) - (x->number < y->number);
}

/* ---- the last lines ---- */

static bool events_wanted(const Options *o) {
        return !o->raw && o->out == o->err;
}

static int match_group(LogReader *l, const LogSelections *s, unsigned group, const Options *o) {
        int r = 0;

        sd_journal_flush_matches(l->journal);
        for (size_t i = 0; i < s->n; i++) {
                if (s->items[i].group != group)
                        continue;
                RET_GATHER(r, match_selection(l, s->items + i, o));
                if (o->catalog && events_wanted(o))
                        RET_GATHER(r, match_events(l, s->items + i));
        }
        return r;
}

static int seek_end(LogReader *l, const LogFilter *filter) {
        if (filter->until != USEC_INFINITY)
                return sd_journal_seek_realtime_usec(l->journal, filter->until);
        return l->cursor ? sd_journal_seek_cursor(l->journal, l->cursor) : sd_journal_seek_tail(l->journal);
}

static int add_entry(Entries *entries, Entry *e) {
        if (!GREEDY_REALLOC(entries->items, entries->n_allocated, entries->n + 1))
                return -ENOMEM;
        e->number = UINT64_MAX - entries->n; /* they are read backwards */
        entries->items[entries->n++] = *e;
        *e = (Entry) {};
        return 0;
}

/* 1: goes on, 0: what is older is not wanted. */
static int collect_one(LogReader *l, const LogSelections *s, const LogView *v, Entries *entries) {
        _cleanup_(entry_done) Entry e = {};
        int r;

        r = read_entry(l, v->options, &e);
        if (r < 0)
                return r == -ENOMEM ? r : 1;
        if (e.line.realtime < v->filter->since)
                return 0;
        if (!log_selections_is_hidden(s, e.app, e.id) && log_filter_matches(v->filter, &e.line) &&
            e.line.realtime > flushed_at(l, e.app)) {
                r = add_entry(entries, &e);
                if (r < 0)
                        return r;
        }
        return !v->options->cursor || sd_journal_test_cursor(l->journal, v->options->cursor) <= 0;
}

static int collect_tail(LogReader *l, const LogSelections *s, unsigned group, const LogView *v, Entries *entries) {
        size_t end = entries->n + v->options->lines;
        int r;

        r = match_group(l, s, group, v->options);
        if (r >= 0)
                r = seek_end(l, v->filter);
        if (r < 0)
                return r;

        while (entries->n < end) {
                r = sd_journal_previous(l->journal);
                if (r > 0)
                        r = collect_one(l, s, v, entries);
                if (r <= 0)
                        return r;
        }
        return 0;
}

static int remember_end(LogReader *l) {
        int r;

        sd_journal_flush_matches(l->journal);
        r = sd_journal_seek_tail(l->journal);
        if (r < 0)
                return r;
        r = sd_journal_previous(l->journal);
        if (r <= 0)
                return r;
        return sd_journal_get_cursor(l->journal, &l->cursor);
}

int log_reader_tail(LogReader *l, const LogSelections *s, LogView *v) {
        _cleanup_(entries_done) Entries entries = {};
        unsigned n_groups = 0;
        int r;

        r = remember_end(l);
        if (r < 0)
                return r;

        for (size_t i = 0; i < s->n; i++)
                n_groups = MAX(n_groups, s->items[i].group);
        for (unsigned g = 1; g <= n_groups && v->options->lines > 0; g++) {
                r = collect_tail(l, s, g, v, &entries);
                if (r < 0)
                        return r;
        }

        if (entries.n > 1)
                qsort(entries.items, entries.n, sizeof *entries.items, compare_entries);
        for (size_t i = 0; i < entries.n; i++)
                log_view_note_app(v, entries.items[i].app);
        for (size_t i = 0; i < entries.n; i++)
                print_entry(v, entries.items + i);
        return 0;
}

/* ---- what comes ---- */

int log_reader_follow(LogReader *l, const LogSelections *s, const Options *o) {
        int r = 0;

        sd_journal_flush_matches(l->journal);
        for (size_t i = 0; i < s->n; i++)
                RET_GATHER(r, match_selection(l, s->items + i, o));
        for (size_t i = 0; i < s->n && events_wanted(o); i++)
                RET_GATHER(r, match_events(l, s->items + i));
        if (r < 0)
                return r;
        return l->cursor ? sd_journal_seek_cursor(l->journal, l->cursor) : sd_journal_seek_head(l->journal);
}

int log_reader_get_fd(LogReader *l) {
        return sd_journal_get_fd(l->journal);
}

int log_reader_get_events(LogReader *l) {
        return sd_journal_get_events(l->journal);
}

int log_reader_get_timeout(LogReader *l) {
        uint64_t deadline;

        if (sd_journal_get_timeout(l->journal, &deadline) < 0 || deadline == USEC_INFINITY)
                return -1;
        return (int) (MIN(usec_sub(deadline, now(CLOCK_MONOTONIC)), 60 * USEC_PER_SEC) / USEC_PER_MSEC) + 1;
}

int log_reader_process(LogReader *l, const LogSelections *s, const LogView *v) {
        int r;

        r = sd_journal_process(l->journal);
        if (r < 0)
                return r;

        while ((r = sd_journal_next(l->journal)) > 0) {
                _cleanup_(entry_done) Entry e = {};

                /* Seeking to a cursor leads to its entry first, which tail has printed. */
                if (l->cursor) {
                        r = sd_journal_test_cursor(l->journal, l->cursor);
                        l->cursor = mfree(l->cursor);
                        if (r > 0)
                                continue;
                }

                r = read_entry(l, v->options, &e);
                if (r == -ENOMEM)
                        return r;
                if (r >= 0 && (e.line.event || !log_selections_is_hidden(s, e.app, e.id)))
                        print_entry(v, &e);
        }
        return r;
}
