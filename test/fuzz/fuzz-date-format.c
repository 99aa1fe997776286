/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "shared/date-format.h"

/* The first 8 bytes are the time, the rest is the format. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *format = NULL;
        char buf[DATE_MAX], again[DATE_MAX];
        usec_t t;
        size_t n;

        if (size < sizeof t)
                return 0;
        memcpy(&t, data, sizeof t);
        format = strndup((const char *) data + sizeof t, size - sizeof t);
        if (!format)
                return 0;

        n = date_format(format, t, buf);
        if (n >= DATE_MAX || buf[n] || strlen(buf) != n || date_format(format, t, again) != n || memcmp(buf, again, n) != 0)
                abort();
        if (date_format_iso(t, buf) >= DATE_MAX)
                abort();
        return 0;
}
