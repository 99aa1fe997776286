/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <sys/stat.h>

#include "pmctl/reload-report.h"
#include "pmctl/why.h"
#include "shared/string-util.h"
#include "shared/strv.h"

struct LogMark {
        uint32_t id;
        char *name, *out_path, *error_path;
        LinesSince since;
};

void reload_report_done(ReloadReport *r) {
        for (size_t i = 0; i < r->n_marks; i++) {
                free(r->marks[i].name);
                free(r->marks[i].out_path);
                free(r->marks[i].error_path);
        }
        free(r->marks);
        free(r->confirmed);
        *r = (ReloadReport) {};
}

static uint64_t size_of(const char *path) {
        struct stat st;

        return path && stat(path, &st) >= 0 && S_ISREG(st.st_mode) ? (uint64_t) st.st_size : 0;
}

static int add_mark(ReloadReport *r, const pmd_process *p) {
        LogMark *m;
        int k = 0;

        if (!GREEDY_REALLOC(r->marks, r->n_marks_allocated, r->n_marks + 1))
                return -ENOMEM;
        m = r->marks + r->n_marks++;
        *m = (LogMark) {
                .id = p->id,
                .since = { .realtime = now(CLOCK_REALTIME), .out = size_of(p->out_log_path), .error = size_of(p->error_log_path) },
        };
        RET_GATHER(k, free_and_strdup(&m->name, strempty(p->name)));
        RET_GATHER(k, free_and_strdup(&m->out_path, p->out_log_path));
        RET_GATHER(k, free_and_strdup(&m->error_path, p->error_log_path));
        return k;
}

static void on_progress(pmd_connection *c, const char *app, uint32_t id, uint32_t done, uint32_t total, void *userdata) {
        ReloadReport *r = ASSERT_PTR(userdata);

        if (!GREEDY_REALLOC(r->confirmed, r->n_confirmed_allocated, r->n_confirmed + 1))
                return;
        r->confirmed[r->n_confirmed++] = id;
        confirm_process(r->options, app, id);
        (void) fflush(stdout);
}

int reload_report_add(ReloadReport *r, pmd_connection *c, const ProcessList *l) {
        int k = 0;

        for (size_t i = 0; k >= 0 && i < l->n; i++)
                k = add_mark(r, l->items + i);
        return k < 0 ? k : pmd_set_progress(c, on_progress, r);
}

bool reload_report_has_confirmed(const ReloadReport *r, uint32_t id) {
        for (size_t i = 0; i < r->n_confirmed; i++)
                if (r->confirmed[i] == id)
                        return true;
        return false;
}

static void show_lines(const ReloadReport *r, pmd_connection *c, const LogMark *m) {
        WhyFacts f = { .id = m->id, .name = m->name };

        if (why_read_lines(&f, instance_scope_of(r->options, c), m->out_path, m->error_path, &m->since) >= 0 && !strv_isempty(f.lines)) {
                message_error(r->options, "The last lines of %s (id %" PRIu32 "):", m->name, m->id);
                STRV_FOREACH(line, f.lines)
                        message_error(r->options, "  %s", *line);
        }
        strv_free(f.lines);
}

void reload_report_show_lines(const ReloadReport *r, pmd_connection *c, const pmd_result *result) {
        for (size_t i = 0; i < r->n_marks; i++)
                for (size_t k = 0; k < result->n_failures; k++)
                        if (result->failures[k].process_id == r->marks[i].id) {
                                show_lines(r, c, r->marks + i);
                                break;
                        }
}
