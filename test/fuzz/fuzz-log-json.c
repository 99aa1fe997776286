/* SPDX-License-Identifier: MIT */
#include <endian.h>

#include "shared/log-json.h"

/* What was made is to be what journald can read: names of capital letters, digits and '_', each value with a newline behind. */

static size_t check_field(const char *p, size_t n) {
        size_t name = 0, value;
        uint64_t size;
        const char *end;

        while (name < n && ((p[name] >= 'A' && p[name] <= 'Z') || (name > 0 && ((p[name] >= '0' && p[name] <= '9') || p[name] == '_'))))
                name++;
        if (name == 0 || name > 64 || name == n)
                abort();

        if (p[name] == '=') {
                end = memchr(p + name, '\n', n - name);
                if (!end)
                        abort();
                return (size_t) (end - p) + 1;
        }

        if (p[name] != '\n' || n - name < 1 + sizeof size)
                abort();
        memcpy(&size, p + name + 1, sizeof size);
        value = name + 1 + sizeof size;
        if (le64toh(size) >= n - value || p[value + le64toh(size)] != '\n')
                abort();
        return value + le64toh(size) + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(log_json_done) LogJson j = {};

        if (log_json_parse((const char *) data, size, &j) <= 0)
                return 0;

        if (j.priority < -1 || j.priority > 7 || (j.message && memchr(j.message, '\n', j.n_message)))
                abort();
        for (size_t at = 0; at < j.n_fields;)
                at += check_field(j.fields + at, j.n_fields - at);
        return 0;
}
