/* version and schema: what this build is. */
#include <cjson/cJSON.h>
#include <ev.h>
#include <grpc/grpc.h>
#include <openssl/crypto.h>
#include <protobuf-c/protobuf-c.h>
#include <yaml.h>

#include "controlplane/cli/command.h"
#include "controlplane/config/config.h"

static void list_versions(struct table *t) {
    table_init(t, 2);
#define ROW(name, ...) (table_add(t, STYLE_NAME, name), table_add(t, STYLE_PLAIN, __VA_ARGS__))
    ROW("headgate", "%s", HG_VERSION);
    ROW("schema level", "%d", SCHEMA_LEVEL);
    ROW("gRPC", "%s", grpc_version_string());
    ROW("protobuf-c", "%s", protobuf_c_version());
    ROW("OpenSSL", "%s", OpenSSL_version(OPENSSL_VERSION_STRING));
    ROW("libyaml", "%s", yaml_get_version_string());
    ROW("cJSON", "%s", cJSON_Version());
    ROW("libev", "%d.%d", ev_version_major(), ev_version_minor());
#undef ROW
}

static void print_json(const struct table *t) {
    struct strbuf text = {0};
    strbuf_putc(&text, '{');
    for (size_t i = 0; i + 1 < t->count; i += 2) {
        strbuf_puts(&text, i ? "," : "");
        strbuf_add_json(&text, str_of(t->cells[i].text));
        strbuf_putc(&text, ':');
        strbuf_add_json(&text, str_of(t->cells[i + 1].text));
    }
    strbuf_puts(&text, "}");
    puts(text.failed ? "{}" : text.p);
    strbuf_finish(&text);
}

int command_version(struct cli *cli, const struct options *options) {
    struct table t;
    (void)options;
    list_versions(&t);
    if (cli->is_json)
        print_json(&t);
    else
        table_print(cli, &t);
    table_finish(&t);
    return EXIT_DONE;
}

int command_schema(struct cli *cli, const struct options *options) {
    const char *format = options_get(options, "format");
    bool is_markdown = format && strcmp(format, "markdown") == 0;
    struct strbuf text = {0};
    if (format && !is_markdown && strcmp(format, "json") != 0) {
        cli_error(cli, "--format is json or markdown, not %s", format);
        return EXIT_WRONG_USAGE;
    }
    int status = is_markdown ? config_reference_markdown(&text) : config_json_schema(&text);
    if (status == 0)
        fputs(text.p, stdout);
    else
        cli_error(cli, "out of memory");
    strbuf_finish(&text);
    return status == 0 ? EXIT_DONE : EXIT_REFUSED;
}
