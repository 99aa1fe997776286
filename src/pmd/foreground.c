/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "config.h"
#include "pmd/foreground.h"
#include "pmd/keeper.h"
#include "shared/log.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* Beside us, or where we were installed. */
static int find_pmctl(char **ret) {
        _cleanup_free_ char *directory = NULL, *path = NULL;
        const char *slash = strrchr(PMD_BINARY, '/');

        if (path_get_own_directory(&directory) >= 0) {
                path = strjoin(directory, "/pmctl");
                if (!path)
                        return -ENOMEM;
                if (access(path, X_OK) >= 0) {
                        *ret = TAKE_PTR(path);
                        return 0;
                }
        }
        *ret = strprintf("%.*s/pmctl", (int) (slash - PMD_BINARY), PMD_BINARY);
        return *ret ? 0 : -ENOMEM;
}

/* What pm2-runtime takes besides, in words that pmctl start knows. *l is for pmctl. */
static int add_word(const char *word, char ***l, bool *stay) {
        if (streq(word, "--no-auto-exit")) {
                *stay = true;
                return 0;
        }
        if (streq(word, "--raw") || streq(word, "--no-daemon"))
                return 0;
        if (streq(word, "--json"))
                return strv_extend(l, "--log-type=json");
        return strv_extend(l, word);
}

static int make_starter(const Instance *i, const Foreground *f, char ***ret, bool *ret_stay) {
        _cleanup_strv_free_ char **l = NULL;
        char *const *words = f->words;
        bool stay = !f->auto_exit;
        char *pmctl = NULL;
        int r;

        r = find_pmctl(&pmctl);
        if (r >= 0)
                r = strv_consume(&l, pmctl);
        if (r >= 0)
                r = strv_extend(&l, "--home");
        if (r >= 0)
                r = strv_extend(&l, i->home);
        if (r >= 0)
                r = strv_extend(&l, "start");

        if (*words && streq(*words, "start"))
                words++;
        for (; r >= 0 && *words && !streq(*words, "--"); words++)
                r = add_word(*words, &l, &stay);
        for (; r >= 0 && *words; words++)
                r = strv_extend(&l, *words);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(l);
        *ret_stay = stay;
        return 0;
}

static int make_pmd(const Instance *i, const Foreground *f, char ***ret) {
        _cleanup_strv_free_ char **l = NULL;
        int r;

        r = strv_extend(&l, f->argv0);
        if (r >= 0)
                r = strv_consume(&l, strjoin("--private=", i->home));
        if (r >= 0)
                r = strv_extend(&l, "--console");
        if (r >= 0 && f->runner)
                r = strv_consume(&l, strjoin("--runner=", f->runner));
        if (r >= 0)
                r = strv_consume(&l, strjoin("--log-level=", f->log_level));
        if (r < 0)
                return r;

        *ret = TAKE_PTR(l);
        return 0;
}

int foreground_exec(const Instance *i, const Foreground *f) {
        _cleanup_strv_free_ char **starter = NULL, **pmd = NULL;
        bool stay;
        int r;

        r = make_starter(i, f, &starter, &stay);
        if (r >= 0)
                r = make_pmd(i, f, &pmd);
        if (r < 0)
                return log_oom();
        return keeper_exec(i, &(KeeperStarter) { starter, stay }, pmd);
}
