/* SPDX-License-Identifier: MIT */
#include "pmd/event-bus.h"

#include "pmd/app-action.h"
#include "pmd/app.h"
#include "pmd/manager.h"
#include "pmd/process-report.h"
#include "shared/log.h"
#include "shared/string-util.h"

#define MESSAGE_DEPTH_MAX 64

static uint64_t now_msec(void) {
        return now(CLOCK_REALTIME) / USEC_PER_MSEC;
}

static bool is_wanted(const Manager *m, const char *name) {
        return m->event_sink && m->event_sink->wants(name, m->event_sink->userdata);
}

/* Takes the packet. */
static void publish(Manager *m, const char *name, json_object *packet) {
        const char *json;
        size_t n = 0;

        json = packet ? json_object_to_json_string_length(packet, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n) : NULL;
        if (json)
                m->event_sink->publish(name, json, n, m->event_sink->userdata);
        else
                log_oom();
        json_object_put(packet);
}

static void put(json_object *o, const char *key, json_object *value) {
        (void) json_object_object_add(o, key, value);
}

/* ---- processes ---- */

static void publish_process_event(Process *p, const char *event, bool manually) {
        json_object *packet;

        if (!is_wanted(p->manager, "process:event"))
                return;

        packet = json_object_new_object();
        put(packet, "event", json_object_new_string(event));
        put(packet, "manually", json_object_new_boolean(manually));
        put(packet, "process", event_pm2_env(p));
        put(packet, "at", json_object_new_uint64(now_msec()));
        publish(p->manager, "process:event", packet);
}

void event_bus_process_changed(Process *p, ProcessField changed) {
        if (changed & PROCESS_FIELD_EXIT) {
                publish_process_event(p, "exit", false);
                app_action_process_ended(p);
                p->report = process_report_free(p->report);
        }
        if (!(changed & PROCESS_FIELD_STATUS))
                return;
        if (p->state == PROCESS_ONLINE)
                publish_process_event(p, "online", false);
        else if (p->state == PROCESS_ERRORED && p->spawn_error >= 0 && p->role == PROCESS_CURRENT)
                publish_process_event(p, "restart overlimit", false);
}

void event_bus_process_done(Process *p, const char *verb, bool manually) {
        publish_process_event(p, verb, manually);
}

/* ---- lines ---- */

/* Bytes that are no UTF-8 become U+FFFD, as Node does it. */
static char *replace_invalid(const char *s, size_t n, size_t *ret_n) {
        char *t = new(char, n * 3 + 1), *to = t;

        if (!t)
                return NULL;
        for (size_t i = 0, k; i < n; i += k) {
                for (k = 1; k < 4 && i + k < n && !utf8_is_valid(s + i, k); k++)
                        ;
                if (utf8_is_valid(s + i, k)) {
                        to = (char *) mempcpy(to, s + i, k);
                        continue;
                }
                k = 1;
                to = (char *) mempcpy(to, "\xef\xbf\xbd", 3);
        }
        *ret_n = (size_t) (to - t);
        return t;
}

static json_object *new_text(const char *s, size_t n) {
        _cleanup_free_ char *valid = NULL;

        if (n > (size_t) INT32_MAX / 4)
                return NULL;
        if (utf8_is_valid(s, n))
                return json_object_new_string_len(s, (int) n);
        valid = replace_invalid(s, n, &n);
        return valid ? json_object_new_string_len(valid, (int) n) : NULL;
}

static json_object *new_line(const LogLine *line) {
        _cleanup_free_ char *text = NULL;

        if (line->end != LOG_LINE_END_NEWLINE)
                return new_text(line->data, line->size);
        text = new(char, line->size + 1);
        if (!text)
                return NULL;
        memcpy(text, line->data, line->size);
        text[line->size] = '\n';
        return new_text(text, line->size + 1);
}

/* name, namespace NULL: left out */
static void publish_line(Manager *m, const char *event, json_object *id, const char *name, const char *name_space, json_object *data) {
        json_object *packet = json_object_new_object(), *process = json_object_new_object();

        put(process, "pm_id", id);
        put(process, "name", json_object_new_string(name));
        put(process, "rev", NULL);
        if (name_space)
                put(process, "namespace", json_object_new_string(name_space));
        put(packet, "process", process);
        put(packet, "at", json_object_new_uint64(now_msec()));
        put(packet, "data", data);
        publish(m, event, packet);
}

void event_bus_line(Manager *m, const LogTapLine *line) {
        const char *event = line->kind == LOG_STREAM_OUT ? "log:out" : "log:err";
        const Process *p = manager_get_process(m, line->id);

        if (!p || !is_wanted(m, event))
                return;
        publish_line(m, event, json_object_new_uint64(line->id), p->app->name, p->config->name_space, new_line(&line->line));
}

void event_bus_own_line(Manager *m, const char *text) {
        _cleanup_free_ char *line = NULL;

        if (!is_wanted(m, "log:PM2"))
                return;
        line = strjoin(text, "\n");
        if (line)
                publish_line(m, "log:PM2", json_object_new_string("PM2"), "PM2", NULL, new_text(line, strlen(line)));
}

/* ---- pmd ---- */

void event_bus_killed(Manager *m) {
        json_object *packet;

        if (!is_wanted(m, "pm2:kill"))
                return;
        packet = json_object_new_object();
        put(packet, "status", json_object_new_string("killed"));
        put(packet, "msg", json_object_new_string("pmd has stopped all apps and ends"));
        publish(m, "pm2:kill", packet);
}

char *event_bus_skipped_packet(uint64_t n) {
        return strprintf("{\"skipped\":%" PRIu64 ",\"at\":%" PRIu64 "}", n, now_msec());
}

/* ---- messages of apps ---- */

/* NULL is a message as well. */
static int parse_message(const char *json, size_t n, json_object **ret) {
        json_tokener *t;
        json_object *o;
        int r = 0;

        if (n >= INT32_MAX)
                return -E2BIG;
        t = json_tokener_new_ex(MESSAGE_DEPTH_MAX);
        if (!t)
                return -ENOMEM;
        json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        o = json_tokener_parse_ex(t, json, (int) n);
        if (json_tokener_get_error(t) == json_tokener_continue) /* a number ends with what follows it */
                o = json_tokener_parse_ex(t, "\n", 1);
        if (json_tokener_get_error(t) == json_tokener_success)
                *ret = o;
        else {
                json_object_put(o);
                r = -EINVAL;
        }
        json_tokener_free(t);
        return r;
}

/* Most messages are for nobody: they need not be understood. */
static bool may_be_ours(const char *json, size_t n) {
        return memmem(json, n, "axm:", 4) || memmem(json, n, "node_version", 12);
}

static void publish_message(Process *p, json_object *message) {
        _cleanup_free_ char *name = NULL;
        json_object *packet;

        if (event_packet_from_message(p, message, now_msec(), &name, &packet) < 0) {
                log_oom();
                return;
        }
        if (streq(name, "axm:reply"))
                app_action_reply(p, packet);
        if (is_wanted(p->manager, name))
                publish(p->manager, name, packet);
        else
                json_object_put(packet);
}

void manager_process_message(Process *p, const char *json, size_t n) {
        json_object *message;
        int r;

        if (!p->manager->event_sink && !may_be_ours(json, n))
                return;

        r = parse_message(json, n, &message);
        if (r < 0) {
                log_debug_errno(r, "Failed to read a message of process %u, ignoring: %m", p->id);
                return;
        }
        if (!process_report_take(&p->report, message))
                publish_message(p, message);
        json_object_put(message);
}
