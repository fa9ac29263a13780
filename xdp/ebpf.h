/* ebpf.h — the loaded eBPF program and its maps. xdp/libbpf/ has it; xdp/without/ where libbpf, clang or bpftool are
 * missing. */
#pragma once

#include "xdp/steering.h"

struct ebpf;

/* NULL with errno. */
struct ebpf *ebpf_load(void);
void ebpf_unload(struct ebpf *e);
/* Puts the sockets from number g->placed on into the part `g->slot` of the map, counts them there, sets the rule of
 * g->bound and attaches the program to the group. 0, or -1 with errno. */
int  ebpf_attach(struct ebpf *e, struct steering_group *g, const int *fds, unsigned count, const struct steering_rule *rule);
/* Empties that part. */
void ebpf_detach(struct ebpf *e, struct steering_group *g);
