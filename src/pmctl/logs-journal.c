/* SPDX-License-Identifier: MIT */
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "pmctl/logs.h"
#include "shared/string-util.h"
#include "shared/strv.h"

struct LogReader {
        sd_journal *journal;
        char *uid_match;
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

/* ---- entries ---- */

typedef struct Entry {
        LogEntry line;
        char *app, *id, *message;
        uint64_t number;
} Entry;

static void entry_done(Entry *e) {
        free(e->app);
        free(e->id);
        free(e->message);
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

static int read_entry(LogReader *l, Entry *ret) {
        _cleanup_(entry_done) Entry e = {};
        _cleanup_free_ char *stream = NULL;
        int r;

        r = copy_field(l, "MESSAGE", &e.message, &e.line.size);
        RET_GATHER(r, copy_field(l, "PM_APP", &e.app, NULL));
        RET_GATHER(r, copy_field(l, "PM_ID", &e.id, NULL));
        RET_GATHER(r, copy_field(l, "PM_STREAM", &stream, NULL));
        RET_GATHER(r, sd_journal_get_realtime_usec(l->journal, &e.line.realtime));
        if (r < 0)
                return r;

        e.line.app = e.app;
        e.line.id = e.id;
        e.line.message = e.message;
        e.line.err = streq(stream, "err");

        *ret = e;
        e = (Entry) {};
        return 0;
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

static int match_group(LogReader *l, const LogSelections *s, unsigned group, const Options *o) {
        int r = 0;

        sd_journal_flush_matches(l->journal);
        for (size_t i = 0; i < s->n; i++)
                if (s->items[i].group == group)
                        RET_GATHER(r, match_selection(l, s->items + i, o));
        return r;
}

static int collect_tail(LogReader *l, const LogSelections *s, unsigned group, const Options *o, Entries *entries) {
        int r, left;

        r = match_group(l, s, group, o);
        if (r < 0)
                return r;
        r = l->cursor ? sd_journal_seek_cursor(l->journal, l->cursor) : sd_journal_seek_tail(l->journal);
        if (r < 0)
                return r;

        left = sd_journal_previous_skip(l->journal, o->lines);
        if (left < 0)
                return left;

        for (; left > 0; left--) {
                Entry e;

                if (!GREEDY_REALLOC(entries->items, entries->n_allocated, entries->n + 1))
                        return -ENOMEM;
                r = read_entry(l, &e);
                if (r == -ENOMEM)
                        return r;
                if (r >= 0 && !log_selections_is_hidden(s, e.app, e.id)) {
                        e.number = entries->n;
                        entries->items[entries->n++] = e;
                } else if (r >= 0)
                        entry_done(&e);

                r = sd_journal_next(l->journal);
                if (r < 0)
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
                r = collect_tail(l, s, g, v->options, &entries);
                if (r < 0)
                        return r;
        }

        if (entries.n > 1)
                qsort(entries.items, entries.n, sizeof *entries.items, compare_entries);
        for (size_t i = 0; i < entries.n; i++)
                log_view_note_app(v, entries.items[i].app);
        for (size_t i = 0; i < entries.n; i++)
                log_view_print(v, &entries.items[i].line);
        return 0;
}

/* ---- what comes ---- */

int log_reader_follow(LogReader *l, const LogSelections *s, const Options *o) {
        int r = 0;

        sd_journal_flush_matches(l->journal);
        for (size_t i = 0; i < s->n; i++)
                RET_GATHER(r, match_selection(l, s->items + i, o));
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

                r = read_entry(l, &e);
                if (r == -ENOMEM)
                        return r;
                if (r >= 0 && !log_selections_is_hidden(s, e.app, e.id))
                        log_view_print(v, &e.line);
        }
        return r;
}
