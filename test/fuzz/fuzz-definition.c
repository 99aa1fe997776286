/* SPDX-License-Identifier: MIT */
#include <json-c/json.h>

#include "shared/app-config.h"
#include "shared/strv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

DEFINE_CLEANUP_FUNC(json_object *, json_object_put)
#define _cleanup_json_ _cleanup_(json_object_putp)

static json_object *parse(const uint8_t *data, size_t size) {
        struct json_tokener *tokener = json_tokener_new();
        json_object *object;

        if (!tokener)
                abort();
        object = json_tokener_parse_ex(tokener, (const char *) data, (int) size);
        json_tokener_free(tokener);
        return object;
}

/* Takes what it can of the object and gives the definition back as JSON. */
static int set_and_print(json_object *object, AppConfig **ret_config, json_object **ret) {
        _cleanup_app_config_unref_ AppConfig *c = NULL;
        _cleanup_free_ char *err = NULL;
        int r;

        if (app_config_new(&c) < 0)
                abort();

        r = app_config_set_all(c, object, &err);
        if ((r < 0) != !!err || app_config_to_json(c, ret) < 0)
                abort();

        *ret_config = TAKE_PTR(c);
        return r;
}

/* What a definition prints, it accepts, and prints again the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_json_ json_object *object = NULL, *first = NULL, *second = NULL, *third = NULL;
        _cleanup_app_config_unref_ AppConfig *a = NULL, *b = NULL, *copy = NULL;

        if (size > 1 << 20)
                return 0;
        object = parse(data, size);
        if (!json_object_is_type(object, json_type_object))
                return 0;

        (void) set_and_print(object, &a, &first);
        if (set_and_print(first, &b, &second) < 0 || !json_object_equal(first, second))
                abort();

        if (app_config_copy(a, &copy) < 0 || app_config_to_json(copy, &third) < 0 || !json_object_equal(first, third) ||
            !strv_equal(a->env, copy->env))
                abort();
        return 0;
}
