/* A configuration from a stranger: reading, checking, and the way back. Files are separated by the byte 1 and named
 * f0.yaml, f1.yaml, ... What compiles must render to what compiles to the same, and must pass the check of encoded
 * resources. */
#include <stdio.h>
#include <stdlib.h>

#include "controlplane/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const char *variable(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "A") == 0 ? "1" : NULL;
}

static const struct config_options options = {.variable = variable};

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void split(struct config_sources *sources, struct str text, struct error_list *errors)
{
    char path[] = "f0.yaml";
    for (; text.p && path[1] < '8'; path[1]++) {
        config_sources_add(sources, str_of(path), str_cut(&text, '\1'), errors);
    }
}

static void check_same(const struct config_resources *a, const struct config_resources *b)
{
    must(a->count == b->count, "rendering changed the number of resources");
    for (size_t i = 0; i < a->count; i++) {
        must(resource_id_equal(&a->items[i].id, &b->items[i].id), "rendering changed a resource");
    }
}

static void check_way_back(const struct config_resources *set, bool is_json)
{
    struct strbuf text = {0};
    struct error_list errors = {0}, warnings = {0};
    struct config_sources sources = {0};
    struct config_resources again = {0};
    struct config_render_options render = {.is_json = is_json};
    must(config_render(set, &render, &text, &errors) == 0, "what compiled cannot be rendered");
    must(config_sources_add(&sources, STR("again.yaml"), strbuf_str(&text), &errors) == 0, "the rendered text is too large");
    must(config_compile(&sources, NULL, &again, &errors, &warnings) == 0, "the rendered text does not compile");
    check_same(set, &again);
    config_resources_finish(&again);
    config_sources_finish(&sources);
    error_list_finish(&errors);
    error_list_finish(&warnings);
    strbuf_finish(&text);
}

static void compile_single(const struct config_resources *existing, const struct config_source *source)
{
    size_t count;
    const Headgate__Kind *kinds = kind_all(&count);
    for (size_t i = 0; i < count; i++) {
        struct config_resources set = {0};
        struct error_list errors = {0}, warnings = {0};
        config_compile_one(kinds[i], STR("default"), source, &options, existing, &set, &errors, &warnings);
        config_resources_finish(&set);
        error_list_finish(&errors);
        error_list_finish(&warnings);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct config_sources sources = {0};
    struct config_resources set = {0};
    struct error_list errors = {0}, warnings = {0};
    split(&sources, (struct str){(const char *)bytes, size}, &errors);
    if (sources.count && config_compile(&sources, &options, &set, &errors, &warnings) == 0) {
        check_way_back(&set, false);
        check_way_back(&set, true);
        must(config_check_resources(&set, &errors, &warnings) == 0, "what compiled does not pass the check");
    } else {
        must(!error_list_is_empty(&errors) || !sources.count, "refused without a reason");
    }
    if (sources.count) {
        compile_single(&set, &sources.items[0]);
    }
    config_resources_finish(&set);
    config_sources_finish(&sources);
    error_list_finish(&errors);
    error_list_finish(&warnings);
    return 0;
}
