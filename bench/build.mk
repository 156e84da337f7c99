# SPDX-License-Identifier: MIT
#
# Benchmarks: each case runs in the same boot as an ordinary Linux program and in Dune mode.

BENCHES += $(B)/bench/micro

$(B)/bench/micro: $(B)/obj/bench/micro.o $(B)/obj/bench/cases.o $(B)/obj/bench/stats.o $(B)/lib/libdune.a
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
