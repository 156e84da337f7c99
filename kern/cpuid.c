// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID as the guest sees it: the host's, less what Dune mode does not have, plus a leaf that says
 * that this is Dune mode.
 */
#include <asm/processor.h>

#include "vcpu.h"

/*
 * Bits that are hidden.  Register numbers are those of instruction encodings, as in
 * struct dune_regs: EAX ECX EDX EBX.
 */
enum { EAX, ECX, EDX, EBX };

static const struct hidden {
	u32 leaf, subleaf;
	u32 mask[4];
} hidden[] = {
	{ 0x01, 0, {
		[ECX] = BIT(3)		/* MONITOR */
		      | BIT(5)		/* VMX */
		      | BIT(6)		/* SMX */
		      | BIT(15),	/* PDCM */
	} },
	{ 0x07, 0, {
		[EBX] = BIT(2),		/* SGX */
		[ECX] = BIT(3) | BIT(4)	/* PKU, OSPKE */
		      | BIT(5)		/* WAITPKG */
		      | BIT(7)		/* shadow stacks */
		      | BIT(16)		/* LA57 */
		      | BIT(23)		/* Key Locker */
		      | BIT(29)		/* ENQCMD */
		      | BIT(31),	/* PKS */
		[EDX] = BIT(5)		/* user interrupts */
		      | BIT(18)		/* PCONFIG */
		      | BIT(20)		/* IBT */
		      | BIT(22) | BIT(24) | BIT(25),	/* AMX */
	} },
	{ 0x07, 1, {
		[EAX] = BIT(6)		/* LASS */
		      | BIT(17)		/* FRED */
		      | BIT(21)		/* AMX-FP16 */
		      | BIT(26),	/* LAM */
		[EDX] = BIT(8)		/* AMX-COMPLEX */
		      | BIT(18),	/* supervisor shadow stack */
	} },
	{ 0x0d, 0, { [EAX] = BIT(17) | BIT(18) } },	/* AMX tiles */
	{ 0x0d, 1, { [EAX] = BIT(3) | BIT(4) } },	/* XSAVES, XFD: for kernels only */
	{ 0x12, 0, { ~0U, ~0U, ~0U, ~0U } },		/* SGX */
	{ 0x1d, 0, { ~0U, ~0U, ~0U, ~0U } },		/* AMX */
	{ 0x1d, 1, { ~0U, ~0U, ~0U, ~0U } },
	{ 0x1e, 0, { ~0U, ~0U, ~0U, ~0U } },
	{ 0x80000001, 0, {
		[ECX] = BIT(2)		/* SVM */
		      | BIT(12)		/* SKINIT */
		      | BIT(29),	/* MONITORX */
	} },
	{ 0x80000008, 0, {
		[EBX] = BIT(3)		/* INVLPGB */
		      | BIT(8),		/* MCOMMIT */
	} },
	{ 0x8000000a, 0, { ~0U, ~0U, ~0U, ~0U } },
};

/* Do these leaves have subleaves in ECX? */
static bool has_subleaves(u32 leaf)
{
	return leaf == 0x07 || leaf == 0x0d || leaf == 0x12 || leaf == 0x1d || leaf == 0x1e;
}

void notrace dune_emulate_cpuid(struct dune_regs *regs)
{
	u32 leaf = READ_ONCE(regs->rax), subleaf = READ_ONCE(regs->rcx);
	u32 r[4] = { [EAX] = leaf, [ECX] = subleaf };
	const struct hidden *h;

	if (leaf == DUNE_CPUID_SIGNATURE) {
		r[EAX] = DUNE_CPUID_SIGNATURE;
		r[EBX] = r[ECX] = r[EDX] = DUNE_CPUID_EBX;
	} else {
		native_cpuid(&r[EAX], &r[EBX], &r[ECX], &r[EDX]);
		for (h = hidden; h < hidden + ARRAY_SIZE(hidden) && h->leaf <= leaf; h++) {
			if (h->leaf != leaf || (h->subleaf != subleaf && has_subleaves(leaf)))
				continue;
			r[EAX] &= ~h->mask[EAX];
			r[EBX] &= ~h->mask[EBX];
			r[ECX] &= ~h->mask[ECX];
			r[EDX] &= ~h->mask[EDX];
		}
	}
	WRITE_ONCE(regs->rax, r[EAX]);
	WRITE_ONCE(regs->rbx, r[EBX]);
	WRITE_ONCE(regs->rcx, r[ECX]);
	WRITE_ONCE(regs->rdx, r[EDX]);
}
