#include "controlplane/cli/command.h"
#include "controlplane/cli/read_etcd.h"
#include "controlplane/cli/reply.h"

/* "7" is a version, "cluster/web" a resource, in either order. */
static int parse_arguments(const struct cli *cli, const struct options *options,
                           Headgate__ShowRequest *request) {
    for (size_t i = 0; i < options->argument_count; i++) {
        const char *text = options->arguments[i], *name;
        if (strchr(text, '/')) {
            if (cli_parse_resource(cli, text, &request->kind, &name) < 0)
                return -1;
            request->has_kind = true;
            request->name = (char *)name;
        } else {
            if (cli_parse_version(cli, text, &request->version) < 0)
                return -1;
            request->has_version = true;
        }
    }
    return 0;
}

int command_show(struct cli *cli, const struct options *options) {
    Headgate__ShowRequest request = HEADGATE__SHOW_REQUEST__INIT;
    int exit_code = EXIT_DONE;
    if (parse_arguments(cli, options, &request) < 0)
        return EXIT_WRONG_USAGE;
    if (options_has(options, "to"))
        return show_of_etcd(cli, options, &request);
    request.has_effective = request.has_json = request.has_pushed = true;
    request.effective = options_has(options, "effective");
    request.pushed = options_has(options, "pushed");
    request.json = cli->is_json;
    Headgate__TextReply *reply = cli_call(cli, "/headgate.Admin/Show", &request,
                                          &headgate__text_reply__descriptor, "reading the version",
                                          &exit_code);
    if (!reply)
        return exit_code;
    if (reply->n_problems)
        exit_code = reply_refuse(cli, reply->problems, reply->n_problems);
    else if (reply->text)
        fputs(reply->text, stdout);
    headgate__text_reply__free_unpacked(reply, NULL);
    return exit_code;
}
