/* folders.h — the folders that all programs agree on, and making them. Thread: any, while nobody sets the environment. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* $HEADGATE_STATE_DIR and $HEADGATE_RUNTIME_DIR; otherwise /var/lib/headgate and /run/headgate, or for a user who is not
 * root ~/.local/state/headgate (below $XDG_STATE_HOME when it is set) and $XDG_RUNTIME_DIR/headgate. Both write at most
 * `size` bytes; -1: too long. */
int default_state_dir(char *text, size_t size);
int default_runtime_dir(char *text, size_t size);

/* Makes the folder, and those above it with mode 0755. One that is there already is fine. Returns 0, or -1 with errno. */
int folder_make(const char *path, mode_t mode);

/* Takes the folder: until the descriptor that is returned is closed, nobody else gets it from this function. The descriptor
 * is the caller's, and does not pass to programs that are run. -1 with errno: EWOULDBLOCK when it is taken. */
int folder_claim(const char *path);
