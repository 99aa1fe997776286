/* SPDX-License-Identifier: MIT */
#include <limits.h>

#include <inttypes.h>

#include "pmd/manager-definition-bus.h"

#include "pmd/app.h"
#include "pmd/bus-polkit.h"
#include "pmd/bus-request.h"
#include "pmd/manager-definition.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/bus-util.h"
#include "shared/json-util.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"

static int get_boolean(json_object *options, const char *key, bool *ret, sd_bus_error *reterr) {
        json_object *value = NULL;

        if (json_object_object_get_ex(options, key, &value) && !json_object_is_type(value, json_type_boolean))
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS, "The option '%s' must be a boolean.", key);
        *ret = json_object_get_boolean(value);
        return 0;
}

/* ---- StartApp ---- */

static int invalid_definition(sd_bus_error *reterr, int error, const char *faults) {
        if (error == -ENOMEM)
                return error;
        return bus_error_set_text(reterr, error == -EACCES ? PMD_ERROR_NOT_EXECUTABLE : PMD_ERROR_INVALID_DEFINITION,
                                  faults ?: "The definition is malformed.");
}

static int read_definition(sd_bus_message *message, AppConfig **ret, sd_bus_error *reterr) {
        _cleanup_(app_config_unrefp) AppConfig *config = NULL;
        _cleanup_(json_object_putp) json_object *definition = NULL;
        _cleanup_free_ char *faults = NULL;
        int r;

        r = bus_message_read_json_dict(message, &definition);
        if (IN_SET(r, -EINVAL, -E2BIG))
                return invalid_definition(reterr, -EINVAL,
                                          r == -E2BIG ? "The definition is too large, or too deeply nested." : NULL);
        if (r < 0)
                return r;

        r = app_config_new(&config);
        if (r < 0)
                return r;
        r = app_config_set_all(config, definition, &faults);
        if (r < 0)
                return invalid_definition(reterr, r == -ENOMEM ? r : -EINVAL, faults);

        *ret = TAKE_PTR(config);
        return 0;
}

static int finish_definition(AppConfig *config, sd_bus_error *reterr) {
        _cleanup_free_ char *fault = NULL;
        int r;

        r = app_config_finish(config, NULL, &fault);
        return r < 0 ? invalid_definition(reterr, r, fault) : 0;
}

static int set_start_app_error(sd_bus_error *reterr, int error, const AppConfig *config) {
        switch (error) {
        case -EEXIST:
                return sd_bus_error_setf(reterr, PMD_ERROR_APP_EXISTS, "There is an app '%s' already.", config->name);
        case -ESRCH:
                return sd_bus_error_setf(reterr, PMD_ERROR_INVALID_DEFINITION, "user: there is no user '%s'.",
                                         strempty(config->user));
        case -ENOENT:
                return sd_bus_error_setf(reterr, PMD_ERROR_INVALID_DEFINITION, "group: there is no group '%s'.",
                                         strempty(config->group));
        default:
                return bus_request_set_error(reterr, error);
        }
}

static int reply_app_job(sd_bus_message *message, const Job *j, const App *a, const uint32_t *ids, size_t n) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_append(reply, "uo", j->id, a->object_path);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(reply, 'u', ids, n * sizeof(uint32_t));
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

int method_start_app(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        static const char *const known[] = { "force", NULL };
        _cleanup_(app_config_unrefp) AppConfig *config = NULL;
        _cleanup_(json_object_putp) json_object *options = NULL;
        _cleanup_free_ uint32_t *ids = NULL;
        Manager *m = ASSERT_PTR(userdata);
        uid_t owner;
        bool force;
        size_t n;
        App *a;
        Job *j;
        int r;

        r = read_definition(message, &config, reterr);
        if (r < 0)
                return r;
        r = bus_request_read_options(message, known, &options, reterr);
        if (r < 0)
                return r;
        r = get_boolean(options, "force", &force, reterr);
        if (r < 0)
                return r;

        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, &owner, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;
        /* Looks at files, which nobody may learn of who may not start anything. */
        r = finish_definition(config, reterr);
        if (r < 0)
                return r;

        r = manager_start_app(m, config, owner, force, &a, &j, &ids, &n);
        if (r < 0)
                return set_start_app_error(reterr, r, config);
        bus_request_log_app(m, message, owner, JOB_START, a);
        return reply_app_job(message, j, a, ids, n);
}

/* ---- Restart ---- */

/* Takes the definition out of the options. */
static int get_overlay(json_object *options, json_object **ret, bool *ret_replace, sd_bus_error *reterr) {
        json_object *overlay = NULL;
        int r;

        r = get_boolean(options, "replace", ret_replace, reterr);
        if (r < 0)
                return r;
        if (!json_object_object_get_ex(options, "definition", &overlay)) {
                if (*ret_replace)
                        return sd_bus_error_set(reterr, SD_BUS_ERROR_INVALID_ARGS, "The option 'replace' needs a definition.");
                *ret = NULL;
                return 0;
        }
        if (!json_object_is_type(overlay, json_type_object))
                return sd_bus_error_set(reterr, SD_BUS_ERROR_INVALID_ARGS, "The option 'definition' must be a dictionary.");
        *ret = overlay;
        return 0;
}

typedef struct Restart {
        JobVerb verb; /* JOB_RESTART or JOB_RELOAD */
        unsigned parallel;
} Restart;

static int get_parallel(json_object *options, unsigned *ret, sd_bus_error *reterr) {
        json_object *value = NULL;
        int64_t n;

        if (!json_object_object_get_ex(options, "parallel", &value)) {
                *ret = 0;
                return 0;
        }
        n = json_object_get_int64(value);
        if (!json_object_is_type(value, json_type_int) || n < 1 || n > UINT_MAX)
                return sd_bus_error_set(reterr, SD_BUS_ERROR_INVALID_ARGS, "The option 'parallel' must be a number above 0.");
        *ret = (unsigned) n;
        return 0;
}

static int enqueue_restart(Manager *m, sd_bus_message *message, uid_t uid, Process *const *processes, size_t n,
                           const Restart *restart, sd_bus_error *reterr) {
        _cleanup_free_ uint32_t *ids = NULL;
        size_t n_ids;
        int r;

        bus_request_log(m, message, uid, restart->verb, processes, n);
        if (restart->verb == JOB_RELOAD)
                r = manager_enqueue_reload(m, processes, n, restart->parallel, &ids, &n_ids);
        else
                r = manager_enqueue_jobs(m, JOB_RESTART, processes, n, &ids, &n_ids);
        if (r < 0)
                return bus_request_set_error(reterr, r);
        return bus_request_reply_u32_array(message, ids, n_ids);
}

static int change_definitions(Process *const *processes, size_t n, json_object *overlay, bool replace,
                              sd_bus_error *reterr) {
        _cleanup_free_ char *faults = NULL;
        AppConfig **configs;
        int r;

        r = manager_derive_configs(processes, n, overlay, replace, &configs, &faults);
        if (r < 0)
                return invalid_definition(reterr, r, faults);
        manager_change_configs(processes, n, configs, replace);
        manager_free_configs(configs, n);
        return 0;
}

static int restart_or_reload(sd_bus_message *message, void *userdata, Restart *restart, sd_bus_error *reterr) {
        static const char *const known_of_restart[] = { "definition", "replace", NULL };
        static const char *const known_of_reload[] = { "definition", "replace", "parallel", NULL };
        const char *const *known = restart->verb == JOB_RELOAD ? known_of_reload : known_of_restart;
        _cleanup_(json_object_putp) json_object *options = NULL;
        _cleanup_free_ Process **processes = NULL;
        Manager *m = ASSERT_PTR(userdata);
        json_object *overlay;
        bool replace;
        uid_t uid;
        size_t n;
        int r;

        r = bus_request_read_targets(m, message, false, &processes, &n, reterr);
        if (r < 0)
                return r;
        r = bus_request_read_options(message, known, &options, reterr);
        if (r < 0)
                return r;
        r = get_overlay(options, &overlay, &replace, reterr);
        if (r < 0)
                return r;
        r = get_parallel(options, &restart->parallel, reterr);
        if (r < 0)
                return r;
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, &uid, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        if (m->exiting)
                return bus_request_set_error(reterr, -ESHUTDOWN);
        r = overlay ? change_definitions(processes, n, overlay, replace, reterr) : manager_update_versions(processes, n);
        if (r < 0)
                return r;
        return enqueue_restart(m, message, uid, processes, n, restart, reterr);
}

int method_restart(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return restart_or_reload(message, userdata, &(Restart) { .verb = JOB_RESTART }, reterr);
}

int method_reload(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return restart_or_reload(message, userdata, &(Restart) { .verb = JOB_RELOAD }, reterr);
}

/* ---- Scale ---- */

static unsigned count_processes(const App *a) {
        unsigned n = 0;

        LIST_FOREACH(siblings, p, a->processes)
                n++;
        return n;
}

static int get_wanted(const App *a, int32_t given, bool relative, unsigned *ret, sd_bus_error *reterr) {
        int64_t wanted = (int64_t) given + (relative ? count_processes(a) : 0);

        if (wanted < 0 || (uint64_t) wanted > app_option_find("instances")->max)
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_INVALID_ARGS, "'%.255s' cannot have %" PRIi64 " processes.", a->name, wanted);
        *ret = (unsigned) wanted;
        return 0;
}

int method_scale(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        static const char *const known[] = { "relative", NULL };
        _cleanup_(json_object_putp) json_object *options = NULL;
        _cleanup_free_ uint32_t *ids = NULL;
        Manager *m = ASSERT_PTR(userdata);
        unsigned wanted;
        const char *name;
        bool relative;
        int32_t given;
        uid_t uid;
        size_t n;
        App *a;
        Job *j;
        int r;

        r = sd_bus_message_read(message, "si", &name, &given);
        if (r < 0)
                return r;
        r = bus_request_read_options(message, known, &options, reterr);
        if (r < 0)
                return r;
        r = get_boolean(options, "relative", &relative, reterr);
        if (r < 0)
                return r;
        a = manager_get_app(m, name);
        if (!a)
                return sd_bus_error_setf(reterr, PMD_ERROR_NO_SUCH_APP, "There is no app '%.255s'.", name);
        r = get_wanted(a, given, relative, &wanted, reterr);
        if (r < 0)
                return r;
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, &uid, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = manager_scale_app(m, a, wanted, &j, &ids, &n);
        if (r == -EALREADY)
                return sd_bus_error_setf(reterr, PMD_ERROR_NOTHING_TO_DO, "'%.255s' has %u process%s already.", name, wanted,
                                         wanted == 1 ? "" : "es");
        if (r < 0)
                return bus_request_set_error(reterr, r);
        bus_request_log_app(m, message, uid, j->verb, a);
        return reply_app_job(message, j, a, ids, n);
}
