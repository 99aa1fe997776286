/* SPDX-License-Identifier: MIT */
#include <grp.h>
#include <pwd.h>

#include "pmd/credentials.h"
#include "shared/parse-util.h"

static Credentials *credentials_free(Credentials *c) {
        free(c->groups);
        free(c->user);
        free(c->home);
        free(c->shell);
        return mfree(c);
}

DEFINE_REF_UNREF_FUNC(Credentials, credentials, credentials_free);

static int fill_user(Credentials *c, const char *user) {
        const struct passwd *pw;
        unsigned uid;

        if (safe_atou(user, &uid) >= 0) {
                pw = getpwuid(uid);
                c->uid = uid;
                c->gid = pw ? pw->pw_gid : uid;
        } else {
                pw = getpwnam(user);
                if (!pw)
                        return -ESRCH;
                c->uid = pw->pw_uid;
                c->gid = pw->pw_gid;
        }
        if (!pw)
                return 0;

        c->user = strdup(pw->pw_name);
        c->home = strdup(pw->pw_dir);
        c->shell = strdup(pw->pw_shell);
        return c->user && c->home && c->shell ? 0 : -ENOMEM;
}

static int fill_group(Credentials *c, const char *group) {
        const struct group *gr;
        unsigned gid;

        if (safe_atou(group, &gid) >= 0) {
                c->gid = gid;
                return 0;
        }
        gr = getgrnam(group);
        if (!gr)
                return -ENOENT;
        c->gid = gr->gr_gid;
        return 0;
}

static int fill_groups(Credentials *c) {
        int n = 0;

        if (!c->user)
                return 0;

        (void) getgrouplist(c->user, c->gid, NULL, &n);
        c->groups = new(gid_t, (size_t) n);
        if (!c->groups)
                return -ENOMEM;
        if (getgrouplist(c->user, c->gid, c->groups, &n) < 0)
                return -EAGAIN;
        c->n_groups = (size_t) n;
        return 0;
}

int credentials_new(const char *user, const char *group, Credentials **ret) {
        _cleanup_(credentials_unrefp) Credentials *c = NULL;
        int r;

        c = new0(Credentials, 1);
        if (!c)
                return -ENOMEM;
        c->n_ref = 1;

        r = fill_user(c, user);
        if (r < 0)
                return r;
        if (group) {
                r = fill_group(c, group);
                if (r < 0)
                        return r;
        }
        r = fill_groups(c);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(c);
        return 0;
}
