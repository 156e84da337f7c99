// SPDX-License-Identifier: MIT
/*
 * The image of the loader that all programs of a checked process begin with: anonymous memory, sealed, which nobody can
 * change, and which no path leads to. It is made once, of the file of libdune's object; from then on it does not matter
 * who may write that file, or its folders.
 *
 * Its descriptor stays open at exec, beside libdune's own and like that above the program's limit.
 *
 * An ordinary program's code, with the C library.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/launch.h"

/* Newer than the headers of the oldest system that this builds on. */
#ifndef MFD_EXEC
#define MFD_EXEC	0x10U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC	0x20
#endif

/* Nobody has it mapped to write it.  For F_SEAL_WRITE the kernel would wait until no CPU has its pages in a list. */
#define SEALS	(F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define FLAGS	(MFD_CLOEXEC | MFD_ALLOW_SEALING)

/* Linux 6.3 is to be told that it will be executed, and can keep it so. */
static int new_image(int *seals)
{
	int fd = memfd_create(LAUNCH_OBJECT, FLAGS | MFD_EXEC);

	*seals = SEALS | F_SEAL_EXEC;
	if (fd < 0 && errno == EINVAL) {
		fd = memfd_create(LAUNCH_OBJECT, FLAGS);
		*seals = SEALS;
	}
	if (fd < 0 && errno == EACCES)
		__dune_launch_die(LAUNCH_FAILED, "a checked program's loader cannot be made: vm.memfd_noexec is 2, "
				  "set it to 0 or 1 (sysctl vm.memfd_noexec=1)");
	if (fd < 0)
		__dune_launch_die(LAUNCH_FAILED, "memfd_create: %s", strerror(errno));
	return fd;
}

/* Where the last segment ends that is loaded: what is behind it is for debuggers, and most of the file. */
static off_t loaded_size(int file)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	off_t size = 0;

	if (pread(file, &header, sizeof(header), 0) != sizeof(header))
		return 0;
	for (int i = 0; i < header.e_phnum; i++) {
		if (pread(file, &segment, sizeof(segment), header.e_phoff + i * sizeof(segment)) != sizeof(segment))
			return 0;
		if (segment.p_type == PT_LOAD && (off_t)(segment.p_offset + segment.p_filesz) > size)
			size = segment.p_offset + segment.p_filesz;
	}
	return size;
}

static int make_image(const char *object)
{
	int from = open(object, O_RDONLY | O_CLOEXEC), seals, to;
	off_t done = 0, size;
	bool whole;

	if (from < 0)
		__dune_launch_die(LAUNCH_FAILED, "%s: %s", object, strerror(errno));
	size = loaded_size(from);
	to = new_image(&seals);
	while (done < size && sendfile(to, from, &done, size - done) > 0)
		;
	whole = size && done == size;
	/* Any user that the program becomes is to execute and read it: else its memory would be hidden from him. */
	if (!whole || fchmod(to, 0555) || fcntl(to, F_ADD_SEALS, seals))
		__dune_launch_die(LAUNCH_FAILED, "%s: it cannot be copied: %s", object,
				  whole ? strerror(errno) : "no memory, or it has just become shorter");
	close(from);
	return to;
}

static bool are_free(int first)
{
	for (int i = 0; i < CHECKED_FDS; i++)
		if (fcntl(first + i, F_GETFD) >= 0)
			return false;
	return true;
}

/*
 * What is above the soft limit, but not the hard one: there must be room between the two (host/calls/limits.c).  Who
 * may have more gets more, others less.  Returns the first of CHECKED_FDS free numbers; *@limit: the process's from now
 * on, once they are taken.
 */
static int find_room(struct rlimit *limit)
{
	struct rlimit more;
	int first;

	if (getrlimit(RLIMIT_NOFILE, limit))
		__dune_launch_die(LAUNCH_FAILED, "RLIMIT_NOFILE: %s", strerror(errno));
	more = (struct rlimit){ limit->rlim_cur, limit->rlim_max + CHECKED_FDS };
	if (!setrlimit(RLIMIT_NOFILE, &more))
		*limit = more;
	else if (limit->rlim_max < 2 * CHECKED_FDS)
		__dune_launch_die(LAUNCH_FAILED, "RLIMIT_NOFILE: a hard limit of %ld is too low for a checked program",
				  (long)limit->rlim_max);
	else if (limit->rlim_cur > limit->rlim_max - CHECKED_FDS)
		limit->rlim_cur = limit->rlim_max - CHECKED_FDS;
	more = (struct rlimit){ limit->rlim_max, limit->rlim_max };
	setrlimit(RLIMIT_NOFILE, &more);
	for (first = limit->rlim_cur < FD_HIGHEST ? (int)limit->rlim_cur : FD_HIGHEST; first > STDERR_FILENO; first--)
		if (are_free(first))
			return first;
	__dune_launch_die(LAUNCH_FAILED, "no descriptor is free (RLIMIT_NOFILE)");
}

int __dune_launch_seal(const char *object, const int *others, int nr_others)
{
	struct rlimit limit;
	int image = make_image(object), first = find_room(&limit), own = first + 1 + LOADER_FD_IMAGE;
	bool done = dup2(image, own) == own;

	for (int i = 0; i < nr_others; i++)
		done = done && dup2(others[i], own + 1 + i) == own + 1 + i;
	if (!done || setrlimit(RLIMIT_NOFILE, &limit))
		__dune_launch_die(LAUNCH_FAILED, "descriptors of a checked program's loader: %s", strerror(errno));
	close(image);
	return own;
}
