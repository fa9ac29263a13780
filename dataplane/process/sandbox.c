#include "dataplane/process/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sanitized.h"

/* Sanitizers look into their own process at its end, with programs that they start and files that those read.
 * What stands in their way is left out of a build with them (is_sanitized); the rest of the sandbox is as in a release. */

#if defined __x86_64__
enum { OWN_ARCHITECTURE = (int)AUDIT_ARCH_X86_64 };
#elif defined __aarch64__
enum { OWN_ARCHITECTURE = (int)AUDIT_ARCH_AARCH64 };
#else
enum { OWN_ARCHITECTURE = 0 }; /* no filter */
#endif

/* ---- files: Landlock ---- */

enum {
    EVERY_RIGHT = (1 << 13) - 1, /* of the first version: LANDLOCK_ACCESS_FS_EXECUTE to _MAKE_SYM */
    SANITIZER_RIGHTS = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
                       LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_WRITE_FILE,
    STATE_RIGHTS = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                   LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
                   LANDLOCK_ACCESS_FS_REMOVE_FILE,
};

static int allow(int rules, int folder, uint64_t rights) {
    const struct landlock_path_beneath_attr rule = {
        .allowed_access = is_sanitized ? rights & ~(uint64_t)SANITIZER_RIGHTS : rights, .parent_fd = folder};
    if (folder < 0 || rule.allowed_access == 0)
        return 0;
    return (int)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

/* The folder of `path`, where a file that replaces it will be. */
static int allow_reading_beside(int rules, const char *path) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    int fd = open(slash ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int status = allow(rules, fd, LANDLOCK_ACCESS_FS_READ_FILE);
    if (fd >= 0)
        close(fd);
    return status;
}

/* Where the name is, and where the file is that a symbolic link leads to now. */
static int allow_files(int rules, const char *const *files) {
    char real[PATH_MAX];
    int status = 0;
    for (; *files && status == 0; files++) {
        status = allow_reading_beside(rules, *files);
        if (status == 0 && realpath(*files, real))
            status = allow_reading_beside(rules, real);
    }
    return status;
}

static int restrict_files(int state_dir, const char *const *files) {
    const struct landlock_ruleset_attr attributes = {
        .handled_access_fs = is_sanitized ? EVERY_RIGHT & ~SANITIZER_RIGHTS : EVERY_RIGHT};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (rules < 0) {
        log_warning("the kernel has no Landlock: files are not restricted", LOG_S("error", strerror(errno)));
        return 0;
    }
    int status = allow(rules, state_dir, STATE_RIGHTS);
    if (status == 0)
        status = allow_files(rules, files);
    if (status == 0)
        status = (int)syscall(SYS_landlock_restrict_self, rules, 0);
    close(rules);
    return status;
}

/* ---- system calls: a seccomp filter ---- */

/* What a data plane has no use for, and a captured one would have. The rest is bounded by its user, Landlock,
 * and the descriptors that it was given. */
static const int denied[] = {
    SYS_bind,           SYS_listen,      SYS_mount,        SYS_umount2, SYS_pivot_root,
    SYS_chroot,         SYS_setns,       SYS_unshare,      SYS_bpf,     SYS_perf_event_open,
    SYS_kexec_load,     SYS_init_module, SYS_finit_module, SYS_add_key, SYS_request_key,
    SYS_keyctl,         SYS_userfaultfd, SYS_personality,  SYS_kcmp,    SYS_open_by_handle_at,
    SYS_io_uring_setup,
};
static const int denied_unless_sanitized[] = {
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
#ifdef SYS_fork /* later architectures have clone alone: deny_processes */
    SYS_fork, SYS_vfork,
#endif
};

enum {
    X32_CALLS = 0x40000000, /* the same calls under other numbers, on x86-64 */
    DENIED_COUNT = sizeof denied / sizeof *denied,
    DENIED_UNLESS_COUNT = sizeof denied_unless_sanitized / sizeof *denied_unless_sanitized,
    FILTER_MAX = 2 * (DENIED_COUNT + DENIED_UNLESS_COUNT) + 24,
};

struct program {
    struct sock_filter code[FILTER_MAX];
    unsigned short     count;
};

static void add(struct program *p, struct sock_filter instruction) {
    p->code[p->count++] = instruction;
}

static void load(struct program *p, size_t offset) {
    add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void answer(struct program *p, uint32_t action) {
    add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Answers with `action` when what was loaded is `value`. */
static void answer_if(struct program *p, uint32_t value, uint32_t action) {
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
    answer(p, action);
}

/* Threads may be made, processes not. The flags of clone3 lie in memory where a filter cannot look: the C
 * library does without it where it is not there. */
static void deny_processes(struct program *p) {
    answer_if(p, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3));
    load(p, offsetof(struct seccomp_data, args[0]));
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0));
    answer(p, SECCOMP_RET_ERRNO | EPERM);
}

static int restrict_calls(void) {
    struct program p = {.count = 0};
    load(&p, offsetof(struct seccomp_data, arch));
    add(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)OWN_ARCHITECTURE, 1, 0));
    answer(&p, SECCOMP_RET_KILL_PROCESS);
    load(&p, offsetof(struct seccomp_data, nr));
    add(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_CALLS, 0, 1));
    answer(&p, SECCOMP_RET_ERRNO | EPERM);
    for (size_t i = 0; i < DENIED_COUNT; i++)
        answer_if(&p, (uint32_t)denied[i], SECCOMP_RET_ERRNO | EPERM);
    for (size_t i = 0; !is_sanitized && i < DENIED_UNLESS_COUNT; i++)
        answer_if(&p, (uint32_t)denied_unless_sanitized[i], SECCOMP_RET_ERRNO | EPERM);
    if (!is_sanitized)
        deny_processes(&p);
    answer(&p, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {.len = p.count, .filter = p.code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

/* ---- all of it ---- */

int sandbox_enter(int state_dir, const char *const *files) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || restrict_files(state_dir, files) < 0)
        return -1;
    if (!is_sanitized && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return -1;
    return OWN_ARCHITECTURE ? restrict_calls() : 0;
}
