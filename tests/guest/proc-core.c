// SPDX-License-Identifier: MIT
/*
 * A process that dies of an exception leaves a core file that shows its registers where it happened,
 * vector registers too; a backtrace from a handler goes on into what was interrupted.
 */
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/procfs.h>
#include <sys/resource.h>
#include <sys/user.h>
#include <unwind.h>

#include "proc.h"

#define PATTERN	"/proc/sys/kernel/core_pattern"
#define CORE	"/tmp/core-of-proc-core"

extern const char where_ud2[], where_null[], where_div[];
static int *volatile nowhere = (int *)8;

#define MAGIC	"mov $0x1212121212, %%r12; mov $0xbbbb, %%rbx; mov $0x15, %%r15;"		\
		"mov $0x77777777, %%eax; movd %%eax, %%xmm7; mov $0xaaaa, %%rax;"

static void __attribute__((noinline)) ud2(void)
{
	__asm__ volatile(MAGIC ".globl where_ud2; where_ud2: ud2" : : : "rax", "rbx", "r12", "r15", "xmm7", "memory");
}

static void __attribute__((noinline)) null(void)
{
	__asm__ volatile(MAGIC ".globl where_null; where_null: movl $1, (%0)" : : "c"(nowhere)
			 : "rax", "rbx", "r12", "r15", "xmm7", "memory");
}

static void __attribute__((noinline)) divide(void)
{
	__asm__ volatile(MAGIC "xor %%ecx, %%ecx; .globl where_div; where_div: div %%ecx" : :
			 : "rax", "rcx", "rbx", "r12", "r15", "xmm7", "memory");
}

/* ---- the core file ---- */

static char *core;
static size_t core_size;

static bool read_core(void)
{
	int fd = open(CORE, O_RDONLY);
	ssize_t got;

	core = realloc(core, 64 << 20);
	core_size = 0;
	while (fd >= 0 && (got = read(fd, core + core_size, (64 << 20) - core_size)) > 0)
		core_size += got;
	if (fd >= 0)
		close(fd);
	unlink(CORE);
	return core_size > sizeof(Elf64_Ehdr) && !memcmp(core, ELFMAG, SELFMAG);
}

/* The description of the first note of @type, which is that of the thread that died. */
static const void *note(unsigned int type)
{
	const Elf64_Ehdr *header = (const void *)core;
	const Elf64_Phdr *segment = (const void *)(core + header->e_phoff);

	for (int i = 0; i < header->e_phnum; i++) {
		const char *p = core + segment[i].p_offset, *end = p + segment[i].p_filesz;

		while (segment[i].p_type == PT_NOTE && p + sizeof(Elf64_Nhdr) < end) {
			const Elf64_Nhdr *n = (const void *)p;
			const char *description = p + sizeof(*n) + ((n->n_namesz + 3) & -4U);

			if (n->n_type == type)
				return description;
			p = description + ((n->n_descsz + 3) & -4U);
		}
	}
	return NULL;
}

static void check_core(const char *name, void (*die)(void), int signo, const char *where)
{
	const struct elf_prstatus *status;
	const struct user_regs_struct *r;
	const struct user_fpregs_struct *fp;
	int wait_status = IN_CHILD(
		struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

		setrlimit(RLIMIT_CORE, &all);
		die()
	);

	CHECK_EQUAL(wait_status & 0x7f, signo, name);
	CHECK(WCOREDUMP(wait_status), "%s: no core", name);
	if (!CHECK(read_core(), "%s: no core file", name))
		return;
	status = note(NT_PRSTATUS);
	fp = note(NT_PRFPREG);
	if (!CHECK(status && fp, "%s: the core has no registers", name))
		return;
	r = (const void *)status->pr_reg;
	CHECK_EQUAL(status->pr_cursig, signo, "the signal in the core");
	CHECK_EQUAL(r->rip, (long)where, "rip");
	CHECK_EQUAL(r->r12, 0x1212121212, "r12");
	CHECK_EQUAL(r->rbx, 0xbbbb, "rbx");
	CHECK_EQUAL(r->r15, 0x15, "r15");
	CHECK_EQUAL(r->rax, 0xaaaa, "rax");
	CHECK_EQUAL(fp->xmm_space[7 * 4], 0x77777777, "xmm7");
}

static void cores(void)
{
	char old[256] = "core\n";
	int fd = open(PATTERN, O_RDWR);

	DIE_UNLESS(fd >= 0, PATTERN);
	DIE_UNLESS(read(fd, old, sizeof(old) - 1) > 0, PATTERN);
	DIE_UNLESS(pwrite(fd, CORE, sizeof(CORE) - 1, 0) > 0, PATTERN);
	check_core("ud2", ud2, SIGILL, where_ud2);
	check_core("a null pointer", null, SIGSEGV, where_null);
	check_core("a division by zero", divide, SIGFPE, where_div);
	DIE_UNLESS(pwrite(fd, old, strlen(old), 0) > 0, PATTERN);
	close(fd);
}

/* ---- backtraces ---- */

static volatile bool met;
static unsigned long wanted;

static _Unwind_Reason_Code frame(struct _Unwind_Context *context, void *arg)
{
	unsigned long ip = _Unwind_GetIP(context);

	(void)arg;
	if (ip >= wanted && ip < wanted + 4096)
		met = true;
	return _URC_NO_REASON;
}

static void look_back(void)
{
	met = false;
	_Unwind_Backtrace(frame, NULL);
}

static void in_trap(struct dune_tf *tf)
{
	look_back();
	tf->rip += 2;
}

static void __attribute__((noinline)) caller(void)
{
	ud2();
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	cores();
	if (proc_inside) {
		wanted = (unsigned long)main;
		dune_register_intr_handler(T_ILLOP, in_trap);
		caller();
		CHECK(met, "a backtrace from a handler does not reach main()");
		dune_register_intr_handler(T_ILLOP, NULL);
	}
	return check_result();
}
