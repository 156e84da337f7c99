/* SPDX-License-Identifier: GPL-2.0-only */
/* Flags of svm_enter(), for C and assembly. */
#ifndef DUNE_SVM_ENTER_H
#define DUNE_SVM_ENTER_H

#define SVM_ENTER_VERW		1	/* clear the CPU's buffers first */

#endif
