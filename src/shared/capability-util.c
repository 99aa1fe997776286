/* SPDX-License-Identifier: MIT */
#include <strings.h>
#include <sys/capability.h>

#include "shared/capability-util.h"
#include "shared/strv.h"
#include "shared/string-util.h"

static int capability_from_name(const char *name, cap_value_t *ret) {
        _cleanup_free_ char *full = strncasecmp(name, "cap_", 4) == 0 ? strdup(name) : strjoin("cap_", name);

        if (!full)
                return -ENOMEM;
        for (char *c = full; *c; c++)
                if (*c >= 'A' && *c <= 'Z')
                        *c = (char) (*c - 'A' + 'a');
        return cap_from_name(full, ret) < 0 ? -EINVAL : 0;
}

int capability_normalize(const char *name, char **ret) {
        char *from_libcap, *copy;
        cap_value_t v;
        int r;

        r = capability_from_name(name, &v);
        if (r < 0)
                return r;

        from_libcap = cap_to_name(v);
        if (!from_libcap)
                return -ENOMEM;
        copy = strdup(from_libcap);
        (void) cap_free(from_libcap);
        if (!copy)
                return -ENOMEM;

        *ret = copy;
        return 0;
}

int capabilities_to_mask(char *const *names, uint64_t *ret) {
        uint64_t mask = 0;

        STRV_FOREACH(name, names) {
                cap_value_t v;
                int r;

                r = capability_from_name(*name, &v);
                if (r < 0)
                        return r;
                if (v >= 64)
                        return -EINVAL;
                mask |= UINT64_C(1) << v;
        }

        *ret = mask;
        return 0;
}
