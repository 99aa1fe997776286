/* SPDX-License-Identifier: MIT */
#include "shared/boot-id.h"

int boot_id_get(char buf[static SD_ID128_STRING_MAX]) {
        sd_id128_t id;
        int r;

        r = sd_id128_get_boot(&id);
        if (r < 0)
                return r;
        (void) sd_id128_to_string(id, buf);
        return 0;
}

bool boot_id_is_current(const char *text) {
        sd_id128_t boot, saved;

        return text && sd_id128_get_boot(&boot) >= 0 && sd_id128_from_string(text, &saved) >= 0 && sd_id128_equal(boot, saved);
}
