/* SPDX-License-Identifier: MIT */
#include "libpmd/pmd-internal.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* Events, and messages to apps. */

struct EventSubscription {
        char **filters;
        pmd_event_t callback;
        void *userdata;
        sd_bus_slot *slot, *resubscribe_slot;
};

static EventSubscription *event_subscription_free(EventSubscription *s) {
        if (!s)
                return NULL;
        sd_bus_slot_unref(s->slot);
        sd_bus_slot_unref(s->resubscribe_slot);
        strv_free(s->filters);
        return mfree(s);
}
DEFINE_CLEANUP_FUNC(EventSubscription *, event_subscription_free)

void connection_drop_events(pmd_connection *c) {
        c->events = event_subscription_free(c->events);
}

/* The callback may close the connection. */
static int on_event(sd_bus_message *m, void *userdata, sd_bus_error *reterr_unused) {
        pmd_connection *c = ASSERT_PTR(userdata);
        const char *name, *packet;

        if (sd_bus_message_read(m, "ss", &name, &packet) >= 0)
                c->events->callback(c, name, packet, c->events->userdata);
        return 0;
}

static int new_subscribe_call(pmd_connection *c, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "SubscribeEvents", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append_strv(m, c->events->filters);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

/* Listens on the present sd_bus, and to the end of the pmd behind it. */
static int watch_events(pmd_connection *c) {
        EventSubscription *s = c->events;
        int r;

        r = connection_watch_pmd(c);
        if (r < 0)
                return r;
        s->slot = sd_bus_slot_unref(s->slot);
        return sd_bus_match_signal_async(c->bus, &s->slot, c->on_broker ? PMD_BUS_NAME : NULL, PMD_PATH, PMD_INTERFACE_MANAGER, "Event",
                                         on_event, NULL, c);
}

/* The next pmd has taken the subscription. The callback may close the connection. */
static int on_resubscribed(sd_bus_message *m, void *userdata, sd_bus_error *reterr_unused) {
        pmd_connection *c = ASSERT_PTR(userdata);
        _cleanup_free_ char *packet = NULL;

        if (sd_bus_message_is_method_error(m, NULL))
                return 0;
        packet = strprintf("{\"at\":%" PRIu64 "}", now(CLOCK_REALTIME) / USEC_PER_MSEC);
        if (packet)
                c->events->callback(c, "pmd:resumed", packet, c->events->userdata);
        return 0;
}

int connection_resubscribe_events(pmd_connection *c) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        if (!c->events)
                return 0;

        r = watch_events(c);
        if (r < 0)
                return r;
        r = new_subscribe_call(c, &m);
        if (r < 0)
                return r;
        c->events->resubscribe_slot = sd_bus_slot_unref(c->events->resubscribe_slot);
        return sd_bus_call_async(c->bus, &c->events->resubscribe_slot, m, on_resubscribed, c, c->timeout_usec);
}

static int subscribe(pmd_connection *c, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = watch_events(c);
        if (r >= 0)
                r = new_subscribe_call(c, &m);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        return connection_call(c, m, c->timeout_usec, NULL, reterr);
}

_public_ int pmd_subscribe_events(pmd_connection *c, char *const *filters, pmd_event_t callback, void *userdata, pmd_error *reterr) {
        _cleanup_(event_subscription_freep) EventSubscription *s = NULL, *before = NULL;
        int r;

        s = new0(EventSubscription, 1);
        if (!s)
                return error_from_errno(c, -ENOMEM, reterr);
        s->callback = callback;
        s->userdata = userdata;
        if (filters) {
                s->filters = strv_copy(filters);
                if (!s->filters)
                        return error_from_errno(c, -ENOMEM, reterr);
        }

        before = c->events;
        c->events = s;
        r = subscribe(c, reterr);
        if (r < 0) {
                c->events = TAKE_PTR(before);
                return r;
        }
        TAKE_PTR(s);
        return 0;
}

_public_ int pmd_unsubscribe_events(pmd_connection *c, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        connection_drop_events(c);
        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "UnsubscribeEvents", &m);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        return connection_call(c, m, c->timeout_usec, NULL, reterr);
}

/* ---- messages ---- */

static int call_with_text(pmd_connection *c, const char *member, uint32_t id, const char *text, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, member, &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "us", id, text);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        return connection_call(c, m, c->timeout_usec, NULL, reterr);
}

_public_ int pmd_send_message(pmd_connection *c, uint32_t id, const char *json, pmd_error *reterr) {
        return call_with_text(c, "SendMessage", id, json, reterr);
}

_public_ int pmd_send_line(pmd_connection *c, uint32_t id, const char *line, pmd_error *reterr) {
        return call_with_text(c, "SendLine", id, line, reterr);
}

_public_ void pmd_answer_free_many(pmd_answer *a, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free(a[i].packet);
                free(a[i].error_name);
                free(a[i].error_message);
        }
        free(a);
}

static int answer_fill(pmd_answer *a, uint32_t id, const char *error_name, const char *text) {
        *a = (pmd_answer) { .process_id = id };
        if (isempty(error_name)) {
                a->packet = strdup(text);
                return a->packet ? 0 : -ENOMEM;
        }
        a->error_name = strdup(error_name);
        a->error_message = strdup(text);
        return a->error_name && a->error_message ? 0 : -ENOMEM;
}

typedef struct AnswerList {
        pmd_answer *items;
        size_t n, n_allocated;
} AnswerList;

static void answer_list_done(AnswerList *l) {
        pmd_answer_free_many(l->items, l->n);
}

static int read_answers(sd_bus_message *m, AnswerList *l) {
        const char *error_name, *text;
        uint32_t id;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(uss)");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(m, "(uss)", &id, &error_name, &text)) > 0) {
                if (!GREEDY_REALLOC(l->items, l->n_allocated, l->n + 1))
                        return -ENOMEM;
                r = answer_fill(l->items + l->n++, id, error_name, text);
                if (r < 0)
                        return r;
        }
        return r;
}

_public_ int pmd_trigger(pmd_connection *c, char *const *targets, const char *action, const char *parameters, uint64_t timeout_usec, pmd_answer **ret,
                         size_t *ret_n, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(answer_list_done) AnswerList l = {};
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "Trigger", &m);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) targets);
        if (r >= 0)
                r = sd_bus_message_append(m, "sst", action, strempty(parameters), timeout_usec);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        /* pmd answers when the time is over. */
        r = connection_call(c, m, UINT64_MAX, &reply, reterr);
        if (r < 0)
                return r;
        r = read_answers(reply, &l);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        *ret = TAKE_PTR(l.items);
        *ret_n = TAKE_GENERIC(l.n, 0);
        return 0;
}

/* ---- reports ---- */

_public_ void pmd_report_free_many(pmd_report *r, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(r[i].json);
        free(r);
}

typedef struct ReportList {
        pmd_report *items;
        size_t n, n_allocated;
} ReportList;

static void report_list_done(ReportList *l) {
        pmd_report_free_many(l->items, l->n);
}

static int read_reports(sd_bus_message *m, ReportList *l) {
        const char *json;
        uint32_t id;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(us)");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(m, "(us)", &id, &json)) > 0) {
                if (!GREEDY_REALLOC(l->items, l->n_allocated, l->n + 1))
                        return -ENOMEM;
                l->items[l->n++] = (pmd_report) { id, strdup(json) };
                if (!l->items[l->n - 1].json)
                        return -ENOMEM;
        }
        return r;
}

_public_ int pmd_list_reports(pmd_connection *c, char *const *targets, pmd_report **ret, size_t *ret_n, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(report_list_done) ReportList l = {};
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "ListReports", &m);
        /* No list is worth a password. */
        if (r >= 0)
                r = sd_bus_message_set_allow_interactive_authorization(m, false);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) targets);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        r = connection_call(c, m, c->timeout_usec, &reply, reterr);
        if (r < 0)
                return r;
        r = read_reports(reply, &l);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        *ret = TAKE_PTR(l.items);
        *ret_n = TAKE_GENERIC(l.n, 0);
        return 0;
}
