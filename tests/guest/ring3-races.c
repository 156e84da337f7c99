// SPDX-License-Identifier: MIT
/*
 * What dune_passthrough_syscall() looks at in memory another thread of ring 3's can change at any moment. What the
 * kernel then gets is what was looked at.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include "ring3.h"

#define ROUNDS	20000
#define PASSED	1002	/* ring 3 says what a call has returned */

RING3_CODE(call_once, "mov %r15, %rax; syscall; mov %rax, %rdi; mov $1002, %eax; syscall; hlt");

static struct ring3 ring3;
static long result;

static void on_call(struct dune_tf *tf)
{
	if (tf->rax == PASSED) {
		result = tf->rdi;
		dune_ret_from_user(0);
	}
	dune_passthrough_syscall(tf);
}

static long from_ring3(long nr, uint64_t rdi, uint64_t rsi, uint64_t rdx, uint64_t r10)
{
	struct dune_tf tf = RING3_FRAME(&ring3, call_once);

	tf.r15 = nr;
	tf.rdi = rdi;
	tf.rsi = rsi;
	tf.rdx = rdx;
	tf.r10 = r10;
	CHECK_EQUAL(dune_jump_to_user(&tf), 0, "dune_jump_to_user");
	return result;
}

/* ---- rt_sigaction: a handler would run in ring 0 ---- */

static atomic_bool done;

static void *flip(void *arg)
{
	while (!done) {
		*(volatile uint64_t *)arg = (uint64_t)ring3.code;
		*(volatile uint64_t *)arg = (uint64_t)SIG_IGN;
	}
	return NULL;
}

static void handlers(void)
{
	uint64_t *action = (uint64_t *)ring3.stack;	/* handler, flags, restorer, mask */
	unsigned int ignored = 0, refused = 0, bad = 0;
	struct sigaction now;
	pthread_t thread;

	memset(action, 0, 32);
	*action = (uint64_t)SIG_IGN;
	DIE_UNLESS(!pthread_create(&thread, NULL, flip, action), "pthread_create");
	for (int i = 0; i < ROUNDS; i++) {
		if (from_ring3(SYS_rt_sigaction, SIGUSR2, (uint64_t)action, 0, 8) == -ENOSYS) {
			refused++;
			continue;
		}
		CHECK_EQUAL(result, 0, "rt_sigaction");
		ignored++;
		sigaction(SIGUSR2, NULL, &now);
		bad += now.sa_handler != SIG_IGN;
	}
	done = true;
	pthread_join(thread, NULL);
	CHECK(ignored && refused, "%u ignored, %u refused", ignored, refused);
	CHECK_EQUAL(bad, 0, "handlers of ring 3's that would run in ring 0");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	CHECK_EQUAL(mode_enter(), 0, "dune_init_and_enter");
	ring3 = ring3_make();
	dune_register_syscall_handler(on_call);
	handlers();
	return check_result();
}
