#include "dataplane/holder/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/folders.h"
#include "common/log.h"
#include "dataplane/holder/child.h"
#include "dataplane/holder/privileges.h"
#include "dataplane/holder/requests.h"

enum { OWN_DESCRIPTORS = 64, EXIT_USAGE = 2, DESCRIPTORS_WANTED = 1 << 20 };

struct holder {
    const struct holder_options *options;
    struct identity        identity;
    struct requests        requests;
    struct restart_backoff backoff;
    int                    signals;      /* signalfd */
    int                    channel;      /* our end; -1: none */
    pid_t                  child;        /* 0: none */
    uint64_t               started_us;   /* monotonic */
    uint64_t               start_at_us;  /* when there is no child: time of the next start */
    bool                   is_stopping;
    bool                   has_ended;
    int                    exit_code;
};

/* ---- set-up ---- */

static unsigned raise_open_files(void) {
    struct rlimit limit = {DESCRIPTORS_WANTED, DESCRIPTORS_WANTED};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > DESCRIPTORS_WANTED ? DESCRIPTORS_WANTED : (unsigned)limit.rlim_cur;
}

static int open_signals(void) {
    static const int wanted[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        sigaddset(&set, wanted[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -1;
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* STATE_DIR/dataplane, owned by the data plane's user. */
static int open_state_dir(const struct holder_options *options, const struct identity *who) {
    if (folder_make(options->state_dir, 0755) < 0)
        return -1;
    int parent = open(options->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return -1;
    int dir = mkdirat(parent, "dataplane", 0700) < 0 && errno != EEXIST
                  ? -1
                  : openat(parent, "dataplane", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    close(parent);
    if (dir >= 0 && who->changes && fchown(dir, who->uid, who->gid) < 0) {
        close(dir);
        return -1;
    }
    return dir;
}

static int fail(const char *what, const char *value) {
    log_error(what, LOG_S("value", value), LOG_S("error", strerror(errno)));
    return -1;
}

/* What needs a privilege that is given up next, and the key of connection IDs. */
static int set_up_udp(struct held_udp *udp, enum steering_form most) {
    int error;
    udp->most = most;
    if (getrandom(udp->key, sizeof udp->key, 0) != (ssize_t)sizeof udp->key)
        return fail("there is no randomness", "");
    if (most < STEERING_EBPF)
        return 0;
    udp->programs = steering_load(&error);
    if (!udp->programs)
        log_info("datagrams are steered by classic BPF: eBPF cannot be used", LOG_S("reason", strerror(error)));
    return 0;
}

static int set_up(struct holder *h) {
    const struct holder_options *o = h->options;
    unsigned descriptors = raise_open_files();
    h->requests.sockets.sockets_max = descriptors > OWN_DESCRIPTORS ? descriptors - OWN_DESCRIPTORS : 0;
    h->requests.control_plane.name = o->control_plane;
    if (access(o->dataplane, X_OK) < 0)
        return fail("the data plane's program cannot be run", o->dataplane);
    if (identity_find(o->user, &h->identity) < 0) {
        log_error("no such user, or it is root", LOG_S("user", o->user ? o->user : "nobody"));
        return -1;
    }
    h->requests.sockets.files = h->identity;
    h->requests.control_plane.identity = h->identity;
    h->requests.state_dir = open_state_dir(o, &h->identity);
    if (h->requests.state_dir < 0)
        return fail("the state folder cannot be used", o->state_dir);
    if (set_up_udp(&h->requests.sockets.udp, o->steering) < 0)
        return -1;
    if ((h->identity.changes && setgroups(0, NULL) < 0) || privileges_reduce() < 0)
        return fail("privileges cannot be given up", "");
    h->signals = open_signals();
    return h->signals < 0 ? fail("signals cannot be read", "") : 0;
}

/* ---- the child ---- */

static void close_channel(struct holder *h) {
    if (h->channel >= 0)
        close(h->channel);
    h->channel = -1;
    requests_reset(&h->requests);
}

/* Returns the milliseconds until then. */
static unsigned schedule_start(struct holder *h) {
    uint64_t now = clock_monotonic_us();
    unsigned delay_ms = restart_backoff_next(&h->backoff, (now - h->started_us) / 1000);
    h->start_at_us = now + (uint64_t)delay_ms * 1000;
    return delay_ms;
}

static void start_child(struct holder *h) {
    requests_begin(&h->requests);
    h->started_us = clock_monotonic_us();
    pid_t pid = child_start(h->options, &h->identity, &h->channel);
    if (pid > 0) {
        h->child = pid;
        log_info("data plane started", LOG_I("pid", pid));
        return;
    }
    log_error("the data plane cannot be started", LOG_S("error", strerror(errno)));
    schedule_start(h);
}

static void end(struct holder *h, int exit_code) {
    h->has_ended = true;
    h->exit_code = exit_code;
}

static void child_ended(struct holder *h, int status) {
    close_channel(h);
    h->child = 0;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (h->is_stopping || code == EXIT_SUCCESS || code == EXIT_USAGE) {
        log_info("data plane ended", LOG_I("exit", code));
        end(h, code < 0 ? EXIT_FAILURE : code);
        return;
    }
    unsigned delay_ms = schedule_start(h);
    log_error("data plane died; it is started again", LOG_I("exit", code),
              LOG_I("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0), LOG_U("after_ms", delay_ms));
}

static void collect_children(struct holder *h) {
    int status;
    resolver_reap(&h->requests.control_plane);
    if (h->child && waitpid(h->child, &status, WNOHANG) == h->child)
        child_ended(h, status);
}

/* ---- signals ---- */

static void stop(struct holder *h) {
    h->is_stopping = true;
    if (h->child)
        kill(h->child, SIGTERM);
    else
        end(h, EXIT_SUCCESS);
}

static void handle_signal(struct holder *h, int number) {
    if (number == SIGCHLD)
        collect_children(h);
    else if (number == SIGTERM || number == SIGINT)
        stop(h);
    else if (h->child)
        kill(h->child, number);
}

static void read_signals(struct holder *h) {
    struct signalfd_siginfo signal_info;
    while (!h->has_ended && read(h->signals, &signal_info, sizeof signal_info) == (ssize_t)sizeof signal_info)
        handle_signal(h, (int)signal_info.ssi_signo);
}

/* ---- the loop ---- */

/* For poll: milliseconds until the next start, rounded up. */
static int time_to_start(const struct holder *h) {
    if (h->child)
        return -1;
    uint64_t now = clock_monotonic_us();
    return h->start_at_us <= now ? 0 : (int)((h->start_at_us - now + 999) / 1000);
}

static void turn(struct holder *h) {
    short wanted = h->requests.has_reply ? POLLOUT : POLLIN;
    struct pollfd watched[] = {{.fd = h->signals, .events = POLLIN},
                               {.fd = h->channel, .events = wanted},
                               {.fd = resolver_fd(&h->requests.control_plane), .events = POLLIN}};
    if (poll(watched, 3, time_to_start(h)) < 0)
        return;
    if (watched[2].revents)
        resolver_collect(&h->requests.control_plane);
    if (watched[0].revents)
        read_signals(h);
    if (watched[1].revents && h->channel == watched[1].fd && requests_serve(&h->requests, h->channel) < 0)
        close_channel(h);
    if (!h->has_ended && !h->child && time_to_start(h) == 0)
        start_child(h);
}

int holder_run(const struct holder_options *options) {
    struct holder h = {.options = options,
                       .signals = -1,
                       .channel = -1,
                       .requests.state_dir = -1,
                       .exit_code = EXIT_FAILURE};
    if (set_up(&h) == 0) {
        start_child(&h);
        while (!h.has_ended)
            turn(&h);
    }
    close_channel(&h);
    requests_finish(&h.requests);
    steering_unload(h.requests.sockets.udp.programs);
    if (h.signals >= 0)
        close(h.signals);
    return h.exit_code;
}
