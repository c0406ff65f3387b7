# Every target is one line or one script under .ci/. `make` alone lists them.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build packages packages-check run serve serve-softhsm test race e2e samples test-boot bench bench-check fuzz faults mutants nightly lint generate generate-check tidy-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

build: ## build inkand, inkan, inkan-prompt and inkan-virtual-card into bin/
	.ci/build

packages: ## build the .deb and .rpm packages into build/packages/
	.ci/packages

packages-check: packages ## check the packages: the same bytes twice, lintian, units, users
	.ci/packages-check

run: build ## see it work: sign a sample document with a virtual card, check it with openssl
	.ci/demo

serve: build ## run inkand with a virtual card until Ctrl-C, state under build/serve
	.ci/serve

serve-softhsm: build ## the same with a PKCS#11 token that is a file, state under build/serve-softhsm
	.ci/serve-softhsm

test: race e2e ## run all tests: race, then e2e; installs what they need

race: ## run the tests of all packages under the race detector
	.ci/race

e2e: build ## run what people run, with real processes
	.ci/e2e

samples: build ## run the samples in Python and Node.js
	.ci/samples

test-boot: ## boot Debian 12 and 13 in containers with our packages in them; needs root
	.ci/test-boot

bench: ## run the benchmarks into build/bench.txt and summarise them
	.ci/bench

bench-check: ## check the ratios that the benchmarks must keep
	.ci/bench-check

fuzz: ## fuzz every target for FUZZTIME (10s) each
	.ci/fuzz

faults: ## break inkand in every way and check what must hold; TIER=c (default), n or r
	.ci/faults

mutants: ## make each known mistake and check that the tests catch it
	.ci/mutants

nightly: ## what takes too long for each commit: more tests, the fault catalogue, the mutants
	TIER=n .ci/race
	TIER=n .ci/faults
	.ci/mutants
	.ci/test-boot

lint: ## check format, lint rules and scripts
	.ci/lint

generate: ## write the Go code of proto/ and the generated pages of docs/ again
	.ci/generate

generate-check: ## check that proto/ is tidy and compatible, and what is generated fresh
	.ci/generate-check

tidy-check: ## check that go.mod and go.sum are tidy
	.ci/tidy-check

clean: ## remove bin/ and build/
	rm -rf bin build
