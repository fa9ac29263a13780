/* A server whose resources change in any way, types in any order, streams that are cut, an engine that is slow and refuses;
 * a server that takes a name that was given up and is wanted again for one that it has sent already:
 * after thousands of steps, in each of the four modes, what is in use is what the server has. On the way no layer has a
 * listener that names what is not there (the engine of world_engine.h looks). */
#include "tests/unit/controlplane/xds/world_play.h"

enum { SEEDS = 40, STEPS = 3500 };

struct game {
    struct play   y;
    struct server s;
    uint64_t      random;
    struct joined joined[NAMES];
    bool          is_joined[NAMES];
    unsigned      reopened;             /* streams, in doubt of the server */
    bool          is_gentle;            /* the engine refuses nothing; in the end only what was bad is sent again */
};

static unsigned draw(struct game *g, unsigned below) {
    g->random ^= g->random >> 12;
    g->random ^= g->random << 25;
    g->random ^= g->random >> 27;
    return (unsigned)((g->random * UINT64_C(2685821657736338717)) >> 33) % below;
}

/* Virtual hosts have names that this server cannot have: test_world_parts.c is about them. */
static enum xds_role draw_role(struct game *g) {
    static const enum xds_role roles[] = {XDS_CLUSTERS, XDS_ENDPOINTS, XDS_LISTENERS, XDS_SCOPES, XDS_ROUTES, XDS_SECRETS};
    return roles[draw(g, sizeof roles / sizeof *roles)];
}

/* What a resource says follows from its value. */
static void write_resource(size_t type, unsigned name, const struct served *served, char out[SERVED_TEXT_MAX]) {
    unsigned v = served->value, mix = v * 2654435761U >> 8;
    int n = snprintf(out, SERVED_TEXT_MAX, "name:%c v:%u%s", 'a' + (int)name, v, served->is_bad ? " bad" : "");
    char *at = out + n;
    size_t room = SERVED_TEXT_MAX - (size_t)n;
    char x = (char)('a' + mix % NAMES), z = (char)('a' + mix / NAMES % NAMES);
    if (type == XDS_CLUSTERS && mix % 3)
        snprintf(at, room, " eds:%c%s%c", x, mix % 5 ? "" : " sds:", mix % 5 ? '\0' : z);
    else if (type == XDS_LISTENERS)
        snprintf(at, room, "%s idle:%u rds:%c%s%c", mix % 7 < 3 ? " parts" : "", mix % 11 * 100, x,
                 mix % 4 == 0 ? " sds:" : mix % 4 == 1 ? " ext:" : "", mix % 4 > 1 ? '\0' : z);
    else if (type == XDS_SCOPES)
        snprintf(at, room, " rds:%c", x);
    else if (type == XDS_ROUTES)
        snprintf(at, room, "%s to:%c to:%c", mix % 3 ? " idle" : "", x, z == x ? 'a' + (z - 'a' + 1) % NAMES : z);
}

static void begin_game(struct game *g, enum xds_form form, bool is_aggregated, uint64_t seed) {
    *g = (struct game){.s = {.form = form, .urls = role_urls, .write = write_resource}, .random = seed * 7919 + 1};
    static const struct xds_runtime_layer layers[] = {{"a", NULL}, {"b", NULL}};
    play_options(&g->y, form, is_aggregated);
    g->y.o.layers = layers;
    g->y.o.layer_count = 2;
    g->y.machine.random = seed + 1;
    g->y.machine.nack_wait_max = g->y.machine.retry_wait_max = 2 * SECOND;
    g->y.machine.fail_on_data_errors = draw(g, 2);
    g->y.e.is_at_once = draw(g, 2);
    g->is_gentle = draw(g, 2);
    g->s.remembers = draw(g, 2);
    g->y.o.linger = draw(g, 2) ? g->y.o.linger : draw(g, 2) * SECOND;
    g->y.o.lingering_max = draw(g, 2) ? g->y.o.lingering_max : 1;
    assert_true(play_begin(&g->y));
}

/* ---- what can happen ---- */

static void client_follows(struct game *g) {
    struct xds_request r;
    xds_world_follow(g->y.w, g->y.now);
    for (size_t i = 0; i < xds_protocol_stream_count(g->y.p); i++)
        while (xds_protocol_next_request(g->y.p, i, g->y.now, &r) == 1) {
            server_take(&g->s, &r);
            xds_protocol_sent(g->y.p, i, g->y.now);
            xds_world_follow(g->y.w, g->y.now);
        }
}

static void server_speaks(struct game *g, size_t type) {
    struct served_stream *t = &g->s.streams[type];
    if (server_has_more(&g->s, type) && draw(g, 2))
        server_respond(&g->s, type);
    else if (t->is_waiting && xds_protocol_can_receive(g->y.p, xds_protocol_stream_of(g->y.p, type)))
        assert_int_equal(server_deliver_to(&g->s, type, g->y.p, g->y.now), XDS_OK);
}

static void stream_is_cut(struct game *g, size_t stream) {
    for (size_t type = 0; type < XDS_ROLES; type++)
        if (xds_protocol_stream_of(g->y.p, type) == stream)
            server_cut(&g->s, type);
    xds_protocol_closed(g->y.p, stream, STR("cut"), g->y.now);
}

static void time_passes(struct game *g, uint64_t microseconds) {
    g->y.now += microseconds;
    xds_protocol_advance(g->y.p, g->y.now);
    for (size_t i = 0; i < xds_protocol_stream_count(g->y.p); i++)
        if (xds_protocol_must_reopen(g->y.p, i, g->y.now)) {
            stream_is_cut(g, i);
            g->reopened++;
        }
    play_open(&g->y);
}

/* As a source does: what is known already is not said again. */
static void first_look(struct game *g, unsigned i, const char *name) {
    Headgate__EndpointSet *set = endpoint_feed_known(g->y.feed, name, false);
    if (!set)
        return;
    on_found(&g->joined[i], set, g->y.now);
    headgate__endpoint_set__free_unpacked(set, NULL);
}

static void source_comes_or_goes(struct game *g) {
    unsigned i = draw(g, NAMES);
    char name[] = {(char)('a' + i), '\0'};
    if (g->is_joined[i])
        endpoint_feed_leave(g->y.feed, &g->joined[i].member);
    else {
        g->joined[i] = (struct joined){.member = {&g->joined[i], false, on_found, on_failed, NULL, NULL, NULL}};
        assert_int_equal(endpoint_feed_join(g->y.feed, &g->joined[i].member, name), 0);
        first_look(g, i, name);
    }
    g->is_joined[i] = !g->is_joined[i];
}

static void engine_has_whims(struct game *g) {
    static const char *const labels[] = {"listener/a", "cluster/b", "route-table/c", "listener/d"};
    static const char *const secrets[] = {"sds:a", "sds:b"};
    g->y.e.refuses = draw(g, 2) ? labels[draw(g, 4)] : NULL;
    g->y.e.chokes_on = draw(g, 3) ? NULL : labels[draw(g, 4)];
    g->y.e.refuses_secret = draw(g, 3) ? NULL : secrets[draw(g, 2)];
    g->y.e.is_ill = draw(g, 8) == 0;
}

static void step(struct game *g) {
    switch (draw(g, 16)) {
    case 0: case 1: case 2: case 3: client_follows(g); break;
    case 4: case 5: server_set(&g->s, draw_role(g), draw(g, NAMES), draw(g, 4), draw(g, 30) == 0); break;
    case 6: case 7: case 8: case 9: case 10: server_speaks(g, draw_role(g)); break;
    case 11: case 12: engine_answers(&g->y.e); break;
    case 13: time_passes(g, draw(g, 3000) * (SECOND / 1000)); break;
    case 14: source_comes_or_goes(g); break;
    default:
        if (draw(g, 6) == 0)
            stream_is_cut(g, draw(g, (unsigned)xds_protocol_stream_count(g->y.p)));
        else if (!g->is_gentle && draw(g, 6) == 0)
            engine_has_whims(g);
    }
}

/* ---- the end: nobody changes anything, and all is good ---- */

static void make_all_good(struct game *g) {
    for (size_t type = 0; type < XDS_ROLES; type++)
        for (unsigned i = 0; i < NAMES; i++)
            if (!g->is_gentle || g->s.has[type][i].is_bad)
                server_set(&g->s, type, i, g->s.has[type][i].value, false);
    g->y.e.refuses = g->y.e.chokes_on = g->y.e.refuses_secret = NULL;
    g->y.e.is_ill = false;
}

static void settle(struct game *g) {
    make_all_good(g);
    for (unsigned turn = 0; turn < 300; turn++) {
        client_follows(g);
        for (size_t type = 0; type < XDS_ROLES; type++)
            server_speaks(g, type);
        client_follows(g);
        engine_answers(&g->y.e);
        client_follows(g);
        time_passes(g, SECOND);
    }
    assert_false(g->y.e.is_asked);
}

/* ---- what must be in use ---- */

static void read_served(const struct game *g, enum xds_role role, unsigned name, struct words *ret) {
    char text[SERVED_TEXT_MAX];
    struct error_list errors = {0};
    write_resource(role, name, &g->s.has[role][name], text);
    assert_int_equal(read_words(ret, str_of(text), &errors), 0);
}

static bool is_served(const struct game *g, enum xds_role role, const char *name) {
    return g->s.has[role][name[0] - 'a'].value != 0;
}

/* In the state of the world nothing tells that what was asked for by name is gone: it may still be there. */
static bool may_be_left(const struct game *g) {
    return g->s.form == XDS_STATE_OF_THE_WORLD || !g->y.machine.fail_on_data_errors;
}

static bool has_routes(const struct game *g, const struct words *listener, const char *name) {
    bool has = strcmp(listener->rds, name) == 0;
    for (unsigned i = 0; listener->has_parts && i < NAMES; i++) {
        struct words scope;
        if (!g->s.has[XDS_SCOPES][i].value)
            continue;
        read_served(g, XDS_SCOPES, i, &scope);
        has |= strcmp(scope.rds, name) == 0;
    }
    return has;
}

/* The longest that a listener says which has the routes. */
static unsigned idle_for(const struct game *g, const char *name) {
    unsigned longest = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        struct words listener;
        if (!g->s.has[XDS_LISTENERS][i].value)
            continue;
        read_served(g, XDS_LISTENERS, i, &listener);
        if (listener.idle > longest && has_routes(g, &listener, name))
            longest = listener.idle;
    }
    return longest;
}

static void check_routes(const struct game *g, const char *name) {
    char label[32], domain[32];
    struct words words;
    snprintf(label, sizeof label, "route-table/%s", name);
    const char *in_use_now = domain_of(&g->y, label);
    assert_non_null(in_use_now);
    if (!is_served(g, XDS_ROUTES, name)) {
        assert_true(strcmp(in_use_now, "*") == 0 || may_be_left(g));
        return;
    }
    read_served(g, XDS_ROUTES, (unsigned)(name[0] - 'a'), &words);
    snprintf(domain, sizeof domain, "v%u.example", words.value + (words.is_idle ? idle_for(g, name) : 0));
    assert_string_equal(in_use_now, domain);
}

/* Of the scopes that there are, with the route tables that they send to. */
static unsigned check_scopes(const struct game *g) {
    unsigned sum = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        struct words words;
        if (!g->s.has[XDS_SCOPES][i].value)
            continue;
        read_served(g, XDS_SCOPES, i, &words);
        check_routes(g, words.rds);
        sum += words.value;
    }
    return sum;
}

static void check_listener(const struct game *g, unsigned name) {
    char label[32];
    struct words words;
    snprintf(label, sizeof label, "listener/%c", 'a' + (int)name);
    if (!g->s.has[XDS_LISTENERS][name].value) {
        assert_null(in_use(&g->y, label));
        return;
    }
    read_served(g, XDS_LISTENERS, name, &words);
    if ((words.sds && !is_served(g, XDS_SECRETS, words.sds)) || (words.ext && !is_served(g, XDS_EXTENSIONS, words.ext)))
        return;     /* there is no serving without it: an older copy, or none */
    assert_int_equal(port_of(&g->y, label), words.value % 60000);
    assert_int_equal(sum_of(&g->y, label), words.has_parts ? check_scopes(g) % 60000 : 0);
    check_routes(g, words.rds);
}

static void check_cluster(const struct game *g, unsigned name) {
    char label[32];
    struct words words;
    snprintf(label, sizeof label, "cluster/%c", 'a' + (int)name);
    if (!g->s.has[XDS_CLUSTERS][name].value) {
        assert_null(in_use(&g->y, label));
        return;
    }
    read_served(g, XDS_CLUSTERS, name, &words);
    if (!words.sds || is_served(g, XDS_SECRETS, words.sds))
        assert_int_equal(cluster_value(&g->y, label), words.value);
}

static void check_joined(const struct game *g, unsigned name) {
    char address[32];
    if (!g->is_joined[name] || !g->s.has[XDS_ENDPOINTS][name].value)
        return;
    snprintf(address, sizeof address, "127.0.0.1:%u", g->s.has[XDS_ENDPOINTS][name].value % 60000 + 1);
    assert_string_equal(g->joined[name].address, address);
}

/* Held, though nobody uses it. */
static void check_runtime(const struct game *g, unsigned name) {
    const char text[] = {(char)('a' + name), '\0'};
    const struct xds_resource *r = xds_protocol_find(g->y.p, XDS_RUNTIMES, str_of(text));
    assert_int_equal(r != NULL, name < g->y.o.layer_count);
    if (r && is_served(g, XDS_RUNTIMES, text))
        assert_int_equal(r->state, XDS_ACKED);
}

static void check(const struct game *g) {
    for (unsigned i = 0; i < NAMES; i++) {
        check_listener(g, i);
        check_cluster(g, i);
        check_joined(g, i);
        check_runtime(g, i);
    }
}

static void play(enum xds_form form, bool is_aggregated) {
    uint64_t layers = 0, refused = 0, nacks = 0, reopened = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct game g;
        begin_game(&g, form, is_aggregated, seed);
        for (unsigned i = 0; i < STEPS; i++)
            step(&g);
        settle(&g);
        check(&g);
        layers += g.y.e.layers;
        refused += xds_world_counters(g.y.w)->refused_resources;
        nacks += xds_protocol_counters(g.y.p)->nacks;
        reopened += g.reopened;
        for (unsigned i = 0; i < NAMES; i++)
            if (g.is_joined[i])
                endpoint_feed_leave(g.y.feed, &g.joined[i].member);
        play_end(&g.y);
    }
    assert_true(layers > 20 * SEEDS && refused > SEEDS && nacks > 5 * SEEDS && reopened > 0);    /* or little was tried */
}

static void test_world_aggregated(void **state) {
    (void)state;
    play(XDS_STATE_OF_THE_WORLD, true);
}

static void test_world_by_type(void **state) {
    (void)state;
    play(XDS_STATE_OF_THE_WORLD, false);
}

static void test_delta_aggregated(void **state) {
    (void)state;
    play(XDS_DELTA, true);
}

static void test_delta_by_type(void **state) {
    (void)state;
    play(XDS_DELTA, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_world_aggregated),
        cmocka_unit_test(test_world_by_type),
        cmocka_unit_test(test_delta_aggregated),
        cmocka_unit_test(test_delta_by_type),
    };
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
