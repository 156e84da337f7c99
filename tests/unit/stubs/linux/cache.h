/* SPDX-License-Identifier: MIT */
#ifndef STUB_LINUX_CACHE_H
#define STUB_LINUX_CACHE_H

#define __ro_after_init

#endif
