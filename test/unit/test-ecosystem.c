/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "pmctl/ecosystem-internal.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/strv.h"
#include "shared/time-util.h"
#include "test.h"
#include "tree.h"

#define _cleanup_tree_ _cleanup_(tree_remove)

/* What was loaded, in one string: "path=definition" for each app, then the warnings. */
static char *describe(const Ecosystem *e) {
        _cleanup_strv_free_ char **parts = NULL;

        for (size_t i = 0; i < e->n_apps; i++) {
                const char *json = json_object_to_json_string_ext(e->apps[i].definition, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

                if (strv_consume(&parts, strjoin(e->apps[i].path, "=", json)) < 0)
                        abort();
        }
        STRV_FOREACH(w, e->warnings)
                if (strv_consume(&parts, strjoin("! ", *w)) < 0)
                        abort();
        return strv_join(parts, " ");
}

/* Loads a file of this name and content; what became of it, or the error, with the directory taken out. */
static char *load(const char *name, const char *content, const char *env_name, const char *only) {
        _cleanup_tree_ char *dir = tree_new();
        _cleanup_free_ char *path = tree_write(dir, name, content, strlen(content), 0644);
        _cleanup_free_ char *fault = NULL;
        _cleanup_ecosystem_free_ Ecosystem *e = NULL;
        char *text, *at;

        if (ecosystem_load(path, env_name, only, &e, &fault) >= 0)
                text = describe(e);
        else
                text = strdup(fault ?: "no message");

        while ((at = strstr(text, dir)))
                memmove(at, at + strlen(dir) + 1, strlen(at + strlen(dir) + 1) + 1);
        return text;
}

/* A '*' at the end stands for whatever node says; its words change with its version. */
static bool matches(const char *got, const char *expected) {
        size_t n = strlen(expected);

        return n > 0 && expected[n - 1] == '*' ? strncmp(got, expected, n - 1) == 0 : streq(got, expected);
}

typedef struct Case {
        const char *content, *result, *env_name, *only;
} Case;

static void run_cases(const char *name, const Case *cases, size_t n) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *got = load(name, cases[i].content, cases[i].env_name, cases[i].only);

                if (!matches(got, cases[i].result))
                        TEST_FAIL("%s\n# gives %s\n# not   %s", cases[i].content, got, cases[i].result);
        }
}
#define RUN_CASES(name, cases) run_cases(name, cases, ELEMENTSOF(cases))

TEST(is_file) {
        _cleanup_tree_ char *dir = tree_new();
        _cleanup_free_ char *spaced = tree_write(dir, "my app.json", "", 0, 0644);
        _cleanup_free_ char *missing = strjoin(dir, "/none yet.json");

        ASSERT_TRUE(ecosystem_is_file("-"));
        ASSERT_TRUE(ecosystem_is_file("app.json"));
        ASSERT_TRUE(ecosystem_is_file("a/app.json.dist"));
        ASSERT_TRUE(ecosystem_is_file("app.yml"));
        ASSERT_TRUE(ecosystem_is_file("app.yaml"));
        ASSERT_TRUE(ecosystem_is_file("my.config.js"));
        ASSERT_TRUE(ecosystem_is_file("my.config.cjs"));
        ASSERT_TRUE(ecosystem_is_file("my.config.mjs"));
        ASSERT_TRUE(ecosystem_is_file(spaced));
        ASSERT_TRUE(!ecosystem_is_file(missing));
        ASSERT_TRUE(!ecosystem_is_file("node tool.js conf.json"));
        ASSERT_TRUE(!ecosystem_is_file("app.js"));
        ASSERT_TRUE(!ecosystem_is_file("config.js"));
        ASSERT_TRUE(!ecosystem_is_file("app"));
        ASSERT_TRUE(!ecosystem_is_file(""));
        ASSERT_TRUE(!ecosystem_is_file("/srv/my.json.d/app.js"));
        ASSERT_TRUE(!ecosystem_is_file(dir));
}

TEST(directory) {
        static const char *const names[] = { "ecosystem.yaml", "ecosystem.yml", "ecosystem.json", "ecosystem.config.mjs",
                                             "ecosystem.config.cjs", "ecosystem.config.js" };
        _cleanup_tree_ char *dir = tree_new();
        _cleanup_free_ char *fault = NULL, *expected = strjoin("File ", dir, "/ecosystem.config.js not found");
        Ecosystem *e = NULL;

        ASSERT_EQ(ecosystem_load(dir, NULL, NULL, &e, &fault), -ENOENT);
        ASSERT_STREQ(fault, expected);

        /* Each is preferred to those before it. */
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const char *content = endswith(names[i], "mjs") ? "export default [{script: 'a'}]" :
                                      endswith(names[i], "js")  ? "module.exports = [{script: 'a'}]" :
                                                                  "[{\"script\": \"a\"}]";
                _cleanup_free_ char *path = tree_write(dir, names[i], content, strlen(content), 0644);

                ASSERT_TRUE(ecosystem_is_file(dir));
                ASSERT_OK(ecosystem_load(dir, NULL, NULL, &e, NULL));
                ASSERT_STREQ(e->file, path);
                ASSERT_EQ(e->n_apps, 1);
                ecosystem_free(e);
        }
}

TEST(shapes) {
        static const Case cases[] = {
                { "{\"apps\": [{\"script\": \"a.js\"}, {\"script\": \"b.js\"}]}", "apps[0]={\"script\":\"a.js\"} apps[1]={\"script\":\"b.js\"}" },
                { "{\"apps\": {\"script\": \"a.js\"}}", "apps={\"script\":\"a.js\"}" },
                { "{\"pm2\": [{\"script\": \"a.js\"}]}", "pm2[0]={\"script\":\"a.js\"}" },
                { "[{\"script\": \"a.js\"}, {}]", "[0]={\"script\":\"a.js\"} [1]={}" },
                { "{\"script\": \"a.js\", \"deploy\": {}}", "={\"script\":\"a.js\"}" },
                { "[]", "" },
                { "{\"apps\": []}", "" },
                { "{\"deploy\": {\"x\": {}}}", "" },
                { "{\"apps\": [], \"static\": [{\"path\": \"p\", \"port\": 8081, \"spa\": true, \"watch\": true}]}",
                  "static[0]={\"watch\":true,\"name\":\"static-page-server-8081\","
                  "\"env\":{\"PM2_SERVE_PATH\":\"p\",\"PM2_SERVE_PORT\":\"8081\",\"PM2_SERVE_SPA\":\"true\"},\"script\":\"serve\"}" },
                { "{\"static\": [{\"name\": \"w\"}]}", "static[0]={\"name\":\"w\",\"env\":{},\"script\":\"serve\"}" },

                { "{}", "File f.json malformated: it is an empty object, which describes no app" },
                { "null", "File f.json malformated: it is null, which describes no app" },
                { "7", "File f.json malformated: it is a number, which describes no app" },
                { "\"a\"", "File f.json malformated: it is a text, which describes no app" },
                { " \n ", "File f.json malformated: it is empty" },
                { "{\"apps\": [1, {\"script\": \"a\"}, null, [\"x\"]], \"static\": 7, \"deploy\": []}",
                  "File f.json malformated: deploy: it is a list, not an object\n"
                  "apps[0]: it is a number, not an object that describes an app\n"
                  "apps[2]: it is null, not an object that describes an app\n"
                  "apps[3]: it is a list, not an object that describes an app\n"
                  "static: it is a number, not a list" },
                { "{\"apps\": \"a.js\"}", "File f.json malformated: apps: it is a text, not an object that describes an app" },
        };

        RUN_CASES("f.json", cases);
}

TEST(names) {
        static const Case cases[] = {
                { "[{\"name\": 7}, {\"name\": 1.5}]", "[0]={\"name\":\"7\"} [1]={\"name\":\"1.5\"}" },
                { "[{\"name\": \"a\", \"name_prefix\": \"p\"}]", "[0]={\"name\":\"p:a\"}" },
                { "[{\"script\": \"x/my.app.js\", \"namePrefix\": \"p\"}]", "[0]={\"script\":\"x/my.app.js\",\"name\":\"p:my.app\"}" },
                { "[{\"cmd\": \"b.js\", \"append_env_to_name\": true, \"env_e\": {}}]", "[0]={\"cmd\":\"b.js\",\"name\":\"b-e\",\"env\":{}}", "e" },
                { "[{\"name\": \"b\", \"appendEnvToName\": \"yes\", \"name_prefix\": \"p\", \"env_e\": {}}]", "[0]={\"name\":\"p:b-e\",\"env\":{}}", "e" },
                { "[{\"name\": \"b\", \"append_env_to_name\": false, \"env_e\": {}}]", "[0]={\"name\":\"b\",\"env\":{}}", "e" },
                { "[{\"name\": \"b\", \"append_env_to_name\": true}]", "[0]={\"name\":\"b\"}" },
                { "[{\"name\": \"b\", \"append_env_to_name\": {}, \"name_prefix\": []}]",
                  "File f.json malformated: [0].append_env_to_name: it is neither true nor false\n[0].name_prefix: it is a list, not a text" },
        };

        RUN_CASES("f.json", cases);
}

TEST(env) {
        static const Case cases[] = {
                /* env_NAME over env over deploy.NAME.env; what is not chosen goes. */
                { "{\"apps\": [{\"env\": {\"A\": 1, \"B\": 1, \"C\": 1}, \"env_x\": {\"C\": 3}, \"env_y\": {\"D\": 4}}],"
                  " \"deploy\": {\"x\": {\"env\": {\"B\": 0, \"Z\": 0}}}}",
                  "apps[0]={\"env\":{\"B\":1,\"Z\":0,\"A\":1,\"C\":3}}", "x" },
                { "[{\"env\": {\"A\": 1}, \"env_x\": {\"A\": 2}, \"env_file\": \"f\"}]", "[0]={\"env\":{\"A\":1},\"env_file\":\"f\"}" },
                { "[{\"env_file\": \"f\"}]", "[0]={\"env_file\":\"f\"} ! Environment [file] is not defined in process file", "file" },
                { "[{\"env\": [\"A=1\", \"B=b=\"], \"env_x\": {\"A\": null}}]", "[0]={\"env\":{\"B\":\"b=\"}}", "x" },
                { "[{\"env\": {\"A\": null, \"B\": 1}, \"env_x\": {\"B\": null}}]", "[0]={\"env\":{\"A\":null}}", "x" },
                { "[{\"env_x\": {\"A\": 2}}, {\"env\": {\"B\": 1}}]", "[0]={\"env\":{\"A\":2}} [1]={\"env\":{\"B\":1}}", "x" },
                { "[{\"env\": {\"A\": 1}}]", "[0]={\"env\":{\"A\":1}} ! Environment [no\\x1b] is not defined in process file", "no\033" },
                { "[]", "", "x" },
                { "[{\"env_x\": {\"A\": 2}}]", "[0]={}", "" },
                { "[{\"env\": 7, \"env_x\": \"A=1\"}, {\"env_x\": [1]}]",
                  "File f.json malformated: [0].env: it is a number, not an object or a list of NAME=value\n"
                  "[0].env_x: it is a text, not an object or a list of NAME=value\n"
                  "[1].env_x: it is a list, not an object or a list of NAME=value", "x" },
                { "{\"apps\": [{\"env_x\": {}}], \"deploy\": {\"x\": {\"env\": 1}}}", "File f.json malformated: deploy.x: its env is not an object", "x" },
        };

        RUN_CASES("f.json", cases);
}

TEST(only) {
        static const char apps[] = "[{\"name\": \"a\"}, {\"script\": \"d/b.js\"}, {\"name\": 3}, {\"name\": \"c\", \"name_prefix\": \"p\"}, {}]";
        static const Case cases[] = {
                { apps, "[0]={\"name\":\"a\"} [2]={\"name\":\"3\"}", NULL, "a,3" },
                { apps, "[1]={\"script\":\"d/b.js\"} [3]={\"name\":\"p:c\"}", NULL, "b c" },
                { apps, "[3]={\"name\":\"p:c\"}", NULL, "p:c" },
                { apps, "[0]={\"name\":\"a\"} ! --only: f.json names no app q", NULL, " q, a," },
                { apps, "", NULL, "" },
        };

        RUN_CASES("f.json", cases);
}

TEST(json) {
        static const Case cases[] = {
                { "\xEF\xBB\xBF[{\"args\": [\"\\u00e4\"]}]", "[0]={\"args\":[\"\xC3\xA4\"]}" },
                { "/* c */ {\"apps\": [ // d\n {\"script\": 'a', }, ] }", "apps[0]={\"script\":\"a\"}" },
                { "{\"apps\": [{\"script\": \"a\xff\"}]}", "File f.json malformated: line 1, column 24: it is not valid UTF-8" },
        };

        RUN_CASES("f.json", cases);
}

TEST(json_that_is_javascript) {
        static const Case cases[] = {
                { "{apps: [{script: [\"a\", \"b\"].join(''), args: ['x', ], f() {}, u: undefined}]} // end", "apps[0]={\"script\":\"ab\",\"args\":[\"x\"]}" },
                { "[{script: process.env.PMD_TEST}]", "[0]={\"script\":\"from the caller\"}" },
                { "[{script: `a`}]", "[0]={\"script\":\"a\"}" },
                { "[1,\n  2 3]", "File f.json malformated: line 2, column 5: SyntaxError: *" },
                { "{apps: [}", "File f.json malformated: line 1, column 9: SyntaxError: *" },
                { "{}}", "File f.json malformated: line 1, column 3: SyntaxError: *" },
                { "(() => { for (;;); })()", "File f.json malformated: Error: Script execution timed out*" },
                { "(() => 1)", "File f.json malformated: it gives nothing that JSON can express" },
        };

        setenv("PMD_TEST", "from the caller", true);
        RUN_CASES("f.json", cases);
        unsetenv("PMD_TEST");
}

TEST(yaml) {
        static const Case cases[] = {
                { "apps:\n  - script: a.js\n    args: [x, 'y']\n", "apps[0]={\"script\":\"a.js\",\"args\":[\"x\",\"y\"]}" },
                { "[{a: ~, b: null, c: , d: true, e: FALSE, f: yes, g: 'true', h: \"7\"}]",
                  "[0]={\"a\":null,\"b\":null,\"c\":null,\"d\":true,\"e\":false,\"f\":\"yes\",\"g\":\"true\",\"h\":\"7\"}" },
                { "[{a: 0o17, b: 0x1F, c: -12, d: +3, e: 010, f: 1_000, g: 1.50, h: 1e3, i: .5, j: .inf, k: 2024-01-02, l: 0.1, m: -, n: 1.2.3, o: 1e999}]",
                  "[0]={\"a\":15,\"b\":31,\"c\":-12,\"d\":3,\"e\":10,\"f\":\"1_000\",\"g\":1.5,\"h\":1000,\"i\":0.5,\"j\":\".inf\","
                  "\"k\":\"2024-01-02\",\"l\":0.1,\"m\":\"-\",\"n\":\"1.2.3\",\"o\":\"1e999\"}" },
                { "[{a: 9223372036854775807, b: 18446744073709551615, c: -9223372036854775809, d: 36893488147419103232}]",
                  "[0]={\"a\":9223372036854775807,\"b\":18446744073709551615,\"c\":-9.223372036854776e+18,\"d\":3.6893488147419103e+19}" },
                { "[{a: !!str 7, b: !!int '7', c: !!float 7, d: !!bool \"true\", e: !!null '', f: ! '7'}]",
                  "[0]={\"a\":\"7\",\"b\":7,\"c\":7,\"d\":true,\"e\":null,\"f\":\"7\"}" },
                { "x: &d {max_restarts: 3, watch: true}\napps:\n- <<: *d\n  watch: false\n- {script: &s a.js, args: *s}\n",
                  "apps[0]={\"watch\":false,\"max_restarts\":3} apps[1]={\"script\":\"a.js\",\"args\":\"a.js\"}" },
                { "a: &a {k: 1, l: 1}\nb: &b {l: 2, m: 2}\napps: {<<: [*b, *a], n: 3}", "apps={\"n\":3,\"l\":2,\"m\":2,\"k\":1}" },
                { "apps:\n- script: |\n    line\n    more\n- script: >-\n    a\n    b\n", "apps[0]={\"script\":\"line\\nmore\\n\"} apps[1]={\"script\":\"a b\"}" },

                { "", "File f.yaml malformated: it is empty" },
                { "# nothing\n", "File f.yaml malformated: it is empty" },
                { "--- \n", "File f.yaml malformated: it is null, which describes no app" },
                { "[{}]\n---\n[{}]\n", "File f.yaml malformated: line 2, column 1: there is more than one document" },
                { "apps:\n  - {script: a\n", "File f.yaml malformated: line 3, column 1: did not find expected ',' or '}' while parsing a flow mapping" },
                { "apps:\n\t- a\n", "File f.yaml malformated: line 2, column 1: found character that cannot start any token while scanning for the next token" },
                { "a: 1\nb: 2\na: 3\n", "File f.yaml malformated: line 3, column 1: the key 'a' stands twice" },
                { "[{[a]: 1}]", "File f.yaml malformated: line 1, column 3: a key must be a text" },
                { "[{a: \"x\\0y\"}]", "File f.yaml malformated: line 1, column 6: a text contains a NUL byte" },
                { "[{\"x\\0y\": 1}]", "File f.yaml malformated: line 1, column 3: a key contains a NUL byte" },
                { "[{a: !!int x}]", "File f.yaml malformated: line 1, column 6: 'x' is no int" },
                { "[{a: !!bool 1}]", "File f.yaml malformated: line 1, column 6: '1' is no bool" },
                { "[{a: !!binary aGk=}]", "File f.yaml malformated: line 1, column 6: the tag tag:yaml.org,2002:binary is not known" },
                { "[!!set {a}]", "File f.yaml malformated: line 1, column 2: the tag tag:yaml.org,2002:set is not known here" },
                { "[{a: *b}]", "File f.yaml malformated: line 1, column 6: nothing is called &b" },
                { "[{<<: 7}]", "File f.yaml malformated: line 1, column 7: '<<' takes a mapping or a list of mappings" },
                { "[{a: \xff}]", "File f.yaml malformated: byte 5: invalid leading UTF-8 octet" },

                { "&a [*a]", "File f.yaml malformated: line 1, column 5: *a stands inside what &a names" },
                { "x: &a {b: &c [*a]}", "File f.yaml malformated: line 1, column 15: *a stands inside what &a names" },
                { "&a {<<: *a}", "File f.yaml malformated: line 1, column 9: *a stands inside what &a names" },
                { "&a [&a [], *a]", "File f.yaml malformated: line 1, column 5: &a stands inside what &a names" },
                { "[{a: &a 1, b: *a}, {a: &a 2, b: *a}]", "[0]={\"a\":1,\"b\":1} [1]={\"a\":2,\"b\":2}" },
        };

        RUN_CASES("f.yaml", cases);
}

/* Text of n times before, once middle, n times after. */
static char *nest(const char *before, const char *middle, const char *after, size_t n) {
        char *s = new(char, n * (strlen(before) + strlen(after)) + strlen(middle) + 1), *p = s;

        for (size_t i = 0; i < n; i++)
                p = stpcpy(p, before);
        p = stpcpy(p, middle);
        for (size_t i = 0; i < n; i++)
                p = stpcpy(p, after);
        return s;
}

TEST(depth) {
        static const char *const names[] = { "f.yaml", "f.json" };
        _cleanup_free_ char *fits = nest("[", "7", "]", ECOSYSTEM_DEPTH_MAX - 1), *deep = nest("[", "7", "]", ECOSYSTEM_DEPTH_MAX + 1);
        _cleanup_free_ char *bottomless = nest("[", "", "", 1000000), *doc = strjoin("{\"a\": ", fits, "}");

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *a = load(names[i], doc, NULL, NULL), *b = load(names[i], deep, NULL, NULL);
                _cleanup_free_ char *c = load(names[i], bottomless, NULL, NULL);

                ASSERT_TRUE(startswith(a, "={\"a\":[["));
                ASSERT_TRUE(strstr(b, "it is nested more than 64 levels deep"));
                ASSERT_TRUE(strstr(b, "File f.") == b && strstr(b, " cannot be used: line 1, column 6"));
                ASSERT_TRUE(strstr(c, "it is nested more than 64 levels deep"));
        }
}

TEST(aliases_cannot_explode) {
        static const char laughs[] = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
                                     "a1: &a1 [*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0]\n"
                                     "a2: &a2 [*a1,*a1,*a1,*a1,*a1,*a1,*a1,*a1,*a1]\n"
                                     "a3: &a3 [*a2,*a2,*a2,*a2,*a2,*a2,*a2,*a2,*a2]\n"
                                     "a4: &a4 [*a3,*a3,*a3,*a3,*a3,*a3,*a3,*a3,*a3]\n"
                                     "a5: &a5 [*a4,*a4,*a4,*a4,*a4,*a4,*a4,*a4,*a4]\n"
                                     "a6: &a6 [*a5,*a5,*a5,*a5,*a5,*a5,*a5,*a5,*a5]\n"
                                     "apps: [*a6,*a6,*a6,*a6,*a6,*a6,*a6,*a6,*a6]\n";
        _cleanup_free_ char *got = load("f.yml", laughs, NULL, NULL), *half = nest("[", "", "]", 40), *deep = NULL, *wide = NULL;
        _cleanup_free_ char *text = nest("x", "", "", 1 << 20), *fat = nest("*a,", "", "", 20);

        ASSERT_STREQ(got, "File f.yml cannot be used: line 6, column 18: with its aliases written out it is too large (more than 250000 values or 16 MiB)");

        /* An alias of 40 levels, 40 levels deep */
        deep = strjoin("a: &a ", half, "\nb: ", half);
        memcpy(strstr(strstr(deep, "b: "), "[]"), "*a", 2);
        free(got);
        got = load("f.yml", deep, NULL, NULL);
        ASSERT_STREQ(got, "File f.yml cannot be used: line 2, column 43: it is nested more than 64 levels deep");

        wide = strjoin("a: &a ", text, "\nb: [", fat, "]\n");
        free(got);
        got = load("f.yml", wide, NULL, NULL);
        ASSERT_STREQ(got, "File f.yml cannot be used: line 2, column 47: with its aliases written out it is too large (more than 250000 values or 16 MiB)");
}

TEST(modules) {
        static const Case cjs[] = {
                { "module.exports = { apps: [{ script: __filename }] }", "apps[0]={\"script\":\"f.config.js\"}" },
                { "module.exports = () => ({ apps: [{ script: 'a', args: [typeof arguments] }] })", "apps[0]={\"script\":\"a\",\"args\":[\"object\"]}" },
                { "module.exports = function () { return [{ script: 'a', n: arguments.length }] }", "[0]={\"script\":\"a\",\"n\":0}" },
                { "module.exports = async () => [{ script: 'a' }]", "[0]={\"script\":\"a\"}" },
                { "module.exports = new Promise(done => setTimeout(() => done({ apps: async () => [{ script: 'a' }] }), 10))", "apps[0]={\"script\":\"a\"}" },
                { "exports.apps = [{ script: 'a' }]", "apps[0]={\"script\":\"a\"}" },
                { "exports.__esModule = true; exports.default = [{ script: 'a' }]", "[0]={\"script\":\"a\"}" },
                { "console.log('{garbage'); process.stdout.write('x'.repeat(1000) + '\\n'); setInterval(() => {}, 1000); module.exports = [{}]", "[0]={}" },

                { "", "File f.config.js malformated: it is an empty object, which describes no app" },
                { "module.exports = undefined", "File f.config.js malformated: it gives nothing that JSON can express" },
                { "module.exports = 5", "File f.config.js malformated: it is a number, which describes no app" },
                { "\nmodule.exports = {\n  apps: [}\n", "File f.config.js malformated: line 3, column 10: SyntaxError: *" },
                { "\n\nnot.there", "File f.config.js malformated: ReferenceError: not is not defined\n    at Object.<anonymous> (f.config.js:3:1)*" },
                { "module.exports = async () => {\n  throw 'no \\x1b error' }", "File f.config.js malformated: no \\x1b error" },
                { "module.exports = () => { const a = []; a.a = a; return { a: [a] } }; module.exports.toString = 1; const b = {}; b.b = b; module.exports = b",
                  "File f.config.js malformated: TypeError: Converting circular structure to JSON*" },
                { "process.exit(3)", "File f.config.js malformated: node ended with exit code 3 before the file gave a result" },
                { "process.kill(process.pid, 'SIGTERM'); for (;;);", "File f.config.js malformated: node was killed by SIGTERM" },
                { "module.exports = [{ script: 'x'.repeat(20 << 20) }]", "File f.config.js cannot be used: what it evaluates to is larger than 16 MiB" },
        };
        static const Case esm[] = {
                { "import fs from 'fs'; export default { apps: [{ script: typeof fs.open }] }", "apps[0]={\"script\":\"function\"}" },
                { "export const apps = [{ script: await Promise.resolve('a') }]", "apps[0]={\"script\":\"a\"}" },
                { "export default async () => [{ script: 'a' }]", "[0]={\"script\":\"a\"}" },
                { "export default {\n  a: }\n", "File f.config.mjs malformated: line 2, column 6: SyntaxError: *" },
                { "await new Promise(() => {})", "File f.config.mjs malformated: node ended with exit code *" },
        };

        RUN_CASES("f.config.js", cjs);
        RUN_CASES("f.config.mjs", esm);
}

TEST(modules_of_a_package) {
        _cleanup_tree_ char *dir = tree_new();
        _cleanup_free_ char *package = tree_write(dir, "package.json", "{\"type\": \"module\"}", 18, 0644);
        _cleanup_free_ char *other = tree_write(dir, "other.cjs", "module.exports = 'b.js'", 23, 0644);
        static const char text[] = "import other from './other.cjs'; export default [{ script: other }]";
        _cleanup_free_ char *path = tree_write(dir, "x.config.js", text, strlen(text), 0644);
        static const char broken_text[] = "module.exports = require('./y')";
        _cleanup_free_ char *broken = tree_write(dir, "x.config.cjs", broken_text, strlen(broken_text), 0644);
        _cleanup_free_ char *required = tree_write(dir, "y.cjs", "}", 1, 0644), *got = NULL, *fault = NULL;
        _cleanup_ecosystem_free_ Ecosystem *e = NULL;

        ASSERT_OK(ecosystem_load(path, NULL, NULL, &e, NULL));
        got = describe(e);
        ASSERT_STREQ(got, "[0]={\"script\":\"b.js\"}");

        /* A fault in what the file requires is placed there. */
        ASSERT_EQ(ecosystem_load(broken, NULL, NULL, &e, &fault), -EINVAL);
        ASSERT_TRUE(strstr(fault, "Cannot find module './y'"));
        (void) required;
}

TEST(endless_modules_are_killed) {
        static const char text[] = "require('child_process').spawn('sleep', ['1000'], { stdio: ['ignore', 'ignore', 'ignore', 3] });\n"
                                   "require('fs').writeFileSync(process.env.PMD_TEST, String(process.pid)); for (;;);";
        _cleanup_tree_ char *dir = tree_new();
        _cleanup_free_ char *path = tree_write(dir, "x.config.js", text, strlen(text), 0644);
        _cleanup_free_ char *pid_path = strjoin(dir, "/pid"), *pid = NULL, *fault = NULL;
        json_object *value;

        setenv("PMD_TEST", pid_path, true);
        ASSERT_EQ(ecosystem_evaluate(path, NULL, 0, 2 * USEC_PER_SEC, &value, &fault), -ETIME);
        unsetenv("PMD_TEST");
        ASSERT_STREQ(fault, "it was still being evaluated after 2 s");

        /* Nobody of its group is left but what init has yet to reap. */
        ASSERT_OK(read_full_file(pid_path, &pid, NULL));
        for (int i = 0; i < 100 && kill(-atoi(pid), 0) >= 0; i++)
                (void) usleep(20000);
        ASSERT_EQ(kill(-atoi(pid), 0), -1);
        ASSERT_EQ(errno, ESRCH);
}

TEST(no_node) {
        _cleanup_free_ char *path = strdup(getenv("PATH")), *a = NULL, *b = NULL, *c = NULL;

        setenv("PATH", "/nowhere", true);
        a = load("f.config.js", "module.exports = [{}]", NULL, NULL);
        b = load("f.json", "[{},\n {a: 1}]", NULL, NULL);
        c = load("f.json", "[{}", NULL, NULL);
        setenv("PATH", path, true);

        ASSERT_STREQ(a, "File f.config.js cannot be used: it takes node to read it, which is not in PATH. Install node, or write the file as JSON or YAML");
        ASSERT_STREQ(b, "File f.json malformated: line 2, column 3: quoted object property name expected");
        ASSERT_STREQ(c, "File f.json malformated: line 1, column 4: it ends too early");
}

TEST(large_files) {
        static const char *const names[] = { "f.json", "f.yaml", "f.config.js" };
        _cleanup_free_ char *spaces = nest(" ", "", "", 50 << 20);

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *got = load(names[i], spaces, NULL, NULL), *expected = NULL;

                expected = strjoin("File ", names[i], " cannot be used: it is larger than 16 MiB");
                ASSERT_STREQ(got, expected);
        }
}

TEST(missing_files) {
        static const char *const names[] = { "/nowhere/f.json", "/nowhere/f.yaml", "/nowhere/f.config.js", "/dev/null/f.json" };
        Ecosystem *e;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *fault = NULL, *expected = strjoin("File ", names[i], " not found");

                ASSERT_EQ(ecosystem_load(names[i], NULL, NULL, &e, &fault), -ENOENT);
                ASSERT_STREQ(fault, expected);
        }
}

/* Loads "-" with the text behind standard input. */
static char *load_stdin(const char *text) {
        _cleanup_close_pair_ int pipefd[2] = EBADF_PAIR;
        _cleanup_ecosystem_free_ Ecosystem *e = NULL;
        int saved = dup(STDIN_FILENO), r;
        char *fault = NULL;

        if (pipe2(pipefd, O_CLOEXEC) < 0 || write_all(pipefd[1], text, strlen(text)) < 0 || dup2(pipefd[0], STDIN_FILENO) < 0)
                abort();
        pipefd[1] = safe_close(pipefd[1]);

        r = ecosystem_load("-", NULL, NULL, &e, &fault);
        if (dup2(saved, STDIN_FILENO) < 0)
                abort();
        (void) close(saved);
        return r < 0 ? fault : describe(e);
}

TEST(standard_input) {
        _cleanup_free_ char *a = load_stdin("[{\"script\": \"a\"}]"), *b = load_stdin("[{script: 'a'}]"), *c = load_stdin("{a b}");

        ASSERT_STREQ(a, "[0]={\"script\":\"a\"}");
        ASSERT_STREQ(b, "[0]={\"script\":\"a\"}");
        ASSERT_TRUE(matches(c, "Standard input malformated: line 1, column 4: SyntaxError: *"));
}

TEST(deploy) {
        _cleanup_tree_ char *dir = tree_new();
        static const char text[] = "{\"apps\": [], \"deploy\": {\"x\": {\"user\": \"u\"}}}";
        _cleanup_free_ char *path = tree_write(dir, "f.json", text, strlen(text), 0644);
        _cleanup_ecosystem_free_ Ecosystem *e = NULL;

        ASSERT_OK(ecosystem_load(path, NULL, NULL, &e, NULL));
        ASSERT_STREQ(json_object_to_json_string_ext(e->deploy, JSON_C_TO_STRING_PLAIN), "{\"x\":{\"user\":\"u\"}}");
}

TEST(app_faults) {
        _cleanup_free_ char *a = ecosystem_app_faults(&(EcosystemApp) { .path = (char *) "apps[2]" }, "script: no\nwatch: bad\nNo such thing\n");
        _cleanup_free_ char *b = ecosystem_app_faults(&(EcosystemApp) { .path = (char *) "" }, "script: no");

        ASSERT_STREQ(a, "apps[2].script: no\napps[2].watch: bad\napps[2]: No such thing");
        ASSERT_STREQ(b, "script: no");
}

TEST(sample) {
        _cleanup_free_ char *here = get_current_dir_name(), *text = NULL, *fault = NULL, *package = NULL;
        _cleanup_tree_ char *dir = tree_new();
        _cleanup_ecosystem_free_ Ecosystem *e = NULL, *simple = NULL, *in_package = NULL;
        const char *name = NULL;

        ASSERT_OK(chdir(dir));
        ASSERT_OK(ecosystem_write_sample(false, false, &name, NULL));
        ASSERT_STREQ(name, "ecosystem.config.js");
        ASSERT_OK(ecosystem_load(".", "production", NULL, &e, NULL));
        ASSERT_EQ(e->n_apps, 2);
        ASSERT_STREQ(e->file, "./ecosystem.config.js");
        ASSERT_TRUE(!e->warnings);
        ASSERT_STREQ(json_object_get_string(json_object_object_get(json_object_object_get(e->apps[0].definition, "env"), "NODE_ENV")), "production");

        name = NULL;
        ASSERT_EQ(ecosystem_write_sample(true, false, &name, &fault), -EEXIST);
        ASSERT_STREQ(fault, "File ecosystem.config.js exists already, add -f option to overwrite it");
        ASSERT_TRUE(!name);
        ASSERT_OK(read_full_file("ecosystem.config.js", &text, NULL));
        ASSERT_STREQ(text, ecosystem_sample(false));

        ASSERT_OK(ecosystem_write_sample(true, true, &name, NULL));
        ASSERT_OK(ecosystem_load("ecosystem.config.js", NULL, NULL, &simple, NULL));
        ASSERT_EQ(simple->n_apps, 1);

        /* CommonJS would not be read as such there. */
        package = tree_write(dir, "package.json", "{\"type\": \"module\"}", 18, 0644);
        ASSERT_OK(mkdir("inner", 0755));
        ASSERT_OK(chdir("inner"));
        ASSERT_OK(ecosystem_write_sample(false, false, &name, NULL));
        ASSERT_STREQ(name, "ecosystem.config.cjs");
        ASSERT_OK(ecosystem_load(".", NULL, NULL, &in_package, NULL));
        ASSERT_OK(chdir(here));
}
