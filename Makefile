# The words that people and CI use. Tools are pinned here, dependencies in go.mod.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# Each has a go.mod of its own, so that what only measures or shows stays out of
# the server's dependencies.
MODULES := . $(wildcard bench/go.mod examples/go.mod)
MODULES := $(patsubst %/go.mod,%,$(MODULES))

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: help build run test lint bench soak

help: ## Say what there is.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/fanfare.
	go build -ldflags '-X fanfare/server.Version=$(VERSION)' -o bin/fanfare ./cmd/fanfare

run: build ## Build and start the server: http://127.0.0.1:8080/, ARGS='--flag …' are passed on.
	bin/fanfare serve $(ARGS)

test: ## Install what the tests need, and run all of them.
	@.ci/setup
	@status=0; for m in $(MODULES); do \
		echo "go test $$m" && (cd $$m && go test -race -shuffle=on $(TESTFLAGS) ./...) || status=1; \
	done; exit $$status

lint: ## gofmt, go vet (Linux and macOS), staticcheck, govulncheck.
	@GOVULNCHECK=$(GOVULNCHECK) STATICCHECK=$(STATICCHECK) .ci/lint $(MODULES)

bench: ## Measure against a goroutine per connection and other servers, about 4 minutes.
	cd bench && go run ./cmd/fanfare-bench run --short

soak: ## Race closes, attack a server, then kill, cut off and fill up several, about 20 minutes.
	FANFARE_RACE=100000 go test -race -run TestClosingRaces -timeout 30m ./server
	cd bench && go run ./cmd/fanfare-bench soak --minutes 8
	cd bench && go run ./cmd/fanfare-bench faults --minutes 2
