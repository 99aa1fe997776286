/* SPDX-License-Identifier: MIT */
#include "pmctl/why.h"
#include "shared/strv.h"

/* ---- for people ---- */

static void print_lines(const Options *o, const WhyFacts *f) {
        if (strv_isempty(f->lines))
                return;
        printf("\n  Its last lines%s:\n", f->lines_are_errors ? " on standard error" : "");
        STRV_FOREACH(line, f->lines)
                printf("    %s%s%s\n", color(o, COLOR_GREY), *line, color(o, COLOR_NORMAL));
}

static void print_time(usec_t t) {
        time_t seconds = (time_t) (t / USEC_PER_SEC);
        char buf[64];
        struct tm tm;

        if (!localtime_r(&seconds, &tm) || strftime(buf, sizeof buf, "%Y-%m-%d %H:%M:%S", &tm) == 0)
                buf[0] = 0;
        printf("    %s  ", buf);
}

static int print_events(const WhyFacts *f) {
        if (f->events.n == 0)
                return 0;

        printf("\n  What happened, the latest last:\n");
        for (size_t i = 0; i < f->events.n; i++) {
                const HistoryEvent *e = f->events.events + i;
                _cleanup_free_ char *text = why_describe_event(e);

                if (!text)
                        return -ENOMEM;
                print_time(e->last);
                printf("%s\n", text);
        }
        return 0;
}

static int print_facts(const Options *o, const WhyFacts *f) {
        _cleanup_strv_free_ char **sentences = NULL, **advice = NULL;
        int r;

        r = why_explain(f, &sentences);
        if (r >= 0)
                r = why_advise(f, &advice);
        if (r < 0)
                return r;

        STRV_FOREACH(s, sentences)
                printf("%s%s%s%s\n", s == sentences ? "" : "  ", s == sentences ? color(o, COLOR_BOLD) : "", *s,
                       s == sentences ? color(o, COLOR_NORMAL) : "");
        print_lines(o, f);
        r = print_events(f);
        if (r < 0)
                return r;
        if (!strv_isempty(advice))
                printf("\n");
        STRV_FOREACH(s, advice)
                printf("  Try: %s\n", *s);
        return 0;
}

/* ---- for programs ---- */

static void write_event(JsonWriter *w, const HistoryEvent *e) {
        json_writer_begin(w, NULL, '{');
        json_writer_string(w, "kind", event_kind_to_string(e->kind));
        json_writer_uint(w, "first", e->first);
        json_writer_uint(w, "last", e->last);
        json_writer_uint(w, "count", e->count);
        if (IN_SET(e->kind, EVENT_EXITED, EVENT_FAILED)) {
                json_writer_int(w, "code", e->code);
                json_writer_int(w, "signal", e->signal);
                json_writer_string(w, "reason", e->reason);
                json_writer_uint(w, "ran_usec", e->ran);
                json_writer_string(w, "decision", event_decision_to_string(e->decision));
        }
        if (e->kind == EVENT_REQUESTED) {
                json_writer_uint(w, "uid", e->uid);
                json_writer_uint(w, "pid", e->pid);
                json_writer_string(w, "command", e->command);
        }
        json_writer_string(w, "text", e->text);
        json_writer_end(w, '}');
}

static int write_facts(JsonWriter *w, const WhyFacts *f) {
        _cleanup_strv_free_ char **sentences = NULL, **advice = NULL;
        int r;

        r = why_explain(f, &sentences);
        if (r >= 0)
                r = why_advise(f, &advice);
        if (r < 0)
                return r;

        json_writer_begin(w, NULL, '{');
        json_writer_uint(w, "id", f->id);
        json_writer_string(w, "name", f->name);
        json_writer_string(w, "status", f->status);
        json_writer_bool(w, "pmd_runs", !f->no_pmd);
        json_writer_uint(w, "pid", f->pid);
        json_writer_uint(w, "restarts", f->n_restarts);
        json_writer_uint(w, "next_restart", f->next_restart);
        json_writer_strv(w, "explanation", sentences);
        json_writer_strv(w, "advice", advice);
        json_writer_strv(w, "last_lines", f->lines);
        json_writer_begin(w, "events", '[');
        for (size_t i = 0; i < f->events.n; i++)
                write_event(w, f->events.events + i);
        json_writer_end(w, ']');
        json_writer_end(w, '}');
        return 0;
}

/* ---- the verb ---- */

static int show(const Options *o, JsonWriter *w, const WhyFacts *facts, size_t n, bool *first) {
        int r;

        for (size_t i = 0; i < n; i++) {
                if (!o->json && !TAKE_GENERIC(*first, false))
                        printf("\n");
                r = o->json ? write_facts(w, facts + i) : print_facts(o, facts + i);
                if (r < 0)
                        return report_error(o, r, NULL);
        }
        return EXIT_CODE_OK;
}

int verb_why(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        _cleanup_json_writer_ JsonWriter w = {};
        bool first = true;
        int r;

        /* A pmd that were started now would know nothing. */
        r = pmd_open(o->scope, o->home, PMD_OPEN_NO_START | PMD_OPEN_INTERACTIVE, &c, &e);
        if (r < 0 && exit_code_from_error(r, &e) != EXIT_CODE_UNREACHABLE)
                return report_error(o, r, &e);
        if (r < 0)
                message_warn(o, "No pmd is running; this is what its files tell.");

        r = EXIT_CODE_OK;
        if (o->json)
                json_writer_begin(&w, NULL, '[');
        for (char **t = argv + 1; r == EXIT_CODE_OK && *t; t++) {
                WhyFacts *facts = NULL;
                size_t n = 0;

                r = c ? why_facts_from_pmd(o, c, *t, &facts, &n) : why_facts_from_files(o, *t, &facts, &n);
                if (r == EXIT_CODE_OK)
                        r = show(o, &w, facts, n, &first);
                why_facts_free_many(facts, n);
        }
        if (r != EXIT_CODE_OK || !o->json)
                return r;
        json_writer_end(&w, ']');
        return print_json(o, &w);
}
