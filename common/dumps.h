/* dumps.h — no core files. Thread: main, at the start. */
#pragma once

/* From now on the process leaves no core file, and nobody without CAP_SYS_PTRACE looks into its memory. Under sanitizers,
 * which look into their own process at its end, it does nothing. Returns 0, or -1 with errno. */
int dumps_forbid(void);
