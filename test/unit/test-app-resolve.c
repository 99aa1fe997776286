/* SPDX-License-Identifier: MIT */
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#include "shared/app-resolve.h"
#include "shared/strv.h"
#include "tree.h"

static const struct {
        const char *text;
        const char *joined; /* the words, each followed by '|' */
} words[] = {
        { "", "" },
        { " \t\n ", "" },
        { "a", "a|" },
        { "  a  b\tc\n", "a|b|c|" },
        { "'a b' c", "a b|c|" },
        { "\"a b\" c", "a b|c|" },
        /* What follows is what pm2 makes of it. */
        { "--re \\d+ --x", "--re|\\d+|--x|" },
        { "a\\ b", "a\\|b|" },
        { "--j={\"a\":1}", "--j={\"a\":1}|" },
        { "--j={\"a\": 1}", "--j={\"a\":|1}|" },
        { "--j='{\"a\": 1}' z", "--j='{\"a\": 1}'|z|" },
        { "x\"a b\" y", "x\"a|b\"|y|" },
        { "x'a b' y", "x'a|b'|y|" },
        { "--k=\"v w\"q z", "--k=\"v w\"|q|z|" },
        { "--k=\"v 'w\" z", "--k=\"v 'w\"|z|" },
        { "\"a b\"c d", "a b|c|d|" },
        { "c\"a b\" d", "c\"a|b\"|d|" },
        { "--k=\"\" z", "--k=\"\"|z|" },
        { "\"\" z", "z|" },
        { "'' z", "z|" },
        { "a = \"b c\"", "a|=|b c|" },
        { "a=b=\"c d\"", "a=b=\"c|d\"|" },
        { "--a:\"c d\"", "--a:\"c|d\"|" },
        { "\"a 'b' c\"", "a 'b' c|" },
        { "'a \"b\" c'", "a \"b\" c|" },
        { "it's a dog's", "it's|a|dog's|" },
        { "\"unclosed a b", "\"unclosed|a|b|" },
        { "a \"unclosed b", "a|\"unclosed|b|" },
        { "--k=\"unclosed b c", "--k=\"unclosed|b|c|" },
        { "\"a \\\"b\\\" c\"", "a \\|b\\\"|c\"|" },
        { "--k=\"a \\\"b\\\" c\"", "--k=\"a \\\"|b\\\"|c\"|" },
        { "a\"b\"c\"d e\"f", "a\"b\"c\"d|e\"f|" },
        { "\"a\" \"b\"", "a|b|" },
        { "\"a\"\"b\"", "a|b|" },
        { "'a'\"b\"", "a|b|" },
        { "--k='a'\"b c\" d", "--k='a'|b c|d|" },
        { "{\"a\":\"b c\"}", "{\"a\":\"b|c\"}|" },
        { "-c \"echo hi; echo 'x y'\" z", "-c|echo hi; echo 'x y'|z|" },
        { "-c 'echo \"$0\"' z", "-c|echo \"$0\"|z|" },
        { "-e \"console.log('a b')\"", "-e|console.log('a b')|" },
        { "  lead  trail  ", "lead|trail|" },
        { "a\nb\tc", "a|b|c|" },
        { "-D\"a b=c d\"", "-D\"a|b=c|d\"|" },
        { "--k= \"v w\"", "--k=|v w|" },
        { "=“x y”", "=“x|y”|" },
        { "a=\"b\" c=\"d\"", "a=\"b\"|c=\"d\"|" },
        { "C:\\dir\\file \"C:\\Program Files\\x\"", "C:\\dir\\file|C:\\Program Files\\x|" },
        { "a'b", "a'b|" },
        { "\"a b\" \"c", "a b|\"c|" },
        { "a=\"b c\",d=\"e f\" g", "a=\"b c\"|,d=\"e f\"|g|" },
        { "--x=\"a b\"=\"c d\"", "--x=\"a b\"|=\"c|d\"|" },
        { "--k='v \"x y\" w' z", "--k='v \"x y\" w'|z|" },
        { "a,\"b c\"", "a,\"b|c\"|" },
        { "--filter=name=\"a b\"", "--filter=name=\"a|b\"|" },
        { "(\"a b\")", "(\"a|b\")|" },
        { "url?x=\"a b\"&y=\"c d\"", "url?x=\"a b\"|&y=\"c d\"|" },
};

TEST(split_args) {
        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                _cleanup_strv_free_ char **l = NULL;
                _cleanup_free_ char *joined = NULL, *all = NULL;

                printf("# <%s>\n", words[i].joined);
                ASSERT_EQ(split_args(words[i].text, &l), 0);
                joined = strv_join(l, "|");
                ASSERT_TRUE(joined);
                all = strjoin(joined, strv_isempty(l) ? "" : "|");
                ASSERT_STREQ(all, words[i].joined);
        }
}

static const struct {
        const char *name, *content;
        mode_t mode;
        const char *interpreter;
} scripts[] = {
        { "a.js", "", 0644, "node" },
        { "a.mjs", "", 0644, "node" },
        { "a.cjs", "", 0644, "node" },
        { "a.py", "", 0644, "python" },
        { "a.sh", "#!/bin/zsh\n", 0755, "bash" },
        { "a.rb", "", 0644, "ruby" },
        { "a.php", "", 0644, "php" },
        { "a.pl", "", 0644, "perl" },
        { "a.ts", "", 0644, "bun" },
        { "a.tsx", "", 0644, "bun" },
        { "a.coffee", "", 0644, "coffee" },
        { "a.ls", "", 0644, "lsc" },
        { "b.py.js", "", 0644, "node" },
        { "text", "console.log(1)\n", 0644, "node" },
        { "text.txt", "console.log(1)\n", 0755, "node" },
        { "empty", "", 0644, "node" },
        { "shebang", "#!/bin/sh\n", 0755, "none" },
        { "shebang-only-group", "#!/bin/sh\n", 0610, "none" },
        { "shebang-not-executable", "#!/bin/sh\n", 0644, "node" },
        { "binary", "\177ELF", 0755, "none" },
        { "binary.bin", "\177ELF", 0644, "none" },
        { ".js", "x", 0644, "node" },
        { ".sh", "x", 0644, "node" },
};

TEST(interpreter_for_script) {
        _cleanup_(tree_remove) char *dir = tree_new();

        for (size_t i = 0; i < ELEMENTSOF(scripts); i++) {
                _cleanup_free_ char *path = NULL, *interpreter = NULL;
                bool binary = startswith(scripts[i].content, "\177ELF");

                printf("# %s\n", scripts[i].name);
                path = tree_write(dir, scripts[i].name, scripts[i].content, strlen(scripts[i].content) + binary, scripts[i].mode);
                ASSERT_OK(interpreter_for_script(path, &interpreter));
                ASSERT_STREQ(interpreter, scripts[i].interpreter);
        }
}

TEST(interpreter_for_script_fails) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *missing = strjoin(dir, "/missing"), *fifo = strjoin(dir, "/fifo"), *interpreter = NULL;

        ASSERT_OK(mkfifo(fifo, 0600));
        ASSERT_EQ(interpreter_for_script(missing, &interpreter), -ENOENT);
        ASSERT_EQ(interpreter_for_script(dir, &interpreter), -EINVAL);
        ASSERT_EQ(interpreter_for_script(fifo, &interpreter), -EINVAL);
        ASSERT_TRUE(!interpreter);
}

static const struct {
        const char *package, *version;
} packages[] = {
        { "{\"version\":\"1.2.3\"}", "1.2.3" },
        { "{\"name\":\"x\"}", "N/A" },
        { "{\"version\":1}", "N/A" },
        { "{\"version\":\"\"}", "N/A" },
        { "{\"version\":\"a\\u0000b\"}", "N/A" },
        { "{\"version\":\"a\\u001bb\"}", "N/A" },
        { "{\"version\":\"a\377b\"}", "N/A" },
        { "{\"version\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"}", "N/A" },
        { "[\"version\"]", "N/A" },
        { "{\"version\":\"1.2", "N/A" },
        { "", "N/A" },
};

TEST(version_of_script) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *script = tree_write(dir, "lib/deep/a.js", "", 0, 0644);

        for (size_t i = 0; i < ELEMENTSOF(packages); i++) {
                _cleanup_free_ char *path = NULL, *version = NULL;

                printf("# %zu\n", i);
                path = tree_write(dir, "package.json", packages[i].package, strlen(packages[i].package), 0644);
                ASSERT_OK(version_of_script(script, &version));
                ASSERT_STREQ(version, packages[i].version);
        }
}

/* The nearest one counts, even if it has no version, and one that is no file is not waited for. */
TEST(version_of_script_nearest) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *script = tree_write(dir, "lib/a.js", "", 0, 0644), *outer = NULL, *inner = NULL, *version = NULL;
        static const char text[] = "{\"version\":\"1.0\"}", near[] = "{\"version\":\"2.0\"}";

        outer = tree_write(dir, "package.json", text, strlen(text), 0644);
        inner = tree_write(dir, "lib/package.json", near, strlen(near), 0644);
        ASSERT_OK(version_of_script(script, &version));
        ASSERT_STREQ(version, "2.0");

        ASSERT_OK(unlink(inner));
        ASSERT_OK(mkfifo(inner, 0600));
        version = mfree(version);
        ASSERT_OK(version_of_script(script, &version));
        ASSERT_STREQ(version, "N/A");
}

static const struct {
        const char *package, *file; /* NULL: none */
        int r;
        const char *found;
} directories[] = {
        { NULL, NULL, -ENOENT, NULL },
        { NULL, "index.js", 0, "index.js" },
        { "{\"main\":\"lib/main.js\"}", "lib/main.js", 0, "lib/main.js" },
        { "{\"main\":\"./lib/main.js\"}", "lib/main.js", 0, "lib/main.js" },
        { "{\"main\":\"lib/main\"}", "lib/main.js", 0, "lib/main.js" },
        { "{\"main\":\"lib\"}", "lib/index.js", 0, "lib/index.js" },
        { "{\"main\":\"gone.js\"}", "index.js", 0, "index.js" },
        { "{\"main\":7}", "index.js", 0, "index.js" },
        { "{}", "index.js", 0, "index.js" },
        { "{", "index.js", 0, "index.js" },
        { "{\"main\":\"gone.js\"}", "other.js", -ENOENT, NULL },
};

TEST(script_file_of_directory) {
        for (size_t i = 0; i < ELEMENTSOF(directories); i++) {
                _cleanup_(tree_remove) char *dir = tree_new();
                _cleanup_free_ char *package = NULL, *file = NULL, *found = NULL, *expected = NULL;

                printf("# %zu\n", i);
                if (directories[i].package)
                        package = tree_write(dir, "package.json", directories[i].package, strlen(directories[i].package), 0644);
                if (directories[i].file)
                        file = tree_write(dir, directories[i].file, "", 0, 0644);

                ASSERT_EQ(script_file(dir, &found), directories[i].r);
                if (directories[i].found)
                        expected = strjoin(dir, "/", directories[i].found);
                ASSERT_STREQ(found, expected);
        }
}

TEST(script_file) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *file = tree_write(dir, "a.js", "", 0, 0644), *below = strjoin(file, "/x"), *fifo = strjoin(dir, "/fifo"), *found = NULL;

        ASSERT_OK(script_file(file, &found));
        ASSERT_STREQ(found, file);
        found = mfree(found);

        ASSERT_EQ(script_file(below, &found), -ENOTDIR);
        ASSERT_OK(mkfifo(fifo, 0600));
        ASSERT_EQ(script_file(fifo, &found), -EINVAL);
        ASSERT_TRUE(!found);
}
