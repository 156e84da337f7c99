// SPDX-License-Identifier: MIT
/*
 * A program in Dune mode under ptrace.
 *
 * The tracer stops threads in HR3, as it would any; the guest's registers are in libdune's memory then. Exceptions of
 * the guest - breakpoints, single steps, faults - are announced by libdune (base/debug.h) before they become
 * signals. Other signals are seen by ptrace on their way, as always.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracee.h"

#define RFLAGS_TF	0x100UL
#define INT3		0xcc
#define INTERRUPT	3	/* gdb's byte for it */
/* A main thread that ends while it is to be stopped is not announced: look for it so often, in ms. */
#define ZOMBIE_INTERVAL	50

#define OPTIONS	(PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | \
		 PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACEEXEC)

struct breakpoint {
	struct breakpoint *next;
	uint64_t address;
	uint8_t byte;		/* what it has replaced */
};

static pid_t pid;
static int memory = -1, child_signals = -1;
static struct thread *threads;
static struct breakpoint *breakpoints;
static struct dune_debug debug;		/* magic is 0 before the program is in Dune mode */
static uint64_t debug_at;
static uint64_t passed_signals;
static struct event end;		/* the program has ended, or called execve() */
static bool ended;
static bool stopping;		/* stop_all() is at work */

/* Children whose first stop came before their parent's. */
static pid_t early[16];

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "dune-run: %s: %s\n", what, strerror(errno));
	if (pid)
		kill(pid, SIGKILL);
	exit(125);
}

/* What is in the program does not say what this debugger has to know. */
static void __attribute__((noreturn)) refuse(uint32_t version)
{
	fprintf(stderr, "dune-run: " LAUNCH_OBJECT " speaks version %u with debuggers, this dune-run %u: "
		"take both from one build\n", version, DUNE_DEBUG_VERSION);
	kill(pid, SIGKILL);
	exit(LAUNCH_FAILED);
}

pid_t tracee_pid(void)
{
	return pid;
}

struct thread *tracee_threads(void)
{
	return threads;
}

struct thread *tracee_thread(pid_t tid)
{
	struct thread *t = threads;

	while (t && t->tid != tid)
		t = t->next;
	return t;
}

static struct thread *add_thread(pid_t tid)
{
	struct thread **last = &threads, *t = calloc(1, sizeof(*t));

	if (!t)
		fail("a new thread");
	t->tid = tid;
	t->fresh = true;
	t->wanted = true;
	while (*last)
		last = &(*last)->next;
	*last = t;
	return t;
}

static void drop_thread(pid_t tid)
{
	struct thread **p = &threads, *t;

	while (*p && (*p)->tid != tid)
		p = &(*p)->next;
	t = *p;
	if (t) {
		*p = t->next;
		free(t);
	}
}

void tracee_pass_signals(uint64_t mask)
{
	passed_signals = mask;
}

/* ---- memory ---- */

static bool peek(uint64_t address, void *to, size_t size)
{
	return pread(memory, to, size, address) == (ssize_t)size;
}

static bool poke(uint64_t address, const void *from, size_t size)
{
	return pwrite(memory, from, size, address) == (ssize_t)size;
}

size_t tracee_read(uint64_t address, void *to, size_t size)
{
	ssize_t n = pread(memory, to, size, address);

	for (struct breakpoint *b = breakpoints; b && n > 0; b = b->next)
		if (b->address - address < (size_t)n)
			((uint8_t *)to)[b->address - address] = b->byte;
	return n > 0 ? n : 0;
}

bool tracee_write(uint64_t address, const void *from, size_t size)
{
	const uint8_t int3 = INT3;

	if (!poke(address, from, size))
		return false;
	for (struct breakpoint *b = breakpoints; b; b = b->next) {
		if (b->address - address < size) {
			b->byte = ((const uint8_t *)from)[b->address - address];
			poke(b->address, &int3, 1);
		}
	}
	return true;
}

/* Put all into memory, or the program's own bytes, through descriptor @fd. */
static void set_breakpoints(int fd, bool inserted)
{
	const uint8_t int3 = INT3;

	for (struct breakpoint *b = breakpoints; b; b = b->next)
		if (pwrite(fd, inserted ? &int3 : &b->byte, 1, b->address) != 1)
			fprintf(stderr, "dune-run: a breakpoint at %#lx is lost\n", b->address);
}

/* In libdune itself HR3 would meet it. */
bool tracee_insert(uint64_t address)
{
	const uint8_t int3 = INT3;
	struct breakpoint *b;

	for (b = breakpoints; b; b = b->next)
		if (b->address == address)
			return true;
	if (address >= debug.text && address < debug.text_end)
		return false;
	b = calloc(1, sizeof(*b));
	if (!b || !peek(address, &b->byte, 1) || !poke(address, &int3, 1)) {
		free(b);
		return false;
	}
	b->address = address;
	b->next = breakpoints;
	breakpoints = b;
	return true;
}

static void drop_breakpoint(struct breakpoint **p)
{
	struct breakpoint *b = *p;

	*p = b->next;
	free(b);
}

bool tracee_remove(uint64_t address)
{
	struct breakpoint **p = &breakpoints;

	while (*p && (*p)->address != address)
		p = &(*p)->next;
	if (!*p)
		return true;
	poke(address, &(*p)->byte, 1);
	drop_breakpoint(p);
	return true;
}

static bool breakpoint_at(uint64_t address)
{
	for (struct breakpoint *b = breakpoints; b; b = b->next)
		if (b->address == address)
			return true;
	return false;
}

static void open_memory(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	if (memory >= 0)
		close(memory);
	memory = open(path, O_RDWR | O_CLOEXEC);
	if (memory < 0)
		fail(path);
}

/* ---- registers ---- */

/* In libdune's memory is the stack of a thread in Dune mode. Returns its area, or 0. */
static uint64_t area_of(const struct user_regs_struct *host)
{
	if (!debug.magic || host->rsp < debug.region || host->rsp >= debug.region_end)
		return 0;
	return host->rsp & -debug.area_size;
}

static bool is_complete(const struct user_regs_struct *host, const struct debug_stop *stop)
{
	uint64_t caller;

	if (stop->complete || (host->rip >= debug.run_loop && host->rip < debug.run_return))
		return true;
	if (host->rip != debug.site && host->rip != debug.site_end)
		return false;
	if (!peek(host->rsp, &caller, sizeof(caller)) || caller != debug.run_return)
		return false;
	return host->rip == debug.site || (host->rax < 64 && debug.complete_results >> host->rax & 1);
}

static void guest_is_host(struct registers *r)
{
	const struct user_regs_struct *h = &r->host;

	r->guest = (struct debug_regs){
		.rax = h->rax, .rcx = h->rcx, .rdx = h->rdx, .rbx = h->rbx,
		.rsp = h->rsp, .rbp = h->rbp, .rsi = h->rsi, .rdi = h->rdi,
		.r8 = h->r8, .r9 = h->r9, .r10 = h->r10, .r11 = h->r11,
		.r12 = h->r12, .r13 = h->r13, .r14 = h->r14, .r15 = h->r15,
		.rip = h->rip, .rflags = h->eflags,
	};
}

bool tracee_get(const struct thread *t, struct registers *r)
{
	struct debug_stop stop;
	uint64_t area;

	if (ptrace(PTRACE_GETREGS, t->tid, NULL, &r->host) || ptrace(PTRACE_GETFPREGS, t->tid, NULL, &r->vector))
		return false;
	area = area_of(&r->host);
	if (!area || !peek(area + debug.regs, &r->guest, sizeof(r->guest)) ||
	    !peek(area + debug.stop, &stop, sizeof(stop)) ||
	    (!r->guest.rip && !r->guest.rsp)) {		/* it is new */
		r->at = 0;
		r->complete = false;
		guest_is_host(r);
		return true;
	}
	r->at = area + debug.regs;
	r->complete = is_complete(&r->host, &stop);
	if (r->guest.rip == debug.lstar_return) {	/* HR3 has not done it yet */
		r->guest.rip = r->guest.rcx;
		r->guest.rflags = r->guest.r11;
	}
	return true;
}

bool tracee_set(const struct thread *t, const struct registers *r)
{
	return r->at && r->complete && poke(r->at, &r->guest, sizeof(r->guest)) &&
	       !ptrace(PTRACE_SETREGS, t->tid, NULL, &r->host) && !ptrace(PTRACE_SETFPREGS, t->tid, NULL, &r->vector);
}

/* A thread inside a system call executes its instruction after that. */
static void set_step(struct thread *t, bool on)
{
	struct debug_regs regs;
	struct registers r;
	uint64_t *flags;

	t->stepping = on;
	if (!tracee_get(t, &r) || !r.at || !peek(r.at, &regs, sizeof(regs)))
		return;
	flags = regs.rip == debug.lstar_return ? &regs.r11 : &regs.rflags;
	*flags = on ? *flags | RFLAGS_TF : *flags & ~RFLAGS_TF;
	poke(r.at, &regs, sizeof(regs));
}

/* ---- children of the program: not debugged ---- */

static bool is_ours(pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, tid);
	return !access(path, F_OK);
}

static bool was_early(pid_t child)
{
	for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++) {
		if (early[i] == child) {
			early[i] = 0;
			return true;
		}
	}
	return false;
}

static void note_early(pid_t child)
{
	for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++) {
		if (!early[i]) {
			early[i] = child;
			return;
		}
	}
}

/* After vfork it has its parent's memory until it calls execve(): PTRACE_EVENT_VFORK_DONE. */
static void let_child_go(pid_t child)
{
	char path[64];
	int status, fd;

	if (!was_early(child))
		waitpid(child, &status, __WALL);
	snprintf(path, sizeof(path), "/proc/%d/mem", child);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		set_breakpoints(fd, false);
		close(fd);
	}
	ptrace(PTRACE_DETACH, child, NULL, NULL);
}

/* ---- stops ---- */

static void go_on(struct thread *t, int signo)
{
	t->state = THREAD_RUNNING;
	ptrace(PTRACE_CONT, t->tid, NULL, (long)signo);
}

/* @t stands in something that is reported. */
static bool report(struct thread *t, enum thread_state state, int signo)
{
	t->state = state;
	t->signo = signo;
	t->unreported = true;
	return true;
}

static bool exception_stop(struct thread *t, uint64_t area, const struct debug_stop *stop)
{
	const uint32_t answer = DEBUG_GO_ON;

	t->expected = 0;
	/* A thread made by one that was stepping begins with its flags. */
	if (stop->signo == SIGTRAP && stop->code == TRAP_TRACE && !t->stepping && t->fresh) {
		set_step(t, false);
		poke(area + debug.stop, &answer, sizeof(answer));
		t->fresh = false;
		go_on(t, 0);
		return false;
	}
	t->fresh = false;
	return report(t, THREAD_EXCEPTION, stop->signo);
}

/* The first one: the program is in Dune mode. */
static void meet(const struct user_regs_struct *host)
{
	struct dune_debug found;

	if (debug.magic || !peek(host->r10, &found, offsetof(struct dune_debug, pid)) ||
	    found.magic != DUNE_DEBUG_MAGIC)
		return;
	if (found.version != DUNE_DEBUG_VERSION || found.size != sizeof(found))
		refuse(found.version);
	if (!peek(host->r10, &found, sizeof(found)) || found.pid != pid)
		return;
	debug = found;
	debug_at = host->r10;
}

/* Returns whether the debugger is to know. */
static bool signal_stop(struct thread *t, int signo)
{
	struct user_regs_struct host;
	struct debug_stop stop;
	siginfo_t info;
	uint64_t area;

	if (ptrace(PTRACE_GETREGS, t->tid, NULL, &host) || ptrace(PTRACE_GETSIGINFO, t->tid, NULL, &info))
		return false;
	if (signo == SIGSTOP && info.si_code == SI_TKILL && info.si_pid == pid) {
		meet(&host);
		area = area_of(&host);
		if (area && peek(area + debug.stop, &stop, sizeof(stop)) && stop.state == DEBUG_ASK)
			return exception_stop(t, area, &stop);
	}
	area = area_of(&host);
	if (!debug.magic || signo == t->expected || passed_signals & 1UL << (signo - 1)) {
		t->expected = 0;
	} else if (!area) {
		/* libdune has the kernel load the guest's registers for it to die with them. */
	} else if (info.si_code > 0 && host.rip >= debug.touch && host.rip < debug.touch_end) {
		/* libdune will ask about it. */
	} else {
		return report(t, THREAD_SIGNAL, signo);
	}
	go_on(t, signo);
	return false;
}

static bool ptrace_event(struct thread *t, int event, int signo)
{
	unsigned long value = 0;

	ptrace(PTRACE_GETEVENTMSG, t->tid, NULL, &value);
	switch (event) {
	case PTRACE_EVENT_CLONE:
		if (!tracee_thread(value))
			add_thread(value);
		break;
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
		let_child_go(value);
		break;
	case PTRACE_EVENT_VFORK_DONE:
		set_breakpoints(memory, true);
		break;
	case PTRACE_EVENT_EXEC:
		open_memory();
		if (debug.magic) {
			debug.magic = 0;
			while (breakpoints)
				drop_breakpoint(&breakpoints);
			ended = true;
			end = (struct event){ .kind = EVENT_EXEC };
			t->state = THREAD_QUIET;
			return true;
		}
		break;
	case PTRACE_EVENT_STOP:
		if (signo == SIGTRAP || stopping) {	/* we asked for it, or it is new */
			t->state = THREAD_QUIET;
			return false;
		}
		t->state = THREAD_RUNNING;	/* SIGSTOP and the like: until SIGCONT */
		ptrace(PTRACE_LISTEN, t->tid, NULL, NULL);
		return false;
	}
	go_on(t, 0);
	return false;
}

/* Returns whether there is something to report. */
static bool take_status(pid_t tid, int status)
{
	struct thread *t = tracee_thread(tid);

	if (WIFEXITED(status) || WIFSIGNALED(status)) {
		drop_thread(tid);
		if (tid != pid)
			return false;
		ended = true;
		end = (struct event){
			.kind = WIFEXITED(status) ? EVENT_EXIT : EVENT_DEATH,
			.value = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
		};
		return true;
	}
	if (!t && !is_ours(tid)) {
		note_early(tid);
		return false;
	}
	if (!t)
		t = add_thread(tid);
	if (status >> 16)
		return ptrace_event(t, status >> 16, WSTOPSIG(status));
	return signal_stop(t, WSTOPSIG(status));
}

/* A main thread that has ended stays there until the others have. */
static bool is_zombie(pid_t tid)
{
	char path[64], line[512] = "", *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	f = fopen(path, "r");
	if (!f)
		return true;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	p = strrchr(line, ')');
	return !p || p[2] == 'Z' || p[2] == 'X';
}

static struct thread *running_thread(void)
{
	struct thread *t = threads;

	while (t && t->state != THREAD_RUNNING)
		t = t->next;
	return t;
}

/*
 * Another thread has met a breakpoint at the same time: it goes back onto it, and meets it again if it is
 * still there when it goes on.
 */
static void step_back(struct thread *t)
{
	struct registers r;

	if (t->state != THREAD_EXCEPTION || t->signo != SIGTRAP || !tracee_get(t, &r) ||
	    !breakpoint_at(r.guest.rip - 1))
		return;
	r.guest.rip--;
	if (poke(r.at, &r.guest, sizeof(r.guest))) {
		t->unreported = false;
		t->signo = 0;
	}
}

/*
 * Until something has happened to a child, or there is input on @fd, or it has lasted long; returns whether there
 * is.
 */
static bool await_child(int fd, int milliseconds)
{
	struct pollfd polled[2] = { { .fd = child_signals, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
	struct signalfd_siginfo ignored;

	if (poll(polled, 2, milliseconds) < 0 && errno != EINTR)
		fail("poll");
	if (polled[0].revents && read(child_signals, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
		fail("signalfd");
	return polled[1].revents;
}

static void stop_all(const struct thread *reported)
{
	struct thread *t;
	int status;
	pid_t tid;

	stopping = true;
	for (t = threads; t; t = t->next)
		if (t->state == THREAD_RUNNING)
			ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
	while (!ended && (t = running_thread())) {
		if (is_zombie(t->tid)) {
			drop_thread(t->tid);
			continue;
		}
		tid = waitpid(-1, &status, __WALL | WNOHANG);
		if (tid < 0 && errno != EINTR)
			fail("waitpid");
		if (tid <= 0) {
			await_child(-1, ZOMBIE_INTERVAL);
			continue;
		}
		take_status(tid, status);
		/* It went on after something else: the request is still there, but not for a new one. */
		t = tracee_thread(tid);
		if (t && t->state == THREAD_RUNNING)
			ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
	}
	for (t = threads; t; t = t->next) {
		bool stepped = t->stepping;

		if (t->stepping)
			set_step(t, false);
		if (t != reported && t->unreported && !stepped)
			step_back(t);
		t->wanted = false;
	}
	stopping = false;
}

/* ---- going on ---- */

void tracee_resume(struct thread *t, int signo, bool step)
{
	bool exception = t->state == THREAD_EXCEPTION;
	uint32_t answer = exception && signo && signo == t->signo ? DEBUG_SIGNAL : DEBUG_GO_ON;
	struct user_regs_struct host;
	uint64_t area;

	t->wanted = true;
	if (t->unreported)
		return;
	t->fresh = false;
	if (step)
		set_step(t, true);
	if (exception && !ptrace(PTRACE_GETREGS, t->tid, NULL, &host)) {
		area = area_of(&host);
		poke(area + debug.stop, &answer, sizeof(answer));
		if (answer == DEBUG_SIGNAL)
			t->expected = signo;
	}
	if (answer == DEBUG_SIGNAL)
		signo = 0;
	if (signo && t->state != THREAD_SIGNAL) {	/* another one than it has met */
		t->expected = signo;
		syscall(SYS_tgkill, pid, t->tid, signo);
		signo = 0;
	}
	go_on(t, signo);
}

static struct thread *unreported_thread(void)
{
	struct thread *t = threads;

	while (t && !(t->unreported && t->wanted))
		t = t->next;
	return t;
}

static void report_event(struct event *event, struct thread *t)
{
	stop_all(t);
	if (ended) {
		*event = end;
		return;
	}
	t->unreported = false;
	*event = (struct event){ .kind = EVENT_STOP, .thread = t, .value = t->signo };
}

void tracee_wait(int fd, struct event *event)
{
	char input;
	int status;
	pid_t tid;

	for (;;) {
		while (!ended && !unreported_thread() && (tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
			struct thread *t;

			take_status(tid, status);
			t = tracee_thread(tid);
			if (t && t->state == THREAD_QUIET)	/* a new one */
				go_on(t, 0);
		}
		if (ended) {
			*event = end;
			return;
		}
		if (unreported_thread()) {
			report_event(event, unreported_thread());
			return;
		}
		if (await_child(fd, -1)) {
			ssize_t n = read(fd, &input, 1);

			if (n == 1 && input != INTERRUPT)
				continue;
			stop_all(NULL);
			*event = ended ? end : (struct event){ .kind = n == 1 ? EVENT_INTERRUPT : EVENT_HANGUP };
			return;
		}
	}
}

/* ---- from beginning to end ---- */

static void run_child(const int go[2], const char *path, int loader, char **argv)
{
	char *number = getenv("DUNE_DEBUG"), c;

	close(go[1]);
	if (read(go[0], &c, 1) != 1)
		_exit(125);
	close(go[0]);
	snprintf(number, DUNE_DEBUG_DIGITS + 1, "%d", getpid());
	__dune_launch_exec(path, loader, argv);
	fprintf(stderr, "dune-run: %s: %s\n", path, strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

bool tracee_start(const char *path, int loader, char **argv, struct event *event)
{
	sigset_t mask, old;
	int go[2];

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, &old);
	child_signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (child_signals < 0 || pipe(go))
		fail("pipe");
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (!pid) {
		sigprocmask(SIG_SETMASK, &old, NULL);
		run_child(go, path, loader, argv);
	}
	close(go[0]);
	/* What the terminal sends is for the program. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	if (ptrace(PTRACE_SEIZE, pid, NULL, (long)OPTIONS))
		fail("ptrace");
	add_thread(pid);
	open_memory();
	if (write(go[1], "", 1) != 1)
		fail("pipe");
	close(go[1]);
	tracee_wait(-1, event);
	return event->kind == EVENT_STOP;
}

void tracee_detach(void)
{
	const uint64_t nobody = 0;

	set_breakpoints(memory, false);
	if (debug.magic)
		poke(debug_at + offsetof(struct dune_debug, pid), &nobody, sizeof(nobody));
	for (struct thread *t = threads; t; t = t->next) {
		struct user_regs_struct host;
		uint32_t answer = t->signo && t->signo != SIGTRAP ? DEBUG_SIGNAL : DEBUG_GO_ON;

		if (t->state == THREAD_EXCEPTION && !ptrace(PTRACE_GETREGS, t->tid, NULL, &host))
			poke(area_of(&host) + debug.stop, &answer, sizeof(answer));
		ptrace(PTRACE_DETACH, t->tid, NULL, t->state == THREAD_SIGNAL ? (long)t->signo : 0L);
	}
}

void tracee_kill(void)
{
	int status;

	kill(pid, SIGKILL);
	while (!ended && waitpid(pid, &status, __WALL) == pid)
		if (WIFEXITED(status) || WIFSIGNALED(status))
			return;
}

void tracee_reap(struct event *event)
{
	int status = 0;

	while (waitpid(pid, &status, __WALL) == pid && !WIFEXITED(status) && !WIFSIGNALED(status))
		;
	event->kind = WIFSIGNALED(status) ? EVENT_DEATH : EVENT_EXIT;
	event->value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}
