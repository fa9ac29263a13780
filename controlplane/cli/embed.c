#include "controlplane/cli/embed.h"

#include "common/dumps.h"
#include "common/map.h"
#include "common/secret_memory.h"
#include "controlplane/cli/command.h"
#include "controlplane/cli/reply.h"
#include "controlplane/secrets/secrets.h"

struct embed {
    struct arena             *arena;
    struct secret_root        root;
    struct map                seen;
    Headgate__Sources        *message;
    struct error_list         errors;
};

const char *embed_folder_of(struct arena *arena, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        return arena_strdup(arena, ".");
    return slash == path ? arena_strdup(arena, "/") : arena_str(arena, (struct str){path, (size_t)(slash - path)}).p;
}

static void add_file(struct embed *e, const struct config_secret *s, const char *key, const char *name) {
    const char *const names[SECRET_FILES_TOGETHER] = {name, NULL, NULL};
    struct str bytes[SECRET_FILES_TOGETHER];
    char why[SECRET_WHY_MAX], path[512];
    size_t failed;
    Headgate__SourceFile *file = arena_alloc(e->arena, sizeof *file);
    if (!file || map_set(&e->seen, str_of(name), e) < 0) {
        error_addf(&e->errors, ERROR_MEMORY, "out of memory");
        return;
    }
    if (secret_files_read(&e->root, names, bytes, &failed, why) < 0) {
        snprintf(path, sizeof path, "%s%s%s", s->path, key[0] ? "." : "", key);
        error_set_resource(&e->errors, error_addf(&e->errors, ERROR_IO, "%s: %s", name, why), s->resource, path);
        return;
    }
    headgate__source_file__init(file);
    file->path = arena_strdup(e->arena, name);
    file->has_text = 1;
    file->text = (ProtobufCBinaryData){bytes[0].n, (uint8_t *)(uintptr_t)bytes[0].p};
    e->message->embedded[e->message->n_embedded++] = file;
}

static void add_secret(struct embed *e, const struct config_secret *s) {
    bool is_pair = s->what == CONFIG_SECRET_KEY_PAIR;
    const char *names[] = {s->certificate, s->key, s->ocsp}, *const keys[] = {is_pair ? "certificate" : "", "key", "ocsp"};
    for (int i = 0; i < 3; i++) {
        bool is_file = names[i] && !str_starts(str_of(names[i]), str_of(CONFIG_EMBEDDED));
        if (is_file && !map_get(&e->seen, str_of(names[i])))
            add_file(e, s, keys[i], names[i]);
    }
}

static void add_all(struct embed *e, const struct config_secrets *secrets) {
    e->message->embedded = arena_calloc(e->arena, 3 * secrets->count + 1, sizeof(Headgate__SourceFile *));
    if (!e->message->embedded)
        error_addf(&e->errors, ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < secrets->count && e->message->embedded; i++)
        add_secret(e, &secrets->items[i]);
}

/* What is wrong with the configuration itself the control plane says, in full; here it only ends the search. */
static void collect(struct embed *e, const struct config_sources *sources) {
    struct config_places places = {0};
    const struct config_options options = {.variable = config_variable_from_environment, .places = &places};
    struct config_resources set = {0};
    struct config_secrets secrets = {0};
    struct error_list errors = {0}, warnings = {0};
    if (config_compile(sources, &options, &set, &errors, &warnings) == 0 &&
        config_secrets_collect(&set, &secrets, &errors) == 0)
        add_all(e, &secrets);
    config_places_locate(&places, &e->errors, 0);
    config_secrets_finish(&secrets);
    config_resources_finish(&set);
    config_places_finish(&places);
    error_list_finish(&errors);
    error_list_finish(&warnings);
}

int embed_files(struct cli *cli, const char *path, const struct config_sources *sources, struct arena *arena,
                Headgate__Sources *message) {
    struct embed e = {.arena = arena, .message = message, .root = {.fd = -1}};
    (void)dumps_forbid(); /* short-lived; without it all goes on as well */
    const char *folder = embed_folder_of(arena, path);
    int exit_code = EXIT_DONE;
    if (!folder || secret_root_open("/", folder, &e.root, &e.errors) < 0)
        error_addf(&e.errors, ERROR_MEMORY, "out of memory");
    else
        collect(&e, sources);
    if (!error_list_is_empty(&e.errors))
        exit_code = reply_fail(cli, &e.errors);
    secret_root_close(&e.root);
    map_finish(&e.seen);
    error_list_finish(&e.errors);
    return exit_code;
}

void embed_clear(const Headgate__Sources *message) {
    for (size_t i = 0; i < message->n_embedded; i++)
        secret_free(message->embedded[i]->text.data);
}
