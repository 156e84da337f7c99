/* SPDX-License-Identifier: MIT */
#ifndef RUN_REMOTE_H
#define RUN_REMOTE_H

/*
 * Run @path, or the @loader (__dune_launch_exec()), with @argv in a process of its own, for gdb at a TCP port of this
 * machine; @file is the ELF file with its symbols.  Ends as the program does.
 */
void remote_run(int port, const char *path, int loader, const char *file, char **argv) __attribute__((noreturn));

#endif /* RUN_REMOTE_H */
