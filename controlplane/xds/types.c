#include "controlplane/xds/types.h"

#include <stdlib.h>

#include "proto/envoy/config/cluster/v3/cluster.pb-c.h"
#include "proto/envoy/config/core/v3/extension.pb-c.h"
#include "proto/envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "proto/envoy/config/listener/v3/listener.pb-c.h"
#include "proto/envoy/config/route/v3/route.pb-c.h"
#include "proto/envoy/config/route/v3/route_components.pb-c.h"
#include "proto/envoy/config/route/v3/scoped_route.pb-c.h"
#include "proto/envoy/extensions/access_loggers/file/v3/file.pb-c.h"
#include "proto/envoy/extensions/access_loggers/grpc/v3/als.pb-c.h"
#include "proto/envoy/extensions/access_loggers/stream/v3/stream.pb-c.h"
#include "proto/envoy/extensions/filters/http/cors/v3/cors.pb-c.h"
#include "proto/envoy/extensions/filters/http/header_mutation/v3/header_mutation.pb-c.h"
#include "proto/envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "proto/envoy/extensions/filters/listener/http_inspector/v3/http_inspector.pb-c.h"
#include "proto/envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.pb-c.h"
#include "proto/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb-c.h"
#include "proto/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "proto/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/maglev/v3/maglev.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/random/v3/random.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "proto/envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/quic/v3/quic_transport.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/tls/v3/secret.pb-c.h"
#include "proto/envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "proto/envoy/extensions/upstreams/http/v3/http_protocol_options.pb-c.h"
#include "proto/envoy/service/discovery/v3/discovery.pb-c.h"
#include "proto/envoy/service/runtime/v3/rtds.pb-c.h"
#include "proto/google/protobuf/any.pb-c.h"
#include "proto/google/protobuf/duration.pb-c.h"
#include "proto/google/protobuf/empty.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/google/protobuf/timestamp.pb-c.h"
#include "proto/google/protobuf/wrappers.pb-c.h"

/* In byte order of their names. */
static const ProtobufCMessageDescriptor *const known[] = {
    &envoy__config__cluster__v3__cluster__descriptor,
    &envoy__config__core__v3__typed_extension_config__descriptor,
    &envoy__config__endpoint__v3__cluster_load_assignment__descriptor,
    &envoy__config__listener__v3__listener__descriptor,
    &envoy__config__route__v3__filter_config__descriptor,
    &envoy__config__route__v3__route_configuration__descriptor,
    &envoy__config__route__v3__scoped_route_configuration__descriptor,
    &envoy__config__route__v3__virtual_host__descriptor,
    &envoy__extensions__access_loggers__file__v3__file_access_log__descriptor,
    &envoy__extensions__access_loggers__grpc__v3__http_grpc_access_log_config__descriptor,
    &envoy__extensions__access_loggers__grpc__v3__tcp_grpc_access_log_config__descriptor,
    &envoy__extensions__access_loggers__stream__v3__stderr_access_log__descriptor,
    &envoy__extensions__access_loggers__stream__v3__stdout_access_log__descriptor,
    &envoy__extensions__filters__http__cors__v3__cors__descriptor,
    &envoy__extensions__filters__http__cors__v3__cors_policy__descriptor,
    &envoy__extensions__filters__http__header_mutation__v3__header_mutation__descriptor,
    &envoy__extensions__filters__http__header_mutation__v3__header_mutation_per_route__descriptor,
    &envoy__extensions__filters__http__router__v3__router__descriptor,
    &envoy__extensions__filters__listener__http_inspector__v3__http_inspector__descriptor,
    &envoy__extensions__filters__listener__proxy_protocol__v3__proxy_protocol__descriptor,
    &envoy__extensions__filters__listener__tls_inspector__v3__tls_inspector__descriptor,
    &envoy__extensions__filters__network__http_connection_manager__v3__http_connection_manager__descriptor,
    &envoy__extensions__filters__network__tcp_proxy__v3__tcp_proxy__descriptor,
    &envoy__extensions__load_balancing_policies__least_request__v3__least_request__descriptor,
    &envoy__extensions__load_balancing_policies__maglev__v3__maglev__descriptor,
    &envoy__extensions__load_balancing_policies__random__v3__random__descriptor,
    &envoy__extensions__load_balancing_policies__ring_hash__v3__ring_hash__descriptor,
    &envoy__extensions__load_balancing_policies__round_robin__v3__round_robin__descriptor,
    &envoy__extensions__load_balancing_policies__wrr_locality__v3__wrr_locality__descriptor,
    &envoy__extensions__transport_sockets__proxy_protocol__v3__proxy_protocol_upstream_transport__descriptor,
    &envoy__extensions__transport_sockets__quic__v3__quic_downstream_transport__descriptor,
    &envoy__extensions__transport_sockets__quic__v3__quic_upstream_transport__descriptor,
    &envoy__extensions__transport_sockets__raw_buffer__v3__raw_buffer__descriptor,
    &envoy__extensions__transport_sockets__tls__v3__downstream_tls_context__descriptor,
    &envoy__extensions__transport_sockets__tls__v3__secret__descriptor,
    &envoy__extensions__transport_sockets__tls__v3__upstream_tls_context__descriptor,
    &envoy__extensions__upstreams__http__v3__http_protocol_options__descriptor,
    &envoy__service__discovery__v3__resource__descriptor,
    &envoy__service__runtime__v3__runtime__descriptor,
    &google__protobuf__any__descriptor,
    &google__protobuf__bool_value__descriptor,
    &google__protobuf__bytes_value__descriptor,
    &google__protobuf__double_value__descriptor,
    &google__protobuf__duration__descriptor,
    &google__protobuf__empty__descriptor,
    &google__protobuf__float_value__descriptor,
    &google__protobuf__int32_value__descriptor,
    &google__protobuf__int64_value__descriptor,
    &google__protobuf__list_value__descriptor,
    &google__protobuf__string_value__descriptor,
    &google__protobuf__struct__descriptor,
    &google__protobuf__timestamp__descriptor,
    &google__protobuf__uint32_value__descriptor,
    &google__protobuf__uint64_value__descriptor,
    &google__protobuf__value__descriptor,
};

struct str xds_type_name(struct str url) {
    const char *slash = url.n ? memrchr(url.p, '/', url.n) : NULL;
    if (!slash || slash + 1 == url.p + url.n)
        return (struct str){0};
    return (struct str){slash + 1, (size_t)(url.p + url.n - slash - 1)};
}

static int compare(const void *key, const void *item) {
    const ProtobufCMessageDescriptor *const *type = item;
    return str_cmp(*(const struct str *)key, str_of((*type)->name));
}

const ProtobufCMessageDescriptor *xds_type_of_url(struct str url) {
    struct str name = xds_type_name(url);
    const ProtobufCMessageDescriptor *const *found =
        name.p ? bsearch(&name, known, sizeof known / sizeof *known, sizeof *known, compare) : NULL;
    return found ? *found : NULL;
}

const ProtobufCMessageDescriptor *const *xds_types(size_t *ret_count) {
    *ret_count = sizeof known / sizeof *known;
    return known;
}

const char *xds_type_nearest(struct str url) {
    const char *names[sizeof known / sizeof *known];
    struct str name = xds_type_name(url);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        names[i] = known[i]->name;
    return name.p ? str_nearest(name, names, sizeof names / sizeof *names) : NULL;
}
