/* SPDX-License-Identifier: MIT */
/*
 * Call frame information for registers that lie in a structure.
 */
#ifndef LIBDUNE_CFI_H
#define LIBDUNE_CFI_H

/*
 * For unwinders: the caller's @reg (by its DWARF number) lies at @base + @offset, @base being
 * 0x70 + the number of a register (DW_OP_breg).  DW_CFA_expression, a LEB128 of two bytes.
 */
	.macro	saved_at reg, base, offset
	.cfi_escape 0x10, \reg, 3, \base, ((\offset) & 0x7f) | 0x80, (\offset) >> 7
	.endm

/* The caller's RSP lies there: DW_CFA_def_cfa_expression, with DW_OP_deref. */
	.macro	cfa_at base, offset
	.cfi_escape 0x0f, 4, \base, ((\offset) & 0x7f) | 0x80, (\offset) >> 7, 0x06
	.endm

#endif /* LIBDUNE_CFI_H */
