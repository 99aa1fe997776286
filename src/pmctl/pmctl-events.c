/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "pmctl/pmctl-util.h"
#include "shared/string-util.h"

static const char *get_string(json_object *o, const char *key) {
        return strempty(json_object_get_string(json_object_object_get(o, key)));
}

/* "[web](0) ", of whom it is. */
static void print_process(json_object *process) {
        _cleanup_free_ char *name = string_escape_cc(get_string(process, "name"));
        json_object *id = json_object_object_get(process, "pm_id");

        if (!process)
                return;
        if (json_object_is_type(id, json_type_string)) /* pmd itself */
                printf("[%s] ", strempty(name));
        else
                printf("[%s](%s) ", strempty(name), strempty(json_object_get_string(id)));
}

static void print_escaped(const char *s) {
        _cleanup_free_ char *text = string_escape_cc(s);

        printf("%s", strempty(text));
}

/* What there is to say beside the name and the process. */
static void print_content(const char *event, json_object *packet) {
        json_object *content = packet;

        if (streq(event, "process:event")) {
                print_escaped(get_string(packet, "event"));
                return;
        }
        if (startswith(event, "log:")) {
                _cleanup_free_ char *line = strdup(get_string(packet, "data"));

                if (line)
                        line[strcspn(line, "\n")] = '\0';
                print_escaped(strempty(line));
                return;
        }
        if (streq(event, "pmd:skipped")) {
                printf("%s events are missing here", get_string(packet, "skipped"));
                return;
        }
        if (streq(event, "pmd:resumed")) {
                printf("pmd was restarted; what happened meanwhile is missing here");
                return;
        }
        if (!json_object_object_get_ex(packet, "data", &content) && !json_object_object_get_ex(packet, "raw", &content))
                content = packet;
        printf("%s", content ? json_object_to_json_string_ext(content, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE) : "null");
}

static void print_time(json_object *packet) {
        time_t t = (time_t) (json_object_get_int64(json_object_object_get(packet, "at")) / 1000);
        char text[32];
        struct tm tm;

        if (t == 0 || !localtime_r(&t, &tm) || strftime(text, sizeof text, "%F %T", &tm) == 0)
                return;
        printf("%s ", text);
}

static void print_event(const Options *o, const char *name, const char *packet) {
        _cleanup_free_ char *escaped = string_escape_cc(name);
        json_object *p = json_tokener_parse(packet);

        print_time(p);
        printf("%s%s%s ", color(o, COLOR_CYAN), strempty(escaped), color(o, COLOR_NORMAL));
        print_process(json_object_object_get(p, "process"));
        print_content(name, p);
        putchar('\n');
        json_object_put(p);
}

static void print_event_json(const char *name, const char *packet) {
        json_object *s = json_object_new_string(name);

        printf("{\"event\":%s,\"packet\":%s}\n", s ? json_object_to_json_string_ext(s, JSON_C_TO_STRING_PLAIN) : "null", packet);
        json_object_put(s);
}

typedef struct Listener {
        const Options *options;
        bool killed; /* the end of pmd is on purpose */
} Listener;

static void on_event(pmd_connection *c, const char *name, const char *packet, void *userdata) {
        Listener *l = userdata;

        l->killed = l->killed || streq(name, "pm2:kill");
        if (l->options->json)
                print_event_json(name, packet);
        else
                print_event(l->options, name, packet);
}

int verb_events(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        Listener l = { .options = o };
        int r;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;
        r = pmd_subscribe_events(c, argv + 1, on_event, &l, &e);
        if (r < 0)
                return report_error(o, r, &e);

        while (!l.killed) {
                r = pmd_dispatch(c);
                if (r < 0)
                        break;
                if (r > 0)
                        continue;
                if (fflush(stdout) != 0)
                        return EXIT_CODE_FAILED;
                r = pmd_wait(c, UINT64_MAX);
                if (r < 0 && r != -EINTR)
                        break;
        }
        (void) fflush(stdout);
        if (l.killed)
                return EXIT_CODE_OK;
        message_error(o, "The connection to pmd broke: it has ended or was restarted.");
        return exit_code_from_error(r, NULL);
}
