// SPDX-License-Identifier: MIT
/*
 * Accesses that fail: past the end of a file, where nothing is mapped, on the kernel's
 * side, half on a page that is there. Each ends an ordinary process and one in Dune mode by the same
 * signal, with the same code and the same address.
 */
#include "outcome.h"

/* Pages: 0 nothing, 1 to 4 a file of one page and a byte, 5 nothing, 6 anonymous, 7 nothing. */
#define PAGES	8

static char *base;
static int file;

static void map_all(void)
{
	munmap(base, PAGES * PAGE);
	CHECK(!ftruncate(file, PAGE + 1));
	map(base + PAGE, 4 * PAGE, RW | PROT_EXEC, MAP_SHARED, file);
	map(base + 6 * PAGE, PAGE, RW, ANON, -1);
}

static char *page(unsigned int n)
{
	return base + n * PAGE;
}

static uint64_t load(const void *p)
{
	__asm__("" : "+r"(p));	/* from here on the compiler does not know what it is */
	return *(const volatile uint64_t *)p;
}

static void store(void *p)
{
	__asm__("" : "+r"(p));
	*(volatile uint64_t *)p = 1;
}

static void jump(void *p)
{
	__asm__("" : "+r"(p));
	((void (*)(void))p)();
}

static uint64_t file_inside(void)
{
	return load(page(2));
}

static uint64_t file_read_past(void)
{
	return load(page(3) + 16);
}

static uint64_t file_write_past(void)
{
	store(page(3) + 24);
	return 0;
}

static uint64_t file_jump_past(void)
{
	jump(page(3) + 32);
	return 0;
}

static uint64_t file_private_past(void)
{
	map(page(1), 4 * PAGE, RW, MAP_PRIVATE, file);
	store(page(4));
	return 0;
}

static uint64_t file_locked_past(void)
{
	return __atomic_add_fetch((uint64_t *)page(4), 1, __ATOMIC_SEQ_CST);
}

/* Across the end: the first byte that is not there counts. */
static uint64_t file_across_end(void)
{
	return load(page(3) - 4);
}

static uint64_t file_truncated(void)
{
	store(page(1));
	store(page(2));
	CHECK(!ftruncate(file, PAGE));
	CHECK(load(page(1)) == 1);
	return load(page(2) + 8);
}

static uint64_t file_grown_again(void)
{
	store(page(2));
	CHECK(!ftruncate(file, PAGE));
	CHECK(!ftruncate(file, 2 * PAGE));
	return load(page(2));
}

static uint64_t file_copied_past(void)
{
	memcpy(page(6), page(1), 8);
	__builtin_memcpy(page(6) + 64, page(3), 2048);
	return load(page(6) + 64);
}

static uint64_t nothing_read(void)
{
	return load(page(5) + 123);
}

static uint64_t nothing_write(void)
{
	store(page(5) + 123);
	return 0;
}

static uint64_t nothing_jump(void)
{
	jump(page(5) + 123);
	return 0;
}

static uint64_t unmapped_after_touch(void)
{
	store(page(6));
	CHECK(!munmap(page(6), PAGE));
	return load(page(6));
}

static uint64_t across_into_nothing(void)
{
	store(page(7) - 3);
	return 0;
}

static uint64_t across_from_nothing(void)
{
	return load(page(6) - 3);
}

static uint64_t string_into_nothing(void)
{
	char *to = page(6) + 100;
	unsigned long count = 5000;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(7) : "memory");
	return 0;
}

static uint64_t null_read(void)
{
	return load((void *)8);
}

static uint64_t null_jump(void)
{
	jump((void *)0);
	return 0;
}

/* A granule in which there is nothing at all. */
static uint64_t far_read(void)
{
	return load((void *)0x123456789abcUL);
}

static uint64_t far_write(void)
{
	store((void *)0x123456789abcUL);
	return 0;
}

static uint64_t far_jump(void)
{
	jump((void *)0x123456789abcUL);
	return 0;
}

static uint64_t last_page(void)
{
	return load((void *)0x7ffffffff000UL);
}

static uint64_t kernel_read(void)
{
	return load((void *)0xffff888000001000UL);
}

static uint64_t kernel_write(void)
{
	store((void *)0xffffffff81000000UL);
	return 0;
}

static uint64_t kernel_jump(void)
{
	jump((void *)0xffffffff81000000UL);
	return 0;
}

static uint64_t not_canonical(void)
{
	return load((void *)0x8000000000000010UL);
}

static uint64_t not_canonical_jump(void)
{
	jump((void *)0x8000000000000010UL);
	return 0;
}

static uint64_t stack_into_nothing(void)
{
	unsigned long saved;

	__asm__ volatile("mov %%rsp, %0\n\tmov %1, %%rsp\n\tpush $1\n\tmov %0, %%rsp"
			 : "=&r"(saved) : "r"(page(6)) : "memory");
	return 0;
}

static uint64_t call_without_stack(void)
{
	unsigned long saved;

	__asm__ volatile("mov %%rsp, %0\n\tmov %1, %%rsp\n\tcall 1f\n1:\tmov %0, %%rsp"
			 : "=&r"(saved) : "r"(page(8)) : "memory");
	return 0;
}

static uint64_t jump_into_data(void)
{
	*page(6) = (char)0xc3;
	jump(page(6));
	return 0;
}

static uint64_t write_to_text(void)
{
	store((void *)(uintptr_t)write_to_text);
	return 0;
}

static uint64_t constants(void)
{
	static const uint64_t constant[1024] = { 1 };

	store((void *)&constant[512]);
	return 0;
}

/* An instruction that begins in a page that may be executed and ends in one that may not. */
static uint64_t instruction_into_nothing(void)
{
	char *p = map(page(6), PAGE, RW | PROT_EXEC, ANON, -1);

	p[PAGE - 2] = 0x48;		/* mov $..., %rax */
	p[PAGE - 1] = (char)0xb8;
	jump(p + PAGE - 2);
	return 0;
}

static uint64_t pipe_buffer_bad(void)
{
	int ends[2];

	CHECK(!pipe(ends));
	CHECK(write(ends[1], page(5), 8) == -1);
	CHECK(errno == EFAULT);
	CHECK(write(ends[1], page(3), 8) == -1);
	CHECK(errno == EFAULT);
	CHECK(write(ends[1], "12345678", 8) == 8);
	CHECK(read(ends[0], page(5), 8) == -1);
	CHECK(errno == EFAULT);
	return 1;
}

static uint64_t too_deep(void);
static uint64_t (*volatile deeper)(void) = too_deep;

static __attribute__((noinline)) uint64_t too_deep(void)
{
	volatile char frame[2 * PAGE];

	frame[0] = 1;
	frame[sizeof(frame) - 1] = 1;
	return deeper() + frame[0];
}

struct access {
	const char *name;
	uint64_t (*fn)(void);
	int signo, code;	/* what the manual says: the test of the test */
};

#define ACCESS(fn, ...)	{ #fn, fn, __VA_ARGS__ }

static const struct access accesses[] = {
	ACCESS(file_inside, 0, 0),
	ACCESS(file_read_past, SIGBUS, BUS_ADRERR),
	ACCESS(file_write_past, SIGBUS, BUS_ADRERR),
	ACCESS(file_jump_past, SIGBUS, BUS_ADRERR),
	ACCESS(file_private_past, SIGBUS, BUS_ADRERR),
	ACCESS(file_locked_past, SIGBUS, BUS_ADRERR),
	ACCESS(file_across_end, SIGBUS, BUS_ADRERR),
	ACCESS(file_truncated, SIGBUS, BUS_ADRERR),
	ACCESS(file_grown_again, 0, 0),
	ACCESS(file_copied_past, SIGBUS, BUS_ADRERR),
	ACCESS(nothing_read, SIGSEGV, SEGV_MAPERR),
	ACCESS(nothing_write, SIGSEGV, SEGV_MAPERR),
	ACCESS(nothing_jump, SIGSEGV, SEGV_MAPERR),
	ACCESS(unmapped_after_touch, SIGSEGV, SEGV_MAPERR),
	ACCESS(across_into_nothing, SIGSEGV, SEGV_MAPERR),
	ACCESS(across_from_nothing, SIGSEGV, SEGV_MAPERR),
	ACCESS(string_into_nothing, SIGSEGV, SEGV_MAPERR),
	ACCESS(null_read, SIGSEGV, SEGV_MAPERR),
	ACCESS(null_jump, SIGSEGV, SEGV_MAPERR),
	ACCESS(far_read, SIGSEGV, SEGV_MAPERR),
	ACCESS(far_write, SIGSEGV, SEGV_MAPERR),
	ACCESS(far_jump, SIGSEGV, SEGV_MAPERR),
	ACCESS(last_page, SIGSEGV, SEGV_MAPERR),
	ACCESS(kernel_read, SIGSEGV, SEGV_MAPERR),
	ACCESS(kernel_write, SIGSEGV, SEGV_MAPERR),
	ACCESS(kernel_jump, SIGSEGV, SEGV_MAPERR),
	ACCESS(not_canonical, SIGSEGV, SI_KERNEL),
	ACCESS(not_canonical_jump, SIGSEGV, SI_KERNEL),
	ACCESS(stack_into_nothing, SIGSEGV, SEGV_MAPERR),
	ACCESS(call_without_stack, SIGSEGV, SEGV_MAPERR),
	ACCESS(jump_into_data, SIGSEGV, SEGV_ACCERR),
	ACCESS(write_to_text, SIGSEGV, SEGV_ACCERR),
	ACCESS(constants, SIGSEGV, SEGV_ACCERR),
	ACCESS(instruction_into_nothing, SIGSEGV, SEGV_MAPERR),
	ACCESS(pipe_buffer_bad, 0, 0),
	ACCESS(too_deep, SIGSEGV, SEGV_MAPERR),
};

static const char *name(unsigned int number)
{
	return accesses[number].name;
}

static uint64_t make(unsigned int number, void *argument)
{
	(void)argument;
	map_all();
	return accesses[number].fn();
}

int main(void)
{
	struct outcome *outcomes;

	base = (char *)0x100000000000UL;	/* far from all else */
	file = memfd_create("fault", MFD_CLOEXEC);
	outcomes = outcomes_alike(make, NULL, N_ELEMENTS(accesses), name);
	for (unsigned int i = 0; i < N_ELEMENTS(accesses); i++)
		if (outcomes[i].signo != accesses[i].signo || outcomes[i].code != accesses[i].code)
			FAIL("%s: signal %d, code %d", name(i), outcomes[i].signo, outcomes[i].code);
	return 0;
}
