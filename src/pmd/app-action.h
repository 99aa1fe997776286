/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-event.h>

#include "pmd/pmd-forward.h"
#include "shared/list.h"
#include "shared/time-util.h"

/* An action of apps that was triggered: a message goes to each of the processes, and each is waited for until it answers ("axm:reply"), ends,
 * or the time is over. */

typedef struct AppActionAnswer {
        unsigned process_id;
        const char *error_name; /* static: org.pmd1.Error.…; NULL: it answered */
        char *text;             /* the packet of the answer, or a message for people; NULL: still to come */
} AppActionAnswer;

typedef void (*app_action_done_t)(AppAction *a, void *userdata); /* it is freed afterwards */

struct AppAction {
        Manager *manager;
        char *name;
        AppActionAnswer *answers;
        size_t n_answers, n_waiting;
        sd_event_source *timeout_source, *done_source;
        app_action_done_t done;
        void (*destroy)(void *userdata);
        void *userdata;
        LIST_FIELDS(AppAction, actions); /* of the Manager */
};

/* parameters: JSON, NULL for none. done() comes from the event loop, then
 * destroy(), which comes alone if it is freed before; neither comes if this fails. -EBUSY: too many are under way. */
int app_action_new(Manager *m, Process *const *processes, size_t n, const char *name, json_object *parameters, usec_t timeout,
                   app_action_done_t done, void (*destroy)(void *userdata), void *userdata, AppAction **ret);
AppAction *app_action_free(AppAction *a); 

/* What the event bus tells. */
void app_action_reply(Process *p, json_object *packet);
void app_action_process_ended(Process *p);
