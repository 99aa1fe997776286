/* SPDX-License-Identifier: MIT */
#include "pmd/process-bus.h"
#include "pmd/process-list-bus.h"
#include "pmd/process.h"
#include "shared/bus-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* What stands at the same place in each row comes into the same slot. */
enum {
        SLOT_FIELDS = 0,
        SLOT_DEFINITION = 32,
        SLOT_ENVIRONMENT = 96,
};

void list_rows_done(ListRows *l) {
        list_packer_done(&l->packer);
}

/* ---- definitions ---- */

static void pack_json_strv(ListPacker *k, json_object *array) {
        size_t n = json_object_array_length(array);

        list_pack_word(k, (uint32_t) n);
        for (size_t i = 0; i < n; i++)
                list_pack_text(k, json_object_get_string(json_object_array_get_idx(array, i)));
        k->head.n_pointers += (uint32_t) n + 1;
}

static void pack_json_integers(ListPacker *k, json_object *array) {
        size_t n = json_object_array_length(array);

        list_pack_word(k, (uint32_t) n);
        for (size_t i = 0; i < n; i++)
                list_pack_long(k, (uint64_t) json_object_get_int64(json_object_array_get_idx(array, i)));
        k->head.n_integers += (uint32_t) n;
}

/* By the type that the value has on the bus; _INVALID for those that pmd_attribute does not know. Integers end at INT64_MAX there, as json-c
 * has them end too. */
static int pack_type(json_object *value) {
        static const struct {
                const char *type;
                ListPackType pack;
        } types[] = {
                { "s", LIST_PACK_STRING },
                { "b", LIST_PACK_BOOL },
                { "x", LIST_PACK_INT },
                { "t", LIST_PACK_INT },
                { "as", LIST_PACK_STRV },
                { "ax", LIST_PACK_INTV },
                { "at", LIST_PACK_INTV },
        };
        const char *type = bus_type_of_json(value);

        for (size_t i = 0; type && i < ELEMENTSOF(types); i++)
                if (streq(type, types[i].type))
                        return (int) types[i].pack;
        return -EOPNOTSUPP;
}

static void pack_value(ListPacker *k, json_object *value, ListPackType type) {
        switch (type) {
        case LIST_PACK_STRING:
                list_pack_text(k, json_object_get_string(value));
                break;
        case LIST_PACK_STRV:
                pack_json_strv(k, value);
                break;
        case LIST_PACK_BOOL:
                list_pack_word(k, (uint32_t) json_object_get_boolean(value));
                break;
        case LIST_PACK_INT:
                list_pack_long(k, (uint64_t) json_object_get_int64(value));
                break;
        case LIST_PACK_INTV:
                pack_json_integers(k, value);
                break;
        }
}

static uint32_t count_attributes(json_object *definition) {
        uint32_t n = 0;

        json_object_object_foreach(definition, key, value) {
                (void) key;
                n += pack_type(value) >= 0;
        }
        return n;
}

static int pack_definition(ListPacker *k, const AppConfig *config) {
        json_object *definition;
        uint32_t n;
        int r;

        r = app_config_to_json(config, &definition);
        if (r < 0)
                return r;

        n = count_attributes(definition);
        list_pack_set_slot(k, SLOT_DEFINITION);
        list_pack_word(k, n + 1);
        json_object_object_foreach(definition, key, value) {
                int type = pack_type(value);

                if (type < 0)
                        continue;
                list_pack_text(k, key);
                list_pack_word(k, (uint32_t) type);
                pack_value(k, value, (ListPackType) type);
        }
        k->head.n_attributes += n;
        json_object_put(definition);
        return 0;
}

/* ---- environments ---- */

static int pack_environment(ListRows *l, const Process *p) {
        _cleanup_strv_free_ char **env = NULL;
        ListPacker *k = &l->packer;
        int r;

        if (l->environment_of && process_shares_environment(l->environment_of, p)) {
                list_pack_word(k, 0);
                return 0;
        }

        r = process_definition_environment(p, &env);
        if (r < 0)
                return r;
        l->environment_of = p;

        list_pack_set_slot(k, SLOT_ENVIRONMENT);
        list_pack_word(k, 1);
        list_pack_strv(k, env);
        return 0;
}

int list_rows_add(ListRows *l, Process *p, bool with_environment) {
        ListPacker *k = &l->packer;
        int r = 0;

        list_pack_set_slot(k, SLOT_FIELDS);
        process_bus_pack_list_fields(k, p);

        /* 0: that of the row before. */
        if (l->last && l->last->config == p->config)
                list_pack_word(k, 0);
        else
                r = pack_definition(k, p->config);
        if (r >= 0 && with_environment)
                r = pack_environment(l, p);
        l->last = p;
        k->head.n_rows++;
        return r < 0 ? r : k->error;
}
