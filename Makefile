# Slipway. `make help` lists the targets.

SHELL      := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

LISTEN ?= 127.0.0.1:8080
UPFLAGS ?=
# Of make compose-test: single, ha, libvirt; all where empty.
STAGES ?=
# Mutants of each target of make mutants, and the targets; all where empty.
N       ?= 60
TARGETS ?=
# Hosts of the large estate of make bench.
SCALE ?= 1000000

# Real machines need root; simulated ones run as anybody.
ifneq ($(findstring sim,$(UPFLAGS)),)
RUNAS :=
DATA  ?= $(if $(filter 0,$(shell id -u)),/var/lib/slipway,$(HOME)/.local/share/slipway)
else
RUNAS := $(if $(filter 0,$(shell id -u)),,sudo -E)
DATA  ?= /var/lib/slipway
endif

# libvirt is opened at run time, so that no headers of it are needed to build.
# Paths of the build machine stay out of the programs, and clones share the build cache.
export GOFLAGS := -tags=libvirt_dlopen -buildvcs=false -trimpath
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin

MODULES := proto pkg services gateway deploy
TOOLS   := bin/tools/.stamp

# Debian packages: to build the guest, to run the stack, to run the tests, to run those in a browser.
BUILD_PACKAGES := ca-certificates cpio dosfstools gcc libc6-dev mtools qemu-utils syslinux syslinux-common
RUN_PACKAGES   := libvirt-daemon-system libvirt-daemon-driver-qemu libvirt0 postgresql prometheus qemu-system-x86 qemu-utils seabios
TEST_PACKAGES  := bind9 cloud-init curl etcd-server git iproute2 nftables patroni
BROWSER_PACKAGES := chromium
BROWSER := deploy/e2e/browser/node_modules/.package-lock.json

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: packages
packages: ## install the Debian packages that are missing (apt; as root or with sudo)
	@deploy/packages.sh $(BUILD_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES)

.PHONY: browser
browser: $(BROWSER) ## install Chromium and the npm packages that the tests in a browser need
	@deploy/packages.sh $(BROWSER_PACKAGES)

$(BROWSER): deploy/e2e/browser/package.json deploy/e2e/browser/package-lock.json
	@cd deploy/e2e/browser && npm ci --no-progress

.PHONY: build
build: bin/slipway bin/templates ## build bin/slipway and the OS template beside it

.PHONY: bin/slipway
bin/slipway:
	go build -o bin/ slipway.dev/deploy/cmd/slipway

.PHONY: services
services: ## build the services as separate programs into bin/
	go build -o bin/ slipway.dev/services/auth/cmd/authd slipway.dev/services/vm/cmd/vmd slipway.dev/services/ip/cmd/ipd \
		slipway.dev/services/node/cmd/noded slipway.dev/gateway/cmd/gatewayd

.PHONY: bin/templates
bin/templates:
	@deploy/guest/build.sh bin/templates

.PHONY: demo
demo: packages build ## install, build and start everything, make a first host over REST and show its console
	@deploy/demo.sh $(DATA) $(LISTEN) $(UPFLAGS)

.PHONY: up
up: packages build ## run the stack in the foreground until Ctrl-C
	@exec $(RUNAS) bin/slipway up --data $(DATA) --listen $(LISTEN) $(UPFLAGS)

.PHONY: down
down: ## stop the stack that make demo left in the background; hosts go on
	@deploy/down.sh $(DATA)

.PHONY: clean
clean: ## stop the stack, remove its hosts and its data
	@deploy/clean.sh $(DATA)

.PHONY: test
test: packages browser build services bin/gotest bin/pgrun ## run every test; nothing needs to run already
	@deploy/test.sh

.PHONY: unit
unit: bin/pgrun bin/gotest ## run the unit tests alone (under two minutes)
	@bin/pgrun bin/gotest -vet=off work # make lint vets
	@cd tools && GOWORK=off GOFLAGS= go test ./...

.PHONY: coverage-api
coverage-api: ## print how many of the calls that clients of VMmanager 6 know are served
	@cd gateway && go test -count=1 -run '^TestCalls$$' -v . | sed -n 's/^ *calls_test.go:[0-9]*: //p'

.PHONY: bin/gotest
bin/gotest:
	@cd tools && GOWORK=off GOFLAGS= go build -o ../bin/ ./gotest

.PHONY: bin/pgrun
bin/pgrun:
	@go build -o bin/ slipway.dev/pkg/pg/pgtest/pgrun

.PHONY: mutants
mutants: bin/pgrun ## plant mistakes in the core packages, and look whether a test notices each (hours); N= of each, TARGETS= some
	@cd tools && GOWORK=off GOFLAGS= go build -o ../bin/ ./mutants
	@nice -n 19 bin/pgrun bin/mutants -n $(N) $(TARGETS)

.PHONY: vuln
vuln: ## search for known vulnerabilities and for secrets in the history; VULNDB= names a copy of the Go vulnerability database
	@deploy/vuln.sh

.PHONY: vuln-offline
vuln-offline: ## search for secrets alone, on machines that reach no database; make test runs it
	@deploy/vuln.sh offline

.PHONY: chaos
chaos: packages build services ## break everything many times and look whether it heals (hours); make test has a short form
	@deploy/chaos.sh

.PHONY: compose-up
compose-up: ## run every service in a container of its own; installs and starts Docker where it is missing
	@compose=$$(deploy/docker.sh) && $$compose up --build --detach --wait && $$compose logs --no-log-prefix init

.PHONY: compose-down
compose-down: ## stop the containers; volumes, and so all data, stay
	@compose=$$(deploy/docker.sh) && $$compose down

.PHONY: compose-test
compose-test: packages build bin/gotest ## run the suite against docker compose: one of everything, two replicas, real machines
	@deploy/compose/test.sh $(STAGES)

.PHONY: images-offline
images-offline: ## make the base images of Debian packages, where no image registry can be reached
	@deploy/docker.sh >/dev/null && deploy/packages.sh mmdebstrap && deploy/images/offline/build.sh

.PHONY: bench
bench: packages build services ## measure, against floors in the same run; about fifteen minutes (SCALE=0: ten)
	go build -o bin/ slipway.dev/deploy/bench slipway.dev/services/node/cmd/libvirtfloor
	@bin/bench -bin bin -scale $(SCALE)
	go test ./gateway -run '^$$' -bench SessionCheck -benchtime 5s
	go test ./gateway -run '^$$' -bench 'ListHost|GetHost|Filter' -benchmem

.PHONY: measure
measure: ## measure the code: sizes of files, functions and packages, tests against code, words in comments
	@cd tools && GOWORK=off GOFLAGS= go run ./measure ..

.PHONY: gen
gen: $(TOOLS) ## generate Go and OpenAPI from the protos
	PATH=$(CURDIR)/bin/tools:$$PATH buf format -w
	PATH=$(CURDIR)/bin/tools:$$PATH buf generate
	go generate ./gateway/...

.PHONY: lint
lint: $(TOOLS) ## lint protos and Go, dangerous constructs (gosec) too
	PATH=$(CURDIR)/bin/tools:$$PATH buf lint
	@deploy/breaking.sh
	go vet work
	cd tools && test -x ../bin/lint/golangci-lint || GOWORK=off GOFLAGS= GOBIN=$(CURDIR)/bin/lint go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	for m in $(MODULES); do (cd $$m && $(CURDIR)/bin/lint/golangci-lint run ./...); done

$(TOOLS): tools/go.mod tools/go.sum
	cd tools && GOWORK=off GOFLAGS= GOBIN=$(CURDIR)/bin/tools go install tool
	touch $@
