/* SPDX-License-Identifier: MIT */
/*
 * A program in Dune mode under ptrace: its threads, registers, memory and breakpoints, as its debugger sees them: those
 * of the guest.
 */
#ifndef RUN_TRACEE_H
#define RUN_TRACEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "launch/launch.h"

enum thread_state {
	THREAD_RUNNING,
	THREAD_QUIET,		/* stopped by us, and for nothing else */
	THREAD_SIGNAL,		/* a signal has come for it */
	THREAD_EXCEPTION,	/* libdune asks what to do with an exception of the guest */
};

struct thread {
	struct thread *next;
	pid_t tid;
	enum thread_state state;
	bool unreported;	/* the debugger does not know yet that it has stopped */
	bool wanted;		/* the debugger has let it go on, and waits for it to stop */
	bool stepping;
	bool fresh;		/* has not stopped yet */
	int signo;		/* of THREAD_SIGNAL and THREAD_EXCEPTION; 0: it goes on without */
	int expected;		/* a signal that the debugger has let through already, or 0 */
};

enum event_kind { EVENT_STOP, EVENT_INTERRUPT, EVENT_HANGUP, EVENT_EXIT, EVENT_DEATH, EVENT_EXEC };

struct event {
	enum event_kind kind;
	struct thread *thread;	/* EVENT_STOP */
	int value;		/* the signal, or exit status */
};

struct registers {
	struct debug_regs guest;
	struct user_regs_struct host;	/* of which FS and GS base are the guest's */
	struct user_fpregs_struct vector;
	uint64_t at;		/* where the guest's are; 0: the thread is not in Dune mode, guest is host's */
	bool complete;		/* guest can be changed */
};

/* Start @path in a process of its own, and have it stop in Dune mode.  Returns false if it ended before: @end. */
bool tracee_start(const char *path, int loader, char **argv, struct event *end);

pid_t tracee_pid(void);
struct thread *tracee_threads(void);
struct thread *tracee_thread(pid_t tid);

/* Let a thread go on, with a signal or 0, for one instruction or until something happens. */
void tracee_resume(struct thread *t, int signo, bool step);
/*
 * Until there is an event, or the debugger at @fd interrupts or hangs up; then all threads are stopped, but for
 * EVENT_EXIT and EVENT_DEATH.
 */
void tracee_wait(int fd, struct event *event);
/* These do not come to the debugger: signal N is bit N - 1. */
void tracee_pass_signals(uint64_t mask);

bool tracee_get(const struct thread *t, struct registers *r);
bool tracee_set(const struct thread *t, const struct registers *r);

/* Returns how much was read: what is behind breakpoints.  Writing is all or nothing. */
size_t tracee_read(uint64_t address, void *to, size_t size);
bool tracee_write(uint64_t address, const void *from, size_t size);
bool tracee_insert(uint64_t address);
bool tracee_remove(uint64_t address);

void tracee_detach(void);
void tracee_kill(void);
/* After tracee_detach(): wait until it ends. */
void tracee_reap(struct event *end);

#endif /* RUN_TRACEE_H */
