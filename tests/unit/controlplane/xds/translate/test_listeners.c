/* Listeners of a server as listeners of ours: listeners.txt has what comes out. */
#include "tests/unit/controlplane/xds/translate/cases.h"

#include "controlplane/xds/translate/listener.h"
#include "controlplane/xds/translate/quic.h"

static int translate(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors) {
    return xds_translate_listener((const Envoy__Config__Listener__V3__Listener *)m, NULL, ret, errors);
}

static void print(const struct xds_made *made, struct strbuf *out) {
    struct error_list errors = {0};
    const struct config_render_options options = {0};
    static const char *const awaited[] = {"", ", or a default", ", not awaited"};
    for (size_t i = 0; i < made->set.count; i++) {
        const struct config_resource *r = &made->set.items[i];
        strbuf_printf(out, "%s:\n", r->kind == HEADGATE__KIND__KIND_LISTENER ? "listener" : "route-table");
        assert_int_equal(config_render_one(&made->set, r->kind, str_of(r->name), &options, out, &errors), 0);
    }
    for (size_t i = 0; i < made->need_count; i++)
        strbuf_printf(out, "needs %s %s%s\n", made->needs[i].type, made->needs[i].name, awaited[made->needs[i].awaited]);
    error_list_finish(&errors);
}

static const struct translating listeners = {&envoy__config__listener__v3__listener__descriptor, translate, print};

static void every_case_comes_out_as_written(void **state) {
    (void)state;
    assert_true(check_cases("tests/unit/controlplane/xds/translate/listeners.txt", &listeners) > 15);
}

/* Its type is none that is known here, so that no text can have it. */
static void the_filter_for_virtual_hosts_on_demand_is_refused(void **state) {
    typedef Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpFilter http_filter;
    Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager manager =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_CONNECTION_MANAGER__INIT;
    http_filter filter = ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__INIT;
    http_filter *filters[] = {&filter};
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    struct error_list errors = {0};
    struct making m = {.errors = &errors, .resource = "listener/l"};
    struct strbuf out = {0};
    (void)state;
    any.type_url = (char *)"type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.OnDemand";
    filter.config_type_case =
        ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;
    filter.typed_config = &any;
    manager.http_filters = filters;
    manager.n_http_filters = 1;
    http_filters(&m, NULL, &manager);
    add_errors(&errors, &out);
    assert_string_equal(strbuf_str(&out).p,
                        "listener/l: http_filters[0].typed_config: is of the type \"type.googleapis.com/envoy.extensions."
                        "filters.http.on_demand.v3.OnDemand\", which is not supported here\n"
                        "listener/l: http_filters: need envoy.extensions.filters.http.router.v3.Router\n");
    strbuf_finish(&out);
    error_list_finish(&errors);
}

static void tables_are_sound(void **state) {
    (void)state;
    const struct xds_fields *const all[] = {
        &xds_read_listener, &xds_read_http_manager, &xds_read_http_filter, &xds_read_tcp_proxy,
        &xds_read_listen_address, &xds_read_access_log, &xds_read_udp_listener, &xds_read_quic_transport,
        &xds_read_http3_options,
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_null(xds_fields_fault(all[i]));
}

#define TYPE "'@type': type.googleapis.com/envoy.extensions."

static void every_allocation_may_fail(void **state) {
    (void)state;
    assert_survives_failures(
        &listeners,
        "name: l\naddress: {socket_address: {address: 0.0.0.0, port_value: 80}}\n"
        "listener_filters: [{typed_config: {" TYPE "filters.listener.proxy_protocol.v3.ProxyProtocol}}]\n"
        "filter_chains:\n- filters:\n  - typed_config:\n      " TYPE
        "filters.network.http_connection_manager.v3.HttpConnectionManager\n"
        "      route_config:\n"
        "        virtual_hosts: [{name: h, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: c}}]}]\n"
        "      http2_protocol_options: {max_concurrent_streams: 100}\n"
        "      http_filters: [{name: r, typed_config: {" TYPE "filters.http.router.v3.Router}}]\n"
        "  transport_socket: {name: tls, typed_config: {" TYPE
        "transport_sockets.tls.v3.DownstreamTlsContext,\n"
        "    common_tls_context: {alpn_protocols: [h2],\n"
        "                         tls_certificate_sds_secret_configs: [{name: s, sds_config: {ads: {}}}]}}}\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_comes_out_as_written),
        cmocka_unit_test(the_filter_for_virtual_hosts_on_demand_is_refused),
        cmocka_unit_test(tables_are_sound),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
