/* Any text as the routes or the listener of a management server, JSON or YAML.
 *
 * First byte: which of them, or a request that routes are explained for. What is refused has an error; what is accepted
 * passes every check of a configuration in which the clusters and tables that it names are. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/xds/explain.h"
#include "controlplane/xds/json.h"
#include "controlplane/xds/translate/translate.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { MEMORY_MAX = 64 << 20 };

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* ---- what is named ---- */

static void add(struct config_resources *set, Headgate__Kind kind, const char *name, const ProtobufCMessage *m)
{
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = hg_malloc(size ? size : 1);
    must(bytes && protobuf_c_message_pack(m, bytes) == size, "memory");
    if (!config_resources_find(set, kind, str_of(name))) {
        must(config_resources_add(set, kind, str_of(name), bytes, size) == 0, "memory");
        config_resources_sort(set);
    }
    hg_free(bytes);
}

/* With the one subset that is asked for; another one of the same cluster is left to the check, which then says nothing. */
static void add_cluster(struct config_resources *set, const Headgate__WeightedCluster *named)
{
    Headgate__Cluster cluster = HEADGATE__CLUSTER__INIT;
    Headgate__Balancing balancing = HEADGATE__BALANCING__INIT;
    Headgate__SubsetSelector selector = HEADGATE__SUBSET_SELECTOR__INIT, *selectors[] = {&selector};
    Headgate__EndpointSet endpoints = HEADGATE__ENDPOINT_SET__INIT;
    char *keys[16];
    for (size_t i = 0; i < named->n_subset && i < 16; i++) {
        keys[i] = named->subset[i]->key;
    }
    selector.keys = keys;
    selector.n_keys = named->n_subset;
    balancing.subsets = selectors;
    balancing.n_subsets = named->n_subset ? 1 : 0;
    cluster.balancing = &balancing;
    add(set, HEADGATE__KIND__KIND_CLUSTER, named->name, &cluster.base);
    add(set, HEADGATE__KIND__KIND_ENDPOINT_SET, named->name, &endpoints.base);
}

static void add_clusters_of_table(struct config_resources *set, const struct config_resource *r)
{
    Headgate__RouteTable *table = headgate__route_table__unpack(NULL, r->size, r->bytes);
    must(table != NULL, "memory");
    for (size_t i = 0; i < table->n_hosts; i++) {
        for (size_t k = 0; k < table->hosts[i]->n_rules; k++) {
            const Headgate__Rule *rule = table->hosts[i]->rules[k];
            bool is_forward = rule->action_case == HEADGATE__RULE__ACTION_FORWARD;
            for (size_t c = 0; is_forward && c < rule->forward->n_clusters; c++) {
                add_cluster(set, rule->forward->clusters[c]);
            }
        }
    }
    headgate__route_table__free_unpacked(table, NULL);
}

static void add_what_a_listener_names(struct config_resources *set, const struct config_resource *r)
{
    static char *any[] = {(char *)"*"};
    Headgate__Respond respond = HEADGATE__RESPOND__INIT;
    Headgate__Rule rule = HEADGATE__RULE__INIT, *rules[] = {&rule};
    Headgate__Host host = HEADGATE__HOST__INIT, *hosts[] = {&host};
    Headgate__RouteTable table = HEADGATE__ROUTE_TABLE__INIT;
    Headgate__Listener *listener = headgate__listener__unpack(NULL, r->size, r->bytes);
    must(listener != NULL, "memory");
    rule.action_case = HEADGATE__RULE__ACTION_RESPOND;
    rule.respond = &respond;
    host.domains = any, host.n_domains = 1;
    host.rules = rules, host.n_rules = 1;
    table.hosts = hosts, table.n_hosts = 1;
    for (size_t c = 0; listener->tcp && c < listener->tcp->n_clusters; c++) {
        add_cluster(set, listener->tcp->clusters[c]);
    }
    if (listener->route_table) {
        add(set, HEADGATE__KIND__KIND_ROUTE_TABLE, listener->route_table, &table.base);
    }
    headgate__listener__free_unpacked(listener, NULL);
}

/* ---- what is accepted ---- */

static void check_resources(const struct xds_made *made)
{
    struct config_resources set = {0};
    struct error_list errors = {0};
    for (size_t i = 0; i < made->set.count; i++) {
        const struct config_resource *r = &made->set.items[i];
        must(config_resources_add(&set, r->kind, str_of(r->name), r->bytes, r->size) == 0, "memory");
    }
    config_resources_sort(&set);
    for (size_t i = 0; i < made->set.count; i++) {
        if (made->set.items[i].kind == HEADGATE__KIND__KIND_ROUTE_TABLE) {
            add_clusters_of_table(&set, &made->set.items[i]);
        } else {
            add_what_a_listener_names(&set, &made->set.items[i]);
        }
    }
    if (config_check_resources(&set, &errors, NULL) < 0) {
        struct strbuf text = {0};
        error_format(&errors.items[0], &text);
        must(strstr(strbuf_str(&text).p, "subset") != NULL, strbuf_str(&text).p); /* several of one cluster: above */
        strbuf_finish(&text);
    }
    error_list_finish(&errors);
    config_resources_finish(&set);
}

static void take(const ProtobufCMessage *m, bool is_listener)
{
    struct xds_made made = {0};
    struct error_list errors = {0};
    const Envoy__Config__Route__V3__RouteConfiguration *routes = (const void *)m;
    int status = is_listener
                     ? xds_translate_listener((const Envoy__Config__Listener__V3__Listener *)m, NULL, &made, &errors)
                     : xds_translate_route_configuration(routes, &made, &errors);
    must((status < 0) == !error_list_is_empty(&errors), "a refusal without an error, or the other way round");
    if (status == 0) {
        check_resources(&made);
    }
    xds_made_finish(&made);
    error_list_finish(&errors);
}

static void explain(struct str text)
{
    Headgate__ExplainRequest request = HEADGATE__EXPLAIN_REQUEST__INIT;
    static const struct str said = STR("{f: {k: a, n: 1.5, l: [a, 1, null], t: true, z: null, s: {k: Ab}}}");
    struct strbuf out = {0};
    struct error_list errors = {0};
    struct arena arena;
    arena_init(&arena, NULL, 0, MEMORY_MAX);
    const ProtobufCMessage *metadata = xds_json_parse(&google__protobuf__struct__descriptor, "m", said, &arena, &errors);
    const struct xds_explain_options options = {.is_json = true, .has_random = text.n % 2, .random = (uint32_t)text.n,
                                                .metadata = (const Google__Protobuf__Struct *)metadata};
    must(metadata != NULL, "no metadata");
    request.method = (char *)"GET";
    request.url = (char *)"http://a.example:8080/a/b?c=d";
    int status = xds_explain("f", text, &request, &options, &out, &errors);
    must(status == 0 ? out.n > 0 : !error_list_is_empty(&errors), "nothing was said");
    strbuf_finish(&out);
    error_list_finish(&errors);
    arena_finish(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct arena arena;
    struct error_list errors = {0};
    if (size < 1) {
        return 0;
    }
    struct str text = {(const char *)bytes + 1, size - 1};
    if (bytes[0] % 3 == 2) {
        explain(text);
        return 0;
    }
    bool is_listener = bytes[0] % 3 == 1;
    arena_init(&arena, NULL, 0, MEMORY_MAX);
    const ProtobufCMessage *m = xds_json_parse(is_listener ? &envoy__config__listener__v3__listener__descriptor
                                                           : &envoy__config__route__v3__route_configuration__descriptor,
                                               "f", text, &arena, &errors);
    if (m) {
        take(m, is_listener);
    }
    error_list_finish(&errors);
    arena_finish(&arena);
    return 0;
}
