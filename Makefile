# Each target does its own set-up: on Debian 12 or Ubuntu, as root, it installs
# what it needs through apt. An ordinary user may build and lint, and is told what
# is missing.
# `make help` lists the targets.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PREFIX ?= /usr/local
GO = scripts/go.sh
# libvirt is opened at run time (dlopen), so one binary also runs where there
# is none; that needs cgo and glibc. The rest of the tree is pure Go.
TAGS = libvirt_dlopen

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z -]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-13s %s\n", $$1, $$2 }'

.PHONY: build
build: ## build bin/esxodus, and bin/lilo, which it puts into guests
	@scripts/setup.sh build
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/lilo ./cmd/lilo
	$(GO) build -trimpath -tags $(TAGS) -ldflags "-X main.revision=$$(git describe --always --dirty 2>/dev/null)" \
		-o bin/esxodus ./cmd/esxodus

.PHONY: demo
demo: ## migrate a real Debian guest from an ESXi on loopback to a libvirt domain
	@scripts/demo.sh

.PHONY: demo-batch
demo-batch: ## migrate a host of five VMs in waves, with reports, each put in its place
	@scripts/demo-batch.sh

# The ladder of tests. ARGS go to go test: make test-boot ARGS="--guest debian -run 'TestBoots/debian on'"

.PHONY: test
test: ## all packages on the real tools, whole migrations of small guests
	@scripts/test.sh $(ARGS)

.PHONY: test-lab
test-lab: ## what needs device-mapper, in virtual machines; and power cuts
	@scripts/setup.sh test
	@scripts/test-lab.sh $(ARGS)

.PHONY: test-boot
test-boot: ## proofs on Debian guests that booted: each layout, upgrades, growth
	@scripts/setup.sh test
	@scripts/test-boot.sh $(ARGS)

.PHONY: test-packages
test-packages: ## the deb installed, upgraded and purged in a Debian root, the rpm unpacked
	@scripts/setup.sh test
	@scripts/test-packages.sh

.PHONY: test-report
test-report: ## the report of a plan in a browser: filters, keyboard, accessibility
	@scripts/test-report.sh $(ARGS)

.PHONY: test-all
test-all: test test-packages test-lab test-boot test-report ## all of them, about three hours

.PHONY: lint
lint: ## golangci-lint with .golangci.yml, shellcheck, gofumpt and go mod tidy
	@scripts/setup.sh lint
	@scripts/lint.sh

.PHONY: bench
bench: build ## compare esxodus copy with qemu-img and nbdcopy
	@scripts/setup.sh test
	@scripts/bench-copy.sh

.PHONY: bench-convert
bench-convert: build ## compare esxodus convert with virt-v2v, from source to booted domain
	@scripts/setup.sh test
	@scripts/setup.sh bench
	@scripts/bench-convert.sh

.PHONY: bench-plan
bench-plan: ## time and memory of inventory and plan of a host with 1,000 VMs
	@scripts/setup.sh test
	@scripts/bench-plan.sh $(ARGS)

.PHONY: loader
loader: ## assemble the boot loader anew (convert/lilo/loader) with nasm
	@scripts/setup.sh test
	@scripts/loader.sh

.PHONY: deb rpm
deb rpm: build ## a package of it in bin, for Debian 12 and Ubuntu or the RHEL family
	@scripts/setup.sh package
	@scripts/package.sh $@

.PHONY: install
install: build ## install programs, manual pages and completions to PREFIX (/usr/local)
	@$(MAKE) --no-print-directory files

# The part of install that builds nothing.
.PHONY: files
files:
	install -D -m 0755 bin/esxodus $(DESTDIR)$(PREFIX)/bin/esxodus
	install -D -m 0755 bin/lilo $(DESTDIR)$(PREFIX)/lib/esxodus/lilo
	bin/esxodus man $(DESTDIR)$(PREFIX)/share/man
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	bin/esxodus completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/esxodus
	bin/esxodus completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_esxodus
	bin/esxodus completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/esxodus.fish

.PHONY: clean
clean: ## remove what was built; guests in .cache stay
	rm -rf bin
