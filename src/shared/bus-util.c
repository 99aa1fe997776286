/* SPDX-License-Identifier: MIT */
#include "shared/bus-util.h"
#include "shared/json-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

int bus_message_append_text(sd_bus_message *m, const char *s) {
        _cleanup_free_ char *escaped = NULL;

        s = strempty(s);
        if (utf8_is_valid(s, strlen(s)))
                return sd_bus_message_append_basic(m, 's', s);

        escaped = string_escape_cc(s);
        return escaped ? sd_bus_message_append_basic(m, 's', escaped) : -ENOMEM;
}

int bus_message_append_text_strv(sd_bus_message *m, char *const *l) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "s");
        if (r < 0)
                return r;
        STRV_FOREACH(s, l) {
                r = bus_message_append_text(m, *s);
                if (r < 0)
                        return r;
        }
        return sd_bus_message_close_container(m);
}

int bus_error_set_text(sd_bus_error *e, const char *name, const char *text) {
        _cleanup_free_ char *escaped = NULL;

        if (text && utf8_is_valid(text, strlen(text)))
                return sd_bus_error_set(e, name, text);

        escaped = string_escape_cc(strempty(text));
        return escaped ? sd_bus_error_set(e, name, escaped) : -ENOMEM;
}

/* ---- JSON to D-Bus ---- */

static int append_value(sd_bus_message *m, json_object *o, const char *type, unsigned depth);

static bool integer_is_large(json_object *o) {
        return json_object_get_uint64(o) > INT64_MAX && json_object_get_int64(o) > 0;
}

/* The type of a value inside its variant; NULL for null. */
static const char *type_of_scalar(json_object *o) {
        switch (json_object_get_type(o)) {
        case json_type_string:
                return "s";
        case json_type_boolean:
                return "b";
        case json_type_int:
                return integer_is_large(o) ? "t" : "x";
        case json_type_double:
                return "d";
        case json_type_object:
                return "a{sv}";
        default:
                return NULL;
        }
}

static bool type_is_number(const char *t) {
        return t && (streq(t, "x") || streq(t, "t") || streq(t, "d"));
}

static const char *type_of_array(json_object *o) {
        size_t n = json_object_array_length(o);
        const char *common = n > 0 ? type_of_scalar(json_object_array_get_idx(o, 0)) : "s";
        bool numbers = true, same = common && !streq(common, "a{sv}");

        for (size_t i = 0; i < n; i++) {
                const char *t = type_of_scalar(json_object_array_get_idx(o, i));

                numbers = numbers && type_is_number(t);
                same = same && t && streq(t, common);
        }
        if (!same)
                return n > 0 && numbers ? "ad" : "av";

        switch (common[0]) {
        case 's':
                return "as";
        case 'b':
                return "ab";
        case 'x':
                return "ax";
        case 't':
                return "at";
        default:
                return "ad";
        }
}

const char *bus_type_of_json(json_object *o) {
        return json_object_is_type(o, json_type_array) ? type_of_array(o) : type_of_scalar(o);
}

static int append_variant(sd_bus_message *m, json_object *o, unsigned depth) {
        const char *type = bus_type_of_json(o);
        int r;

        if (!type)
                return -EINVAL;
        r = sd_bus_message_open_container(m, 'v', type);
        if (r < 0)
                return r;
        r = append_value(m, o, type, depth);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(m);
}

static int append_array(sd_bus_message *m, json_object *o, const char *item_type, unsigned depth) {
        int r;

        r = sd_bus_message_open_container(m, 'a', item_type);
        if (r < 0)
                return r;
        for (size_t i = 0; i < json_object_array_length(o); i++) {
                json_object *item = json_object_array_get_idx(o, i);

                if (!item)
                        continue;
                r = item_type[0] == 'v' ? append_variant(m, item, depth) : append_value(m, item, item_type, depth);
                if (r < 0)
                        return r;
        }
        return sd_bus_message_close_container(m);
}

static int append_entry(sd_bus_message *m, const char *key, json_object *value, unsigned depth) {
        int r;

        if (!value)
                return 0;
        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r < 0)
                return r;
        r = bus_message_append_text(m, key);
        if (r < 0)
                return r;
        r = append_variant(m, value, depth);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(m);
}

static int append_dict(sd_bus_message *m, json_object *o, unsigned depth) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        json_object_object_foreach(o, key, value) {
                r = append_entry(m, key, value, depth);
                if (r < 0)
                        return r;
        }
        return sd_bus_message_close_container(m);
}

static int append_value(sd_bus_message *m, json_object *o, const char *type, unsigned depth) {
        if (depth >= BUS_JSON_DEPTH_MAX)
                return -E2BIG;

        switch (type[0]) {
        case 's':
                return bus_message_append_text(m, json_object_get_string(o));
        case 'b':
                return sd_bus_message_append(m, "b", (int) json_object_get_boolean(o));
        case 'x':
                return sd_bus_message_append(m, "x", json_object_get_int64(o));
        case 't':
                return sd_bus_message_append(m, "t", json_object_get_uint64(o));
        case 'd':
                return sd_bus_message_append(m, "d", json_object_get_double(o));
        case 'a':
                return type[1] == '{' ? append_dict(m, o, depth + 1) : append_array(m, o, type + 1, depth + 1);
        default:
                return -EINVAL;
        }
}

int bus_message_append_json_dict(sd_bus_message *m, json_object *o) {
        if (!json_object_is_type(o, json_type_object))
                return -EINVAL;
        return append_value(m, o, "a{sv}", 0);
}

/* ---- D-Bus to JSON ---- */

typedef struct Budget {
        unsigned nodes;
        size_t bytes;
} Budget;

static int read_value(sd_bus_message *m, unsigned depth, Budget *budget, json_object **ret);

static int budget_spend(Budget *b, size_t bytes) {
        if (b->nodes == 0 || b->bytes < bytes)
                return -E2BIG;
        b->nodes--;
        b->bytes -= bytes;
        return 0;
}

static int read_string(sd_bus_message *m, char type, Budget *budget, json_object **ret) {
        const char *s;
        int r;

        r = sd_bus_message_read_basic(m, type, &s);
        if (r < 0)
                return r;
        r = budget_spend(budget, strlen(s));
        if (r < 0)
                return r;
        *ret = json_object_new_string(s);
        return *ret ? 0 : -ENOMEM;
}

static int read_number(sd_bus_message *m, char type, Budget *budget, json_object **ret) {
        union {
                uint8_t y;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
                double d;
                int b;
        } v;
        json_object *o;
        int r;

        r = sd_bus_message_read_basic(m, type, &v);
        if (r < 0)
                return r;
        r = budget_spend(budget, 0);
        if (r < 0)
                return r;

        switch (type) {
        case 'b':
                o = json_object_new_boolean(v.b);
                break;
        case 'd':
                o = json_object_new_double(v.d);
                break;
        case 't':
                o = v.t > INT64_MAX ? json_object_new_uint64(v.t) : json_object_new_int64((int64_t) v.t);
                break;
        case 'y':
                o = json_object_new_int64(v.y);
                break;
        case 'n':
                o = json_object_new_int64(v.n);
                break;
        case 'q':
                o = json_object_new_int64(v.q);
                break;
        case 'i':
                o = json_object_new_int64(v.i);
                break;
        case 'u':
                o = json_object_new_int64(v.u);
                break;
        default:
                o = json_object_new_int64(v.x);
        }
        if (!o)
                return -ENOMEM;
        *ret = o;
        return 0;
}

static int read_variant(sd_bus_message *m, const char *contents, unsigned depth, Budget *budget, json_object **ret) {
        _cleanup_(json_object_putp) json_object *value = NULL;
        int r;

        r = sd_bus_message_enter_container(m, 'v', contents);
        if (r < 0)
                return r;
        r = read_value(m, depth, budget, &value);
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(value);
        return 0;
}

static int read_array(sd_bus_message *m, const char *contents, unsigned depth, Budget *budget, json_object **ret) {
        _cleanup_(json_object_putp) json_object *array = json_object_new_array();
        int r;

        if (!array)
                return -ENOMEM;
        r = sd_bus_message_enter_container(m, 'a', contents);
        if (r < 0)
                return r;
        while ((r = sd_bus_message_at_end(m, false)) == 0) {
                json_object *item = NULL;

                r = read_value(m, depth, budget, &item);
                if (r < 0)
                        return r;
                if (json_object_array_add(array, item) < 0) {
                        json_object_put(item);
                        return -ENOMEM;
                }
        }
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(array);
        return 0;
}

static int read_entry(sd_bus_message *m, const char *contents, unsigned depth, Budget *budget, json_object *dict) {
        _cleanup_(json_object_putp) json_object *value = NULL;
        const char *key;
        int r;

        r = sd_bus_message_enter_container(m, 'e', contents);
        if (r < 0)
                return r;
        r = sd_bus_message_read_basic(m, 's', &key);
        if (r < 0)
                return r;
        if (json_object_object_get_ex(dict, key, NULL))
                return -EINVAL;
        r = budget_spend(budget, strlen(key));
        if (r < 0)
                return r;
        r = read_value(m, depth, budget, &value);
        if (r < 0)
                return r;
        if (json_object_object_add(dict, key, value) < 0)
                return -ENOMEM;
        value = NULL;
        return sd_bus_message_exit_container(m);
}

static int read_dict(sd_bus_message *m, const char *contents, unsigned depth, Budget *budget, json_object **ret) {
        _cleanup_(json_object_putp) json_object *dict = NULL;
        _cleanup_free_ char *entry = NULL;
        int r;

        if (!startswith(contents, "{s"))
                return -EINVAL;
        entry = strndup(contents + 1, strlen(contents) - 2);
        dict = json_object_new_object();
        if (!entry || !dict)
                return -ENOMEM;

        r = sd_bus_message_enter_container(m, 'a', contents);
        if (r < 0)
                return r;
        while ((r = sd_bus_message_at_end(m, false)) == 0) {
                r = read_entry(m, entry, depth, budget, dict);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(dict);
        return 0;
}

static int read_value(sd_bus_message *m, unsigned depth, Budget *budget, json_object **ret) {
        const char *contents;
        char type;
        int r;

        if (depth >= BUS_JSON_DEPTH_MAX)
                return -E2BIG;
        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r <= 0)
                return r < 0 ? r : -EBADMSG;

        switch (type) {
        case 's':
        case 'o':
        case 'g':
                return read_string(m, type, budget, ret);
        case 'b':
        case 'y':
        case 'n':
        case 'q':
        case 'i':
        case 'u':
        case 'x':
        case 't':
        case 'd':
                return read_number(m, type, budget, ret);
        case 'v':
                /* Not counted, so that what was appended can be read; sd-bus itself ends at 128 containers in each
                 * other. */
                return read_variant(m, contents, depth, budget, ret);
        case 'a':
                r = budget_spend(budget, 0);
                if (r < 0)
                        return r;
                return contents[0] == '{' ? read_dict(m, contents, depth + 1, budget, ret) :
                                            read_array(m, contents, depth + 1, budget, ret);
        default:
                return -EINVAL;
        }
}

int bus_message_read_json_dict(sd_bus_message *m, json_object **ret) {
        Budget budget = { .nodes = BUS_JSON_NODES_MAX, .bytes = BUS_JSON_BYTES_MAX };
        const char *contents;
        char type;
        int r;

        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        if (r == 0 || type != 'a' || !streq(contents, "{sv}"))
                return -ENXIO;
        return read_value(m, 0, &budget, ret);
}
