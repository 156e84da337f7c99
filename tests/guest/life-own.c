// SPDX-License-Identifier: MIT
/*
 * A machine without KVM: the module has switched virtualization on by itself. A KVM that is loaded
 * later makes no VM, and disturbs nothing; when the module is gone, KVM works.
 */
#include <dune.h>

#include <fcntl.h>
#include <glob.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define PROCESSES	3

/* What KVM's modules depend on, and they themselves; only one vendor's fits. */
static const char * const modules[] = { "irqbypass", "ccp", "kvm", "kvm-intel", "kvm-amd" };

static atomic_ulong *rounds;

static int be_process(unsigned int index)
{
	if (dune_init_and_enter())
		return 2;
	for (;;) {
		unsigned long *page = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (page == MAP_FAILED || *page)
			return 1;
		*page = index;
		munmap(page, 65536);
		rounds[index]++;
	}
}

static void all_go_on(const char *what)
{
	double end = check_seconds() + 20;

	for (unsigned int i = 0; i < PROCESSES; i++) {
		unsigned long before = rounds[i];

		while (rounds[i] < before + 3 && check_seconds() < end)
			usleep(1000);
		CHECK(rounds[i] >= before + 3, "%s: process %u stands still", what, i);
	}
}

static bool load(const char *name)
{
	char pattern[128];
	glob_t found;
	bool loaded = false;
	int fd;

	snprintf(pattern, sizeof(pattern), "/lib/modules/*/kernel/*/*/*/%s.ko", name);
	if (glob(pattern, 0, NULL, &found)) {
		snprintf(pattern, sizeof(pattern), "/lib/modules/*/kernel/*/*/%s.ko", name);
		if (glob(pattern, 0, NULL, &found))
			return false;
	}
	fd = open(found.gl_pathv[0], O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		loaded = !syscall(SYS_finit_module, fd, "", 0);
	close(fd);
	globfree(&found);
	return loaded;
}

int main(void)
{
	pid_t pids[PROCESSES];
	int kvm, vm, status;

	DIE_UNLESS(access("/dev/kvm", F_OK), "KVM is loaded already");
	rounds = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (!pids[i])
			_exit(be_process(i));
	}
	all_go_on("at first");

	for (unsigned int i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
		load(modules[i]);
	all_go_on("with KVM's modules");
	/* Whether the modules load at all beside us is KVM's choice. */
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm >= 0) {
		for (unsigned int i = 0; i < 10; i++)
			CHECK_ERRNO(ioctl(kvm, KVM_CREATE_VM, 0), EBUSY, "KVM_CREATE_VM");
		close(kvm);
		all_go_on("after KVM has tried");
	}

	for (unsigned int i = 0; i < PROCESSES; i++) {
		kill(pids[i], SIGKILL);
		CHECK(waitpid(pids[i], &status, 0) == pids[i] && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		      "process %u: status %#x", i, status);
	}

	for (unsigned int i = 0; i < 1000 && syscall(SYS_delete_module, "dune", O_NONBLOCK) && errno == EAGAIN; i++)
		usleep(10000);
	CHECK(access("/sys/module/dune", F_OK), "the module stays: %s", strerror(errno));
	if (kvm < 0) {
		for (unsigned int i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
			load(modules[i]);
	}
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	CHECK(kvm >= 0, "/dev/kvm: %s", strerror(errno));
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	CHECK(vm >= 0, "KVM makes no VM after the module has gone: %s", strerror(errno));
	return check_result();
}
