/* set and delete: one resource instead of a whole file. */
#include <errno.h>

#include "common/input_file.h"
#include "controlplane/cli/command.h"
#include "controlplane/cli/reply.h"
#include "controlplane/config/config.h"

/* The whole of a file; -1 with a message. */
static int read_all(const struct cli *cli, const char *path, struct strbuf *ret) {
    char bytes[65536];
    size_t n;
    FILE *file = input_file_open(path);
    if (!file) {
        cli_error(cli, "cannot read %s: %s", path, input_file_reason(errno));
        return -1;
    }
    while ((n = fread(bytes, 1, sizeof bytes, file)) > 0 && ret->n <= CONFIG_FILE_MAX)
        strbuf_add(ret, bytes, n);
    bool has_failed = ferror(file) || ret->failed;
    fclose(file);
    if (has_failed)
        cli_error(cli, "cannot read %s", path);
    else if (ret->n > CONFIG_FILE_MAX)
        cli_error(cli, "%s is larger than %d bytes", path, CONFIG_FILE_MAX);
    return has_failed || ret->n > CONFIG_FILE_MAX ? -1 : 0;
}

int command_set(struct cli *cli, const struct options *options) {
    Headgate__PushRequest request = HEADGATE__PUSH_REQUEST__INIT;
    Headgate__SetOne set = HEADGATE__SET_ONE__INIT;
    Headgate__SourceFile file = HEADGATE__SOURCE_FILE__INIT;
    struct strbuf text = {0};
    const char *name, *path = input_file_of_argument(options->arguments[1]);
    int exit_code = EXIT_WRONG_USAGE;
    if (cli_parse_resource(cli, options->arguments[0], &set.kind, &name) == 0) {
        exit_code = EXIT_REFUSED;
        if (read_all(cli, path, &text) == 0) {
            set.has_kind = true;
            set.name = (char *)name;
            set.file = &file;
            file.path = (char *)path;
            file.has_text = true;
            file.text = (ProtobufCBinaryData){text.n, (uint8_t *)text.p};
            request.change_case = HEADGATE__PUSH_REQUEST__CHANGE_SET;
            request.set = &set;
            exit_code = reply_push(cli, options, &request);
        }
    }
    strbuf_finish(&text);
    return exit_code;
}

int command_delete(struct cli *cli, const struct options *options) {
    Headgate__PushRequest request = HEADGATE__PUSH_REQUEST__INIT;
    Headgate__DeleteOne delete = HEADGATE__DELETE_ONE__INIT;
    const char *name;
    if (cli_parse_resource(cli, options->arguments[0], &delete.kind, &name) < 0)
        return EXIT_WRONG_USAGE;
    delete.has_kind = true;
    delete.name = (char *)name;
    request.change_case = HEADGATE__PUSH_REQUEST__CHANGE_DELETE;
    request.delete_ = &delete;
    return reply_push(cli, options, &request);
}
