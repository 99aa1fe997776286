/* SPDX-License-Identifier: MIT */
#include "pmd/manager-property-bus.h"

#include "pmd/bus-polkit.h"
#include "pmd/bus-request.h"
#include "pmd/manager-property.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/bus-util.h"
#include "shared/json-util.h"
#include "shared/pmd-protocol.h"

static int read_properties(sd_bus_message *message, json_object **ret, sd_bus_error *reterr) {
        int r;

        r = bus_message_read_json_dict(message, ret);
        if (IN_SET(r, -EINVAL, -E2BIG))
                return sd_bus_error_set(reterr, SD_BUS_ERROR_INVALID_ARGS, "The properties are malformed.");
        return r;
}

int method_set_properties(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        _cleanup_(json_object_putp) json_object *properties = NULL;
        _cleanup_free_ Process **processes = NULL;
        _cleanup_free_ uint32_t *ids = NULL;
        _cleanup_free_ char *fault = NULL;
        Manager *m = ASSERT_PTR(userdata);
        size_t n;
        int r;

        r = bus_request_read_targets(m, message, false, &processes, &n, reterr);
        if (r < 0)
                return r;
        r = read_properties(message, &properties, reterr);
        if (r < 0)
                return r;
        r = bus_request_authorize(m, message, PMD_ACTION_MANAGE_APPS, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        ids = new(uint32_t, n);
        if (!ids)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                ids[i] = processes[i]->id;

        r = manager_set_properties(m, properties, processes, n, &fault);
        if (r < 0)
                return fault ? bus_error_set_text(reterr, PMD_ERROR_INVALID_DEFINITION, fault) : r;
        return bus_request_reply_u32_array(message, ids, n);
}
