/* SPDX-License-Identifier: MIT */
#include "libpmd/pmd-internal.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"
#include "shared/strv.h"

struct pmd_definition {
        pmd_attribute *attributes;
        size_t n_attributes, n_allocated;
};

void attribute_done(pmd_attribute *a) {
        free(a->key);
        free(a->string);
        strv_free(a->strv);
        free(a->integers);
        *a = (pmd_attribute) {};
}

_public_ int pmd_definition_new(pmd_definition **ret) {
        pmd_definition *d = new0(pmd_definition, 1);

        if (!d)
                return -ENOMEM;
        *ret = d;
        return 0;
}

_public_ pmd_definition *pmd_definition_free(pmd_definition *d) {
        if (!d)
                return NULL;

        for (size_t i = 0; i < d->n_attributes; i++)
                attribute_done(d->attributes + i);
        free(d->attributes);
        return mfree(d);
}

static pmd_attribute *find_attribute(pmd_definition *d, const char *key) {
        for (size_t i = 0; i < d->n_attributes; i++)
                if (streq(d->attributes[i].key, key))
                        return d->attributes + i;
        return NULL;
}

/* Takes what a holds, on failure too; it replaces an attribute of that name. */
static int definition_take(pmd_definition *d, const char *key, pmd_attribute a) {
        pmd_attribute *old;

        a.key = strdup(key);
        if (!a.key)
                goto oom;

        old = find_attribute(d, key);
        if (old) {
                attribute_done(old);
                *old = a;
                return 0;
        }

        if (!GREEDY_REALLOC(d->attributes, d->n_allocated, d->n_attributes + 1))
                goto oom;
        d->attributes[d->n_attributes++] = a;
        return 0;

oom:
        attribute_done(&a);
        return -ENOMEM;
}

_public_ int pmd_definition_set_string(pmd_definition *d, const char *key, const char *value) {
        char *s = strdup(value);

        if (!s)
                return -ENOMEM;
        return definition_take(d, key, (pmd_attribute) { .type = PMD_ATTRIBUTE_STRING, .string = s });
}

_public_ int pmd_definition_set_strv(pmd_definition *d, const char *key, char *const *value) {
        char **l = strv_copy(value);

        if (!l && !strv_isempty(value))
                return -ENOMEM;
        return definition_take(d, key, (pmd_attribute) { .type = PMD_ATTRIBUTE_STRV, .strv = l });
}

_public_ int pmd_definition_set_bool(pmd_definition *d, const char *key, bool value) {
        return definition_take(d, key, (pmd_attribute) { .type = PMD_ATTRIBUTE_BOOL, .integer = value });
}

_public_ int pmd_definition_set_int(pmd_definition *d, const char *key, int64_t value) {
        return definition_take(d, key, (pmd_attribute) { .type = PMD_ATTRIBUTE_INT, .integer = value });
}

static int append_strv_variant(sd_bus_message *m, const char *key, char **l) {
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 's', key);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_append_strv(m, l);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r;
}

static int append_attribute(sd_bus_message *m, const pmd_attribute *a) {
        switch (a->type) {
        case PMD_ATTRIBUTE_STRING:
                return sd_bus_message_append(m, "{sv}", a->key, "s", a->string);
        case PMD_ATTRIBUTE_STRV:
                return append_strv_variant(m, a->key, a->strv);
        case PMD_ATTRIBUTE_BOOL:
                return sd_bus_message_append(m, "{sv}", a->key, "b", (int) a->integer);
        case PMD_ATTRIBUTE_INT:
                return sd_bus_message_append(m, "{sv}", a->key, "x", a->integer);
        default:
                return -EINVAL;
        }
}

/* D-Bus carries UTF-8 only. The text that is not, or NULL. */
static const char *find_invalid_text(const pmd_attribute *a) {
        if (!utf8_is_valid(a->key, strlen(a->key)))
                return a->key;
        if (a->string && !utf8_is_valid(a->string, strlen(a->string)))
                return a->string;
        STRV_FOREACH(s, a->strv)
                if (!utf8_is_valid(*s, strlen(*s)))
                        return *s;
        return NULL;
}

static int refuse_invalid_text(const pmd_attribute *a, const char *text, pmd_error *reterr) {
        _cleanup_free_ char *key = string_escape_cc(a->key), *escaped = string_escape_cc(text);

        return error_set(reterr, EINVAL, PMD_ERROR_INVALID_DEFINITION, "%s: '%s' is not valid UTF-8.",
                                 strna(key), strna(escaped));
}

int message_append_definition(sd_bus_message *m, const pmd_definition *d, pmd_error *reterr) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        for (size_t i = 0; r >= 0 && i < d->n_attributes; i++) {
                const char *text = find_invalid_text(d->attributes + i);

                if (text)
                        return refuse_invalid_text(d->attributes + i, text, reterr);
                r = append_attribute(m, d->attributes + i);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? error_set(reterr, r, SD_BUS_ERROR_FAILED, "Cannot send the definition: %m") : 0;
}
