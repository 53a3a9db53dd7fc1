# The commands for people and for CI. Tools are pinned here, dependencies in go.mod.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# bench and examples have a go.mod of their own, which keeps their dependencies out of the server's.
MODULES := . $(wildcard bench/go.mod examples/go.mod)
MODULES := $(patsubst %/go.mod,%,$(MODULES))

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The variable that holds the version of the server program. This is the only place that sets it.
VERSION_VARIABLE := main.version
BIN := bin/fanfare

.PHONY: help build run test lint bench bench-servers soak

help: ## Print this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/fanfare, a static program.
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X $(VERSION_VARIABLE)=$(VERSION)' -o $(BIN) ./cmd/fanfare

run: build ## Build and start the server at http://127.0.0.1:8080/; ARGS='--flag …' passes flags.
	$(BIN) serve $(ARGS)

test: ## Install what the tests need and run them all: with and without the race detector, and on 32 bits.
	@.ci/setup
	@.ci/test $(MODULES)

lint: ## Run gofmt, go vet (Linux on 64 and 32 bits, macOS), staticcheck and govulncheck.
	@GOVULNCHECK=$(GOVULNCHECK) STATICCHECK=$(STATICCHECK) .ci/lint $(MODULES)

bench: ## Compare fanfare with other servers on this machine, about 4 minutes.
	cd bench && go run ./cmd/fanfare-bench run --short

bench-servers: ## Build Centrifugo, NATS and Mercure, and compare fanfare with them, about 25 minutes.
	cd bench && FANFARE_BENCH_SERVERS=1 go test -run TestProducts -timeout 1h ./servers
	cd bench && go run ./cmd/fanfare-bench run --products -n 2000 --rounds 5 --time 1s --warm 300ms --settle 1s

soak: ## Race closes, attack a server, break a cluster and stores, about 20 minutes.
	FANFARE_RACE=100000 go test -race -run TestClosingRaces -timeout 30m ./server
	FANFARE_SCHEDULES=all go test -run 'Schedule' ./server/internal/replay
	cd bench && go run ./soak attack --minutes 11
	cd bench && go run ./soak fault --minutes 1.5
	cd bench && go run ./soak upgrade --sessions 500 --upgrades 30 --faults
	cd bench && go run ./soak storm
