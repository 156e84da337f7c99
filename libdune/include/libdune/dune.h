/* SPDX-License-Identifier: MIT */
#include "../dune.h"
