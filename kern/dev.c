// SPDX-License-Identifier: GPL-2.0-only
/* /dev/dune: the calls of user space, checked and handed on. */
#include <linux/anon_inodes.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/dune.h>

#include "dev.h"
#include "hw.h"
#include "load.h"
#include "mmu/flush.h"
#include "vcpu.h"
#include "vm.h"

static const struct file_operations dune_fops;

/* ---- ioctls -------------------------------------------------------------- */

static long get_info(void __user *argument)
{
	unsigned int bits = dune_hw_caps.gpa_bits;
	struct dune_info info = {
		.version	= DUNE_ABI_VERSION,
		.vendor		= dune_hw->vendor,
		.gpa_bits	= bits,
		.max_vcpus	= DUNE_MAX_VCPUS,
		.nr_granules	= 1U << (bits - DUNE_GRANULE_SHIFT),
		.run_size	= PAGE_SIZE,
		.cr4_allowed	= dune_hw_caps.cr4_allowed,
	};

	return copy_to_user(argument, &info, sizeof(info)) ? -EFAULT : 0;
}

static bool config_is_valid(const struct dune_vcpu_config *config)
{
	const u32 flags = DUNE_VCPU_STRICT | DUNE_VCPU_FOR_CHILD | DUNE_VCPU_CALL_BY_SYSCALL |
			  DUNE_VCPU_CONFINES;

	return !(config->flags & ~flags) && !config->index &&
	       !memchr_inv(config->reserved, 0, sizeof(config->reserved)) && !(config->run & ~PAGE_MASK) &&
	       !(config->cr4 & ~dune_hw_caps.cr4_allowed) &&
	       !(config->cr3 & ~PAGE_MASK) && !(config->cr3 >> dune_hw_caps.gpa_bits) &&
	       dune_is_canonical(config->gdt_base) && dune_is_canonical(config->idt_base) &&
	       dune_is_canonical(config->tss_base) && dune_is_canonical(config->lstar) &&
	       config->call_site < TASK_SIZE_MAX &&
	       /* Above 1 MiB a limit counts pages; nothing needs so large a segment. */
	       config->tss_limit >= 0x67 && config->tss_limit <= 0xfffff;
}

static bool run_page_is_mapped(struct file *file, unsigned int index, unsigned long address)
{
	const unsigned long flags = VM_READ | VM_WRITE | VM_SHARED;
	struct vm_area_struct *vma;
	bool mapped;

	mmap_read_lock(current->mm);
	vma = find_vma(current->mm, address);
	mapped = vma && vma->vm_start == address && vma->vm_file == file && vma->vm_pgoff == index &&
		 (vma->vm_flags & flags) == flags;
	mmap_read_unlock(current->mm);
	return mapped;
}

/* A vCPU that is used again often has its page there already. */
static long map_run_page(struct file *file, unsigned int index, unsigned long address)
{
	unsigned long ret;

	if (run_page_is_mapped(file, index, address))
		return 0;
	ret = vm_mmap(file, address, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, DUNE_MMAP_RUN(index));
	if (!IS_ERR_VALUE(ret))
		return 0;
	/* Who waits for memory would wait for ever. */
	if (ret == -ENOMEM && current->mm->total_vm >= rlimit(RLIMIT_AS) >> PAGE_SHIFT)
		return -EAGAIN;
	return ret;
}

static long create_vcpu(struct dune_vm *vm, struct file *file, struct dune_vcpu_config __user *argument)
{
	struct dune_vcpu_config config;
	struct dune_vcpu *vcpu;
	long error;

	if (copy_from_user(&config, argument, sizeof(config)))
		return -EFAULT;
	if (!config_is_valid(&config))
		return -EINVAL;
	/* Find out that the result cannot be stored before there is one. */
	if (put_user(0, &argument->index))
		return -EFAULT;
	vcpu = dune_vcpu_create(vm, &config);
	if (IS_ERR(vcpu))
		return PTR_ERR(vcpu);
	if (config.run) {
		error = map_run_page(file, vcpu->index, config.run);
		if (error) {
			dune_vcpu_destroy(vm, vcpu->index);
			return error;
		}
	}
	return put_user(vcpu->index, &argument->index);
}

static long get_granule(struct dune_vm *vm, struct dune_granule __user *argument)
{
	struct dune_granule granule;
	int error;

	if (copy_from_user(&granule, argument, sizeof(granule)))
		return -EFAULT;
	error = dune_mmu_get_granule(&vm->mmu, granule.va, &granule.gpa);
	if (error)
		return error;
	return put_user(granule.gpa, &argument->gpa);
}

/* Install @new in the caller's descriptor @fd, which has to be one of @old's. */
static int replace_file(unsigned int fd, struct file *old, struct file *new)
{
	struct files_struct *files = current->files;
	bool found;

	spin_lock(&files->file_lock);
	found = files_lookup_fd_locked(files, fd) == old;
	if (found)
		rcu_assign_pointer(files_fdtable(files)->fd[fd], new);
	spin_unlock(&files->file_lock);
	if (!found)
		return -EBADF;
	/*
	 * This call may have no reference of its own to @old.  If that was the last one, fput() has the file released
	 * on the way back to user space.
	 */
	filp_close(old, files);
	return 0;
}

/* For a forked child: a file of its own, with the granules that the one it inherited had at the fork. */
static long attach(struct file *inherited, unsigned long argument)
{
	u32 where = argument, round = argument >> DUNE_ATTACH_ROUND_SHIFT;
	bool replace = where & DUNE_ATTACH_REPLACE;
	struct dune_vm *from = inherited->private_data, *vm;
	struct file *file;
	int fd, error;

	if (!replace && where & ~O_CLOEXEC)
		return -EINVAL;
	vm = dune_vm_create();
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	error = dune_mmu_copy_granules(&vm->mmu, &from->mmu, round);
	if (error)
		goto release_vm;
	fd = replace ? where & ~DUNE_ATTACH_REPLACE : get_unused_fd_flags(where);
	if (fd < 0) {
		error = fd;
		goto release_vm;
	}
	file = anon_inode_getfile("[dune]", &dune_fops, vm, O_RDWR);
	if (IS_ERR(file)) {
		error = PTR_ERR(file);
		goto put_fd;
	}
	file->f_mode |= FMODE_LSEEK;
	if (!replace) {
		fd_install(fd, file);
		return fd;
	}
	error = replace_file(fd, inherited, file);
	if (!error)
		return fd;
	fput(file);		/* and with it the VM */
	return error;

put_fd:
	if (!replace)
		put_unused_fd(fd);
release_vm:
	dune_vm_release(vm);
	return error;
}

static noinline long other_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct dune_vm *vm = file->private_data;

	if (command == DUNE_GET_INFO)
		return get_info((void __user *)argument);
	if (command == DUNE_ATTACH)
		return attach(file, argument);
	/* A child without memory for DUNE_ATTACH waits before it tries again. */
	if (command == DUNE_YIELD)
		return dune_yield(vm, argument);
	if (!dune_vm_is_current(vm))
		return -EIO;
	switch (command) {
	case DUNE_CREATE_VCPU:
		return create_vcpu(vm, file, (void __user *)argument);
	case DUNE_DESTROY_VCPU:
		return dune_vcpu_destroy(vm, argument);
	case DUNE_GET_GRANULE:
		return get_granule(vm, (void __user *)argument);
	case DUNE_FLUSH_TLB:
		dune_mmu_flush_all(&vm->mmu);
		return 0;
	default:
		return -ENOTTY;
	}
}

/* DUNE_RUN may be made for every forwarded call: nothing of the others stands before it. */
static long notrace dune_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	return command == DUNE_RUN ? dune_vcpu_run(file, argument, false) : other_ioctl(file, command, argument);
}

/* DUNE_RUN by the shortest way through the kernel: see <linux/dune.h>. */
static loff_t notrace dune_llseek(struct file *file, loff_t offset, int whence)
{
	/* Without the highest bit the index is one that no vCPU has. */
	if (whence != DUNE_SEEK_RUN)
		return -EINVAL;
	return dune_vcpu_run(file, offset ^ DUNE_SEEK_VCPU(0), true);
}

/* ---- mmap ----------------------------------------------------------------- */

static vm_fault_t granules_fault(struct vm_fault *vmf)
{
	struct dune_vm *vm = vmf->vma->vm_file->private_data;
	struct page *page = dune_mmu_granule_page(&vm->mmu, vmf->pgoff - (DUNE_MMAP_GRANULES >> PAGE_SHIFT));

	/* Without memory the kernel has the process wait, and the access made again. */
	if (IS_ERR(page))
		return page == ERR_PTR(-ENOMEM) ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct granules_ops = { .fault = granules_fault };

static int mmap_granules(struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_WRITE)
		return -EACCES;
	vm_flags_clear(vma, VM_MAYWRITE);
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND);
	vma->vm_ops = &granules_ops;
	return 0;
}

/*
 * A core file leaves mappings of files out, unless they have a name of their own.  (In /proc it is the file's all the
 * same.)  This one leads a debugger from the thread to the guest's registers.
 */
static const char *run_page_name(struct vm_area_struct *vma)
{
	return "[dune]";
}

static const struct vm_operations_struct run_page_ops = { .name = run_page_name };

static int dune_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct dune_vm *vm = file->private_data;
	struct dune_vcpu *vcpu;

	if (!dune_vm_is_current(vm))
		return -EIO;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff >= DUNE_MMAP_GRANULES >> PAGE_SHIFT)
		return mmap_granules(vma);
	if (vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;
	vcpu = dune_vcpu_find(vm, vma->vm_pgoff);
	if (!vcpu)
		return -EINVAL;
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND);
	vma->vm_ops = &run_page_ops;
	return vm_insert_page(vma, vma->vm_start, vcpu->run_page);
}

/* ---- open ------------------------------------------------------------------ */

static int dune_open(struct inode *inode, struct file *file)
{
	struct dune_vm *vm = dune_vm_create();

	if (IS_ERR(vm))
		return PTR_ERR(vm);
	file->private_data = vm;
	return 0;
}

static int dune_release(struct inode *inode, struct file *file)
{
	dune_vm_release(file->private_data);
	return 0;
}

static const struct file_operations dune_fops = {
	.owner		= THIS_MODULE,
	.open		= dune_open,
	.release	= dune_release,
	.unlocked_ioctl	= dune_ioctl,
	.llseek		= dune_llseek,
	.mmap		= dune_mmap,
};

static struct miscdevice dune_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "dune",
	.mode	= 0660,
	.fops	= &dune_fops,
};

int dune_dev_init(void)
{
	return misc_register(&dune_device);
}

void dune_dev_exit(void)
{
	misc_deregister(&dune_device);
}
