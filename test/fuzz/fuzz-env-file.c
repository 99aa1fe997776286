/* SPDX-License-Identifier: MIT */
#include "shared/env-file.h"
#include "shared/env-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Appends NAME="value". */
static void append_line(char **text, const char *assignment) {
        const char *equals = strchr(assignment, '='), *value = equals + 1;
        _cleanup_free_ char *quoted = new(char, strlen(value) * 2 + 1);
        char *q = quoted, *joined;

        if (!quoted)
                abort();
        for (; *value; value++) {
                if (strchr("\"\\$`", *value))
                        *q++ = '\\';
                *q++ = *value;
        }
        *q = 0;

        joined = strprintf("%s%.*s=\"%s\"\n", *text, (int) (equals - assignment), assignment, quoted);
        if (!joined)
                abort();
        free(*text);
        *text = joined;
}

/* What was read, when it is written with quotes, is read the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_strv_free_ char **env = NULL, **again = NULL;
        _cleanup_free_ char *text = new(char, size + 1), *written = strdup("");
        const char *why;
        unsigned line;

        if (!text || !written)
                abort();
        memcpy(text, data, size);
        text[size] = 0;

        if (env_file_parse(text, size, &env, &line, &why) < 0) {
                if (line == 0 || isempty(why))
                        abort();
                return 0;
        }

        STRV_FOREACH(e, env)
                append_line(&written, *e);
        if (env_file_parse(written, strlen(written), &again, &line, &why) < 0 || !strv_equal(env, again))
                abort();
        return 0;
}
