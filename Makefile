.DEFAULT_GOAL := build
.PHONY: build test campaign lint clients fuzz bench bench-report mutants demo up down smoke generate ci help

## build: build everything into bin/
build:
	@scripts/build

## test: go vet and all tests, with the race detector
test:
	@scripts/test

## lint: gofmt, golangci-lint, internal/lint
lint:
	@scripts/lint

## campaign: histories of real processes under faults, checked; CAMPAIGN="-for 8h" goes on for long
campaign:
	@scripts/campaign $(CAMPAIGN)

## clients: the official SDK, rclone and rclone's own tests against six nodes, in full
clients:
	@scripts/clients

## fuzz: every fuzz target for FUZZTIME (default 30s each)
fuzz:
	@scripts/fuzz

## bench: six processes under partload, and Go's benchmarks; a quarter of an hour. BENCHFLAGS='-only put' does less
bench: build
	@go run ./tests/bench $(BENCHFLAGS)

## bench-report: bench, or what is missing of it, and the results into docs/benchmarks.md
bench-report: build
	@go run ./tests/bench -report docs/benchmarks.md $(BENCHFLAGS)

## mutants: plant known bugs in package metadata; the tests must catch each
mutants:
	@scripts/mutants

## demo: upload a file, stop two of six nodes, read it back
demo:
	@scripts/demo

## up: compose cluster of six nodes; returns when it is healthy
up:
	@scripts/up

## down: stop the compose cluster; its data stays
down:
	@scripts/down

## smoke: up, one upload of three parts, kill a node, read it back
smoke:
	@scripts/smoke

## generate: everything in the repository that is generated
generate:
	@go test ./cmd/partd -run Operations -update
	@go test ./node/qingstor -run 'Documented(Operations|Errors)' -update

## ci: exactly what CI runs
ci:
	@.ci/run

## help: this list
help:
	@sed -n 's/^## /make /p' $(MAKEFILE_LIST)
