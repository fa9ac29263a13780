/* Any bytes as a resource of a management server: a cluster, an assignment of endpoints, a secret, a listener, routes, and
 * parts of them; an HTTP filter, a runtime layer.
 *
 * First byte: which of them. Second: the allocation that fails, counted from 1; 0: none. The rest: the message. What is
 * refused has an error; what is accepted passes every check of a configuration, and is the same when it is made again. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/xds/decode.h"
#include "controlplane/xds/translate/translate.h"
#include "dataplane/routing/peer_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { MEMORY_MAX = 64 << 20, KINDS_ROOM = 16 /* more of them leave the corpus what it is */ };

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* ---- the kinds ---- */

/* By which shares and weights go, made once. */
static const struct xds_runtime *values(void)
{
    static struct xds_runtime all;
    static bool is_made;
    static const char *const numbers[][2] = {{"k", "30"}, {"k.a", "7"}, {"k.b", "5000000"}, {"k.c", "0.5"}};
    for (size_t i = 0; !is_made && i < sizeof numbers / sizeof *numbers; i++) {
        const struct xds_runtime_value value = xds_runtime_of_text(numbers[i][0], numbers[i][1]);
        must(xds_runtime_set(&all, &value) == 0, "memory");
    }
    is_made = true;
    return &all;
}

static int cluster(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors)
{
    ret->runtime = values();
    return xds_translate_cluster((const Envoy__Config__Cluster__V3__Cluster *)m, ret, errors);
}

static int endpoints(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors)
{
    return xds_translate_endpoints((const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *)m, false, ret, errors);
}

static int weighted_endpoints(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors)
{
    return xds_translate_endpoints((const Envoy__Config__Endpoint__V3__ClusterLoadAssignment *)m, true, ret, errors);
}

static int secret(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors)
{
    return xds_translate_secret((const Envoy__Extensions__TransportSockets__Tls__V3__Secret *)m, ret, errors);
}

static int listener(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors)
{
    ret->runtime = values();
    return xds_translate_listener((const Envoy__Config__Listener__V3__Listener *)m, NULL, ret, errors);
}

static int routes(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors)
{
    ret->runtime = values();
    return xds_translate_route_configuration((const Envoy__Config__Route__V3__RouteConfiguration *)m, ret, errors);
}

static int virtual_host(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors)
{
    return xds_translate_virtual_host((const Envoy__Config__Route__V3__VirtualHost *)m, ret, errors);
}

static int scope(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors)
{
    return xds_translate_scope((const Envoy__Config__Route__V3__ScopedRouteConfiguration *)m, ret, errors);
}

static int extension(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors)
{
    return xds_translate_extension((const Envoy__Config__Core__V3__TypedExtensionConfig *)m, ret, errors);
}

static int runtime(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors)
{
    return xds_translate_runtime((const Envoy__Service__Runtime__V3__Runtime *)m, ret, errors);
}

static const struct kind {
    const ProtobufCMessageDescriptor *type;
    int (*translate)(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors);
} kinds[] = {
    {&envoy__config__cluster__v3__cluster__descriptor, cluster},
    {&envoy__config__endpoint__v3__cluster_load_assignment__descriptor, endpoints},
    {&envoy__config__endpoint__v3__cluster_load_assignment__descriptor, weighted_endpoints},
    {&envoy__extensions__transport_sockets__tls__v3__secret__descriptor, secret},
    {&envoy__config__listener__v3__listener__descriptor, listener},
    {&envoy__config__route__v3__route_configuration__descriptor, routes},
    {&envoy__config__route__v3__virtual_host__descriptor, virtual_host},
    {&envoy__config__route__v3__scoped_route_configuration__descriptor, scope},
    {&envoy__config__core__v3__typed_extension_config__descriptor, extension},
    {&envoy__service__runtime__v3__runtime__descriptor, runtime},
};

/* ---- what is accepted ---- */

/* That what a resource refers to is not there is nobody's fault here. */
static void check_faults(const struct error_list *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        struct strbuf text = {0};
        error_format(&errors->items[i], &text);
        must(errors->items[i].code == ERROR_REFERENCE, strbuf_str(&text).p);
        strbuf_finish(&text);
    }
}

/* An endpoint set alone is checked beside a cluster of its name. */
static void check_resources(const struct xds_made *made)
{
    static const Headgate__Cluster none = HEADGATE__CLUSTER__INIT;
    struct config_resources set = {0};
    struct error_list errors = {0};
    for (size_t i = 0; i < made->set.count; i++) {
        const struct config_resource *r = &made->set.items[i];
        uint8_t room[64];
        if (r->kind == HEADGATE__KIND__KIND_ENDPOINT_SET && made->set.count == 1) {
            must(config_resources_add(&set, HEADGATE__KIND__KIND_CLUSTER, str_of(r->name), room,
                                      protobuf_c_message_pack(&none.base, room)) == 0, "memory");
        }
        must(config_resources_add(&set, r->kind, str_of(r->name), r->bytes, r->size) == 0, "memory");
    }
    config_resources_sort(&set);
    config_check_resources(&set, &errors, NULL);
    check_faults(&errors);
    error_list_finish(&errors);
    config_resources_finish(&set);
}

/* What comes with authorities is what connections can go by. */
static void check_rules(struct str rules)
{
    Headgate__Trust *t = headgate__trust__unpack(NULL, rules.n, (const uint8_t *)rules.p);
    struct peer_rules made = {0};
    struct peer_fault fault = {0};
    must(t != NULL, "rules that cannot be read");
    const struct peer_wish wish = {t->match_names, t->n_match_names, t->pins};
    must(peer_rules_make(&wish, 1, &made, &fault) == 0, fault.why);
    peer_rules_finish(&made);
    headgate__trust__free_unpacked(t, NULL);
}

static void check_names(const struct xds_made *made)
{
    for (size_t i = 0; i < made->given_count; i++) {
        check_rules(made->givens[i].rules);
        must(resource_name_is_valid(str_of(made->givens[i].name)), "a secret of no valid name");
        must(str_starts(str_of(made->givens[i].name), STR("sds:")), "a secret that could be one of files");
    }
    for (size_t i = 0; i < made->need_count; i++) {
        must(made->needs[i].name[0] != '\0', "something without a name is needed");
    }
}

/* The table of all values has each, as it came last. */
static void check_value(const struct xds_runtime *all, const struct xds_runtime_value *v)
{
    uint32_t numerator = 0, of = 0;
    bool is_share = xds_runtime_share(all, v->key, &numerator, &of);
    must(!v->is_share || !v->is_number, "a value that is two things");
    must(!v->is_share || (v->of > 0 && v->numerator <= v->of), "a share of more than all");
    must(numerator <= of && is_share == (of > 0), "a share of more than all is asked for");
    if (v->key[0]) {
        must(!v->is_share || (numerator == v->numerator && of == v->of), "another share");
        must(!v->is_number || xds_runtime_number(all, v->key, 0) == v->number, "another number");
    }
}

static void check_values(const struct xds_made *made)
{
    struct xds_runtime all = {0};
    for (size_t i = 0; i < made->value_count; i++) {
        must(xds_runtime_set(&all, &made->values[i]) == 0, "memory");
        check_value(&all, &made->values[i]);
    }
    xds_runtime_finish(&all);
}

static void check_again(const struct kind *kind, const ProtobufCMessage *m, const struct xds_made *first)
{
    struct xds_made again = {0};
    struct error_list errors = {0};
    must(kind->translate(m, &again, &errors) == 0, "refused the second time");
    must(again.set.count == first->set.count && again.need_count == first->need_count &&
             again.given_count == first->given_count, "another number the second time");
    for (size_t i = 0; i < again.set.count; i++) {
        must(resource_id_equal(&again.set.items[i].id, &first->set.items[i].id), "other bytes the second time");
    }
    xds_made_finish(&again);
    error_list_finish(&errors);
}

/* ---- all ---- */

static void take(const struct kind *kind, const ProtobufCMessage *m, unsigned failing)
{
    struct xds_made made = {0};
    struct error_list errors = {0};
    hg_alloc_fail_at((long)failing - 1, 0);
    int status = kind->translate(m, &made, &errors);
    hg_alloc_fail_at(-1, 0);
    must((status < 0) == !error_list_is_empty(&errors), "a refusal without an error, or the other way round");
    if (status == 0) {
        check_resources(&made);
        check_names(&made);
        check_values(&made);
        check_again(kind, m, &made);
    }
    xds_made_finish(&made);
    error_list_finish(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct arena arena;
    ProtobufCMessage *m;
    values();
    if (size < 2 || bytes[0] % KINDS_ROOM >= sizeof kinds / sizeof *kinds) {
        return 0;
    }
    const struct kind *kind = &kinds[bytes[0] % KINDS_ROOM];
    arena_init(&arena, NULL, 0, MEMORY_MAX);
    if (xds_decode(kind->type, &arena, (struct str){(const char *)bytes + 2, size - 2}, &m) == 0) {
        take(kind, m, bytes[1]);
    }
    arena_finish(&arena);
    return 0;
}
