/* SPDX-License-Identifier: MIT */
#ifndef STUB_LINUX_GFP_H
#define STUB_LINUX_GFP_H

#define GFP_KERNEL_ACCOUNT	1
#define DUNE_GFP_MAPPED		GFP_KERNEL_ACCOUNT
#define __GFP_ZERO		2

unsigned long __get_free_page(int gfp);
void free_page(unsigned long address);

#endif
