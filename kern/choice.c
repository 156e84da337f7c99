// SPDX-License-Identifier: GPL-2.0-only
/* See choice.h. */
#include "choice.h"

void dune_spec_choose(const struct dune_spec_facts *facts, struct dune_spec *spec)
{
	bool by_verw = facts->bug_mds || facts->bug_taa || facts->bug_rfds || facts->bug_tsa;

	*spec = (struct dune_spec) { };
	if (facts->mitigations_off)
		return;
	/* A guest with a device's memory is one with a device. */
	spec->verw = (facts->verw_told ? facts->verw : by_verw) ||
		     (facts->mmio_told ? facts->mmio : facts->bug_mmio);
	spec->flush_l1d = facts->bug_l1tf && (!facts->l1tf_told || facts->l1tf);
	spec->flush_l1d_by_msr = spec->flush_l1d && facts->has_flush_l1d;
	spec->ibrs = facts->kernel_ibrs;
	spec->ibpb = facts->has_ibpb && facts->use_ibpb;
	spec->ibpb_fills_rsb = spec->ibpb && facts->bug_ibpb_no_ret;
	/* What follows each exit need not be done again. */
	spec->ibpb_user = facts->has_ibpb && !facts->ibpb_on_exit &&
			  (facts->user_told ? facts->user : facts->bug_vmscape);
}
