/* SPDX-License-Identifier: MIT */
#include <json-c/json.h>

#include "pmd/process-serialize-internal.h"

#include "pmd/app.h"
#include "pmd/definition-file.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/app-config-saved.h"
#include "shared/json-util.h"
#include "shared/log.h"
#include "shared/string-util.h"

/* Which definitions are on file for the processes: those of an app may share one. */

/* ---- writing ---- */

/* What was saved may be gone, and another definition be where it was. */
static unsigned serial_of_process(const Process *p, const AppConfig *config) {
        if (p->config == config && p->saved_config == config && p->definition_serial > 0)
                return p->definition_serial;
        return p->next_config == config && p->saved_next_config == config ? p->next_definition_serial : 0;
}

static unsigned serial_of_definition(const Process *p, const AppConfig *config) {
        APP_FOREACH_INCARNATION(s, p->app) {
                unsigned serial = serial_of_process(s, config);

                if (serial > 0)
                        return serial;
        }
        return 0;
}

static int write_definition(Manager *m, const AppConfig *config, unsigned *ret) {
        _cleanup_(json_object_putp) json_object *o = NULL;
        const char *text;
        int r;

        r = app_config_save(config, &o);
        if (r < 0)
                return r;
        text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        return text ? definition_file_add(m->definition_file, text, ret) : -ENOMEM;
}

static bool definition_is_used(const Process *p, unsigned serial) {
        APP_FOREACH_INCARNATION(s, p->app)
                if (s->definition_serial == serial || s->next_definition_serial == serial)
                        return true;
        return false;
}

void process_remove_unused_definition(const Process *p, unsigned serial) {
        if (serial > 0 && !definition_is_used(p, serial))
                definition_file_remove(p->manager->definition_file, serial);
}

/* The definition changes with a restart. */
static int save_definition(Process *p) {
        unsigned old = p->definition_serial, serial;
        int r;

        if (old > 0 && p->saved_config == p->config)
                return 0;

        p->definition_serial = 0;
        p->saved_config = NULL;
        serial = serial_of_definition(p, p->config);
        if (serial == 0) {
                r = write_definition(p->manager, p->config, &serial);
                if (r < 0) {
                        p->definition_serial = old;
                        return r;
                }
        }

        p->definition_serial = serial;
        p->saved_config = p->config;
        return 0;
}

/* What it is to become with its next start. */
static int save_next_definition(Process *p) {
        unsigned old = TAKE_GENERIC(p->next_definition_serial, 0), serial = 0;
        const AppConfig *saved = TAKE_PTR(p->saved_next_config);
        int r;

        if (old > 0 && p->next_config && saved == p->next_config)
                serial = old;
        else if (p->next_config)
                serial = serial_of_definition(p, p->next_config);
        if (serial == 0 && p->next_config) {
                r = write_definition(p->manager, p->next_config, &serial);
                if (r < 0)
                        return r;
        }

        p->next_definition_serial = serial;
        p->saved_next_config = p->next_config;
        return 0;
}

int process_save_definitions(Process *p) {
        int r;

        r = save_definition(p);
        return r < 0 ? r : save_next_definition(p);
}

/* ---- reading ---- */

void manager_clean_definitions(Manager *m) {
        Process *p;

        MANAGER_FOREACH_INCARNATION(p, m) {
                definition_file_need(m->definition_file, p->definition_serial);
                definition_file_need(m->definition_file, p->next_definition_serial);
        }
        definition_file_clean(m->definition_file, m->first_process_id > 0);
}

void saved_definitions_done(SavedDefinitions *d) {
        for (size_t i = 0; i < d->n; i++)
                app_config_unref(d->items[i].config);
        free(d->items);
}

int saved_definitions_get(SavedDefinitions *d, Manager *m, unsigned serial, AppConfig **ret) {
        _cleanup_free_ char *text = NULL, *fault = NULL, *notes = NULL, *unusable = NULL;
        _cleanup_(json_object_putp) json_object *o = NULL;
        AppConfig *config;
        int error, r;

        for (size_t i = 0; i < d->n; i++)
                if (d->items[i].serial == serial) {
                        *ret = d->items[i].config;
                        return 0;
                }

        if (!GREEDY_REALLOC(d->items, d->n_allocated, d->n + 1))
                return -ENOMEM;
        r = definition_file_read(m->definition_file, serial, &text);
        if (r < 0)
                return r;
        o = json_tokener_parse(text);
        if (!json_object_is_type(o, json_type_object))
                return -EBADMSG;
        r = app_config_restore(o, &config, &error, &fault, &notes, &unusable);
        if (r < 0)
                return log_warning_errno(r, "Definition %u is of no use: %s", serial, strna(unusable));

        d->items[d->n].serial = serial;
        d->items[d->n++].config = config;
        *ret = config;
        return 0;
}
