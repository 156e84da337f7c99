// SPDX-License-Identifier: MIT
/*
 * The engine of the module: all that is known of /dev/dune (doc/abi.md).
 *
 * It has one descriptor, a page for each vCPU that the kernel shares with it, and four hypercalls.
 *
 * HR3 and GR0; each function says where.
 */
#include <linux/dune.h>
#include <linux/fcntl.h>
#include <linux/mman.h>

#include "engine/engine.h"
#include "engine/gate.h"

#ifndef DUNE_DEVICE
#define DUNE_DEVICE	"/dev/dune"
#endif

#define GATE_LENGTH	3	/* VMCALL, VMMCALL */

#define CR4_PCIDE	(1UL << 17)

struct engine_fds __dune_engine_fds;

static unsigned long gate_return;	/* RIP of an exit by the gate */

_Static_assert(GRANULE_SHIFT == DUNE_GRANULE_SHIFT, "granules are the module's");
_Static_assert(SEL_KERNEL_CS == DUNE_SEL_KERNEL_CS && SEL_KERNEL_DS == DUNE_SEL_KERNEL_DS && SEL_TSS == DUNE_SEL_TSS &&
	       SEL_USER_CS == DUNE_SEL_USER_CS && SEL_USER_DS == DUNE_SEL_USER_DS &&
	       SEL_CPUNODE == DUNE_SEL_CPUNODE && GDT_ENTRIES == DUNE_GDT_ENTRIES, "selectors are the module's");
_Static_assert(sizeof(struct guest_regs) == sizeof(struct dune_regs) &&
	       offsetof(struct guest_regs, rsp) == offsetof(struct dune_regs, rsp) &&
	       offsetof(struct guest_regs, rdi) == offsetof(struct dune_regs, rdi) &&
	       offsetof(struct guest_regs, r8) == offsetof(struct dune_regs, r8) &&
	       offsetof(struct guest_regs, rip) == offsetof(struct dune_regs, rip), "registers are in place");
_Static_assert(offsetof(struct dune_run, regs) == 0 && offsetof(struct dune_run, immediate_exit) == GATE_COME_OUT,
	       "gate.h finds them");
_Static_assert(offsetof(struct vcpu, next_frame) == 0 && offsetof(struct vcpu, return_address) == 8 &&
	       offsetof(struct dune_run, frame.rip) == offsetof(struct dune_run, frame.rbp) + 8, "stack frames");
_Static_assert(sizeof(struct dune_run) <= PGSIZE, "one page holds struct dune_run");
_Static_assert(RUN_CALL == DUNE_EXIT_SYSCALL && RUN_INTR == DUNE_EXIT_INTR && RUN_FAULT == DUNE_EXIT_FAULT &&
	       RUN_SHUTDOWN == DUNE_EXIT_SHUTDOWN && RUN_WINDOW == DUNE_EXIT_WINDOW && GATE_CALL == RUN_CALL,
	       "results are as they come");
_Static_assert(ACCESS_READ == DUNE_FAULT_READ && ACCESS_WRITE == DUNE_FAULT_WRITE && ACCESS_EXEC == DUNE_FAULT_EXEC,
	       "kinds of accesses are as they come");
_Static_assert(1U << ENGINE_CALL_STUB == DUNE_CALL_FROM(0) && 1U << ENGINE_CALL_GATE == DUNE_CALL_FROM(1),
	       "where calls come from is said as it is asked");
_Static_assert(ENGINE_YIELD_MAX <= DUNE_YIELD_MAX, "so long a thread can sleep");

static int device(void)
{
	return __dune_engine_fds.first;
}

static struct dune_run *run_of(const struct vcpu *v)
{
	return (struct dune_run *)v->page;
}

/* ---- the process ---- */

/* Anything else that does not match would be an errno without a reason, at some later call. */
static int check_version(const struct dune_info *info)
{
	if (info->version == DUNE_ABI_VERSION && info->run_size <= PGSIZE)
		return 0;
	__dune_message("the module has version %u of the interface of " DUNE_DEVICE ", this libdune version %u: %s",
		       info->version, DUNE_ABI_VERSION,
		       info->version < DUNE_ABI_VERSION ? "build, install and load the module of this libdune" :
		       "use the libdune of that module, or load the module of this libdune");
	return -EPROTO;
}

static int open_device(struct engine_info *engine, const struct fd_limits *limits)
{
	struct dune_info info;
	long fd, ret;

	fd = dune_syscall4(__NR_openat, AT_FDCWD, DUNE_DEVICE, O_RDWR | O_CLOEXEC, 0);
	if (is_error(fd))
		return fd;
	ret = dune_syscall3(__NR_ioctl, fd, DUNE_GET_INFO, &info);
	if (!ret)
		ret = check_version(&info);
	if (ret) {
		dune_syscall1(__NR_close, fd);
		return ret;
	}
	engine->nr_granules = info.nr_granules;
	engine->flags = info.cr4_allowed & CR4_PCIDE ? ENGINE_PCID : 0;
	engine->cr4 = info.cr4_allowed;
	if (info.vendor == DUNE_VENDOR_SVM) {
		engine->way_out = WAY_VMMCALL;
		__dune_process.gate = __dune_gate_vmmcall;
		gate_return = (unsigned long)__dune_gate_vmmcall_return;
	} else {
		engine->way_out = WAY_VMCALL;
		__dune_process.gate = __dune_gate_vmcall;
		gate_return = (unsigned long)__dune_gate_vmcall_return;
	}
	__dune_engine_fds = (struct engine_fds){ __dune_fd_move(fd, limits), 1 };
	return 0;
}

int __dune_engine_open(struct engine_info *engine)
{
	struct fd_limits limits;
	int ret;

	__dune_fd_limit_raise(&limits);
	ret = open_device(engine, &limits);
	__dune_fd_limit_restore(&limits);
	return ret;
}

static bool is_open(unsigned int fd)
{
	return !is_error(dune_syscall2(__NR_fcntl, fd, F_GETFD));
}

/* Is nothing at @base and behind, but the engine's own? */
static bool is_room(unsigned int base, unsigned int all)
{
	for (unsigned int i = 0; i < all; i++)
		if (base + i != (unsigned int)device() && is_open(base + i))
			return false;
	return true;
}

static long move_fd(unsigned int from, unsigned int to, int flags)
{
	long ret = from == to ? 0 : dune_syscall3(__NR_dup3, from, to, flags);

	if (is_error(ret))
		return ret;
	if (from != to)
		dune_syscall1(__NR_close, from);
	return 0;
}

/* The last one first: that fails if a number is beyond the limit. */
static long move_fds(unsigned int base, unsigned int first, unsigned int count)
{
	long ret = 0;

	for (unsigned int i = count; i && !ret; i--)
		ret = move_fd(first + i - 1, base + i, 0);
	if (!ret)
		ret = move_fd(device(), base, O_CLOEXEC);
	if (!ret)
		__dune_engine_fds.first = base;
	return ret;
}

int __dune_engine_keep_fds(unsigned int first, unsigned int count, unsigned int all)
{
	struct fd_limits limits;
	long ret = -EMFILE;

	/* As the process that has executed this one had them. */
	if (device() + 1U == first)
		ret = 0;
	__dune_fd_limit_raise(&limits);
	for (unsigned int base = device(); base && ret; base--)
		if (is_room(base, all))
			ret = move_fds(base, first, count);
	__dune_fd_limit_restore(&limits);
	if (!ret)
		__dune_engine_fds.count = all;
	return ret;
}

void __dune_engine_close(void)
{
	dune_syscall1(__NR_close, device());
	__dune_engine_fds.count = 0;
}

/*
 * A file for this process, with its parent's granules; but for those that the parent has lost since the fork.
 * -errno.
 */
static HOT long attach(uint32_t where)
{
	return own_syscall3(__NR_ioctl, device(), DUNE_ATTACH,
			    (uint64_t)region_state()->granule_round << DUNE_ATTACH_ROUND_SHIFT | where);
}

/* The table is the child's own: no other number is needed, which there might not be. */
static HOT int attach_in_place(void)
{
	long ret = attach(DUNE_ATTACH_REPLACE | device());

	return is_error(ret) ? ret : 0;
}

static int attach_elsewhere(void)
{
	struct fd_limits limits;
	long fd;

	__dune_fd_limit_raise(&limits);
	fd = attach(O_CLOEXEC);
	if (!is_error(fd))
		__dune_engine_fds.first = __dune_fd_move(fd, &limits);
	__dune_fd_limit_restore(&limits);
	return is_error(fd) ? fd : 0;
}

/* Mostly nothing is mapped: write nothing, which would copy a page. */
static void forget_owners(void)
{
	if (region_state()->owners)
		region_state()->owners = NULL;
}

HOT int __dune_engine_fork_child(bool same_fds)
{
	forget_owners();
	return same_fds ? attach_elsewhere() : attach_in_place();
}

#define NO_VCPU		(~0UL)

/* Nothing but a file of another process refuses this with that. */
bool __dune_engine_is_parents(void)
{
	return own_syscall3(__NR_ioctl, device(), DUNE_DESTROY_VCPU, NO_VCPU) == -EIO;
}

int __dune_engine_adopt(void)
{
	forget_owners();
	return attach_in_place();
}

/*
 * DUNE_RUN; and calls of Dune's numbers, which no other device has.  What a program puts at that descriptor instead has
 * no use for them: an ordinary file has no such offset.
 */
void __dune_engine_rules(struct engine_rule rules[ENGINE_RULES])
{
	const unsigned int fd = device();

	rules[0] = (struct engine_rule){ __NR_lseek, 3, {
		{ 1, 0xffffffff00000000, (uint64_t)DUNE_SEEK_VCPU(0) },
		{ 2, 0xffffffff, DUNE_SEEK_RUN },
		{ 0, 0xffffffff, fd },
	} };
	rules[1] = (struct engine_rule){ __NR_ioctl, 2, {
		{ 1, 0xff00, DUNE_IOC << 8 },
		{ 0, 0xffffffff, fd },
	} };
}

/* ---- memory ---- */

static long request(uint64_t va)
{
	struct dune_granule arg = { .va = va };
	long ret;

	if (dune_in_guest())
		return __dune_process.gate(DUNE_HC_GET_GRANULE, va, 0, 0);
	ret = own_syscall3(__NR_ioctl, device(), DUNE_GET_GRANULE, &arg);
	return ret ? ret : (long)arg.gpa;
}

/*
 * When no granule is left, the kernel takes back those whose memory is all unmapped, and says -EAGAIN.  It hands them
 * out again only on the next request, so until then all entries that lead there must be gone.  The child of a fork
 * tells the kernel how often that was, and gets -EAGAIN, once, if its parent has had it again before the child
 * had a file of its own.
 */
long __dune_engine_granule(uint64_t va, int (*drop)(void))
{
	struct region_state *state = region_state();
	long ret;

	do {
		if (state->granules_stale && drop())
			return -ENOMEM;
		state->granules_stale = false;
		ret = request(va);
		if (ret == -EAGAIN) {
			state->granules_stale = true;
			state->granule_round++;
		}
	} while (ret == -EINTR || ret == -EAGAIN);
	return ret;
}

/* That it has taken granules back.  The round that a forked child tells is too small then, and it drops them too. */
void __dune_engine_doubt(void)
{
	region_state()->granules_stale = true;
}

bool __dune_engine_looks(void)
{
	return region_state()->owners;
}

long __dune_engine_look(unsigned long at)
{
	long ret = dune_syscall6(__NR_mmap, at, __dune_process.nr_granules * sizeof(uint32_t), PROT_READ,
				 MAP_SHARED | MAP_FIXED, device(), DUNE_MMAP_GRANULES);

	if (is_error(ret))
		return ret;
	region_state()->owners = (const uint32_t *)at;
	return 0;
}

uint32_t __dune_engine_granule_owner(uint64_t gpa)
{
	return READ_ONCE(region_state()->owners[gpa >> GRANULE_SHIFT]);
}

/* HR3: the kernel has flushed what it took back, and no CPU can have loaded it again. */
void __dune_engine_flush_all(void)
{
	if (dune_in_guest())
		__dune_process.gate(DUNE_HC_FLUSH_TLB, 0, 0, 0);
}

void __dune_engine_flush_host(void)
{
	own_syscall3(__NR_ioctl, device(), DUNE_FLUSH_TLB, 0);
}

bool __dune_engine_yield(unsigned long sleep, const struct vcpu *whom)
{
	unsigned long argument = sleep | (whom ? whom->index + 1UL : 0) << DUNE_YIELD_FOR_SHIFT;
	long ret;

	if (dune_in_guest())
		ret = __dune_process.gate(DUNE_HC_YIELD, argument, 0, 0);
	else
		ret = own_syscall3(__NR_ioctl, device(), DUNE_YIELD, argument);
	return ret == -ESRCH;
}

long __dune_engine_access(uint64_t va, uint32_t access)
{
	return __dune_process.gate(DUNE_HC_FAULT, va, access, 0);
}

/* ---- virtual CPUs ---- */

static HOT void set_run_call(struct vcpu *v)
{
	bool by_ioctl = option(DUNE_OPT_RUN_IOCTL);

	v->next_frame = (unsigned long)&run_of(v)->frame;
	v->return_address = (unsigned long)__dune_own_site + SYSCALL_LENGTH;
	v->run_nr = by_ioctl ? __NR_ioctl : __NR_lseek;
	v->run_arg0 = device();
	v->run_arg1 = by_ioctl ? DUNE_RUN : (unsigned long)DUNE_SEEK_VCPU(v->index);
	v->run_arg2 = by_ioctl ? v->index : DUNE_SEEK_RUN;
}

static long map_page(const struct vcpu *v)
{
	long ret = dune_syscall6(__NR_mmap, v->page, PGSIZE, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED_NOREPLACE, device(), DUNE_MMAP_RUN(v->index));

	return is_error(ret) ? ret : 0;
}

HOT int __dune_engine_create(struct vcpu *v, const struct vcpu_config *config)
{
	struct dune_run *run = run_of(v);
	struct dune_vcpu_config arg = {
		.flags = (config->strict ? DUNE_VCPU_STRICT : 0) | (config->for_child ? DUNE_VCPU_FOR_CHILD : 0) |
			 (config->stub_is_left ? DUNE_VCPU_CALL_BY_SYSCALL : 0) |
			 (config->confines ? DUNE_VCPU_CONFINES : 0),
		.cr3 = config->cr3,
		.gdt_base = (unsigned long)run->gdt,
		.gdt_limit = sizeof(run->gdt) - 1,
		.idt_base = config->idt,
		.idt_limit = 256 * 16 - 1,
		.tss_base = config->tss,
		.tss_limit = 0x67,
		.lstar = config->lstar,
		.cr4 = config->cr4,
		.call_site = (unsigned long)__dune_syscall_site + SYSCALL_LENGTH,
		.call_from = { __dune_process.lstar_return, gate_return },
		.run = config->page_is_free ? 0 : v->page,
	};
	long ret = own_syscall3(__NR_ioctl, device(), DUNE_CREATE_VCPU, &arg);

	if (ret)
		return ret;
	v->index = arg.index;
	v->regs = (struct guest_regs *)&run->regs;
	v->gdt = run->gdt;
	if (config->page_is_free) {
		ret = map_page(v);
		if (ret) {
			__dune_engine_destroy(v);
			return ret;
		}
	}
	set_run_call(v);
	return 0;
}

void __dune_engine_destroy(const struct vcpu *v)
{
	own_syscall3(__NR_ioctl, device(), DUNE_DESTROY_VCPU, v->index);
}

uint32_t *__dune_engine_child(const struct vcpu *v)
{
	return &run_of(v)->child;
}

void __dune_engine_unknown_child(const struct vcpu *v)
{
	WRITE_ONCE(run_of(v)->child, DUNE_CHILD_UNKNOWN);
}

HOT void __dune_engine_allow(const struct vcpu *v, const uint8_t *allowed)
{
	WRITE_ONCE(run_of(v)->call.allowed, (unsigned long)allowed);
}

uint32_t __dune_engine_calls_made(const struct vcpu *v)
{
	return READ_ONCE(run_of(v)->call.made);
}

HOT void __dune_engine_save(const struct vcpu *v, struct vcpu_state *state)
{
	state->regs = *v->regs;
	state->cr2 = run_of(v)->cr2;
	state->cpl = run_of(v)->cpl;
}

HOT void __dune_engine_load(const struct vcpu *v, const struct vcpu_state *state)
{
	*v->regs = state->regs;
	run_of(v)->cr2 = state->cr2;
	run_of(v)->cpl = state->cpl;
}

/* ---- results of a run ---- */

enum run_result __dune_engine_result(const struct vcpu *v, long raw)
{
	if (raw > 0)
		return raw;
	/* The kernel says no more than that it is not good; all else of the page is libdune's own doing. */
	return raw == -EINVAL && !canonical(v->regs->rip) ? RUN_BAD_RIP : RUN_FAILED;
}

uint64_t __dune_engine_complete_results(void)
{
	return 1UL << DUNE_EXIT_INTR | 1UL << DUNE_EXIT_WINDOW;
}

void __dune_engine_call_again(const struct vcpu *v)
{
	struct guest_regs *r = v->regs;

	if (r->rip == __dune_process.lstar_return) {
		r->rflags = r->r11;
		r->rip = r->rcx;
		run_of(v)->cpl = __dune_process.ring3 ? 3 : 0;
	}
	/* SYSCALL leaves RIP in RCX; otherwise it came by the gate. */
	r->rip -= r->rip == r->rcx ? SYSCALL_LENGTH : GATE_LENGTH;
}

void __dune_engine_fault(const struct vcpu *v, struct engine_fault *f)
{
	const struct dune_run *run = run_of(v);
	uint32_t flags = run->fault.flags;

	/*
	 * AMD's CPUs do not say the linear address: it is the process's, but where the program maps memory
	 * elsewhere.
	 */
	f->linear = flags & DUNE_FAULT_GVA ? run->fault.gva : run->fault.hva;
	f->process = run->fault.hva;
	f->gpa = run->fault.gpa;
	f->access = flags & (ACCESS_READ | ACCESS_WRITE | ACCESS_EXEC);
	f->flags = (flags & DUNE_FAULT_WALK || run->event_info & DUNE_EVENT_VALID ? FAULT_WALK : 0) |
		   (flags & DUNE_FAULT_NO_GRANULE ? FAULT_NOWHERE : 0) |
		   (flags & DUNE_FAULT_DEVICE ? FAULT_DEVICE : 0) |
		   (!run->fault.gpa && v->regs->rip == gate_return ? FAULT_ASKED : 0);
}

void __dune_engine_shutdown(const struct vcpu *v, struct engine_shutdown *s)
{
	static const char *const reasons[] = {
		[DUNE_SHUTDOWN_TRIPLE] = "triple fault",
		[DUNE_SHUTDOWN_STATE] = "the CPU refused its state",
		[DUNE_SHUTDOWN_EXIT] = "unknown exit",
		[DUNE_SHUTDOWN_HARDWARE] = "the hardware went away",
	};
	const struct dune_run *run = run_of(v);
	uint32_t code = run->shutdown.code;

	s->reason = code < ARRAY_SIZE(reasons) && reasons[code] ? reasons[code] : "?";
	s->by_program = code == DUNE_SHUTDOWN_TRIPLE;
	s->number = run->shutdown.hw_reason;
	s->detail = run->shutdown.qualification;
}

/* ---- registers ---- */

uint32_t __dune_engine_cpl(const struct vcpu *v)
{
	return run_of(v)->cpl;
}

void __dune_engine_set_cpl(const struct vcpu *v, uint32_t cpl)
{
	run_of(v)->cpl = cpl;
}

uint64_t __dune_engine_other_gs(const struct vcpu *v)
{
	return run_of(v)->kernel_gs_base;
}

HOT void __dune_engine_set_other_gs(const struct vcpu *v, uint64_t base)
{
	run_of(v)->kernel_gs_base = base;
}

bool __dune_engine_in_event(const struct vcpu *v)
{
	return run_of(v)->event_info & DUNE_EVENT_VALID;
}

void __dune_engine_drop_event(const struct vcpu *v)
{
	run_of(v)->event_info = 0;
}

uint32_t __dune_engine_event_error(const struct vcpu *v)
{
	return run_of(v)->event_error;
}

void __dune_engine_raise_pgflt(const struct vcpu *v, uint64_t address, uint32_t error)
{
	struct dune_run *run = run_of(v);

	run->cr2 = address;
	run->event_info = DUNE_EVENT_VALID | DUNE_EVENT_HARD | DUNE_EVENT_ERROR | T_PGFLT;
	run->event_error = error;
}

/* ---- kicks ---- */

void __dune_engine_come_out(const struct vcpu *v)
{
	WRITE_ONCE(run_of(v)->immediate_exit, 1);
}

void __dune_engine_stay(const struct vcpu *v)
{
	WRITE_ONCE(run_of(v)->immediate_exit, 0);
}

bool __dune_engine_comes_out(const struct vcpu *v)
{
	return READ_ONCE(run_of(v)->immediate_exit);
}

void __dune_engine_want_window(const struct vcpu *v, bool on)
{
	if (on)
		run_of(v)->flags |= DUNE_RUN_WINDOW;
	else
		run_of(v)->flags &= ~DUNE_RUN_WINDOW;
}
