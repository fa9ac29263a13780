/* reference.h — names that resources refer to each other by. Thread: one at a time. */
#pragma once

#include "controlplane/config/config.h"
#include "controlplane/config/message/fill.h"

/* The names of one kind that exist, and those that cannot be known because of other faults. */
struct name_set {
    struct map   names;
    const char **list;              /* the same, for suggestions */
    size_t       count, capacity;
    bool         is_incomplete;     /* something of the kind could not be read: absence proves nothing */
};

struct names {
    struct name_set of_kind[HEADGATE__KIND__KIND_SECRET + 1];
    size_t          suggestions;    /* comparisons spent on finding near names */
};

void names_finish(struct names *names);
/* `name` is kept by reference. Returns 0, or -1 without memory. */
int  names_add(struct names *names, Headgate__Kind kind, const char *name);
/* Reports every reference of `f` that leads nowhere. */
void names_check(struct names *names, struct fill *f);
