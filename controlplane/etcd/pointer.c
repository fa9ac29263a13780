/* `current`: which generation counts. */
#include <cjson/cJSON.h>
#include <inttypes.h>

#include "controlplane/etcd/intent.h"

enum { FORMAT = 1 };

static int refuse(struct error_list *errors, enum error_code code, const char *path, const char *message) {
    struct error *e = error_addf(errors, code, "%s", message);
    error_set_place(errors, e, ETCD_CONFIG ETCD_CURRENT, 0, 0);
    error_set_resource(errors, e, NULL, path);
    return -1;
}

static int read_number(const cJSON *o, const char *name, uint64_t *ret, struct error_list *errors) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, name);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 9e15))
        return refuse(errors, item ? ERROR_TYPE : ERROR_MISSING, name, "a whole number is expected");
    *ret = (uint64_t)item->valuedouble;
    return 0;
}

static int read_text(const cJSON *o, const char *name, struct arena *arena, const char **ret, struct error_list *errors) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, name);
    if (item && !cJSON_IsString(item))
        return refuse(errors, ERROR_TYPE, name, "a text is expected");
    *ret = arena_strdup(arena, item ? item->valuestring : "");
    return *ret ? 0 : refuse(errors, ERROR_MEMORY, name, "out of memory");
}

static int read_generation(const cJSON *o, char ret[ETCD_GENERATION_MAX + 1], struct error_list *errors) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, "generation");
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    size_t n = strlen(text);
    if (n == 0 || n > ETCD_GENERATION_MAX || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != n)
        return refuse(errors, item ? ERROR_SYNTAX : ERROR_MISSING, "generation",
                      "a name of small letters, digits and - is expected");
    memcpy(ret, text, n + 1);
    return 0;
}

static int read_previous(const cJSON *o, struct etcd_generation *ret, struct error_list *errors) {
    const cJSON *p = cJSON_GetObjectItemCaseSensitive(o, "previous");
    if (!p)
        return 0;
    if (!cJSON_IsObject(p))
        return refuse(errors, ERROR_TYPE, "previous", "an object is expected");
    int status = read_number(p, "version", &ret->version, errors);
    status |= read_generation(p, ret->name, errors);
    return status | read_number(p, "values", &ret->values, errors);
}

static int read_members(const cJSON *o, struct arena *arena, struct etcd_pointer *ret, struct error_list *errors) {
    uint64_t format;
    int status = read_number(o, "format", &format, errors);
    if (status == 0 && format != FORMAT)
        return refuse(errors, ERROR_UNSUPPORTED, "format", "this build knows format 1 alone");
    status |= read_number(o, "version", &ret->version, errors);
    status |= read_generation(o, ret->generation, errors);
    status |= read_number(o, "values", &ret->values, errors);
    status |= read_text(o, "author", arena, &ret->author, errors);
    status |= read_text(o, "message", arena, &ret->message, errors);
    if (cJSON_GetObjectItemCaseSensitive(o, "time_us"))
        status |= read_number(o, "time_us", &ret->time_us, errors);
    return status | read_previous(o, &ret->previous, errors);
}

int etcd_pointer_parse(struct str text, struct arena *arena, struct etcd_pointer *ret, struct error_list *errors) {
    struct etcd_pointer p = {.author = "", .message = ""};
    cJSON *o = cJSON_ParseWithLength(text.n ? text.p : "", text.n);
    int status = cJSON_IsObject(o) ? read_members(o, arena, &p, errors)
                                   : refuse(errors, ERROR_SYNTAX, NULL, "a JSON object is expected");
    cJSON_Delete(o);
    if (status == 0)
        *ret = p;
    return status;
}

void etcd_pointer_write(const struct etcd_pointer *p, struct strbuf *out) {
    strbuf_printf(out, "{\"format\": %d, \"version\": %" PRIu64 ", \"generation\": \"%s\", \"values\": %" PRIu64
                  ", \"time_us\": %" PRIu64 ", \"author\": ", FORMAT, p->version, p->generation, p->values, p->time_us);
    strbuf_add_json(out, str_of(p->author));
    strbuf_puts(out, ", \"message\": ");
    strbuf_add_json(out, str_of(p->message));
    if (p->previous.version)
        strbuf_printf(out, ", \"previous\": {\"version\": %" PRIu64 ", \"generation\": \"%s\", \"values\": %" PRIu64 "}",
                      p->previous.version, p->previous.name, p->previous.values);
    strbuf_puts(out, "}");
}
