/* SPDX-License-Identifier: MIT */
#include "shared/event-history.h"

#include "shared/string-table.h"
#include "shared/string-util.h"

static const char *const event_kind_table[_EVENT_KIND_MAX] = {
        [EVENT_EXITED] = "exited",
        [EVENT_FAILED] = "failed",
        [EVENT_REQUESTED] = "requested",
        [EVENT_TRIGGERED] = "triggered",
        [EVENT_OOM_KILL] = "oom-kill",
        [EVENT_RELOAD_FAILED] = "reload-failed",
};

DEFINE_STRING_TABLE(EventKind, event_kind);

static const char *const event_decision_table[_EVENT_DECISION_MAX] = {
        [EVENT_DECISION_NONE] = "none",
        [EVENT_DECISION_RESTART] = "restart",
        [EVENT_DECISION_RESTART_LATER] = "restart-later",
        [EVENT_DECISION_GIVE_UP] = "give-up",
        [EVENT_DECISION_STAY_DOWN] = "stay-down",
};

DEFINE_STRING_TABLE(EventDecision, event_decision);

/* Of an event in JSON, apart from its text. */
#define EVENT_SIZE 144U

static void remove_oldest(EventHistory *h) {
        free(h->events[0].text);
        memmove(h->events, h->events + 1, --h->n * sizeof(HistoryEvent));
}

void event_history_done(EventHistory *h) {
        while (h->n > 0)
                free(h->events[--h->n].text);
        h->events = mfree(h->events);
        h->n_allocated = 0;
}

/* Cut, and never in the middle of a character. */
static int copy_text(const char *s, char **ret) {
        size_t n = s ? strlen(s) : 0;
        char *copy = NULL;

        if (n > EVENT_TEXT_MAX) {
                n = EVENT_TEXT_MAX;
                while (n > 0 && ((unsigned char) s[n] & 0xc0) == 0x80)
                        n--;
        }
        if (n > 0) {
                copy = strndup(s, n);
                if (!copy)
                        return -ENOMEM;
        }
        *ret = copy;
        return 0;
}

/* The text of an exit is why that was decided, which is not known yet. */
static bool is_repetition(const HistoryEvent *before, const HistoryEvent *e) {
        if (before->kind != e->kind || !IN_SET(e->kind, EVENT_EXITED, EVENT_FAILED))
                return false;
        if (before->code != e->code || before->signal != e->signal || !streq(before->reason, e->reason))
                return false;
        return e->kind == EVENT_EXITED || streq_ptr(before->text, e->text);
}

static int append(EventHistory *h, const HistoryEvent *e, HistoryEvent **ret) {
        char *text;
        int r;

        if (!GREEDY_REALLOC(h->events, h->n_allocated, h->n + 1))
                return -ENOMEM;
        r = copy_text(e->text, &text);
        if (r < 0)
                return r;
        if (h->n >= EVENT_HISTORY_MAX)
                remove_oldest(h);

        h->events[h->n] = *e;
        h->events[h->n].text = text;
        *ret = h->events + h->n++;
        return 0;
}

int event_history_add(EventHistory *h, const HistoryEvent *e, usec_t realtime, HistoryEvent **ret) {
        HistoryEvent *added = h->n > 0 ? h->events + h->n - 1 : NULL;
        int r;

        if (added && is_repetition(added, e)) {
                added->count++;
                added->ran = e->ran;
                added->decision = EVENT_DECISION_NONE;
        } else {
                r = append(h, e, &added);
                if (r < 0)
                        return r;
                added->count = 1;
                added->first = realtime;
        }

        added->last = realtime;
        if (ret)
                *ret = added;
        return 0;
}

int event_history_decide(EventHistory *h, EventDecision decision, const char *text) {
        for (size_t i = h->n; i > 0; i--) {
                HistoryEvent *e = h->events + i - 1;
                char *copy;
                int r;

                if (!IN_SET(e->kind, EVENT_EXITED, EVENT_FAILED))
                        continue;
                /* A restart that waited comes to pass: that is no other decision. */
                if (e->decision != EVENT_DECISION_NONE)
                        return 0;
                e->decision = decision;
                if (e->kind == EVENT_FAILED || streq_ptr(e->text, text))
                        return 0;

                r = copy_text(text, &copy);
                if (r < 0)
                        return r;
                free(e->text);
                e->text = copy;
                return 0;
        }
        return 0;
}

/* ---- JSON: an array for each event, as the state file is written whenever something happens ---- */

static json_object *save_event(const HistoryEvent *e) {
        json_object *a = json_object_new_array();
        json_object *const members[] = {
                json_object_new_string(event_kind_to_string(e->kind)),
                json_object_new_string(event_decision_to_string(e->decision)),
                json_object_new_uint64(e->first),
                json_object_new_uint64(e->last),
                json_object_new_uint64(e->count),
                json_object_new_int(e->code),
                json_object_new_int(e->signal),
                json_object_new_string(e->reason),
                json_object_new_uint64(e->ran),
                json_object_new_string(strempty(e->text)),
                json_object_new_uint64(e->uid),
                json_object_new_uint64(e->pid),
                json_object_new_string(e->command),
        };
        bool ok = a;

        for (size_t i = 0; i < ELEMENTSOF(members); i++)
                if (!members[i] || !ok || json_object_array_add(a, members[i]) < 0) {
                        json_object_put(members[i]);
                        ok = false;
                }
        if (ok)
                return a;
        json_object_put(a);
        return NULL;
}

int event_history_save(const EventHistory *h, size_t max, json_object **ret) {
        json_object *array = json_object_new_array(), *event;
        size_t begin = h->n, size = 0;

        while (begin > 0) {
                size += EVENT_SIZE + strlen(strempty(h->events[begin - 1].text));
                if (size > max)
                        break;
                begin--;
        }

        for (size_t i = begin; array && i < h->n; i++) {
                event = save_event(h->events + i);
                if (event && json_object_array_add(array, event) >= 0)
                        continue;
                json_object_put(event);
                json_object_put(array);
                array = NULL;
        }
        if (!array)
                return -ENOMEM;
        *ret = array;
        return 0;
}

static const char *get_string(json_object *a, size_t i) {
        return strempty(json_object_get_string(json_object_array_get_idx(a, i)));
}

static void get_name(json_object *a, size_t i, char *buf, size_t size) {
        const char *s = get_string(a, i);
        size_t n = strnlen(s, size - 1);

        memcpy(buf, s, n);
        buf[n] = 0;
}

static uint64_t get_uint(json_object *a, size_t i) {
        return json_object_get_uint64(json_object_array_get_idx(a, i));
}

static int restore_event(EventHistory *h, json_object *a) {
        HistoryEvent e = { .kind = event_kind_from_string(get_string(a, 0)) }, *added;
        int r;

        if (e.kind < 0)
                return 0;
        e.decision = MAX(event_decision_from_string(get_string(a, 1)), EVENT_DECISION_NONE);
        e.first = get_uint(a, 2);
        e.last = get_uint(a, 3);
        e.count = (unsigned) get_uint(a, 4);
        e.code = json_object_get_int(json_object_array_get_idx(a, 5));
        e.signal = json_object_get_int(json_object_array_get_idx(a, 6));
        get_name(a, 7, e.reason, sizeof e.reason);
        e.ran = get_uint(a, 8);
        e.text = (char *) get_string(a, 9);
        e.uid = (uint32_t) get_uint(a, 10);
        e.pid = (uint32_t) get_uint(a, 11);
        get_name(a, 12, e.command, sizeof e.command);

        r = append(h, &e, &added);
        return r;
}

int event_history_restore(EventHistory *h, json_object *o) {
        int r;

        if (!json_object_is_type(o, json_type_array))
                return 0;
        for (size_t i = 0; i < json_object_array_length(o); i++) {
                json_object *a = json_object_array_get_idx(o, i);

                if (!json_object_is_type(a, json_type_array))
                        continue;
                r = restore_event(h, a);
                if (r < 0)
                        return r;
        }
        return 0;
}
