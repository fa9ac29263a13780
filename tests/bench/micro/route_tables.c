/* Nanoseconds per match, and the cost of building, for tables of 10 to 100,000 rules or hosts. Prints a table;
 * asserts nothing but that what was looked for was found. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "dataplane/routing/route.h"

enum { ROUNDS = 200, TIMES = 4096, SPREAD = 1024 }; /* short rounds: the best one met no other work on its core */

enum shape { EXACT, PREFIX, HOSTS, WILDCARDS };
static const char *const shape_names[] = {"exact paths", "prefixes", "hosts", "wildcard hosts"};

static struct arena arena;

static void *need(void *p) {
    if (!p)
        abort();
    return p;
}

static Headgate__Rule *new_rule(enum shape shape, unsigned i) {
    Headgate__Rule *rule = need(arena_alloc(&arena, sizeof *rule));
    Headgate__Respond *respond = need(arena_alloc(&arena, sizeof *respond));
    headgate__rule__init(rule);
    headgate__respond__init(respond);
    rule->action_case = HEADGATE__RULE__ACTION_RESPOND;
    rule->respond = respond;
    rule->match = need(arena_alloc(&arena, sizeof *rule->match));
    headgate__match__init(rule->match);
    rule->match->path = need(arena_alloc(&arena, sizeof *rule->match->path));
    headgate__path_match__init(rule->match->path);
    if (shape == EXACT) {
        rule->match->path->kind_case = HEADGATE__PATH_MATCH__KIND_EXACT;
        rule->match->path->exact = need(arena_printf(&arena, "/shop/item-%u/details", i));
    } else {
        rule->match->path->kind_case = HEADGATE__PATH_MATCH__KIND_PREFIX;
        rule->match->path->prefix = shape == PREFIX ? need(arena_printf(&arena, "/api/service-%u/", i)) : (char *)"/";
    }
    return rule;
}

static Headgate__Host *new_host(const char *domain, size_t rules) {
    Headgate__Host *host = need(arena_alloc(&arena, sizeof *host));
    headgate__host__init(host);
    host->n_domains = 1;
    host->domains = need(arena_alloc(&arena, sizeof *host->domains));
    host->domains[0] = need(arena_strdup(&arena, domain));
    host->n_rules = rules;
    host->rules = need(arena_alloc(&arena, rules * sizeof *host->rules));
    return host;
}

static void fill(Headgate__RouteTable *table, enum shape shape, unsigned n) {
    bool is_one_host = shape == EXACT || shape == PREFIX;
    table->n_hosts = is_one_host ? 1 : n;
    table->hosts = need(arena_alloc(&arena, table->n_hosts * sizeof *table->hosts));
    if (is_one_host)
        table->hosts[0] = new_host("*", n);
    for (unsigned i = 0; i < n; i++) {
        if (!is_one_host) {
            table->hosts[i] = new_host(need(arena_printf(&arena, shape == HOSTS ? "tenant-%u.example.com"
                                                                                 : "*.tenant-%u.example.com", i)), 1);
            table->hosts[i]->rules[0] = new_rule(shape, i);
        } else {
            table->hosts[0]->rules[i] = new_rule(shape, i);
        }
    }
}

static struct route_request request_for(enum shape shape, unsigned i) {
    static struct fields none;
    const char *host = "www.example.com", *path = "/index.html";
    if (shape == EXACT)
        path = need(arena_printf(&arena, "/shop/item-%u/details", i));
    else if (shape == PREFIX)
        path = need(arena_printf(&arena, "/api/service-%u/users/17", i));
    else
        host = need(arena_printf(&arena, shape == HOSTS ? "tenant-%u.example.com" : "www.tenant-%u.example.com", i));
    return (struct route_request){.host = str_of(host), .path = str_of(path), .method = STR("GET"), .fields = &none};
}

static double measure(const struct route_table *table, const struct route_request *requests, struct route_scratch *scratch) {
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t began = clock_monotonic_us();
        for (unsigned i = 0; i < TIMES; i++) {
            struct route_match match;
            route_table_match(table, &requests[i % SPREAD], scratch, &match);
            if (!match.route)
                abort();
        }
        double ns = (double)(clock_monotonic_us() - began) * 1000 / TIMES;
        best = ns < best ? ns : best;
    }
    return best;
}

static void run(enum shape shape, unsigned n, struct route_scratch *scratch) {
    struct route_request requests[SPREAD];
    struct error_list errors = {0};
    Headgate__RouteTable message = HEADGATE__ROUTE_TABLE__INIT;
    arena_init(&arena, NULL, 0, 0);
    fill(&message, shape, n);
    for (unsigned i = 0; i < SPREAD; i++)
        requests[i] = request_for(shape, (unsigned)((uint64_t)i * 2654435761u % n));
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    uint64_t began = clock_monotonic_us();
    struct route_table *table = need(route_table_build(&message, "bench", NULL, &errors));
    double build_us = (double)(clock_monotonic_us() - began);
    size_t bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    printf("%-16s %8u %10.0f %12.1f %12.0f\n", shape_names[shape], n, measure(table, requests, scratch), build_us / 1000,
           (double)bytes / n);
    route_table_free(table);
    arena_finish(&arena);
}

int main(void) {
    struct route_scratch *scratch = need(route_scratch_create());
    printf("%-16s %8s %10s %12s %12s\n", "differ by", "count", "ns/match", "build ms", "bytes each");
    for (enum shape shape = EXACT; shape <= WILDCARDS; shape++)
        for (unsigned n = 10; n <= 100000; n *= n == 10 ? 100 : 10)
            run(shape, n, scratch);
    route_scratch_destroy(scratch);
    return 0;
}
