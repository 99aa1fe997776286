/* SPDX-License-Identifier: MIT */
#include "pmd/manager-save-bus.h"

#include "pmd/bus-polkit.h"
#include "pmd/bus-request.h"
#include "pmd/manager-save.h"
#include "pmd/manager-settings.h"
#include "pmd/manager.h"
#include "shared/bus-util.h"
#include "shared/pmd-protocol.h"
#include "shared/strv.h"

static int set_save_error(sd_bus_error *reterr, int error, const char *path) {
        switch (error) {
        case -ENODATA:
                return sd_bus_error_set(reterr, PMD_ERROR_NOTHING_TO_SAVE, "There are no processes to save.");
        case -ESHUTDOWN:
        case -ENOMEM:
                return bus_request_set_error(reterr, error);
        default:
                return sd_bus_error_set_errnof(reterr, error, "The list was not saved, %s is as it was: %s", path,
                                               strerror(-error));
        }
}

/* A call that is answered when the list is on the disk. */
typedef struct SaveCall {
        sd_bus_message *message;
        char *path;
        bool tells_n;
        uint32_t n;
} SaveCall;

static SaveCall *save_call_free(SaveCall *c) {
        if (!c)
                return NULL;
        sd_bus_message_unref(c->message);
        free(c->path);
        return mfree(c);
}
DEFINE_CLEANUP_FUNC(SaveCall *, save_call_free);

static int save_call_new(const Manager *m, sd_bus_message *message, SaveCall **ret) {
        _cleanup_(save_call_freep) SaveCall *c = new0(SaveCall, 1);

        if (!c)
                return -ENOMEM;
        c->message = sd_bus_message_ref(message);
        c->n = (uint32_t) m->n_processes;
        c->path = manager_saved_path(m);
        if (!c->path)
                return -ENOMEM;

        *ret = TAKE_PTR(c);
        return 0;
}

static void on_saved(int error, void *userdata) {
        _cleanup_(save_call_freep) SaveCall *c = ASSERT_PTR(userdata);
        _cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;

        if (error < 0) {
                (void) set_save_error(&e, error, c->path);
                (void) sd_bus_reply_method_error(c->message, &e);
        } else if (c->tells_n)
                (void) sd_bus_reply_method_return(c->message, "su", c->path, c->n);
        else
                (void) sd_bus_reply_method_return(c->message, "s", c->path);
}

int method_save(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(save_call_freep) SaveCall *c = NULL;
        Manager *m = ASSERT_PTR(userdata);
        int r, force;

        r = sd_bus_message_read(message, "b", &force);
        if (r < 0)
                return r;
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = save_call_new(m, message, &c);
        if (r < 0)
                return r;
        c->tells_n = true;
        r = manager_save(m, force, on_saved, c);
        if (r < 0)
                return set_save_error(reterr, r, c->path);
        TAKE_PTR(c);
        return 1;
}

int method_clear_saved(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(save_call_freep) SaveCall *c = NULL;
        Manager *m = ASSERT_PTR(userdata);
        int r;

        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = save_call_new(m, message, &c);
        if (r < 0)
                return r;
        r = manager_clear_saved(m, on_saved, c);
        if (r < 0)
                return set_save_error(reterr, r, c->path);
        TAKE_PTR(c);
        return 1;
}

static int set_resurrect_error(sd_bus_error *reterr, int error, const Restored *restored) {
        _cleanup_free_ char *why = NULL;

        switch (error) {
        case -ENOENT:
                return sd_bus_error_set(reterr, PMD_ERROR_NO_SAVED_LIST, "No list has been saved.");
        case -EBADMSG:
                why = strv_join(restored->warnings, "; ");
                return bus_error_set_text(reterr, PMD_ERROR_SAVED_LIST_DAMAGED, why);
        default:
                return bus_request_set_error(reterr, error);
        }
}

static int reply_restored(sd_bus_message *message, const char *path, const Restored *restored) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r < 0)
                return r;
        r = bus_message_append_text(reply, path);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(reply, 'u', restored->job_ids, restored->n_jobs * sizeof(uint32_t));
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(reply, 'u', restored->process_ids, restored->n_processes * sizeof(uint32_t));
        if (r < 0)
                return r;
        r = bus_message_append_text_strv(reply, restored->skipped);
        if (r < 0)
                return r;
        r = bus_message_append_text_strv(reply, restored->warnings);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, reply, NULL);
}

int method_resurrect(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        _cleanup_free_ char *path = manager_saved_path(m);
        _cleanup_(restored_done) Restored restored = {};
        int r;

        if (!path)
                return -ENOMEM;
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = manager_resurrect(m, &restored);
        if (r < 0)
                return set_resurrect_error(reterr, r, &restored);
        return reply_restored(message, path, &restored);
}

int method_reload_settings(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        Manager *m = ASSERT_PTR(userdata);
        int r;

        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = manager_load_settings(m);
        if (r < 0)
                return r;
        return sd_bus_reply_method_return(message, NULL);
}
