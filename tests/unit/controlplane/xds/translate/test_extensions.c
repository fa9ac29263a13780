/* HTTP filters that come by themselves, and layers of runtime values: nothing becomes of them, but not anything is taken. */
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

static const struct translating extensions = {
    &envoy__config__core__v3__typed_extension_config__descriptor, translate_extension, print};
static const struct translating runtimes = {&envoy__service__runtime__v3__runtime__descriptor, translate_runtime, print};

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
    assert_translated(&runtimes, "{name: l}", "nothing");
    assert_translated(&runtimes, "{name: l, layer: {a: {b: [1, two, null, {three: true}]}, c.d: 0.5}}", "nothing");
    assert_survives_failures(&runtimes, "{name: l, layer: {a: {b: 1}}}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters),
        cmocka_unit_test(layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
