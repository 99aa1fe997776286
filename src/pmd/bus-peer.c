/* SPDX-License-Identifier: MIT */
#include "pmd/bus-peer.h"

#include "shared/pmd-protocol.h"
#include "shared/macro.h"
#include "shared/string-util.h"

static int method_hello(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return sd_bus_reply_method_return(message, "s", ":1.1");
}

/* Every signal is sent to every client; which of them it wants is its own affair. */
static int method_match(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return sd_bus_reply_method_return(message, NULL);
}

static int method_get_name_owner(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        const char *name;
        int r;

        r = sd_bus_message_read_basic(message, 's', &name);
        if (r < 0)
                return r;
        if (!streq(name, PMD_BUS_NAME))
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_NAME_HAS_NO_OWNER, "Only " PMD_BUS_NAME " is here.");
        return sd_bus_reply_method_return(message, "s", PMD_BUS_NAME);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Hello", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", unique_name), method_hello, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("AddMatch", SD_BUS_ARGS("s", rule), SD_BUS_NO_RESULT, method_match, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("RemoveMatch", SD_BUS_ARGS("s", rule), SD_BUS_NO_RESULT, method_match, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetNameOwner", SD_BUS_ARGS("s", name), SD_BUS_RESULT("s", unique_name), method_get_name_owner,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int bus_peer_add(sd_bus *bus) {
        return sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/DBus", "org.freedesktop.DBus", vtable, NULL);
}
