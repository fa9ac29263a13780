/* listener.h — the parts of a listener in the making. Thread: one at a time. */
#pragma once

#include "controlplane/xds/translate/making.h"
#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/tls.h"
#include "proto/envoy/config/listener/v3/listener.pb-c.h"
#include "proto/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "proto/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb-c.h"

extern const struct xds_fields xds_read_http_manager;           /* listener_http.c */
extern const struct xds_fields xds_read_http_filter;            /* http_filters.c */
extern const struct xds_fields xds_read_scoped_routes;          /* scopes.c */
extern const struct xds_fields xds_read_tcp_proxy;              /* listener_tcp.c */
extern const struct xds_fields xds_read_listen_address;         /* listen_address.c */
extern const struct xds_fields xds_read_access_log;             /* access_log.c */

/* What the listener knows when its HTTP or TCP filter is made. */
struct listener_making {
    struct making      *making;
    Headgate__Listener *to;
    const char         *name;           /* of ours */
    const char         *server_name;
    Envoy__Config__Route__V3__ScopedRouteConfiguration *const *scopes;  /* that came by themselves */
    size_t              scope_count;
    bool                has_tls;
    bool                is_quic;        /* on UDP */
    struct tls_alpn     alpn;
};

/* Those that are services become services of the listener; `at` is the filter that has them. Its tcp is made by then, where
 * it is to be. */
void listener_access_logs(struct listener_making *l, const struct xds_at *at,
                          Envoy__Config__Accesslog__V3__AccessLog *const *logs, size_t count);

/* "0.0.0.0:80", "[::]:80" or "unix:/run/x"; NULL after an error. is_udp: it has to be an address of UDP. */
char *listen_address(struct making *m, const struct xds_at *at, const Envoy__Config__Core__V3__Address *address,
                     bool is_udp);

void listener_http(struct listener_making *l, const struct xds_at *at,
                   const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager *from);
void http_filters(struct making *m, const struct xds_at *at,
                  const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__HttpConnectionManager *from);
void listener_scopes(struct listener_making *l, const struct xds_at *at,
                     const Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__ScopedRoutes *from);
void listener_tcp(struct listener_making *l, const struct xds_at *at,
                  const Envoy__Extensions__Filters__Network__TcpProxy__V3__TcpProxy *from);
/* The listener's timeouts, made when there are none; NULL without memory. */
Headgate__Timeouts *listener_timeouts(struct listener_making *l);
