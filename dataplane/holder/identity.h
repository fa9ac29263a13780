/* identity.h — who the data plane runs as, and giving up everything else. Thread: main. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct identity {
    bool  changes;      /* false: not started as root, the data plane runs as the same user */
    uid_t uid;
    gid_t gid;
};

/* `user` NULL: "headgate" if it exists, otherwise "nobody". Returns 0, or -1 when there is no such user or
 * it is root. */
int identity_find(const char *user, struct identity *ret);

/* In the child, before exec: the user, no supplementary groups, no capabilities now or later, no new
 * privileges, and TERM when the parent dies. Returns 0, or -1 with errno: then the child must not go on.
 * Async-signal-safe. */
int identity_drop_privileges(const struct identity *who, pid_t parent);

/* From here to _leave, file names are looked up with the rights of `who` and of our supplementary groups: there must be
 * none when `who` is another user. */
void identity_enter_files(const struct identity *who);
void identity_leave_files(const struct identity *who);
