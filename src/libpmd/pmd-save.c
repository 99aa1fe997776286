/* SPDX-License-Identifier: MIT */
#include "libpmd/pmd-internal.h"
#include "shared/pmd-protocol.h"
#include "shared/strv.h"

/* What is not waited for of the saved list and the settings; pmd_resurrect() is a request, see pmd-request.c. */

_public_ void pmd_restored_free(pmd_restored *r) {
        if (!r)
                return;
        free(r->path);
        strv_free(r->skipped);
        strv_free(r->warnings);
        *r = (pmd_restored) {};
}

static int copy_path(pmd_connection *c, const char *path, char **ret_path, pmd_error *reterr) {
        char *copy;

        if (!ret_path)
                return 0;
        copy = strdup(path);
        if (!copy)
                return error_from_errno(c, -ENOMEM, reterr);
        *ret_path = copy;
        return 0;
}

_public_ int pmd_save(pmd_connection *c, bool force, char **ret_path, uint32_t *ret_n, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        const char *path;
        uint32_t n;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "Save", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "b", (int) force);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        r = connection_call(c, m, c->timeout_usec, &reply, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "su", &path, &n);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        r = copy_path(c, path, ret_path, reterr);
        if (r < 0)
                return r;
        if (ret_n)
                *ret_n = n;
        return 0;
}

_public_ int pmd_clear_saved(pmd_connection *c, char **ret_path, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        const char *path;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "ClearSaved", &m);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        r = connection_call(c, m, c->timeout_usec, &reply, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "s", &path);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        return copy_path(c, path, ret_path, reterr);
}

_public_ int pmd_reload_settings(pmd_connection *c, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "ReloadSettings", &m);
        if (r < 0)
                return error_from_errno(c, r, reterr);
        return connection_call(c, m, c->timeout_usec, NULL, reterr);
}
