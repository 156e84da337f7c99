# SPDX-License-Identifier: MIT
#
# Programs: build/bin/hello, build/bin/dune-run with build/lib/dune-preload.so

PROGRAMS += $(B)/bin/hello $(B)/bin/dune-run
LIBS += $(B)/lib/dune-preload.so

$(B)/bin/hello: $(B)/obj/apps/hello/hello.o $(B)/lib/libdune.a
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

RUN_OBJ := $(addprefix $(B)/obj/apps/run/,run.o remote.o tracee.o regs.o)
$(RUN_OBJ): CPPFLAGS += -Ilibdune
$(B)/bin/dune-run: $(RUN_OBJ) $(B)/lib/libdune.a | $(B)/lib/dune-preload.so
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

PRELOAD_OBJ := $(addprefix $(B)/pic/apps/run/,preload.o load.o)
$(PRELOAD_OBJ): CPPFLAGS += $(LIBDUNE_CPPFLAGS)
$(PRELOAD_OBJ): CFLAGS += $(LIBDUNE_CFLAGS)

# First of all initializers, no library needed, nothing exported; as a program it begins at dune_load.  Code and
# constants are one mapping, as each costs every fork of the program (some 4,000 instructions).
$(B)/lib/dune-preload.so: $(PRELOAD_OBJ) $(B)/lib/libdune.a
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -nostdlib $(LDFLAGS) -Wl,-z,initfirst -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete -Wl,-z,noseparate-code -Wl,-e,dune_load \
		-Wl,--exclude-libs,ALL -Wl,-Bsymbolic -o $@ $^
