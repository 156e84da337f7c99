/* SPDX-License-Identifier: GPL-2.0-only */
/* What a return-stack buffer says of another guest is overwritten. */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/nospec-branch.h>

	.text
/* void dune_fill_rsb(void) */
SYM_FUNC_START(dune_fill_rsb)
	FILL_RETURN_BUFFER %rcx, RSB_CLEAR_LOOPS, X86_FEATURE_ALWAYS
	RET
SYM_FUNC_END(dune_fill_rsb)
