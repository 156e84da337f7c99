# SPDX-License-Identifier: MIT
#
# Programs: build/bin/hello, build/bin/dune-run

PROGRAMS += $(B)/bin/hello $(B)/bin/dune-run

$(B)/bin/hello: $(B)/obj/apps/hello/hello.o $(B)/lib/libdune.a
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

RUN_OBJ := $(addprefix $(B)/obj/apps/run/,run.o remote.o tracee.o regs.o)
$(RUN_OBJ): CPPFLAGS += -Ilibdune -DDUNE_VERSION='"$(LIBDUNE_VERSION)"'
$(B)/bin/dune-run: $(RUN_OBJ) $(B)/lib/libdune-ring3.a $(B)/lib/libdune.a | $(B)/lib/dune-preload.so
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
