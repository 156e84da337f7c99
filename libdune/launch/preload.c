// SPDX-License-Identifier: MIT
/*
 * The object that dune-run has the dynamic linker load first: it takes the program into Dune
 * mode before anything else of it runs, the constructors of its C library included.  So it
 * calls no library, needs none, and serves glibc and musl.
 *
 * HR3, until it enters.
 */
#include "base/object.h"
#include "launch/inside.h"

/* Tells glibc, which passes arguments to constructors, from musl, which does not. */
extern const char *gnu_get_libc_version(void) __attribute__((weak));
extern char **__environ __attribute__((weak));
/* What glibc's dynamic linker tells debuggers, in <link.h>; musl has it under another name. */
struct link_map {
	unsigned long l_addr;
	char *l_name;
	const Elf64_Dyn *l_ld;
	struct link_map *l_next, *l_prev;
};
extern struct {
	int r_version;
	struct link_map *r_map;
} _r_debug __attribute__((weak));
extern const Elf64_Dyn _DYNAMIC[] __attribute__((visibility("hidden")));

/*
 * AddressSanitizer's library refuses to run if it is not the first in the dynamic linker's list: become the last.
 * glibc counts what is in the list, so we must stay there; where symbols are looked for is another list.
 */
static void go_last(struct link_map *first)
{
	struct link_map *own = first, *last;

	while (own && own->l_ld != _DYNAMIC)
		own = own->l_next;
	if (!own || !own->l_prev || !own->l_next)
		return;
	for (last = own->l_next; last->l_next; last = last->l_next)
		;
	own->l_prev->l_next = own->l_next;
	own->l_next->l_prev = own->l_prev;
	own->l_prev = last;
	own->l_next = NULL;
	last->l_next = own;
}

/* It stands before the arguments, whose number it is, and their NULL. */
static long *find_argc(char **envp)
{
	long *end = (long *)envp - 2, *argc = end;

	while (*argc != end - argc)
		argc--;
	return argc;
}

/*
 * The strings of the environment end sooner: have /proc/PID/environ end there.  The rest is as the kernel has it;
 * nobody has used the heap yet.
 */
static void tell_kernel(const struct start *s)
{
	struct prctl_mm_map map = { .exe_fd = -1 };
	const Elf64_Phdr *segments = NULL;
	unsigned long nr_segments = 0;

	for (const Elf64_auxv_t *a = s->auxv; a->a_type != AT_NULL; a++) {
		if (a->a_type == AT_PHDR)
			segments = (const Elf64_Phdr *)a->a_un.a_val;
		else if (a->a_type == AT_PHNUM)
			nr_segments = a->a_un.a_val;
	}
	for (unsigned long i = 0; segments && i < nr_segments; i++) {
		if (segments[i].p_type != PT_PHDR)
			continue;
		preload_describe(&map, s, segments, nr_segments, (unsigned long)segments - segments[i].p_vaddr);
		map.brk = map.start_brk = dune_syscall1(__NR_brk, 0);
		preload_set_map(&map);
		return;
	}
}

static struct wishes clean_up(char **envp)
{
	struct start s;
	const char *end;
	struct wishes wishes;

	preload_find_start(&s, find_argc(envp));
	end = s.env_end;
	wishes = preload_clean_environment(&s, false);
	if (s.env_end != end)
		tell_kernel(&s);
	return wishes;
}

/* The auxiliary vector lies behind the environment. */
static bool program_enters(char **envp)
{
	const Elf64_Phdr *segments = NULL;
	const Elf64_auxv_t *a;
	unsigned long bias = 0;
	int count = 0;

	while (*envp)
		envp++;
	for (a = (const Elf64_auxv_t *)(envp + 1); a->a_type != AT_NULL; a++) {
		if (a->a_type == AT_PHDR)
			segments = (const Elf64_Phdr *)a->a_un.a_val;
		else if (a->a_type == AT_PHNUM)
			count = a->a_un.a_val;
	}
	for (int i = 0; segments && i < count; i++)
		if (segments[i].p_type == PT_PHDR)
			bias = (unsigned long)segments - segments[i].p_vaddr;
	return segments && __dune_program_enters(segments, count, bias);
}

static void __attribute__((constructor)) enter(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	if (!gnu_get_libc_version)
		envp = &__environ ? __environ : NULL;
	if (&_r_debug)
		go_last(_r_debug.r_map);
	/* A program that enters by itself is left alone, with all that its environment says. */
	if (!envp || !program_enters(envp))
		preload_enter(envp ? clean_up(envp) : (struct wishes){ 0 });
}
