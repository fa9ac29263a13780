/* told_ops.h — those functions of struct etcd_mirror_ops that tell no more than that they were called. */
#pragma once

#include "controlplane/etcd/mirror.h"
#include "tests/unit/common/told.h"

static inline void on_list(void *context) {
    (void)context;
    tell("list ");
}

static inline void on_removed(void *context, struct str key) {
    (void)context;
    tell("-%.*s ", STR_FMT(key));
}

static inline void on_settled(void *context) {
    (void)context;
    tell("settled ");
}

static inline void on_watching(void *context) {
    (void)context;
    tell("watching ");
}
