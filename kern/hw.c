// SPDX-License-Identifier: GPL-2.0-only
/*
 * Turning virtualization on, by riding on KVM, and noticing when it goes off.
 *
 * KVM turns VMX or SVM on while it has a VM, on every CPU that is online, and sees to CPU
 * hotplug, suspend, reboot and crash.  So one VM of KVM's, with nothing in it, is held for as
 * long as this module is loaded; KVM's guests and Dune's run at the same time.
 */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fdtable.h>
#include <linux/kmod.h>
#include <linux/kvm.h>
#include <linux/magic.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/reboot.h>
#include <linux/suspend.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>

#include "hw.h"

const struct dune_hw_ops *dune_hw __ro_after_init;
struct dune_hw_caps dune_hw_caps __ro_after_init;

DEFINE_STATIC_CALL_NULL(dune_hw_vcpu_load, dune_hw_vcpu_fn);
DEFINE_STATIC_CALL_NULL(dune_hw_vcpu_put, dune_hw_vcpu_fn);
DEFINE_STATIC_CALL_NULL(dune_hw_run, dune_hw_vcpu_fn);

static struct file *kvm_vm;
static enum cpuhp_state cpu_state;
DEFINE_PER_CPU(bool, dune_cpu_usable);

static const struct dune_hw_ops * const vendors[] = { &vmx_ops, &svm_ops };

/* ---- KVM ---------------------------------------------------------------- */

#define KVM_PATH	"/dev/kvm"

static struct file *open_kvm(void)
{
	struct file *kvm = filp_open(KVM_PATH, O_RDWR | O_CLOEXEC, 0);
	struct inode *inode;

	if (IS_ERR(kvm)) {
		pr_err("cannot open %s (error %ld): load KVM first (modprobe kvm_intel or kvm_amd)\n",
		       KVM_PATH, PTR_ERR(kvm));
		return kvm;
	}
	/* The path is the loader's to fake, the device number is not. */
	inode = file_inode(kvm);
	if (!S_ISCHR(inode->i_mode) || inode->i_rdev != MKDEV(MISC_MAJOR, KVM_MINOR) ||
	    !kvm->f_op->unlocked_ioctl) {
		pr_err("%s is not KVM's device (character device %d:%d)\n", KVM_PATH, MISC_MAJOR, KVM_MINOR);
		filp_close(kvm, NULL);
		return ERR_PTR(-ENODEV);
	}
	return kvm;
}

/* Only KVM can give a file of the kernel's own anonymous inode this name. */
static bool is_kvm_vm(const struct file *file)
{
	return file->f_path.dentry->d_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       !strcmp(file->f_path.dentry->d_name.name, "kvm-vm");
}

/*
 * KVM installs the VM as a descriptor of the process that loads the module, in which another
 * thread may put something else at the same number: look at what was got.
 */
static int hold_vm(struct file *kvm)
{
	long fd = kvm->f_op->unlocked_ioctl(kvm, KVM_CREATE_VM, 0);
	struct file *vm;

	if (fd < 0) {
		pr_err("KVM does not create a VM (error %ld)\n", fd);
		return fd;
	}
	vm = fget(fd);
	if (!vm || !is_kvm_vm(vm)) {
		pr_err("the descriptor of KVM's VM was replaced by another thread of the loading process\n");
		if (vm)
			fput(vm);
		return -EBADF;
	}
	close_fd(fd);
	kvm_vm = vm;
	return 0;
}

static int acquire_kvm(void)
{
	struct file *kvm;
	int error;

	/* It is a part of KVM, so this fails only where there is none. */
	request_module("%s", dune_hw->vendor == 1 ? "kvm_intel" : "kvm_amd");
	kvm = open_kvm();
	if (IS_ERR(kvm))
		return PTR_ERR(kvm);
	error = hold_vm(kvm);
	filp_close(kvm, NULL);
	return error;
}

/* ---- CPUs come and go --------------------------------------------------- */

static void enable_here(void *unused)
{
	this_cpu_write(dune_cpu_usable, true);
}

static void disable_here(void *unused)
{
	unsigned long flags;

	local_irq_save(flags);
	this_cpu_write(dune_cpu_usable, false);
	dune_hw->cpu_disable();
	local_irq_restore(flags);
}

/* A state of CPUHP_AP_ONLINE_DYN: taken down before KVM's. */
static int cpu_online_callback(unsigned int cpu)
{
	enable_here(NULL);
	return 0;
}

static int cpu_offline_callback(unsigned int cpu)
{
	disable_here(NULL);
	return 0;
}

/* Before suspend: no guest runs from here to the end of it, on any CPU. */
static int pm_callback(struct notifier_block *block, unsigned long event, void *unused)
{
	switch (event) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
		on_each_cpu(disable_here, NULL, 1);
		break;
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
		on_each_cpu(enable_here, NULL, 1);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block pm_notifier = { .notifier_call = pm_callback };

static int reboot_callback(struct notifier_block *block, unsigned long event, void *unused)
{
	on_each_cpu(disable_here, NULL, 1);
	return NOTIFY_DONE;
}

/* Before KVM's, whose priority is 0. */
static struct notifier_block reboot_notifier = {
	.notifier_call = reboot_callback,
	.priority = INT_MAX,
};

/* ---- The module's life --------------------------------------------------- */

static int choose_vendor(void)
{
	unsigned int i;
	int error = -ENODEV;

	for (i = 0; i < ARRAY_SIZE(vendors); i++) {
		error = vendors[i]->check();
		if (error == -ENODEV)
			continue;
		if (!error)
			dune_hw = vendors[i];
		return error;
	}
	pr_err("this CPU has no hardware virtualization that Dune can use\n");
	return error;
}

int dune_hw_init(void)
{
	int error;

	if (!boot_cpu_has(X86_FEATURE_FSGSBASE)) {
		pr_err("the FSGSBASE instructions are missing or switched off (nofsgsbase)\n");
		return -EOPNOTSUPP;
	}
#ifdef X86_FEATURE_FRED
	if (boot_cpu_has(X86_FEATURE_FRED)) {
		pr_err("FRED is in use, which is not supported yet: boot with fred=off\n");
		return -EOPNOTSUPP;
	}
#endif
	error = choose_vendor();
	if (error)
		return error;
	error = acquire_kvm();
	if (error)
		return error;
	error = dune_hw->setup(&dune_hw_caps);
	if (error)
		goto release_kvm;
	error = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "dune:online", cpu_online_callback,
				  cpu_offline_callback);
	if (error < 0)
		goto teardown;
	cpu_state = error;
	static_call_update(dune_hw_vcpu_load, dune_hw->vcpu_load);
	static_call_update(dune_hw_vcpu_put, dune_hw->vcpu_put);
	static_call_update(dune_hw_run, dune_hw->run);
	error = register_pm_notifier(&pm_notifier);
	if (error)
		goto remove_state;
	error = register_reboot_notifier(&reboot_notifier);
	if (error)
		goto unregister_pm;
	return 0;

unregister_pm:
	unregister_pm_notifier(&pm_notifier);
remove_state:
	cpuhp_remove_state(cpu_state);
teardown:
	dune_hw->teardown();
release_kvm:
	fput(kvm_vm);
	return error;
}

void dune_hw_exit(void)
{
	unregister_reboot_notifier(&reboot_notifier);
	unregister_pm_notifier(&pm_notifier);
	cpuhp_remove_state(cpu_state);	/* runs cpu_offline_callback() on each CPU */
	dune_hw->teardown();
	fput(kvm_vm);
}
