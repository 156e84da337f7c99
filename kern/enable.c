// SPDX-License-Identifier: GPL-2.0-only
/*
 * Switching virtualization on.
 *
 * KVM has VMX or SVM on while it has a VM, on every CPU that is online, and sees to CPU hotplug,
 * suspend, reboot and crash.  So one VM of KVM's, with nothing in it, is held for as long as this module
 * is loaded; KVM's guests and Dune's run at the same time.
 *
 * Where there is no KVM the vendor's part does it.  A KVM that is loaded later finds it on, as
 * by any other hypervisor, and refuses to make VMs.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fdtable.h>
#include <linux/kmod.h>
#include <linux/kvm.h>
#include <linux/lockdep.h>
#include <linux/magic.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/smp.h>

#include "enable.h"
#include "hw.h"

#define KVM_PATH	"/dev/kvm"

static struct file *kvm_vm;	/* NULL: we do it ourselves */

/* ERR_PTR(-ENOENT): there is no KVM. */
static struct file *open_kvm(void)
{
	struct file *kvm = filp_open(KVM_PATH, O_RDWR | O_CLOEXEC, 0);
	struct inode *inode;

	if (IS_ERR(kvm)) {
		/* A node in /dev without a driver behind it, which may be there for KVM to be loaded on demand. */
		if (kvm == ERR_PTR(-ENODEV))
			return ERR_PTR(-ENOENT);
		if (kvm != ERR_PTR(-ENOENT))
			pr_err("cannot open %s (error %ld)\n", KVM_PATH, PTR_ERR(kvm));
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

int dune_enable_acquire(void)
{
	struct file *kvm;
	int error;

	/* It may be a part of the kernel, so whether this fails says nothing. */
	request_module("%s", dune_hw->kvm_module);
	kvm = open_kvm();
	if (kvm == ERR_PTR(-ENOENT))
		return dune_hw->own_setup();
	if (IS_ERR(kvm))
		return PTR_ERR(kvm);
	error = hold_vm(kvm);
	filp_close(kvm, NULL);
	return error;
}

bool dune_enable_is_own(void)
{
	return !kvm_vm;
}

void dune_enable_release(void)
{
	if (kvm_vm)
		fput(kvm_vm);
	else
		dune_hw->own_teardown();
}

int dune_enable_here(void)
{
	int error;

	lockdep_assert_irqs_disabled();
	if (kvm_vm)
		error = dune_hw->is_on() ? 0 : -EIO;
	else
		error = dune_hw->own_on();
	if (error == -EBUSY)
		pr_err("CPU %d: somebody else has %s on\n", smp_processor_id(), dune_hw->name);
	else if (error)
		pr_err("CPU %d: %s is not on\n", smp_processor_id(), dune_hw->name);
	return error;
}

void dune_disable_here(void)
{
	if (!kvm_vm)
		dune_hw->own_off();
}
