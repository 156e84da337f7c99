// SPDX-License-Identifier: MIT
/*
 * The object as a program of its own: OBJECT FD NAME [ARGUMENT...] loads the statically linked program that
 * descriptor FD is open on, as the kernel would have done for NAME, and runs it in Dune mode.
 * libdune and dune-run have the kernel start this in place of such a program, into which
 * nothing could be loaded otherwise.
 *
 * The kernel puts a file without an interpreter where it puts dynamic linkers, so that it is not in
 * the way of a program with a fixed address.
 *
 * HR3, until it enters.
 */
#include <elf.h>

#include <linux/mman.h>
#include <linux/prctl.h>

#include "launch/inside.h"

#define NR_PROGRAM_HEADERS	64
#define CANNOT_LOAD		126

#define page_down(address)	((address) & -(unsigned long)PGSIZE)
#define page_up(address)	page_down((address) + PGSIZE - 1)

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const Elf64_Dyn _DYNAMIC[] __attribute__((visibility("hidden")));

/* What the kernel has put on the stack, and where it goes, without our own arguments. */
struct start {
	long *argc;
	char **argv, **envp;
	Elf64_auxv_t *auxv;
};

struct image {
	const char *name;
	int fd;
	Elf64_Ehdr header;
	Elf64_Phdr segments[NR_PROGRAM_HEADERS];
	unsigned long bias;		/* what is added to the file's addresses */
	unsigned long code, code_end, data, data_end, end;
};

static void __attribute__((noreturn)) cannot_load(const struct image *image, const char *what)
{
	__dune_message("%s: %s", image->name, what);
	for (;;)
		dune_syscall1(__NR_exit_group, CANNOT_LOAD);
}

/* Undefined weak symbols stay as they are. */
void preload_relocate(unsigned long base)
{
	const unsigned long own = (unsigned long)__ehdr_start;
	unsigned long rela_at = 0, size = 0;
	const Elf64_Rela *rela;

	for (const Elf64_Dyn *d = _DYNAMIC; d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_RELA)
			rela_at = d->d_un.d_ptr;
		else if (d->d_tag == DT_RELASZ)
			size = d->d_un.d_val;
	}
	/* glibc's dynamic linker makes it an address. */
	rela = (const Elf64_Rela *)(rela_at < own ? own + rela_at : rela_at);
	for (unsigned long i = 0; i < size / sizeof(*rela); i++)
		if (ELF64_R_TYPE(rela[i].r_info) == R_X86_64_RELATIVE)
			*(unsigned long *)(base + rela[i].r_offset) = base + rela[i].r_addend;
}

/* ---- the program's segments ---- */

static void read_headers(struct image *image)
{
	Elf64_Ehdr *h = &image->header;
	long size;

	if (dune_syscall4(__NR_pread64, image->fd, h, sizeof(*h), 0) != sizeof(*h) ||
	    h->e_phnum > NR_PROGRAM_HEADERS || h->e_phentsize != sizeof(Elf64_Phdr))
		cannot_load(image, "not a program");
	size = h->e_phnum * sizeof(Elf64_Phdr);
	if (dune_syscall4(__NR_pread64, image->fd, image->segments, size, h->e_phoff) != size)
		cannot_load(image, "its program headers cannot be read");
}

static int protection(const Elf64_Phdr *segment)
{
	return (segment->p_flags & PF_R ? PROT_READ : 0) | (segment->p_flags & PF_W ? PROT_WRITE : 0) |
	       (segment->p_flags & PF_X ? PROT_EXEC : 0);
}

/* One place for all of a program that goes anywhere, at a multiple of what its segments ask for. */
static void choose_place(struct image *image)
{
	unsigned long low = -1UL, high = 0, align = PGSIZE;
	long ret;

	for (int i = 0; i < image->header.e_phnum; i++) {
		const Elf64_Phdr *s = &image->segments[i];

		if (s->p_type != PT_LOAD)
			continue;
		if (page_down(s->p_vaddr) < low)
			low = page_down(s->p_vaddr);
		if (s->p_vaddr + s->p_memsz > high)
			high = s->p_vaddr + s->p_memsz;
		if (s->p_align > align && !(s->p_align & (s->p_align - 1)))
			align = s->p_align;
	}
	if (low >= high || high > 1UL << 46 || align > 1UL << 40)
		cannot_load(image, "it has no segments, or too large ones");
	if (image->header.e_type != ET_DYN)
		return;
	high = page_up(high) - low;
	ret = dune_syscall6(__NR_mmap, 0, high + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (is_error(ret))
		cannot_load(image, "there is no room for it");
	image->bias = (ret + align - 1) & -align;
	dune_syscall2(__NR_munmap, ret, image->bias - ret);
	dune_syscall2(__NR_munmap, image->bias + high, ret + align - image->bias);
	image->bias -= low;
	/* MAP_FIXED_NOREPLACE below. */
	dune_syscall2(__NR_munmap, image->bias + low, high);
}

static void map(const struct image *image, unsigned long start, unsigned long end, int prot, int fd,
		unsigned long offset)
{
	int flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_ANONYMOUS : 0);

	if (end > start && dune_syscall6(__NR_mmap, start, end - start, prot, flags, fd, offset) != (long)start)
		cannot_load(image, "its memory cannot be mapped");
}

static void map_segment(struct image *image, const Elf64_Phdr *s)
{
	unsigned long start = image->bias + s->p_vaddr, file_end = start + s->p_filesz, end = start + s->p_memsz;
	unsigned long first = page_down(start);
	int prot = protection(s);

	if (s->p_filesz)
		map(image, first, page_up(file_end), prot, image->fd, page_down(s->p_offset));
	else
		file_end = first;
	if (end > file_end && s->p_filesz && prot & PROT_WRITE)
		memset((void *)file_end, 0, page_up(file_end) - file_end);
	map(image, page_up(file_end), page_up(end), prot, -1, 0);
	if (end > image->end)
		image->end = end;
	if (s->p_flags & PF_X && (!image->code || start < image->code))
		image->code = start;
	if (s->p_flags & PF_X && start + s->p_filesz > image->code_end)
		image->code_end = start + s->p_filesz;
	if (start > image->data)
		image->data = start;
	if (start + s->p_filesz > image->data_end)
		image->data_end = start + s->p_filesz;
}

static void map_segments(struct image *image)
{
	for (int i = 0; i < image->header.e_phnum; i++)
		if (image->segments[i].p_type == PT_LOAD)
			map_segment(image, &image->segments[i]);
}

/* Where the program finds its own headers. */
static unsigned long headers_address(const struct image *image)
{
	for (int i = 0; i < image->header.e_phnum; i++) {
		const Elf64_Phdr *s = &image->segments[i];

		if (s->p_type == PT_LOAD && image->header.e_phoff - s->p_offset < s->p_filesz)
			return image->bias + s->p_vaddr + image->header.e_phoff - s->p_offset;
	}
	return 0;
}

/* The stack is executable where the program asks for it. */
static void set_stack_protection(const struct image *image, unsigned long stack)
{
	for (int i = 0; i < image->header.e_phnum; i++)
		if (image->segments[i].p_type == PT_GNU_STACK && image->segments[i].p_flags & PF_X)
			dune_syscall3(__NR_mprotect, page_down(stack), PGSIZE,
				      PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN);
}

/* ---- what the program is told ---- */

static void find(struct start *s, void *stack)
{
	s->argc = stack;
	s->argv = (char **)stack + 1;
	s->envp = s->argv + *s->argc + 1;
	for (s->auxv = (Elf64_auxv_t *)s->envp; *(char **)s->auxv; s->auxv = (Elf64_auxv_t *)((char **)s->auxv + 1))
		;
	s->auxv = (Elf64_auxv_t *)((char **)s->auxv + 1);
}

/* Move all together over our own arguments. */
static void take_out_arguments(struct start *s)
{
	char **from = s->argv + LOADER_ARGS, **to = s->argv, **envp = s->envp;
	Elf64_auxv_t *auxv = s->auxv, *last = auxv;

	*s->argc -= LOADER_ARGS;
	while ((*to++ = *from++))
		;
	s->envp = to;
	while ((*to++ = *envp++))
		;
	while (last++->a_type != AT_NULL)
		;
	s->auxv = (Elf64_auxv_t *)to;
	memcpy(to, auxv, (char *)last - (char *)auxv);
}

static void set_auxv(const struct start *s, const struct image *image)
{
	for (Elf64_auxv_t *a = s->auxv; a->a_type != AT_NULL; a++) {
		switch (a->a_type) {
		case AT_PHDR:
			a->a_un.a_val = headers_address(image);
			break;
		case AT_PHNUM:
			a->a_un.a_val = image->header.e_phnum;
			break;
		case AT_ENTRY:
			a->a_un.a_val = image->bias + image->header.e_entry;
			break;
		case AT_EXECFN:
			a->a_un.a_val = (unsigned long)image->name;
			break;
		}
	}
}

static unsigned long string_end(const char *string)
{
	while (*string++)
		;
	return (unsigned long)string;
}

/* Put copies in the place of this object's pages, so that its file is no longer mapped. */
static void leave_file(void)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)__ehdr_start;
	const Elf64_Phdr *segments = (const Elf64_Phdr *)(__ehdr_start + header->e_phoff);

	for (int i = 0; i < header->e_phnum; i++) {
		unsigned long first = (unsigned long)__ehdr_start + segments[i].p_vaddr, start = page_down(first);
		unsigned long size = page_up(first + segments[i].p_memsz) - start;
		long copy;

		if (segments[i].p_type != PT_LOAD)
			continue;
		copy = dune_syscall6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (is_error(copy))
			return;
		memcpy((void *)copy, (const void *)start, size);
		dune_syscall3(__NR_mprotect, copy, size, protection(&segments[i]));
		dune_syscall5(__NR_mremap, copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, start);
	}
}

/*
 * Where the kernel lets the heap begin; without randomization that is behind this object, where there may be little
 * room: behind a program with a fixed address there is.
 */
static unsigned long heap_start(const struct image *image)
{
	unsigned long brk = dune_syscall1(__NR_brk, 0);

	return image->header.e_type == ET_EXEC && brk > (unsigned long)__ehdr_start ? page_up(image->end) : brk;
}

static long set_map(const struct prctl_mm_map *map)
{
	return dune_syscall5(__NR_prctl, PR_SET_MM, PR_SET_MM_MAP, map, sizeof(*map), 0);
}

/*
 * What /proc tells others: arguments, environment, auxiliary vector, and for those with CAP_CHECKPOINT_RESTORE
 * the file.  A kernel without CONFIG_CHECKPOINT_RESTORE goes on telling ours.  Returns whether it knows the file.
 */
static bool tell_kernel(const struct start *s, const struct image *image, const char *env_start)
{
	unsigned long brk = heap_start(image), args_end, size = 0;
	struct prctl_mm_map map;

	while (s->auxv[size++].a_type != AT_NULL)
		;
	args_end = *s->argc > 0 ? string_end(s->argv[*s->argc - 1]) : string_end(image->name);
	map = (struct prctl_mm_map){
		.start_code = image->code, .end_code = image->code_end,
		.start_data = image->data, .end_data = image->data_end,
		.start_brk = brk, .brk = brk, .start_stack = (unsigned long)s->argc,
		.arg_start = *s->argc > 0 ? (unsigned long)s->argv[0] : args_end, .arg_end = args_end,
		.env_start = env_start ? (unsigned long)env_start : args_end, .env_end = args_end,
		.auxv = (__u64 *)s->auxv, .auxv_size = size * sizeof(*s->auxv), .exe_fd = image->fd,
	};
	for (char **e = s->envp; *e; e++)
		if (string_end(*e) > map.env_end)
			map.env_end = string_end(*e);
	if (set_map(&map) == -EBUSY) {		/* only while the old file is mapped */
		leave_file();
		if (!set_map(&map))
			return true;
	}
	map.exe_fd = -1;
	set_map(&map);
	return false;
}

/* @path: of the file; one that was started by a descriptor is known by that. */
static void set_comm(const char *name, const char *path)
{
	const char *file = preload_starts_with(name, "/dev/fd/") && *path ? path : name, *comm = file;

	for (const char *p = file; *p; p++)
		if (*p == '/')
			comm = p + 1;
	dune_syscall2(__NR_prctl, PR_SET_NAME, comm);
}

static void __attribute__((noreturn)) go(unsigned long stack, unsigned long entry)
{
	__asm__ volatile("mov	%0, %%rsp\n\t"
			 "mov	%1, %%rax\n\t"
			 "xor	%%ebx, %%ebx\n\t"
			 "xor	%%ecx, %%ecx\n\t"
			 "xor	%%edx, %%edx\n\t"	/* no function to call at exit */
			 "xor	%%ebp, %%ebp\n\t"
			 "xor	%%esi, %%esi\n\t"
			 "xor	%%edi, %%edi\n\t"
			 "cld\n\t"
			 "jmp	*%%rax"
			 : : "r"(stack), "r"(entry));
	__builtin_unreachable();
}

static bool read_number(const char *text, int *number)
{
	*number = 0;
	for (; *text >= '0' && *text <= '9' && *number < 100000000; text++)
		*number = *number * 10 + *text - '0';
	return !*text;
}

static void __attribute__((noreturn, used)) load(void *stack)
{
	struct image image = { 0 };
	const char *env_start;
	struct start s;
	struct wishes wishes;

	preload_relocate((unsigned long)__ehdr_start);	/* nobody else does it for a file that the kernel starts */
	find(&s, stack);
	image.name = LAUNCH_OBJECT;
	if (*s.argc < LOADER_ARGS || !read_number(s.argv[1], &image.fd))
		cannot_load(&image, "is loaded, or started, by dune-run");
	image.name = s.argv[2];
	read_headers(&image);
	choose_place(&image);
	map_segments(&image);
	set_stack_protection(&image, (unsigned long)stack);
	env_start = s.envp[0];
	wishes = preload_clean_environment(s.envp);
	take_out_arguments(&s);
	set_auxv(&s, &image);
	set_comm(image.name, __dune_set_loaded(image.fd));
	if (tell_kernel(&s, &image, env_start))
		__dune_set_loaded(-1);
	dune_syscall1(__NR_close, image.fd);
	preload_enter(wishes);
	go((unsigned long)s.argc, image.bias + image.header.e_entry);
}

/* Where the kernel begins: RSP leads to the arguments. */
__asm__(".text\n"
	".globl dune_load\n"
	".type dune_load, @function\n"
	"dune_load:\n"
	".cfi_startproc\n"
	".cfi_undefined rip\n"
	"	mov	%rsp, %rdi\n"
	"	and	$-16, %rsp\n"
	"	call	load\n"
	".cfi_endproc\n"
	".size dune_load, . - dune_load");
