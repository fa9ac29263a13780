#include "dataplane/holder/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int kept[] = {
    CAP_NET_BIND_SERVICE, CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_KILL, CAP_CHOWN, CAP_FOWNER, CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
};

static bool is_kept(int capability) {
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (kept[i] == capability)
            return true;
    return false;
}

/* Without CAP_SETPCAP the bounding set stays as it is. */
static int reduce_bounding_set(void) {
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
        if (!is_kept(capability) && prctl(PR_CAPBSET_DROP, capability) < 0 && errno != EPERM)
            return -1;
    return 0;
}

int privileges_reduce(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3], wanted[_LINUX_CAPABILITY_U32S_3] = {0};
    if (reduce_bounding_set() < 0 || syscall(SYS_capget, &header, sets) < 0)
        return -1;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        wanted[CAP_TO_INDEX(kept[i])].permitted |= CAP_TO_MASK(kept[i]);
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        wanted[i].permitted &= sets[i].permitted;
        wanted[i].effective = wanted[i].permitted & sets[i].effective;
    }
    return (int)syscall(SYS_capset, &header, wanted);
}
