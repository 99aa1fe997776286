/* SPDX-License-Identifier: MIT */
#include <json-c/json.h>

#include "shared/app-config.h"
#include "shared/string-util.h"

/* The first byte chooses an attribute, the rest is its value as text, as on the command line: sizes, durations, limits, lists of CPUs and
 * all the others. What is taken is printed, taken again, and printed the same; what is not is explained. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

DEFINE_CLEANUP_FUNC(json_object *, json_object_put)
#define _cleanup_json_ _cleanup_(json_object_putp)

static void check(bool ok) {
        if (!ok)
                abort();
}

static AppConfig *new_config(void) {
        AppConfig *c;

        check(app_config_new(&c) >= 0);
        return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_app_config_unref_ AppConfig *a = new_config(), *b = new_config();
        _cleanup_json_ json_object *value = NULL, *first = NULL, *second = NULL;
        _cleanup_free_ char *fault = NULL, *prefix = NULL;
        const AppOption *options;
        const char *key;
        size_t n;
        int r;

        if (size == 0 || size > 4096)
                return 0;
        options = app_options(&n);
        key = options[data[0] % n].key;
        value = json_object_new_string_len((const char *) data + 1, (int) size - 1);
        prefix = strjoin(key, ": ");
        check(value && prefix);

        r = app_config_set(a, key, value, &fault);
        if (r < 0) {
                check(fault && startswith(fault, prefix));
                return 0;
        }
        check(!fault);

        check(app_config_to_json(a, &first) >= 0);
        check(app_config_set_all(b, first, NULL) >= 0);
        check(app_config_to_json(b, &second) >= 0);
        check(json_object_equal(first, second));
        return 0;
}
