/* SPDX-License-Identifier: MIT */
#include "pmd/app.h"
#include "pmd/bus-face.h"
#include "pmd/bus-queue.h"
#include "pmd/manager.h"
#include "pmd/process-bus.h"
#include "shared/bus-util.h"
#include "shared/log.h"
#include "shared/pmd-protocol.h"
#include "shared/strv.h"

#define INTERFACE_OBJECT_MANAGER "org.freedesktop.DBus.ObjectManager"
#define INTERFACE_PROPERTIES "org.freedesktop.DBus.Properties"

typedef struct ObjectSignal {
        const char *name, *path, *interface;
        char type;         /* of key: 's' or 'u' */
        const void *key;
} ObjectSignal;

static int send_object_signal(sd_bus *bus, void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const ObjectSignal *s = ASSERT_PTR(userdata);
        int r;

        r = sd_bus_message_new_signal(bus, &m, PMD_PATH, PMD_INTERFACE_MANAGER, s->name);
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(m, s->type, s->key);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "o", s->path);
        if (r < 0)
                return r;
        return sd_bus_send(bus, m, NULL);
}

static int send_interfaces_added(sd_bus *bus, void *userdata) {
        const ObjectSignal *s = ASSERT_PTR(userdata);

        return sd_bus_emit_interfaces_added(bus, s->path, s->interface, NULL);
}

static int send_interfaces_removed(sd_bus *bus, void *userdata) {
        const ObjectSignal *s = ASSERT_PTR(userdata);

        return sd_bus_emit_interfaces_removed(bus, s->path, s->interface, NULL);
}

static void emit_by_manager(BusFace *f, const char *member, bus_face_send_t send, void *userdata) {
        bus_face_for_each(f, &(BusSignal) { PMD_PATH, PMD_INTERFACE_MANAGER, member }, send, userdata);
}

static void emit_object_new(BusFace *f, ObjectSignal *s) {
        bus_face_for_each(f, &(BusSignal) { PMD_PATH, INTERFACE_OBJECT_MANAGER, "InterfacesAdded" }, send_interfaces_added, s);
        emit_by_manager(f, s->name, send_object_signal, s);
}

static void emit_object_removed(BusFace *f, ObjectSignal *s) {
        emit_by_manager(f, s->name, send_object_signal, s);
        bus_face_for_each(f, &(BusSignal) { PMD_PATH, INTERFACE_OBJECT_MANAGER, "InterfacesRemoved" }, send_interfaces_removed, s);
}

typedef struct PropertiesSignal {
        const char *path, *interface;
        char **names;
} PropertiesSignal;

static int send_properties_changed(sd_bus *bus, void *userdata) {
        const PropertiesSignal *s = ASSERT_PTR(userdata);

        return sd_bus_emit_properties_changed_strv(bus, s->path, s->interface, s->names);
}

static void emit_properties_changed(BusFace *f, PropertiesSignal *s) {
        bus_face_for_each(f, &(BusSignal) { s->path, INTERFACE_PROPERTIES, "PropertiesChanged" }, send_properties_changed, s);
}

/* ---- apps ---- */

static int on_dirty_apps(sd_event_source *source, void *userdata) {
        static const char *const names[] = { "Namespace", "ExecMode", "Processes", NULL };
        BusFace *f = ASSERT_PTR(userdata);

        for (size_t i = 0; i < f->n_dirty_apps; i++) {
                PropertiesSignal s = { f->dirty_apps[i]->object_path, PMD_INTERFACE_APP, (char **) names };

                emit_properties_changed(f, &s);
        }
        f->n_dirty_apps = 0;
        return 0;
}

static size_t dirty_app_index(const BusFace *f, const App *a) {
        size_t i = 0;

        while (i < f->n_dirty_apps && f->dirty_apps[i] != a)
                i++;
        return i;
}

static void app_changed(BusFace *f, App *a) {
        int r;

        if (dirty_app_index(f, a) < f->n_dirty_apps)
                return;
        if (!GREEDY_REALLOC(f->dirty_apps, f->n_dirty_apps_allocated, f->n_dirty_apps + 1)) {
                log_oom();
                return;
        }
        f->dirty_apps[f->n_dirty_apps++] = a;

        r = sd_event_source_set_enabled(f->dirty_apps_source, SD_EVENT_ONESHOT);
        if (r < 0 && r != -ESTALE) /* after the last turn of the loop nobody is to be told */
                log_warning_errno(r, "Failed to schedule the signals of changed apps, ignoring: %m");
}

static void forget_dirty_app(BusFace *f, const App *a) {
        size_t i = dirty_app_index(f, a);

        if (i < f->n_dirty_apps)
                f->dirty_apps[i] = f->dirty_apps[--f->n_dirty_apps];
}

void bus_face_app_new(BusFace *f, App *a) {
        ObjectSignal s = { "AppNew", a->object_path, PMD_INTERFACE_APP, 's', a->name };

        if (!f || a->announced)
                return;
        a->announced = true;
        emit_object_new(f, &s);
}

void bus_face_app_removed(BusFace *f, App *a) {
        ObjectSignal s = { "AppRemoved", a->object_path, PMD_INTERFACE_APP, 's', a->name };

        if (!f)
                return;
        forget_dirty_app(f, a);
        if (!TAKE_GENERIC(a->announced, false))
                return;
        emit_object_removed(f, &s);
}

/* ---- processes ---- */

void bus_face_process_new(BusFace *f, Process *p) {
        char path[PROCESS_PATH_MAX];
        ObjectSignal s = { "ProcessNew", process_bus_path(p, path), PMD_INTERFACE_PROCESS, 'u', &p->id };

        if (!f)
                return;
        bus_face_app_new(f, p->app);
        emit_object_new(f, &s);
        app_changed(f, p->app);
}

void bus_face_process_removed(BusFace *f, Process *p) {
        char path[PROCESS_PATH_MAX];
        ObjectSignal s = { "ProcessRemoved", process_bus_path(p, path), PMD_INTERFACE_PROCESS, 'u', &p->id };

        if (!f)
                return;
        if (f->usage_process == p)
                f->usage_process = NULL;
        emit_object_removed(f, &s);
        app_changed(f, p->app);
}

void bus_face_process_changed(BusFace *f, Process *p, ProcessField fields) {
        const char *names[PROCESS_PROPERTIES_MAX + 1];
        char path[PROCESS_PATH_MAX];
        PropertiesSignal s = { process_bus_path(p, path), PMD_INTERFACE_PROCESS, (char **) names };

        if (!f)
                return;
        process_bus_property_names(fields, names);
        if (!strv_isempty((char **) names))
                emit_properties_changed(f, &s);
}

/* ---- jobs ---- */

static int send_job_new(sd_bus *bus, void *userdata) {
        const Job *j = ASSERT_PTR(userdata);

        return sd_bus_emit_signal(bus, PMD_PATH, PMD_INTERFACE_MANAGER, "JobNew", "uss", j->id,
                                  job_verb_to_string(j->verb), j->app->name);
}

void bus_face_job_new(BusFace *f, const Job *j) {
        emit_by_manager(f, "JobNew", send_job_new, (void *) j);
}

typedef struct JobProgressSignal {
        const Job *job;
        uint32_t process_id;
} JobProgressSignal;

static int send_job_progress(sd_bus *bus, void *userdata) {
        const JobProgressSignal *s = ASSERT_PTR(userdata);
        const Job *j = s->job;

        return sd_bus_emit_signal(bus, PMD_PATH, PMD_INTERFACE_MANAGER, "JobProgress", "usuuu", j->id, j->app->name, s->process_id,
                                  (uint32_t) j->n_finished, (uint32_t) j->n_processes);
}

void bus_face_job_progress(BusFace *f, const Job *j, uint32_t process_id) {
        JobProgressSignal s = { j, process_id };

        emit_by_manager(f, "JobProgress", send_job_progress, &s);
}

typedef struct JobRemovedSignal {
        const Job *job;
        JobResult result;
} JobRemovedSignal;

static int append_failure(sd_bus_message *m, const JobFailure *failure) {
        int r;

        r = sd_bus_message_open_container(m, 'r', "uss");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "us", failure->process_id, failure->error_name);
        if (r < 0)
                return r;
        r = bus_message_append_text(m, failure->message);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(m);
}

static int send_job_removed(sd_bus *bus, void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const JobRemovedSignal *s = ASSERT_PTR(userdata);
        const Job *j = s->job;
        int r;

        r = sd_bus_message_new_signal(bus, &m, PMD_PATH, PMD_INTERFACE_MANAGER, "JobRemoved");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "usss", j->id, job_verb_to_string(j->verb), j->app->name,
                                  job_result_to_string(s->result));
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(m, 'a', "(uss)");
        if (r < 0)
                return r;
        for (size_t i = 0; i < j->n_failures; i++) {
                r = append_failure(m, j->failures + i);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(m);
        if (r < 0)
                return r;
        return sd_bus_send(bus, m, NULL);
}

void bus_face_job_removed(BusFace *f, const Job *j, JobResult result) {
        JobRemovedSignal s = { j, result };

        emit_by_manager(f, "JobRemoved", send_job_removed, &s);
}

/* ---- */

int bus_queue_init(BusFace *f) {
        int r;

        r = sd_event_add_defer(f->manager->event, &f->dirty_apps_source, on_dirty_apps, f);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(f->dirty_apps_source, SD_EVENT_OFF);
}

void bus_queue_done(BusFace *f) {
        f->dirty_apps_source = sd_event_source_disable_unref(f->dirty_apps_source);
        f->dirty_apps = mfree(f->dirty_apps);
        f->n_dirty_apps = f->n_dirty_apps_allocated = 0;
}
