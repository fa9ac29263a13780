#include "controlplane/discovery/source.h"

const struct source_kind *source_kind_of(const Headgate__Discovery *m) {
    switch (m ? m->kind_case : HEADGATE__DISCOVERY__KIND__NOT_SET) {
    case HEADGATE__DISCOVERY__KIND_FILE: return &source_file;
    case HEADGATE__DISCOVERY__KIND_DNS: return &source_dns;
    default: return NULL;
    }
}
