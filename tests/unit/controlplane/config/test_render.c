/* The way back: what is rendered makes the same resources, for the good files and for random configurations of the
 * schema. */
#include <glob.h>

#include "support.h"

#include "controlplane/config/schema/schema.h"
#include "controlplane/config/tree/tree.h"

/* ---- round trips ---- */

static void render_again(const struct config_resources *set, bool is_json)
{
    struct strbuf text = {0};
    struct error_list errors = {0};
    struct config_render_options options = {.is_json = is_json};
    assert_int_equal(config_render(set, &options, &text, &errors), 0);
    struct outcome again = compile_bytes(strbuf_str(&text));
    if (again.status != 0) {
        struct strbuf problems = {0};
        format_problems(&again, &problems);
        fail_msg("%s\nof\n%s", problems.p, text.p);
    }
    assert_same_resources(set, &again.set);
    outcome_finish(&again);
    strbuf_finish(&text);
}

/* Each resource alone, put back into the set that it came from. */
static void render_one_again(const struct config_resources *set, const struct config_resource *r, bool is_json)
{
    struct strbuf text = {0};
    struct outcome o = {0};
    struct config_render_options options = {.is_json = is_json};
    assert_int_equal(config_render_one(set, r->kind, str_of(r->name), &options, &text, &o.errors), 0);
    struct config_source source = {(char *)"one", text.p, text.n, false};
    o.status = config_compile_one(r->kind, str_of(r->name), &source, &test_options, set, &o.set, &o.errors, &o.warnings);
    if (o.status != 0) {
        struct strbuf problems = {0};
        format_problems(&o, &problems);
        fail_msg("%s\nof\n%s", problems.p, text.p);
    }
    for (size_t i = 0; i < o.set.count; i++) {
        const struct config_resource *same = config_resources_find(set, o.set.items[i].kind, str_of(o.set.items[i].name));
        assert_non_null(same);
        assert_memory_equal(&same->id, &o.set.items[i].id, sizeof same->id);
    }
    outcome_finish(&o);
    strbuf_finish(&text);
}

static void assert_round_trip(const struct config_resources *set)
{
    struct error_list errors = {0};
    for (int is_json = 0; is_json < 2; is_json++) {
        render_again(set, is_json);
        for (size_t i = 0; i < set->count; i++) {
            render_one_again(set, &set->items[i], is_json);
        }
    }
    assert_int_equal(config_check_resources(set, &errors, NULL), 0);
    assert_true(error_list_is_empty(&errors));
}

static struct outcome compile_file(const char *path)
{
    struct config_sources sources = {0};
    struct outcome o = {0};
    assert_int_equal(config_load(path, &sources, &o.errors), 0);
    o.status = config_compile(&sources, &test_options, &o.set, &o.errors, &o.warnings);
    config_sources_finish(&sources);
    assert_compiles(&o);
    return o;
}

static void good_files_make_a_round_trip(void **state)
{
    glob_t found = {0};
    (void)state;
    assert_int_equal(glob("tests/config/good/*.yaml", 0, NULL, &found), 0);
    assert_int_equal(glob("tests/config/good/*.json", GLOB_APPEND, NULL, &found), 0);
    assert_true(found.gl_pathc >= 5);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct outcome o = compile_file(found.gl_pathv[i]);
        assert_round_trip(&o.set);
        outcome_finish(&o);
    }
    globfree(&found);
}

/* ---- what people see ---- */

static void rendered_text_is_as_committed(void **state)
{
    static const struct {
        const char *path;
        struct config_render_options options;
    } cases[] = {
        {"tests/config/rendered/every-key.yaml", {false, false}},
        {"tests/config/rendered/every-key.effective.yaml", {false, true}},
        {"tests/config/rendered/every-key.json", {true, false}},
    };
    (void)state;
    struct outcome o = compile_file("tests/config/good/every-key.yaml");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct strbuf text = {0};
        assert_int_equal(config_render(&o.set, &cases[i].options, &text, &o.errors), 0);
        assert_equals_file(strbuf_str(&text), cases[i].path);
        strbuf_finish(&text);
    }
    outcome_finish(&o);
}

static void the_effective_view_inherits_and_has_defaults(void **state)
{
    struct strbuf text = {0};
    struct config_render_options options = {.is_effective = true};
    (void)state;
    struct outcome o = compile_text("timeouts: {connect: 2s, idle: 3s}\nlimits: {body: 5KiB}\n"
                                    "listeners: [{name: w, address: 127.0.0.1:1, route-table: t, timeouts: {idle: 4s}}]\n"
                                    "route-tables: [{name: t, hosts: [{domains: a, rules: [{cluster: c, timeouts: "
                                    "{request: 6s}}]}]}]\n"
                                    "clusters: [{name: c, endpoints: [127.0.0.1:1]}]\n");
    assert_compiles(&o);
    assert_int_equal(config_render_one(&o.set, HEADGATE__KIND__KIND_ROUTE_TABLE, STR("t"), &options, &text, &o.errors), 0);
    assert_string_equal(text.p, "name: t\nmatch-port: false\nhosts:\n  - domains: [a]\n    rules:\n"
                                "      - clusters: [{name: c, weight: 1}]\n"
                                "        timeouts:\n          connect: 2s\n          request: 6s\n"
                                "          response: off\n          response-head: 1m\n"
                                "          body: 30s\n          response-body: 1m\n          tunnel-idle: 1h\n"
                                "        limits: {body: 5KiB}\n        connect: false\n");
    strbuf_reset(&text);
    assert_int_equal(config_render_one(&o.set, HEADGATE__KIND__KIND_LISTENER, STR("w"), &options, &text, &o.errors), 0);
    assert_string_equal(text.p, "name: w\naddress: 127.0.0.1:1\nroute-table: t\nprotocols: [http1]\nbacklog: 4096\n"
                                "timeouts: {header: 10s, idle: 4s, write: 30s, handshake: 10s}\n"
                                "proxy-protocol: {mode: off}\n");
    strbuf_finish(&text);
    outcome_finish(&o);
}

static void the_effective_view_compiles_too(void **state)
{
    struct strbuf text = {0};
    struct config_render_options options = {.is_effective = true};
    (void)state;
    struct outcome o = compile_file("tests/config/good/every-key.yaml");
    assert_int_equal(config_render(&o.set, &options, &text, &o.errors), 0);
    struct outcome again = compile_bytes(strbuf_str(&text));
    assert_compiles(&again);
    assert_int_equal(again.set.count, o.set.count);
    outcome_finish(&again);
    outcome_finish(&o);
    strbuf_finish(&text);
}

/* ---- differences ---- */

static void assert_changes(Headgate__Kind kind, const char *name, const char *before, const char *after,
                           const char *expected)
{
    struct outcome a = compile_text(before), b = compile_text(after);
    struct config_changes changes = {0};
    struct strbuf text = {0};
    int status;
    const struct config_resource *old = config_resources_find(&a.set, kind, str_of(name));
    const struct config_resource *new = config_resources_find(&b.set, kind, str_of(name));
    assert_compiles(&a);
    assert_compiles(&b);
    status = config_diff(kind, old ? old->bytes : NULL, old ? old->size : 0, new ? new->bytes : NULL, new ? new->size : 0,
                         &changes, &a.errors);
    assert_int_equal(status, 0);
    for (size_t i = 0; i < changes.count; i++) {
        const struct config_change *c = &changes.items[i];
        strbuf_printf(&text, "%s: %s -> %s\n", c->path, c->before ? c->before : "none", c->after ? c->after : "none");
    }
    assert_string_equal(strbuf_str(&text).p, expected);
    strbuf_finish(&text);
    config_changes_finish(&changes);
    outcome_finish(&a);
    outcome_finish(&b);
}

#define TABLE(rules) \
    "clusters: [{name: c, endpoints: [127.0.0.1:1]}, {name: d, endpoints: [127.0.0.1:1]}]\n" \
    "route-tables: [{name: t, hosts: [{domains: [a, b], rules: [" rules "]}]}]\n"

static void differences_are_in_the_words_of_users(void **state)
{
    (void)state;
    assert_changes(HEADGATE__KIND__KIND_SETTINGS, "default", "timeouts: {idle: 60s}\n",
                   "timeouts: {idle: 90s}\nserver-name: x\n",
                   "timeouts.idle: 1m -> 90s\nserver-name: none -> x\n");
    assert_changes(HEADGATE__KIND__KIND_ROUTE_TABLE, "t", TABLE("{cluster: c}"),
                   TABLE("{cluster: d, timeouts: {request: 1s}}"),
                   "hosts[0].rules[0].cluster: c -> d\nhosts[0].rules[0].timeouts: none -> {request: 1s}\n");
    assert_changes(HEADGATE__KIND__KIND_ROUTE_TABLE, "t", TABLE("{cluster: c}"),
                   TABLE("{match: {path: {prefix: /x}}, cluster: d}, {cluster: c}"),
                   "hosts[0].rules[0]: none -> {match: {path: {prefix: /x}}, cluster: d}\n");
    assert_changes(HEADGATE__KIND__KIND_ENDPOINT_SET, "c", "clusters: [{name: c, endpoints: [127.0.0.1:1, 127.0.0.1:2]}]\n",
                   "clusters: [{name: c, endpoints: [127.0.0.1:2, 127.0.0.1:3]}]\n",
                   "endpoints[0]: 127.0.0.1:1 -> none\nendpoints[1]: none -> 127.0.0.1:3\n");
    assert_changes(HEADGATE__KIND__KIND_CLUSTER, "c", "",
                   "clusters: [{name: c, idle-timeout: 1s, endpoints: [127.0.0.1:1]}]\n",
                   ": none -> {idle-timeout: 1s}\n");
    assert_changes(HEADGATE__KIND__KIND_CLUSTER, "c", "clusters: [{name: c, idle-timeout: 1s, endpoints: [127.0.0.1:1]}]\n",
                   "clusters: [{name: c, idle-timeout: 1000ms, endpoints: [127.0.0.1:9]}]\n", "");
}

/* ---- random configurations of the schema ---- */

struct chance {
    uint64_t     state;
    struct arena arena;
};

static uint64_t draw(struct chance *c, uint64_t below)
{
    c->state ^= c->state << 13;
    c->state ^= c->state >> 7;
    c->state ^= c->state << 17;
    return below ? c->state % below : 0;
}

static struct tree_node *random_object(struct chance *c, const struct schema_object *o, unsigned scope, bool is_named);

static struct tree_node *text_node(struct chance *c, const char *text, bool is_quoted)
{
    return tree_create_scalar(&c->arena, str_of(text), is_quoted);
}

static const char *random_text(struct chance *c, const struct schema_key *k)
{
    static const char *const any[] = {
        "a", "yes", "${X}", "$${", "a: b", "\xc3\xa9", "\xe2\x80\xa8", "12", "null", "#", "'", "\\", "{a}",
    };
    const char *name = k->form->name;
    if (strcmp(name, "name") == 0) {
        return k->kind == HEADGATE__KIND__KIND_ROUTE_TABLE ? "t0" : k->kind == HEADGATE__KIND__KIND_CLUSTER ? "c0" : "x";
    }
    if (strcmp(name, "address") == 0 || strcmp(name, "endpoint-address") == 0) {
        return arena_printf(&c->arena, "10.%d.%d.%d:%d", (int)draw(c, 256), (int)draw(c, 256), (int)draw(c, 256),
                            1 + (int)draw(c, 65535));
    }
    if (strcmp(name, "domain") == 0) {
        return arena_printf(&c->arena, "%sd%d.Example", draw(c, 2) ? "*." : "", (int)draw(c, 1000000000));
    }
    if (strcmp(name, "path") == 0) {
        return arena_printf(&c->arena, "/p%d%s", (int)draw(c, 50), draw(c, 2) ? "/" : "");
    }
    static const char *const forms[][3] = {
        {"udp-address", "127.0.0.1:8125", "[::1]:1"}, {"host", "a.example", "b:80"}, {"scheme", "http", "https"},
        {"method", "GET", "CUSTOM"}, {"field-name", "x-a", "X-B"}, {"condition-name", "x-a", ":path"},
        {"response-field-name", "x-c", "Set-Cookie"},
        {"field-value", "a b", "\"q\" ${v}"}, {"regex", "a(b)+", "[^/]*"}, {"substitution", "/\\0", "/$y"},
        {"prefix", "10.0.0.0/8", "::1"}, {"dns-name", "a.example", "B"}, {"upgrade", "websocket", "*"},
        {"dns-label", "web", "a-1"}, {"service-port", "http", "80"},
        {"cipher-suite", "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}, {"group", "X25519", "P-256"},
        {"cipher", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
        {"certificate-hash", "A0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1",
         "00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:1e:1f"},
        {"key-hash", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
        {"word", "w-1", "on"}, {"location", "/x?y=${z}", "/"}, {"file", "/var/log/x", "log file.txt"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(name, forms[i][0]) == 0) {
            return forms[i][1 + draw(c, 2)];
        }
    }
    return any[draw(c, sizeof any / sizeof *any)];
}

static struct tree_node *random_number(struct chance *c, const struct schema_key *k)
{
    uint64_t range = k->max - k->min, number = k->min + (range == UINT64_MAX ? draw(c, 0) : draw(c, range + 1));
    const char *unit = k->type == SCHEMA_DURATION ? "us" : k->type == SCHEMA_SIZE ? "B" : "";
    if (k->allowed) {
        number = k->allowed[draw(c, 2)];
    }
    return text_node(c, arena_printf(&c->arena, "%llu%s", (unsigned long long)number, unit), false);
}

static struct tree_node *random_value(struct chance *c, const struct schema_key *k, bool is_named)
{
    size_t words = 0;
    switch (k->type) {
    case SCHEMA_OBJECT: return random_object(c, k->object, k->scope, is_named);
    case SCHEMA_TEXT: return text_node(c, random_text(c, k), true);
    case SCHEMA_BOOL: return text_node(c, draw(c, 2) ? "true" : "false", false);
    case SCHEMA_WORD:
        while (k->words[words].word && k->words[words].value != SCHEMA_LATER) {
            words++;
        }
        return text_node(c, k->words[draw(c, words)].word, false);
    default: return random_number(c, k);
    }
}

static struct tree_node *random_list(struct chance *c, const struct schema_key *k)
{
    bool is_map = k->flags & SCHEMA_NAMED && draw(c, 2);
    struct tree_node *list = tree_create(&c->arena, is_map ? TREE_MAP : TREE_LIST);
    size_t count = (schema_bounds_items(k) ? 0 : k->min) + draw(c, 4);
    if (k->flags & (SCHEMA_UNIQUE | SCHEMA_DISTINCT) && k->form != &text_domain) {
        count = 1; /* there are few different texts to draw from */
    }
    if (strcmp(k->key, "key") == 0 || strcmp(k->key, "scopes") == 0) {
        count = 1; /* as many texts as the key has parts, and no key twice */
    }
    if (k->max && count > k->max) {
        count = k->max;
    }
    for (size_t i = 0; i < count; i++) {
        struct tree_node *item = random_value(c, k, is_map);
        const char *key = arena_printf(&c->arena, "n%zu", i);
        int status = is_map ? tree_set(&c->arena, list, key, item) : tree_append(&c->arena, list, item);
        assert_int_equal(status, 0);
    }
    return list;
}

#define NONE (~0u)

/* Keys that want or exclude others. every-key.yaml has them all. */
static bool has_company(const struct schema_key *k)
{
    static const char *const keys[] = {"min-version", "max-version", "insecure", "http2", "connect", "upgrades",
                                       "proxy-protocol", "client-certificates", "key", "certificate",
                                       "priority", "records", "min-refresh", "max-refresh", "any-name", "match-names",
                                       "ticket-keys", "protocols", "protocol", "action", "http3", "quic", "alt-svc",
                                       "http3-fallback", "quic-pass"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(k->key, keys[i]) == 0 && !(k->flags & SCHEMA_REQUIRED)) {
            return true;
        }
    }
    return false;
}

/* One key of each group at most, which is drawn first. A few of the rules that are no part of the tables are kept here,
 * too: a rewrite is for clusters, a substitution for a regex; what relays TCP has no protocols, any name goes without
 * names. */
static bool is_wanted(struct chance *c, const struct schema_object *o, const struct schema_key *k,
                      const unsigned picks[4], bool is_named)
{
    bool is_given = strcmp(k->key, "name") == 0 && is_named;
    if (k->flags & SCHEMA_ELSEWHERE || k->type == SCHEMA_RESOURCES || is_given || has_company(k)) {
        return false;
    }
    if (k->group) {
        return picks[k->group] == (unsigned)(k - o->keys);
    }
    if (strcmp(o->title, "header-change") == 0 && strcmp(k->key, "value") == 0) {
        return true;
    }
    if (strcmp(o->title, "dns-discovery") == 0 && strcmp(k->key, "port") == 0) {
        return true;
    }
    if (strcmp(o->title, "pins") == 0) {
        return strcmp(k->key, "only") != 0; /* which wants no authorities */
    }
    bool relays = o == &schema_listener && picks[1] != NONE && strcmp(o->keys[picks[1]].key, "tcp") == 0;
    if (strcmp(k->key, "any-name") == 0 || (relays && (strcmp(k->key, "protocols") == 0 || strcmp(k->key, "http2") == 0))) {
        return false;
    }
    bool has_regex = picks[1] != NONE && strcmp(o->keys[picks[1]].key, "regex") == 0;
    if ((o == &schema_rewrite || o == &schema_redirect) && strcmp(k->key, "substitution") == 0) {
        return has_regex;
    }
    if (strcmp(k->key, "ignore-case") == 0 && has_regex) {
        return false;
    }
    if (strcmp(k->key, "keep-query") == 0 && strcmp(o->keys[picks[1]].key, "path") != 0) {
        return false;
    }
    if (strcmp(o->title, "number-range") == 0 && strcmp(k->key, "below") == 0) {
        return false; /* it would have to be above the other bound */
    }
    bool is_for_clusters = k->object == &schema_rewrite || k->object == &schema_retry ||
                           (k->object == &schema_hash_on && strcmp(o->title, "rule") == 0) ||
                           (strcmp(k->key, "request-headers") == 0 && strcmp(o->title, "rule") == 0);
    if (is_for_clusters && strcmp(o->keys[picks[1]].key, "clusters") != 0) {
        return false;
    }
    return k->flags & SCHEMA_REQUIRED || draw(c, 3) == 0;
}

/* A rule that replaces a prefix must match one; a check of TLS is for clusters with TLS; an element that is not the first
 * wants a separator. */
static bool needs_more(const struct schema_object *o, const struct schema_key *k)
{
    if ((k->object && strcmp(k->object->title, "tls-check") == 0) || strcmp(k->key, "index") == 0) {
        return true;
    }
    return (o == &schema_redirect || o == &schema_rewrite) && strcmp(k->key, "prefix") == 0;
}

static void pick_groups(struct chance *c, const struct schema_object *o, unsigned picks[4])
{
    for (unsigned group = 1; group < 4; group++) {
        unsigned seen = 0;
        picks[group] = NONE;
        for (const struct schema_key *k = o->keys; k->key; k++) {
            if (k->group == group && !needs_more(o, k) && draw(c, ++seen) == 0) {
                picks[group] = (unsigned)(k - o->keys);
            }
        }
        bool is_needed = o->groups & 1u << group || o == &schema_redirect || o == &schema_listener;
        if (!is_needed && draw(c, 2)) {
            picks[group] = NONE;
        }
    }
}

static struct tree_node *random_object(struct chance *c, const struct schema_object *o, unsigned scope, bool is_named)
{
    struct tree_node *map = tree_create(&c->arena, TREE_MAP);
    unsigned picks[4];
    pick_groups(c, o, picks);
    for (const struct schema_key *k = o->keys; k->key; k++) {
        if (!schema_in_scope(k, scope) || !is_wanted(c, o, k, picks, is_named)) {
            continue;
        }
        struct tree_node *value = k->flags & SCHEMA_LIST ? random_list(c, k) : random_value(c, k, false);
        assert_int_equal(tree_set(&c->arena, map, k->key, value), 0);
    }
    return map;
}

static struct tree_node *random_resources(struct chance *c, const struct schema_key *k, const char *prefix)
{
    struct tree_node *list = tree_create(&c->arena, TREE_LIST);
    size_t count = 1 + draw(c, 3);
    for (size_t i = 0; i < count; i++) {
        struct tree_node *map = random_object(c, k->object, SCOPE_ALL, false);
        char *name = arena_printf(&c->arena, "%s%zu", prefix, i);
        assert_int_equal(tree_set(&c->arena, map, "name", text_node(c, name, true)), 0);
        assert_int_equal(tree_append(&c->arena, list, map), 0);
    }
    return list;
}

static struct tree_node *random_configuration(struct chance *c)
{
    struct tree_node *root = random_object(c, &schema_root, SCOPE_ALL, false);
    for (const struct schema_key *k = schema_root.keys; k->key; k++) {
        if (k->type == SCHEMA_RESOURCES) {
            const char prefix[] = {k->key[0] == 'r' ? 't' : k->key[0], '\0'}; /* t0, c0, l0 */
            assert_int_equal(tree_set(&c->arena, root, k->key, random_resources(c, k, prefix)), 0);
        }
    }
    return root;
}

/* What the tables cannot say (a rewrite without a cluster) makes some of them wrong; enough are right. */
static bool try_random(uint64_t seed)
{
    struct chance c = {.state = seed * 0x9e3779b97f4a7c15u + 1};
    struct strbuf text = {0};
    arena_init(&c.arena, NULL, 0, 0);
    tree_write_yaml(random_configuration(&c), &text);
    struct outcome o = compile_bytes(strbuf_str(&text));
    bool is_right = o.status == 0;
    if (is_right) {
        assert_round_trip(&o.set);
    } else {
        assert_false(error_list_is_empty(&o.errors));
    }
    outcome_finish(&o);
    strbuf_finish(&text);
    arena_finish(&c.arena);
    return is_right;
}

static void random_configurations_make_a_round_trip(void **state)
{
    size_t right = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        right += try_random(seed);
    }
    print_message("%zu of 300 random configurations were right\n", right);
    assert_true(right >= 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_make_a_round_trip),
        cmocka_unit_test(rendered_text_is_as_committed),
        cmocka_unit_test(the_effective_view_inherits_and_has_defaults),
        cmocka_unit_test(the_effective_view_compiles_too),
        cmocka_unit_test(differences_are_in_the_words_of_users),
        cmocka_unit_test(random_configurations_make_a_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
