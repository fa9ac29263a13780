/* steering.h — programs in the kernel that give a datagram to the worker which its connection ID names.
 *
 * The sockets of one address form a group (SO_REUSEPORT); without a program the kernel chooses among them by a hash of
 * addresses and ports, so a client whose address changes comes to another worker. A program reads the connection ID that we
 * issued (dataplane/quic/ids.h), takes the mask off, and names the socket of the same index as the worker. What is not an
 * ID of ours, of the present generation, is left to the hash.
 *
 * Three forms: an eBPF program, loaded once, with maps for all groups; a classic BPF program made for each group, which
 * needs no privilege; the hash alone. Thread: one at a time. */
#pragma once

#include <stdint.h>

#include "common/address.h"

enum steering_form { STEERING_HASH, STEERING_CLASSIC, STEERING_EBPF };

enum { STEERING_GROUPS_MAX = 256, STEERING_SOCKETS_MAX = 128, STEERING_NO_SLOT = -1 };

/* How IDs are read. */
struct steering_rule {
    uint32_t key[2];            /* of the mask */
    uint8_t  generation;
    uint8_t  id_length;         /* octets, 12 to 20; 0: nothing is steered */
};

/* The program of one address, embedded with its sockets. */
struct steering_group {
    enum steering_form form;
    int                slot;    /* of the eBPF program's maps; STEERING_NO_SLOT */
    unsigned           placed;  /* so many of the sockets are in them */
    struct address     bound;
};

struct steering;

/* Loads the eBPF program, which takes CAP_BPF; none is needed afterwards, where the kernel is 5.19 or newer. NULL: it
 * cannot be loaded, *ret_error is an errno (ENOSYS: this program was built without it). */
struct steering *steering_load(int *ret_error);
void steering_unload(struct steering *s);

void steering_group_init(struct steering_group *g);
/* Attaches the best form up to `most` to the sockets, all bound to `bound`, in the order of the group. Called again after
 * sockets were added, or with another rule. `s` may be NULL. Returns the form in force: g->form. */
enum steering_form steering_apply(struct steering *s, struct steering_group *g, enum steering_form most,
                                  const struct address *bound, const int *fds, unsigned count,
                                  const struct steering_rule *rule);
/* The sockets are about to be closed. */
void steering_forget(struct steering *s, struct steering_group *g);
