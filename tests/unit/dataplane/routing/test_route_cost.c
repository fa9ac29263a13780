/* What finding a rule costs does not grow with the number of rules or hosts. Counted are lookups, and rules whose
 * conditions are looked at; tests/bench/micro/route_tables.c has nanoseconds. */
#include "common/alloc.h"
#include "dataplane/routing/compiled.h"

static unsigned steps;

#define map_get(...)          (steps++, map_get(__VA_ARGS__))
#define index_find(...)       (steps++, index_find(__VA_ARGS__))
#define check_conditions(...) (steps++, check_conditions(__VA_ARGS__))
#include "dataplane/routing/match.c" /* to count */

#include "tests/unit/dataplane/routing/tables.h"

enum { FEW = 10, MANY = 2000 };

/* A table of `first` and, for each number, `before` NUMBER `after`; and the request that meets it. */
struct shape {
    const char *first, *before, *after, *request_before, *request_after;
};

static const struct shape shapes[] = {
    {"host *\n", "rule exact=/shop/item-", "/details respond=200\n", "GET a.example/shop/item-", "/details"},
    {"host *\n", "rule prefix=/api/service-", " respond=200\n", "GET a.example/api/service-", "/users/17"},
    {"", "host tenant-", ".example\nrule prefix=/ respond=200\n", "GET tenant-", ".example/index.html"},
    {"", "host *.tenant-", ".example\nrule prefix=/ respond=200\n", "GET www.tenant-", ".example/index.html"},
};

static void build(struct table_text *t, const struct shape *s, unsigned n) {
    struct strbuf text = {0};
    strbuf_puts(&text, s->first);
    for (unsigned i = 0; i < n; i++)
        strbuf_printf(&text, "%s%u%s", s->before, i, s->after);
    table_text_init(t, text.p, NULL);
    strbuf_finish(&text);
    assert_non_null(t->table);
}

/* Of the request that takes most. */
static unsigned most_steps(const struct shape *s, unsigned n, struct route_scratch *scratch) {
    struct table_text t;
    unsigned most = 0;
    build(&t, s, n);
    for (unsigned i = 0; i < n; i++) {
        char text[64];
        struct request_text r;
        struct route_match match;
        snprintf(text, sizeof text, "%s%u%s", s->request_before, i, s->request_after);
        struct route_request *request = request_text(&t, text, &r);
        steps = 0;
        route_table_match(t.table, request, scratch, &match);
        assert_non_null(match.route);
        most = steps > most ? steps : most;
    }
    table_text_finish(&t);
    return most;
}

static void as_many_steps_among_many_as_among_few(void **state) {
    (void)state;
    struct route_scratch *scratch = route_scratch_create();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        unsigned few = most_steps(&shapes[i], FEW, scratch);
        assert_int_not_equal(few, 0);
        assert_int_equal(most_steps(&shapes[i], MANY, scratch), few);
    }
    route_scratch_destroy(scratch);
}

/* A lookup passes other edges until it is at its own: fewer than two on average. */
static void a_lookup_is_short(void **state) {
    (void)state;
    for (size_t shape = 0; shape < 2; shape++) {
        struct table_text t;
        build(&t, &shapes[shape], MANY);
        const struct index *index = &t.table->index;
        size_t passed = 0, mask = index->edge_capacity - 1;
        for (size_t i = 0; i < index->edge_capacity; i++)
            if (index->edges[i].child != NO_NODE)
                passed += (i - index->edges[i].hash) & mask;
        assert_true(index->edge_count >= MANY);
        assert_in_range(passed, 0, 2 * index->edge_count);
        table_text_finish(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_steps_among_many_as_among_few),
        cmocka_unit_test(a_lookup_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
