// SPDX-License-Identifier: MIT
/*
 * The machine is restarted, or another kernel started in its place, while processes run in Dune mode. The
 * test is that it does so, which tests/life/run looks at from outside.
 *
 *	life-reboot [KERNEL INITRD ARGUMENTS]	for kexec
 */
#include <fcntl.h>
#include <sys/reboot.h>
#include <sys/syscall.h>

#include "check.h"
#include "companions.h"

int main(int argc, char **argv)
{
	int how = RB_AUTOBOOT;

	companions_start(memory_companions, NR_MEMORY_COMPANIONS);
	companions_go_on(memory_companions, NR_MEMORY_COMPANIONS, 10, "at first");
	if (argc > 3) {
		int kernel = open(argv[1], O_RDONLY), initrd = open(argv[2], O_RDONLY);

		DIE_UNLESS(kernel >= 0 && initrd >= 0, "the kernel or its initrd");
		DIE_UNLESS(!syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[3]) + 1, argv[3], 0UL),
			   "kexec_file_load");
		how = RB_KEXEC;
	}
	companions_go_on(memory_companions, NR_MEMORY_COMPANIONS, 10, "before the end");
	if (!check_failures)
		reboot(how);
	perror("reboot");
	return 1;
}
