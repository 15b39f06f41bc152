.DEFAULT_GOAL := help
GO ?= go
# The race detector needs cgo. Go switches cgo off if there is no C compiler.
RACE := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# It compiles while the server is being installed. Without cgo that takes less time.
demo: ## Show the race that this driver cures, on a throwaway server
	@CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/mysqlinit & sh internal/testserver/install.sh; wait
	@CGO_ENABLED=0 $(GO) run ./cmd/mysqlinit race

# The packages of make ecosystem are left out: compiling their ORMs takes long.
define test-all
	$(GO) test $(RACE) -shuffle=on -count=1 $(1) ./...
	cd integration && $(GO) test $(RACE) -shuffle=on -count=1 $(1) $$($(GO) list ./... | grep -v /ecosystem)
	cd examples/signup && $(GO) test $(RACE) -shuffle=on -count=1 $(1) ./...
	cd bench && $(GO) test $(RACE) -shuffle=on -count=1 $(1) ./internal/...
endef

test: server mysql ## Run all tests with the race detector on throwaway servers, slow tests in their short form (2 minutes)
	$(call test-all,-short)

test-long: server mysql ## Run all tests in full (5 minutes)
	$(call test-all)

matrix: vitess ## Run the conformance suite and failovers on ten deployments, and write docs/servers.md (4 minutes; the first run downloads 0.7 GB and compiles Vitess)
	cd integration/servers && $(GO) test $(RACE) -tags=matrix -count=1 -timeout=10m
	cd integration/failover && $(GO) test $(RACE) -tags=matrix -count=1 -timeout=10m
	cd integration/matrix && $(GO) test $(RACE) -tags=matrix -count=1 -timeout=20m -update ../../docs/servers.md

SOAK = 2m
faults: server mysql ## Break connections at every byte, connections and transactions in random order, soak a pool, and write docs/reliability.md (20 minutes)
	@binary=$$(mktemp) && cd integration/faults && $(GO) test $(RACE) -c -o $$binary . && \
	{ $$binary -test.timeout=2h -every=1 -checkouts=100000 -transactions=100000 -runs=100000 -callers=200 -soak=$(SOAK) -update ../../docs/reliability.md; code=$$?; rm $$binary; exit $$code; }

ecosystem: server mysql ent ## Run ORMs, migrations, tracing, dialers and the MySQL driver's own tests over this driver, on both kinds of server (2 minutes)
	@cd integration/containers && $(GO) test $(RACE) -count=1 ./...
	@binary=$$(mktemp) && cd integration/ecosystem && $(GO) test $(RACE) -tags=ecosystem -c -o $$binary . && \
	{ $$binary -test.timeout=10m; code=$$?; rm $$binary; exit $$code; }
	@cd integration/driversuite && $(GO) test -tags=ecosystem -count=1

lint: ent ## Check with gofmt, go vet (also for other systems), staticcheck and go mod tidy
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
	@for target in .:FuzzDSN .:FuzzDSNHidesPassword .:FuzzIsolationName .:FuzzInitErrorHidesLiterals .:FuzzInitErrorHidesSecretVariables .:FuzzGuardMissesNothing ./internal/sqltext:FuzzEffectOf; do \
		$(GO) test -run='^$$' -fuzz="^$${target#*:}\$$" -fuzztime=60s -fuzzminimizetime=100x "$${target%:*}" || exit 1; done

# To change its texts or plots without measuring again, run ./performance with -save FILE once, then with -from FILE.
bench: server mysql ## Measure everything in docs/performance.md and write it (10 minutes; the machine should be idle)
	cd bench && $(GO) run ./performance -update ../docs/performance.md

bench-quick: server ## Measure the same roughly, on MariaDB alone, and print it (less than a minute)
	@cd bench && $(GO) run ./performance -quick

bench-getorcreate: server mysql ## Compare ways to get or create a row, and write docs/get-or-create.md (9 minutes)
	cd bench && $(GO) run ./getorcreate -update ../docs/get-or-create.md

pictures: server ## Draw docs/check.svg and docs/race.svg from what the commands print
	$(GO) test -count=1 -run=TestPicture ./cmd/mysqlinit -update

vulncheck: ## Look for known vulnerabilities in the code that is called (asks vuln.go.dev)
	@$$($(GO) tool -modfile=internal/tools/go.mod -n govulncheck) ./... || case $$? in \
		3) echo "make vulncheck: update the modules named above, or Go if it is the standard library" >&2; exit 1 ;; \
		*) echo "make vulncheck: nothing was checked, for the reason above; GOVULNDB can name a mirror of https://vuln.go.dev" >&2; exit 1 ;; esac

release-check: ## Check whether this commit can be tagged: tree, modules, CHANGELOG, API
	@GO='$(GO)' sh internal/tools/release-check.sh

server: # Install a MariaDB server if none is found
	@sh internal/testserver/install.sh

ent: # Generate the ent client that make ecosystem tests
	@cd integration/ecosystem/internal/ent && $(GO) generate .

mysql: # Fetch a MySQL server for the tests if none is found
	@[ -n "$$MYSQLINIT_TEST_DSN" ] && [ -z "$$CI" ] || sh internal/testserver/fetch.sh mysql || echo "going on without MySQL"

vitess: # Compile Vitess unless it is compiled already, and show the progress
	@sh internal/testserver/fetch.sh vitess || echo "trying without"

.PHONY: help demo test test-long matrix faults ecosystem lint fuzz bench bench-quick bench-getorcreate pictures vulncheck release-check server ent mysql vitess
