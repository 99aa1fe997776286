/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "pmctl/why.h"
#include "shared/path-util.h"
#include "shared/pmd-protocol.h"
#include "shared/proc-util.h"
#include "shared/process-states.h"
#include "shared/string-util.h"
#include "shared/strv.h"

void why_facts_done(WhyFacts *f) {
        free(f->name);
        free(f->status);
        free(f->user);
        free(f->cwd);
        free(f->script);
        free(f->memory_max);
        free(f->status_text);
        strv_free(f->notes);
        event_history_done(&f->events);
        strv_free(f->lines);
}

void why_facts_free_many(WhyFacts *facts, size_t n) {
        for (size_t i = 0; i < n; i++)
                why_facts_done(facts + i);
        free(facts);
}

/* ---- from pmd ---- */

static void copy_word(char *buf, size_t size, const char *s) {
        size_t n = strnlen(s, size - 1);

        memcpy(buf, s, n);
        buf[n] = 0;
}

static int read_event(sd_bus_message *m, EventHistory *h) {
        const char *kind, *decision, *reason, *text, *command;
        HistoryEvent e = {}, *added;
        uint32_t count;
        int r;

        r = sd_bus_message_read(m, "(" PMD_EVENT_SIGNATURE ")", &e.first, &e.last, &count, &kind, &decision, &e.code, &e.signal, &reason,
                                &e.ran, &text, &e.uid, &e.pid, &command);
        if (r <= 0)
                return r;
        e.kind = event_kind_from_string(kind);
        if (e.kind < 0)
                return 1; /* of a later pmd */
        e.decision = MAX(event_decision_from_string(decision), EVENT_DECISION_NONE);
        e.text = (char *) text;
        copy_word(e.reason, sizeof e.reason, reason);
        copy_word(e.command, sizeof e.command, command);

        r = event_history_add(h, &e, e.last, &added);
        if (r < 0)
                return r;
        added->first = e.first;
        added->count = count;
        added->decision = e.decision;
        return 1;
}

static int read_history(sd_bus *bus, const char *path, EventHistory *ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_call_method(bus, PMD_BUS_NAME, path, PMD_INTERFACE_PROCESS, "GetHistory", NULL, &reply, NULL);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(" PMD_EVENT_SIGNATURE ")");
        if (r < 0)
                return r;
        do
                r = read_event(reply, ret);
        while (r > 0);
        return r;
}

static bool is_set(const pmd_process *p, const char *attribute) {
        const pmd_attribute *a = process_attribute(p, attribute);

        return a && a->type == PMD_ATTRIBUTE_BOOL && a->integer;
}

/* What cannot be told from what is not there, in a directory that is not ours to look into, counts as there. */
static bool is_gone(const char *path) {
        return path && path[0] == '/' && access(path, F_OK) < 0 && IN_SET(errno, ENOENT, ENOTDIR);
}

/* What is on this machine now, and pmd has no reason to look at. */
static void look_around(WhyFacts *f) {
        ProcStat st;

        f->script_is_gone = is_gone(f->script);
        f->cwd_is_gone = is_gone(f->cwd);
        if (f->pid > 0 && proc_read_stat((pid_t) f->pid, &st) >= 0)
                f->main_state = st.state;
}

static int fill_from_pmd(pmd_connection *c, InstanceScope scope, const pmd_process *p, WhyFacts *f) {
        const pmd_attribute *memory_max = process_attribute(p, "memory_max");
        char path[sizeof(PMD_PATH_PROCESS "/4294967295")];
        sd_bus *bus = pmd_get_bus(c);
        int r = 0;

        *f = (WhyFacts) {
                .id = p->id,
                .pid = p->pid,
                .now = now(CLOCK_REALTIME),
                .started = p->start_usec,
                .n_restarts = p->n_restarts,
                .says_when_ready = is_set(p, "wait_ready") || is_set(p, "notify"),
        };
        RET_GATHER(r, free_and_strdup(&f->name, strempty(p->name)));
        RET_GATHER(r, free_and_strdup(&f->status, strempty(p->status)));
        RET_GATHER(r, free_and_strdup(&f->user, p->user));
        RET_GATHER(r, free_and_strdup(&f->cwd, p->cwd));
        RET_GATHER(r, free_and_strdup(&f->script, p->executable));
        RET_GATHER(r, free_and_strdup(&f->status_text, isempty(p->status_text) ? NULL : p->status_text));
        if (memory_max && memory_max->type == PMD_ATTRIBUTE_STRING)
                RET_GATHER(r, free_and_strdup(&f->memory_max, memory_max->string));
        STRV_FOREACH(note, p->notes)
                RET_GATHER(r, strv_extend(&f->notes, *note));
        if (r < 0)
                return r;
        look_around(f);

        (void) snprintf(path, sizeof path, PMD_PATH_PROCESS "/%" PRIu32, p->id);
        r = read_history(bus, path, &f->events);
        if (r == -ENOMEM)
                return r;
        (void) sd_bus_get_property_trivial(bus, PMD_BUS_NAME, path, PMD_INTERFACE_PROCESS, "NextRestart", NULL, 't', &f->next_restart);
        return why_read_lines(f, scope, p->out_log_path, p->error_log_path, NULL);
}

int why_facts_from_pmd(const Options *o, pmd_connection *c, const char *target, WhyFacts **ret, size_t *ret_n) {
        _cleanup_process_list_ ProcessList l = {};
        WhyFacts *facts;
        int r;

        r = fetch_processes(o, c, TARGET(target), 0, &l);
        if (r == EXIT_CODE_NO_SUCH_APP)
                return report_no_such_target(o, target);
        if (r != EXIT_CODE_OK)
                return r;

        facts = new0(WhyFacts, l.n);
        if (!facts)
                return report_error(o, -ENOMEM, NULL);
        for (size_t i = 0; i < l.n; i++) {
                r = fill_from_pmd(c, instance_scope_of(o, c), l.items + i, facts + i);
                if (r < 0) {
                        why_facts_free_many(facts, i + 1);
                        return report_error(o, r, NULL);
                }
        }
        *ret = facts;
        *ret_n = l.n;
        return EXIT_CODE_OK;
}

/* ---- from the files of a pmd that does not run ---- */

static const char *get_string(json_object *o, const char *key) {
        return json_object_get_string(json_object_object_get(o, key));
}

static uint64_t get_uint(json_object *o, const char *key) {
        return json_object_get_uint64(json_object_object_get(o, key));
}

/* Where pmd puts the lines of an app that does not say anything else: its processes share a file, or have one each. */
static char *default_log(const Instance *i, const WhyFacts *f, const char *stream) {
        _cleanup_free_ char *name = file_name_of_app(f->name);
        char *shared = name ? strprintf("%s/%s-%s.log", i->log_dir, name, stream) : NULL;

        if (!shared || access(shared, F_OK) >= 0)
                return shared;
        free(shared);
        return strprintf("%s/%s-%s-%" PRIu32 ".log", i->log_dir, name, stream, f->id);
}

static bool is_meant(const char *target, const char *name, json_object *o) {
        char number[16];

        (void) snprintf(number, sizeof number, "%" PRIu64, get_uint(o, "id"));
        return streq(target, "all") || streq(target, name) || streq(target, number);
}

/* 1: filled, 0: not meant, or of no use. */
static int fill_from_state(const Instance *i, json_object *o, const char *target, WhyFacts *f) {
        const char *name = get_string(o, "app"), *status = process_state_shown(process_state_from_string(get_string(o, "state")));
        _cleanup_free_ char *out = NULL, *err = NULL;
        int r = 0;

        if (!name || !status || !is_meant(target, name, o))
                return 0;

        *f = (WhyFacts) {
                .id = (uint32_t) get_uint(o, "id"),
                .pid = (uint32_t) get_uint(o, "pid"),
                .no_pmd = true,
                .alive = process_state_is_alive(o),
                .now = now(CLOCK_REALTIME),
                .started = get_uint(o, "started_realtime"),
                .n_restarts = (unsigned) get_uint(o, "n_restarts"),
        };
        RET_GATHER(r, free_and_strdup(&f->name, name));
        RET_GATHER(r, free_and_strdup(&f->status, status));
        RET_GATHER(r, event_history_restore(&f->events, json_object_object_get(o, "events")));
        if (r >= 0) {
                out = default_log(i, f, "out");
                err = default_log(i, f, "error");
                r = !out || !err ? -ENOMEM : why_read_lines(f, i->scope, out, err, NULL);
        }
        return r < 0 ? r : 1;
}

static int read_files(const Instance *i, const char *target, WhyFacts **ret, size_t *ret_n) {
        json_object **states = NULL;
        size_t n_states = 0, n = 0;
        WhyFacts *facts;
        int r;

        r = process_states_load(i->runtime_dir, &states, &n_states);
        if (r == -ENOMEM)
                return r;
        facts = new0(WhyFacts, n_states);
        r = facts ? 0 : -ENOMEM;
        for (size_t k = 0; r >= 0 && k < n_states; k++) {
                r = fill_from_state(i, states[k], target, facts + n);
                n += r != 0;
        }
        process_states_free(states, n_states);
        if (r < 0) {
                why_facts_free_many(facts, n);
                return r;
        }
        *ret = facts;
        *ret_n = n;
        return 0;
}

int why_facts_from_files(const Options *o, const char *target, WhyFacts **ret, size_t *ret_n) {
        _cleanup_(instance_freep) Instance *instance = NULL;
        WhyFacts *facts;
        size_t n;
        int r;

        r = instance_new(instance_scope_of(o, NULL), o->home, &instance);
        if (r >= 0)
                r = read_files(instance, target, &facts, &n);
        if (r < 0)
                return report_error(o, r, NULL);
        if (n == 0) {
                free(facts);
                return report_no_such_target(o, target);
        }
        *ret = facts;
        *ret_n = n;
        return EXIT_CODE_OK;
}
