#include "controlplane/config/secret_names.h"

#include <stdio.h>

#include "common/alloc.h"

enum {
    HASH_SHOWN = 4,         /* bytes of a hash in a name: files that look alike there still differ */
    READABLE_MAX = 128,     /* bytes of a file's name in a name */
};

/* ---- places ---- */

void config_places_finish(struct config_places *places) {
    hg_free(places->items);
    arena_finish(&places->arena);
    *places = (struct config_places){0};
}

static void note_place(struct builder *b, const struct fill_at *at) {
    struct config_places *places = b->options ? b->options->places : NULL;
    if (!places || !at->item)
        return;
    const char *whole = fill_path(&b->fill, at);
    if (!whole) {
        fill_out_of_memory(&b->fill);
        return;
    }
    /* Below the resource: "listeners[2].tls.ca" is "tls.ca" there. A single resource is not in a list. */
    bool is_in_list = str_starts(str_of(whole), STR("listeners[")) || str_starts(str_of(whole), STR("clusters["));
    const char *behind = is_in_list ? strchr(whole, '.') : NULL;
    struct config_place place = {
        .resource = arena_strdup(&places->arena, b->fill.resource),
        .path = arena_strdup(&places->arena, behind ? behind + 1 : whole),
        .whole_path = arena_strdup(&places->arena, whole),
        .file = arena_strdup(&places->arena, at->node->place.file ? at->node->place.file : ""),
        .line = at->node->place.line,
        .column = at->node->place.column,
    };
    bool is_whole = place.resource && place.path && place.whole_path && place.file;
    if (!is_whole || hg_grow(&places->items, &places->capacity, places->count + 1, sizeof *places->items) < 0)
        fill_out_of_memory(&b->fill);
    else
        places->items[places->count++] = place;
}

static void locate(const struct config_places *places, struct error_list *errors, struct error *e) {
    for (size_t i = 0; i < places->count; i++) {
        const struct config_place *p = &places->items[i];
        if (strcmp(p->resource, e->resource) != 0 || strcmp(p->path, e->path) != 0)
            continue;
        error_set_place(errors, e, p->file, p->line, p->column);
        error_set_resource(errors, e, NULL, p->whole_path);
        return;
    }
}

void config_places_locate(const struct config_places *places, struct error_list *errors, size_t first) {
    for (size_t i = first; i < errors->count; i++)
        if (errors->items[i].resource && errors->items[i].path && !errors->items[i].file)
            locate(places, errors, &errors->items[i]);
}

/* ---- names ---- */

/* The file's name as far as a resource's name allows, and a hash of all that makes up the secret. */
char *secret_name_of_files(struct arena *arena, const char *file, const char *second, const char *third) {
    struct strbuf all = {0};
    struct resource_id id;
    const char *parts[] = {file, second ? second : "", third ? third : ""};
    for (int i = 0; i < 3; i++)
        strbuf_add(&all, parts[i], strlen(parts[i]) + 1);
    int status = all.failed ? -1 : resource_id_of(all.p, all.n, &id);
    strbuf_finish(&all);
    size_t length = strlen(file), cut = length > READABLE_MAX ? length - READABLE_MAX : 0;
    char hash[2 * HASH_SHOWN + 1], *name = arena_alloc(arena, RESOURCE_NAME_MAX + 1);
    if (status < 0 || !name)
        return NULL;
    hex_encode(id.bytes, HASH_SHOWN, hash);
    snprintf(name, RESOURCE_NAME_MAX + 1, "%s@%s", file + cut, hash);
    for (char *c = name; *c; c++)
        if (!resource_name_is_valid((struct str){c, 1}))
            *c = '_';
    if (config_is_given(str_of(name)))
        *name = '_'; /* the end of a long path may look like that */
    return name;
}

/* ---- what is given ---- */

static bool is_given(const char *file) {
    return file && config_is_given(str_of(file));
}

static bool is_of_kubernetes(const char *file) {
    return file && str_starts(str_of(file), str_of(CONFIG_KUBERNETES));
}

/* Of Kubernetes, a certificate with its key is a whole Secret, and authorities are one of the files in it. */
static bool is_whole_name(const char *file, bool is_pair) {
    struct config_kubernetes_secret named;
    if (!is_given(file) || !resource_name_is_valid(str_of(file)))
        return false;
    if (is_of_kubernetes(file))
        return config_kubernetes_secret(str_of(file), &named) && (named.key.n == 0) == is_pair;
    return strlen(file) > strlen(CONFIG_GIVEN) && !str_ends(str_of(file), STR("*"));
}

static void report_no_name(struct builder *b, const struct fill_at *at, bool is_kubernetes) {
    if (is_kubernetes) {
        struct error *e = fill_report(&b->fill, at, ERROR_CONFLICT, "what begins with " CONFIG_KUBERNETES
                                      " is a Secret of Kubernetes, whole");
        error_set_expected(b->fill.errors, e, CONFIG_KUBERNETES "NAMESPACE/NAME as certificate and as key and nothing "
                           "beside them; " CONFIG_KUBERNETES "NAMESPACE/NAME/ca.crt as ca; a file is ./"
                           CONFIG_KUBERNETES "...", NULL);
        return;
    }
    struct error *e = fill_report(&b->fill, at, ERROR_CONFLICT,
                                  "what begins with " CONFIG_GIVEN " is a secret that a server gives, whole");
    error_set_expected(b->fill.errors, e, "its name as certificate and as key and nothing beside them; a file is ./"
                       CONFIG_GIVEN "...", NULL);
}

/* A secret that a server gives goes by its name wherever a file would stand. */
static char *given_name(struct builder *b, const struct fill_at *at, const char *file, const char *key, const char *ocsp) {
    if (!is_whole_name(file, key != NULL) || (key && strcmp(file, key) != 0) || ocsp) {
        report_no_name(b, at, is_of_kubernetes(file) || is_of_kubernetes(key) || is_of_kubernetes(ocsp));
        return NULL;
    }
    char *name = arena_strdup(&b->arena, file);
    if (!name)
        fill_out_of_memory(&b->fill);
    return name;
}

static char *make_name(struct builder *b, const char *file, const char *second, const char *third) {
    char *name = secret_name_of_files(&b->arena, file, second, third);
    if (!name)
        fill_out_of_memory(&b->fill);
    return name;
}

/* A file that came along is called so in the resource, so that nobody looks for it on a disk. */
static void mark_embedded(struct builder *b, char **file) {
    const struct config_options *o = b->options;
    if (!*file || !o || !o->is_embedded || !o->is_embedded(o->context, *file))
        return;
    *file = arena_printf(&b->arena, CONFIG_EMBEDDED "%s", *file);
    if (!*file)
        fill_out_of_memory(&b->fill);
}

static char *pair_name(struct builder *b, const struct fill_at *at, Headgate__CertificateFiles *files) {
    if (!files->certificate || !files->key)
        return NULL;
    if (is_given(files->certificate) || is_given(files->key) || is_given(files->ocsp))
        return given_name(b, at, files->certificate, files->key, files->ocsp);
    mark_embedded(b, &files->certificate);
    mark_embedded(b, &files->key);
    mark_embedded(b, &files->ocsp);
    return files->certificate && files->key ? make_name(b, files->certificate, files->key, files->ocsp) : NULL;
}

static void note_pair(struct builder *b, const struct fill_at *at) {
    static const char *const keys[] = {"certificate", "key", "ocsp"};
    for (int i = 0; i < 3; i++) {
        struct fill_at below = fill_down(at, keys[i]);
        if (below.item && below.item != at->item)
            note_place(b, &below);
    }
}

static char *trust_name(struct builder *b, char **file, const struct fill_at *at) {
    struct fill_at below = fill_down(at, "ca");
    if (!*file)
        return NULL;
    note_place(b, &below);
    if (is_given(*file))
        return given_name(b, &below, *file, NULL, NULL);
    mark_embedded(b, file);
    return *file ? make_name(b, *file, NULL, NULL) : NULL;
}

/* Only a server can give them. */
static void check_ticket_keys(struct builder *b, const struct fill_at *at, const char *name) {
    struct fill_at below = fill_down(at, "ticket-keys");
    if (!name)
        return;
    note_place(b, &below);
    if (is_given(name) && strlen(name) > strlen(CONFIG_GIVEN) && !str_ends(str_of(name), STR("*")))
        return;
    struct error *e = fill_report(&b->fill, &below, ERROR_RANGE, "is no secret that a server gives");
    error_set_expected(b->fill.errors, e, CONFIG_GIVEN "NAME", NULL);
}

/* ---- listeners and clusters ---- */

static void name_listener(struct builder *b, const struct fill_at *at, Headgate__ServerTls *tls) {
    struct fill_at list = fill_down(at, "certificates"), clients = fill_down(at, "client-certificates");
    const struct tree_item *item = list.node->first;
    tls->certificates = arena_calloc(&b->arena, tls->n_certificate_files + 1, sizeof *tls->certificates);
    if (!tls->certificates) {
        fill_out_of_memory(&b->fill);
        return;
    }
    for (size_t i = 0; i < tls->n_certificate_files; i++, item = item ? item->next : NULL) {
        struct fill_at below = {.up = &list, .item = item, .node = item ? item->node : NULL};
        char *name = pair_name(b, item ? &below : at, tls->certificate_files[i]);
        if (name)
            tls->certificates[tls->n_certificates++] = name;
        if (item)
            note_pair(b, &below);
    }
    tls->client_trust = trust_name(b, &tls->client_trust_file, &clients);
    check_ticket_keys(b, at, tls->ticket_keys);
}

static void name_cluster(struct builder *b, const struct fill_at *at, Headgate__ClientTls *tls) {
    if (tls->certificate_files) {
        note_pair(b, at);
        tls->certificate = pair_name(b, at, tls->certificate_files);
    }
    tls->trust = trust_name(b, &tls->trust_file, at);
    if (!tls->trust && !tls->insecure && !(tls->pins && tls->pins->only)) {
        tls->trust = (char *)CONFIG_SYSTEM_TRUST;
        note_place(b, at);
    }
}

static void name_clusters_tls(struct builder *b, const struct fill_at *at, Headgate__Cluster *cluster) {
    struct fill_at tls = fill_down(at, "tls"), choices = fill_down(at, "tls-choices");
    if (cluster->tls)
        name_cluster(b, &tls, cluster->tls);
    for (size_t i = 0; i < cluster->n_tls_choices; i++) {
        struct fill_at choice = fill_down_to(&choices, i), below = fill_down(&choice, "tls");
        if (cluster->tls_choices[i]->tls)
            name_cluster(b, &below, cluster->tls_choices[i]->tls);
    }
}

void secret_names_set(struct builder *b, Headgate__Kind kind, const struct fill_at *at, ProtobufCMessage *m) {
    struct fill_at tls = fill_down(at, "tls");
    if (kind == HEADGATE__KIND__KIND_LISTENER && ((Headgate__Listener *)m)->tls)
        name_listener(b, &tls, ((Headgate__Listener *)m)->tls);
    if (kind == HEADGATE__KIND__KIND_CLUSTER)
        name_clusters_tls(b, at, (Headgate__Cluster *)m);
}
