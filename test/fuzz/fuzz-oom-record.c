/* SPDX-License-Identifier: MIT */
#include "shared/oom-record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size);
        OomRecord r = {};

        if (!text)
                abort();
        if (oom_record_parse(text, &r) > 0 && (r.pid <= 0 || !r.cgroup || strlen(r.name) >= sizeof r.name))
                abort();
        oom_record_done(&r);
        return 0;
}
