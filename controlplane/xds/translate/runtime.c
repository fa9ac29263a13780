/* Layers of runtime values (RTDS): held and told, and read by nobody. */
#include "controlplane/xds/translate/making.h"
#include "controlplane/xds/translate/tables.h"

const struct xds_fields xds_read_runtime = XDS_TABLE(envoy__service__runtime__v3__runtime,
    XDS_READ("name"),
    XDS_NOTE("layer", "any values, which are held, and told by client status. No key has a meaning here: where a "
                      "field names a `runtime_key`, its default holds"));

int xds_translate_runtime(const Envoy__Service__Runtime__V3__Runtime *m, struct xds_made *ret, struct error_list *errors) {
    struct making making;
    making_begin(&making, &xds_read_runtime, &m->base, "runtime", m->name, ret, errors);
    return making_end(&making);
}
