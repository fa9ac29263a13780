/* Sources of DNS against a scripted server on the same loop: what is said, what is kept back, and when it is asked again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "controlplane/discovery/source.h"

static atomic_long later_seconds; /* by which the clock of everybody in this process is ahead */

int clock_gettime(clockid_t clock, struct timespec *ret) {
    int status = (int)syscall(SYS_clock_gettime, clock, ret);
    if (status == 0)
        ret->tv_sec += atomic_load(&later_seconds);
    return status;
}

/* ---- the server ---- */

enum { RULES_MAX = 16, NOERROR = 0, SERVFAIL = 2, NXDOMAIN = 3, SILENT = -1 };

/* What a question gets; without a rule NXDOMAIN. */
struct rule {
    const char   *name;
    enum dns_type type;
    int           rcode;
    uint32_t      ttl;
    const char   *data;     /* A: "10.0.0.1 10.0.0.2"; AAAA likewise; SRV: "priority weight port target" */
};

struct fixture {
    struct ev_loop   *loop;
    int               fd;
    ev_io             io;
    unsigned          port, queries;
    struct rule       rules[RULES_MAX];
    size_t            rule_count;
    struct resolver  *resolver;
    struct source    *source;
    char              found[512];   /* "10.0.0.1:80 10.0.0.2:80"; what was said last */
    char              hostname[64]; /* of the first of them; "": none */
    unsigned          founds, failures;
};

static size_t read_name(const uint8_t *at, char *name) {
    size_t n = 0;
    while (at[n]) {
        memcpy(name + n, at + n + 1, at[n]);
        name[n + at[n]] = '.';
        n += at[n] + 1u;
    }
    name[n ? n - 1 : 0] = '\0';
    return n + 1;
}

static size_t write_name(uint8_t *at, const char *name) {
    size_t n = 0;
    while (*name) {
        size_t label = strcspn(name, ".");
        at[n++] = (uint8_t)label;
        memcpy(at + n, name, label);
        n += label;
        name += label + (name[label] == '.');
    }
    at[n++] = 0;
    return n;
}

static void put16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static size_t write_data(const struct rule *r, const char *text, uint8_t *at) {
    unsigned priority, weight, port;
    char target[64];
    if (r->type != DNS_SRV) {
        assert_int_equal(inet_pton(r->type == DNS_A ? AF_INET : AF_INET6, text, at), 1);
        return r->type == DNS_A ? 4 : 16;
    }
    assert_int_equal(sscanf(text, "%u %u %u %63s", &priority, &weight, &port, target), 4);
    put16(at, priority);
    put16(at + 2, weight);
    put16(at + 4, port);
    return 6 + write_name(at + 6, strcmp(target, ".") == 0 ? "" : target);
}

/* One record, its owner by reference to the question. */
static size_t write_record(const struct rule *r, const char *text, uint8_t *at) {
    size_t size = write_data(r, text, at + 12);
    put16(at, 0xc00c);
    put16(at + 2, (unsigned)r->type);
    put16(at + 4, 1);
    put16(at + 6, r->ttl >> 16);
    put16(at + 8, r->ttl & 0xffff);
    put16(at + 10, (unsigned)size);
    return 12 + size;
}

static size_t write_records(const struct rule *r, uint8_t *packet, size_t n) {
    char data[256], *rest = data;
    snprintf(data, sizeof data, "%s", r->data ? r->data : "");
    const char *separators = r->type == DNS_SRV ? ";" : " ";
    for (char *text; (text = strtok_r(rest, separators, &rest)) != NULL; packet[7]++)
        n += write_record(r, text, packet + n);
    return n;
}

static const struct rule *find_rule(const struct fixture *f, const char *name, unsigned type) {
    for (size_t i = 0; i < f->rule_count; i++)
        if (strcmp(f->rules[i].name, name) == 0 && (unsigned)f->rules[i].type == type)
            return &f->rules[i];
    return NULL;
}

static void on_query(struct ev_loop *loop, ev_io *io, int events) {
    struct fixture *f = io->data;
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    uint8_t packet[2048];
    char name[256];
    (void)loop;
    (void)events;
    ssize_t got = recvfrom(io->fd, packet, 512, 0, (struct sockaddr *)&from, &length);
    assert_true(got > 12);
    size_t n = 12 + read_name(packet + 12, name) + 4;
    const struct rule *r = find_rule(f, name, (unsigned)packet[n - 4] << 8 | packet[n - 3]);
    f->queries++;
    if (r && r->rcode == SILENT)
        return;
    put16(packet + 2, 0x8180u | (unsigned)(r ? r->rcode : NXDOMAIN));
    put16(packet + 10, 0); /* no additional records */
    if (r && r->rcode == NOERROR)
        n = write_records(r, packet, n);
    assert_int_equal(sendto(io->fd, packet, n, 0, (struct sockaddr *)&from, length), n);
}

static void set_rule(struct fixture *f, const char *name, enum dns_type type, int rcode, uint32_t ttl, const char *data) {
    struct rule *r = (struct rule *)(uintptr_t)find_rule(f, name, type);
    if (!r)
        r = &f->rules[f->rule_count++];
    assert_true(f->rule_count <= RULES_MAX);
    *r = (struct rule){name, type, rcode, ttl, data};
}

/* ---- the source ---- */

static void on_found(void *context, const Headgate__EndpointSet *set) {
    struct fixture *f = context;
    size_t n = 0;
    f->founds++;
    f->found[0] = f->hostname[0] = '\0';
    for (size_t i = 0; i < set->n_endpoints; i++)
        n += (size_t)snprintf(f->found + n, sizeof f->found - n, "%s%s", i ? " " : "", set->endpoints[i]->address);
    if (set->n_endpoints && set->endpoints[0]->hostname)
        snprintf(f->hostname, sizeof f->hostname, "%s", set->endpoints[0]->hostname);
}

static void on_failed(void *context, const char *reason) {
    struct fixture *f = context;
    assert_true(reason[0]);
    f->failures++;
}

static int setup(void **state) {
    struct fixture *f = test_calloc(1, sizeof *f);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    f->loop = ev_loop_new(EVFLAG_AUTO);
    f->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(f->fd, (struct sockaddr *)&address, &length), 0);
    f->port = ntohs(address.sin_port);
    ev_io_init(&f->io, on_query, f->fd, EV_READ);
    f->io.data = f;
    ev_io_start(f->loop, &f->io);
    f->resolver = resolver_create(f->loop);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    if (f->source)
        f->source->kind->destroy(f->source);
    resolver_destroy(f->resolver);
    ev_io_stop(f->loop, &f->io);
    close(f->fd);
    ev_loop_destroy(f->loop);
    test_free(f);
    return 0;
}

static struct source *make(struct fixture *f, Headgate__DnsDiscovery *dns) {
    struct error_list errors = {0};
    Headgate__Discovery m = HEADGATE__DISCOVERY__INIT;
    char server[32], *servers[] = {server};
    const struct source_config config = {.loop = f->loop, .resolver = f->resolver,
                                         .sink = {.context = f, .found = on_found, .failed = on_failed}};
    snprintf(server, sizeof server, "127.0.0.1:%u", f->port);
    dns->n_servers = 1;
    dns->servers = servers;
    m.kind_case = HEADGATE__DISCOVERY__KIND_DNS;
    m.dns = dns;
    struct source *s = source_dns.create(&config, &m, &errors);
    assert_non_null(s);
    return s;
}

static Headgate__DnsDiscovery discovery(const char *name, Headgate__DnsDiscovery__Records records) {
    Headgate__DnsDiscovery dns = HEADGATE__DNS_DISCOVERY__INIT;
    dns.name = (char *)name;
    dns.has_records = dns.has_port = dns.has_timeout = true;
    dns.has_min_refresh = dns.has_max_refresh = dns.has_failure_refresh = true;
    dns.records = records;
    dns.port = 80;
    return dns;
}

static struct source_state state_of(const struct fixture *f) {
    struct source_state s;
    f->source->kind->state(f->source, &s);
    return s;
}

/* One round; *f has what came of it. */
static void wait_round(struct fixture *f) {
    unsigned before = f->founds + f->failures;
    while (f->founds + f->failures == before)
        ev_run(f->loop, EVRUN_ONCE);
}

/* Seconds from the last word of the source to the next question. */
static double pause_of(const struct fixture *f) {
    struct source_state s = state_of(f);
    uint64_t said = s.failure[0] ? s.failed_at : s.found_at;
    assert_true(s.next_at > said);
    return (double)(s.next_at - said) / 1e6;
}

static void expect_pause(const struct fixture *f, double seconds) {
    double pause = pause_of(f);
    if (pause < seconds - 0.5 || pause > seconds * 1.1 + 0.5)
        fail_msg("the next question comes after %.3f s, not %.1f s", pause, seconds);
}

/* ---- tests ---- */

#define RECORDS(name) HEADGATE__DNS_DISCOVERY__RECORDS__##name

static void time_to_live_has_a_floor_and_a_ceiling(void **state) {
    static const struct {
        const char *name;
        uint32_t    ttl;
        double      seconds;
    } cases[] = {{"a.test", 30, 30}, {"b.test", 0, 10}, {"c.test", 9, 10}, {"d.test", 3600, 60}, {"e.test", 61, 60}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Headgate__DnsDiscovery dns = discovery(cases[i].name, RECORDS(A));
        dns.min_refresh = 10000000;
        dns.max_refresh = 60000000;
        set_rule(f, cases[i].name, DNS_A, NOERROR, cases[i].ttl, "10.0.0.2 10.0.0.1 10.0.0.2");
        f->source = make(f, &dns);
        wait_round(f);
        assert_string_equal(f->found, "10.0.0.1:80 10.0.0.2:80"); /* sorted, each once */
        expect_pause(f, cases[i].seconds);
        source_dns.destroy(f->source);
        f->source = NULL;
    }
}

static void the_smaller_time_to_live_of_both_questions_counts(void **state) {
    struct fixture *f = *state;
    Headgate__DnsDiscovery dns = discovery("web.test", RECORDS(ADDRESSES));
    set_rule(f, "web.test", DNS_A, NOERROR, 200, "10.0.0.1");
    set_rule(f, "web.test", DNS_AAAA, NOERROR, 20, "fd00::1");
    f->source = make(f, &dns);
    wait_round(f);
    assert_string_equal(f->found, "10.0.0.1:80 [fd00::1]:80");
    expect_pause(f, 20);
}

static void one_family_may_be_empty_but_not_unknown(void **state) {
    struct fixture *f = *state;
    Headgate__DnsDiscovery dns = discovery("web.test", RECORDS(ADDRESSES));
    set_rule(f, "web.test", DNS_A, NOERROR, 200, "10.0.0.1");
    set_rule(f, "web.test", DNS_AAAA, SERVFAIL, 0, NULL);
    f->source = make(f, &dns);
    wait_round(f);
    assert_int_equal(f->founds, 0); /* half an answer is none */
    assert_non_null(strstr(state_of(f).failure, "SERVFAIL"));
    source_dns.destroy(f->source);
    set_rule(f, "four.test", DNS_A, NOERROR, 200, "10.0.0.1");
    set_rule(f, "four.test", DNS_AAAA, NOERROR, 200, "");
    dns.name = (char *)"four.test";
    f->source = make(f, &dns);
    wait_round(f);
    assert_string_equal(f->found, "10.0.0.1:80");
}

static void addresses_have_the_name_that_they_are_given(void **state) {
    struct fixture *f = *state;
    Headgate__DnsDiscovery dns = discovery("web.test", RECORDS(A));
    set_rule(f, "web.test", DNS_A, NOERROR, 200, "10.0.0.1");
    f->source = make(f, &dns);
    wait_round(f);
    assert_string_equal(f->hostname, "");
    source_dns.destroy(f->source);
    dns.hostname = (char *)"site.test";
    f->source = make(f, &dns);
    wait_round(f);
    assert_string_equal(f->found, "10.0.0.1:80");
    assert_string_equal(f->hostname, "site.test");
}

static void failures_back_off(void **state) {
    static const double seconds[] = {2, 4, 8, 10, 10};
    struct fixture *f = *state;
    Headgate__DnsDiscovery dns = discovery("gone.test", RECORDS(A));
    dns.failure_refresh = 2000000;
    dns.max_refresh = 10000000;
    f->source = make(f, &dns);
    wait_round(f);
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        expect_pause(f, seconds[i]);
        assert_non_null(strstr(state_of(f).failure, "gone.test: the name does not exist (NXDOMAIN)"));
        assert_non_null(strstr(state_of(f).failure, "what was found last is kept"));
        f->source->kind->refresh(f->source);
        wait_round(f);
    }
    assert_int_equal(state_of(f).failures, f->failures);
}

/* However often anybody asks: one query a second for a name and type. */
static void nobody_can_make_a_flood(void **state) {
    struct fixture *f = *state;
    Headgate__DnsDiscovery dns = discovery("web.test", RECORDS(A));
    uint64_t start = clock_monotonic_us();
    set_rule(f, "web.test", DNS_A, NOERROR, 0, "10.0.0.1");
    f->source = make(f, &dns);
    wait_round(f);
    for (int i = 0; i < 500; i++) {
        f->source->kind->refresh(f->source);
        wait_round(f);
    }
    assert_true(f->queries <= 1 + (clock_monotonic_us() - start) / 1000000);
    assert_int_equal(f->founds, 501);
}

static void who_asks_meanwhile_waits_for_the_same_answer(void **state) {
    struct fixture *f = *state;
    struct source *many[20];
    Headgate__DnsDiscovery dns = discovery("web.test", RECORDS(A));
    set_rule(f, "web.test", DNS_A, NOERROR, 100, "10.0.0.1");
    for (size_t i = 0; i < 20; i++)
        many[i] = make(f, &dns);
    source_dns.destroy(many[7]);
    while (f->founds < 19)
        ev_run(f->loop, EVRUN_ONCE);
    assert_int_equal(f->queries, 1);
    for (size_t i = 0; i < 20; i++)
        if (i != 7)
            source_dns.destroy(many[i]);
    assert_int_equal(resolver_counters(f->resolver)->answers, 1);
}

static void silence_is_a_failure(void **state) {
    struct fixture *f = *state;
    Headgate__DnsDiscovery dns = discovery("web.test", RECORDS(A));
    dns.timeout = 200000;
    set_rule(f, "web.test", DNS_A, SILENT, 0, NULL);
    f->source = make(f, &dns);
    wait_round(f);
    assert_non_null(strstr(state_of(f).failure, "no DNS server answered in time"));
    assert_int_equal(f->queries, 2); /* asked twice */
}

static void ask_again(struct fixture *f) {
    resolver_destroy(f->resolver); /* forgets the answers, which would count for a second */
    source_dns.destroy(f->source);
    f->resolver = resolver_create(f->loop);
}

static void servers_have_addresses(void **state) {
    struct fixture *f = *state;
    Headgate__DnsDiscovery dns = discovery("_a._tcp.test", RECORDS(SRV));
    set_rule(f, "_a._tcp.test", DNS_SRV, NOERROR, 100, "1 1 81 one.test;1 1 82 two.test");
    set_rule(f, "one.test", DNS_A, NOERROR, 40, "10.0.0.1");
    set_rule(f, "one.test", DNS_AAAA, NOERROR, 40, "");
    set_rule(f, "two.test", DNS_A, NOERROR, 30, "10.0.0.2");
    set_rule(f, "two.test", DNS_AAAA, NOERROR, 30, "fd00::2");
    f->source = make(f, &dns);
    wait_round(f);
    assert_string_equal(f->found, "10.0.0.1:81 10.0.0.2:82 [fd00::2]:82");
    expect_pause(f, 30);
    ask_again(f);
    set_rule(f, "two.test", DNS_AAAA, SERVFAIL, 0, NULL);
    f->source = make(f, &dns);
    wait_round(f);
    assert_int_equal(f->founds, 1); /* not known, and nothing was known before: kept back */
    assert_non_null(strstr(state_of(f).failure, "two.test"));
    ask_again(f);
    set_rule(f, "two.test", DNS_A, NXDOMAIN, 0, NULL);
    set_rule(f, "two.test", DNS_AAAA, NXDOMAIN, 0, NULL);
    f->source = make(f, &dns);
    wait_round(f);
    assert_string_equal(f->found, "10.0.0.1:81"); /* said not to exist: left out, and told */
    assert_non_null(strstr(state_of(f).failure, "two.test"));
}

/* Whoever names ever new servers, with addresses that count for years, does not fill the memory. */
static void answers_are_forgotten(void **state) {
    struct fixture *f = *state;
    Headgate__DnsDiscovery dns = discovery("web.test", RECORDS(A)), other = discovery("b.test", RECORDS(A));
    dns.max_refresh = UINT64_C(604800000000);
    set_rule(f, "web.test", DNS_A, NOERROR, INT32_MAX, "10.0.0.1");
    set_rule(f, "b.test", DNS_A, NOERROR, INT32_MAX, "10.0.0.2");
    f->source = make(f, &dns);
    wait_round(f);
    f->source->kind->refresh(f->source);
    wait_round(f);
    assert_int_equal(f->queries, 1); /* it counts for long */
    atomic_store(&later_seconds, 120);
    source_dns.destroy(f->source);
    f->source = make(f, &other);
    wait_round(f);
    source_dns.destroy(f->source);
    f->source = make(f, &dns);
    wait_round(f);
    assert_string_equal(f->found, "10.0.0.1:80");
    assert_int_equal(f->queries, 3);
    atomic_store(&later_seconds, 0);
}

static void a_service_that_is_not_there_is_a_failure(void **state) {
    struct fixture *f = *state;
    Headgate__DnsDiscovery dns = discovery("_a._tcp.test", RECORDS(SRV));
    set_rule(f, "_a._tcp.test", DNS_SRV, NOERROR, 100, "0 0 0 .");
    f->source = make(f, &dns);
    wait_round(f);
    assert_int_equal(f->founds, 0);
    assert_non_null(strstr(state_of(f).failure, "there is no server"));
}

/* Every round ends with a word of the source, whichever allocation fails. */
static void memory_is_an_ordinary_failure(void **state) {
    struct fixture *f = *state;
    Headgate__DnsDiscovery dns = discovery("_a._tcp.test", RECORDS(SRV));
    uint64_t used = 0;
    dns.timeout = 100000;
    set_rule(f, "_a._tcp.test", DNS_SRV, NOERROR, 100, "1 1 81 one.test;1 1 82 two.test");
    set_rule(f, "one.test", DNS_A, NOERROR, 40, "10.0.0.1");
    set_rule(f, "one.test", DNS_AAAA, NOERROR, 40, "fd00::1");
    set_rule(f, "two.test", DNS_A, NOERROR, 30, "10.0.0.2");
    set_rule(f, "two.test", DNS_AAAA, NOERROR, 30, "");
    f->source = make(f, &dns);
    for (uint64_t nth = 0; nth <= used; nth++) {
        ask_again(f);
        f->source = make(f, &dns);
        uint64_t start = hg_alloc_count();
        hg_alloc_fail_at((long)nth, 0);
        wait_round(f);
        hg_alloc_fail_at(-1, 0);
        if (hg_alloc_count() - start > used)
            used = hg_alloc_count() - start;
    }
    assert_true(used > 20 && f->failures > 10);
    assert_string_equal(f->found, "10.0.0.1:81 10.0.0.2:82 [fd00::1]:81");
}

int main(void) {
    log_set_level(LOG_LEVEL_ERROR + 1);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(time_to_live_has_a_floor_and_a_ceiling),
        TEST(the_smaller_time_to_live_of_both_questions_counts),
        TEST(one_family_may_be_empty_but_not_unknown), TEST(addresses_have_the_name_that_they_are_given),
        TEST(failures_back_off),
        TEST(nobody_can_make_a_flood),
        TEST(who_asks_meanwhile_waits_for_the_same_answer),
        TEST(silence_is_a_failure),
        TEST(servers_have_addresses),
        TEST(answers_are_forgotten),
        TEST(a_service_that_is_not_there_is_a_failure),
        TEST(memory_is_an_ordinary_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
