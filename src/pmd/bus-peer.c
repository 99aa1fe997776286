/* SPDX-License-Identifier: MIT */
#include "pmd/bus-peer.h"

#include "shared/pmd-protocol.h"
#include "shared/string-util.h"

#define MATCHES_MAX 512U
#define MATCH_RULE_INVALID "org.freedesktop.DBus.Error.MatchRuleInvalid"
#define MATCH_RULE_NOT_FOUND "org.freedesktop.DBus.Error.MatchRuleNotFound"

typedef struct Match {
        char *rule;
        char *path, *interface, *member; /* NULL: any */
        bool signals;
} Match;

struct BusPeer {
        Match *matches;
        size_t n_matches, n_allocated;
        bool has_matched; /* it chooses */
};

static void match_done(Match *m) {
        free(m->rule);
        free(m->path);
        free(m->interface);
        free(m->member);
        *m = (Match) {};
}

BusPeer *bus_peer_free(BusPeer *p) {
        if (!p)
                return NULL;
        for (size_t i = 0; i < p->n_matches; i++)
                match_done(p->matches + i);
        free(p->matches);
        return mfree(p);
}

/* ---- rules ---- */

/* One value, in which quotes begin and end and are no part of it; the comma behind it is skipped. NULL: out of memory; *rule is NULL if a quote is open. */
static char *take_value(const char **rule) {
        bool quoted = false;
        const char *s;
        char *value, *to;

        value = to = new(char, strlen(*rule) + 1);
        if (!value)
                return NULL;
        for (s = *rule; *s && (quoted || *s != ','); s++)
                if (*s == '\'')
                        quoted = !quoted;
                else
                        *to++ = *s;
        *to = 0;
        *rule = quoted ? NULL : s + (*s == ',');
        return value;
}

static int match_set(Match *m, const char *key, size_t n, char *value) {
        const struct {
                const char *key;
                char **value;
        } fields[] = { { "path", &m->path }, { "interface", &m->interface }, { "member", &m->member } };

        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                if (strlen(fields[i].key) == n && memcmp(key, fields[i].key, n) == 0)
                        return free_and_strdup(fields[i].value, value);
        if (n == STRLEN("type") && memcmp(key, "type", n) == 0)
                m->signals = streq(value, "signal");
        return 0; /* a client looks at what it gets itself, too */
}

/* -EINVAL: that is no rule. */
static int match_parse(const char *rule, Match *m) {
        int r;

        m->signals = true;
        m->rule = strdup(rule);
        if (!m->rule)
                return -ENOMEM;

        while (*rule) {
                _cleanup_free_ char *value = NULL;
                size_t n;

                rule += strspn(rule, " ");
                n = strcspn(rule, "=,");
                if (n == 0 || rule[n] != '=')
                        return -EINVAL;
                const char *key = rule;

                rule += n + 1;
                value = take_value(&rule);
                if (!value)
                        return -ENOMEM;
                if (!rule)
                        return -EINVAL;
                r = match_set(m, key, n, value);
                if (r < 0)
                        return r;
        }
        return 0;
}

bool bus_peer_wants(const BusPeer *p, const BusSignal *s) {
        if (!p->has_matched)
                return true;
        for (size_t i = 0; i < p->n_matches; i++) {
                const Match *m = p->matches + i;

                if (m->signals && (!m->member || streq(m->member, s->member)) && (!m->interface || streq(m->interface, s->interface)) &&
                    (!m->path || streq(m->path, s->path)))
                        return true;
        }
        return false;
}

/* ---- methods ---- */

static int method_hello(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        return sd_bus_reply_method_return(message, "s", ":1.1");
}

static int method_add_match(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        BusPeer *p = ASSERT_PTR(userdata);
        const char *rule;
        Match m = {};
        int r;

        r = sd_bus_message_read_basic(message, 's', &rule);
        if (r < 0)
                return r;
        if (p->n_matches >= MATCHES_MAX)
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_LIMITS_EXCEEDED, "There are %u matches already.", MATCHES_MAX);
        if (!GREEDY_REALLOC(p->matches, p->n_allocated, p->n_matches + 1))
                return -ENOMEM;
        r = match_parse(rule, &m);
        if (r < 0) {
                match_done(&m);
                return r == -EINVAL ? sd_bus_error_set(reterr, MATCH_RULE_INVALID, "That is no match rule.") : r;
        }

        p->matches[p->n_matches++] = m;
        p->has_matched = true;
        return sd_bus_reply_method_return(message, NULL);
}

static int method_remove_match(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        BusPeer *p = ASSERT_PTR(userdata);
        const char *rule;
        int r;

        r = sd_bus_message_read_basic(message, 's', &rule);
        if (r < 0)
                return r;
        for (size_t i = 0; i < p->n_matches; i++)
                if (streq(p->matches[i].rule, rule)) {
                        match_done(p->matches + i);
                        p->matches[i] = p->matches[--p->n_matches];
                        return sd_bus_reply_method_return(message, NULL);
                }
        return sd_bus_error_set(reterr, MATCH_RULE_NOT_FOUND, "There is no such match.");
}

static int method_get_name_owner(sd_bus_message *message, void *userdata, sd_bus_error *reterr) {
        const char *name;
        int r;

        r = sd_bus_message_read_basic(message, 's', &name);
        if (r < 0)
                return r;
        if (!streq(name, PMD_BUS_NAME))
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_NAME_HAS_NO_OWNER, "Only " PMD_BUS_NAME " is here.");
        return sd_bus_reply_method_return(message, "s", PMD_BUS_NAME);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Hello", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", unique_name), method_hello, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("AddMatch", SD_BUS_ARGS("s", rule), SD_BUS_NO_RESULT, method_add_match, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("RemoveMatch", SD_BUS_ARGS("s", rule), SD_BUS_NO_RESULT, method_remove_match, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetNameOwner", SD_BUS_ARGS("s", name), SD_BUS_RESULT("s", unique_name), method_get_name_owner,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int bus_peer_new(sd_bus *bus, BusPeer **ret) {
        _cleanup_(bus_peer_freep) BusPeer *p = NULL;
        int r;

        p = new0(BusPeer, 1);
        if (!p)
                return -ENOMEM;
        r = sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/DBus", "org.freedesktop.DBus", vtable, p);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}
