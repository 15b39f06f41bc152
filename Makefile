.DEFAULT_GOAL := help
GO ?= go
# The race detector needs cgo, which Go switches off where there is no C compiler.
RACE := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# It compiles while the server is being installed. Without cgo that takes less time.
demo: ## See the race that this driver cures, on a throwaway server
	@CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/mysqlinit & sh internal/testserver/install.sh; wait
	@CGO_ENABLED=0 $(GO) run ./cmd/mysqlinit race

# What only make ecosystem needs is not compiled: ORMs.
define test-all
	$(GO) test $(RACE) -shuffle=on -count=1 $(1) ./...
	cd integration && $(GO) test $(RACE) -shuffle=on -count=1 $(1) $$($(GO) list ./... | grep -v /ecosystem)
	cd examples/signup && $(GO) test $(RACE) -shuffle=on -count=1 $(1) ./...
endef

test: server mysql ## Run all tests with the race detector on throwaway servers, slow tests in their short form (2 minutes)
	$(call test-all,-short)

test-long: server mysql ## Run all tests in full (8 minutes)
	$(call test-all)

matrix: ## Run the conformance suite and failovers on nine deployments, into docs/servers.md (3 minutes; at first it fetches 0.4 GB)
	cd integration/servers && $(GO) test $(RACE) -tags=matrix -count=1 -timeout=10m
	cd integration/failover && $(GO) test $(RACE) -tags=matrix -count=1 -timeout=10m
	cd integration/matrix && $(GO) test $(RACE) -tags=matrix -count=1 -timeout=20m -update ../../docs/servers.md

SOAK = 2m
faults: server mysql ## Break connections at every byte, connections and transactions in random order, and soak a pool; figures into docs/reliability.md (20 minutes)
	@binary=$$(mktemp) && cd integration/faults && $(GO) test $(RACE) -c -o $$binary . && \
	{ $$binary -test.timeout=2h -every=1 -checkouts=100000 -transactions=100000 -callers=200 -soak=$(SOAK) -update ../../docs/reliability.md; code=$$?; rm $$binary; exit $$code; }

ecosystem: server mysql ent ## Run ORMs, migrations, tracing, dialers and the MySQL driver's own tests over this driver, on both kinds of server (2 minutes)
	@cd integration/containers && $(GO) test $(RACE) -count=1 ./...
	@binary=$$(mktemp) && cd integration/ecosystem && $(GO) test $(RACE) -tags=ecosystem -c -o $$binary . && \
	{ $$binary -test.timeout=10m; code=$$?; rm $$binary; exit $$code; }
	@cd integration/driversuite && $(GO) test -tags=ecosystem -count=1

lint: ent ## gofmt, go vet (also for other systems), staticcheck, go mod tidy
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt'ed: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	GOARCH=386 CGO_ENABLED=0 $(GO) vet ./...
	$(GO) tool -modfile=internal/tools/go.mod staticcheck ./...
	cd integration && $(GO) vet -tags=matrix,ecosystem ./... && $(GO) tool -modfile=../internal/tools/go.mod staticcheck -tags=matrix,ecosystem ./...
	$(GO) mod tidy -diff
	cd integration && $(GO) mod tidy -diff
	cd integration/containers && $(GO) vet ./... && $(GO) tool -modfile=../../internal/tools/go.mod staticcheck ./... && $(GO) mod tidy -diff
	cd bench && $(GO) vet ./... && $(GO) tool -modfile=../internal/tools/go.mod staticcheck ./... && $(GO) mod tidy -diff
	cd examples/signup && $(GO) vet ./... && $(GO) tool -modfile=../../internal/tools/go.mod staticcheck ./... && $(GO) mod tidy -diff
	cd internal/tools && $(GO) mod tidy -diff

fuzz: server ## Fuzz DSNs, isolation names, error texts, the guard's recogniser and, on a server, the guard, a minute each
	@for target in .:FuzzDSN .:FuzzDSNHidesPassword .:FuzzIsolationName .:FuzzInitErrorHidesLiterals .:FuzzGuardMissesNothing ./internal/sqltext:FuzzEffectOf; do \
		$(GO) test -run='^$$' -fuzz="^$${target#*:}\$$" -fuzztime=60s -fuzzminimizetime=100x "$${target%:*}" || exit 1; done

bench: server mysql ## Measure all that docs/performance.md shows, and write it (10 minutes; the machine should be quiet)
	cd bench && $(GO) run ./performance -update ../docs/performance.md

bench-quick: server ## The same on MariaDB alone, roughly, in less than a minute, on the screen
	@cd bench && $(GO) run ./performance -quick

bench-getorcreate: server mysql ## Compare ways to get or create a row, into docs/get-or-create.md (4 minutes)
	cd bench && $(GO) run ./getorcreate -update ../docs/get-or-create.md

vulncheck: ## Look for known vulnerabilities in what is called (asks vuln.go.dev)
	@$$($(GO) tool -modfile=internal/tools/go.mod -n govulncheck) ./... || case $$? in \
		3) echo "make vulncheck: update what is named above, and Go where it is the standard library" >&2; exit 1 ;; \
		*) echo "make vulncheck: nothing was checked, for the reason above; GOVULNDB may name a mirror of https://vuln.go.dev" >&2; exit 1 ;; esac

release-check: ## Tell whether this commit may be tagged: tree, modules, CHANGELOG, API
	@GO='$(GO)' sh internal/tools/release-check.sh

server: # Install a MariaDB server where none is found
	@sh internal/testserver/install.sh

ent: # Generate the ent client that make ecosystem tests
	@cd integration/ecosystem/internal/ent && $(GO) generate .

mysql: # Fetch a MySQL server for the tests where none is found
	@[ -n "$$MYSQLINIT_TEST_DSN" ] && [ -z "$$CI" ] || sh internal/testserver/fetch.sh mysql || echo "trying without"

.PHONY: help demo test test-long matrix faults ecosystem lint fuzz bench bench-quick bench-getorcreate vulncheck release-check server ent mysql
