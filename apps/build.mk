# SPDX-License-Identifier: MIT
#
# Programs: build/bin/hello, build/bin/dune-run, build/bin/dune-trace, build/bin/dune-sandbox

PROGRAMS += $(B)/bin/hello $(B)/bin/dune-run $(B)/bin/dune-trace

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

# With the flags that libdune-ring3.pc has.
DECODE_OBJ := $(addprefix $(B)/obj/apps/decode/,decode.o names.o)
TRACE_OBJ := $(B)/obj/apps/trace/trace.o
$(TRACE_OBJ) $(DECODE_OBJ): CPPFLAGS += -Ilibdune -DDUNE_VERSION='"$(LIBDUNE_VERSION)"'
$(TRACE_OBJ) $(DECODE_OBJ): CFLAGS += $(WATCHER_CFLAGS)
$(B)/bin/dune-trace: $(TRACE_OBJ) $(DECODE_OBJ) $(B)/lib/libdune-ring3.a $(B)/lib/libdune.a
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(WATCHER_LDFLAGS) -o $@ $^

# Where there is no libyaml or json-c, the rest is built.
ifeq ($(words $(wildcard /usr/include/yaml.h /usr/include/json-c/json.h)),2)
PROGRAMS += $(B)/bin/dune-sandbox
endif
SANDBOX_OBJ := $(addprefix $(B)/obj/apps/sandbox/,main.o run.o wall.o learn.o judge.o processes.o network.o log.o) \
	$(addprefix $(B)/obj/sandbox/,build.o default.o read.o profile.o print.o files.o network.o calls.o)
$(SANDBOX_OBJ): CPPFLAGS += -Ilibdune -I. -DDUNE_VERSION='"$(LIBDUNE_VERSION)"'
$(SANDBOX_OBJ): CFLAGS += $(WATCHER_CFLAGS)
$(B)/bin/dune-sandbox: $(SANDBOX_OBJ) $(DECODE_OBJ) $(B)/lib/libdune-ring3.a $(B)/lib/libdune.a
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(WATCHER_LDFLAGS) -o $@ $^ -lyaml -ljson-c
