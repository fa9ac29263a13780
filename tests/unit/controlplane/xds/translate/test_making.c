/* What all translations share: names, values, errors with paths, needs. */
#include "tests/unit/common/cmocka_all.h"

#include "common/alloc.h"
#include "controlplane/config/schema/text_form.h"
#include "controlplane/xds/json.h"
#include "controlplane/xds/translate/names.h"
#include "controlplane/xds/translate/values.h"
#include "controlplane/xds/world.h"
#include "proto/envoy/config/core/v3/extension.pb-c.h"

static struct making making;
static struct xds_made made;
static struct error_list errors;

static const struct xds_fields outliers_table = {
    &envoy__config__cluster__v3__outlier_detection__descriptor,
    (const struct xds_field[]){
        {.name = "interval"}, {.name = "max_ejection_percent"},
        {.name = "enforcing_success_rate", .ignored = "it is nothing"}, {0},
    },
};

static int setup(void **state) {
    (void)state;
    memset(&made, 0, sizeof made);
    memset(&errors, 0, sizeof errors);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    xds_made_finish(&made);
    error_list_finish(&errors);
    return 0;
}

static void begin(void) {
    static Envoy__Config__Cluster__V3__OutlierDetection nothing;
    envoy__config__cluster__v3__outlier_detection__init(&nothing);
    assert_int_equal(making_begin(&making, &outliers_table, &nothing.base, "cluster", "a|b", &made, &errors), 0);
}

static void assert_errors(const char *expected) {
    struct strbuf text = {0};
    for (size_t i = 0; i < errors.count; i++) {
        error_format(&errors.items[i], &text);
        strbuf_putc(&text, '\n');
    }
    assert_string_equal(strbuf_str(&text).p, expected);
    strbuf_finish(&text);
}

/* ---- names ---- */

static void assert_name(const char *original, const char *mapped) {
    struct arena arena;
    struct strbuf back = {0};
    arena_init(&arena, NULL, 0, 0);
    struct str name = xds_name_map(&arena, STR(""), str_of(original));
    assert_string_equal(name.p, mapped);
    assert_true(resource_name_is_valid(name));
    xds_name_original(name, &back);
    assert_string_equal(strbuf_str(&back).p, original);
    strbuf_finish(&back);
    arena_finish(&arena);
}

static void names_are_mapped_there_and_back(void **state) {
    (void)state;
    assert_name("web", "web");
    assert_name("outbound|80||svc.ns.svc.cluster.local", "outbound@7c80@7c@7csvc.ns.svc.cluster.local");
    assert_name("default/web/http:80_x-y", "default/web/http:80_x-y");
    assert_name("a b", "a@20b");
    assert_name("a@7cb", "a@407cb");
    assert_name("@", "@40");
    assert_name("*", "@2a");
    assert_name("gr\xc3\xb6\xc3\x9f" "e", "gr@c3@b6@c3@9fe");
    assert_name("xdstp://a/envoy.config.cluster.v3.Cluster/x?y=z#1",
                "xdstp://a/envoy.config.cluster.v3.Cluster/x@3fy@3dz@231");
}

static void long_names_are_cut_and_stay_apart(void **state) {
    struct arena arena;
    struct strbuf back = {0};
    char text[401];
    (void)state;
    arena_init(&arena, NULL, 0, 0);
    for (int pattern = 0; pattern < 2; pattern++) {
        memset(text, pattern ? '|' : 'n', 400);
        text[400] = 0;
        struct str first = xds_name_map(&arena, STR(XDS_GIVEN), str_of(text));
        text[399] = 'x';
        struct str second = xds_name_map(&arena, STR(XDS_GIVEN), str_of(text));
        assert_true(resource_name_is_valid(first) && resource_name_is_valid(second));
        assert_true(str_starts(first, STR(XDS_GIVEN)));
        assert_false(str_eq(first, second));
        /* No shorter name becomes the same: its "@" would be followed by "40". */
        assert_non_null(strstr(first.p, "@_"));
        strbuf_reset(&back);
        xds_name_original(first, &back);
        assert_true(str_ends(strbuf_str(&back), STR("...")));
    }
    strbuf_finish(&back);
    arena_finish(&arena);
}

static void a_name_of_the_greatest_length_stays_whole(void **state) {
    struct arena arena;
    char text[RESOURCE_NAME_MAX + 2];
    (void)state;
    arena_init(&arena, NULL, 0, 0);
    memset(text, 'n', sizeof text);
    struct str whole = {text, RESOURCE_NAME_MAX}, longer = {text, RESOURCE_NAME_MAX + 1};
    assert_true(str_eq(xds_name_map(&arena, STR(""), whole), whole));
    assert_int_equal(xds_name_map(&arena, STR(""), longer).n, RESOURCE_NAME_MAX);
    arena_finish(&arena);
}

/* ---- errors ---- */

static void errors_name_resource_and_path(void **state) {
    (void)state;
    begin();
    const struct xds_at *list = XDS_AT_ITEM(NULL, "endpoints", 3), *map = XDS_AT_KEY(list, "metadata.filter", "a\"b");
    assert_int_equal(making_refuse(&making, XDS_AT(map, "x"), ERROR_RANGE, "is %d", 7), -1);
    making_unsupported(&making, NULL, "there is none");
    assert_null(making_name(&making, XDS_AT(NULL, "name"), ""));
    assert_int_equal(making_end(&making), -1);
    assert_errors("cluster/a|b: endpoints[3].metadata.filter[\"a\\\"b\"].x: is 7\n"
                  "cluster/a|b: is not supported: there is none\n"
                  "cluster/a|b: name: is empty\n");
}

static void what_is_not_read_is_an_error(void **state) {
    struct arena arena;
    (void)state;
    arena_init(&arena, NULL, 0, 0);
    ProtobufCMessage *m = xds_json_parse(outliers_table.type, "t", STR("{interval: 1s, consecutive_5xx: 1,"
        " enforcing_success_rate: 3, max_ejection_time: 2s}"), &arena, &errors);
    assert_non_null(m);
    assert_int_equal(making_begin(&making, &outliers_table, m, "cluster", "web", &made, &errors), -1);
    assert_int_equal(making_end(&making), -1);
    assert_errors("cluster/web: consecutive_5xx: is not supported\ncluster/web: max_ejection_time: is not supported\n");
    arena_finish(&arena);
}

/* ---- values ---- */

static void assert_duration(int64_t seconds, int32_t nanoseconds, uint64_t expected) {
    Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
    protobuf_c_boolean has = false;
    uint64_t found = 0;
    d.seconds = seconds;
    d.nanos = nanoseconds;
    value_duration(&making, XDS_AT(NULL, "d"), &d, 1, 10 * XDS_SEC, &has, &found);
    assert_int_equal(has, expected != 0);
    assert_int_equal(found, expected);
}

static void durations_are_within_bounds(void **state) {
    (void)state;
    begin();
    assert_duration(0, 1, 1);
    assert_duration(1, 500000001, 1500001);
    assert_duration(10, 0, 10000000);
    assert_duration(10, 1, 0);
    assert_duration(0, 0, 0);
    assert_duration(-1, 0, 0);
    assert_duration(1, -1, 0);
    assert_duration(1, 1000000000, 0);
    assert_duration(INT64_MAX, 0, 0);
    protobuf_c_boolean has = false;
    uint64_t found = 7;
    value_duration(&making, NULL, NULL, 0, 1, &has, &found);
    assert_false(has);
    assert_int_equal(found, 7);
    assert_int_equal(making_end(&making), -1);
    assert_errors("cluster/a|b: d: is 10000001us; 1us to 10s are possible\n"
                  "cluster/a|b: d: is 0s; 1us to 10s are possible\n"
                  "cluster/a|b: d: is not a duration that is possible here\n"
                  "cluster/a|b: d: is not a duration that is possible here\n"
                  "cluster/a|b: d: is not a duration that is possible here\n"
                  "cluster/a|b: d: is not a duration that is possible here\n");
}

static void take_percent(double value, uint32_t min, uint32_t expected) {
    Envoy__Type__V3__Percent p = ENVOY__TYPE__V3__PERCENT__INIT;
    protobuf_c_boolean has = false;
    uint32_t found = 555;
    p.value = value;
    value_percent(&making, XDS_AT(NULL, "p"), &p, min, &has, &found);
    assert_int_equal(has, expected != 555);
    assert_int_equal(found, expected);
}

static void percents_are_whole(void **state) {
    (void)state;
    begin();
    take_percent(0, 0, 0);
    take_percent(100, 0, 100);
    take_percent(12.5, 0, 555);
    take_percent(-1, 0, 555);
    take_percent(101, 0, 555);
    take_percent(__builtin_nan(""), 0, 555);
    take_percent(0, 1, 555);
    assert_int_equal(making_end(&making), -1);
    assert_int_equal(errors.count, 5);
    assert_string_equal(errors.items[0].message, "is 12.5 percent; whole numbers of 0 to 100 are possible");
}

static void numbers_and_texts_are_of_their_form(void **state) {
    Google__Protobuf__UInt32Value small = GOOGLE__PROTOBUF__UINT32_VALUE__INIT;
    Google__Protobuf__UInt64Value large = GOOGLE__PROTOBUF__UINT64_VALUE__INIT;
    protobuf_c_boolean has = false;
    uint32_t number = 1;
    uint64_t wide = 1;
    char *text = NULL;
    (void)state;
    begin();
    small.value = 9;
    large.value = 1000;
    value_uint32(&making, XDS_AT(NULL, "n"), &small, 0, 8, &has, &number);
    value_uint64(&making, XDS_AT(NULL, "w"), &large, 0, 1000, &has, &wide);
    assert_int_equal(number, 1);
    assert_int_equal(wide, 1000);
    value_text(&making, XDS_AT(NULL, "t"), "", &text_dns_name, 10, &text);
    assert_null(text);
    value_text(&making, XDS_AT(NULL, "t"), "Example.org", &text_dns_name, 20, &text);
    assert_string_equal(text, "example.org");
    value_text(&making, XDS_AT(NULL, "t"), "example.org", &text_dns_name, 10, &text);
    value_text(&making, XDS_AT(NULL, "t"), "a b", &text_dns_name, 10, &text);
    assert_string_equal(text, "example.org");
    assert_int_equal(making_end(&making), -1);
    assert_int_equal(errors.count, 3);
    assert_string_equal(errors.items[0].message, "is 9; 0 to 8 are possible");
    assert_string_equal(errors.items[1].message, "has 11 bytes; 10 are possible");
    assert_string_equal(errors.items[2].path, "t");
}

/* ---- bounds: too large is no lack of memory, which would be tried again ---- */

static void a_resource_that_takes_too_much_is_refused(void **state) {
    enum { FIELDS = 9 << 20 };          /* of two bytes, each of which takes some dozens when it is decoded */
    char *bytes = hg_malloc(FIELDS * 2);
    (void)state;
    for (size_t i = 0; i < FIELDS; i++)
        memcpy(bytes + 2 * i, "\x12\0", 2);
    const struct xds_material from = {.bytes = {bytes, FIELDS * 2}};
    assert_int_equal(xds_translations[XDS_ENDPOINTS].translate(&from, &made, &errors), -1);
    assert_errors("takes more than 256 MiB when it is decoded, which is the bound\n");
    assert_int_equal(errors.items[0].code, ERROR_RANGE);
    hg_free(bytes);
}

static void what_is_made_is_bounded(void **state) {
    static const char expected[] = "cluster/a|b: takes more than 512 MiB when it is translated, which is the bound\n";
    (void)state;
    begin();
    making.arena.limit = making.arena.used + (1 << 20);
    assert_null(making_array(&making, 1 << 10, 1 << 20));
    assert_errors(expected);
    assert_int_equal(errors.items[0].code, ERROR_RANGE);
    error_list_finish(&errors);
    errors = (struct error_list){0};
    making.arena.limit = making.arena.used;
    assert_null(making_new(&making, &headgate__endpoint_set__descriptor));
    assert_errors(expected);
    assert_int_equal(making_end(&making), -1);
}

/* ---- what is made ---- */

static void needs_are_there_once(void **state) {
    (void)state;
    begin();
    making_need(&making, "A", "x");
    making_need(&making, "A", "y");
    making_need(&making, "A", "x");
    making_need(&making, "B", "x");
    making_need(&making, "A", "x");
    making_need(&making, "B", "x");
    assert_int_equal(making_end(&making), 0);
    assert_int_equal(made.need_count, 3);
    assert_string_equal(made.needs[2].type, "B");
    assert_string_equal(made.needs[2].name, "x");
}

static int make_something(void) {
    static const Google__Protobuf__Any any = {.base.descriptor = &google__protobuf__any__descriptor, .type_url =
        (char *)"type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"};
    Envoy__Config__Cluster__V3__OutlierDetection m = ENVOY__CONFIG__CLUSTER__V3__OUTLIER_DETECTION__INIT;
    memset(&made, 0, sizeof made);
    if (making_begin(&making, &outliers_table, &m.base, "cluster", "web", &made, &errors) == 0) {
        Headgate__EndpointSet *set = making_new(&making, &headgate__endpoint_set__descriptor);
        char *name = making_name(&making, NULL, "a|b");
        making_open(&making, NULL, &any);
        making_array(&making, 3, 8);
        making_need(&making, "A", "x");
        if (set && name)
            making_emit(&making, HEADGATE__KIND__KIND_ENDPOINT_SET, name, &set->base);
    }
    return making_end(&making);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    uint64_t before = hg_alloc_count();
    assert_int_equal(make_something(), 0);
    uint64_t count = hg_alloc_count() - before;
    assert_int_equal(made.set.count, 1);
    assert_string_equal(made.set.items[0].name, "a@7cb");
    xds_made_finish(&made);
    for (uint64_t i = 0; i < count; i++) {
        hg_alloc_fail_at((long)i, 0);
        int status = make_something();
        hg_alloc_fail_at(-1, 0);
        assert_int_equal(status, -1);
        assert_false(error_list_is_empty(&errors));
        xds_made_finish(&made);
        error_list_finish(&errors);
        memset(&errors, 0, sizeof errors);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_are_mapped_there_and_back, setup, teardown),
        cmocka_unit_test_setup_teardown(long_names_are_cut_and_stay_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_of_the_greatest_length_stays_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_name_resource_and_path, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_read_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(durations_are_within_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(percents_are_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_and_texts_are_of_their_form, setup, teardown),
        cmocka_unit_test_setup_teardown(a_resource_that_takes_too_much_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_made_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(needs_are_there_once, setup, teardown),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
