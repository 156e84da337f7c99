// SPDX-License-Identifier: MIT
/* Exceptions that the program handles itself: by signals, or by Dune's handlers, bare and full (dune.h). */
#include <dune.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "../bench.h"

/* ---- an instruction that there is not ---- */

DUNE_BARE static void skip_ud2(struct dune_tf *tf)
{
	bench_work++;
	tf->rip += 2;
}

static void skip_ud2_signal(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	bench_work++;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static void on_signal(int sig, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	must(!sigaction(sig, &action, NULL));
}

static void begin_ud2_signal(void)
{
	on_signal(SIGILL, skip_ud2_signal);
}

static void begin_ud2_bare(void)
{
	must(!dune_register_bare_intr_handler(T_ILLOP, skip_ud2));
}

static void begin_ud2_full(void)
{
	must(!dune_register_intr_handler(T_ILLOP, skip_ud2));
}

static uint64_t ud2(unsigned int i)
{
	uint64_t start = ticks();

	(void)i;
	__asm__ volatile("ud2" : : : "memory");
	return ticks() - start;
}

/* ---- a write to a page that may only be read, and a handler that allows it; the handler's time on the way ---- */

static volatile uint64_t handler_begun;
static char *page;
static ptent_t *entry;

static void map_page(void)
{
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(page != MAP_FAILED);
	*page = 1;
}

DUNE_BARE static void allow_write(uintptr_t addr, uint64_t error, struct dune_tf *tf)
{
	handler_begun = ticks();
	(void)error;
	(void)tf;
	bench_work++;
	*entry |= PTE_W;
	__asm__ volatile("invlpg (%0)" : : "r"(addr) : "memory");
}

static void allow_write_signal(int sig, siginfo_t *info, void *context)
{
	handler_begun = ticks();
	(void)sig;
	(void)info;
	(void)context;
	bench_work++;
	if (mprotect(page, PAGE, PROT_READ | PROT_WRITE))
		bench_die("mprotect in the handler");
}

static void begin_write_bare(void)
{
	map_page();
	dune_register_bare_pgflt_handler(allow_write);
}

static void begin_write_full(void)
{
	map_page();
	dune_register_pgflt_handler(allow_write);
}

static void begin_write_signal(void)
{
	map_page();
	on_signal(SIGSEGV, allow_write_signal);
}

static void forbid_write(unsigned int i)
{
	(void)i;
	must(!dune_vm_mprotect(bench_root, page, PAGE, PERM_R) && !dune_vm_lookup(bench_root, page, CREATE_NONE,
										  &entry));
}

static void forbid_write_signal(unsigned int i)
{
	(void)i;
	must(!mprotect(page, PAGE, PROT_READ));
}

static uint64_t store_to_handler(unsigned int i)
{
	uint64_t start = ticks();

	*(volatile char *)page = i;
	return handler_begun - start;
}

static uint64_t round_trip(unsigned int i)
{
	uint64_t start = ticks();

	*(volatile char *)page = i;
	return ticks() - start;
}

#define CASE(name, where, begin, prepare, sample)					\
	{ name, where, 400, 1, begin, prepare, sample, .guest_traps = (where) == WHERE_DUNE }

static const struct bench_case cases[] = {
	CASE("ud2, SIGILL, back",		WHERE_BOTH, begin_ud2_signal, NULL, ud2),
	CASE("ud2, full handler, back",		WHERE_DUNE, begin_ud2_full, NULL, ud2),
	CASE("ud2, bare handler, back",		WHERE_DUNE, begin_ud2_bare, NULL, ud2),
	CASE("store to SIGSEGV handler",	WHERE_BOTH, begin_write_signal, forbid_write_signal, store_to_handler),
	CASE("store to full page-fault handler", WHERE_DUNE, begin_write_full, forbid_write, store_to_handler),
	CASE("store to bare page-fault handler", WHERE_DUNE, begin_write_bare, forbid_write, store_to_handler),
	CASE("page fault, allow, store; SIGSEGV and mprotect()", WHERE_BOTH, begin_write_signal, forbid_write_signal,
	     round_trip),
	CASE("page fault, allow, store; full",	WHERE_DUNE, begin_write_full, forbid_write, round_trip),
	CASE("page fault, allow, store; bare",	WHERE_DUNE, begin_write_bare, forbid_write, round_trip),
};

BENCH_GROUP(traps, true);
