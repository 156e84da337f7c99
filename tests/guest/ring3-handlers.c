// SPDX-License-Identifier: MIT
/*
 * What handlers of ring 3's exceptions and system calls do in real programs: they write, wait for a lock, allocate
 * memory, send signals, fault themselves and run another ring 3. All their system calls are those of ring 0.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>

#include "ring3.h"

#define THREADS		3
#define ROUNDS		12
#define RFLAGS_IOPL	0x3000UL

/* What ring 3 says: an exception, and a call of its own after it. */
#define CALL_OF_RING3	1000
#define LAST_CALL	1001

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int null_fd;
static unsigned long counted;		/* under the lock */
static bool deep;			/* handlers fault, and run a ring 3, themselves */

/* FS base is ring 3's in bare handlers: what they need is found by the stack of ring 3. */
struct own {
	struct ring3 ring;
	int exceptions, calls, bare_calls, signals, traps;
	long tid;
};

static __thread struct own own;
static struct own *owners[THREADS + 1];

static void misrouted(const struct dune_tf *tf)
{
	printf("call %lu of a handler's has come as one of ring 3\n", (unsigned long)tf->rax);
	fflush(stdout);
	_exit(1);
}

/* As the compiler sees it, nothing is pushed. */
DUNE_BARE static unsigned long flags_now(void)
{
	unsigned long flags;

	__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; pop %0; lea 128(%%rsp), %%rsp" : "=r"(flags));
	return flags;
}

/* A call of ring 0 that has set IOPL by POPF is one of ring 0 all the same. */
static long gettid_with_iopl(void)
{
	unsigned long flags = flags_now() | RFLAGS_IOPL;
	long ret;

	__asm__ volatile("lea -128(%%rsp), %%rsp; pushq %2; popfq; lea 128(%%rsp), %%rsp; syscall"
			 : "=a"(ret) : "a"((long)SYS_gettid), "r"(flags) : "rcx", "r11", "memory", "cc");
	return ret;
}

/* ---- what handlers do ---- */

static void on_usr1(int signo)
{
	(void)signo;
	own.signals++;
	CHECK_EQUAL(flags_now() & RFLAGS_IOPL, 0, "IOPL in a handler of a signal");
	CHECK_EQUAL(syscall(SYS_gettid), own.tid, "gettid() in a handler of a signal");
	CHECK_EQUAL(gettid_with_iopl(), own.tid, "the same with IOPL");
}

static void nested_ring3(void);

/* All that a full handler may do. */
static void act(const char *where)
{
	char *memory;

	CHECK_EQUAL(flags_now() & RFLAGS_IOPL, 0, where);
	CHECK_EQUAL(write(null_fd, where, strlen(where)), (long)strlen(where), where);
	CHECK_EQUAL(dprintf(null_fd, "%s\n", where), (long)strlen(where) + 1, where);
	pthread_mutex_lock(&lock);
	counted++;
	sched_yield();		/* so that others wait */
	pthread_mutex_unlock(&lock);
	memory = malloc(1 << 20);
	if (CHECK(memory, "malloc"))
		memset(memory, 1, 1 << 20);
	free(memory);
	raise(SIGUSR1);
	CHECK_EQUAL(syscall(SYS_gettid), own.tid, where);
	CHECK_EQUAL(gettid_with_iopl(), own.tid, where);
	CHECK_EQUAL(flags_now() & RFLAGS_IOPL, 0, where);
}

static jmp_buf behind;
static bool jump_behind;	/* its handler does not return */

static void deeper(const char *where)
{
	if (!deep || own.traps)
		return;
	own.traps = 1;
	jump_behind = true;
	if (!setjmp(behind))
		__asm__ volatile("int3" : : : "memory");
	CHECK_EQUAL(own.traps, 2, "an exception of ring 0 in a handler");
	__asm__ volatile("int3" : : : "memory");
	CHECK_EQUAL(own.traps, 3, "another one");
	CHECK_EQUAL(flags_now() & RFLAGS_IOPL, 0, where);
	nested_ring3();
	act(where);
	own.traps = 0;
}

/* What one may do that uses no thread-local storage and no vector register. */
DUNE_BARE static void act_bare(struct own *o)
{
	static const char text[] = "bare";
	long memory;

	o->bare_calls += flags_now() & RFLAGS_IOPL ? 1000 : 0;
	o->bare_calls += dune_syscall(SYS_write, null_fd, (long)text, sizeof(text), 0, 0, 0) == sizeof(text);
	memory = dune_syscall(SYS_mmap, 0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*(volatile char *)memory = 1;
	o->bare_calls += dune_syscall(SYS_munmap, memory, 8192, 0, 0, 0, 0) == 0;
	o->bare_calls += dune_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0) == o->tid;
	o->bare_calls += dune_syscall(SYS_tgkill, getpid(), o->tid, SIGUSR1, 0, 0, 0) == 0;
}

DUNE_BARE static struct own *owner_of(const struct dune_tf *tf)
{
	for (int i = 0; i <= THREADS; i++)
		if (owners[i] && tf->rsp - (uintptr_t)owners[i]->ring.stack <= RING3_PAGE)
			return owners[i];
	return NULL;
}

/* ---- handlers of exceptions ---- */

/* On behind the instruction, which R12 has the length of. */
static void on_exception(struct dune_tf *tf)
{
	if (!(tf->cs & 3)) {
		own.traps++;
		act("a handler of an exception of ring 0");
		if (jump_behind) {
			jump_behind = false;
			longjmp(behind, 1);
		}
		return;
	}
	own.exceptions++;
	act("a handler of an exception");
	deeper("a handler of an exception, after one of its own");
	tf->rip += tf->r12;
	tf->rflags = 0;
}

static void on_page_fault(uintptr_t address, uint64_t error, struct dune_tf *tf)
{
	(void)address;
	(void)error;
	on_exception(tf);
}

/* Ring 3's only: in ring 0 there is no exception meanwhile. */
DUNE_BARE static void on_exception_bare(struct dune_tf *tf)
{
	struct own *o = owner_of(tf);

	o->exceptions++;
	act_bare(o);
	tf->rip += tf->r12;
	tf->rflags = 2;
}

DUNE_BARE static void on_page_fault_bare(uintptr_t address, uint64_t error, struct dune_tf *tf)
{
	(void)address;
	(void)error;
	on_exception_bare(tf);
}

/* ---- handlers of system calls ---- */

static void on_call(struct dune_tf *tf)
{
	if (tf->rax != CALL_OF_RING3 && tf->rax != LAST_CALL)
		misrouted(tf);
	own.calls++;
	act("a handler of a system call");
	deeper("a handler of a system call, after an exception of its own");
	if (tf->rax == LAST_CALL)
		dune_ret_from_user(tf->r13);
	tf->rax = 7;
}

DUNE_BARE static long on_call_bare(struct dune_tf *tf)
{
	struct own *o = owner_of(tf);

	if (tf->rax != CALL_OF_RING3 && tf->rax != LAST_CALL)
		misrouted(tf);
	o->calls++;
	act_bare(o);
	if (tf->rax == LAST_CALL)
		dune_ret_from_user(tf->r13);
	return 7;
}

/* ---- ring 3 ---- */

/* Each exception, then a call, twice: what comes back is ring 3. */
#define THEN_CALL	"; mov $1000, %eax; syscall; cmp $7, %rax; jne 9f;"

RING3_CODE(exceptions,
	"mov $2, %r14d;"
	"1: mov $2, %r12d; ud2" THEN_CALL
	"mov $0, %r12d; int3" THEN_CALL
	"mov $2, %r12d; xor %ecx, %ecx; div %ecx" THEN_CALL
	"mov $1, %r12d; hlt" THEN_CALL
	"mov $2, %r12d; int $0x21" THEN_CALL
	"mov $4, %r12d; xor %ebx, %ebx; mov 16(%rbx), %rcx" THEN_CALL
	"mov $4, %r12d; mov 16(%rbx), %rcx; mov %rcx, 16(%rbx)" THEN_CALL
	"dec %r14d; jnz 1b;"
	"mov $5, %r13d; jmp 8f;"
	"9: mov $6, %r13d;"
	"8: mov $1001, %eax; syscall; ud2");
#define EXCEPTIONS	(2 * 8)
#define CALLS		(2 * 7 + 1)

/* For a ring 3 in a handler: an exception, a call. */
RING3_CODE(short_one,
	"mov $0, %r12d; int3" THEN_CALL "mov $8, %r13d; jmp 8f; 9: mov $9, %r13d; 8: mov $1001, %eax; syscall; ud2");

static void nested_ring3(void)
{
	struct own before = own;
	struct dune_tf tf;

	own.ring = ring3_make();
	tf = RING3_FRAME(&own.ring, short_one);
	CHECK_EQUAL(dune_jump_to_user(&tf), 8, "a ring 3 in a handler");
	CHECK_EQUAL(own.exceptions, before.exceptions + 1, "its exceptions");
	CHECK_EQUAL(own.calls, before.calls + 2, "its calls");
	own.exceptions = before.exceptions;
	own.calls = before.calls;
	munmap(own.ring.code, 2 * RING3_PAGE);
	own.ring = before.ring;
}

static void ring3_of_thread(struct own *o, int rounds, const char *what)
{
	struct dune_tf tf = RING3_FRAME(&o->ring, exceptions);

	o->exceptions = o->calls = 0;
	for (int i = 0; i < rounds; i++)
		CHECK_EQUAL(dune_jump_to_user(&tf), 5, what);
	CHECK_EQUAL(o->exceptions, rounds * EXCEPTIONS, what);
	CHECK_EQUAL(o->calls, rounds * CALLS, what);
}

static void *thread(void *arg)
{
	long number = (long)arg;

	own.tid = syscall(SYS_gettid);
	own.ring = ring3_make();
	__atomic_store_n(&owners[number], &own, __ATOMIC_SEQ_CST);
	ring3_of_thread(&own, ROUNDS / THREADS, "ring 3 of a thread");
	__atomic_store_n(&owners[number], NULL, __ATOMIC_SEQ_CST);
	return NULL;
}

static void threads(void)
{
	pthread_t t[THREADS];

	for (long i = 0; i < THREADS; i++)
		DIE_UNLESS(!pthread_create(&t[i], NULL, thread, (void *)(i + 1)), "pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static void register_all(bool bare)
{
	static const int vectors[] = { T_DIVIDE, T_BRKPT, T_ILLOP, T_GPFLT };

	for (unsigned int i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		if (bare)
			dune_register_bare_intr_handler(vectors[i], on_exception_bare);
		else
			dune_register_intr_handler(vectors[i], on_exception);
	dune_register_intr_handler(0x21, on_exception);
	if (bare)
		dune_register_bare_pgflt_handler(on_page_fault_bare);
	else
		dune_register_pgflt_handler(on_page_fault);
	if (bare)
		dune_register_bare_syscall_handler(on_call_bare);
	else
		dune_register_syscall_handler(on_call);
}

static void full_and_bare(void)
{
	owners[0] = &own;
	register_all(false);
	ring3_of_thread(&own, 2, "full handlers");
	CHECK(own.signals >= 2 * (EXCEPTIONS + CALLS), "%d signals of full handlers", own.signals);
	threads();
	CHECK(counted >= (2 + ROUNDS / THREADS * THREADS) * (EXCEPTIONS + CALLS), "the lock was taken %lu times",
	      counted);

	deep = true;
	ring3_of_thread(&own, 2, "full handlers that fault");
	deep = false;

	register_all(true);
	own.bare_calls = own.signals = 0;
	ring3_of_thread(&own, 2, "bare handlers");
	CHECK_EQUAL(own.bare_calls, 4 * 2 * (EXCEPTIONS + CALLS), "calls of bare handlers");
	CHECK(own.signals > 0, "no signals of bare handlers");
	threads();
}

/* ---- ways out of a handler ---- */

static jmp_buf back;
static int way;
static struct dune_tf elsewhere;
static char stack_of_ring0[65536] __attribute__((aligned(16)));

static void in_ring0(void)
{
	CHECK_EQUAL(flags_now() & RFLAGS_IOPL, 0, "IOPL where a handler goes on in ring 0");
	act("where a handler goes on in ring 0");
	longjmp(back, 2);
}

enum { LEAVE, JUMP, FRAME, POP, POP_RING3 };

static void leave(struct dune_tf *tf)
{
	act("a handler that does not return");
	switch (way) {
	case LEAVE:
		dune_ret_from_user(3);
	case JUMP:
		longjmp(back, 2);
	case FRAME:		/* as it is, IOPL and all, but in ring 0 */
	case POP:
		tf->cs = elsewhere.cs;
		tf->ss = elsewhere.ss;
		tf->rip = (uintptr_t)in_ring0;
		tf->rsp = (uintptr_t)stack_of_ring0 + sizeof(stack_of_ring0) - 8;
		tf->rflags |= RFLAGS_IOPL;
		if (way == POP)
			dune_pop_trap_frame(tf);
		break;
	case POP_RING3:
		way = LEAVE;
		tf->rip += 2;
		tf->rflags = 0;
		dune_pop_trap_frame(tf);
	}
}

RING3_CODE(two_traps, "ud2; mov $1000, %eax; syscall; ud2");

static void read_selectors(void)
{
	__asm__ volatile("mov %%cs, %0; mov %%ss, %1" : "=r"(elsewhere.cs), "=r"(elsewhere.ss));
}

static void way_out(int which)
{
	static const int result[] = { [LEAVE] = 3, [JUMP] = 2, [FRAME] = 2, [POP] = 2, [POP_RING3] = 3 };
	volatile int calls = own.calls, ret;
	struct dune_tf tf = RING3_FRAME(&own.ring, two_traps);

	way = which;
	dune_register_intr_handler(T_ILLOP, leave);
	ret = setjmp(back);
	if (!ret)
		ret = dune_jump_to_user(&tf);
	CHECK_EQUAL(ret, result[which], "a handler that does not return");
	CHECK_EQUAL(own.calls, calls + (which == POP_RING3), "calls of ring 3");
	act("behind ring 3");
	/* What comes next is in order again. */
	dune_register_intr_handler(T_ILLOP, on_exception);
	ring3_of_thread(&own, 1, "after a handler that does not return");
}

/* In a handler of ring 0, in which ring 3's exceptions are nested ones. */
static void each_way_out(struct dune_tf *tf)
{
	for (int i = 0; i <= POP_RING3; i++)
		way_out(i);
	tf->rax = 17;
}

static void ways_out(void)
{
	long done = 0;

	read_selectors();
	register_all(false);
	for (int i = 0; i < 2 * (POP_RING3 + 1); i++)
		way_out(i % (POP_RING3 + 1));
	dune_register_intr_handler(0x22, each_way_out);
	__asm__ volatile("int $0x22" : "+a"(done) : : "memory");
	CHECK_EQUAL(done, 17, "ways out of nested handlers");
}

/* ---- signals that interrupt ring 3 ---- */

static void on_alarm(int signo, siginfo_t *info, void *context)
{
	struct dune_tf *tf = dune_signal_user_frame(context);

	(void)signo;
	(void)info;
	act("a handler of a signal");
	if (tf)
		tf->r15 = 1;
	else
		alarm(1);
}

RING3_CODE(spin, "1: test %r15, %r15; jz 1b; mov $4, %r13d; mov $1001, %eax; syscall; ud2");

static void interrupted(void)
{
	struct sigaction action = { .sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO };
	struct dune_tf tf = RING3_FRAME(&own.ring, spin);

	sigaction(SIGALRM, &action, NULL);
	alarm(1);
	CHECK_EQUAL(dune_jump_to_user(&tf), 4, "ring 3, interrupted by a signal");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	null_fd = open("/dev/null", O_WRONLY);
	CHECK_EQUAL(mode_enter(), 0, "dune_init_and_enter");
	own.tid = syscall(SYS_gettid);
	own.ring = ring3_make();
	signal(SIGUSR1, on_usr1);
	full_and_bare();
	ways_out();
	interrupted();
	return check_result();
}
