// SPDX-License-Identifier: MIT
/*
 * A program that watches others (dune-ring3.h) is their loader too: the same file is started by the kernel in place of
 * each program that is executed, and a copy of it lies in libdune's granule, with its callbacks.  HR3.
 *
 * It names no interpreter, so nothing of a dynamic linker, which the environment could lead astray, runs in a loader.
 * Where it is started for its main(), it has the dynamic linker run it.
 */
#include <linux/fcntl.h>
#include <linux/limits.h>
#include <linux/mman.h>

#include "host/callbacks.h"
#include "launch/inside.h"

#define LINKER	"/lib64/ld-linux-x86-64.so.2"

/* Has the dynamic linker been here?  Only then there is a C library. */
__asm__(".text\n"
	".globl dune_ring3_start\n"
	".type dune_ring3_start, @function\n"
	"dune_ring3_start:\n"
	".cfi_startproc\n"
	".cfi_undefined rip\n"
	"	mov	__libc_start_main@GOTPCREL(%rip), %rax\n"
	"	test	%rax, %rax\n"
	"	jz	dune_load\n"
	"	jmp	_start\n"
	".cfi_endproc\n"
	".size dune_ring3_start, . - dune_ring3_start");

void preload_main(const struct start *s)
{
	const char **argv = __builtin_alloca((*s->argc + 3) * sizeof(*argv)), **p = argv;
	char path[PATH_MAX];
	long length = dune_syscall3(__NR_readlink, "/proc/self/exe", path, sizeof(path) - 1);

	path[is_error(length) ? 0 : length] = '\0';
	*p++ = LINKER;
	*p++ = path;
	for (long i = 1; i < *s->argc; i++)
		*p++ = s->argv[i];
	*p = NULL;
	length = dune_syscall3(__NR_execve, LINKER, argv, s->envp);
	__dune_message("%s cannot be started: %s", LINKER, __dune_error_name(-length));
	for (;;)
		dune_syscall1(__NR_exit_group, LAUNCH_FAILED);
}

/* Bytes of the file that @fd is open on. */
static uint64_t file_size(int fd)
{
	uint64_t status[18] = { 0 };	/* struct stat */

	dune_syscall2(__NR_fstat, fd, status);
	return status[6];
}

/* All of the file @fd at @at, if that is below @end; where it ends. */
static unsigned long map_file(int fd, unsigned long at, unsigned long end, int protection)
{
	const uint64_t size = file_size(fd);
	long ret = size && size <= end - at ? dune_syscall6(__NR_mmap, at, size, protection, MAP_SHARED | MAP_FIXED, fd,
							    0) : -ENOMEM;

	if (is_error(ret))
		preload_fail("cannot map the memory of callbacks", ret);
	return at + page_up(size);
}

void preload_keep_fds(int fds)
{
	const unsigned long image = __dune_process.region + REGION_IMAGE, end = __dune_process.region + REGION_PAGES;
	const unsigned long at = image + page_up(__dune_process.image_size);
	const struct ring3_header *header = (const struct ring3_header *)at;
	const int first = preload_keep(fds, LOADER_FDS);
	unsigned long behind;

	behind = map_file(first + LOADER_FD_MEMORY, at, end, PROT_READ | PROT_WRITE);
	if (header->data_size)
		map_file(first + LOADER_FD_DATA, behind, end, PROT_READ);
	__dune_callbacks_set(header, image);
}
