/* reply.h — parts of the admin service's replies, built in an arena that outlives them.
 *
 * When memory runs out a list is shorter than it should be: an outcome is told even when not all of its details can be.
 * Thread: one at a time. */
#pragma once

#include "controlplane/channel/channel.h"
#include "controlplane/config/config.h"
#include "proto/admin.pb-c.h"

enum {
    REPLY_CHANGES_MAX = 10000,          /* resources that are listed as changed */
    REPLY_FIELDS_MAX = 1000,            /* changed fields of one resource that are listed */
};

struct problem_list {
    Headgate__Problem **items;
    size_t count, capacity;             /* of the pointer array, which is in the arena */
};

void reply_add_problems(struct arena *arena, struct problem_list *list, const struct error_list *errors,
                        bool is_warning);
/* One problem about a data plane or the control plane itself; all texts are copied, path may be NULL. */
void reply_add_problem(struct arena *arena, struct problem_list *list, enum error_code code, const char *resource,
                       const char *path, const char *message);

/* What a data plane found, as a problem with the resource and path that it names. */
void reply_add_reason(struct arena *arena, struct problem_list *list, const char *node, const Headgate__Reason *reason);

/* A problem of another reply, which outlives this one. */
void reply_copy_problem(struct arena *arena, struct problem_list *list, const Headgate__Problem *problem);

/* The differences from a to b, by resource and field: at most so many as above. Returns how many resources differ. */
size_t reply_changes(struct arena *arena, const struct config_resources *a, const struct config_resources *b,
                     Headgate__Change ***ret, size_t *ret_count);

void reply_data_planes(struct arena *arena, const struct push_result *result, Headgate__DataPlaneResult ***ret,
                       size_t *ret_count);
