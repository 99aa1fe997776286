/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "shared/app-resolve.h"
#include "shared/string-util.h"
#include "shared/strv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 'word', with each quote in it as '\'' */
static char *quote(const char *word) {
        char *quoted = new(char, strlen(word) * 4 + 3), *q = quoted;

        if (!quoted)
                abort();

        *q++ = '\'';
        for (; *word; word++)
                if (*word == '\'')
                        q = mempcpy(q, "'\\''", 4);
                else
                        *q++ = *word;
        *q++ = '\'';
        *q = 0;
        return quoted;
}

/* What was split, when each word is quoted and all are joined, splits into the same words. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size), *joined = NULL;
        _cleanup_strv_free_ char **words = NULL, **quoted = NULL, **again = NULL;

        if (!text)
                abort();
        if (split_args(text, &words) < 0)
                return 0;

        STRV_FOREACH(w, words)
                if (strv_consume(&quoted, quote(*w)) < 0)
                        abort();

        joined = strv_join(quoted, " ");
        if (!joined || split_args(joined, &again) < 0 || !strv_equal(words, again))
                abort();
        return 0;
}
