/* SPDX-License-Identifier: MIT */
#include "shared/json-util.h"

int json_add(json_object *o, const char *key, json_object *value) {
        if (value && json_object_object_add(o, key, value) >= 0)
                return 0;
        json_object_put(value);
        return -ENOMEM;
}

int json_append(json_object *array, json_object *value) {
        if (value && json_object_array_add(array, value) >= 0)
                return 0;
        json_object_put(value);
        return -ENOMEM;
}

json_object *json_get(json_object *o, const char *key, json_type type) {
        json_object *v;

        return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, type) ? v : NULL;
}

const char *json_get_string(json_object *o, const char *key) {
        return json_object_get_string(json_get(o, key, json_type_string));
}
