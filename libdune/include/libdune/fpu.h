/* SPDX-License-Identifier: MIT */
/*
 * Areas for x87, SSE and AVX registers (SDM, "XSAVE Area").  Components beyond these are neither saved nor loaded.
 */
#ifndef LIBDUNE_FPU_H
#define LIBDUNE_FPU_H

#include <stdint.h>
#include <string.h>

#include "../dune-inline.h"

struct fxsave_area {
	uint16_t cwd, swd, twd, fop;
	uint64_t rip, rdp;
	uint32_t mxcsr, mxcsr_mask;
	uint32_t st_regs[32];
	uint32_t xmm_regs[64];
	uint32_t padding[24];
} __attribute__((packed));

struct xsave_header {
	uint64_t xstate_bv;
	uint64_t reserved_zero[2];
	uint64_t reserved[5];
} __attribute__((packed));

struct xsave_area {
	struct fxsave_area fxsave;
	struct xsave_header header;
	uint32_t ymm_regs[64];
} __attribute__((packed, aligned(64)));

struct fpu_area {
	struct xsave_area xsave;
};

#define FPU_COMPONENTS	7UL	/* as many as there is room for */

static inline void fpu_xsave(struct fpu_area *fp, uint64_t mask)
{
	mask &= FPU_COMPONENTS;
	__asm__ volatile("xsave64 %0" : "+m"(fp->xsave) : "a"((uint32_t)mask), "d"(0) : "memory");
}

/* XSAVEOPT leaves out what it thinks the area has already, and not every CPU has it. */
static inline void fpu_xsaveopt(struct fpu_area *fp, uint64_t mask)
{
	fpu_xsave(fp, mask);
}

static inline void fpu_xrstor(struct fpu_area *fp, uint64_t mask)
{
	mask &= FPU_COMPONENTS;
	__asm__ volatile("xrstor64 %0" : : "m"(fp->xsave), "a"((uint32_t)mask), "d"(0) : "memory");
}

/** dune_fpu_init - what a new program has: all exceptions masked, all registers 0 */
DUNE_INLINE void dune_fpu_init(struct fpu_area *fp)
{
	memset(fp, 0, sizeof(*fp));
	fp->xsave.fxsave.cwd = 0x37f;
	fp->xsave.fxsave.mxcsr = 0x1f80;
}

/** dune_fpu_load - load the registers */
DUNE_INLINE void dune_fpu_load(struct fpu_area *fp)
{
	fpu_xrstor(fp, FPU_COMPONENTS);
}

/** dune_fpu_save - save them in an area that was initialized */
DUNE_INLINE void dune_fpu_save(struct fpu_area *fp)
{
	fpu_xsave(fp, FPU_COMPONENTS);
}

/** dune_fpu_save_safe - the same */
DUNE_INLINE void dune_fpu_save_safe(struct fpu_area *fp)
{
	fpu_xsave(fp, FPU_COMPONENTS);
}

#endif /* LIBDUNE_FPU_H */
