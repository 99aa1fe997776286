/* SPDX-License-Identifier: MIT */
#include <systemd/sd-id128.h>

#include "libpmd/pmd-request.h"
#include "shared/pmd-protocol.h"

/* What pmd is asked to change: apps to start, and what becomes of the processes of apps. */

/* So that it is not done twice if it has to be sent again. */
static int append_token(sd_bus_message *m) {
        char text[SD_ID128_STRING_MAX];
        sd_id128_t id;
        int r;

        r = sd_id128_randomize(&id);
        return r < 0 ? r : sd_bus_message_append(m, "{sv}", "token", "s", sd_id128_to_string(id, text));
}

/* The options: a boolean, unless name is NULL, and the token. */
static int append_option(sd_bus_message *m, const char *name) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && name)
                r = sd_bus_message_append(m, "{sv}", name, "b", 1);
        if (r >= 0)
                r = append_token(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int send_start_app(Request *q, const pmd_definition *d, bool force, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        pmd_connection *c = q->connection;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "StartApp", &m);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        r = message_append_definition(m, d, reterr);
        if (r < 0)
                return r;

        r = append_option(m, force ? "force" : NULL);
        if (r >= 0)
                r = request_send(q, m);
        return r < 0 ? error_from_errno(c, r, reterr) : 0;
}

static const char *verb_to_member(pmd_verb verb) {
        switch (verb) {
        case PMD_START:
                return "Start";
        case PMD_STOP:
                return "Stop";
        case PMD_RESTART:
                return "Restart";
        case PMD_DELETE:
                return "Delete";
        case PMD_RELOAD:
                return "Reload";
        default:
                return NULL;
        }
}

/* What is asked of the processes that the targets mean. */
typedef struct Change {
        pmd_verb verb;
        char *const *targets;
        const pmd_definition *definition; /* NULL: none */
        unsigned flags;
        unsigned parallel; /* 0: not said */
} Change;

/* The options of Restart() and Reload(). */
static int append_change(sd_bus_message *m, const Change *change, pmd_error *reterr) {
        const pmd_definition *d = change->definition;
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        if (d) {
                r = sd_bus_message_open_container(m, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append_basic(m, 's', "definition");
                if (r >= 0)
                        r = sd_bus_message_open_container(m, 'v', "a{sv}");
                if (r >= 0)
                        r = message_append_definition(m, d, reterr);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
                if (r < 0)
                        return r;
        }
        if (change->parallel > 0) {
                r = sd_bus_message_append(m, "{sv}", "parallel", "u", (uint32_t) change->parallel);
                if (r < 0)
                        return r;
        }
        if (change->flags & PMD_CHANGE_REPLACE) {
                r = sd_bus_message_append(m, "{sv}", "replace", "b", 1);
                if (r < 0)
                        return r;
        }
        r = append_token(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int send_change(Request *q, const Change *change, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const char *member = verb_to_member(change->verb);
        pmd_connection *c = q->connection;
        int r;

        if (!member || (change->definition && !IN_SET(change->verb, PMD_RESTART, PMD_RELOAD)))
                return error_set(reterr, EINVAL, SD_BUS_ERROR_INVALID_ARGS, "There is no request %d%s.", (int) change->verb,
                                 change->definition ? " with a definition" : "");

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, member, &m);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) change->targets);
        if (r >= 0) {
                r = append_change(m, change, reterr);
                if (r < 0 && reterr && reterr->name)
                        return r;
        }
        if (r >= 0)
                r = request_resolve(q, change->targets);
        if (r >= 0)
                r = request_send(q, m);
        return r < 0 ? error_from_errno(c, r, reterr) : 0;
}

_public_ int pmd_start_app_async(pmd_connection *c, const pmd_definition *d, bool force, pmd_done_t done, void *userdata) {
        _cleanup_(request_freep) Request *q = NULL;
        int r;

        r = request_new(c, &q);
        if (r < 0)
                return r;
        q->done = done;
        q->userdata = userdata;

        r = send_start_app(q, d, force, NULL);
        if (r < 0)
                return r;
        TAKE_PTR(q);
        return 0;
}

static int send_change_async(pmd_connection *c, const Change *change, pmd_done_t done, void *userdata) {
        _cleanup_(request_freep) Request *q = NULL;
        int r;

        r = request_new(c, &q);
        if (r < 0)
                return r;
        q->done = done;
        q->userdata = userdata;

        r = send_change(q, change, NULL);
        if (r < 0)
                return r;
        TAKE_PTR(q);
        return 0;
}

_public_ int pmd_request_async(pmd_connection *c, pmd_verb verb, char *const *targets, pmd_done_t done, void *userdata) {
        return send_change_async(c, &(const Change) { .verb = verb, .targets = targets }, done, userdata);
}

_public_ int pmd_restart_changed_async(pmd_connection *c, char *const *targets, const pmd_definition *d, unsigned flags,
                                       pmd_done_t done, void *userdata) {
        return send_change_async(c, &(const Change) { PMD_RESTART, targets, d, flags, 0 }, done, userdata);
}

_public_ int pmd_reload_async(pmd_connection *c, char *const *targets, const pmd_definition *d, unsigned flags, unsigned parallel,
                              pmd_done_t done, void *userdata) {
        return send_change_async(c, &(const Change) { PMD_RELOAD, targets, d, flags, parallel }, done, userdata);
}

_public_ int pmd_start_app(pmd_connection *c, const pmd_definition *d, bool force, pmd_result *ret, pmd_error *reterr) {
        _cleanup_(request_freep) Request *q = NULL;
        int r;

        r = request_new(c, &q);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        q->waited_for = true;

        r = send_start_app(q, d, force, reterr);
        return r < 0 ? r : request_wait(q, ret, reterr);
}

static int send_change_and_wait(pmd_connection *c, const Change *change, pmd_result *ret, pmd_error *reterr) {
        _cleanup_(request_freep) Request *q = NULL;
        int r;

        r = request_new(c, &q);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        q->waited_for = true;

        r = send_change(q, change, reterr);
        return r < 0 ? r : request_wait(q, ret, reterr);
}

_public_ int pmd_request(pmd_connection *c, pmd_verb verb, char *const *targets, pmd_result *ret, pmd_error *reterr) {
        return send_change_and_wait(c, &(const Change) { .verb = verb, .targets = targets }, ret, reterr);
}

_public_ int pmd_restart_changed(pmd_connection *c, char *const *targets, const pmd_definition *d, unsigned flags,
                                 pmd_result *ret, pmd_error *reterr) {
        return send_change_and_wait(c, &(const Change) { PMD_RESTART, targets, d, flags, 0 }, ret, reterr);
}

_public_ int pmd_reload(pmd_connection *c, char *const *targets, const pmd_definition *d, unsigned flags, unsigned parallel,
                        pmd_result *ret, pmd_error *reterr) {
        return send_change_and_wait(c, &(const Change) { PMD_RELOAD, targets, d, flags, parallel }, ret, reterr);
}

static int send_scale(Request *q, const char *app, int instances, bool relative, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        pmd_connection *c = q->connection;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "Scale", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "si", app, instances);
        if (r >= 0)
                r = append_option(m, relative ? "relative" : NULL);
        if (r >= 0)
                r = request_send(q, m);
        return r < 0 ? error_from_errno(c, r, reterr) : 0;
}

_public_ int pmd_scale(pmd_connection *c, const char *app, int instances, bool relative, pmd_result *ret, pmd_error *reterr) {
        _cleanup_(request_freep) Request *q = NULL;
        int r;

        r = request_new(c, &q);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        q->waited_for = true;

        r = send_scale(q, app, instances, relative, reterr);
        return r < 0 ? r : request_wait(q, ret, reterr);
}

_public_ int pmd_resurrect(pmd_connection *c, pmd_restored *ret_restored, pmd_result *ret, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_(request_freep) Request *q = NULL;
        int r;

        r = request_new(c, &q);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        q->waited_for = true;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "Resurrect", &m);
        if (r >= 0)
                r = request_send(q, m);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        r = request_wait(q, ret, reterr);
        if (!q->refused && ret_restored)
                *ret_restored = TAKE_GENERIC(q->restored, (pmd_restored) {});
        return r;
}
