/* sandbox.h — what the data plane gives up once it has what it needs: the file system but for its state folder and for
 * reading the certificates and tokens it was given, programs, binding of sockets, being looked into. Before any other
 * thread is started. */
#pragma once

/* `state_dir` is a descriptor; -1: none. `files`, up to a NULL, may be replaced while it runs: whatever lies in their
 * folders can be read, as far as the user may. What the kernel does not offer is left out and told in the log; returns 0,
 * or -1 when something failed that the kernel does offer. */
int sandbox_enter(int state_dir, const char *const *files);
