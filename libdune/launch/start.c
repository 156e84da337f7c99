// SPDX-License-Identifier: MIT
/*
 * How a new program finds its stack, and what the kernel tells others of it in /proc.  HR3.
 */
#include "launch/inside.h"

unsigned long preload_string_end(const char *string)
{
	while (*string++)
		;
	return (unsigned long)string;
}

/* The kernel has put the strings of arguments and environment one behind the other. */
void preload_find_start(struct start *s, long *argc)
{
	char **p;

	s->argc = argc;
	s->argv = (char **)argc + 1;
	s->envp = s->argv + *argc + 1;
	for (p = s->envp; *p; p++)
		;
	s->auxv = (Elf64_auxv_t *)(p + 1);
	s->env_start = s->env_end = NULL;
	if (p > s->envp) {
		s->env_start = s->envp[0];
		s->env_end = (char *)preload_string_end(p[-1]);
	}
}

unsigned long preload_describe(struct prctl_mm_map *map, const struct start *s, const Elf64_Phdr *segments,
			       unsigned int nr_segments, unsigned long bias)
{
	unsigned long end = 0;

	map->start_code = -1UL;
	for (const Elf64_Phdr *p = segments; p < segments + nr_segments; p++) {
		unsigned long start = bias + p->p_vaddr, file_end = start + p->p_filesz;

		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_flags & PF_X && start < map->start_code)
			map->start_code = start;
		if (p->p_flags & PF_X && file_end > map->end_code)
			map->end_code = file_end;
		if (start > map->start_data)
			map->start_data = start;
		if (file_end > map->end_data)
			map->end_data = file_end;
		if (start + p->p_memsz > end)
			end = start + p->p_memsz;
	}
	map->start_stack = (unsigned long)s->argc;
	map->arg_end = *s->argc > 0 ? preload_string_end(s->argv[*s->argc - 1]) : (unsigned long)s->env_start;
	map->arg_start = *s->argc > 0 ? (unsigned long)s->argv[0] : map->arg_end;
	map->env_start = s->env_start ? (unsigned long)s->env_start : map->arg_end;
	map->env_end = s->env_end ? (unsigned long)s->env_end : map->env_start;
	return end;
}

long preload_set_map(const struct prctl_mm_map *map)
{
	return dune_syscall5(__NR_prctl, PR_SET_MM, PR_SET_MM_MAP, map, sizeof(*map), 0);
}
