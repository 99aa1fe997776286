/* SPDX-License-Identifier: MIT */
#include <stdint.h>

#include "shared/conf-file.h"
#include "shared/string-util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was parsed, when it is written, is parsed without a fault and says the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size), *faults = NULL, *written = NULL, *none = NULL;
        _cleanup_conf_ Conf c = {}, again = {};

        if (!text || conf_parse(&c, text, "fuzz", &faults) < 0)
                abort();
        written = conf_format(&c);
        if (!written || conf_parse(&again, written, "again", &none) < 0 || none || again.n != c.n)
                abort();
        for (size_t i = 0; i < c.n; i++)
                if (!streq_ptr(conf_get(&again, c.entries[i].section, c.entries[i].key), c.entries[i].value))
                        abort();
        return 0;
}
