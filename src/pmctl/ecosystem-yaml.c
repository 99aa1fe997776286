/* SPDX-License-Identifier: MIT */
#include <json-c/linkhash.h>
#include <locale.h>
#include <yaml.h>

#include "pmctl/ecosystem-internal.h"
#include "shared/string-util.h"

/* A recursive reader over libyaml's events. It makes the JSON objects itself instead of going through libyaml's document tree, so that
 * what an alias stands for is copied under a budget, and an alias inside its own anchor is seen where it stands. */

#define BYTES_MAX ((size_t) ECOSYSTEM_SIZE_MAX)

/* How much of the budget a part of the document takes. */
typedef struct Cost {
        size_t nodes, bytes;
        unsigned height; /* levels of mappings and sequences */
} Cost;

typedef struct Anchor {
        json_object *value;
        bool complete;
        Cost cost;
} Anchor;

typedef struct Reader {
        yaml_parser_t parser;
        struct lh_table *anchors; /* name -> Anchor */
        Cost used;
        char **reterr;
} Reader;

static int read_node(Reader *r, yaml_event_t *event, unsigned depth, json_object **ret, Cost *ret_cost);

static inline void yaml_event_done(yaml_event_t *e) {
        yaml_event_delete(e);
}
#define _cleanup_event_ _cleanup_(yaml_event_done)

static void anchor_entry_free(struct lh_entry *entry) {
        Anchor *a = (Anchor *) lh_entry_v(entry);

        free(lh_entry_k(entry));
        json_object_put(a->value);
        free(a);
}

#define fault_at(r, mark, error, format, ...)                                           \
        ecosystem_fault((r)->reterr, (error), "line %zu, column %zu: " format,          \
                        (mark).line + 1, (mark).column + 1 __VA_OPT__(, ) __VA_ARGS__)

static int fault_of_parser(Reader *r) {
        const yaml_parser_t *p = &r->parser;

        if (p->error == YAML_MEMORY_ERROR)
                return -ENOMEM;
        if (p->error == YAML_READER_ERROR)
                return ecosystem_fault(r->reterr, -EINVAL, "byte %zu: %s", p->problem_offset, strempty(p->problem));
        return fault_at(r, p->problem_mark, -EINVAL, "%s%s%s", strempty(p->problem), p->context ? " " : "", strempty(p->context));
}

static int next_event(Reader *r, yaml_event_t *ret) {
        if (!yaml_parser_parse(&r->parser, ret))
                return fault_of_parser(r);
        return 0;
}

static void cost_add(Cost *a, const Cost *b) {
        a->nodes += b->nodes;
        a->bytes += b->bytes;
        a->height = MAX(a->height, b->height);
}

static int charge(Reader *r, const yaml_event_t *event, const Cost *cost, unsigned depth) {
        if (depth + cost->height > ECOSYSTEM_DEPTH_MAX)
                return fault_at(r, event->start_mark, -E2BIG, "it is nested more than %u levels deep", ECOSYSTEM_DEPTH_MAX);

        r->used.nodes += cost->nodes;
        r->used.bytes += cost->bytes;
        if (r->used.nodes > ECOSYSTEM_NODES_MAX || r->used.bytes > BYTES_MAX)
                return fault_at(r, event->start_mark, -E2BIG,
                                "with its aliases written out it is too large (more than %u values or %zu MiB)",
                                ECOSYSTEM_NODES_MAX, BYTES_MAX >> 20);
        return 0;
}

/* ---- scalars ---- */

static bool matches_tag(const char *type, json_object *value) {
        switch (json_object_get_type(value)) {
        case json_type_null:
                return streq(type, "null");
        case json_type_boolean:
                return streq(type, "bool");
        case json_type_int:
                return streq(type, "int") || streq(type, "float");
        default:
                return streq(type, "float");
        }
}

static int make_scalar(Reader *r, const yaml_event_t *event, json_object **ret) {
        const char *s = (const char *) event->data.scalar.value, *tag = (const char *) event->data.scalar.tag;
        const char *type = tag ? startswith(tag, "tag:yaml.org,2002:") : NULL;
        bool typed = type && (streq(type, "null") || streq(type, "bool") || streq(type, "int") || streq(type, "float"));
        _cleanup_json_ json_object *value = NULL;
        int k = 0;

        if (strlen(s) != event->data.scalar.length)
                return fault_at(r, event->start_mark, -EINVAL, "a text contains a NUL byte");
        if (tag && !typed && !streq(tag, "!") && !(type && streq(type, "str")))
                return fault_at(r, event->start_mark, -EINVAL, "the tag %s is not known", tag);

        if (typed || (!tag && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE))
                k = ecosystem_resolve_scalar(s, &value);
        if (k < 0)
                return k;
        if (typed && (k == 0 || !matches_tag(type, value)))
                return fault_at(r, event->start_mark, -EINVAL, "'%.64s' is no %s", s, type);
        if (k == 0)
                value = json_object_new_string_len(s, (int) event->data.scalar.length);
        if (k == 0 && !value)
                return -ENOMEM;

        *ret = TAKE_PTR(value);
        return 0;
}

/* ---- anchors ---- */

/* Remembers the name before its value is known, so that an alias in it is noticed. */
static int anchor_open(Reader *r, const yaml_event_t *event, const yaml_char_t *name, Anchor **ret) {
        _cleanup_free_ char *key = NULL;
        struct lh_entry *entry;
        Anchor *a;

        if (!name) {
                *ret = NULL;
                return 0;
        }

        entry = lh_table_lookup_entry(r->anchors, name);
        if (entry && !((const Anchor *) lh_entry_v(entry))->complete)
                return fault_at(r, event->start_mark, -EINVAL, "&%s stands inside what &%s names",
                                (const char *) name, (const char *) name);

        key = strdup((const char *) name);
        a = new0(Anchor, 1);
        if (!key || !a) {
                free(a);
                return -ENOMEM;
        }

        /* A later anchor of the same name replaces the earlier one. */
        (void) lh_table_delete(r->anchors, key);
        if (lh_table_insert(r->anchors, key, a) < 0) {
                free(a);
                return -ENOMEM;
        }
        TAKE_PTR(key);
        *ret = a;
        return 0;
}

static int read_alias(Reader *r, const yaml_event_t *event, unsigned depth, json_object **ret, Cost *ret_cost) {
        const char *name = (const char *) event->data.alias.anchor;
        struct lh_entry *entry = lh_table_lookup_entry(r->anchors, name);
        Anchor *a = entry ? (Anchor *) lh_entry_v(entry) : NULL;
        int k;

        if (!a)
                return fault_at(r, event->start_mark, -EINVAL, "nothing is called &%s", name);
        if (!a->complete)
                return fault_at(r, event->start_mark, -EINVAL, "*%s stands inside what &%s names", name, name);

        k = charge(r, event, &a->cost, depth);
        if (k < 0)
                return k;
        *ret_cost = a->cost;
        if (!a->value) {
                *ret = NULL;
                return 0;
        }
        return json_object_deep_copy(a->value, ret, NULL) < 0 ? -ENOMEM : 0;
}

/* ---- sequences and mappings ---- */

static int check_collection_tag(Reader *r, const yaml_event_t *event, const yaml_char_t *tag, const char *type) {
        const char *s = (const char *) tag, *known = s ? startswith(s, "tag:yaml.org,2002:") : NULL;

        if (!s || streq(s, "!") || (known && streq(known, type)))
                return 0;
        return fault_at(r, event->start_mark, -EINVAL, "the tag %s is not known here", s);
}

static int read_sequence(Reader *r, const yaml_event_t *start, unsigned depth, json_object **ret, Cost *cost) {
        _cleanup_json_ json_object *array = json_object_new_array();
        int k;

        if (!array)
                return -ENOMEM;
        k = check_collection_tag(r, start, start->data.sequence_start.tag, "seq");
        if (k < 0)
                return k;

        for (;;) {
                _cleanup_event_ yaml_event_t event = {};
                _cleanup_json_ json_object *item = NULL;
                Cost c;

                k = next_event(r, &event);
                if (k < 0)
                        return k;
                if (event.type == YAML_SEQUENCE_END_EVENT)
                        break;
                k = read_node(r, &event, depth, &item, &c);
                if (k < 0)
                        return k;
                if (json_object_array_add(array, item) < 0)
                        return -ENOMEM;
                TAKE_PTR(item);
                cost_add(cost, &c);
        }

        *ret = TAKE_PTR(array);
        return 0;
}

/* "<<: *defaults", "<<: [*a, *b]" */
static bool is_merge_key(const yaml_event_t *key) {
        return key->type == YAML_SCALAR_EVENT && key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
               streq((const char *) key->data.scalar.value, "<<");
}

static int add_merge(Reader *r, const yaml_event_t *event, json_object *value, json_object *merges) {
        size_t n;

        if (json_object_is_type(value, json_type_object))
                return json_object_array_add(merges, json_object_get(value)) < 0 ? -ENOMEM : 0;
        if (!json_object_is_type(value, json_type_array))
                return fault_at(r, event->start_mark, -EINVAL, "'<<' takes a mapping or a list of mappings");

        n = json_object_array_length(value);
        for (size_t i = 0; i < n; i++) {
                json_object *item = json_object_array_get_idx(value, i);

                if (!json_object_is_type(item, json_type_object))
                        return fault_at(r, event->start_mark, -EINVAL, "'<<' takes a mapping or a list of mappings");
                if (json_object_array_add(merges, json_object_get(item)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* What the mapping says itself wins, then the earlier one of several. */
static int apply_merges(json_object *object, json_object *merges) {
        size_t n = json_object_array_length(merges);

        for (size_t i = 0; i < n; i++) {
                json_object *merge = json_object_array_get_idx(merges, i);

                json_object_object_foreach(merge, key, value) {
                        if (json_object_object_get_ex(object, key, NULL))
                                continue;
                        if (json_object_object_add(object, key, json_object_get(value)) < 0)
                                return -ENOMEM;
                }
        }
        return 0;
}

static int check_key(Reader *r, const yaml_event_t *key) {
        const char *s;

        if (key->type != YAML_SCALAR_EVENT)
                return fault_at(r, key->start_mark, -EINVAL, "a key must be a text");
        s = (const char *) key->data.scalar.value;
        if (strlen(s) != key->data.scalar.length)
                return fault_at(r, key->start_mark, -EINVAL, "a key contains a NUL byte");
        if (key->data.scalar.anchor)
                return fault_at(r, key->start_mark, -EINVAL, "a key cannot have an anchor");
        return charge(r, key, &(Cost) { .nodes = 1, .bytes = key->data.scalar.length }, 0);
}

/* Reads the value that belongs to a key into the object, or into merges. */
static int read_member(Reader *r, const yaml_event_t *key, unsigned depth, json_object *object, json_object *merges, Cost *cost) {
        _cleanup_event_ yaml_event_t event = {};
        _cleanup_json_ json_object *value = NULL;
        const char *name;
        Cost c;
        int k;

        k = check_key(r, key);
        if (k >= 0)
                k = next_event(r, &event);
        if (k >= 0)
                k = read_node(r, &event, depth, &value, &c);
        if (k < 0)
                return k;

        cost_add(cost, &c);
        cost_add(cost, &(Cost) { .nodes = 1, .bytes = key->data.scalar.length });
        if (is_merge_key(key))
                return add_merge(r, &event, value, merges);

        name = (const char *) key->data.scalar.value;
        if (json_object_object_get_ex(object, name, NULL))
                return fault_at(r, key->start_mark, -EINVAL, "the key '%.64s' stands twice", name);
        if (json_object_object_add(object, name, value) < 0)
                return -ENOMEM;
        TAKE_PTR(value);
        return 0;
}

static int read_mapping(Reader *r, const yaml_event_t *start, unsigned depth, json_object **ret, Cost *cost) {
        _cleanup_json_ json_object *object = json_object_new_object(), *merges = json_object_new_array();
        int k;

        if (!object || !merges)
                return -ENOMEM;
        k = check_collection_tag(r, start, start->data.mapping_start.tag, "map");
        if (k < 0)
                return k;

        for (;;) {
                _cleanup_event_ yaml_event_t key = {};

                k = next_event(r, &key);
                if (k < 0)
                        return k;
                if (key.type == YAML_MAPPING_END_EVENT)
                        break;
                k = read_member(r, &key, depth, object, merges, cost);
                if (k < 0)
                        return k;
        }

        k = apply_merges(object, merges);
        if (k < 0)
                return k;
        *ret = TAKE_PTR(object);
        return 0;
}

/* depth is the number of mappings and sequences around the node. */
static int read_node(Reader *r, yaml_event_t *event, unsigned depth, json_object **ret, Cost *ret_cost) {
        bool is_scalar = event->type == YAML_SCALAR_EVENT;
        const yaml_char_t *name = is_scalar ? event->data.scalar.anchor :
                                  event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.anchor :
                                  event->data.mapping_start.anchor;
        Cost cost = { .nodes = 1, .bytes = is_scalar ? event->data.scalar.length : 0, .height = !is_scalar };
        _cleanup_json_ json_object *value = NULL;
        Anchor *anchor;
        int k;

        if (event->type == YAML_ALIAS_EVENT)
                return read_alias(r, event, depth, ret, ret_cost);

        k = charge(r, event, &cost, depth);
        if (k >= 0)
                k = anchor_open(r, event, name, &anchor);
        if (k < 0)
                return k;

        if (is_scalar)
                k = make_scalar(r, event, &value);
        else {
                Cost inner = {};

                k = event->type == YAML_SEQUENCE_START_EVENT ? read_sequence(r, event, depth + 1, &value, &inner) :
                                                               read_mapping(r, event, depth + 1, &value, &inner);
                inner.height++;
                cost_add(&cost, &inner);
        }
        if (k < 0)
                return k;

        if (anchor) {
                anchor->value = json_object_get(value);
                anchor->cost = cost;
                anchor->complete = true;
        }
        *ret = TAKE_PTR(value);
        *ret_cost = cost;
        return 0;
}

static int next_event_type(Reader *r, yaml_event_type_t *ret) {
        _cleanup_event_ yaml_event_t event = {};
        int k;

        k = next_event(r, &event);
        if (k >= 0)
                *ret = event.type;
        return k;
}

static int read_document(Reader *r, json_object **ret) {
        _cleanup_event_ yaml_event_t event = {};
        _cleanup_json_ json_object *value = NULL;
        yaml_event_type_t type;
        Cost cost;
        int k;

        k = next_event(r, &event);
        if (k >= 0)
                k = read_node(r, &event, 0, &value, &cost);
        if (k >= 0)
                k = next_event_type(r, &type); /* the end of the document */
        if (k < 0)
                return k;

        *ret = TAKE_PTR(value);
        return 0;
}

static int read_stream(Reader *r, json_object **ret) {
        _cleanup_event_ yaml_event_t event = {};
        _cleanup_json_ json_object *value = NULL;
        yaml_event_type_t type;
        int k;

        k = next_event_type(r, &type); /* the start of the stream */
        if (k >= 0)
                k = next_event_type(r, &type);
        if (k < 0)
                return k;
        if (type == YAML_STREAM_END_EVENT)
                return ecosystem_fault(r->reterr, -EINVAL, "it is empty");

        k = read_document(r, &value);
        if (k >= 0)
                k = next_event(r, &event);
        if (k < 0)
                return k;
        if (event.type != YAML_STREAM_END_EVENT)
                return fault_at(r, event.start_mark, -EINVAL, "there is more than one document");

        *ret = TAKE_PTR(value);
        return 0;
}

int ecosystem_parse_yaml(const char *text, size_t size, json_object **ret, char **reterr) {
        Reader r = { .reterr = reterr };
        locale_t c_locale, caller_locale;
        int k = -ENOMEM;

        c_locale = newlocale(LC_NUMERIC_MASK, "C", (locale_t) 0);
        r.anchors = lh_kchar_table_new(32, anchor_entry_free);
        if (!c_locale || !r.anchors || !yaml_parser_initialize(&r.parser))
                goto finish;
        yaml_parser_set_input_string(&r.parser, (const unsigned char *) text, size);

        /* Decimal points, whatever the caller's language. */
        caller_locale = uselocale(c_locale);
        k = read_stream(&r, ret);
        (void) uselocale(caller_locale);

        yaml_parser_delete(&r.parser);
finish:
        if (r.anchors)
                lh_table_free(r.anchors);
        if (c_locale)
                freelocale(c_locale);
        return k;
}
