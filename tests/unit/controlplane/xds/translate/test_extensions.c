/* HTTP filters that come by themselves, and layers of runtime values: no resource becomes of them, but not anything is
 * taken. */
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

/* "a.b=5/100 c=-": the latter no share. */
static void print_values(const struct xds_made *made, struct strbuf *out) {
    assert_int_equal(made->set.count + made->need_count + made->given_count, 0);
    for (size_t i = 0; i < made->value_count; i++) {
        const struct xds_runtime_value *v = &made->values[i];
        strbuf_printf(out, "%s%s=", i ? " " : "", v->key);
        if (v->of)
            strbuf_printf(out, "%u/%u", v->numerator, v->of);
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
    assert_translated(&runtimes, "{name: l, layer: {a: {b: [1, two, null, {three: true}]}, c.d: 0.5}}", "a.b=- c.d=-");
    assert_translated(&runtimes, "{name: l, layer: {a: {b: 30, c: {d: 0, e: 101}}, f: 4294967296, g: -1}}",
                      "a.b=30/100 a.c.d=0/100 a.c.e=100/100 f=- g=-");
    assert_survives_failures(&runtimes, "{name: l, layer: {a: {b: 1}}}");
}

static void shares(void **state) {
    (void)state;
    assert_translated(&runtimes, "{name: l, layer: {a: {numerator: 5}, b: {numerator: 7, denominator: MILLION}}}",
                      "a=5/100 b=7/1000000");
    assert_translated(&runtimes, "{name: l, layer: {a: {denominator: TEN_THOUSAND}, b: {numerator: 3, denominator: 1}}}",
                      "a=0/10000 b=3/10000");
    assert_translated(&runtimes, "{name: l, layer: {a: {numerator: 5, denominator: DOZEN}}}",
                      "a.numerator=5/100 a.denominator=-");
    assert_translated(&runtimes, "{name: l, layer: {a: {numerator: 5, more: 1}}}", "a.numerator=5/100 a.more=1/100");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters),
        cmocka_unit_test(layers),
        cmocka_unit_test(shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
