// SPDX-License-Identifier: MIT
/*
 * Statically linked programs with unusual segments, made here: each is run as it is, by dune-run, and by exec() in
 * Dune mode, and ends as the kernel's own loader has it end.  Each has code that looks at what it can see, and
 * ends with GOOD.
 */
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

enum { GOOD = 42, BAD = 1 };

#define BASE	0x400000UL
#define STRING(x)	#x
#define CODE(name, ...) \
	__asm__(".pushsection .rodata\n" \
		"code_" #name ": " #__VA_ARGS__ "\n" \
		"mov $42, %edi; mov $60, %eax; syscall; ud2\n" \
		"1: mov $1, %edi; mov $60, %eax; syscall; ud2\n" \
		"code_" #name "_end: .popsection"); \
	extern const char code_##name[], code_##name##_end[]

CODE(good, nop);
CODE(data, cmpb $42, 0x401810; jne 1f);
CODE(bss, cmpl $0, 0x410100; jne 1f; cmpl $0, 0x4127fc; jne 1f; movl $1, 0x4127fc);
CODE(tail, cmpb $42, 0x411210; jne 1f);
/* Behind the file's bytes of memory that is not writable: their page as it is in the file, then writable memory. */
CODE(readonly, cmpb $42, 0x411900; jne 1f; cmpl $0, 0x412000; jne 1f; movl $1, 0x412000);
/* Every register but RSP and RIP is 0, RFLAGS too but for IF, RSP is aligned; the vector registers' modes. */
CODE(registers, pushf; test $0x44dd5, %rsp; or %rbx, %rax; or %rcx, %rax; or %rdx, %rax; or %rsi, %rax;
	or %rdi, %rax; or %rbp, %rax; or %r8, %rax; or %r9, %rax; or %r10, %rax; or %r11, %rax; or %r12, %rax;
	or %r13, %rax; or %r14, %rax; or %r15, %rax; jnz 1f; pop %rax; test $0x44dd5, %eax; jnz 1f;
	test $15, %esp; jnz 1f; fnstcw -8(%rsp); cmpw $0x37f, -8(%rsp); jne 1f;
	stmxcsr -8(%rsp); cmpl $0x1f80, -8(%rsp); jne 1f; movq %xmm7, %rax; test %rax, %rax; jnz 1f);
/* The heap begins at a page's start, less than 1 GiB and some pages behind the segments, and grows. */
CODE(heap, xor %edi, %edi; mov $12, %eax; syscall; mov %rax, %rbx; test $4095, %eax; jnz 1f;
	sub $0x403000, %rax; cmp $0x40001000, %rax; ja 1f;
	lea 8192(%rbx), %rdi; mov $12, %eax; syscall; lea 8192(%rbx), %rdi; cmp %rdi, %rax; jne 1f; movb $1, -1(%rax));
/* On the stack itself, and in the page where the program's name is, at its other end. */
CODE(stack, lea 3f(%rip), %rax; push %rax; movabs $0x90909090c3909090, %rax; push %rax; call *%rsp;
	pop %rax; jmp *(%rsp);
	3: pop %rax; mov 8(%rsp), %rcx; or $4095, %rcx; sub $15, %rcx; movb $0xc3, (%rcx); call *%rcx);
/* The program headers are where AT_PHDR (3) says; AT_PHNUM (5), AT_ENTRY (9). */
CODE(headers, mov %rsp, %rbx; mov (%rbx), %rax; lea 16(%rbx, %rax, 8), %rbx;
	2: mov (%rbx), %rax; add $8, %rbx; test %rax, %rax; jnz 2b;
	2: mov (%rbx), %rax; mov 8(%rbx), %rcx; add $16, %rbx;
	cmp $3, %eax; jne 3f; cmp $0x402040, %rcx; jne 1f; inc %ebp;
	3: cmp $5, %eax; jne 3f; cmp $3, %ecx; jne 1f; inc %ebp;
	3: cmp $9, %eax; jne 3f; cmp $0x401000, %ecx; jne 1f; inc %ebp;
	3: test %rax, %rax; jnz 2b; cmp $3, %ebp; jne 1f);
/* At a multiple of 2 MiB. */
CODE(aligned, lea -7(%rip), %rax; sub $0x1000, %eax; test $0x1fffff, %eax; jnz 1f);

struct segment {
	uint32_t flags;
	uint64_t offset, address, size, memory;
	uint32_t type;		/* 0: PT_LOAD */
	uint64_t align;		/* 0: a page */
};

struct image {
	const char *name;
	int status;		/* exit code, or minus the signal */
	const char *code, *code_end;
	uint64_t code_at;	/* in the file; 0: 0x1000 */
	uint64_t entry;		/* 0: BASE and that */
	uint16_t type;		/* 0: ET_EXEC */
	uint16_t more;		/* empty headers, behind the others */
	uint16_t byte_at;	/* there the file has a 42 */
	struct segment segments[4];
};

#define RUNS(name)	code_##name, code_##name##_end

static const struct image images[] = {
	{ "one segment of all rights", GOOD, RUNS(good), .segments = { { 7, 0, BASE, 0x3000, 0x3000 } } },
	{ "two at the same place: the second counts", GOOD, RUNS(good), .entry = BASE, .segments = {
		{ PF_R, 0, BASE, 0x1000, 0x1000 }, { PF_R | PF_X, 0x1000, BASE, 0x1000, 0x1000 } } },
	{ "two that share a page", GOOD, RUNS(data), .code_at = 0x200, .byte_at = 0x1810, .segments = {
		{ PF_R | PF_X, 0, BASE, 0x1800, 0x1800 },
		{ PF_R | PF_W, 0x1800, BASE + 0x1800, 0x100, 0x100 } } },
	{ "from high addresses to low ones", GOOD, RUNS(good), .segments = {
		{ PF_R | PF_W, 0x2000, BASE + 0x2000, 0x1000, 0x1000 },
		{ PF_R | PF_X, 0x1000, BASE + 0x1000, 0x1000, 0x1000 }, { PF_R, 0, BASE, 0x1000, 0x1000 } } },
	{ "far apart", GOOD, RUNS(good), .segments = {
		{ PF_R | PF_X, 0, BASE, 0x2000, 0x2000 },
		{ PF_R | PF_W, 0x2000, 0x200000000000, 0x1000, 0x1000 } } },
	{ "zeros behind the file's bytes", GOOD, RUNS(bss), .byte_at = 0x2100, .segments = {
		{ PF_R | PF_X, 0, BASE, 0x2000, 0x2000 },
		{ PF_R | PF_W, 0x2000, BASE + 0x10000, 0x100, 0x2800 } } },
	{ "zeros alone", GOOD, RUNS(bss), .segments = {
		{ PF_R | PF_W, 0, BASE + 0x10000, 0, 0x2800 }, { PF_R | PF_X, 0, BASE, 0x2000, 0x2000 } } },
	{ "zeros up to the page of the next", GOOD, RUNS(tail), .byte_at = 0x2210, .segments = {
		{ PF_R | PF_X, 0, BASE, 0x1800, 0x1800 },
		{ PF_R | PF_W, 0x2000, BASE + 0x10000, 0x100, 0x1100 },
		{ PF_R | PF_W, 0x2200, BASE + 0x11200, 0x100, 0x100 } } },
	{ "zeros behind read-only bytes", GOOD, RUNS(readonly), .byte_at = 0x2900, .segments = {
		{ PF_R, 0x2000, BASE + 0x11000, 0x800, 0x1800 },
		{ PF_R | PF_X, 0, BASE, 0x1800, 0x1800 } } },
	{ "no segment has the headers", GOOD, RUNS(good), .entry = BASE, .segments = {
		{ PF_R | PF_X, 0x1000, BASE, 0x1000, 0x1000 } } },
	{ "the last that has the headers tells where they are", GOOD, RUNS(headers), .segments = {
		{ PF_R | PF_X, 0, BASE, 0x2000, 0x2000 }, { PF_R, 0, BASE + 0x2000, 0x1000, 0x1000 },
		{ PF_R, 0x1000, BASE + 0x3000, 0x1000, 0x1000 } } },
	{ "at 64 KiB", GOOD, RUNS(good), .entry = 0x10000, .segments = {
		{ PF_R | PF_X, 0x1000, 0x10000, 0x1000, 0x1000 } } },
	{ "at 112 TiB", GOOD, RUNS(good), .entry = 0x700000000000, .segments = {
		{ PF_R | PF_X, 0x1000, 0x700000000000, 0x1000, 0x1000 } } },
	{ "anywhere, at a multiple of 2 MiB", GOOD, RUNS(aligned), .type = ET_DYN, .entry = 0x1000, .segments = {
		{ PF_R | PF_X, 0, 0, 0x2000, 0x2000, .align = 1 << 21 } } },
	{ "70 headers", GOOD, RUNS(good), .code_at = 0x2000, .more = 69, .segments = {
		{ PF_R | PF_X, 0, BASE, 0x3000, 0x3000 } } },
	{ "73 headers, which fill a page", GOOD, RUNS(good), .code_at = 0x2000, .more = 72, .segments = {
		{ PF_R | PF_X, 0, BASE, 0x3000, 0x3000 } } },
	{ "registers", GOOD, RUNS(registers), .segments = { { PF_R | PF_X, 0, BASE, 0x2000, 0x2000 } } },
	{ "the heap", GOOD, RUNS(heap), .segments = {
		{ PF_R | PF_X, 0, BASE, 0x2000, 0x2000 }, { PF_R | PF_W, 0x2000, BASE + 0x2000, 0x100, 0xf00 } } },
	{ "an executable stack", GOOD, RUNS(stack), .segments = {
		{ PF_R | PF_X, 0, BASE, 0x2000, 0x2000 }, { PF_R | PF_W | PF_X, .type = PT_GNU_STACK } } },
	{ "the last word on the stack counts", -SIGSEGV, RUNS(stack), .segments = {
		{ PF_R | PF_W | PF_X, .type = PT_GNU_STACK }, { PF_R | PF_X, 0, BASE, 0x2000, 0x2000 },
		{ PF_R | PF_W, .type = PT_GNU_STACK } } },
	{ "no word on the stack", -SIGSEGV, RUNS(stack), .segments = { { PF_R | PF_X, 0, BASE, 0x2000, 0x2000 } } },
	{ "more bytes in the file than in memory", -SIGSEGV, RUNS(good), .segments = {
		{ PF_R | PF_X, 0, BASE, 0x2000, 0x1000 } } },
	{ "an offset that does not fit the address", -SIGSEGV, RUNS(good), .segments = {
		{ PF_R | PF_X, 0, BASE + 0x10, 0x2000, 0x2000 } } },
	{ "beyond all addresses", -SIGSEGV, RUNS(good), .segments = {
		{ PF_R | PF_X, 0, BASE, 0x2000, 0x2000 }, { PF_R | PF_W, 0x2000, 0x7ffffffff000, 0x1000, 0x1000 } } },
};

static char path[] = "/tmp/segments", self[4096], large[10000];

static void write_image(const struct image *image)
{
	static char file[0x12000];
	Elf64_Ehdr *h = (Elf64_Ehdr *)file;
	Elf64_Phdr *p = (Elf64_Phdr *)(h + 1);
	const uint64_t code_at = image->code_at ? image->code_at : 0x1000;
	int fd;

	memset(file, 0, sizeof(file));
	*h = (Elf64_Ehdr){
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = image->type ? image->type : ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
		.e_entry = image->entry ? image->entry : BASE + code_at, .e_phoff = sizeof(*h), .e_ehsize = sizeof(*h),
		.e_phentsize = sizeof(*p),
	};
	for (const struct segment *s = image->segments; s->flags; s++)
		p[h->e_phnum++] = (Elf64_Phdr){
			.p_type = s->type ? s->type : PT_LOAD, .p_flags = s->flags, .p_offset = s->offset,
			.p_vaddr = s->address, .p_paddr = s->address, .p_filesz = s->size, .p_memsz = s->memory,
			.p_align = s->align ? s->align : 4096,
		};
	h->e_phnum += image->more;
	memcpy(file + code_at, image->code, image->code_end - image->code);
	if (image->byte_at)
		file[image->byte_at] = 42;
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	DIE_UNLESS(fd >= 0 && write(fd, file, sizeof(file)) == sizeof(file), path);
	close(fd);
}

static int run(char *const *argv)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int nothing = open("/dev/null", O_WRONLY);

		dup2(nothing, STDERR_FILENO);	/* a refusal's text */
		close(nothing);
		execvp(argv[0], argv);
		_exit(99);
	}
	DIE_UNLESS(pid > 0 && waitpid(pid, &status, 0) == pid, "a child");
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "exec"))
		return execl(argv[2], argv[2], NULL), 98;
	/* So the stack has more than a page. */
	memset(large, 'x', sizeof(large) - 1);
	setenv("LARGE", large, 1);
	DIE_UNLESS(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0, "the own name");
	for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
		const struct image *image = &images[i];
		int inside, by_exec, outside;

		write_image(image);
		outside = run((char *[]){ path, NULL });
		inside = run((char *[]){ "dune-run", path, NULL });
		by_exec = run((char *[]){ "dune-run", self, "exec", path, NULL });
		CHECK(outside == image->status, "%s: %d outside, not %d", image->name, outside, image->status);
		CHECK(inside == image->status, "%s: %d by dune-run, not %d", image->name, inside, image->status);
		CHECK(by_exec == image->status, "%s: %d by exec, not %d", image->name, by_exec, image->status);
	}
	unlink(path);
	return check_result();
}
