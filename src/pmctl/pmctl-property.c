/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "pmctl/pmctl-util.h"
#include "shared/string-util.h"

/* "memory_max=600M", "memory-max=600M"; an empty value takes the attribute back. */
static int add_property(const Options *o, pmd_definition *d, const char *operand) {
        const char *equals = strchr(operand, '=');
        _cleanup_free_ char *key = NULL;
        int r;

        if (!equals || equals == operand) {
                _cleanup_free_ char *escaped = string_escape_cc(operand);

                message_error(o, "'%s' is not of the form ATTRIBUTE=VALUE", strempty(escaped));
                return EXIT_CODE_USAGE;
        }

        key = strndup(operand, (size_t) (equals - operand));
        if (!key)
                return report_error(o, -ENOMEM, NULL);
        for (char *c = key; *c; c++)
                if (*c == '-')
                        *c = '_';

        r = pmd_definition_set_string(d, key, equals + 1);
        return r < 0 ? report_error(o, r, NULL) : EXIT_CODE_OK;
}

static void confirm(const Options *o, const ProcessList *l) {
        for (size_t i = 0; i < l->n; i++) {
                _cleanup_free_ char *name = string_escape_cc(strempty(l->items[i].name));

                message_info(o, "[%s](%" PRIu32 ") \u2713", strempty(name), l->items[i].id);
        }
}

/* The first operand is what it is about. */
int verb_set_property(int argc, char *argv[], const Options *o) {
        _cleanup_(pmd_definition_freep) pmd_definition *properties = NULL;
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_result_free) pmd_result result = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        _cleanup_process_list_ ProcessList l = {};
        int r;

        r = pmd_definition_new(&properties);
        if (r < 0)
                return report_error(o, r, NULL);
        for (char **operand = argv + 2; *operand; operand++) {
                r = add_property(o, properties, *operand);
                if (r != EXIT_CODE_OK)
                        return r;
        }

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;
        r = fetch_processes(o, c, TARGET(argv[1]), 0, &l);
        if (r == EXIT_CODE_NO_SUCH_APP)
                return report_no_such_target(o, argv[1]);
        if (r != EXIT_CODE_OK)
                return r;

        r = pmd_set_properties(c, TARGET(argv[1]), properties, &result.process_ids, &result.n_processes, &e);
        if (r < 0)
                return report_error(o, r, &e);
        report_notes(o, c, &result);
        confirm(o, &l);
        return EXIT_CODE_OK;
}
