/* classic.h — steering in classic BPF: no privilege, no maps, straight on. Made anew for each group and generation. */
#pragma once

#include <linux/filter.h>

#include "xdp/steering.h"

enum { CLASSIC_MAX = 1024 };

struct classic_program {
    struct sock_filter code[CLASSIC_MAX];
    unsigned short     count;
};

/* A program whose result is the index of a socket below `sockets`, or a number beyond for "by the hash". */
void classic_build(struct classic_program *p, const struct steering_rule *rule, unsigned sockets);
/* 0, or -1 with errno. */
int  classic_attach(int fd, const struct steering_rule *rule, unsigned sockets);
