/* privileges.h — what the holder gives up when it has loaded what takes a privilege. Thread: main. */
#pragma once

/* Keeps of the capabilities that there are those which the holder goes on to need: ports below 1024, the data plane's user,
 * signals to it, the paths that it is given. The others go for good, for programs that are run, too. 0, or -1 with errno.
 * */
int privileges_reduce(void);
