#include "xdp/ebpf.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/alloc.h"
#include "xdp/bpf/steer.h"
#include "xdp/steer.skel.h"

_Static_assert((int)STEER_GROUPS == STEERING_GROUPS_MAX && (int)STEER_SOCKETS == STEERING_SOCKETS_MAX, "one part a group");

struct ebpf {
    struct bpf_object *object;
    int                groups, sockets, program; /* descriptors, the object's */
};

/* Why it cannot be loaded, the caller says. */
static int say_nothing(enum libbpf_print_level level, const char *format, va_list arguments) {
    (void)level;
    (void)format;
    (void)arguments;
    return 0;
}

/* 0, or -1 with errno. */
static int open_and_load(struct ebpf *e) {
    size_t n;
    const void *elf = steer__elf_bytes(&n);
    e->object = bpf_object__open_mem(elf, n, NULL);
    if (!e->object || bpf_object__load(e->object) < 0)
        return -1;
    e->groups = bpf_object__find_map_fd_by_name(e->object, "groups");
    e->sockets = bpf_object__find_map_fd_by_name(e->object, "sockets");
    e->program = bpf_program__fd(bpf_object__find_program_by_name(e->object, "steer"));
    return 0;
}

struct ebpf *ebpf_load(void) {
    struct ebpf *e = hg_calloc(1, sizeof *e);
    if (!e) {
        errno = ENOMEM;
        return NULL;
    }
    libbpf_set_print(say_nothing);
    if (open_and_load(e) == 0)
        return e;
    int error = errno;
    ebpf_unload(e);
    errno = error;
    return NULL;
}

void ebpf_unload(struct ebpf *e) {
    bpf_object__close(e->object);
    hg_free(e);
}

static struct steer_key key_of(const struct address *bound) {
    struct steer_key key = {.family = bound->u.any.sa_family, .port = address_port(bound)};
    if (key.family == AF_INET)
        key.ip[0] = bound->u.v4.sin_addr.s_addr;
    else
        memcpy(key.ip, &bound->u.v6.sin6_addr, sizeof key.ip);
    return key;
}

static uint32_t first_of(const struct steering_group *g) {
    return (uint32_t)g->slot * STEER_SOCKETS;
}

static int place(struct ebpf *e, struct steering_group *g, const int *fds, unsigned count) {
    for (; g->placed < count; g->placed++) {
        uint32_t index = first_of(g) + g->placed;
        uint64_t fd = (uint64_t)fds[g->placed];
        if (bpf_map_update_elem(e->sockets, &index, &fd, BPF_ANY) < 0)
            return -1;
    }
    return 0;
}

int ebpf_attach(struct ebpf *e, struct steering_group *g, const int *fds, unsigned count, const struct steering_rule *rule) {
    struct steer_key key = key_of(&g->bound);
    struct steer_group value = {.first = first_of(g), .count = count, .hash_key = {rule->key[0], rule->key[1]},
                                .id_length = rule->id_length, .tag = steer_tag(rule->generation)};
    if (place(e, g, fds, count) < 0 || bpf_map_update_elem(e->groups, &key, &value, BPF_ANY) < 0)
        return -1;
    return setsockopt(fds[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &e->program, sizeof e->program);
}

void ebpf_detach(struct ebpf *e, struct steering_group *g) {
    struct steer_key key = key_of(&g->bound);
    bpf_map_delete_elem(e->groups, &key);
    while (g->placed) {
        uint32_t index = first_of(g) + --g->placed;
        bpf_map_delete_elem(e->sockets, &index);
    }
}
