/* Clusters: where endpoints come from, balancing, limits, checks, protocols; and what is refused. */
#include "tests/unit/controlplane/xds/translate/translating.h"

#include <stdio.h>

#include "controlplane/xds/translate/tables.h"

static int translate(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors) {
    return xds_translate_cluster((const Envoy__Config__Cluster__V3__Cluster *)m, ret, errors);
}

/* Ours as YAML, then what is needed beside it. */
static void print(const struct xds_made *made, struct strbuf *out) {
    static const struct config_render_options options;
    struct error_list errors = {0};
    assert_int_equal(made->set.count, 2);
    assert_int_equal(config_render_one(&made->set, HEADGATE__KIND__KIND_CLUSTER, str_of(made->set.items[0].name), &options,
                                       out, &errors), 0);
    for (size_t i = 0; i < made->need_count; i++)
        strbuf_printf(out, "needs %s %s\n", made->needs[i].type, made->needs[i].name);
    error_list_finish(&errors);
}

static const struct translating cluster = {&envoy__config__cluster__v3__cluster__descriptor, translate, print};

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        char *text = translated(&cluster, argv[i]);
        puts(text);
        hg_free(text);
    }
    return 0;
}
