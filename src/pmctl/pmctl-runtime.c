/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "config.h"
#include "pmctl/pmctl-util.h"
#include "shared/instance.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* pm2-runtime and "start --no-daemon": pmd in the foreground, which comes back to "pmctl start" for what an ecosystem file says. */

static int find_pmd(char **ret) {
        const char *given = getenv("PMD_DAEMON");
        _cleanup_free_ char *directory = NULL, *beside = NULL;

        if (isempty(given) && path_get_own_directory(&directory) >= 0) {
                beside = strjoin(directory, "/pmd");
                if (!beside)
                        return -ENOMEM;
                if (access(beside, X_OK) >= 0) {
                        *ret = TAKE_PTR(beside);
                        return 0;
                }
        }
        *ret = strdup(isempty(given) ? PMD_BINARY : given);
        return *ret ? 0 : -ENOMEM;
}

/* All that was typed, but for the verb, and for what is said to pmd in another way. */
static int add_words(char ***l, const char *verb, const Options *o) {
        int r = 0;

        for (char **w = o->words; r >= 0 && *w; w++) {
                if (*w == verb || streq(*w, "--no-daemon") || startswith(*w, "--home="))
                        continue;
                if (streq(*w, "--home") && w[1]) {
                        w++;
                        continue;
                }
                if (streq(*w, "--")) {
                        for (; r >= 0 && *w; w++)
                                r = strv_extend(l, *w);
                        break;
                }
                r = strv_extend(l, *w);
        }
        return r;
}

static int become_pmd(const char *verb, const Options *o) {
        _cleanup_strv_free_ char **l = NULL;
        char *pmd;
        int r;

        r = find_pmd(&pmd);
        if (r >= 0)
                r = strv_consume(&l, pmd);
        if (r >= 0)
                r = o->home ? strv_consume(&l, strjoin("--private=", o->home)) : strv_extend(&l, "--private");
        if (r >= 0)
                r = strv_extend(&l, "--foreground");
        if (r >= 0)
                r = add_words(&l, verb, o);
        if (r < 0)
                return report_error(o, r, NULL);

        (void) execv(l[0], l);
        message_error(o, "Cannot execute %s: %s", l[0], strerror(errno));
        return EXIT_CODE_UNREACHABLE;
}

static bool may_be_private(const Options *o) {
        switch (o->scope) {
        case PMD_SCOPE_PRIVATE:
                return true;
        case PMD_SCOPE_AUTO:
                return o->home || instance_scope_default() == INSTANCE_PRIVATE;
        default:
                return false;
        }
}

int start_in_foreground(char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};

        if (!may_be_private(o) || pmd_open(o->scope, o->home, PMD_OPEN_NO_START, &c, &e) >= 0)
                return -EEXIST;
        return become_pmd(argv[0], o);
}

int verb_runtime(int argc, char *argv[], const Options *o) {
        if (IN_SET(o->scope, PMD_SCOPE_SYSTEM, PMD_SCOPE_USER)) {
                message_error(o, "runtime is for a private pmd; where systemd runs, pmctl start will do.");
                return EXIT_CODE_USAGE;
        }
        return become_pmd(argv[0], o);
}
