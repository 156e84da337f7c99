/* SPDX-License-Identifier: MIT */
#include "../dune-elf.h"
