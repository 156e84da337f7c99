/* SPDX-License-Identifier: MIT */
/* Kernel modules, loaded and unloaded. */
#ifndef TESTS_MODULES_H
#define TESTS_MODULES_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

/* False: errno says why not. */
static inline bool module_load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error;
	bool loaded;

	if (fd < 0)
		return false;
	loaded = !syscall(SYS_finit_module, fd, "", 0);
	error = errno;
	close(fd);
	errno = error;
	return loaded;
}

/* As soon as nobody uses it; waits 10 s for that.  False: errno says why not. */
static inline bool module_unload(const char *name)
{
	for (unsigned int i = 0; i < 20000; i++) {
		if (!syscall(SYS_delete_module, name, O_NONBLOCK))
			return true;
		if (errno != EAGAIN)
			return false;
		usleep(500);
	}
	errno = EAGAIN;
	return false;
}

#endif
