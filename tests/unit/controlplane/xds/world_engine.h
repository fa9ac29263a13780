/* world_engine.h — resources of a small language, and an engine that takes or refuses what becomes of them.
 *
 * A resource is words: "name:a v:3 eds:a rds:b sds:c ext:d to:e bad": its name and value, what it needs, the clusters that
 * its routes send to, and whether it cannot be translated. The value is the port of a listener and of an endpoint. "parts"
 * says that scopes or virtual hosts belong to it; the sum of their values is the backlog of a listener, and is added to the
 * value of a route table. Of those with "clash" there can be one. The value of a runtime layer is that of the key "share",
 * which is added to a route table that is "shared". "idle:5" of a listener is added to a table that is "idle", the longest
 * of those that have it. "default" and "early" say that its filter "ext" has a
 * default, and that this is used before the filter comes. */
#pragma once

#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/engine/reply.h"
#include "controlplane/xds/world.h"
#include "tests/unit/controlplane/xds/scripted_server.h"

enum { TOLD_MAX = 256, WORDS_MAX = 8 };

static const char *const small_types[XDS_ROLES] = {
    "envoy.config.cluster.v3.Cluster", "envoy.config.endpoint.v3.ClusterLoadAssignment", "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.ScopedRouteConfiguration", "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.route.v3.VirtualHost", "envoy.extensions.transport_sockets.tls.v3.Secret",
    "envoy.config.core.v3.TypedExtensionConfig", "envoy.service.runtime.v3.Runtime",
};

/* ---- the language ---- */

struct words {
    char     text[SERVED_TEXT_MAX];
    char    *name;
    unsigned value;
    char    *eds, *rds, *sds, *ext, *to[WORDS_MAX];
    size_t   to_count;
    bool     is_bad, has_parts, is_clashing, has_default, is_early, is_shared, is_idle, has_key;
    unsigned idle;
    unsigned sum;                       /* of the values of parts */
};

static inline void take_word(struct words *words, char *word) {
    char *colon = strchr(word, ':');
    words->is_bad |= strcmp(word, "bad") == 0;
    words->has_parts |= strcmp(word, "parts") == 0;
    words->is_clashing |= strcmp(word, "clash") == 0;
    words->has_default |= strcmp(word, "default") == 0;
    words->is_early |= strcmp(word, "early") == 0;
    words->is_shared |= strcmp(word, "shared") == 0;
    words->is_idle |= strcmp(word, "idle") == 0;
    words->has_key |= strcmp(word, "key") == 0;
    if (!colon)
        return;
    *colon++ = '\0';
    if (strcmp(word, "name") == 0)
        words->name = colon;
    else if (strcmp(word, "v") == 0)
        words->value = (unsigned)strtoul(colon, NULL, 10);
    else if (strcmp(word, "eds") == 0)
        words->eds = colon;
    else if (strcmp(word, "rds") == 0)
        words->rds = colon;
    else if (strcmp(word, "sds") == 0)
        words->sds = colon;
    else if (strcmp(word, "ext") == 0)
        words->ext = colon;
    else if (strcmp(word, "idle") == 0)
        words->idle = (unsigned)strtoul(colon, NULL, 10);
    else
        words->to[words->to_count++] = colon;
}

/* 0, or -1 with an error. */
static inline int read_words(struct words *words, struct str bytes, struct error_list *errors) {
    char *save = NULL;
    *words = (struct words){0};
    snprintf(words->text, sizeof words->text, "%.*s", STR_FMT(bytes));
    for (char *word = strtok_r(words->text, " ", &save); word; word = strtok_r(NULL, " ", &save))
        take_word(words, word);
    if (!words->is_bad && words->name)
        return 0;
    error_set_resource(errors, error_addf(errors, ERROR_RANGE, "it is bad"), NULL, "a.field");
    return -1;
}

static inline int out_of_memory(struct error_list *errors) {
    error_addf(errors, ERROR_MEMORY, "no memory");
    return -1;
}

static inline int emit(struct xds_made *made, Headgate__Kind kind, const char *name, const ProtobufCMessage *m,
                       struct error_list *errors) {
    uint8_t bytes[2048];
    size_t size = protobuf_c_message_pack(m, bytes);
    if (config_resources_add(&made->set, kind, str_of(name), bytes, size) < 0)
        return out_of_memory(errors);
    config_resources_sort(&made->set);
    return 0;
}

/* A secret whose content is all of the message. */
static inline int give(struct xds_made *made, const char *name, enum config_secret_what what, struct str bytes,
                       struct error_list *errors) {
    made->givens = hg_calloc(1, sizeof *made->givens);
    char *copy = arena_printf(&made->arena, "sds:%s", name);
    struct str content = arena_str(&made->arena, bytes);
    if (!made->givens || !copy || !content.p)
        return out_of_memory(errors);
    made->given_count = made->given_capacity = 1;
    made->givens[0] = (struct xds_given){.name = copy, .what = what, .certificate = content, .key = STR(""),
                                         .ocsp = STR(""), .crl = STR("")};
    return 0;
}

static inline int need_or(struct xds_made *made, enum xds_role role, const char *name, enum xds_awaited awaited,
                          struct error_list *errors) {
    const char *type = small_types[role];
    return name && xds_made_need(made, type, str_of(name), awaited) < 0 ? out_of_memory(errors) : 0;
}

static inline int need(struct xds_made *made, enum xds_role role, const char *name, struct error_list *errors) {
    return need_or(made, role, name, XDS_AWAITED, errors);
}

static inline int translate_cluster(const struct xds_material *from, struct xds_made *made, struct error_list *errors) {
    Headgate__Cluster cluster = HEADGATE__CLUSTER__INIT;
    Headgate__EndpointSet set = HEADGATE__ENDPOINT_SET__INIT;
    struct words words;
    if (read_words(&words, from->bytes, errors) < 0)
        return -1;
    cluster.has_requests_per_connection = true;
    cluster.requests_per_connection = words.value + 1;
    return emit(made, HEADGATE__KIND__KIND_CLUSTER, words.name, &cluster.base, errors)
           | emit(made, HEADGATE__KIND__KIND_ENDPOINT_SET, words.name, &set.base, errors)
           | need(made, XDS_ENDPOINTS, words.eds, errors) | need(made, XDS_SECRETS, words.sds, errors);
}

static inline int translate_endpoints(const struct xds_material *from, struct xds_made *made, struct error_list *errors) {
    Headgate__EndpointSet set = HEADGATE__ENDPOINT_SET__INIT;
    Headgate__Endpoint endpoint = HEADGATE__ENDPOINT__INIT, *list[] = {&endpoint};
    struct words words;
    char address[32];
    if (read_words(&words, from->bytes, errors) < 0)
        return -1;
    snprintf(address, sizeof address, "127.0.0.1:%u", words.value % 60000 + 1);
    endpoint.address = address;
    endpoint.has_weight = from->is_locality_weighted;
    endpoint.weight = 7;
    set.endpoints = list;
    set.n_endpoints = 1;
    return emit(made, HEADGATE__KIND__KIND_ENDPOINT_SET, words.name, &set.base, errors);
}

/* Adds up the values of the parts, and what they need. */
static inline int add_parts(struct words *words, const struct xds_material *from, enum xds_role role, struct xds_made *made,
                            struct error_list *errors) {
    const char *field = role == XDS_HOSTS ? "virtual_hosts" : "scopes";
    bool has_clash = false;
    int status = words->has_parts ? need(made, role, "*", errors) : 0;
    made->is_hollow = words->has_parts && from->part_count == 0;
    for (size_t i = 0; status == 0 && i < from->part_count; i++) {
        struct words part;
        char path[48];
        assert_int_equal(read_words(&part, from->parts[i], errors), 0);
        words->sum += part.value;
        status = need(made, XDS_ROUTES, part.rds, errors);
        snprintf(path, sizeof path, "%s[%zu].value", field, i);
        if (part.is_clashing && has_clash)
            error_set_resource(errors, error_addf(errors, ERROR_CONFLICT, "it clashes"), NULL, path);
        has_clash |= part.is_clashing;
    }
    return errors->count ? -1 : status;
}

/* Nothing by itself. */
static inline int translate_part(const struct xds_material *from, struct xds_made *made, struct error_list *errors) {
    struct words words;
    (void)made;
    return read_words(&words, from->bytes, errors);
}

/* A scope for each part that names a table, and one for the table of the listener. */
enum { SCOPES_MAX = 32 };

struct small_scopes {
    Headgate__ScopedRoutes  routes;
    Headgate__ScopeKeyPart  part, *parts[1];
    Headgate__RouteScope    scopes[SCOPES_MAX], *list[SCOPES_MAX];
    struct words            words[SCOPES_MAX];
    char                   *keys[SCOPES_MAX][1];
};

static inline void add_scope(struct small_scopes *s, char *key, char *table) {
    size_t i = s->routes.n_scopes++;
    headgate__route_scope__init(&s->scopes[i]);
    s->keys[i][0] = key;
    s->scopes[i].key = s->keys[i];
    s->scopes[i].n_key = 1;
    s->scopes[i].route_table = table;
    s->list[i] = &s->scopes[i];
}

static inline Headgate__ScopedRoutes *fill_scopes(struct small_scopes *s, struct words *words,
                                                  const struct xds_material *from) {
    static char header[] = "x", own[] = "of the listener";
    assert_true(from->part_count < SCOPES_MAX);
    headgate__scoped_routes__init(&s->routes);
    headgate__scope_key_part__init(&s->part);
    s->part.header = header;
    s->parts[0] = &s->part;
    s->routes.key = s->parts;
    s->routes.n_key = 1;
    s->routes.scopes = s->list;
    for (size_t i = 0; i < from->part_count; i++) {
        struct error_list none = {0};
        assert_int_equal(read_words(&s->words[i], from->parts[i], &none), 0);
        if (s->words[i].rds)
            add_scope(s, s->words[i].name, s->words[i].rds);
    }
    if (words->rds)
        add_scope(s, own, words->rds);
    return &s->routes;
}

static inline int translate_listener(const struct xds_material *from, struct xds_made *made, struct error_list *errors) {
    Headgate__Listener listener = HEADGATE__LISTENER__INIT;
    static struct small_scopes scopes;
    struct words words;
    char address[32], *addresses[] = {address};
    if (read_words(&words, from->bytes, errors) < 0 || add_parts(&words, from, XDS_SCOPES, made, errors) < 0)
        return -1;
    snprintf(address, sizeof address, "127.0.0.1:%u", words.value % 60000 + 1);
    listener.addresses = addresses;
    listener.n_addresses = 1;
    if (words.has_parts)
        listener.scoped_routes = fill_scopes(&scopes, &words, from);
    else
        listener.route_table = words.rds;
    listener.has_backlog = words.sum > 0;
    listener.backlog = words.sum % 60000;
    made->stream_idle = words.idle;
    enum xds_awaited awaited =
        words.is_early ? XDS_NOT_AWAITED : words.has_default ? XDS_AWAITED_OR_DEFAULT : XDS_AWAITED;
    return emit(made, HEADGATE__KIND__KIND_LISTENER, words.name, &listener.base, errors)
           | need(made, XDS_ROUTES, words.rds, errors) | need(made, XDS_SECRETS, words.sds, errors)
           | need_or(made, XDS_EXTENSIONS, words.ext, awaited, errors)
           | (words.has_key ? give(made, "@inline", CONFIG_SECRET_KEY_PAIR, from->bytes, errors) : 0);
}

struct route_parts {
    Headgate__Rule             rules[WORDS_MAX], *rule_list[WORDS_MAX];
    Headgate__Forward          forwards[WORDS_MAX];
    Headgate__WeightedCluster  clusters[WORDS_MAX], *cluster_list[WORDS_MAX];
};

static inline void fill_rule(struct route_parts *parts, size_t i, char *cluster) {
    headgate__rule__init(&parts->rules[i]);
    headgate__forward__init(&parts->forwards[i]);
    headgate__weighted_cluster__init(&parts->clusters[i]);
    parts->rule_list[i] = &parts->rules[i];
    parts->cluster_list[i] = &parts->clusters[i];
    parts->clusters[i].name = cluster;
    parts->forwards[i].clusters = &parts->cluster_list[i];
    parts->forwards[i].n_clusters = 1;
    parts->rules[i].action_case = HEADGATE__RULE__ACTION_FORWARD;
    parts->rules[i].forward = &parts->forwards[i];
    parts->rules[i].name = cluster;
}

static inline unsigned share_of(const struct xds_material *from, struct xds_made *made) {
    made->reads_runtime = true;
    return (unsigned)xds_runtime_integer(from->runtime, "share", 0);
}

static inline unsigned idle_of(const struct xds_material *from, struct xds_made *made) {
    made->reads_stream_idle = true;
    made->stream_idle = from->stream_idle ? from->stream_idle : XDS_STREAM_IDLE;
    return (unsigned)from->stream_idle;
}

static inline int translate_routes(const struct xds_material *from, struct xds_made *made, struct error_list *errors) {
    Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    Headgate__Host host = HEADGATE__HOST__INIT, *hosts[] = {&host};
    struct route_parts parts;
    struct words words;
    char domain[32], *domains[] = {domain};
    if (read_words(&words, from->bytes, errors) < 0 || add_parts(&words, from, XDS_HOSTS, made, errors) < 0)
        return -1;
    if (words.is_shared)
        words.sum += share_of(from, made);
    if (words.is_idle)
        words.sum += idle_of(from, made);
    snprintf(domain, sizeof domain, "v%u.example", words.value + words.sum);
    host.domains = domains;
    host.n_domains = 1;
    for (size_t i = 0; i < words.to_count; i++)
        fill_rule(&parts, i, words.to[i]);
    host.rules = parts.rule_list;
    host.n_rules = words.to_count;
    table.hosts = hosts;
    table.n_hosts = 1;
    return emit(made, HEADGATE__KIND__KIND_ROUTE_TABLE, words.name, &table.base, errors);
}

static inline int translate_secret(const struct xds_material *from, struct xds_made *made, struct error_list *errors) {
    struct words words;
    if (read_words(&words, from->bytes, errors) < 0)
        return -1;
    return give(made, words.name, CONFIG_SECRET_TRUST, from->bytes, errors);
}

static inline int translate_runtime(const struct xds_material *from, struct xds_made *made, struct error_list *errors) {
    struct words words;
    if (read_words(&words, from->bytes, errors) < 0)
        return -1;
    made->values = hg_calloc(1, sizeof *made->values);
    if (!made->values)
        return out_of_memory(errors);
    made->value_count = made->value_capacity = 1;
    made->values[0] = (struct xds_runtime_value){.key = "share", .is_number = true, .number = words.value};
    return 0;
}

static const struct xds_translation small_translations[XDS_ROLES] = {
    [XDS_CLUSTERS] = {"envoy.config.cluster.v3.Cluster", translate_cluster},
    [XDS_ENDPOINTS] = {"envoy.config.endpoint.v3.ClusterLoadAssignment", translate_endpoints},
    [XDS_LISTENERS] = {"envoy.config.listener.v3.Listener", translate_listener},
    [XDS_SCOPES] = {"envoy.config.route.v3.ScopedRouteConfiguration", translate_part},
    [XDS_ROUTES] = {"envoy.config.route.v3.RouteConfiguration", translate_routes},
    [XDS_HOSTS] = {"envoy.config.route.v3.VirtualHost", translate_part},
    [XDS_SECRETS] = {"envoy.extensions.transport_sockets.tls.v3.Secret", translate_secret},
    [XDS_EXTENSIONS] = {"envoy.config.core.v3.TypedExtensionConfig", translate_part},
    [XDS_RUNTIMES] = {"envoy.service.runtime.v3.Runtime", translate_runtime},
};

/* ---- the engine ---- */

struct fake_secret {
    char name[32], content[SERVED_TEXT_MAX];
};

struct fake_engine {
    struct config_resources set, asked;     /* in use; being asked for */
    bool                    is_asked, is_at_once;
    void                  (*done)(void *context, const Headgate__PushReply *reply);
    void                   *context;
    unsigned                layers;         /* accepted */
    struct fake_secret      secrets[32];
    size_t                  secret_count;
    unsigned                secrets_set, secrets_dropped, changes;
    /* What it refuses: the resource by its name, or as something that it cannot name, when it is otherwise than in use. */
    const char             *refuses, *chokes_on, *refuses_secret;
    const char             *path;           /* what its refusals are about; NULL: an address */
    bool                    is_ill;         /* refuses all, for reasons of its own */
    struct config_refers    seen;
};

static inline const struct config_resource *find_by_label(const struct config_resources *set, const char *label) {
    struct str rest = str_of(label), kind = str_cut(&rest, '/');
    return config_resources_find(set, kind_from_name(kind), rest);
}

static inline bool is_other(const struct fake_engine *e, const char *label) {
    const struct config_resource *a = label ? find_by_label(&e->set, label) : NULL;
    const struct config_resource *b = label ? find_by_label(&e->asked, label) : NULL;
    return b && (!a || !resource_id_equal(&a->id, &b->id));
}

static inline bool fake_has_secret(const struct fake_engine *e, const char *name) {
    for (size_t i = 0; i < e->secret_count; i++)
        if (strcmp(e->secrets[i].name, name) == 0)
            return true;
    return false;
}

static inline int must_have(void *context, Headgate__Kind kind, const char *name) {
    const struct fake_engine *e = context;
    if (kind != HEADGATE__KIND__KIND_CLUSTER)
        assert_non_null(config_resources_find(&e->asked, kind, str_of(name)));
    return 0;
}

/* What no layer may be: out of order, or with a listener that names what is not there. */
static inline void check_set(struct fake_engine *e) {
    struct error_list errors = {0};
    const struct config_refers refers = {must_have, e};
    hg_alloc_fail_at(-1, 0);
    if (config_references(&e->asked, &refers, &errors) != 0)
        fail_msg("%s: %s", errors.count ? errors.items[0].path : "", errors.count ? errors.items[0].message : "?");
    for (size_t i = 1; i < e->asked.count; i++) {
        const struct config_resource *a = &e->asked.items[i - 1], *b = &e->asked.items[i];
        assert_true(a->kind < b->kind || (a->kind == b->kind && strcmp(a->name, b->name) < 0));
    }
    error_list_finish(&errors);
}

static inline void engine_replies(struct fake_engine *e, Headgate__PushReply__Outcome outcome, const char *code,
                                  const char *resource) {
    Headgate__PushReply reply = HEADGATE__PUSH_REPLY__INIT;
    Headgate__Problem problem = HEADGATE__PROBLEM__INIT, *problems[] = {&problem};
    problem.code = (char *)(uintptr_t)code;
    problem.resource = (char *)(uintptr_t)resource;
    problem.path = (char *)(uintptr_t)(e->path ? e->path : "addresses[0]");
    problem.message = (char *)(uintptr_t)"is in use";
    reply.has_outcome = true;
    reply.outcome = outcome;
    if (code) {
        reply.problems = problems;
        reply.n_problems = 1;
    }
    e->is_asked = false;
    if (outcome != HEADGATE__PUSH_REPLY__OUTCOME__REFUSED) {
        config_resources_finish(&e->set);
        e->set = e->asked;
        e->layers++;
    } else {
        config_resources_finish(&e->asked);
    }
    e->asked = (struct config_resources){0};
    e->done(e->context, &reply);
}

static inline void engine_answers(struct fake_engine *e) {
    if (!e->is_asked)
        return;
    if (e->is_ill)
        engine_replies(e, HEADGATE__PUSH_REPLY__OUTCOME__REFUSED, "io", NULL);
    else if (is_other(e, e->refuses))
        engine_replies(e, HEADGATE__PUSH_REPLY__OUTCOME__REFUSED, "address-in-use", e->refuses);
    else if (is_other(e, e->chokes_on))
        engine_replies(e, HEADGATE__PUSH_REPLY__OUTCOME__REFUSED, "conflict", "listener/of-somebody-else");
    else
        engine_replies(e, HEADGATE__PUSH_REPLY__OUTCOME__COMMITTED, NULL, NULL);
}

static inline int fake_set_layer(void *context, struct config_resources *set,
                                 void (*done)(void *done_context, const Headgate__PushReply *reply), void *done_context) {
    struct fake_engine *e = context;
    assert_false(e->is_asked);
    e->asked = *set;
    *set = (struct config_resources){0};
    e->done = done;
    e->context = done_context;
    e->is_asked = true;
    check_set(e);
    if (e->is_at_once)
        engine_answers(e);
    return 0;
}

static inline int fake_set_secret(void *context, const struct xds_given *given, struct error_list *errors) {
    struct fake_engine *e = context;
    size_t at = 0;
    if (e->refuses_secret && strcmp(e->refuses_secret, given->name) == 0) {
        error_addf(errors, ERROR_CONFLICT, "the key does not fit");
        return -1;
    }
    while (at < e->secret_count && strcmp(e->secrets[at].name, given->name) != 0)
        at++;
    e->secret_count += at == e->secret_count;
    e->secrets_set++;
    snprintf(e->secrets[at].name, sizeof e->secrets[at].name, "%s", given->name);
    snprintf(e->secrets[at].content, sizeof e->secrets[at].content, "%.*s", STR_FMT(given->certificate));
    return 0;
}

static inline void fake_drop_secret(void *context, const char *name) {
    struct fake_engine *e = context;
    size_t at = 0;
    while (at < e->secret_count && strcmp(e->secrets[at].name, name) != 0)
        at++;
    assert_true(at < e->secret_count);
    e->secrets[at] = e->secrets[--e->secret_count];
    e->secrets_dropped++;
}

static inline void fake_changed(void *context) {
    struct fake_engine *e = context;
    e->changes++;
}
