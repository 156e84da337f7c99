// SPDX-License-Identifier: MIT
/*
 * Execute-only memory (PROT_EXEC alone, which Linux makes with a protection key): code runs in it. On VT-x it cannot
 * be read in Dune mode either, before and after the CPU has fetched from it; nested page tables of AMD's have no such
 * entry, so there it can be read once it was executed (doc/design.md).
 */
#include <setjmp.h>
#include <sys/ioctl.h>

#include <linux/dune.h>

#include "mem.h"

#define RET	0xc3

static sigjmp_buf back;

static void on_segv(int number)
{
	(void)number;
	siglongjmp(back, 1);
}

/* The byte at @p, or -1: SIGSEGV. */
static int see_byte(const volatile unsigned char *p)
{
	if (sigsetjmp(back, 1))
		return -1;
	return *p;
}

static void call(const void *p)
{
	((void (*)(void))p)();
}

static bool has_keys(void)
{
	char line[4096];
	bool has = false;
	FILE *file = fopen("/proc/cpuinfo", "re");

	while (file && !has && fgets(line, sizeof(line), file))
		has = strstr(line, " ospke");
	if (file)
		fclose(file);
	return has;
}

static bool is_vmx(void)
{
	struct dune_info info = { 0 };
	int fd = open("/dev/dune", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0 && !ioctl(fd, DUNE_GET_INFO, &info));
	close(fd);
	return info.vendor == DUNE_VENDOR_VMX;
}

static void check(unsigned char *p, int after)
{
	CHECK_EQ(see_byte(p), -1);
	for (unsigned int i = 0; i < 3; i++) {
		call(p);
		CHECK_EQ(see_byte(p), after);
		/* What has not been executed. */
		CHECK_EQ(see_byte(p + PAGE), -1);
	}
}

int main(int argc, char **argv)
{
	unsigned char *p, *q;
	bool vmx;
	pid_t pid;
	int after;

	if (argc > 1 && !strcmp(argv[1], "outside"))
		setenv("NODUNE", "1", 1);
	if (!has_keys())
		SKIP("no memory is execute-only on this CPU");
	vmx = is_vmx();
	p = (unsigned char *)map_anon(2 * PAGE);
	q = (unsigned char *)map_anon(2 * PAGE);
	p[0] = q[0] = RET;
	p[PAGE] = q[PAGE] = RET;
	CHECK(signal(SIGSEGV, on_segv) != SIG_ERR);
	CHECK(!mprotect(p, 2 * PAGE, PROT_EXEC));
	call(p);
	CHECK_EQ(see_byte(p), -1);
	enter();
	after = no_dune() || vmx ? -1 : RET;
	check(p, after);
	/* Made inside, of memory that the guest had. */
	CHECK_EQ(see_byte(q), RET);
	CHECK(!mprotect(q, 2 * PAGE, PROT_EXEC));
	check(q, after);
	CHECK(!mprotect(q, 2 * PAGE, PROT_READ | PROT_EXEC));
	CHECK_EQ(see_byte(q), RET);
	CHECK_EQ(see_byte(q + PAGE), RET);
	call(q);
	CHECK(!mprotect(q, 2 * PAGE, PROT_EXEC));
	check(q, after);
	CHECK(!mprotect(q, 2 * PAGE, RW));
	q[0] = RET;
	pid = fork();
	if (!pid) {
		check(p, after);
		_exit(0);
	}
	expect_exit(pid);
	return 0;
}
