/* SPDX-License-Identifier: MIT */
#include "pmd/request-journal-internal.h"

#include "pmd/manager.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"

#define TOKEN_MAX 64U

static bool makes_jobs(const char *name) {
        static const char *const members[] = { "StartApp", "Start", "Stop", "Restart", "Reload", "Delete", "Scale" };

        for (size_t i = 0; i < ELEMENTSOF(members); i++)
                if (streq_ptr(name, members[i]))
                        return true;
        return false;
}

/* The options come last. -ENODATA: there is no token. */
static int peek_token(sd_bus_message *m, char **ret) {
        const char *signature = strempty(sd_bus_message_get_signature(m, true)), *key, *token;
        _cleanup_free_ char *before = NULL;
        int r;

        if (!endswith(signature, "a{sv}"))
                return -ENODATA;
        before = strndup(signature, strlen(signature) - STRLEN("a{sv}"));
        if (!before)
                return -ENOMEM;
        if (*before) {
                r = sd_bus_message_skip(m, before);
                if (r < 0)
                        return r;
        }

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read(m, "s", &key);
                if (r < 0)
                        return r;
                if (streq(key, "token")) {
                        r = sd_bus_message_read(m, "v", "s", &token);
                        if (r < 0)
                                return r;
                        if (isempty(token) || strlen(token) > TOKEN_MAX)
                                return -ENODATA;
                        *ret = strdup(token);
                        return *ret ? 0 : -ENOMEM;
                }
                r = sd_bus_message_skip(m, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : -ENODATA;
}

static Entry *find_token(const RequestJournal *j, const char *token) {
        LIST_FOREACH(entries, e, j->entries)
                if (streq_ptr(e->token, token))
                        return e;
        return NULL;
}

static int append_numbers(sd_bus_message *m, json_object *numbers) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "u");
        for (size_t i = 0; r >= 0 && i < journal_array_length(numbers); i++)
                r = sd_bus_message_append(m, "u", (uint32_t) json_object_get_int64(json_object_array_get_idx(numbers, i)));
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_app_job(sd_bus_message *m, json_object *job) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = sd_bus_path_encode(PMD_PATH_APP, json_object_get_string(json_object_object_get(job, "app")), &path);
        if (r >= 0)
                r = sd_bus_message_append(m, "uo", journal_get_uint(job, "id"), path);
        return r < 0 ? r : append_numbers(m, json_object_object_get(job, "processes"));
}

static int append_job_numbers(sd_bus_message *m, const Entry *e) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "u");
        for (size_t i = 0; r >= 0 && i < journal_array_length(e->jobs); i++)
                r = sd_bus_message_append(m, "u", journal_get_uint(json_object_array_get_idx(e->jobs, i), "id"));
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int reply_again(sd_bus_message *message, const Entry *e) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *name = sd_bus_message_get_member(message);
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        if (streq(name, "StartApp") || streq(name, "Scale"))
                r = append_app_job(reply, json_object_array_get_idx(e->jobs, 0));
        else
                r = append_job_numbers(reply, e);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* To the sender only: nobody else has missed it. */
static int tell_end(sd_bus_message *message, json_object *job) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        sd_bus *bus = sd_bus_message_get_bus(message);
        json_object *failures = json_object_object_get(job, "failures");
        int r;

        r = sd_bus_message_new_signal(bus, &m, PMD_PATH, PMD_INTERFACE_MANAGER, "JobRemoved");
        if (r >= 0 && sd_bus_message_get_sender(message))
                r = sd_bus_message_set_destination(m, sd_bus_message_get_sender(message));
        if (r >= 0)
                r = sd_bus_message_append(m, "usss", journal_get_uint(job, "id"), json_object_get_string(json_object_object_get(job, "verb")),
                                          json_object_get_string(json_object_object_get(job, "app")), json_object_get_string(json_object_object_get(job, "result")));
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(uss)");
        for (size_t i = 0; r >= 0 && i < journal_array_length(failures); i++) {
                json_object *f = json_object_array_get_idx(failures, i);

                r = sd_bus_message_append(m, "(uss)", journal_get_uint(f, "process"), json_object_get_string(json_object_object_get(f, "error")),
                                          json_object_get_string(json_object_object_get(f, "message")));
        }
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_send(bus, m, NULL);
}

static int answer_again(sd_bus_message *message, const Entry *e) {
        int r;

        r = reply_again(message, e);
        for (size_t i = 0; r >= 0 && i < journal_array_length(e->jobs); i++) {
                json_object *job = json_object_array_get_idx(e->jobs, i);

                if (journal_job_has_ended(job))
                        r = tell_end(message, job);
        }
        return r < 0 ? r : 1;
}

int request_journal_filter(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        RequestJournal *j = m->request_journal;
        _cleanup_free_ char *token = NULL;
        const Entry *e;
        int r;

        if (!j || !sd_bus_message_is_method_call(message, PMD_INTERFACE_MANAGER, NULL) || !makes_jobs(sd_bus_message_get_member(message)))
                return 0;

        r = peek_token(message, &token);
        (void) sd_bus_message_rewind(message, true);
        if (r < 0)
                return 0; /* whatever is wrong with it, its handler says so */

        /* The token is a secret of the client. Who knows it has been allowed to make the request. */
        e = find_token(j, token);
        if (e && journal_array_length(e->jobs) > 0)
                return answer_again(message, e);

        sd_bus_message_unref(j->message);
        j->message = sd_bus_message_ref(message);
        free(j->token);
        j->token = TAKE_PTR(token);
        return 0;
}
