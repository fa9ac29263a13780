/* intent_internal.h — what intent.c and intent_make.c share. */
#pragma once

#include "controlplane/etcd/intent.h"

/* One key with its value; both stand behind it. */
struct etcd_entry {
    struct str         key, value;
    int64_t            modified;
    uint64_t           round;
    struct etcd_entry *next, **place;
};
