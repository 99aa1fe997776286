/* SPDX-License-Identifier: MIT */
#include <fnmatch.h>

#include "pmd/app.h"
#include "pmd/bus-face.h"
#include "pmd/bus-request.h"
#include "pmd/event-bus.h"
#include "pmd/manager-event-bus.h"
#include "pmd/manager.h"
#include "pmd/process-report.h"
#include "shared/log.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define SUBSCRIBERS_MAX 512U
#define FILTERS_MAX 64U
#define FILTER_LENGTH_MAX 256U

/* What a subscriber may leave unread. A broker takes everything at once, so it is not the socket that tells: after some events the subscriber is
 * pinged, and as messages are read in order its answer says how far it has come. */
#define UNREAD_EVENTS_MAX 1024U
#define UNREAD_BYTES_MAX (8U * 1024U * 1024U)
#define PING_EVENTS 64U
#define PING_BYTES (256U * 1024U)

/* Larger than this no event is. */
#define EVENT_SIZE_MAX (32U * 1024U * 1024U)

typedef struct Amount {
        uint64_t events, bytes;
} Amount;

typedef struct EventSubscriber {
        BusFace *face;
        sd_bus *bus;
        char *name;          /* unique name on the broker; NULL peer to peer */
        sd_bus_track *track; /* of that */
        char **filters;      /* empty: everything */
        Amount unread, pinged; /* not known to be read; the part of it that the ping asks about */
        sd_bus_slot *ping_slot; /* NULL: no ping is under way */
        uint64_t n_skipped;
        LIST_FIELDS(struct EventSubscriber, subscribers);
} EventSubscriber;

static void update_sink(BusFace *f);

static EventSubscriber *subscriber_free(EventSubscriber *s) {
        if (!s)
                return NULL;
        sd_bus_slot_unref(s->ping_slot);
        sd_bus_track_unref(s->track);
        sd_bus_unref(s->bus);
        strv_free(s->filters);
        free(s->name);
        return mfree(s);
}
DEFINE_CLEANUP_FUNC(EventSubscriber *, subscriber_free)

static void subscriber_remove(EventSubscriber *s) {
        BusFace *f = s->face;

        LIST_REMOVE(subscribers, f->subscribers, s);
        f->n_subscribers--;
        subscriber_free(s);
        update_sink(f);
}

/* ---- delivery ---- */

static bool filters_match(char *const *filters, const char *name) {
        if (strv_isempty(filters))
                return true;
        STRV_FOREACH(f, filters)
                if (fnmatch(*f, name, FNM_NOESCAPE) == 0)
                        return true;
        return false;
}

static int on_pong(sd_bus_message *message, void *userdata, sd_bus_error *reterr);

static int ping(EventSubscriber *s) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(s->bus, &m, s->name, "/", "org.freedesktop.DBus.Peer", "Ping");
        if (r < 0)
                return r;
        r = sd_bus_message_set_auto_start(m, false);
        if (r < 0)
                return r;
        r = sd_bus_call_async(s->bus, &s->ping_slot, m, on_pong, s, UINT64_MAX);
        if (r < 0)
                return r;
        s->pinged = s->unread;
        return 0;
}

static int send_event(EventSubscriber *s, const char *name, const char *json, size_t n) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_signal(s->bus, &m, PMD_PATH, PMD_INTERFACE_MANAGER, "Event");
        if (r < 0)
                return r;
        if (s->name) {
                r = sd_bus_message_set_destination(m, s->name);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_append(m, "ss", name, json);
        if (r < 0)
                return r;
        r = sd_bus_send(s->bus, m, NULL);
        if (r < 0)
                return r;

        s->unread.events++;
        s->unread.bytes += n;
        if (!s->ping_slot && (s->unread.events >= PING_EVENTS || s->unread.bytes >= PING_BYTES))
                return ping(s);
        return 0;
}

static bool has_room(const EventSubscriber *s, size_t n) {
        if (n > EVENT_SIZE_MAX || s->unread.events >= UNREAD_EVENTS_MAX)
                return false;
        return s->unread.bytes == 0 || s->unread.bytes + n <= UNREAD_BYTES_MAX;
}

static void tell_skipped(EventSubscriber *s) {
        _cleanup_free_ char *packet = event_bus_skipped_packet(s->n_skipped);
        int r;

        if (!packet) {
                log_oom();
                return;
        }
        r = send_event(s, "pmd:skipped", packet, strlen(packet));
        if (r < 0) {
                log_debug_errno(r, "Failed to tell a subscriber what it misses, ignoring: %m");
                return;
        }
        s->n_skipped = 0;
}

/* Who misses some is told so before it gets the next one. */
static void deliver(EventSubscriber *s, const char *name, const char *json, size_t n) {
        int r;

        if (s->n_skipped > 0 && !s->ping_slot)
                tell_skipped(s);
        if (s->n_skipped > 0 || !has_room(s, n)) {
                s->n_skipped++;
                return;
        }
        r = send_event(s, name, json, n);
        if (r < 0) {
                log_debug_errno(r, "Failed to send an event, ignoring: %m");
                s->n_skipped++;
        }
}

static int on_pong(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        EventSubscriber *s = ASSERT_PTR(userdata);

        s->ping_slot = sd_bus_slot_unref(s->ping_slot);
        s->unread.events -= s->pinged.events;
        s->unread.bytes -= s->pinged.bytes;
        if (s->n_skipped > 0)
                tell_skipped(s);
        if (!s->ping_slot && s->unread.events >= PING_EVENTS)
                (void) ping(s);
        return 0;
}

/* ---- what the event bus asks ---- */

static bool sink_wants(const char *name, void *userdata) {
        BusFace *f = ASSERT_PTR(userdata);

        LIST_FOREACH(subscribers, s, f->subscribers)
                if (filters_match(s->filters, name))
                        return true;
        return false;
}

static void sink_publish(const char *name, const char *json, size_t n, void *userdata) {
        BusFace *f = ASSERT_PTR(userdata);

        LIST_FOREACH(subscribers, s, f->subscribers)
                if (filters_match(s->filters, name))
                        deliver(s, name, json, n);
}

static void skip_lines(BusFace *f, uint64_t n) {
        LIST_FOREACH(subscribers, s, f->subscribers) {
                if (!filters_match(s->filters, "log:out") && !filters_match(s->filters, "log:err"))
                        continue;
                s->n_skipped += n;
                if (!s->ping_slot)
                        tell_skipped(s);
        }
}

static void on_line(const LogTapLine *line, void *userdata) {
        BusFace *f = ASSERT_PTR(userdata);

        if (line->n_skipped > 0)
                skip_lines(f, line->n_skipped);
        if (line->line.data)
                event_bus_line(f->manager, line);
}

/* Nothing is made for nobody: events are built while there are subscribers, lines are copied while somebody wants them. */
static void update_sink(BusFace *f) {
        bool lines = f->subscribers && (sink_wants("log:out", f) || sink_wants("log:err", f));

        f->event_sink = (EventSink) { sink_wants, sink_publish, f };
        f->manager->event_sink = f->subscribers ? &f->event_sink : NULL;
        if (lines != f->has_tap)
                log_relay_set_tap(f->manager->log_relay, lines, on_line, f);
        f->has_tap = lines;
}

/* ---- subscriptions ---- */

static EventSubscriber *find_subscriber(BusFace *f, sd_bus *bus, const char *name) {
        LIST_FOREACH(subscribers, s, f->subscribers)
                if (s->bus == bus && streq_ptr(s->name, name))
                        return s;
        return NULL;
}

static int on_subscriber_gone(sd_bus_track *track, void *userdata) {
        subscriber_remove(ASSERT_PTR(userdata));
        return 0;
}

static int subscriber_new(BusFace *f, sd_bus_message *message, EventSubscriber **ret) {
        _cleanup_(subscriber_freep) EventSubscriber *s = NULL;
        const char *sender = sd_bus_message_get_sender(message);
        int r;

        s = new0(EventSubscriber, 1);
        if (!s)
                return -ENOMEM;
        s->face = f;
        s->bus = sd_bus_ref(sd_bus_message_get_bus(message));
        if (sender) {
                s->name = strdup(sender);
                if (!s->name)
                        return -ENOMEM;
                r = sd_bus_track_new(s->bus, &s->track, on_subscriber_gone, s);
                if (r < 0)
                        return r;
                r = sd_bus_track_add_sender(s->track, message);
                if (r < 0)
                        return r;
        }

        LIST_APPEND(subscribers, f->subscribers, s);
        f->n_subscribers++;
        *ret = TAKE_PTR(s);
        return 0;
}

static int read_filters(sd_bus_message *message, char ***ret, sd_bus_error *reterr) {
        _cleanup_strv_free_ char **filters = NULL;
        int r;

        r = sd_bus_message_read_strv(message, &filters);
        if (r < 0)
                return r;
        if (strv_length(filters) > FILTERS_MAX)
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS, "More than %u filters.", FILTERS_MAX);
        STRV_FOREACH(f, filters)
                if (isempty(*f) || strlen(*f) > FILTER_LENGTH_MAX)
                        return sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS, "A filter is empty or longer than %u bytes.", FILTER_LENGTH_MAX);

        *ret = TAKE_PTR(filters);
        return 0;
}

int method_subscribe_events(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_strv_free_ char **filters = NULL;
        Manager *m = ASSERT_PTR(userdata);
        BusFace *f = m->bus_face;
        EventSubscriber *s;
        int r;

        r = read_filters(message, &filters, reterr);
        if (r < 0)
                return r;
        r = bus_request_authorize_owner(m, message, (uid_t) -1, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        s = find_subscriber(f, sd_bus_message_get_bus(message), sd_bus_message_get_sender(message));
        if (!s) {
                if (f->n_subscribers >= SUBSCRIBERS_MAX)
                        return sd_bus_error_setf(reterr, SD_BUS_ERROR_LIMITS_EXCEEDED, "%u clients listen to events already.", f->n_subscribers);
                r = subscriber_new(f, message, &s);
                if (r < 0)
                        return r;
        }
        strv_free(s->filters);
        s->filters = TAKE_PTR(filters);
        update_sink(f);
        return sd_bus_reply_method_return(message, NULL);
}

int method_unsubscribe_events(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        EventSubscriber *s = find_subscriber(m->bus_face, sd_bus_message_get_bus(message), sd_bus_message_get_sender(message));

        if (s)
                subscriber_remove(s);
        return sd_bus_reply_method_return(message, NULL);
}

void event_bus_forget_connection(BusFace *f, sd_bus *bus) {
        LIST_FOREACH_SAFE(subscribers, s, f->subscribers)
                if (s->bus == bus)
                        subscriber_remove(s);
}

/* ---- what apps tell of themselves ---- */

static int append_report(sd_bus_message *reply, const Process *p) {
        json_object *o = process_report_to_json(p->report);
        const char *json = o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;
        int r;

        r = json ? sd_bus_message_append(reply, "(us)", p->id, json) : -ENOMEM;
        json_object_put(o);
        return r;
}

/* (uid_t) -1 if they have several: none of them is good for what belongs to the others. */
static uid_t common_owner(Process *const *processes, size_t n) {
        for (size_t i = 1; i < n; i++)
                if (processes[i]->app->owner != processes[0]->app->owner)
                        return (uid_t) -1;
        return n > 0 ? processes[0]->app->owner : (uid_t) -1;
}

int method_list_reports(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ Process **processes = NULL;
        Manager *m = ASSERT_PTR(userdata);
        size_t n;
        int r;

        r = bus_request_read_targets(m, message, true, &processes, &n, reterr);
        if (r < 0)
                return r;
        r = bus_request_authorize_owner(m, message, common_owner(processes, n), reterr);
        if (r <= 0)
                return r < 0 ? r : 1;
        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(us)");
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                r = processes[i]->report ? append_report(reply, processes[i]) : 0;
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}
