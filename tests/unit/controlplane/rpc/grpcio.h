/* grpcio.h — servers by grpcio that tests start: programs that print their port and end with their standard input. */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct grpcio {
    pid_t    pid;           /* 0: it does not run */
    int      in;            /* closing it ends the server */
    unsigned port;
};

static inline void grpcio_stop(struct grpcio *g) {
    if (!g->pid)
        return;
    close(g->in);
    assert_int_equal(waitpid(g->pid, NULL, 0), g->pid);
    g->pid = 0;
}

/* Without a word to anybody. */
static inline void grpcio_kill(struct grpcio *g) {
    if (g->pid)
        kill(g->pid, SIGKILL);
    grpcio_stop(g);
}

/* A server has not begun to listen. That is a fault, unless there is no grpcio. */
static inline void grpcio_skip_or_fail(const char *script) {
    if (system("exec /usr/bin/python3 -c 'import grpc' 2>/dev/null") == 0)
        fail_msg("%s does not listen", script);
    print_message("skipped: /usr/bin/python3 with grpc is not installed\n");
    skip();
}

/* `arguments` are "python3", the script and what it is told, and a NULL. Returns when it listens, or the test ends. */
static inline struct grpcio grpcio_start(const char *const *arguments) {
    struct grpcio g = {0};
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
    g.pid = fork();
    if (g.pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        execv("/usr/bin/python3", (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    g.in = in[1];
    FILE *file = fdopen(out[0], "r");
    if (fscanf(file, "%u", &g.port) != 1)
        g.port = 0;
    fclose(file);
    if (g.port)
        return g;
    grpcio_stop(&g);
    grpcio_skip_or_fail(arguments[1]);
    return g;
}
