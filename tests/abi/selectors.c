// SPDX-License-Identifier: MIT
/*
 * Segment selectors and the LDT of a thread that calls DUNE_RUN: they are its own afterwards too; and what it cannot
 * load again becomes 0, without harm to the kernel.
 */
#include <asm/ldt.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "cpus.h"
#include "raw.h"

#define LDT_ENTRY_0	7U		/* the selector: LDT, ring 3 */
#define GS_BASE		0x123456789000	/* where nothing is mapped */
#define ROUNDS		100
#define TRIES		1000

static struct raw_vm vm;
static struct raw_vcpu vcpu;

static void write_ldt(bool present)
{
	struct user_desc desc = {
		.limit = present ? 0xfffff : 0, .seg_32bit = present, .limit_in_pages = present, .useable = present,
		.seg_not_present = !present, .read_exec_only = !present,	/* all of these: the entry is empty */
	};

	DIE_UNLESS(!syscall(SYS_modify_ldt, 0x11, &desc, sizeof(desc)), "modify_ldt");
}

#define LOAD(name, selector)	__asm__ volatile("mov %0, %%" #name : : "r"(selector) : "memory")
#define READ(name) ({								\
	unsigned int selector_;							\
	__asm__ volatile("mov %%" #name ", %0" : "=r"(selector_));		\
	selector_;								\
})

/* ---- a selector that is no good any more ------------------------------------------- */

/*
 * GS has a selector whose descriptor has gone.  modify_ldt() tells DS and ES of that, but not GS.  A thread that
 * is scheduled out has lost it when it comes back.
 */
static void run_with_stale_gs(void)
{
	unsigned int before, after;
	long result;

	for (unsigned int i = 0; i < TRIES; i++) {
		write_ldt(true);
		LOAD(gs, LDT_ENTRY_0);
		__asm__ volatile("wrgsbase %0" : : "r"(GS_BASE));
		write_ldt(false);
		raw_load(&vcpu, "", 0, 0);
		vcpu.run->immediate_exit = 1;
		before = READ(gs);
		result = raw_enter(&vcpu);
		after = READ(gs);
		CHECK_EQUAL(result, DUNE_EXIT_INTR, "immediate_exit with a stale GS");
		if (before)
			break;
	}
	CHECK_EQUAL(before, LDT_ENTRY_0, "GS before the run");
	/* A CPU that has not left its selectors need not load them again. */
	CHECK(!after || after == LDT_ENTRY_0, "GS after the run: %#x", after);
	LOAD(gs, 0);
}

static void check_stale_gs(void)
{
	struct raw_outcome outcome;

	cpus_stay_on(0);
	for (unsigned int i = 0; i < ROUNDS; i++)
		run_with_stale_gs();
	raw_load(&vcpu, "\x90", 1, 0);
	raw_outcome(&vcpu, &outcome);
	CHECK_EQUAL(outcome.kind, RAW_CALL, "a run after that");
}

/* ---- selectors that are good --------------------------------------------------------- */

static void check_kept(void)
{
	unsigned int ds, es, fs, gs;
	struct raw_outcome outcome;
	uint64_t fs_base;

	write_ldt(true);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		raw_load(&vcpu, "\x0f\xa2", 2, 0);	/* cpuid: an exit on the way */
		__asm__ volatile("rdfsbase %0" : "=r"(fs_base));
		LOAD(ds, LDT_ENTRY_0);
		LOAD(es, LDT_ENTRY_0);
		LOAD(gs, LDT_ENTRY_0);
		LOAD(fs, LDT_ENTRY_0);
		__asm__ volatile("wrfsbase %0" : : "r"(fs_base) : "memory");
		raw_outcome(&vcpu, &outcome);
		ds = READ(ds);
		es = READ(es);
		fs = READ(fs);
		gs = READ(gs);
		LOAD(ds, 0);
		LOAD(es, 0);
		LOAD(gs, 0);
		LOAD(fs, 0);
		__asm__ volatile("wrfsbase %0" : : "r"(fs_base) : "memory");
		CHECK_EQUAL(outcome.kind, RAW_CALL, "a run with selectors");
		CHECK_EQUAL(ds, LDT_ENTRY_0, "DS");
		CHECK_EQUAL(es, LDT_ENTRY_0, "ES");
		CHECK_EQUAL(fs, LDT_ENTRY_0, "FS");
		CHECK_EQUAL(gs, LDT_ENTRY_0, "GS");
	}
}

/* ---- an LDT that comes while the guest runs --------------------------------------------- */

static void *make_ldt(void *unused)
{
	(void)unused;
	cpus_stay_on(1);
	usleep(50000);
	write_ldt(true);
	/* A few ticks: the guest exits and is entered again with it. */
	usleep(50000);
	vcpu.run->immediate_exit = 1;
	return NULL;
}

/* In a process of its own, which has no LDT yet; it dies where the selector cannot be loaded. */
static void use_new_ldt(void)
{
	pthread_t thread;
	long result;

	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	cpus_stay_on(0);
	raw_load(&vcpu, "\xeb\xfe", 2, 0);	/* 1: jmp 1b */
	vcpu.run->regs.rflags |= 1 << 9;	/* IF */
	DIE_UNLESS(!pthread_create(&thread, NULL, make_ldt, NULL), "pthread_create");
	do
		result = raw_enter(&vcpu);
	while (result == DUNE_EXIT_INTR && !*(volatile __u32 *)&vcpu.run->immediate_exit);
	LOAD(gs, LDT_ENTRY_0);
	LOAD(gs, 0);
	CHECK_EQUAL(result, DUNE_EXIT_INTR, "a guest that spins");
	pthread_join(thread, NULL);
}

static void check_new_ldt(void)
{
	int status;
	pid_t pid = fork();

	DIE_UNLESS(pid >= 0, "fork");
	if (!pid) {
		use_new_ldt();
		_exit(check_failures != 0);
	}
	DIE_UNLESS(waitpid(pid, &status, 0) == pid, "waitpid");
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status), "an LDT that another thread makes: %s %d",
	      WIFSIGNALED(status) ? "signal" : "exit status",
	      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

int main(void)
{
	check_new_ldt();
	raw_open(&vm);
	raw_vcpu(&vm, &vcpu, 0);
	check_kept();
	check_stale_gs();
	return check_result();
}
