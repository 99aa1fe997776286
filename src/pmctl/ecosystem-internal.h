/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/ecosystem.h"
#include "shared/json-util.h"
#include "shared/time-util.h"

/* The readers of the formats, and what makes apps of a document; used by ecosystem*.c and their tests only. Their *reterr says what is
 * wrong and where, but not in which file. */

#define ECOSYSTEM_NODES_MAX 250000U /* of a YAML document with its aliases written out */
#define ECOSYSTEM_NODE_TIMEOUT (10 * USEC_PER_SEC)

/* *reterr (unless reterr is NULL) becomes the text, escaped for a terminal but for its newlines. Returns error, or -ENOMEM. */
int ecosystem_fault(char **reterr, int error, const char *format, ...) _printf_(3, 4);

/* The text is NUL-terminated. JSON by json-c; what that refuses is a JavaScript expression, which node evaluates. */
int ecosystem_parse_json(const char *text, size_t size, const char *file, json_object **ret, char **reterr);

/* Anchors, aliases and merge keys ("<<") are resolved. Plain scalars mean what the core schema of YAML 1.2 says. */
int ecosystem_parse_yaml(const char *text, size_t size, json_object **ret, char **reterr);

/* What a plain scalar of YAML means; decimal points are the locale's. 1; 0 if it is only a text; -ENOMEM. A null is a NULL object, as
 * json-c has it. */
int ecosystem_resolve_scalar(const char *s, json_object **ret);

/* Strict JSON as our node child writes it, or as json-c takes it with flags 0. *ret_offset is the end, or where the fault is. */
int ecosystem_parse_strict(const char *text, size_t size, int flags, json_object **ret, size_t *ret_offset, char **reterr);

/* Evaluates in a child: text as an expression if it is given (file is its name in messages), else the module in file. */
int ecosystem_evaluate(const char *file, const char *text, size_t size, usec_t timeout, json_object **ret, char **reterr);

/* One definition. Its options go by any of their names. */

/* The value, which belongs to the definition; NULL if there is none, or null. */
json_object *definition_get_option(json_object *definition, const char *option);

/* Takes an attribute that is no option out, under either spelling. The caller's to release; NULL if there is none, or null. */
json_object *definition_take_attribute(json_object *definition, const char *snake, const char *camel);

/* Its name, or the one that follows from its script; NULL if it has neither. New memory. */
int definition_find_name(json_object *definition, char **ret);

/* Whether the key is an env_NAME and not an option such as env_file. */
bool definition_is_env_key(const char *key);
int definition_drop_envs(json_object *definition);

/* Lays variables over others: an object, or an array of NAME=value. 0; -EINVAL for anything else; -ENOMEM. */
int definition_lay_over_env(json_object *env, json_object *over);

/* Makes an app of an entry of "static"; what is not about serving stays as it is. 0; -EINVAL if its env is none; -ENOMEM. */
int definition_make_serve(json_object *site);

bool json_is_text(json_object *o); /* a string or a number */
int json_set_string(json_object *object, const char *key, const char *value);

/* Fills apps, deploy and warnings; changes the document. */
int ecosystem_take_document(Ecosystem *e, json_object *document, const char *env_name, const char *only, char **reterr);

#define _cleanup_json_ _cleanup_(json_object_putp)
