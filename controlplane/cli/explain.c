#include <errno.h>

#include "common/input_file.h"
#include "controlplane/cli/command.h"
#include "controlplane/cli/reply.h"
#include "controlplane/config/config.h"
#include "controlplane/xds/explain.h"
#include "controlplane/xds/json.h"

static size_t count_values(const struct options *options, const char *name) {
    size_t count = 0;
    while (options_get_nth(options, name, count))
        count++;
    return count;
}

/* "name: value"; cuts the text in two. */
static int parse_field(const struct cli *cli, const char *text, struct arena *arena,
                       Headgate__HeaderField *ret) {
    char *name = arena_strdup(arena, text), *colon = name ? strchr(name, ':') : NULL;
    if (!colon) {
        cli_error(cli, "--header wants \"NAME: VALUE\", not %s", text);
        return -1;
    }
    *colon = '\0';
    headgate__header_field__init(ret);
    ret->name = name;
    ret->value = colon + 1 + strspn(colon + 1, " \t");
    return 0;
}

static int take_fields(const struct cli *cli, const struct options *options, struct arena *arena,
                       Headgate__ExplainRequest *request) {
    size_t count = count_values(options, "header");
    request->headers = arena_calloc(arena, count + 1, sizeof(Headgate__HeaderField *));
    while (request->headers && request->n_headers < count) {
        Headgate__HeaderField *field = arena_alloc(arena, sizeof *field);
        if (!field || parse_field(cli, options_get_nth(options, "header", request->n_headers), arena, field) < 0)
            return -1;
        request->headers[request->n_headers++] = field;
    }
    return request->headers ? 0 : -1;
}

static int ask(struct cli *cli, const Headgate__ExplainRequest *request) {
    int exit_code = EXIT_DONE;
    Headgate__TextReply *reply = cli_call(cli, "/headgate.Admin/Explain", request,
                                          &headgate__text_reply__descriptor, "explaining", &exit_code);
    if (!reply)
        return exit_code;
    if (reply->n_problems)
        exit_code = reply_refuse(cli, reply->problems, reply->n_problems);
    else if (reply->text)
        cli_print(cli, STYLE_PLAIN, "%s", reply->text);
    headgate__text_reply__free_unpacked(reply, NULL);
    return exit_code;
}

static int ask_about_file(struct cli *cli, const char *path, struct arena *arena,
                          Headgate__ExplainRequest *request) {
    Headgate__Sources message;
    struct config_sources sources = {0};
    int exit_code = reply_load_sources(cli, path, &sources, arena, &message);
    if (exit_code < 0) {
        request->sources = &message;
        exit_code = ask(cli, request);
    }
    config_sources_finish(&sources);
    return exit_code;
}

/* ---- routes of a management server */

static int read_file(const struct cli *cli, const char *path, struct strbuf *ret) {
    FILE *file = input_file_open(path);
    char part[4096];
    size_t n;
    if (!file) {
        cli_error(cli, "%s: cannot be read: %s", path, input_file_reason(errno));
        return -1;
    }
    while (ret->n <= XDS_EXPLAIN_MAX && (n = fread(part, 1, sizeof part, file)) > 0)
        strbuf_add(ret, part, n);
    bool failed = ferror(file) || ret->failed || ret->n > XDS_EXPLAIN_MAX;
    if (failed)
        cli_error(cli, "%s: cannot be read%s", path, ret->n > XDS_EXPLAIN_MAX ? ": it is too long" : "");
    fclose(file);
    return failed ? -1 : 0;
}

static int take_random(const struct cli *cli, const char *text, struct xds_explain_options *ret) {
    uint64_t number;
    if (!text)
        return 0;
    if (str_to_uint64(str_of(text), &number) < 0 || number > UINT32_MAX) {
        cli_error(cli, "--random wants a number of 0 to %u, not %s", UINT32_MAX, text);
        return -1;
    }
    ret->has_random = true;
    ret->random = (uint32_t)number;
    return 0;
}

/* "N/100", "N/10000" or "N/1000000". */
static bool read_share(const char *text, struct xds_runtime_value *ret) {
    struct str rest = str_of(text), numerator = str_cut(&rest, '/');
    uint64_t n, of;
    if (str_to_uint64(numerator, &n) < 0 || str_to_uint64(rest, &of) < 0 || (of != 100 && of != 10000 && of != 1000000)
        || n > of)
        return false;
    ret->is_share = true;
    ret->numerator = (uint32_t)n;
    ret->of = (uint32_t)of;
    return true;
}

/* "KEY=NUMBER" or "KEY=SHARE". */
static int take_value(const struct cli *cli, const char *text, struct arena *arena, struct xds_runtime *ret) {
    char *key = arena_strdup(arena, text), *equals = key ? strchr(key, '=') : NULL;
    if (!equals || equals == key) {
        cli_error(cli, "--runtime wants KEY=NUMBER, not %s", text);
        return -1;
    }
    *equals = '\0';
    struct xds_runtime_value value = xds_runtime_of_text(key, equals + 1);
    if (!value.is_number && !read_share(equals + 1, &value)) {
        cli_error(cli, "--runtime wants a number, or a share like 5/10000, behind %s=, not %s", key, equals + 1);
        return -1;
    }
    if (xds_runtime_set(ret, &value) == 0)
        return 0;
    cli_error(cli, "no memory for %s", text);
    return -1;
}

static int take_values(const struct cli *cli, const struct options *options, struct arena *arena, struct xds_runtime *ret) {
    const char *text;
    int status = 0;
    for (size_t i = 0; status == 0 && (text = options_get_nth(options, "runtime", i)); i++)
        status = take_value(cli, text, arena, ret);
    return status;
}

/* "FILTER=JSON": what the filter says of the request. */
static int take_metadata(const struct cli *cli, const char *text, struct arena *arena,
                         Google__Protobuf__Struct__FieldsEntry *ret) {
    struct error_list errors = {0};
    char *filter = arena_strdup(arena, text), *equals = filter ? strchr(filter, '=') : NULL;
    Google__Protobuf__Value *value = arena_alloc(arena, sizeof *value);
    if (!value || !equals || equals == filter) {
        cli_error(cli, "--metadata wants FILTER=OBJECT, not %s", text);
        return -1;
    }
    *equals = '\0';
    google__protobuf__value__init(value);
    value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
    value->struct_value = (Google__Protobuf__Struct *)xds_json_parse(&google__protobuf__struct__descriptor, "--metadata",
                                                                     str_of(equals + 1), arena, &errors);
    google__protobuf__struct__fields_entry__init(ret);
    ret->key = filter;
    ret->value = value;
    if (!value->struct_value)
        cli_fail(cli, &errors, EXIT_WRONG_USAGE);
    error_list_finish(&errors);
    return value->struct_value ? 0 : -1;
}

static bool is_told(const Google__Protobuf__Struct *metadata, const char *filter) {
    size_t i = 0;
    while (i < metadata->n_fields && strcmp(metadata->fields[i]->key, filter) != 0)
        i++;
    return i < metadata->n_fields;
}

static int take_all_metadata(const struct cli *cli, const struct options *options, struct arena *arena,
                             Google__Protobuf__Struct *ret) {
    size_t count = count_values(options, "metadata");
    ret->fields = arena_calloc(arena, count + 1, sizeof *ret->fields);
    while (ret->fields && ret->n_fields < count) {
        Google__Protobuf__Struct__FieldsEntry *entry = arena_alloc(arena, sizeof *entry);
        if (!entry || take_metadata(cli, options_get_nth(options, "metadata", ret->n_fields), arena, entry) < 0)
            return -1;
        if (is_told(ret, entry->key)) {
            cli_error(cli, "--metadata says twice what there is of %s", entry->key);
            return -1;
        }
        ret->fields[ret->n_fields++] = entry;
    }
    return ret->fields ? 0 : -1;
}

static int explain_xds(const struct cli *cli, const struct options *options, const char *path, struct arena *arena,
                       const Headgate__ExplainRequest *request) {
    struct xds_runtime runtime = {0};
    Google__Protobuf__Struct metadata = GOOGLE__PROTOBUF__STRUCT__INIT;
    struct xds_explain_options how = {.is_json = cli->is_json, .runtime = &runtime, .metadata = &metadata};
    struct strbuf text = {0}, out = {0};
    struct error_list errors = {0};
    int exit_code = EXIT_WRONG_USAGE;
    if (take_random(cli, options_get(options, "random"), &how) == 0 && take_values(cli, options, arena, &runtime) == 0 &&
        take_all_metadata(cli, options, arena, &metadata) == 0 && read_file(cli, path, &text) == 0) {
        if (xds_explain(path, strbuf_str(&text), request, &how, &out, &errors) == 0) {
            cli_print(cli, STYLE_PLAIN, "%s", strbuf_str(&out).p);
            exit_code = EXIT_DONE;
        } else {
            exit_code = reply_fail(cli, &errors);
        }
    }
    strbuf_finish(&text);
    strbuf_finish(&out);
    error_list_finish(&errors);
    xds_runtime_finish(&runtime);
    return exit_code;
}

/* By whom the request is explained: a file of the server's, a file of ours, or the control plane. */
static int explain(struct cli *cli, const struct options *options, struct arena *arena, Headgate__ExplainRequest *request) {
    const char *file = options_get(options, "file"), *xds = options_get(options, "xds");
    if (xds)
        return explain_xds(cli, options, xds, arena, request);
    return file ? ask_about_file(cli, file, arena, request) : ask(cli, request);
}

int command_explain(struct cli *cli, const struct options *options) {
    const char *file = options_get(options, "file"), *version = options_get(options, "version");
    const char *xds = options_get(options, "xds");
    Headgate__ExplainRequest request = HEADGATE__EXPLAIN_REQUEST__INIT;
    struct arena arena = {0};
    int exit_code = EXIT_WRONG_USAGE;
    request.method = (char *)options->arguments[0];
    request.url = (char *)options->arguments[1];
    request.has_json = true;
    request.json = cli->is_json;
    request.has_version = version != NULL;
    if ((file != NULL) + (version != NULL) + (xds != NULL) > 1)
        cli_error(cli, "--file, --version and --xds exclude each other");
    else if (!xds && (options_get(options, "random") || options_get(options, "runtime") || options_get(options, "metadata")))
        cli_error(cli, "--random, --runtime and --metadata are for --xds");
    else if ((!version || cli_parse_version(cli, version, &request.version) == 0) &&
             take_fields(cli, options, &arena, &request) == 0)
        exit_code = explain(cli, options, &arena, &request);
    arena_finish(&arena);
    return exit_code;
}
