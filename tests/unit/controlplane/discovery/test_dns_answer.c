/* Answers of DNS servers: which records are used, which time to live counts, and that nothing broken gets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "controlplane/discovery/dns_endpoints.h"

/* ---- making answers ---- */

struct packet {
    uint8_t bytes[4096];
    size_t  n;
};

static void add16(struct packet *p, unsigned value) {
    p->bytes[p->n++] = (uint8_t)(value >> 8);
    p->bytes[p->n++] = (uint8_t)value;
}

static void add32(struct packet *p, uint32_t value) {
    add16(p, value >> 16);
    add16(p, value & 0xffff);
}

/* "a.test" as labels. */
static void add_name(struct packet *p, const char *name) {
    while (*name) {
        size_t n = strcspn(name, ".");
        p->bytes[p->n++] = (uint8_t)n;
        memcpy(p->bytes + p->n, name, n);
        p->n += n;
        name += n + (name[n] == '.');
    }
    p->bytes[p->n++] = 0;
}

static void begin(struct packet *p, const char *name, unsigned type) {
    memset(p, 0, sizeof *p);
    add16(p, 1);
    add16(p, 0x8180);
    add16(p, 1);
    add32(p, 0);
    add16(p, 0);
    add_name(p, name);
    add16(p, type);
    add16(p, 1);
}

/* Everything of a record but its data; the place of the data's length. */
static size_t begin_record(struct packet *p, const char *owner, unsigned type, uint32_t ttl) {
    p->bytes[7]++;
    add_name(p, owner);
    add16(p, type);
    add16(p, 1);
    add32(p, ttl);
    add16(p, 0);
    return p->n;
}

static void end_record(struct packet *p, size_t start) {
    p->bytes[start - 2] = (uint8_t)((p->n - start) >> 8);
    p->bytes[start - 1] = (uint8_t)(p->n - start);
}

static void add_a(struct packet *p, const char *owner, uint32_t ttl, uint32_t address) {
    size_t start = begin_record(p, owner, DNS_A, ttl);
    add32(p, address);
    end_record(p, start);
}

static void add_cname(struct packet *p, const char *owner, uint32_t ttl, const char *target) {
    size_t start = begin_record(p, owner, DNS_CNAME, ttl);
    add_name(p, target);
    end_record(p, start);
}

static void add_srv(struct packet *p, const char *owner, uint32_t ttl, unsigned priority, unsigned weight, unsigned port,
                    const char *target) {
    size_t start = begin_record(p, owner, DNS_SRV, ttl);
    add16(p, priority);
    add16(p, weight);
    add16(p, port);
    add_name(p, target);
    end_record(p, start);
}

static struct dns_answer read_packet(const struct packet *p, const char *name, enum dns_type type) {
    struct dns_answer a;
    dns_answer_read(p->bytes, p->n, name, type, &a);
    return a;
}

/* ---- tests ---- */

static void the_smallest_time_to_live_of_the_records_used_counts(void **state) {
    struct packet p;
    (void)state;
    begin(&p, "web.test", DNS_A);
    add_cname(&p, "web.test", 300, "Real.test");
    add_a(&p, "other.test", 1, 0x0a000009); /* nobody asked for that */
    add_a(&p, "real.TEST", 60, 0x0a000001);
    add_a(&p, "real.test", 90, 0x0a000002);
    struct dns_answer a = read_packet(&p, "WEB.test", DNS_A);
    assert_int_equal(a.outcome, DNS_FOUND);
    assert_int_equal(a.count, 2);
    assert_int_equal(a.ttl, 60);
    assert_memory_equal(a.records[1].address, "\x0a\0\0\2", 4);
    dns_answer_finish(&a);
    begin(&p, "web.test", DNS_A);
    add_cname(&p, "web.test", 5, "real.test");
    add_a(&p, "real.test", 60, 0x0a000001);
    a = read_packet(&p, "web.test", DNS_A);
    assert_int_equal(a.ttl, 5);
    dns_answer_finish(&a);
    begin(&p, "web.test", DNS_A);
    add_a(&p, "web.test", 0x80000000, 0x0a000001); /* RFC 2181 section 8 */
    a = read_packet(&p, "web.test", DNS_A);
    assert_int_equal(a.ttl, 0);
    dns_answer_finish(&a);
}

static void an_alias_that_leads_nowhere_is_nothing(void **state) {
    struct packet p;
    (void)state;
    begin(&p, "web.test", DNS_A);
    add_cname(&p, "web.test", 5, "real.test");
    struct dns_answer a = read_packet(&p, "web.test", DNS_A);
    assert_int_equal(a.outcome, DNS_NOTHING);
    assert_int_equal(a.count, 0);
    begin(&p, "web.test", DNS_A);
    add_cname(&p, "web.test", 5, "real.test");
    add_cname(&p, "real.test", 5, "web.test");
    a = read_packet(&p, "web.test", DNS_A);
    assert_int_equal(a.outcome, DNS_FAILED);
}

/* Cut anywhere, and with any byte changed: an answer, or a failure, but nothing outside of the bytes is read. */
static void nothing_broken_gets_through(void **state) {
    struct packet p;
    (void)state;
    begin(&p, "_a._tcp.test", DNS_SRV);
    add_srv(&p, "_a._tcp.test", 5, 1, 2, 3, "one.test");
    add_srv(&p, "_a._tcp.test", 5, 1, 2, 3, "two.test");
    for (size_t n = 0; n < p.n; n++) {
        struct dns_answer a;
        uint8_t *exact = test_malloc(n + 1);
        memcpy(exact, p.bytes, n);
        dns_answer_read(exact, n, "_a._tcp.test", DNS_SRV, &a);
        assert_int_equal(a.outcome, DNS_FAILED);
        test_free(exact);
    }
    for (size_t at = 0; at < p.n; at++)
        for (int value = 0; value < 256; value += 5) {
            struct packet changed = p;
            changed.bytes[at] = (uint8_t)value;
            struct dns_answer a = read_packet(&changed, "_a._tcp.test", DNS_SRV);
            assert_true(a.outcome == DNS_FOUND ? a.count > 0 : a.count == 0 && a.why[0]);
            dns_answer_finish(&a);
        }
}

static void memory_is_an_ordinary_failure(void **state) {
    struct packet p;
    (void)state;
    begin(&p, "web.test", DNS_A);
    add_a(&p, "web.test", 5, 0x0a000001);
    for (long nth = 0;; nth++) {
        hg_alloc_fail_at(nth, 0);
        struct dns_answer a = read_packet(&p, "web.test", DNS_A);
        hg_alloc_fail_at(-1, 0);
        enum dns_outcome outcome = a.outcome;
        dns_answer_finish(&a);
        if (outcome == DNS_FOUND) {
            assert_true(nth > 2);
            return;
        }
        assert_int_equal(outcome, DNS_FAILED);
    }
}

static const Headgate__Endpoint *endpoint(const struct dns_endpoints *list, size_t i) {
    return list->set.endpoints[i];
}

static void servers_become_endpoints(void **state) {
    struct packet p;
    struct dns_endpoints list = {0}, later = {0};
    const struct dns_record first = {.priority = 700, .weight = 0, .port = 80, .target = "b.test"},
                            second = {.priority = 10, .weight = 9, .port = 80, .target = "a.test"},
                            again = {.priority = 10, .weight = 3, .port = 80, .target = "B.test"};
    (void)state;
    begin(&p, "x", DNS_A);
    add_a(&p, "x", 5, 0x0a000002);
    add_a(&p, "x", 5, 0x0a000001);
    struct dns_answer a = read_packet(&p, "x", DNS_A);
    assert_int_equal(dns_endpoints_add(&list, &a, DNS_A, first.port, first.target, &first), 0);
    dns_answer_finish(&a);
    begin(&p, "x", DNS_A);
    add_a(&p, "x", 5, 0x0a000001);
    a = read_packet(&p, "x", DNS_A);
    assert_int_equal(dns_endpoints_add(&list, &a, DNS_A, second.port, second.target, &second), 0);
    dns_answer_finish(&a);
    assert_int_equal(dns_endpoints_finish_set(&list), 0);
    assert_int_equal(list.set.n_endpoints, 2);
    assert_string_equal(endpoint(&list, 0)->address, "10.0.0.1:80"); /* of both servers: as the better one has it */
    assert_string_equal(endpoint(&list, 0)->hostname, "a.test");
    assert_int_equal(endpoint(&list, 0)->priority, 0);
    assert_int_equal(endpoint(&list, 0)->weight, 9);
    assert_string_equal(endpoint(&list, 1)->address, "10.0.0.2:80");
    assert_int_equal(endpoint(&list, 1)->priority, 1); /* without a gap */
    assert_int_equal(endpoint(&list, 1)->weight, 1);
    assert_int_equal(dns_endpoints_take_over(&later, &list, &again), 1);
    assert_int_equal(dns_endpoints_finish_set(&later), 0);
    assert_string_equal(endpoint(&later, 0)->address, "10.0.0.2:80");
    assert_int_equal(endpoint(&later, 0)->weight, 3);
    dns_endpoints_finish(&list);
    dns_endpoints_finish(&later);
}

static void more_priorities_than_there_are_fall_together(void **state) {
    struct dns_endpoints list = {0};
    struct packet p;
    (void)state;
    begin(&p, "x", DNS_A);
    add_a(&p, "x", 5, 0x0a000001);
    struct dns_answer a = read_packet(&p, "x", DNS_A);
    for (unsigned i = 0; i < 200; i++) {
        const struct dns_record srv = {.priority = (uint16_t)(i * 3), .port = (uint16_t)(1000 + i), .target = "x"};
        assert_int_equal(dns_endpoints_add(&list, &a, DNS_A, srv.port, srv.target, &srv), 0);
    }
    dns_answer_finish(&a);
    assert_int_equal(dns_endpoints_finish_set(&list), 0);
    for (unsigned i = 0; i < 200; i++) /* ports have four digits: in order of addresses */
        assert_int_equal(endpoint(&list, i)->priority, i < 127 ? i : 127);
    dns_endpoints_finish(&list);
}

/* Answers are kept for as long as they count: what nobody asked for takes no room then. */
static void what_is_not_used_is_not_kept(void **state) {
    struct packet p;
    char owner[64];
    (void)state;
    begin(&p, "web.test", DNS_A);
    add_a(&p, "web.test", 60, 0x0a000001);
    for (uint32_t i = 0; i < 60; i++) {
        snprintf(owner, sizeof owner, "%u.a-name-of-somebody.else.test", i);
        add_a(&p, owner, 60, i);
    }
    struct dns_answer a = read_packet(&p, "web.test", DNS_A);
    assert_int_equal(a.count, 1);
    assert_true(a.arena.used <= 4 * sizeof *a.records);
    dns_answer_finish(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_time_to_live_of_the_records_used_counts),
        cmocka_unit_test(an_alias_that_leads_nowhere_is_nothing),
        cmocka_unit_test(nothing_broken_gets_through),
        cmocka_unit_test(memory_is_an_ordinary_failure),
        cmocka_unit_test(servers_become_endpoints),
        cmocka_unit_test(what_is_not_used_is_not_kept),
        cmocka_unit_test(more_priorities_than_there_are_fall_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
