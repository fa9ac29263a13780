#include "dataplane/holder/identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

int identity_find(const char *user, struct identity *ret) {
    if (geteuid() != 0) {
        *ret = (struct identity){.uid = geteuid(), .gid = getegid()};
        return 0;
    }
    const struct passwd *entry = getpwnam(user ? user : "headgate");
    if (!entry && !user)
        entry = getpwnam("nobody");
    if (!entry || entry->pw_uid == 0)
        return -1;
    *ret = (struct identity){.changes = true, .uid = entry->pw_uid, .gid = entry->pw_gid};
    return 0;
}

/* Without CAP_SETPCAP the bounding set stays; no_new_privs makes it unreachable. */
static int drop_bounding_set(void) {
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability) < 0 && errno != EPERM)
            return -1;
    return 0;
}

int identity_drop_privileges(const struct identity *who, pid_t parent) {
    if (drop_bounding_set() < 0 || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -1;
    if (who->changes && (setgroups(0, NULL) < 0 || setresgid(who->gid, who->gid, who->gid) < 0 ||
                         setresuid(who->uid, who->uid, who->uid) < 0))
        return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
        return -1;
    if (getppid() != parent) { /* it died before PDEATHSIG was set */
        errno = ESRCH;
        return -1;
    }
    return 0;
}

/* The signal that tells of our parent's death: the kernel forgets it with every change of a user id. */
static int death_signal;

void identity_enter_files(const struct identity *who) {
    if (!who->changes)
        return;
    prctl(PR_GET_PDEATHSIG, &death_signal);
    setfsgid(who->gid);
    setfsuid(who->uid); /* also takes the file capabilities out of the effective set */
}

void identity_leave_files(const struct identity *who) {
    if (!who->changes)
        return;
    setfsuid(geteuid());
    setfsgid(getegid());
    prctl(PR_SET_PDEATHSIG, death_signal);
}
