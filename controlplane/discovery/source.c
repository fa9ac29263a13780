#include "controlplane/discovery/source.h"

const struct source_kind *const source_kinds[SOURCE_KINDS] = {&source_file, &source_dns, &source_xds, &source_kubernetes,
                                                             &source_etcd};

const struct source_kind *source_kind_of(const Headgate__Discovery *m) {
    switch (m ? m->kind_case : HEADGATE__DISCOVERY__KIND__NOT_SET) {
    case HEADGATE__DISCOVERY__KIND_FILE: return &source_file;
    case HEADGATE__DISCOVERY__KIND_DNS: return &source_dns;
    case HEADGATE__DISCOVERY__KIND_XDS: return &source_xds;
    case HEADGATE__DISCOVERY__KIND_KUBERNETES: return &source_kubernetes;
    case HEADGATE__DISCOVERY__KIND_ETCD: return &source_etcd;
    default: return NULL;
    }
}

size_t source_kind_index(const struct source_kind *kind) {
    size_t i = 0;
    while (source_kinds[i] != kind)
        i++;
    return i;
}
