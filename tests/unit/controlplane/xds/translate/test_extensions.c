/* HTTP filters that come by themselves, and layers of runtime values: no resource becomes of them, but not anything is
 * taken. */
#include <math.h>

#include "tests/unit/controlplane/xds/translate/translating.h"

static int translate_extension(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors) {
    return xds_translate_extension((const Envoy__Config__Core__V3__TypedExtensionConfig *)m, ret, errors);
}

static int translate_runtime(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors) {
    return xds_translate_runtime((const Envoy__Service__Runtime__V3__Runtime *)m, ret, errors);
}

static void print(const struct xds_made *made, struct strbuf *out) {
    assert_int_equal(made->set.count + made->need_count + made->given_count, 0);
    strbuf_puts(out, "nothing");
}

/* "a.b=5/100 c=0.5 d=-": a share, a number, and neither. */
static void print_values(const struct xds_made *made, struct strbuf *out) {
    assert_int_equal(made->set.count + made->need_count + made->given_count, 0);
    for (size_t i = 0; i < made->value_count; i++) {
        const struct xds_runtime_value *v = &made->values[i];
        strbuf_printf(out, "%s%s=", i ? " " : "", v->key);
        if (v->is_share)
            strbuf_printf(out, "%u/%u", v->numerator, v->of);
        else if (v->is_number)
            strbuf_printf(out, "%g", v->number);
        else
            strbuf_puts(out, "-");
    }
}

static const struct translating extensions = {
    &envoy__config__core__v3__typed_extension_config__descriptor, translate_extension, print};
static const struct translating runtimes = {&envoy__service__runtime__v3__runtime__descriptor, translate_runtime,
                                            print_values};

#define TYPE "'@type': type.googleapis.com/envoy.extensions.filters.http."
#define ROUTER TYPE "router.v3.Router"

static void filters(void **state) {
    (void)state;
    assert_translated(&extensions, "{name: f, typed_config: {" ROUTER "}}", "nothing");
    assert_translated(&extensions, "{name: f, typed_config: {" ROUTER ", dynamic_stats: false, start_child_span: true}}",
                      "nothing");
    assert_translated(&extensions, "{name: f, typed_config: {" ROUTER ", upstream_log: [{name: x}]}}",
                      "extension/f: typed_config.upstream_log: is not supported\n");
    assert_translated(&extensions, "{name: f, typed_config: {" TYPE "cors.v3.Cors}}",
                      "extension/f: typed_config: is of the type "
                      "\"type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors\", which is not supported here\n");
    assert_translated(&extensions, "{name: f}", "extension/f: typed_config: is missing\n");
    assert_survives_failures(&extensions, "{name: f, typed_config: {" ROUTER ", start_child_span: true}}");
}

static void layers(void **state) {
    (void)state;
    assert_translated(&runtimes, "{name: l}", "");
    assert_translated(&runtimes, "{name: l, layer: {a: {b: {c: true, d: two}}, c.d: 0.5}}", "a.b.c=- a.b.d=- c.d=0.5");
    assert_translated(&runtimes, "{name: l, layer: {a: {b: 30, c: {d: 0, e: 101}}, f: 4294967296, g: -1}}",
                      "a.b=30 a.c.d=0 a.c.e=101 f=4.29497e+09 g=-1");
    assert_translated(&runtimes, "{name: l, layer: {a: {b: [1]}}}",
                      "runtime/l: layer: has a list or nothing as the value \"a.b\"\n");
    assert_translated(&runtimes, "{name: l, layer: {a: null}}",
                      "runtime/l: layer: has a list or nothing as the value \"a\"\n");
    assert_survives_failures(&runtimes, "{name: l, layer: {a: {b: 1}}}");
}

static void shares(void **state) {
    (void)state;
    assert_translated(&runtimes, "{name: l, layer: {a: {numerator: 5}, b: {numerator: 7, denominator: MILLION}}}",
                      "a=5/100 b=7/1000000");
    assert_translated(&runtimes, "{name: l, layer: {a: {denominator: TEN_THOUSAND}, b: {numerator: 3, denominator: 1}}}",
                      "a=0/10000 b=-");
    assert_translated(&runtimes, "{name: l, layer: {a: {numerator: 5, denominator: DOZEN}}}", "a=-");
    assert_translated(&runtimes, "{name: l, layer: {a: {numerator: 5, more: 1}}}", "a=-");
    assert_translated(&runtimes, "{name: l, layer: {a: {}, b: {numerator: 7.9}, c: {numerator: -1}, d: {numerator: 101}}}",
                      "a=0/100 b=7/100 c=0/100 d=100/100");
    assert_translated(&runtimes, "{name: l, layer: {a: {numerator: '5'}}}", "a=0/100");
}

static void texts(void **state) {
    (void)state;
    assert_translated(&runtimes, "{name: l, layer: {a: '30', b: ' 1e3 ', c: '0x10', d: '', e: 30%, f: nan, g: '-.5'}}",
                      "a=30 b=1000 c=- d=- e=- f=- g=-0.5");
}

static struct xds_runtime runtime_of(const char *text) {
    const struct xds_runtime_value whole = xds_runtime_of_text("whole", text),
                                   share = {.key = "share", .is_share = true, .numerator = 3, .of = 10000};
    struct xds_runtime r = {0};
    assert_int_equal(xds_runtime_set(&r, &whole), 0);
    assert_int_equal(xds_runtime_set(&r, &share), 0);
    return r;
}

/* What Envoy makes of numbers where it asks for a share, a weight, and a number. */
static void what_fields_ask_for(void **state) {
    static const struct {
        const char *text;
        uint32_t    numerator;          /* 1000: no share */
        uint64_t    integer;            /* 1000: none */
        double      number;
    } cases[] = {
        {"30", 30, 30, 30}, {"30.9", 30, 30, 30.9}, {"100.5", 100, 100, 100.5}, {"500", 100, 500, 500},
        {"-1", 1000, 1000, -1}, {"1e30", 1000, 1000, 1e30}, {"many", 1000, 1000, 7}, {"inf", 1000, 1000, HUGE_VAL},
        {"18446744073709551615", 1000, 1000, 18446744073709551616.0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct xds_runtime r = runtime_of(cases[i].text);
        uint32_t numerator = 1000, of = 0;
        assert_int_equal(xds_runtime_share(&r, "whole", &numerator, &of), cases[i].numerator != 1000);
        assert_int_equal(numerator, cases[i].numerator);
        assert_int_equal(of, numerator == 1000 ? 0 : 100);
        assert_int_equal(xds_runtime_integer(&r, "whole", 1000), cases[i].integer);
        assert_true(xds_runtime_number(&r, "whole", 7) == cases[i].number);
        assert_true(xds_runtime_share(&r, "share", &numerator, &of) && numerator == 3 && of == 10000);
        assert_int_equal(xds_runtime_integer(&r, "share", 9), 9);
        assert_int_equal(xds_runtime_integer(&r, "other", 9), 9);
        xds_runtime_finish(&r);
    }
    assert_int_equal(xds_runtime_integer(NULL, "whole", 9), 9);
}

/* Another value is another hash, and the same values in another order are the same. */
static void hashes(void **state) {
    (void)state;
    struct xds_runtime a = runtime_of("1"), b = runtime_of("2"), c = runtime_of("2");
    const struct xds_runtime_value one = xds_runtime_of_text("whole", "1");
    assert_int_not_equal(a.hash, b.hash);
    assert_int_equal(b.hash, c.hash);
    assert_int_equal(xds_runtime_set(&b, &one), 0);
    assert_int_equal(a.hash, b.hash);
    xds_runtime_finish(&a);
    xds_runtime_finish(&b);
    xds_runtime_finish(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters),
        cmocka_unit_test(layers),
        cmocka_unit_test(shares),
        cmocka_unit_test(texts),
        cmocka_unit_test(what_fields_ask_for),
        cmocka_unit_test(hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
