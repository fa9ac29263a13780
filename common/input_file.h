/* input_file.h — files that a user names, opened without waiting for anybody. Thread: any. */
#pragma once

#include <stdio.h>
#include <string.h>

/* The path of standard input, and its name in messages; ours, not the system's. */
#define INPUT_FILE_STDIN "<stdin>"

/* The path that somebody means on a command line: "-" is standard input. */
static inline const char *input_file_of_argument(const char *argument) {
    return strcmp(argument, "-") == 0 ? INPUT_FILE_STDIN : argument;
}

/* As fopen(path, "re"), but of regular files only, since a pipe that nobody writes into would be waited for without end.
 * What a shell has opened for us (standard input, /dev/fd/N) may be anything: "push <(envsubst <gateway.yaml)". NULL with
 * errno: EISDIR, ENXIO (a pipe, a socket, a device), or what open() says. */
FILE *input_file_open(const char *path);
/* That error for people: strerror(), but of ENXIO. Valid until the thread's next call of strerror(). */
const char *input_file_reason(int error);
