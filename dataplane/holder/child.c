#include "dataplane/holder/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/holder/protocol.h"

unsigned restart_backoff_next(struct restart_backoff *backoff, uint64_t ran_ms) {
    if (ran_ms >= RESTART_STABLE_MS)
        backoff->crashes = 0;
    unsigned earlier = backoff->crashes++;
    if (earlier == 0)
        return 0;
    unsigned delay = RESTART_DELAY_FIRST_MS;
    for (unsigned i = 1; i < earlier && delay < RESTART_DELAY_MAX_MS; i++)
        delay *= 2;
    return delay < RESTART_DELAY_MAX_MS ? delay : RESTART_DELAY_MAX_MS;
}

static void make_arguments(const struct holder_options *options,
                           const char *argv[2 * PASSED_OPTIONS_MAX + 2]) {
    size_t count = 0;
    argv[count++] = "headgate-dataplane";
    for (size_t i = 0; options->passed[i]; i++)
        argv[count++] = options->passed[i];
    argv[count] = NULL;
}

/* Moves the socket to its number; nothing else of ours gets through. `*program` moves out of the way. */
static int place_channel(int channel, int *program) {
    if (*program == HOLDER_DESCRIPTOR)
        *program = fcntl(*program, F_DUPFD_CLOEXEC, HOLDER_DESCRIPTOR + 1);
    if (*program < 0 ||
        (channel == HOLDER_DESCRIPTOR ? fcntl(channel, F_SETFD, 0) : dup2(channel, HOLDER_DESCRIPTOR)) < 0)
        return -1;
    return close_range(HOLDER_DESCRIPTOR + 1, ~0u, CLOSE_RANGE_CLOEXEC);
}

static void reset_signals(void) {
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In a process group of its own, so that Ctrl-C reaches it through us, and once. */
static _Noreturn void become_data_plane(const struct holder_options *options, const struct identity *who,
                                        pid_t parent, int channel, int program) {
    const char *argv[2 * PASSED_OPTIONS_MAX + 2];
    make_arguments(options, argv);
    setpgid(0, 0);
    if (place_channel(channel, &program) == 0 && identity_drop_privileges(who, parent) == 0) {
        reset_signals();
        execveat(program, "", (char *const *)argv, environ, AT_EMPTY_PATH);
    }
    dprintf(STDERR_FILENO, "headgate-holder: cannot run %s: %s\n", options->dataplane, strerror(errno));
    _exit(127);
}

static pid_t start(const struct holder_options *options, const struct identity *who, int program,
                   int *ret_channel) {
    int pair[2];
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        become_data_plane(options, who, parent, pair[1], program);
    int error = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        errno = error;
        return -1;
    }
    *ret_channel = pair[0];
    return pid;
}

pid_t child_start(const struct holder_options *options, const struct identity *who, int *ret_channel) {
    /* Opened with our rights, so that the program may stand where its user cannot look. */
    int program = open(options->dataplane, O_PATH | O_CLOEXEC);
    if (program < 0)
        return -1;
    pid_t pid = start(options, who, program, ret_channel);
    int error = errno;
    close(program);
    errno = error;
    return pid;
}
