/* SPDX-License-Identifier: MIT */
#include <json-c/json.h>

#include "pmd/app-action.h"
#include "pmd/app.h"
#include "pmd/bus-polkit.h"
#include "pmd/bus-request.h"
#include "pmd/manager-message-bus.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/bus-util.h"
#include "shared/json-util.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"

#define MESSAGE_DEPTH_MAX 64
#define MESSAGE_SIZE_MAX (16U * 1024U * 1024U)
#define ACTION_LENGTH_MAX 1024U
#define ACTION_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define ACTION_TIMEOUT_MAX_USEC (60 * 60 * USEC_PER_SEC)

static int set_send_error(const Process *p, int error, sd_bus_error *reterr) {
        const char *name = p->app->name;

        switch (error) {
        case -ENOTCONN:
                if (!process_is_running(p))
                        return sd_bus_error_setf(reterr, PMD_ERROR_NOT_RUNNING, "Process with ID %u offline.", p->id);
                return sd_bus_error_setf(reterr, PMD_ERROR_NO_CHANNEL, "Process %u (%s) has no channel for messages.", p->id, name);
        case -ENOBUFS:
                return sd_bus_error_setf(reterr, PMD_ERROR_CHANNEL_FULL, "Process %u (%s) does not read what it is sent.", p->id, name);
        default:
                return sd_bus_error_set_errno(reterr, error);
        }
}

static int unknown_process(uint32_t id, sd_bus_error *reterr) {
        return sd_bus_error_setf(reterr, PMD_ERROR_NO_SUCH_PROCESS, "Process with ID %u unknown.", id);
}

/* Any JSON value; NULL is null. */
static int parse_json(const char *text, json_object **ret, sd_bus_error *reterr) {
        enum json_tokener_error error;
        json_tokener *t;
        json_object *o;

        if (strlen(text) > MESSAGE_SIZE_MAX)
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS, "A message is longer than %u bytes.", MESSAGE_SIZE_MAX);
        t = json_tokener_new_ex(MESSAGE_DEPTH_MAX);
        if (!t)
                return -ENOMEM;
        json_tokener_set_flags(t, JSON_TOKENER_STRICT);
        o = json_tokener_parse_ex(t, text, (int) strlen(text) + 1);
        error = json_tokener_get_error(t);
        json_tokener_free(t);
        if (error != json_tokener_success) {
                json_object_put(o);
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS, "The message is no valid JSON: %s.", json_tokener_error_desc(error));
        }
        *ret = o;
        return 0;
}

int method_send_message(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(json_object_putp) json_object *o = NULL;
        Manager *m = ASSERT_PTR(userdata);
        const char *text;
        uint32_t id;
        Process *p;
        int r;

        r = sd_bus_message_read(message, "us", &id, &text);
        if (r < 0)
                return r;
        r = parse_json(text, &o, reterr);
        if (r < 0)
                return r;
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        p = manager_get_process(m, id);
        if (!p)
                return unknown_process(id, reterr);
        /* On one line, as the channel needs it. */
        r = process_send_message(p, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        if (r < 0)
                return set_send_error(p, r, reterr);
        return sd_bus_reply_method_return(message, NULL);
}

static int set_input_error(const Process *p, int error, sd_bus_error *reterr) {
        if (!process_is_running(p))
                return set_send_error(p, -ENOTCONN, reterr);
        if (error == -ENOTCONN)
                return sd_bus_error_setf(reterr, PMD_ERROR_NO_STDIN,
                                         "Process %u (%s) has no standard input. Start it with --stdin, or \"stdin\": true in its definition.",
                                         p->id, p->app->name);
        if (error == -EPIPE)
                return sd_bus_error_setf(reterr, PMD_ERROR_NO_STDIN, "Process %u (%s) has closed its standard input.", p->id, p->app->name);
        return set_send_error(p, error, reterr);
}

int method_send_line(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_free_ char *text = NULL;
        Manager *m = ASSERT_PTR(userdata);
        const char *line;
        uint32_t id;
        Process *p;
        int r;

        r = sd_bus_message_read(message, "us", &id, &line);
        if (r < 0)
                return r;
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        p = manager_get_process(m, id);
        if (!p)
                return unknown_process(id, reterr);
        text = strjoin(line, "\n");
        if (!text)
                return -ENOMEM;
        r = process_write_input(p, text, strlen(text));
        if (r < 0)
                return set_input_error(p, r, reterr);
        return sd_bus_reply_method_return(message, NULL);
}

/* ---- actions ---- */

static int append_answer(sd_bus_message *reply, const AppActionAnswer *x) {
        int r;

        r = sd_bus_message_open_container(reply, 'r', "uss");
        if (r < 0)
                return r;
        r = sd_bus_message_append(reply, "us", x->process_id, strempty(x->error_name));
        if (r < 0)
                return r;
        r = bus_message_append_text(reply, x->text);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(reply);
}

static int reply_answers(sd_bus_message *message, const AppAction *a) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(uss)");
        if (r < 0)
                return r;
        for (size_t i = 0; i < a->n_answers; i++) {
                r = append_answer(reply, a->answers + i);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

static void on_action_done(AppAction *a, void *userdata) {
        sd_bus_message *message = ASSERT_PTR(userdata);
        int r;

        r = reply_answers(message, a);
        if (r < 0)
                (void) sd_bus_reply_method_errno(message, r, NULL);
}

static void forget_message(void *userdata) {
        sd_bus_message_unref(userdata);
}

int method_trigger(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(json_object_putp) json_object *parameters = NULL;
        _cleanup_free_ Process **processes = NULL;
        const char *name, *parameters_text;
        Manager *m = ASSERT_PTR(userdata);
        uint64_t timeout;
        AppAction *a;
        size_t n;
        int r;

        r = bus_request_read_targets(m, message, false, &processes, &n, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(message, "sst", &name, &parameters_text, &timeout);
        if (r < 0)
                return r;
        if (isempty(name) || strlen(name) > ACTION_LENGTH_MAX)
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS, "The name of the action is empty or longer than %u bytes.",
                                         ACTION_LENGTH_MAX);
        if (!isempty(parameters_text)) {
                r = parse_json(parameters_text, &parameters, reterr);
                if (r < 0)
                        return r;
        }
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = app_action_new(m, processes, n, name, parameters, timeout == 0 ? ACTION_TIMEOUT_USEC : MIN(timeout, ACTION_TIMEOUT_MAX_USEC),
                           on_action_done, forget_message, sd_bus_message_ref(message), &a);
        if (r < 0) {
                sd_bus_message_unref(message);
                return r == -EBUSY ? sd_bus_error_set(reterr, SD_BUS_ERROR_LIMITS_EXCEEDED, "Too many actions are waited for.") : r;
        }
        return 1; /* answered when all processes have */
}
