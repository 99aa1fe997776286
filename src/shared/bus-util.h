/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-bus.h>

#include "shared/macro.h"

/* A dictionary a{sv} of D-Bus and a JSON object, either way. */

/* What a message may hold, so that a caller cannot make us build a tree without end. */
#define BUS_JSON_DEPTH_MAX 8U
#define BUS_JSON_NODES_MAX 65536U
#define BUS_JSON_BYTES_MAX (8U * 1024U * 1024U)

/* Appends a JSON object as one a{sv}: strings are s, booleans b, integers x (t above INT64_MAX), other numbers d,
 * arrays as, ab, ax, ad or av, objects a{sv}; null, which D-Bus does not know, is left out. 0, -E2BIG if nested too
 * deeply, -EINVAL for an object that is none, or another negative errno. */
int bus_message_append_json_dict(sd_bus_message *m, json_object *o);

/* The type that a value has there, inside its variant; NULL for null. */
const char *bus_type_of_json(json_object *o);

/* Reads one a{sv} into a new JSON object. Integers of any width, strings, object paths, signatures, booleans,
 * doubles, variants, arrays and dictionaries with string keys of these are taken. 0; -EINVAL for another type or a
 * key that stands twice; -E2BIG above the limits; -ENXIO if no a{sv} comes next; or another negative errno. */
int bus_message_read_json_dict(sd_bus_message *m, json_object **ret);

/* Append a string (NULL: "") or an array of strings. D-Bus refuses whole messages for one byte that is not UTF-8, so
 * text of unknown origin is escaped (string_escape_cc()) where it is none. */
int bus_message_append_text(sd_bus_message *m, const char *s);
int bus_message_append_text_strv(sd_bus_message *m, char *const *l);

/* Sets an error whose message is of unknown origin, as above. Returns the errno that belongs to name, as
 * sd_bus_error_set(). */
int bus_error_set_text(sd_bus_error *e, const char *name, const char *text);
