/* SPDX-License-Identifier: MIT */
#include <json-c/linkhash.h>

#include "pmd/app-bus.h"
#include "pmd/app.h"
#include "pmd/bus-request.h"
#include "pmd/manager.h"
#include "pmd/process-bus.h"
#include "shared/bus-util.h"
#include "shared/pmd-protocol.h"
#include "shared/strv.h"

/* ---- objects ---- */

int app_bus_find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                 sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        _cleanup_free_ char *name = NULL;
        App *a;
        int r;

        r = sd_bus_path_decode(path, PMD_PATH_APP, &name);
        if (r <= 0)
                return r;
        a = manager_get_app(m, name);
        if (!a)
                return 0;
        *ret_found = a;
        return 1;
}

int app_bus_enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        _cleanup_free_ char **nodes = NULL;
        struct lh_entry *e;
        size_t n = 0;

        nodes = new0(char *, (size_t) lh_table_length(m->apps) + 1);
        if (!nodes)
                return -ENOMEM;
        lh_foreach(m->apps, e) {
                const App *a = lh_entry_v(e);

                nodes[n] = strdup(a->object_path);
                if (!nodes[n++])
                        goto oom;
        }
        *ret_nodes = TAKE_PTR(nodes);
        return 1;

oom:
        strv_free(TAKE_PTR(nodes));
        return -ENOMEM;
}

/* ---- methods ---- */

static int reply_job(sd_bus_message *message, App *a, JobVerb verb, sd_bus_error *reterr) {
        _cleanup_free_ Process **processes = NULL;
        size_t n = 0;

        LIST_FOREACH(siblings, p, a->processes)
                n++;
        processes = new(Process *, n);
        if (!processes)
                return -ENOMEM;
        n = 0;
        LIST_FOREACH(siblings, p, a->processes)
                processes[n++] = p;

        return bus_request_reply_job(a->manager, message, verb, processes, n, reterr);
}

static int method_start(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return reply_job(message, ASSERT_PTR(userdata), JOB_START, reterr);
}

static int method_stop(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return reply_job(message, ASSERT_PTR(userdata), JOB_STOP, reterr);
}

static int method_restart(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return reply_job(message, ASSERT_PTR(userdata), JOB_RESTART, reterr);
}

static int method_delete(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return reply_job(message, ASSERT_PTR(userdata), JOB_DELETE, reterr);
}

static int method_get_definition(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        App *a = ASSERT_PTR(userdata);
        json_object *o;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = app_config_to_json(a->config, &o);
        if (r < 0)
                return r;
        r = bus_message_append_json_dict(reply, o);
        json_object_put(o);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

/* ---- properties ---- */

#define GETTER_PARAMETERS                                                               \
        sd_bus *bus, const char *path, const char *interface, const char *property,     \
        sd_bus_message *reply, void *userdata, sd_bus_error *reterr

static int get_namespace(GETTER_PARAMETERS) {
        const App *a = ASSERT_PTR(userdata);

        return bus_message_append_text(reply, a->config->name_space);
}

static int get_exec_mode(GETTER_PARAMETERS) {
        const App *a = ASSERT_PTR(userdata);

        return bus_message_append_text(reply, exec_mode_to_string(a->config->exec_mode));
}

static int get_processes(GETTER_PARAMETERS) {
        const App *a = ASSERT_PTR(userdata);
        int r;

        r = sd_bus_message_open_container(reply, 'a', "o");
        if (r < 0)
                return r;
        LIST_FOREACH(siblings, p, a->processes) {
                char buf[PROCESS_PATH_MAX];

                r = sd_bus_message_append(reply, "o", process_bus_path(p, buf));
                if (r < 0)
                        return r;
        }
        return sd_bus_message_close_container(reply);
}

static int get_job(GETTER_PARAMETERS) {
        const App *a = ASSERT_PTR(userdata);

        return sd_bus_message_append(reply, "u", a->job ? a->job->id : 0);
}

#define ANYONE SD_BUS_VTABLE_UNPRIVILEGED /* sd-bus leaves the check to the handler */

const sd_bus_vtable app_bus_vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_PROPERTY("Name", "s", NULL, offsetof(App, name), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Namespace", "s", get_namespace, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Owner", "u", NULL, offsetof(App, owner), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("ExecMode", "s", get_exec_mode, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Processes", "ao", get_processes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Job", "u", get_job, 0, 0),

        SD_BUS_METHOD_WITH_ARGS("Start", SD_BUS_NO_ARGS, SD_BUS_RESULT("u", job), method_start, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Stop", SD_BUS_NO_ARGS, SD_BUS_RESULT("u", job), method_stop, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Restart", SD_BUS_NO_ARGS, SD_BUS_RESULT("u", job), method_restart, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("Delete", SD_BUS_NO_ARGS, SD_BUS_RESULT("u", job), method_delete, ANYONE),
        SD_BUS_METHOD_WITH_ARGS("GetDefinition",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a{sv}", definition),
                                method_get_definition,
                                ANYONE),

        SD_BUS_VTABLE_END,
};
