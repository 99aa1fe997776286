/* SPDX-License-Identifier: MIT */
#include "shared/conf-file.h"
#include "shared/strv.h"
#include "test.h"
#include "tree.h"

/* The entries as "section/key=value", separated by "|". New memory. */
static char *flat(const Conf *c) {
        char *text = strdup("");

        for (size_t i = 0; i < c->n; i++) {
                char *more = strjoin(text, i > 0 ? "|" : "", c->entries[i].section, "/", c->entries[i].key, "=", c->entries[i].value);

                free(text);
                text = more;
        }
        return text;
}

TEST(what_is_parsed) {
        static const struct {
                const char *text, *entries, *faults;
        } rows[] = {
                { "", "", NULL },
                { "[A]\nk=v\n", "A/k=v", NULL },
                { "[A]\nk=v", "A/k=v", NULL },
                { "[A]\r\nk = v \r\n", "A/k=v", NULL },
                { "  [A]  \n \t k\t=\tv w \n", "A/k=v w", NULL },
                { "# [B]\n; x\n[A]\n#k=1\n  ;k=2\nk=3\n", "A/k=3", NULL },
                { "[A]\nk=a=b\n", "A/k=a=b", NULL },
                { "[A]\nk=a # b\n", "A/k=a # b", NULL },
                { "[A]\nk=1\nk=2\n", "A/k=2", NULL },
                { "[A]\nk=1\n[B]\nk=2\n[A]\nk=3\n", "A/k=3|B/k=2", NULL },
                { "[A]\nk=1\nl=2\nk=\n", "A/l=2", NULL },
                { "[A]\nk=\"\"\n", "A/k=", NULL },
                { "[A]\nk=\" a \"\n", "A/k= a ", NULL },
                { "[A]\nk=\"\\\"\\\\\\n\\t\\r\\x41\"\n", "A/k=\"\\\n\t\rA", NULL },
                { "[A]\nk=a\\\nb\n", "A/k=a b", NULL },
                { "[A]\nk=a\\\r\n  b\\\n# no\nc\n", "A/k=a   b c", NULL },
                { "[A]\nk=a\\", "A/k=a", NULL },
                { "[module:x y]\nk.l=v\n", "module:x y/k.l=v", NULL },
                { "k=v\n", "", "f:1: a line outside" },
                { "\n[A\nk=v\n[B]\nl=w\n", "B/l=w", "f:2: this is no [Section]" },
                { "[]\n", "", "f:1: this is no [Section]" },
                { "[A]b]\n", "", "f:1: this is no [Section]" },
                { "[A]\nk\n", "", "f:2: this is no Key=value" },
                { "[A]\n=v\nk=v", "A/k=v", "f:2: the line is malformed" },
                { "[A]\nk=\"a\n", "", "f:2: the line is malformed" },
                { "[A]\nk=\"a\"b\n", "", "f:2: the line is malformed" },
                { "[A]\nk=\"\\q\"\n", "", "f:2: the line is malformed" },
                { "[A]\nk=\"\\x0\"\n", "", "f:2: the line is malformed" },
                { "[A]\nk=\"\\x00\"\n", "", "f:2: the line is malformed" },
                { "[A]\nk=\"\\xff\"\n", "", "f:2: the line is malformed" },
                { "[A]\nk=\xff\n", "", "f:2: the line is malformed" },
                { "[A]\na\\\nb\nl=\"\n", "", "f:4: the line is malformed" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_conf_ Conf c = {};
                _cleanup_free_ char *faults = NULL, *got = NULL;

                ASSERT_OK(conf_parse(&c, rows[i].text, "f", &faults));
                got = flat(&c);
                ASSERT_STREQ(got, rows[i].entries);
                ASSERT_TRUE(rows[i].faults ? faults && strstr(faults, rows[i].faults) : !faults);
        }
}

TEST(many_assignments) {
        _cleanup_free_ char *text = new0(char, 5000 * 10 + 8), *faults = NULL;
        _cleanup_conf_ Conf c = {};
        char *p = stpcpy(text, "[A]\n");

        for (unsigned i = 0; i < 5000; i++)
                p += sprintf(p, "k%u=v\n", i);
        ASSERT_OK(conf_parse(&c, text, "f", &faults));
        ASSERT_EQ(c.n, 4096);
        ASSERT_TRUE(strstr(faults, "f:4098: more than 4096"));
}

TEST(what_is_set_is_written_and_read) {
        static const char *const values[] = { "", " ", "a", " a", "a ", "\"", "\"a\"", "a\\", "\\n", "a\nb", "\t", "#a", ";", "=", "\u00e4", "\x7f", "[B]" };
        _cleanup_conf_ Conf c = {}, again = {};
        _cleanup_free_ char *text = NULL, *faults = NULL, *a = NULL, *b = NULL;

        for (size_t i = 0; i < ELEMENTSOF(values); i++) {
                char key[] = { 'k', (char) ('a' + i), 0 };

                ASSERT_OK(conf_set(&c, i % 2 ? "odd" : "even", key, values[i]));
        }
        text = conf_format(&c);
        ASSERT_OK(conf_parse(&again, text, "f", &faults));
        ASSERT_TRUE(!faults);
        ASSERT_EQ(again.n, ELEMENTSOF(values));
        for (size_t i = 0; i < ELEMENTSOF(values); i++) {
                char key[] = { 'k', (char) ('a' + i), 0 };

                ASSERT_STREQ(conf_get(&again, i % 2 ? "odd" : "even", key), values[i]);
        }
}

TEST(what_cannot_be_set) {
        static const char *const sections[] = { "", "a]", "[a", "a\nb", "\xff" }, *const keys[] = { "", "a=b", "#a", ";a", "[a", " a", "a ", "a\nb", "\xff" };
        _cleanup_conf_ Conf c = {};

        for (size_t i = 0; i < ELEMENTSOF(sections); i++)
                ASSERT_EQ(conf_set(&c, sections[i], "k", "v"), -EINVAL);
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                ASSERT_EQ(conf_set(&c, "A", keys[i], "v"), -EINVAL);
        ASSERT_EQ(conf_set(&c, "A", "k", "\xff"), -EINVAL);
        ASSERT_EQ(c.n, 0);
}

TEST(removal) {
        _cleanup_conf_ Conf c = {};

        ASSERT_OK(conf_set(&c, "A", "k", "1"));
        ASSERT_OK(conf_set(&c, "A", "l", "2"));
        ASSERT_OK(conf_set(&c, "A", "k", NULL));
        ASSERT_OK(conf_set(&c, "A", "never", NULL));
        ASSERT_EQ(c.n, 1);
        ASSERT_STREQ(conf_get(&c, "A", "l"), "2");
        ASSERT_TRUE(!conf_get(&c, "A", "k"));
}

static void put(const char *dir, const char *name, const char *text) {
        free(tree_write(dir, name, text, strlen(text), 0644));
}

TEST(order_of_the_files) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *etc = strjoin(dir, "/etc"), *lib = strjoin(dir, "/lib"), *none = strjoin(dir, "/none"), *mask = NULL, *faults = NULL, *got = NULL;
        char *const dirs[] = { etc, none, lib, NULL };
        _cleanup_conf_ Conf c = {};

        put(dir, "etc/p.conf", "[A]\nmain=etc\nk=main\n");
        put(dir, "lib/p.conf", "[A]\nmain=lib\nnever=1\n");
        put(dir, "lib/p.conf.d/10-a.conf", "[A]\nk=10-lib\na=lib\n");
        put(dir, "etc/p.conf.d/10-a.conf", "[A]\nk=10-etc\n");
        put(dir, "lib/p.conf.d/20-b.conf", "[A]\nb=20\nk=20\n");
        put(dir, "etc/p.conf.d/15-c.conf", "[A]\nb=15\n");
        put(dir, "lib/p.conf.d/30-masked.conf", "[A]\nmasked=1\n");
        put(dir, "etc/p.conf.d/.hidden.conf", "[A]\nhidden=1\n");
        put(dir, "etc/p.conf.d/40-x.conf.bak", "[A]\nbak=1\n");
        mask = strjoin(etc, "/p.conf.d/30-masked.conf");
        ASSERT_OK(symlink("/dev/null", mask));

        ASSERT_OK(conf_load(&c, dirs, "p.conf", &faults));
        got = flat(&c);
        ASSERT_TRUE(!faults);
        ASSERT_STREQ(got, "A/main=etc|A/k=20|A/b=20");
}

TEST(files_that_cannot_be_read) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *sub = strjoin(dir, "/p.conf"), *faults = NULL;
        char *const dirs[] = { dir, NULL };
        _cleanup_conf_ Conf c = {};

        ASSERT_OK(conf_load(&c, dirs, "p.conf", &faults));
        ASSERT_TRUE(!faults);

        ASSERT_OK(mkdir(sub, 0755));
        free(tree_write(dir, "p.conf.d/a.conf", "[A]\nk=\0\n", 9, 0644));
        ASSERT_OK(conf_load(&c, dirs, "p.conf", &faults));
        ASSERT_TRUE(strstr(faults, "p.conf: it cannot be read"));
        ASSERT_TRUE(strstr(faults, "a.conf: this is no text"));
        ASSERT_EQ(c.n, 0);
}
