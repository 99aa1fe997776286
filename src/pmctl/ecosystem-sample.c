/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <unistd.h>

#include "pmctl/ecosystem-internal.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/string-util.h"

static const char sample_simple[] =
        "module.exports = {\n"
        "  apps: [{\n"
        "    name: 'app',\n"
        "    script: './app.js'\n"
        "  }]\n"
        "}\n";

static const char sample_full[] =
        "// Apps for pmctl. Start them with \"pmctl start ecosystem.config.js\", with the variables of env_production\n"
        "// with \"--env production\", and only some of them with \"--only web,worker\". Relative paths are those of the\n"
        "// directory where pmctl runs. pmctl(1) tells all that can be said of an app.\n"
        "module.exports = {\n"
        "  apps: [{\n"
        "    name: 'web',\n"
        "    script: './web.js',\n"
        "\n"
        "    // Arguments: a list, or one string that is split as a shell does.\n"
        "    args: ['--verbose'],\n"
        "\n"
        "    // How many processes; 'max' is one for each CPU. They share the ports that they listen on.\n"
        "    instances: 1,\n"
        "\n"
        "    // When it ends it is started again; 16 restarts after less than min_uptime are taken for an error.\n"
        "    autorestart: true,\n"
        "    max_restarts: 16,\n"
        "    min_uptime: '1s',\n"
        "\n"
        "    // It gets SIGINT to stop, and SIGKILL this many milliseconds later.\n"
        "    kill_timeout: 1600,\n"
        "\n"
        "    // Its environment, and what \"--env production\" lays over it.\n"
        "    env: {\n"
        "      NODE_ENV: 'development'\n"
        "    },\n"
        "    env_production: {\n"
        "      NODE_ENV: 'production'\n"
        "    }\n"
        "  }, {\n"
        "    // Any language: the interpreter follows from the file, or is named.\n"
        "    name: 'worker',\n"
        "    script: './worker.py',\n"
        "    interpreter: 'python3',\n"
        "    cwd: '.'\n"
        "  }]\n"
        "}\n";

const char *ecosystem_sample(bool simple) {
        return simple ? sample_simple : sample_full;
}

/* 1 if the directory has a package.json and that says "type": "module", 0 if it says anything else, -ENOENT if there is none */
static int directory_is_module(const char *dir) {
        _cleanup_free_ char *path = strjoin(dir, "/package.json"), *text = NULL;
        _cleanup_json_ json_object *package = NULL;
        json_object *type;
        size_t size, end;
        int r;

        if (!path)
                return -ENOMEM;
        r = read_full_file_at(AT_FDCWD, path, ECOSYSTEM_SIZE_MAX, &text, &size);
        if (r < 0)
                return r;
        if (ecosystem_parse_strict(text, size, 0, &package, &end, NULL) < 0)
                return 0;
        return json_object_object_get_ex(package, "type", &type) && streq_ptr(json_object_get_string(type), "module");
}

/* Whether node takes .js files here for ES modules: the nearest package.json decides. */
static bool is_in_module_package(void) {
        _cleanup_free_ char *dir = get_current_dir_name();

        while (dir) {
                int r = directory_is_module(dir);
                char *slash = strrchr(dir, '/');

                if (r != -ENOENT)
                        return r > 0;
                if (!slash || !dir[0])
                        return false;
                *slash = 0;
        }
        return false;
}

int ecosystem_write_sample(bool simple, bool force, const char **ret_name, char **reterr) {
        const char *name = is_in_module_package() ? "ecosystem.config.cjs" : "ecosystem.config.js";
        const char *text = ecosystem_sample(simple);
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | (force ? O_TRUNC : O_EXCL), 0666);
        if (fd < 0 && errno == EEXIST)
                return ecosystem_fault(reterr, -EEXIST, "File %s exists already, add -f option to overwrite it", name);
        if (fd < 0)
                return ecosystem_fault(reterr, -errno, "File %s cannot be written: %m", name);

        r = write_all(fd, text, strlen(text));
        if (r < 0)
                return ecosystem_fault(reterr, r, "File %s cannot be written: %m", name);

        *ret_name = name;
        return 0;
}
