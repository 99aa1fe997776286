/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "shared/app-resolve.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define SPACES " \t\n\v\f\r"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No word is empty, each is a piece of the text behind the one before, and nothing but spaces and quotes is left out. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size);
        _cleanup_strv_free_ char **words = NULL;
        const char *rest = text;

        if (!text)
                abort();
        if (split_args(text, &words) < 0)
                abort();

        STRV_FOREACH(w, words) {
                size_t length = strlen(*w), most = strspn(rest, SPACES "'\""), skipped = 0;

                while (skipped < most && strncmp(rest + skipped, *w, length) != 0)
                        skipped++;
                if (length == 0 || strncmp(rest + skipped, *w, length) != 0)
                        abort();
                rest += skipped + length;
        }
        if (rest[strspn(rest, SPACES "'\"")])
                abort();
        return 0;
}
