#include "xdp/steering.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/alloc.h"
#include "xdp/classic.h"
#include "xdp/ebpf.h"

struct steering {
    struct ebpf *ebpf;
    bool         is_taken[STEERING_GROUPS_MAX]; /* parts of the maps */
};

struct steering *steering_load(int *ret_error) {
    struct steering *s = hg_calloc(1, sizeof *s);
    if (!s) {
        *ret_error = ENOMEM;
        return NULL;
    }
    s->ebpf = ebpf_load();
    if (s->ebpf)
        return s;
    *ret_error = errno;
    hg_free(s);
    return NULL;
}

void steering_unload(struct steering *s) {
    if (!s)
        return;
    ebpf_unload(s->ebpf);
    hg_free(s);
}

void steering_group_init(struct steering_group *g) {
    *g = (struct steering_group){.form = STEERING_HASH, .slot = STEERING_NO_SLOT};
}

static bool take_slot(struct steering *s, struct steering_group *g) {
    for (int i = 0; g->slot == STEERING_NO_SLOT && i < STEERING_GROUPS_MAX; i++)
        if (!s->is_taken[i]) {
            s->is_taken[i] = true;
            g->slot = i;
        }
    return g->slot != STEERING_NO_SLOT;
}

void steering_forget(struct steering *s, struct steering_group *g) {
    if (g->slot != STEERING_NO_SLOT) {
        ebpf_detach(s->ebpf, g);
        s->is_taken[g->slot] = false;
    }
    steering_group_init(g);
}

static enum steering_form attach(struct steering *s, struct steering_group *g, enum steering_form most, const int *fds,
                                 unsigned count, const struct steering_rule *rule) {
    if (s && most >= STEERING_EBPF && count <= STEERING_SOCKETS_MAX && take_slot(s, g) &&
        ebpf_attach(s->ebpf, g, fds, count, rule) == 0)
        return STEERING_EBPF;
    if (most >= STEERING_CLASSIC && classic_attach(fds[0], rule, count) == 0)
        return STEERING_CLASSIC;
    return STEERING_HASH;
}

enum steering_form steering_apply(struct steering *s, struct steering_group *g, enum steering_form most,
                                  const struct address *bound, const int *fds, unsigned count,
                                  const struct steering_rule *rule) {
    enum steering_form before = g->form;
    g->bound = *bound;
    /* Where there is one socket there is nothing to choose, nor a group to attach to. */
    g->form = rule->id_length && count > 1 ? attach(s, g, most, fds, count, rule) : STEERING_HASH;
    if (g->form == STEERING_HASH && before != STEERING_HASH)
        setsockopt(fds[0], SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &(int){0}, sizeof(int));
    return g->form;
}
