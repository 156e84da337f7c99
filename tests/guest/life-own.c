// SPDX-License-Identifier: MIT
/*
 * A machine without KVM: the module has switched virtualization on by itself. A KVM that is loaded
 * later makes no VM, and disturbs nothing; when the module is gone, KVM works.
 */
#include <fcntl.h>
#include <glob.h>

#include "companions.h"
#include "modules.h"

/* What KVM's modules depend on, and they themselves; only one vendor's fits. */
static const char * const modules[] = { "irqbypass", "ccp", "kvm", "kvm-intel", "kvm-amd" };

static void all_go_on(const char *during)
{
	companions_go_on(memory_companions, NR_MEMORY_COMPANIONS, 3, during);
}

static bool load(const char *name)
{
	char pattern[128];
	glob_t found;
	bool loaded;

	snprintf(pattern, sizeof(pattern), "/lib/modules/*/kernel/*/*/*/%s.ko", name);
	if (glob(pattern, 0, NULL, &found)) {
		snprintf(pattern, sizeof(pattern), "/lib/modules/*/kernel/*/*/%s.ko", name);
		if (glob(pattern, 0, NULL, &found))
			return false;
	}
	loaded = module_load(found.gl_pathv[0]);
	globfree(&found);
	return loaded;
}

int main(void)
{
	int kvm, vm;

	DIE_UNLESS(access("/dev/kvm", F_OK), "KVM is loaded already");
	companions_start(memory_companions, NR_MEMORY_COMPANIONS);
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

	companions_end(memory_companions, NR_MEMORY_COMPANIONS);
	CHECK(module_unload("dune"), "the module stays: %s", strerror(errno));
	CHECK(access("/sys/module/dune", F_OK), "the module is still there");
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
