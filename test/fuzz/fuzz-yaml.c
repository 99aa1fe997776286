/* SPDX-License-Identifier: MIT */
#include <json-c/json.h>

#include "pmctl/ecosystem-internal.h"

/* What is read from YAML must survive being printed as JSON and read again. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_json_ json_object *o = NULL, *again = NULL;
        _cleanup_free_ char *fault = NULL, *text = NULL;
        const char *json;
        size_t n, end;

        if (size > ECOSYSTEM_SIZE_MAX)
                return 0;
        text = new(char, size + 1);
        if (!text)
                abort();
        memcpy(text, data, size);
        text[size] = 0;

        if (ecosystem_parse_yaml(text, size, &o, &fault) < 0) {
                if (!fault || !*fault)
                        abort();
                return 0;
        }

        json = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);
        if (!json || n > INT32_MAX - 1)
                return 0;
        if (ecosystem_parse_strict(json, n, 0, &again, &end, NULL) < 0 || !json_object_equal(o, again))
                abort();
        return 0;
}
