/* SPDX-License-Identifier: MIT */
#include "pmd/app-action.h"
#include "pmd/app.h"
#include "pmd/manager.h"
#include "pmd/process-report.h"
#include "pmd/process.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"

#define ACTIONS_MAX 1024U

DEFINE_CLEANUP_FUNC(AppAction *, app_action_free)

AppAction *app_action_free(AppAction *a) {
        if (!a)
                return NULL;

        LIST_REMOVE(actions, a->manager->actions, a);
        a->manager->n_actions--;
        sd_event_source_disable_unref(a->timeout_source);
        sd_event_source_disable_unref(a->done_source);
        if (a->destroy)
                a->destroy(a->userdata);
        for (size_t i = 0; i < a->n_answers; i++)
                free(a->answers[i].text);
        free(a->answers);
        free(a->name);
        return mfree(a);
}

static int on_done(sd_event_source *s, void *userdata) {
        AppAction *a = ASSERT_PTR(userdata);

        a->done(a, a->userdata);
        app_action_free(a);
        return 0;
}

/* Takes the text. */
static void answer(AppAction *a, AppActionAnswer *x, const char *error_name, char *text) {
        x->error_name = error_name;
        x->text = text ?: strdup("");
        if (--a->n_waiting == 0)
                (void) sd_event_source_set_enabled(a->done_source, SD_EVENT_ONESHOT);
}

static AppActionAnswer *find_waiting(AppAction *a, const Process *p) {
        for (size_t i = 0; i < a->n_answers; i++)
                if (a->answers[i].process_id == p->id && !a->answers[i].text)
                        return a->answers + i;
        return NULL;
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *userdata) {
        AppAction *a = ASSERT_PTR(userdata);

        for (size_t i = 0; i < a->n_answers; i++) {
                AppActionAnswer *x = a->answers + i;

                if (!x->text)
                        answer(a, x, PMD_ERROR_NO_ANSWER, strprintf("Process %u did not answer to the action %s in time.", x->process_id, a->name));
        }
        return 0;
}

/* As pm2 does: the bare name, or an object with the parameters. */
static char *make_message(const Process *p, const char *name, json_object *parameters) {
        json_object *o;
        char *json;

        if (!parameters)
                o = json_object_new_string(name);
        else {
                o = json_object_new_object();
                (void) json_object_object_add(o, "msg", json_object_new_string(name));
                (void) json_object_object_add(o, "opts", json_object_get(parameters));
                (void) json_object_object_add(o, "id", json_object_new_uint64(p->id));
                (void) json_object_object_add(o, "name", json_object_new_string(p->app->name));
        }
        json = o ? strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)) : NULL;
        json_object_put(o);
        return json;
}

static void send_to(AppAction *a, AppActionAnswer *x, Process *p, json_object *parameters) {
        _cleanup_free_ char *message = NULL;
        int r;

        /* Who has told of none may have done so to a pmd that has ended. */
        if (process_report_has_actions(p->report) && !process_report_has_action(p->report, a->name))
                return answer(a, x, PMD_ERROR_NO_SUCH_ACTION, strprintf("Action doesn't exist %s for %s", a->name, p->app->name));

        message = make_message(p, a->name, parameters);
        r = message ? process_send_message(p, message) : -ENOMEM;
        if (r >= 0)
                return;
        if (r == -ENOTCONN && !process_is_running(p))
                return answer(a, x, PMD_ERROR_NOT_RUNNING, strprintf("Process %u of %s does not run.", p->id, p->app->name));
        if (r == -ENOTCONN)
                return answer(a, x, PMD_ERROR_NO_CHANNEL, strprintf("Process %u of %s has no channel for messages.", p->id, p->app->name));
        if (r == -ENOBUFS)
                return answer(a, x, PMD_ERROR_CHANNEL_FULL, strprintf("Process %u of %s does not read its messages.", p->id, p->app->name));
        answer(a, x, SD_BUS_ERROR_FAILED, strprintf("Cannot send a message to process %u of %s: %s", p->id, p->app->name, strerror(-r)));
}

int app_action_new(Manager *m, Process *const *processes, size_t n, const char *name, json_object *parameters, usec_t timeout,
                   app_action_done_t done, void (*destroy)(void *userdata), void *userdata, AppAction **ret) {
        _cleanup_(app_action_freep) AppAction *a = NULL;
        int r;

        if (m->n_actions >= ACTIONS_MAX)
                return -EBUSY;

        a = new0(AppAction, 1);
        if (!a)
                return -ENOMEM;
        a->manager = m;
        a->done = done;
        a->userdata = userdata;
        LIST_PREPEND(actions, m->actions, a);
        m->n_actions++;

        a->name = strdup(name);
        a->answers = new0(AppActionAnswer, n);
        if (!a->name || !a->answers)
                return -ENOMEM;
        r = sd_event_add_time_relative(m->event, &a->timeout_source, CLOCK_MONOTONIC, timeout, 0, on_timeout, a);
        if (r < 0)
                return r;
        r = sd_event_add_defer(m->event, &a->done_source, on_done, a);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(a->done_source, n > 0 ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n; i++)
                a->answers[i].process_id = processes[i]->id;
        a->n_answers = a->n_waiting = n;
        for (size_t i = 0; i < n; i++)
                send_to(a, a->answers + i, processes[i], parameters);

        a->destroy = destroy;
        *ret = TAKE_PTR(a);
        return 0;
}

static const char *get_action_name(json_object *packet) {
        json_object *data, *name;

        if (!json_object_object_get_ex(packet, "data", &data) || !json_object_object_get_ex(data, "action_name", &name))
                return NULL;
        return json_object_get_string(name);
}

void app_action_reply(Process *p, json_object *packet) {
        const char *name = get_action_name(packet);

        LIST_FOREACH(actions, a, p->manager->actions) {
                AppActionAnswer *x = streq_ptr(name, a->name) ? find_waiting(a, p) : NULL;

                if (x)
                        answer(a, x, NULL, strdup(json_object_to_json_string_ext(packet, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)));
        }
}

void app_action_process_ended(Process *p) {
        /* Another has its number by now. */
        if (p->role != PROCESS_CURRENT)
                return;

        LIST_FOREACH(actions, a, p->manager->actions) {
                AppActionAnswer *x = find_waiting(a, p);

                if (x)
                        answer(a, x, PMD_ERROR_NOT_RUNNING, strprintf("Process %u of %s ended before it answered.", p->id, p->app->name));
        }
}
