/* SPDX-License-Identifier: MIT */
/* What the module under test leaves behind, by what a debug kernel keeps of each allocation. */
#ifndef TESTBED_LEAKS_H
#define TESTBED_LEAKS_H

/* Before the module is loaded: what was allocated until then is not its. */
void leaks_begin(void);

/* Before the module is unloaded: where it is, and its functions. Nothing without a debug kernel or a module. */
void leaks_note_module(const char *module);

/*
 * When it is gone: a line for each frame of each allocation of its that is still there. That takes half a minute. And
 * one where something that should have looked for mistakes was off.
 */
void leaks_report(void (*print)(const char *line));

#endif
