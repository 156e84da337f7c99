/* SPDX-License-Identifier: MIT */
/*
 * What the two ways of starting in Dune mode have in common: loaded by the dynamic linker (preload.c), or
 * as a loader (load.c).
 */
#ifndef RUN_PRELOAD_H
#define RUN_PRELOAD_H

#pragma GCC visibility push(hidden)

bool preload_starts_with(const char *text, const char *start);
/* Take this object out of LD_PRELOAD in @envp; exec() puts it back. */
void preload_clean_environment(char **envp);
/* Enter Dune mode, or end the process with a message. */
void preload_enter(void);

#pragma GCC visibility pop

#endif /* RUN_PRELOAD_H */
