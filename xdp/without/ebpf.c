#include "xdp/ebpf.h"

#include <errno.h>
#include <stddef.h>

struct ebpf *ebpf_load(void) {
    errno = ENOSYS;
    return NULL;
}

void ebpf_unload(struct ebpf *e) {
    (void)e;
}

int ebpf_attach(struct ebpf *e, struct steering_group *g, const int *fds, unsigned count, const struct steering_rule *rule) {
    (void)e;
    (void)g;
    (void)fds;
    (void)count;
    (void)rule;
    errno = ENOSYS;
    return -1;
}

void ebpf_detach(struct ebpf *e, struct steering_group *g) {
    (void)e;
    (void)g;
}
