// SPDX-License-Identifier: MIT
/*
 * Signals while ring 3 runs, and while its system calls wait: the program's handlers run in ring 0, and ring 3 goes on
 * as if nothing had been.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "ring3.h"

static struct ring3 r;
static volatile int signals;
static __thread int thread_local_word = 7;

static void timer(int microseconds)
{
	struct itimerval value = { { 0, microseconds }, { 0, microseconds } };

	setitimer(ITIMER_REAL, &value, NULL);
}

/* Checks registers again and again, and xmm3; ends when a handler changes r15. */
RING3_CODE(spin,
	"mov $0x1111, %eax; mov $0x2222, %ecx; mov $0x3333, %edx; mov $0x4444, %ebx; mov $0x5555, %r11d;"
	"mov $0x6666, %r12d; movd %r12d, %xmm3; xor %r15d, %r15d; xor %r14d, %r14d;"
	"1: cmp $0x1111, %eax; jne 2f; cmp $0x2222, %ecx; jne 2f; cmp $0x3333, %edx; jne 2f;"
	"cmp $0x4444, %ebx; jne 2f; cmp $0x5555, %r11d; jne 2f; movd %xmm3, %edi; cmp $0x6666, %edi; jne 2f;"
	"test %r15, %r15; jnz 3f; inc %r14; push %rax; pop %rax; jmp 1b;"
	"3: mov $1, %edi; mov $1000, %eax; syscall;"
	"2: mov $2, %edi; mov $1000, %eax; syscall; ud2");

static long rounds;

static void finish(struct dune_tf *tf)
{
	if (tf->rax == 1000) {
		rounds = tf->r14;
		dune_ret_from_user(ARG0(tf));
	}
	dune_passthrough_syscall(tf);
}

static void on_alarm(int signo, siginfo_t *info, void *context)
{
	struct dune_tf *tf = dune_signal_user_frame(context);

	(void)signo;
	(void)info;
	CHECK(dune_in_dune_mode(), "the handler is not in ring 0");
	CHECK_EQUAL(thread_local_word, 7, "thread-local storage in the handler");
	__asm__ volatile("pcmpeqd %%xmm3, %%xmm3" : : : "xmm3");
	if (++signals >= 50 && tf)
		tf->r15 = 1;
}

static void on_alarm_leave(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)info;
	if (!dune_signal_user_frame(context))
		return;		/* not there yet */
	signals++;
	timer(0);
	dune_ret_from_user(77);
}

static void spinning(void)
{
	struct sigaction action = { .sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO };
	struct dune_tf tf = RING3_FRAME(&r, spin);

	sigaction(SIGALRM, &action, NULL);
	dune_register_syscall_handler(finish);
	timer(2000);
	CHECK_EQUAL(dune_jump_to_user(&tf), 1, "ring 3's registers");
	timer(0);
	CHECK(signals >= 50, "%d signals", signals);
	CHECK(rounds > 0, "ring 3 made %ld rounds", rounds);

	action.sa_sigaction = on_alarm_leave;
	sigaction(SIGALRM, &action, NULL);
	for (int i = 0; i < 20; i++) {
		signals = 0;
		timer(2000);
		CHECK_EQUAL(dune_jump_to_user(&tf), 77, "dune_ret_from_user() in the handler");
		CHECK_EQUAL(signals, 1, "signals");
	}
}

/* ---- dune_register_signal_handler() ---- */

static void as_interrupt(struct dune_tf *tf)
{
	signals++;
	if (tf->cs & 3 && signals >= 10)
		tf->r15 = 1;
}

static void by_frame(void)
{
	struct dune_tf tf = RING3_FRAME(&r, spin);
	volatile unsigned long i;

	signals = 0;
	CHECK_EQUAL(dune_register_signal_handler(SIGALRM, as_interrupt), 0, "dune_register_signal_handler");
	CHECK_EQUAL(dune_register_signal_handler(0, as_interrupt), -EINVAL, "signal 0");
	CHECK_EQUAL(dune_register_signal_handler(65, as_interrupt), -EINVAL, "signal 65");
	CHECK_EQUAL(dune_register_signal_handler(SIGKILL, as_interrupt), -EINVAL, "SIGKILL");
	timer(2000);
	CHECK_EQUAL(dune_jump_to_user(&tf), 1, "ring 3's registers");
	timer(0);
	CHECK(signals >= 10, "%d signals", signals);
	signals = 0;
	raise(SIGALRM);
	for (i = 0; i < 1000; i++)
		;
	CHECK_EQUAL(signals, 1, "a signal in ring 0");
	CHECK(dune_signal(SIGALRM, SIG_IGN) != SIG_ERR, "dune_signal");
	raise(SIGALRM);
	CHECK_EQUAL(signals, 1, "an ignored signal");
	CHECK(dune_signal(SIGALRM, SIG_DFL) == SIG_IGN, "dune_signal");
	CHECK(dune_signal(99, SIG_DFL) == SIG_ERR, "dune_signal of 99");
}

/* ---- calls that wait ---- */

RING3_CODE(wait_in_read, "xor %eax, %eax; mov $8, %edx; syscall; mov %rax, %rdi; mov $1000, %eax; syscall; ud2");

static int ends[2];
static volatile bool fill;

static void on_signal_write(int signo)
{
	(void)signo;
	signals++;
	if (fill && signals == 3 && write(ends[1], "12345", 5) != 5)
		signals = -100;
}

static int read_by_ring3(int flags)
{
	struct sigaction action = { .sa_handler = on_signal_write, .sa_flags = flags };
	struct dune_tf tf = RING3_FRAME(&r, wait_in_read);
	int ret;

	signals = 0;
	sigaction(SIGALRM, &action, NULL);
	tf.rdi = ends[0];
	tf.rsi = (uintptr_t)r.stack + 16;
	timer(20000);
	ret = dune_jump_to_user(&tf);
	timer(0);
	return ret;
}

static void waiting(void)
{
	DIE_UNLESS(!pipe(ends), "pipe");
	fill = false;
	CHECK_EQUAL(read_by_ring3(0), -EINTR, "an interrupted read");
	CHECK(signals >= 1, "signals %d", signals);
	fill = true;
	CHECK_EQUAL(read_by_ring3(SA_RESTART), 5, "a read that is made again");
	CHECK(signals >= 3, "signals %d", signals);
	CHECK(!memcmp(r.stack + 16, "12345", 5), "what was read");
}

/* ---- a storm: calls of ring 3 and signals ---- */

RING3_CODE(calls, "mov $20000, %ebx; 1: mov $39, %eax; syscall; cmp %r12, %rax; jne 2f; dec %ebx; jnz 1b;"
		  "mov $5, %edi; mov $1000, %eax; syscall; 2: mov $6, %edi; mov $1000, %eax; syscall; ud2");

static void on_usr1(int signo)
{
	(void)signo;
	signals++;
}

static pthread_t target;
static volatile bool stop;

static void *send_signals(void *arg)
{
	while (!stop) {
		pthread_kill(target, SIGUSR1);
		usleep(200);
	}
	return arg;
}

static void storm(void)
{
	struct dune_tf tf = RING3_FRAME(&r, calls);
	pthread_t sender;

	signals = 0;
	signal(SIGUSR1, on_usr1);
	target = pthread_self();
	DIE_UNLESS(!pthread_create(&sender, NULL, send_signals, NULL), "pthread_create");
	tf.r12 = getpid();
	CHECK_EQUAL(dune_jump_to_user(&tf), 5, "getpid() by ring 3 under signals");
	stop = true;
	pthread_join(sender, NULL);
	CHECK(signals > 10, "%d signals", signals);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	CHECK_EQUAL(mode_enter(), 0, "dune_init_and_enter");
	r = ring3_make();
	spinning();
	waiting();
	storm();
	by_frame();
	return check_result();
}
