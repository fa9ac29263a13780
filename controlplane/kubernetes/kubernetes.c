#include "controlplane/kubernetes/kubernetes.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/alloc.h"
#include "controlplane/kubernetes/services.h"
#include "controlplane/kubernetes/slices.h"

enum { NAMESPACE_MAX = 63, URL_MAX = 512, REASON_MAX = 512 };

struct kubernetes {
    struct kubernetes_server     server;
    struct token_file           *token;
    char                         url[URL_MAX];
    char                        *ca_file, *certificate, *key;
    char                         own_namespace[NAMESPACE_MAX + 2];
    struct kubernetes_namespace *namespaces;
    struct reflector_counters    gone;      /* of namespaces that nobody follows any more */
};

struct kubernetes_namespace {
    struct kubernetes_namespace *next, **place;
    struct kubernetes           *owner;
    char                         name[NAMESPACE_MAX + 1];
    struct kubernetes_follower  *followers;
    struct slices                slices;
    struct services              services;
    struct reflector            *slice_reflector, *service_reflector; /* the second only where it is wanted */
    bool                         has_slices, has_services; /* the lists are whole */
    bool                         is_listing;               /* slices: nobody is told of single ones, or of some alone */
    /* Since a watch stood; empty: all is well. The second is of no interest to who names ports. */
    char                         slice_failure[REASON_MAX], service_failure[REASON_MAX];
};

/* ---- followers ---- */

static bool is_whole(const struct kubernetes_follower *f) {
    const struct kubernetes_namespace *n = f->in;
    return n->has_slices && !n->is_listing && (n->has_services || !f->wants_services);
}

static void destroy_namespace(struct kubernetes_namespace *n) {
    reflector_count(n->slice_reflector, &n->owner->gone);
    reflector_count(n->service_reflector, &n->owner->gone);
    *n->place = n->next;
    if (n->next)
        n->next->place = n->place;
    reflector_destroy(n->slice_reflector);
    reflector_destroy(n->service_reflector);
    slices_finish(&n->slices);
    services_finish(&n->services);
    hg_free(n);
}

static const char *failure_of(const struct kubernetes_follower *f) {
    const struct kubernetes_namespace *n = f->in;
    return n->slice_failure[0] ? n->slice_failure : f->wants_services ? n->service_failure : "";
}

/* What there is, and behind it what still fails. */
static void tell_one(struct kubernetes_follower *f) {
    if (!is_whole(f))
        return;
    f->changed(f->context);
    if (*failure_of(f))
        f->failed(f->context, failure_of(f));
}

/* Who follows this service; NULL: all. */
static void tell(struct kubernetes_namespace *n, const char *service) {
    for (struct kubernetes_follower *f = n->followers; f; f = f->next)
        if (!service || strcmp(f->service, service) == 0)
            tell_one(f);
}

/* The same of those alone to whom Services matter. */
static void tell_by_number(struct kubernetes_namespace *n, const char *service) {
    for (struct kubernetes_follower *f = n->followers; f; f = f->next)
        if (f->wants_services && (!service || strcmp(f->service, service) == 0))
            tell_one(f);
}

/* ---- slices ---- */

static void on_slices_changed(void *context, const char *service) {
    tell(context, service);
}

static void on_slices_list(void *context) {
    struct kubernetes_namespace *n = context;
    n->is_listing = true;
    slices_list(&n->slices);
}

static bool on_slice_set(void *context, const cJSON *object) {
    return slices_set(&((struct kubernetes_namespace *)context)->slices, object);
}

static void on_slice_removed(void *context, const cJSON *object) {
    slices_remove(&((struct kubernetes_namespace *)context)->slices, object);
}

static void on_slices_listed(void *context) {
    struct kubernetes_namespace *n = context;
    slices_listed(&n->slices);
    n->is_listing = false;
    n->has_slices = true;
    tell(n, NULL);
}

static void on_slices_failed(void *context, const char *reason) {
    struct kubernetes_namespace *n = context;
    if (n->slices.is_full)
        reason = "the EndpointSlices of the namespace take more than 256 MiB";
    n->slices.is_full = false;
    snprintf(n->slice_failure, sizeof n->slice_failure, "%s", reason);
    for (struct kubernetes_follower *f = n->followers; f; f = f->next)
        f->failed(f->context, reason);
}

/* It is asked again, with success: what there was to say of it is over. */
static void on_slices_watched(void *context) {
    struct kubernetes_namespace *n = context;
    bool has_failed = n->slice_failure[0];
    n->slice_failure[0] = '\0';
    if (has_failed)
        tell(n, NULL);
}

static const struct reflector_ops slice_ops = {
    .list = on_slices_list, .set = on_slice_set, .removed = on_slice_removed, .listed = on_slices_listed,
    .watching = on_slices_watched, .failed = on_slices_failed,
};

/* ---- services ---- */

static void on_services_list(void *context) {
    services_list(&((struct kubernetes_namespace *)context)->services);
}

static bool on_service_set(void *context, const cJSON *object) {
    struct kubernetes_namespace *n = context;
    const char *name = services_set(&n->services, object);
    if (name)
        tell_by_number(n, name);
    return name != NULL;
}

static void on_service_removed(void *context, const cJSON *object) {
    struct kubernetes_namespace *n = context;
    const char *name = services_remove(&n->services, object);
    if (name)
        tell_by_number(n, name);
}

static void on_services_listed(void *context) {
    struct kubernetes_namespace *n = context;
    services_listed(&n->services);
    n->has_services = true;
    tell_by_number(n, NULL);
}

static void on_services_failed(void *context, const char *reason) {
    struct kubernetes_namespace *n = context;
    if (n->services.is_full)
        reason = "the Services of the namespace take more than 256 MiB";
    n->services.is_full = false;
    snprintf(n->service_failure, sizeof n->service_failure, "%s", reason);
    for (struct kubernetes_follower *f = n->followers; f; f = f->next)
        if (f->wants_services)
            f->failed(f->context, reason);
}

static void on_services_watched(void *context) {
    struct kubernetes_namespace *n = context;
    bool has_failed = n->service_failure[0];
    n->service_failure[0] = '\0';
    if (has_failed)
        tell_by_number(n, NULL);
}

static const struct reflector_ops service_ops = {
    .list = on_services_list, .set = on_service_set, .removed = on_service_removed, .listed = on_services_listed,
    .watching = on_services_watched, .failed = on_services_failed,
};

/* ---- namespaces ---- */

static struct kubernetes_namespace *create_namespace(struct kubernetes *k, const char *name) {
    char path[NAMESPACE_MAX + 80];
    struct kubernetes_namespace *n = hg_calloc(1, sizeof *n);
    if (!n)
        return NULL;
    snprintf(n->name, sizeof n->name, "%s", name);
    n->owner = k;
    n->slices = (struct slices){.changed = on_slices_changed, .context = n};
    snprintf(path, sizeof path, "/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices", n->name);
    n->slice_reflector = reflector_create(&k->server, path, &slice_ops, n);
    if (!n->slice_reflector) {
        hg_free(n);
        return NULL;
    }
    n->next = k->namespaces;
    n->place = &k->namespaces;
    if (n->next)
        n->next->place = &n->next;
    k->namespaces = n;
    return n;
}

static int want_services(struct kubernetes_namespace *n) {
    char path[NAMESPACE_MAX + 80];
    snprintf(path, sizeof path, "/api/v1/namespaces/%s/services", n->name);
    if (!n->service_reflector)
        n->service_reflector = reflector_create(&n->owner->server, path, &service_ops, n);
    return n->service_reflector ? 0 : -1;
}

/* Once nobody needs them, their failures are nobody's, either. */
static void drop_services(struct kubernetes_namespace *n) {
    for (struct kubernetes_follower *f = n->followers; f; f = f->next)
        if (f->wants_services)
            return;
    reflector_count(n->service_reflector, &n->owner->gone);
    reflector_destroy(n->service_reflector);
    services_finish(&n->services);
    n->services = (struct services){0};
    n->service_reflector = NULL;
    n->has_services = false;
    n->service_failure[0] = '\0';
}

static struct kubernetes_namespace *find_namespace(const struct kubernetes *k, const char *name) {
    struct kubernetes_namespace *n = k->namespaces;
    while (n && strcmp(n->name, name) != 0)
        n = n->next;
    return n;
}

int kubernetes_follow(struct kubernetes *k, const char *namespace, struct kubernetes_follower *f) {
    struct kubernetes_namespace *n = find_namespace(k, namespace);
    if (!n && !(n = create_namespace(k, namespace)))
        return -1;
    if (f->wants_services && want_services(n) < 0) {
        if (!n->followers)
            destroy_namespace(n);
        return -1;
    }
    f->in = n;
    f->next = n->followers;
    f->place = &n->followers;
    if (f->next)
        f->next->place = &f->next;
    n->followers = f;
    return 0;
}

void kubernetes_leave(struct kubernetes_follower *f) {
    struct kubernetes_namespace *n = f->in;
    if (!n)
        return;
    *f->place = f->next;
    if (f->next)
        f->next->place = f->place;
    f->in = NULL;
    if (!n->followers)
        destroy_namespace(n);
    else if (f->wants_services)
        drop_services(n);
}

struct reflector *kubernetes_watch_secret(struct kubernetes *k, struct str namespace, struct str name,
                                          const struct reflector_ops *ops, void *context) {
    struct strbuf path = {0};
    struct reflector *r = NULL;
    strbuf_puts(&path, "/api/v1/namespaces/");
    strbuf_add_str(&path, namespace);
    strbuf_puts(&path, "/secrets?fieldSelector=metadata.name%3D");
    strbuf_add_str(&path, name);
    if (!path.failed)
        r = reflector_create(&k->server, path.p, ops, context);
    strbuf_finish(&path);
    return r;
}

bool kubernetes_is_known(const struct kubernetes_follower *f) {
    return f->in && is_whole(f);
}

Headgate__EndpointSet *kubernetes_endpoints(const struct kubernetes_follower *f, const char *port, struct arena *arena,
                                            struct error_list *errors) {
    uint64_t number;
    const struct kubernetes_namespace *n = f->in;
    const char *name = port;
    if (port && str_to_uint64(str_of(port), &number) == 0)
        name = number <= UINT16_MAX ? services_port_name(&n->services, f->service, (uint32_t)number) : NULL;
    if (port && !name) {
        error_addf(errors, ERROR_REFERENCE, "there is no Service %s in namespace %s with port %s", f->service, n->name,
                   port);
        return NULL;
    }
    return slices_endpoints(&n->slices, f->service, name, arena, errors);
}

/* ---- the server ---- */

bool kubernetes_is_around(void) {
    return getenv("KUBERNETES_SERVICE_HOST") && getenv("KUBERNETES_SERVICE_PORT") && access(KUBERNETES_ACCOUNT, R_OK) == 0;
}

static int set_url(struct kubernetes *k, const char *server, struct error_list *errors) {
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    bool is_v6 = host && strchr(host, ':');
    int n = server         ? snprintf(k->url, sizeof k->url, "%s", server)
            : host && port ? snprintf(k->url, sizeof k->url, is_v6 ? "https://[%s]:%s" : "https://%s:%s", host, port)
                           : -1;
    size_t length = n > 0 ? strlen(k->url) : 0;
    if (length && k->url[length - 1] == '/')
        k->url[length - 1] = '\0';
    bool is_url = strncmp(k->url, "https://", 8) == 0 || strncmp(k->url, "http://", 7) == 0;
    if (n > 0 && (size_t)n < sizeof k->url && is_url)
        return 0;
    error_addf(errors, ERROR_SYNTAX, "the API server has to be a URL such as https://10.96.0.1:443, not %s",
               server ? server : "what KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT say");
    return -1;
}

static int set_token(struct kubernetes *k, const struct kubernetes_config *c, struct error_list *errors) {
    const char *path = c->token_file ? c->token_file : c->certificate || c->server ? NULL : KUBERNETES_ACCOUNT "/token";
    if (!path)
        return 0;
    k->token = token_file_open(path, errors);
    return k->token ? 0 : -1;
}

/* 0, or -1 without memory. */
static int copy_path(const char *path, char **ret) {
    *ret = path ? hg_strdup(path) : NULL;
    return path && !*ret ? -1 : 0;
}

static int set_trust(struct kubernetes *k, const struct kubernetes_config *c, struct error_list *errors) {
    const char *ca = c->ca_file ? c->ca_file : c->server ? NULL : KUBERNETES_ACCOUNT "/ca.crt";
    if (copy_path(ca, &k->ca_file) == 0 && copy_path(c->certificate, &k->certificate) == 0 &&
        copy_path(c->key, &k->key) == 0)
        return 0;
    error_addf(errors, ERROR_MEMORY, "no memory for an API server");
    return -1;
}

static void read_own_namespace(struct kubernetes *k) {
    FILE *file = fopen(KUBERNETES_ACCOUNT "/namespace", "re");
    bool is_read = file && fgets(k->own_namespace, sizeof k->own_namespace, file);
    if (file)
        fclose(file);
    k->own_namespace[strcspn(k->own_namespace, "\r\n")] = '\0';
    if (!is_read || !k->own_namespace[0] || strlen(k->own_namespace) > NAMESPACE_MAX)
        snprintf(k->own_namespace, sizeof k->own_namespace, "default");
}

struct kubernetes *kubernetes_create(const struct kubernetes_config *config, struct error_list *errors) {
    struct kubernetes *k = hg_calloc(1, sizeof *k);
    struct http_client *http = k ? http_client_create(config->loop) : NULL;
    if (!http) {
        hg_free(k);
        error_addf(errors, ERROR_MEMORY, "no memory for an API server");
        return NULL;
    }
    k->server.http = http;
    if (set_url(k, config->server, errors) < 0 || set_token(k, config, errors) < 0 || set_trust(k, config, errors) < 0) {
        kubernetes_destroy(k);
        return NULL;
    }
    read_own_namespace(k);
    k->server = (struct kubernetes_server){.loop = config->loop, .http = http, .url = k->url, .token = k->token,
                                           .trust = {.ca_file = k->ca_file, .certificate = k->certificate, .key = k->key}};
    return k;
}

void kubernetes_destroy(struct kubernetes *k) {
    if (!k)
        return;
    http_client_destroy(k->server.http);
    token_file_close(k->token);
    hg_free(k->ca_file);
    hg_free(k->certificate);
    hg_free(k->key);
    hg_free(k);
}

void kubernetes_count(const struct kubernetes *k, struct reflector_counters *ret) {
    *ret = k->gone;
    for (const struct kubernetes_namespace *n = k->namespaces; n; n = n->next) {
        reflector_count(n->slice_reflector, ret);
        reflector_count(n->service_reflector, ret);
    }
}

const char *kubernetes_own_namespace(const struct kubernetes *k) {
    return k->own_namespace;
}
