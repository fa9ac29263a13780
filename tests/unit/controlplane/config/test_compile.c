/* From text to messages: what each key becomes, references, includes, single resources, deletion, and checks of bytes. */
#include "support.h"

static const char two_sites[] =
    "listeners:\n"
    "  - {name: web, address: \"127.0.0.1:8080\", route-table: site}\n"
    "route-tables:\n"
    "  - name: site\n"
    "    hosts: [{domains: \"*\", rules: [{cluster: api}]}]\n"
    "clusters:\n"
    "  - {name: api, endpoints: [127.0.0.1:9001]}\n"
    "  - {name: spare, endpoints: [127.0.0.1:9002]}\n";

static ProtobufCMessage *decode(const struct outcome *o, Headgate__Kind kind, const char *name)
{
    struct error_list errors = {0};
    const struct config_resource *r = config_resources_find(&o->set, kind, str_of(name));
    assert_non_null(r);
    ProtobufCMessage *m = resource_decode(kind, str_of(name), r->bytes, r->size, &errors);
    assert_non_null(m);
    return m;
}

static void release(void *m)
{
    protobuf_c_message_free_unpacked(m, NULL);
}

/* ---- messages ---- */

static void settings_always_exist(void **state)
{
    (void)state;
    struct outcome o = compile_text("");
    assert_compiles(&o);
    assert_int_equal(o.set.count, 1);
    assert_int_equal(o.set.items[0].kind, HEADGATE__KIND__KIND_SETTINGS);
    assert_string_equal(o.set.items[0].name, "default");
    assert_int_equal(o.set.items[0].size, 0);
    outcome_finish(&o);
}

static void settings_hold_what_was_written_and_nothing_else(void **state)
{
    (void)state;
    struct outcome o = compile_text("limits: {body: 2GiB, min-body-rate: off}\ntimeouts: {idle: 90s}\naccess-log: off\n"
                                    "path: {backslash: to-slash}\nstatsd: 127.0.0.1:8125\nforwarded: {via: false}\n");
    assert_compiles(&o);
    Headgate__Settings *s = (Headgate__Settings *)decode(&o, HEADGATE__KIND__KIND_SETTINGS, "default");
    assert_true(s->limits->has_body && s->limits->body == (uint64_t)2 << 30);
    assert_true(s->limits->has_min_body_rate && s->limits->min_body_rate == 0);
    assert_false(s->limits->has_headers);
    assert_true(s->timeouts->has_idle && s->timeouts->idle == 90000000);
    assert_int_equal(s->access_log->format, HEADGATE__ACCESS_LOG__FORMAT__OFF);
    assert_int_equal(s->path->backslash, HEADGATE__PATH_POLICY__BACKSLASH__TO_SLASH);
    assert_string_equal(s->statsd->address, "127.0.0.1:8125");
    assert_true(s->forwarded->has_via && !s->forwarded->via);
    assert_false(s->has_trusted_hops);
    release(s);
    outcome_finish(&o);
}

static void a_rule_becomes_its_message(void **state)
{
    (void)state;
    struct strbuf text = {0};
    assert_true(read_text("tests/config/good/full.yaml", &text));
    struct outcome o = compile_bytes(strbuf_str(&text));
    assert_compiles(&o);
    Headgate__RouteTable *t = (Headgate__RouteTable *)decode(&o, HEADGATE__KIND__KIND_ROUTE_TABLE, "site");
    assert_int_equal(t->n_hosts, 2);
    assert_string_equal(t->hosts[0]->domains[1], "*.example.com");
    const Headgate__Rule *api = t->hosts[0]->rules[1];
    assert_string_equal(api->match->path->prefix, "/api/");
    assert_string_equal(api->match->methods[1], "POST");
    assert_string_equal(api->match->headers[0]->name, "x-canary");
    assert_string_equal(api->match->headers[0]->exact, "1");
    assert_true(api->match->query[0]->present);
    assert_int_equal(api->forward->clusters[1]->weight, 5);
    assert_int_equal(api->timeouts->request, 15000000);
    assert_int_equal(api->retry->on[2], HEADGATE__RETRY__ON__STATUS_503);
    assert_int_equal(api->retry->per_try_timeout, 3000000);
    assert_int_equal(t->hosts[0]->rules[2]->redirect->status, 308);
    assert_string_equal(t->hosts[1]->rules[0]->forward->clusters[0]->name, "web");
    assert_false(t->hosts[1]->rules[0]->forward->clusters[0]->has_weight);
    release(t);
    outcome_finish(&o);
    strbuf_finish(&text);
}

static void texts_are_stored_in_one_form(void **state)
{
    (void)state;
    struct outcome o = compile_text("listeners: [{name: w, address: [\"[0:0::1]:080\", \"unix:/a\"], route-table: "
                                    "t}]\nroute-tables:\n"
                                    "  - {name: t, hosts: [{domains: EXAMPLE.com, rules: [{match: {headers: {X-A: b}}, "
                                    "respond: {}}]}]}\n");
    assert_compiles(&o);
    Headgate__Listener *l = (Headgate__Listener *)decode(&o, HEADGATE__KIND__KIND_LISTENER, "w");
    Headgate__RouteTable *t = (Headgate__RouteTable *)decode(&o, HEADGATE__KIND__KIND_ROUTE_TABLE, "t");
    assert_string_equal(l->addresses[0], "[::1]:80");
    assert_string_equal(t->hosts[0]->domains[0], "example.com");
    assert_string_equal(t->hosts[0]->rules[0]->match->headers[0]->name, "x-a");
    release(l);
    release(t);
    outcome_finish(&o);
}

static void a_body_may_hold_anything(void **state)
{
    (void)state;
    struct outcome o = compile_text("route-tables: [{name: t, hosts: [{domains: a, rules: [{respond: {body: "
                                    "\"x\\0\\r\\n\\u00e9\"}}]}]}]\n");
    assert_compiles(&o);
    Headgate__RouteTable *t = (Headgate__RouteTable *)decode(&o, HEADGATE__KIND__KIND_ROUTE_TABLE, "t");
    assert_int_equal(t->hosts[0]->rules[0]->respond->body.len, 6);
    assert_memory_equal(t->hosts[0]->rules[0]->respond->body.data, "x\0\r\n\xc3\xa9", 6);
    release(t);
    outcome_finish(&o);
}

static void a_cluster_does_not_change_with_its_endpoints(void **state)
{
    (void)state;
    struct outcome a = compile_text("clusters: [{name: c, idle-timeout: 1s, endpoints: [127.0.0.1:1]}]\n");
    struct outcome b = compile_text("clusters: [{name: c, idle-timeout: 1s, endpoints: [127.0.0.1:1, 127.0.0.1:2]}]\n");
    assert_compiles(&a);
    assert_compiles(&b);
    assert_int_equal(a.set.count, 3);
    assert_memory_equal(&a.set.items[1].id, &b.set.items[1].id, sizeof a.set.items[1].id);
    assert_int_equal(a.set.items[2].kind, HEADGATE__KIND__KIND_ENDPOINT_SET);
    assert_memory_not_equal(&a.set.items[2].id, &b.set.items[2].id, sizeof a.set.items[2].id);
    outcome_finish(&a);
    outcome_finish(&b);
}

static void the_same_input_gives_the_same_bytes_in_order(void **state)
{
    (void)state;
    struct outcome a = compile_text(two_sites), b = compile_text(two_sites);
    assert_compiles(&a);
    assert_same_resources(&a.set, &b.set);
    for (size_t i = 1; i < a.set.count; i++) {
        bool is_later_kind = a.set.items[i].kind > a.set.items[i - 1].kind;
        assert_true(is_later_kind || strcmp(a.set.items[i].name, a.set.items[i - 1].name) > 0);
    }
    outcome_finish(&a);
    outcome_finish(&b);
}

/* ---- warnings ---- */

static void warnings_do_not_refuse(void **state)
{
    (void)state;
    struct outcome o = compile_text("clusters:\n  - {name: c}\nroute-tables:\n  - name: t\n    hosts:\n      - domains: "
                                    "a\n        rules:\n"
                                    "          - {match: {path: {prefix: /api}}, cluster: c}\n"
                                    "          - {match: {path: {exact: /api/x}, methods: [GET]}, cluster: c}\n"
                                    "          - {match: {path: {prefix: /api/}}, cluster: c}\n"
                                    "          - {match: {path: {prefix: /apix}}, cluster: c}\n"
                                    "          - {match: {path: {exact: /y}, query: {a: b}}, cluster: c}\n"
                                    "          - {match: {path: {exact: /y}}, cluster: c}\n"
                                    "          - {match: {path: {exact: /y}}, cluster: c}\n"
                                    "          - cluster: c\n"
                                    "          - {match: {methods: [GET]}, cluster: c}\n");
    assert_int_equal(o.status, 0);
    assert_problems(&o,
        "warning: test.yaml:2:5: clusters[0]: the cluster \"c\" has no endpoints: every request for it is answered 503\n"
        "warning: test.yaml:9:13: route-tables[0].hosts[0].rules[1]: no request reaches this rule: an earlier one takes "
        "all of them\n"
        "warning: test.yaml:10:13: route-tables[0].hosts[0].rules[2]: no request reaches this rule: an earlier one takes "
        "all of them\n"
        "warning: test.yaml:14:13: route-tables[0].hosts[0].rules[6]: no request reaches this rule: an earlier one takes "
        "all of them\n"
        "warning: test.yaml:16:13: route-tables[0].hosts[0].rules[8]: no request reaches this rule: an earlier one takes "
        "all of them\n");
    outcome_finish(&o);
}

static void checks_of_http3_are_over_tcp(void **state)
{
    (void)state;
    struct outcome o = compile_text("clusters:\n"
                                    "  - {name: a, endpoints: [\"[::1]:1\"], protocol: http3, tls: {}, health: {http: /}}\n"
                                    "  - {name: b, endpoints: [\"[::1]:1\"], protocol: http3, tls: {}, health: {http: /}, "
                                    "http3-fallback: {}}\n"
                                    "  - {name: c, endpoints: [\"[::1]:1\"], protocol: http3, tls: {}}\n"
                                    "  - {name: d, endpoints: [\"[::1]:1\"], health: {http: /}}\n");
    assert_int_equal(o.status, 0);
    assert_problems(&o, "warning: test.yaml:2:73: clusters[0].health: checks are made over TCP: an endpoint that speaks "
                        "HTTP/3 alone is taken for unhealthy\n");
    outcome_finish(&o);
}

/* ---- variables ---- */

static void variables_are_typed_like_what_they_stand_for(void **state)
{
    (void)state;
    struct outcome o = compile_text("clusters: [{name: c, endpoints: [\"127.0.0.1:${PORT}\", {address: 127.0.0.1:1, "
                                    "weight: \"${PORT}\"}]}]\n");
    assert_compiles(&o);
    Headgate__EndpointSet *s = (Headgate__EndpointSet *)decode(&o, HEADGATE__KIND__KIND_ENDPOINT_SET, "c");
    assert_string_equal(s->endpoints[0]->address, "127.0.0.1:9001");
    assert_int_equal(s->endpoints[1]->weight, 9001);
    release(s);
    outcome_finish(&o);
    o = compile_text("trusted-hops: ${PORT:-1}\nforwarded: {via: ${X:-true}}\n");
    assert_int_equal(o.errors.count, 1);
    assert_non_null(strstr(o.errors.items[0].message, "inside of {} and [] a text with ${ in it needs quotes"));
    outcome_finish(&o);
    o = compile_text("server-name: ${YAML}\n");
    assert_int_equal(o.status, -1);
    assert_int_equal(o.errors.count, 1);
    outcome_finish(&o);
}

static void a_sender_cannot_read_our_environment(void **state)
{
    struct config_sources sources = {0};
    struct outcome o = {0};
    (void)state;
    add_source(&sources, "a.yaml", "server-name: ${HOME}\n");
    o.status = config_compile(&sources, NULL, &o.set, &o.errors, &o.warnings);
    assert_int_equal(o.status, -1);
    assert_problems(&o, "a.yaml:1:14: server-name: variables are not expanded in what comes from elsewhere: \"${HOME}\"\n");
    outcome_finish(&o);
    config_sources_finish(&sources);
}

/* ---- includes ---- */

static void includes_are_joined_in_the_order_of_their_names(void **state)
{
    struct config_sources sources = {0};
    (void)state;
    add_source(&sources, "etc/gw.yaml", "include: [conf.d/*.yaml, ./conf.d/../more.yaml]\ntrusted-hops: 1\nlimits: {body: "
                         "1KiB}\n");
    add_source(&sources, "etc/conf.d/b.yaml", "clusters: [{name: b, endpoints: [127.0.0.1:2]}]\nlimits: {headers: 7}\n");
    add_source(&sources, "etc/conf.d/a.yaml", "include: deep/x.yaml\nclusters: [{name: a, endpoints: [127.0.0.1:1]}]\n");
    add_source(&sources, "etc/conf.d/deep/x.yaml", "clusters: [{name: x, endpoints: [127.0.0.1:1]}]\n");
    add_source(&sources, "etc/more.yaml", "timeouts: {idle: 1s}\n");
    add_source(&sources, "etc/conf.d/.hidden.yaml", "clusters: [{name: hidden}]\n");
    add_source(&sources, "etc/conf.d/deep/y.yaml", "not: included\n");
    struct outcome o = compile_sources(&sources);
    assert_compiles(&o);
    assert_int_equal(o.set.count, 7);
    Headgate__Settings *s = (Headgate__Settings *)decode(&o, HEADGATE__KIND__KIND_SETTINGS, "default");
    assert_int_equal(s->limits->headers, 7);
    assert_int_equal(s->limits->body, 1024);
    assert_int_equal(s->timeouts->idle, 1000000);
    release(s);
    outcome_finish(&o);
    config_sources_finish(&sources);
}

static void paths_in_errors_count_within_their_file(void **state)
{
    struct config_sources sources = {0};
    (void)state;
    add_source(&sources, "a.yaml", "include: b.yaml\nclusters: [{name: a, endpoints: [127.0.0.1:1]}]\n");
    add_source(&sources, "b.yaml", "clusters:\n  - {name: b, endpoints: [127.0.0.1:x]}\n");
    struct outcome o = compile_sources(&sources);
    assert_int_equal(o.errors.count, 1);
    assert_string_equal(o.errors.items[0].file, "b.yaml");
    assert_int_equal(o.errors.items[0].line, 2);
    assert_string_equal(o.errors.items[0].path, "clusters[0].endpoints[0]");
    outcome_finish(&o);
    config_sources_finish(&sources);
}

static void includes_nest_only_so_deep(void **state)
{
    struct config_sources sources = {0};
    char path[32], text[64];
    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "%d.yaml", i);
        snprintf(text, sizeof text, "include: %d.yaml\n", i + 1);
        add_source(&sources, path, i < 19 ? text : "");
    }
    struct outcome o = compile_sources(&sources);
    assert_problems(&o, "16.yaml:1:10: include: includes are nested more than 16 deep: \"17.yaml\"\n");
    outcome_finish(&o);
    config_sources_finish(&sources);
}

static void a_missing_file_hides_no_other_fault_and_invents_none(void **state)
{
    struct config_sources sources = {0};
    (void)state;
    add_source(&sources, "a.yaml", "include: [gone.yaml]\nlimits: {headers: 0}\nlisteners: [{name: w, address: "
                         "\"1.1.1.1:1\", route-table: there}]\n");
    struct outcome o = compile_sources(&sources);
    assert_problems(&o, "a.yaml:1:11: include: the included file is not there: \"gone.yaml\"\n"
                        "a.yaml:2:19: limits.headers: 0 is out of range; expected a whole number from 1 to 1000\n");
    outcome_finish(&o);
    config_sources_finish(&sources);
}

static void sources_have_limits(void **state)
{
    struct config_sources sources = {0};
    struct error_list errors = {0};
    char *large = calloc(1, CONFIG_FILE_MAX + 1);
    (void)state;
    assert_int_equal(config_sources_add(&sources, STR("a"), (struct str){large, CONFIG_FILE_MAX + 1}, &errors), -1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(config_sources_add(&sources, STR("a"), (struct str){large, CONFIG_FILE_MAX}, &errors), 0);
    }
    assert_int_equal(config_sources_add(&sources, STR("a"), STR("x"), &errors), -1);
    config_sources_finish(&sources);
    for (int i = 0; i < CONFIG_FILES_MAX; i++) {
        assert_int_equal(config_sources_add(&sources, STR("a"), STR(""), &errors), 0);
    }
    assert_int_equal(config_sources_add(&sources, STR("a"), STR(""), &errors), -1);
    assert_int_equal(errors.count, 3);
    config_sources_finish(&sources);
    error_list_finish(&errors);
    free(large);
}

static void a_thousand_errors_are_kept_and_the_rest_counted(void **state)
{
    struct strbuf text = {0};
    (void)state;
    strbuf_puts(&text, "clusters:\n");
    for (int i = 0; i < 3000; i++) {
        strbuf_printf(&text, "  - {name: c%d, endpoints: [x]}\n", i);
    }
    struct outcome o = compile_bytes(strbuf_str(&text));
    assert_int_equal(o.status, -1);
    assert_int_equal(o.errors.count, ERROR_LIST_MAX);
    assert_int_equal(o.errors.dropped, 2000);
    outcome_finish(&o);
    strbuf_finish(&text);
}

/* ---- one resource ---- */

static struct outcome compile_one(const char *kind, const char *name, const char *text,
                                  const struct config_resources *existing)
{
    struct outcome o = {0};
    struct config_source source = {(char *)"one.yaml", (char *)text, strlen(text), false};
    o.status = config_compile_one(kind_from_name(str_of(kind)), str_of(name), &source, &test_options, existing, &o.set,
                                  &o.errors,
                                  &o.warnings);
    return o;
}

static void assert_one_refused(const char *kind, const char *name, const char *text, const struct config_resources *existing,
                               const char *problems)
{
    struct outcome o = compile_one(kind, name, text, existing);
    assert_int_equal(o.status, -1);
    assert_int_equal(o.set.count, 0);
    assert_problems(&o, problems);
    outcome_finish(&o);
}

static void one_resource_is_the_same_as_in_the_whole(void **state)
{
    (void)state;
    struct outcome whole = compile_text(two_sites);
    struct outcome o = compile_one("cluster", "api", "{name: api, endpoints: [127.0.0.1:9001]}", &whole.set);
    assert_compiles(&o);
    assert_int_equal(o.set.count, 2);
    for (size_t i = 0; i < o.set.count; i++) {
        const struct config_resource *same = config_resources_find(&whole.set, o.set.items[i].kind, STR("api"));
        assert_memory_equal(&o.set.items[i].id, &same->id, sizeof same->id);
    }
    outcome_finish(&o);
    o = compile_one("endpoint-set", "api", "endpoints: [127.0.0.1:9001, 127.0.0.1:9009]", &whole.set);
    assert_compiles(&o);
    assert_int_equal(o.set.count, 1);
    outcome_finish(&o);
    o = compile_one("settings", "default", "trusted-hops: 2", &whole.set);
    assert_compiles(&o);
    outcome_finish(&o);
    o = compile_one("listener", "web", "{address: \"127.0.0.1:8080\", route-table: site}", &whole.set);
    assert_compiles(&o);
    outcome_finish(&o);
    outcome_finish(&whole);
}

static void one_resource_is_checked_against_the_others(void **state)
{
    (void)state;
    struct outcome whole = compile_text(two_sites);
    const struct config_resources *set = &whole.set;
    assert_one_refused("listener", "new", "{address: \"127.0.0.1:8080\", route-table: sit}", set,
                       "one.yaml:1:11: address: \"127.0.0.1:8080\" is already used by listener/web\n"
                       "one.yaml:1:42: route-table: there is no route-table \"sit\"; did you mean \"site\"?\n");
    assert_one_refused("route-table", "new", "hosts: [{domains: a, rules: [{cluster: apo}]}]", set,
                       "one.yaml:1:40: hosts[0].rules[0].cluster: there is no cluster \"apo\"; did you mean \"api\"?\n");
    assert_one_refused("cluster", "api", "{name: other}", set,
                       "one.yaml:1:8: name: the file names another resource than \"api\"\n"
                       "warning: one.yaml:1:1: the cluster \"api\" has no endpoints: every request for it is answered "
                       "503\n");
    assert_one_refused("settings", "default", "{trusted-hops: 1, clusters: [], include: a}", set,
                       "one.yaml:1:33: include: \"include\" is not one of the settings\n"
                       "one.yaml:1:19: clusters: \"clusters\" is not one of the settings\n");
    assert_one_refused("settings", "other", "{}", set,
                       "settings/other: there is one settings resource, named \"default\"\n");
    assert_one_refused("endpoint-set", "ghost", "endpoints: []", set,
                       "endpoint-set/ghost: there is no cluster of that name\n");
    assert_one_refused("cluster", "a b", "{}", set, "cluster/a b: not a valid resource name\n");
    assert_one_refused("cluster", "api", "[1]", set, "one.yaml:1:1: found a list; expected a mapping\n");
    assert_one_refused("cluster", "api", "{", set,
                       "one.yaml:2:1: not well-formed: did not find expected node content, while parsing a flow node that "
                       "begins on line 2\n");
    outcome_finish(&whole);
}

static void another_path_policy_is_checked_against_the_rules(void **state)
{
    (void)state;
    struct outcome whole = compile_text("path: {double-slash: keep}\nroute-tables:\n"
                                        "  - {name: t, hosts: [{domains: a, rules: [{match: {path: {exact: /a//b}}, "
                                        "respond: {}}]}]}\n");
    assert_compiles(&whole);
    assert_one_refused("settings", "default", "{}", &whole.set,
                       "route-table/t: hosts[0].rules[0].match.path.exact: \"/a//b\" is not in canonical form, so it "
                       "would never "
                       "match; expected \"/a/b\"\n");
    struct outcome o = compile_one("route-table", "u", "hosts: [{domains: a, rules: [{match: {path: {prefix: /c//d}}, "
                                   "respond: {}}]}]",
                                   &whole.set);
    assert_compiles(&o);
    outcome_finish(&o);
    outcome_finish(&whole);
}

static void what_is_referred_to_cannot_be_deleted(void **state)
{
    struct config_resources removed = {0};
    struct outcome o = compile_text(two_sites);
    (void)state;
    assert_int_equal(config_delete_one(HEADGATE__KIND__KIND_CLUSTER, STR("api"), &o.set, &removed, &o.errors), -1);
    assert_int_equal(config_delete_one(HEADGATE__KIND__KIND_ROUTE_TABLE, STR("site"), &o.set, &removed, &o.errors), -1);
    assert_int_equal(config_delete_one(HEADGATE__KIND__KIND_SETTINGS, STR("default"), &o.set, &removed, &o.errors), -1);
    assert_int_equal(config_delete_one(HEADGATE__KIND__KIND_ENDPOINT_SET, STR("api"), &o.set, &removed, &o.errors), -1);
    assert_int_equal(config_delete_one(HEADGATE__KIND__KIND_LISTENER, STR("ghost"), &o.set, &removed, &o.errors), -1);
    assert_problems(&o, "route-table/site: hosts[0].rules[0].cluster: still refers to the cluster \"api\"\n"
                        "listener/web: route-table: still refers to the route-table \"site\"\n"
                        "settings/default: the settings cannot be deleted, only set\n"
                        "endpoint-set/api: it belongs to its cluster; delete that, or set it to an empty list\n"
                        "listener/ghost: there is no such resource\n");
    assert_int_equal(removed.count, 0);
    assert_int_equal(config_delete_one(HEADGATE__KIND__KIND_CLUSTER, STR("spare"), &o.set, &removed, &o.errors), 0);
    assert_int_equal(removed.count, 2);
    assert_int_equal(removed.items[0].kind, HEADGATE__KIND__KIND_CLUSTER);
    assert_int_equal(removed.items[1].kind, HEADGATE__KIND__KIND_ENDPOINT_SET);
    config_resources_finish(&removed);
    outcome_finish(&o);
}

static void a_relaying_listener_refers_to_clusters(void **state)
{
    static const char text[] = "listeners: [{name: relay, address: '127.0.0.1:9', tcp: {clusters: [a, {name: b}]}}]\n"
                               "clusters: [{name: a, endpoints: [127.0.0.1:1]}, {name: b, endpoints: [127.0.0.1:2]}]\n";
    struct config_resources removed = {0};
    struct outcome o = compile_text(text);
    (void)state;
    assert_int_equal(config_delete_one(HEADGATE__KIND__KIND_CLUSTER, STR("b"), &o.set, &removed, &o.errors), -1);
    assert_problems(&o, "listener/relay: tcp.clusters[1]: still refers to the cluster \"b\"\n");
    assert_one_refused("listener", "other", "{address: '127.0.0.1:10', tcp: {cluster: nowhere}}", &o.set,
                       "one.yaml:1:42: tcp.cluster: there is no cluster \"nowhere\"\n");
    outcome_finish(&o);
}

/* ---- bytes of any origin ---- */

static void add_message(struct config_resources *set, Headgate__Kind kind, const char *name, const void *message)
{
    uint8_t *bytes;
    size_t size;
    assert_int_equal(resource_encode(message, &bytes, &size), 0);
    assert_int_equal(config_resources_add(set, kind, str_of(name), bytes, size), 0);
    free(bytes);
}

static void bytes_are_checked_like_text(void **state)
{
    struct outcome o = {0};
    Headgate__Listener listener = HEADGATE__LISTENER__INIT;
    Headgate__Endpoint endpoint = HEADGATE__ENDPOINT__INIT;
    Headgate__EndpointSet endpoints = HEADGATE__ENDPOINT_SET__INIT;
    Headgate__Limits limits = HEADGATE__LIMITS__INIT;
    Headgate__Settings settings = HEADGATE__SETTINGS__INIT;
    char *addresses[] = {(char *)"nowhere"};
    Headgate__Endpoint *list[] = {&endpoint};
    (void)state;
    listener.n_addresses = 1, listener.addresses = addresses, listener.route_table = (char *)"gone";
    endpoints.n_endpoints = 1, endpoints.endpoints = list;
    endpoint.address = (char *)"127.0.0.1:0";
    limits.has_headers = 1, limits.headers = 0;
    settings.limits = &limits;
    add_message(&o.set, HEADGATE__KIND__KIND_SETTINGS, "default", &settings);
    add_message(&o.set, HEADGATE__KIND__KIND_LISTENER, "web", &listener);
    add_message(&o.set, HEADGATE__KIND__KIND_ENDPOINT_SET, "web", &endpoints);
    assert_int_equal(config_check_resources(&o.set, &o.errors, &o.warnings), -1);
    assert_problems(&o,
        "settings/default: limits.headers: 0 is out of range; expected a whole number from 1 to 1000\n"
        "listener/web: address: \"nowhere\": not an address; expected an address such as 0.0.0.0:8080, [::1]:8080 or "
        "unix:/run/x.sock\n"
        "endpoint-set/web: endpoints[0]: \"127.0.0.1:0\": port 0 cannot be connected to; expected an address such as "
        "10.0.0.1:9001, "
        "[::1]:9001 or unix:/run/x.sock\n"
        "endpoint-set/web: there is no cluster of that name\n"
        "listener/web: route-table: there is no route-table \"gone\"\n");
    outcome_finish(&o);
}

static void what_compiles_passes_the_check(void **state)
{
    struct outcome o = compile_text(two_sites);
    (void)state;
    assert_int_equal(config_check_resources(&o.set, &o.errors, &o.warnings), 0);
    assert_problems(&o, "");
    struct config_resource swapped = o.set.items[0];
    o.set.items[0] = o.set.items[1];
    o.set.items[1] = swapped;
    assert_int_equal(config_check_resources(&o.set, &o.errors, &o.warnings), -1);
    outcome_finish(&o);
}

static void the_command_line_makes_the_same_resources(void **state)
{
    static const char *const listen[] = {"127.0.0.1:8080", "[::1]:8080"}, *const to[] = {"127.0.0.1:9001", "127.0.0.1:9002"};
    static const char *const wrong[] = {"8080"};
    struct outcome o = {0};
    (void)state;
    o.status = config_from_command_line(listen, 2, to, 2, &o.set, &o.errors);
    assert_compiles(&o);
    struct outcome same = compile_text(
        "listeners: [{name: default, address: [127.0.0.1:8080, \"[::1]:8080\"], route-table: default}]\n"
        "route-tables: [{name: default, hosts: [{domains: [\"*\"], rules: [{cluster: default}]}]}]\n"
        "clusters: [{name: default, endpoints: [127.0.0.1:9001, 127.0.0.1:9002]}]\n");
    assert_compiles(&same);
    assert_same_resources(&o.set, &same.set);
    outcome_finish(&same);
    outcome_finish(&o);
    o.status = config_from_command_line(wrong, 1, wrong, 1, &o.set, &o.errors);
    assert_int_equal(o.status, -1);
    assert_int_equal(o.errors.count, 2);
    assert_string_equal(o.errors.items[0].file, "--listen");
    assert_string_equal(o.errors.items[1].file, "--to");
    outcome_finish(&o);
}

static void secrets_are_no_part_of_a_configuration(void **state)
{
    struct config_resources set = {0}, none = {0};
    struct error_list errors = {0};
    struct config_source source = {.path = "one.yaml", .bytes = "{}", .size = 2};
    struct config_changes changes = {0};
    (void)state;
    const Headgate__Kind secret = HEADGATE__KIND__KIND_SECRET;
    assert_int_equal(config_compile_one(secret, STR("x"), &source, NULL, &none, &set, &errors, NULL), -1);
    assert_int_equal(config_delete_one(HEADGATE__KIND__KIND_SECRET, STR("x"), &none, &set, &errors), -1);
    assert_int_equal(config_resources_add(&none, HEADGATE__KIND__KIND_SECRET, STR("x"), "", 0), 0);
    assert_int_equal(config_check_resources(&none, &errors, NULL), -1);
    assert_int_equal(config_diff(HEADGATE__KIND__KIND_SECRET, NULL, 0, "", 0, &changes, &errors), 0);
    assert_int_equal(changes.count, 0);
    assert_int_equal(errors.count, 3);
    config_changes_finish(&changes);
    config_resources_finish(&none);
    error_list_finish(&errors);
}

/* ---- secrets ---- */

#define TLS_TEXT \
    "listeners:\n" \
    "  - {name: l, address: 127.0.0.1:1, route-table: t,\n" \
    "     tls: {certificates: [{certificate: a/b c.pem, key: k}, {certificate: x.pem, key: k, ocsp: o}]}}\n" \
    "  - {name: m, address: 127.0.0.1:2, route-table: t,\n" \
    "     tls: {tickets: false, certificates: [{certificate: x.pem, key: k2}],\n" \
    "     client-certificates: {mode: required, ca: ca.pem}}}\n" \
    "route-tables: [{name: t, hosts: [{domains: a, rules: [{cluster: c}]}]}]\n" \
    "clusters:\n" \
    "  - {name: c, endpoints: [127.0.0.1:1], tls: {}}\n" \
    "  - {name: d, endpoints: [127.0.0.1:1], tls: {ca: ca.pem, certificate: x.pem, key: k2}}\n" \
    "  - {name: e, endpoints: [127.0.0.1:1], tls: {insecure: true}}\n"

static void secrets_have_names_of_their_files(void **state)
{
    struct config_secrets s = {0};
    (void)state;
    struct outcome o = compile_text(TLS_TEXT "tls-tickets: {rotate: 1h, keep: 7}\n");
    assert_compiles(&o);
    Headgate__Listener *l = (Headgate__Listener *)decode(&o, HEADGATE__KIND__KIND_LISTENER, "l");
    assert_int_equal(l->tls->n_certificates, 2);
    assert_memory_equal(l->tls->certificates[0], "a/b_c.pem@", 10);
    assert_memory_equal(l->tls->certificates[1], "x.pem@", 6);
    assert_null(l->tls->client_trust);
    assert_int_equal(config_secrets_collect(&o.set, &s, &o.errors), 0);
    /* x.pem with k2 is one secret for a listener and a cluster; with k it is another; ca.pem is one for two as well. */
    assert_int_equal(s.count, 6);
    assert_int_equal(s.listener_count, 2);
    assert_int_equal(s.listeners[0].count, 2);
    assert_string_equal(s.items[s.listeners[0].items[0]].certificate, "a/b c.pem");
    assert_string_equal(s.items[s.listeners[0].items[1]].ocsp, "o");
    assert_string_equal(s.items[s.listeners[0].items[1]].path, "tls.certificates[1]");
    assert_string_equal(s.items[s.count - 1].name, "ticket-keys");
    assert_int_equal(s.ticket_keep, 7);
    assert_int_equal(s.ticket_rotate, 3600000000);
    protobuf_c_message_free_unpacked(&l->base, NULL);
    config_secrets_finish(&s);
    outcome_finish(&o);
}

static bool is_key_embedded(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "k2") == 0;
}

static void what_came_along_is_called_so(void **state)
{
    struct config_sources sources = {0};
    struct outcome o = {0};
    struct config_places places = {0};
    struct config_options options = {.is_embedded = is_key_embedded, .places = &places};
    (void)state;
    add_source(&sources, "test.yaml", TLS_TEXT);
    o.status = config_compile(&sources, &options, &o.set, &o.errors, &o.warnings);
    assert_compiles(&o);
    Headgate__Cluster *c = (Headgate__Cluster *)decode(&o, HEADGATE__KIND__KIND_CLUSTER, "d");
    assert_string_equal(c->tls->certificate_files->certificate, "x.pem");
    assert_string_equal(c->tls->certificate_files->key, "embedded:k2");
    protobuf_c_message_free_unpacked(&c->base, NULL);
    error_set_resource(&o.errors, error_addf(&o.errors, ERROR_IO, "gone"), "cluster/d", "tls.key");
    error_set_resource(&o.errors, error_addf(&o.errors, ERROR_IO, "gone"), "listener/l", "tls.certificates[1].ocsp");
    error_set_resource(&o.errors, error_addf(&o.errors, ERROR_IO, "gone"), "listener/m", "tls.client-certificates.ca");
    error_set_resource(&o.errors, error_addf(&o.errors, ERROR_IO, "gone"), "listener/none", "tls");
    config_places_locate(&places, &o.errors, 1);
    assert_problems(&o, "cluster/d: tls.key: gone\n"
                        "test.yaml:3:96: listeners[0].tls.certificates[1].ocsp: gone\n"
                        "test.yaml:6:48: listeners[1].tls.client-certificates.ca: gone\n"
                        "listener/none: tls: gone\n");
    config_places_finish(&places);
    config_sources_finish(&sources);
    outcome_finish(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_have_names_of_their_files),
        cmocka_unit_test(what_came_along_is_called_so),
        cmocka_unit_test(secrets_are_no_part_of_a_configuration),
        cmocka_unit_test(settings_always_exist),
        cmocka_unit_test(settings_hold_what_was_written_and_nothing_else),
        cmocka_unit_test(a_rule_becomes_its_message),
        cmocka_unit_test(texts_are_stored_in_one_form),
        cmocka_unit_test(a_body_may_hold_anything),
        cmocka_unit_test(a_cluster_does_not_change_with_its_endpoints),
        cmocka_unit_test(the_same_input_gives_the_same_bytes_in_order),
        cmocka_unit_test(warnings_do_not_refuse),
        cmocka_unit_test(checks_of_http3_are_over_tcp),
        cmocka_unit_test(variables_are_typed_like_what_they_stand_for),
        cmocka_unit_test(a_sender_cannot_read_our_environment),
        cmocka_unit_test(includes_are_joined_in_the_order_of_their_names),
        cmocka_unit_test(paths_in_errors_count_within_their_file),
        cmocka_unit_test(includes_nest_only_so_deep),
        cmocka_unit_test(a_missing_file_hides_no_other_fault_and_invents_none),
        cmocka_unit_test(sources_have_limits),
        cmocka_unit_test(a_thousand_errors_are_kept_and_the_rest_counted),
        cmocka_unit_test(one_resource_is_the_same_as_in_the_whole),
        cmocka_unit_test(one_resource_is_checked_against_the_others),
        cmocka_unit_test(another_path_policy_is_checked_against_the_rules),
        cmocka_unit_test(what_is_referred_to_cannot_be_deleted),
        cmocka_unit_test(a_relaying_listener_refers_to_clusters),
        cmocka_unit_test(bytes_are_checked_like_text),
        cmocka_unit_test(what_compiles_passes_the_check),
        cmocka_unit_test(the_command_line_makes_the_same_resources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
