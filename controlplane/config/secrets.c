#include <stdio.h>

#include "common/alloc.h"
#include "common/map.h"
#include "controlplane/config/config.h"

/* ---- names ---- */

bool config_is_given(struct str name) {
    return str_starts(name, str_of(CONFIG_GIVEN)) || str_starts(name, str_of(CONFIG_KUBERNETES));
}

/* Up to the next slash, which is skipped. False: empty, or nothing that an object of Kubernetes is called. */
static bool take_piece(struct str *text, bool is_key, struct str *ret) {
    const char *slash = memchr(text->p, '/', text->n);
    size_t n = slash ? (size_t)(slash - text->p) : text->n;
    *ret = (struct str){text->p, n};
    *text = (struct str){text->p + n + (slash != NULL), text->n - n - (slash != NULL)};
    for (size_t i = 0; i < n; i++) {
        char c = ret->p[i];
        bool is_small = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
        if (!is_small && !(is_key && ((c >= 'A' && c <= 'Z') || c == '_')))
            return false;
    }
    return n > 0 && ret->p[0] != '.';
}

bool config_kubernetes_secret(struct str text, struct config_kubernetes_secret *ret) {
    struct config_kubernetes_secret made = {0};
    if (!str_starts(text, str_of(CONFIG_KUBERNETES)) || str_ends(text, STR("/")))
        return false;
    text = (struct str){text.p + strlen(CONFIG_KUBERNETES), text.n - strlen(CONFIG_KUBERNETES)};
    bool has_names = take_piece(&text, false, &made.namespace) && text.n && take_piece(&text, false, &made.name);
    if (!has_names || (text.n && (!take_piece(&text, true, &made.key) || text.n)))
        return false;
    *ret = made;
    return true;
}

/* ---- what resources refer to ---- */

struct collect {
    struct config_secrets *secrets;
    struct map             by_name;     /* to the index + 1 */
    const char            *resource;    /* that is looked at */
    struct error_list     *errors;
    bool                   wants_tickets;
};

static int out_of_memory(struct collect *c) {
    error_addf(c->errors, ERROR_MEMORY, "no memory for the names of secrets");
    return -1;
}

static int report_two_uses(struct collect *c, const struct config_secret *known, enum config_secret_what what,
                           const char *path) {
    bool has_tickets = known->what == CONFIG_SECRET_TICKET_KEYS || what == CONFIG_SECRET_TICKET_KEYS;
    struct error *e = error_addf(c->errors, ERROR_CONFLICT, "%s is %s (%s)", known->name,
                                 has_tickets ? "keys of tickets in one place, and something else in another"
                                             : "a certificate with its key in one place, and authorities in another",
                                 known->resource);
    error_set_resource(c->errors, e, c->resource, path);
    return -1;
}

/* The index of the secret of that name, which is added when it is new; -1 with an error. */
static ssize_t add(struct collect *c, const char *name, enum config_secret_what what, const char *path,
                   const char *const files[3]) {
    struct config_secrets *s = c->secrets;
    void *known = map_get(&c->by_name, str_of(name));
    if (known) {
        size_t at = (uintptr_t)known - 1;
        return s->items[at].what == what ? (ssize_t)at : report_two_uses(c, &s->items[at], what, path);
    }
    struct config_secret secret = {
        .what = what, .resource = c->resource, .is_given = config_is_given(str_of(name))};
    secret.name = arena_strdup(&s->arena, name);
    secret.path = arena_strdup(&s->arena, path);
    const char **texts[] = {&secret.certificate, &secret.key, &secret.ocsp};
    bool is_whole = secret.name && secret.path;
    for (int i = 0; i < 3; i++) {
        *texts[i] = files[i] ? arena_strdup(&s->arena, files[i]) : NULL;
        is_whole = is_whole && (!files[i] || *texts[i]);
    }
    if (!is_whole || hg_grow(&s->items, &s->capacity, s->count + 1, sizeof *s->items) < 0)
        return out_of_memory(c);
    s->items[s->count++] = secret;
    return map_set(&c->by_name, str_of(secret.name), (void *)(uintptr_t)s->count) < 0 ? out_of_memory(c)
                                                                                     : (ssize_t)s->count - 1;
}

static ssize_t add_pair(struct collect *c, const char *name, const Headgate__CertificateFiles *m, const char *path) {
    const char *const files[3] = {m->certificate, m->key, m->ocsp};
    return add(c, name, CONFIG_SECRET_KEY_PAIR, path, files);
}

static int add_trust(struct collect *c, const char *name, const char *file, const char *path) {
    const char *const files[3] = {file, NULL, NULL};
    return add(c, name, file ? CONFIG_SECRET_TRUST : CONFIG_SECRET_SYSTEM_TRUST, path, files) < 0 ? -1 : 0;
}

static int add_tickets(struct collect *c, const Headgate__ServerTls *tls) {
    const char *const files[3] = {tls->ticket_keys, NULL, NULL};
    c->wants_tickets |= tls->tickets && !tls->ticket_keys;
    if (!tls->tickets || !tls->ticket_keys)
        return 0;
    return add(c, tls->ticket_keys, CONFIG_SECRET_TICKET_KEYS, "tls.ticket-keys", files) < 0 ? -1 : 0;
}

static int add_listener(struct collect *c, const Headgate__ServerTls *tls) {
    struct config_secrets *s = c->secrets;
    struct config_secret_list list = {.items = arena_calloc(&s->arena, tls->n_certificates + 1, sizeof *list.items)};
    char path[64];
    if (!list.items || hg_grow(&s->listeners, &s->listener_capacity, s->listener_count + 1, sizeof *s->listeners) < 0)
        return out_of_memory(c);
    for (size_t i = 0; i < tls->n_certificates && i < tls->n_certificate_files; i++) {
        snprintf(path, sizeof path, "tls.certificates[%zu]", i);
        ssize_t at = add_pair(c, tls->certificates[i], tls->certificate_files[i], path);
        if (at < 0)
            return -1;
        list.items[list.count++] = (size_t)at;
    }
    s->listeners[s->listener_count++] = list;
    if (add_tickets(c, tls) < 0)
        return -1;
    if (!tls->client_trust || !tls->client_trust_file)
        return 0;
    return add_trust(c, tls->client_trust, tls->client_trust_file, "tls.client-certificates.ca");
}

/* `path` is that of the message. */
static int add_client(struct collect *c, const Headgate__ClientTls *tls, const char *path) {
    char ca[64];
    snprintf(ca, sizeof ca, "%s.ca", path);
    if (!tls)
        return 0;
    if (tls->certificate && tls->certificate_files && add_pair(c, tls->certificate, tls->certificate_files, path) < 0)
        return -1;
    return tls->trust ? add_trust(c, tls->trust, tls->trust_file, tls->trust_file ? ca : path) : 0;
}

/* Sticky cookies are signed with a key that is derived from those of the tickets. */
static int add_cluster(struct collect *c, const Headgate__Cluster *cluster) {
    char path[48];
    int status = add_client(c, cluster->tls, "tls");
    c->wants_tickets |= cluster->sticky != NULL;
    for (size_t i = 0; status == 0 && i < cluster->n_tls_choices; i++) {
        snprintf(path, sizeof path, "tls-choices[%zu].tls", i);
        status = add_client(c, cluster->tls_choices[i]->tls, path);
    }
    return status;
}

static void take_settings(struct collect *c, const Headgate__Settings *settings) {
    static const Headgate__TicketRotation none = HEADGATE__TICKET_ROTATION__INIT;
    const Headgate__TicketRotation *rotation = settings->tls_tickets ? settings->tls_tickets : &none;
    c->secrets->ticket_rotate = rotation->rotate;
    c->secrets->ticket_keep = rotation->keep;
}

static int collect(struct collect *c, const struct config_resource *r) {
    ProtobufCMessage *m = resource_decode(r->kind, str_of(r->name), r->bytes, r->size, c->errors);
    int status = m ? 0 : -1;
    c->resource = arena_printf(&c->secrets->arena, "%s/%s", kind_name(r->kind), r->name);
    if (!c->resource)
        status = out_of_memory(c);
    else if (m && r->kind == HEADGATE__KIND__KIND_SETTINGS)
        take_settings(c, (const Headgate__Settings *)m);
    else if (m && r->kind == HEADGATE__KIND__KIND_LISTENER && ((Headgate__Listener *)m)->tls)
        status = add_listener(c, ((Headgate__Listener *)m)->tls);
    else if (m && r->kind == HEADGATE__KIND__KIND_CLUSTER)
        status = add_cluster(c, (Headgate__Cluster *)m);
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
    return status;
}

bool config_may_refer_to_secrets(Headgate__Kind kind) {
    return kind == HEADGATE__KIND__KIND_SETTINGS || kind == HEADGATE__KIND__KIND_LISTENER ||
           kind == HEADGATE__KIND__KIND_CLUSTER;
}

int config_secrets_collect(const struct config_resources *set, struct config_secrets *ret, struct error_list *errors) {
    static const char *const no_files[3];
    static const Headgate__Settings defaults = HEADGATE__SETTINGS__INIT;
    struct collect c = {.secrets = ret, .errors = errors};
    int status = 0;
    take_settings(&c, &defaults);
    for (size_t i = 0; i < set->count && status == 0; i++)
        if (config_may_refer_to_secrets(set->items[i].kind))
            status = collect(&c, &set->items[i]);
    c.resource = "settings/default";
    if (status == 0 && c.wants_tickets &&
        add(&c, CONFIG_TICKET_KEYS, CONFIG_SECRET_TICKET_KEYS, "tls-tickets", no_files) < 0)
        status = -1;
    map_finish(&c.by_name);
    return status;
}

void config_secrets_finish(struct config_secrets *secrets) {
    hg_free(secrets->items);
    hg_free(secrets->listeners);
    arena_finish(&secrets->arena);
    *secrets = (struct config_secrets){0};
}
