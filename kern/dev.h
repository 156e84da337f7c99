/* SPDX-License-Identifier: GPL-2.0-only */
/* The device file. */
#ifndef DUNE_DEV_H
#define DUNE_DEV_H

int dune_dev_init(void);
void dune_dev_exit(void);

#endif
