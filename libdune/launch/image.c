// SPDX-License-Identifier: MIT
/*
 * The object as a program of its own: OBJECT FD NAME [ARGUMENT...] loads the program that descriptor FD is open on, as
 * the kernel would have done for NAME, and runs it in Dune mode.  libdune and dune-run have the kernel start this in
 * place of a statically linked program, into which nothing could be loaded otherwise; and of any that is checked, of
 * which nothing is to run outside.  With a program that has a dynamic linker it loads that too, and begins there.
 *
 * The kernel puts a file without an interpreter where it puts dynamic linkers, so that it is not in
 * the way of a program with a fixed address.
 *
 * HR3, until it enters.
 */
#include <elf.h>

#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>

#include "base/object.h"
#include "launch/inside.h"

#define CANNOT_LOAD	126
#define ADDRESS_END	(1UL << 47)	/* of the process's addresses */

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const Elf64_Dyn _DYNAMIC[] __attribute__((visibility("hidden")));

int preload_kept_fds = -1;

struct image {
	const char *name;
	int fd;
	Elf64_Ehdr header;
	Elf64_Phdr *segments;		/* all its program headers */
	unsigned long bias;		/* what is added to the file's addresses */
	char linker[PGSIZE];		/* the path of its dynamic linker, or "" */
};

/* What the kernel finds wrong only when the old program is gone is death by this signal. */
static void __attribute__((noreturn)) cannot_load(const struct image *image, const char *what, int error)
{
	if (error)
		__dune_fatal(SIGSEGV, "%s: %s: %s (error %d)", image->name, what, __dune_error_name(error), error);
	__dune_fatal(SIGSEGV, "%s: %s", image->name, what);
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

/* Its headers stay in memory of their own until it is mapped. */
static void read_headers(struct image *image)
{
	Elf64_Ehdr *h = &image->header;
	long at, size;

	if (dune_syscall4(__NR_pread64, image->fd, h, sizeof(*h), 0) != sizeof(*h) || !h->e_phnum ||
	    h->e_phnum > PROGRAM_HEADERS || h->e_phentsize != sizeof(Elf64_Phdr))
		cannot_load(image, "not a program", 0);
	size = h->e_phnum * sizeof(Elf64_Phdr);
	at = dune_syscall6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (is_error(at))
		cannot_load(image, "no memory for its headers", -at);
	image->segments = (Elf64_Phdr *)at;
	if (dune_syscall4(__NR_pread64, image->fd, at, size, h->e_phoff) != size)
		cannot_load(image, "its program headers cannot be read", 0);
}

/* As the kernel does: the first PT_INTERP counts. */
static void read_linker(struct image *image)
{
	for (int i = 0; i < image->header.e_phnum; i++) {
		const Elf64_Phdr *s = &image->segments[i];

		if (s->p_type != PT_INTERP)
			continue;
		if (s->p_filesz < 2 || s->p_filesz > sizeof(image->linker) ||
		    dune_syscall4(__NR_pread64, image->fd, image->linker, s->p_filesz, s->p_offset) !=
		    (long)s->p_filesz || image->linker[s->p_filesz - 1])
			cannot_load(image, "the path of its dynamic linker cannot be read", 0);
		return;
	}
}

/* The next of its segments that are loaded, behind @s; NULL: the first. */
static const Elf64_Phdr *next_segment(const struct image *image, const Elf64_Phdr *s)
{
	const Elf64_Phdr *end = image->segments + image->header.e_phnum;

	for (s = s ? s + 1 : image->segments; s < end; s++)
		if (s->p_type == PT_LOAD)
			return s;
	return NULL;
}

#define for_each_segment(image, s)	for (s = next_segment(image, NULL); s; s = next_segment(image, s))

static int protection(const Elf64_Phdr *segment)
{
	return (segment->p_flags & PF_R ? PROT_READ : 0) | (segment->p_flags & PF_W ? PROT_WRITE : 0) |
	       (segment->p_flags & PF_X ? PROT_EXEC : 0);
}

/*
 * One place for all of the program, where nothing else is: so its segments may overlap each other, but not us.  One
 * that goes anywhere is put at a multiple of what its segments ask for.
 */
static void choose_place(struct image *image)
{
	const bool fixed = image->header.e_type == ET_EXEC;
	unsigned long low = -1UL, high = 0, align = PGSIZE, size;
	const Elf64_Phdr *s;
	long ret;

	for_each_segment(image, s) {
		if (s->p_filesz > s->p_memsz || s->p_memsz > ADDRESS_END || s->p_vaddr > ADDRESS_END - s->p_memsz)
			cannot_load(image, "a segment is larger than its place", 0);
		if (page_down(s->p_vaddr) < low)
			low = page_down(s->p_vaddr);
		if (s->p_vaddr + s->p_memsz > high)
			high = s->p_vaddr + s->p_memsz;
		if (s->p_align > align && !(s->p_align & (s->p_align - 1)))
			align = s->p_align;
	}
	if (low >= high || align > ADDRESS_END)
		cannot_load(image, "it has no segments", 0);
	size = page_up(high) - low;
	if (fixed)
		align = PGSIZE;
	ret = dune_syscall6(__NR_mmap, fixed ? low : 0, size + align - PGSIZE, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (fixed ? MAP_FIXED_NOREPLACE : 0), -1, 0);
	if (is_error(ret))
		cannot_load(image, "there is no room for it", -ret);
	dune_syscall2(__NR_munmap, ret, size + align - PGSIZE);
	image->bias = ((ret + align - 1) & -align) - low;
}

static void map(const struct image *image, unsigned long start, unsigned long end, int prot, int fd,
		unsigned long offset)
{
	int flags = MAP_PRIVATE | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0);
	long ret;

	if (end <= start)
		return;
	ret = dune_syscall6(__NR_mmap, start, end - start, prot, flags, fd, offset);
	if (is_error(ret))
		cannot_load(image, "its memory cannot be mapped", -ret);
}

/*
 * Whole pages, which replace what earlier segments have there.  Behind the file's bytes the last page is cleared,
 * if it can be written to; pages behind it are always writable.
 */
static void map_segment(const struct image *image, const Elf64_Phdr *s)
{
	unsigned long start = image->bias + s->p_vaddr, file_end = start + s->p_filesz, end = start + s->p_memsz;
	unsigned long first = page_down(start), bss = first;
	int prot = protection(s);

	if (s->p_filesz) {
		bss = page_up(file_end);
		map(image, first, bss, prot, image->fd, s->p_offset - (start - first));
		if (end > file_end && prot & PROT_WRITE)
			memset((void *)file_end, 0, bss - file_end);
	}
	map(image, bss, page_up(end), PROT_READ | PROT_WRITE | (prot & PROT_EXEC), -1, 0);
}

static void load_image(struct image *image)
{
	const Elf64_Phdr *s;

	read_headers(image);
	choose_place(image);
	for_each_segment(image, s)
		map_segment(image, s);
}

static void forget_image(const struct image *image)
{
	dune_syscall2(__NR_munmap, image->segments, image->header.e_phnum * sizeof(Elf64_Phdr));
	dune_syscall1(__NR_close, image->fd);
}

/* The dynamic linker of @image beside it.  Returns where it begins; 0: there is none. */
static unsigned long load_linker(const struct image *image, struct image *linker)
{
	const int executable = 1;	/* X_OK */
	long fd;

	if (!image->linker[0])
		return 0;
	linker->name = image->linker;
	fd = dune_syscall4(__NR_faccessat2, AT_FDCWD, linker->name, executable, AT_EACCESS);
	if (!fd || fd == -ENOSYS)
		fd = dune_syscall4(__NR_openat, AT_FDCWD, linker->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	if (is_error(fd))
		cannot_load(image, "its dynamic linker cannot be opened", -fd);
	linker->fd = fd;
	__dune_set_linker(fd);
	load_image(linker);
	return linker->bias + linker->header.e_entry;
}

/* Where the program finds its own headers. */
static unsigned long headers_address(const struct image *image)
{
	const unsigned long at = image->header.e_phoff;
	unsigned long address = 0;
	const Elf64_Phdr *s;

	for_each_segment(image, s)
		if (at >= s->p_offset && at - s->p_offset < s->p_filesz)
			address = image->bias + s->p_vaddr + at - s->p_offset;
	return address;
}

/* The stack, which ends behind the file name @top, is executable where the program asks for it: the last header. */
static void set_stack_protection(const struct image *image, unsigned long stack, unsigned long top)
{
	bool executable = false;

	for (int i = 0; i < image->header.e_phnum; i++)
		if (image->segments[i].p_type == PT_GNU_STACK)
			executable = image->segments[i].p_flags & PF_X;
	if (executable)
		dune_syscall3(__NR_mprotect, page_down(stack), page_up(top) - page_down(stack),
			      PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN);
}

/* ---- what the program is told ---- */

/* Move all together over our own arguments. */
static void take_out_arguments(struct start *s, unsigned int n)
{
	char **from = s->argv + n, **to = s->argv, **envp = s->envp;
	Elf64_auxv_t *auxv = s->auxv, *last = auxv;

	*s->argc -= n;
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

static Elf64_auxv_t *find_auxv(const struct start *s, unsigned long type)
{
	Elf64_auxv_t *a = s->auxv;

	while (a->a_type != type && a->a_type != AT_NULL)
		a++;
	return a;
}

static void set_auxv(const struct start *s, const struct image *image, const struct image *linker)
{
	find_auxv(s, AT_BASE)->a_un.a_val = linker->bias;
	find_auxv(s, AT_PHDR)->a_un.a_val = headers_address(image);
	find_auxv(s, AT_PHNUM)->a_un.a_val = image->header.e_phnum;
	find_auxv(s, AT_ENTRY)->a_un.a_val = image->bias + image->header.e_entry;
	find_auxv(s, AT_EXECFN)->a_un.a_val = (unsigned long)image->name;
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

/* From here on the kernel puts the heap of a program that goes anywhere, and of this object. */
#define HEAP_BASE	0x555555555000UL
#define HEAP_SPREAD	(1UL << 30)

/*
 * Where the heap begins.  The kernel has placed it for this object: behind it, or, mostly, by chance in the
 * HEAP_SPREAD bytes from HEAP_BASE on.  That of a program with a fixed address @end is so far behind that.
 */
static unsigned long heap_start(const struct image *image, unsigned long end)
{
	unsigned long brk = dune_syscall1(__NR_brk, 0), chance = brk - HEAP_BASE;

	if (image->header.e_type != ET_EXEC)
		return brk;
	return page_up(end) + (chance < HEAP_SPREAD ? chance : 0);
}

/*
 * What /proc tells others: arguments, environment, auxiliary vector, and for those with CAP_CHECKPOINT_RESTORE
 * the file.  A kernel without CONFIG_CHECKPOINT_RESTORE goes on telling ours.  Returns whether it knows the file.
 */
static bool tell_kernel(const struct start *s, const struct image *image)
{
	struct prctl_mm_map map = { .auxv = (__u64 *)s->auxv, .exe_fd = image->fd };
	unsigned long end = preload_describe(&map, s, image->segments, image->header.e_phnum, image->bias);

	map.brk = map.start_brk = heap_start(image, end);
	map.auxv_size = (char *)(find_auxv(s, AT_NULL) + 1) - (char *)s->auxv;
	if (preload_set_map(&map) == -EBUSY) {		/* only while the old file is mapped */
		leave_file();
		if (!preload_set_map(&map))
			return true;
	}
	map.exe_fd = -1;
	preload_set_map(&map);
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

/* As the kernel does: of all that the program can see only RSP and RIP have a value. */
#define ARITHMETIC_FLAGS	0x8d5	/* OF, SF, ZF, AF, PF, CF */
static unsigned long entry __attribute__((used));

static void __attribute__((noreturn)) go(unsigned long stack)
{
	__asm__ volatile("mov	%0, %%rsp\n\t"
			 "cld\n\t"
			 "pushfq\n\t"
			 "andq	%1, (%%rsp)\n\t"
			 "popfq\n\t"
			 ".irp	r, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15\n\t"
			 "mov	$0, %%\\r\n\t"
			 ".endr\n\t"
			 "jmp	*entry(%%rip)"
			 : : "r"(stack), "i"(~ARITHMETIC_FLAGS));
	__builtin_unreachable();
}

/* Returns what is behind it. */
static const char *read_number(const char *text, int *number)
{
	*number = 0;
	for (; *text >= '0' && *text <= '9' && *number < 100000000; text++)
		*number = *number * 10 + *text - '0';
	return text;
}

static bool read_arguments(const struct start *s, struct image *image, bool *check, int *nr_filters)
{
	const char *after;

	if (*s->argc < LOADER_ARGS)
		return false;
	image->name = s->argv[2];
	after = read_number(s->argv[1], &image->fd);
	*check = after > s->argv[1] && *after == LOADER_CHECK;
	if (*check) {
		if (after[1] < '0' || after[1] > '9')
			return false;
		after = read_number(after + 1, &preload_kept_fds);
	}
	if (*check && *after == LOADER_FILTERS)
		after = read_number(after + 1, nr_filters);
	return !*after && *nr_filters <= *s->argc - LOADER_ARGS;
}

/* Copies, out of what becomes the program's arguments, until it has begun. */
static void keep_filters(const struct image *image, char **texts, int n)
{
	unsigned long size = 0;
	long at;
	char **kept, *to;

	if (!n)
		return;
	for (int i = 0; i < n; i++)
		size += preload_string_end(texts[i]) - (unsigned long)texts[i] + sizeof(char *);
	at = dune_syscall6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (is_error(at))
		cannot_load(image, "no memory for its seccomp filters", -at);
	kept = (char **)at;
	to = (char *)(kept + n);
	for (int i = 0; i < n; i++) {
		unsigned long length = preload_string_end(texts[i]) - (unsigned long)texts[i];

		memcpy(to, texts[i], length);
		kept[i] = to;
		to += length;
	}
	__dune_filters_inherit(kept, n, size);
}

static void __attribute__((noreturn, used)) load(void *stack)
{
	static struct image image, linker;
	struct start s;
	struct wishes wishes = { 0 };
	bool enters, check;
	int nr_filters = 0;

	preload_relocate((unsigned long)__ehdr_start);	/* nobody else does it for a file that the kernel starts */
	preload_find_start(&s, stack);
	if (!read_arguments(&s, &image, &check, &nr_filters)) {
		preload_main(&s);
		__dune_message(LAUNCH_OBJECT ": is loaded, or started, by dune-run");
		for (;;)
			dune_syscall1(__NR_exit_group, CANNOT_LOAD);
	}
	load_image(&image);
	read_linker(&image);
	entry = load_linker(&image, &linker);
	set_stack_protection(&image, (unsigned long)stack,
			     preload_string_end((const char *)find_auxv(&s, AT_EXECFN)->a_un.a_val));
	/* A program that enters by itself is left alone, with all that its environment says. */
	enters = !check && __dune_program_enters(image.segments, image.header.e_phnum, image.bias);
	if (!enters)
		wishes = preload_clean_environment(&s, check);
	wishes.check = check;
	keep_filters(&image, s.argv + LOADER_ARGS, nr_filters);
	take_out_arguments(&s, LOADER_ARGS + nr_filters);
	set_auxv(&s, &image, &linker);
	set_comm(image.name, __dune_set_loaded(image.fd));
	if (tell_kernel(&s, &image))
		__dune_set_loaded(-1);
	if (!entry)
		entry = image.bias + image.header.e_entry;
	else
		forget_image(&linker);
	forget_image(&image);
	if (!enters)
		preload_enter(wishes);
	go((unsigned long)s.argc);
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
