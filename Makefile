# Thin: every target names the script or the preset that does the work. `make help` lists them.
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
DESTDIR ?=

.DEFAULT_GOAL := help
.PHONY: help bootstrap build run test soak bench lint format-check install

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14

bootstrap: ## install what building needs (called by the others)
	@deploy/bootstrap build

build: bootstrap ## optimized, hardened programs in build/bin
	@mkdir -p build && cmake --preset release >build/release.log 2>&1 || { cat build/release.log; exit 1; }
	@cmake --build --preset release -j $(JOBS)
	@ln -sfn release/bin build/bin

run: build ## start everything on an example with three small origins, and say what to curl
	@deploy/bootstrap build run
	@deploy/run

test: ## every test, under sanitizers (tests/run --help for parts)
	@deploy/bootstrap build test
	@tests/run

soak: build ## the long counts and timings
	@deploy/bootstrap build test bench
	@tests/soak/run

bench: build ## beside nginx, HAProxy and nghttpx; writes docs/performance.md and the tables of docs/balancers.md
	@deploy/bootstrap build test bench
	@tests/bench/run
	@tests/bench/balancers

lint: ## static analysis and the house rules that a script can see
	@deploy/bootstrap build test
	@DEEP=1 tests/run checks analysis

format-check: ## columns, tabs, blanks at line ends (it changes nothing)
	@tests/check/layout

install: build ## programs below DESTDIR/PREFIX, units and examples with them
	@cmake --preset release -DCMAKE_INSTALL_PREFIX=$(PREFIX) >build/release.log
	@DESTDIR=$(DESTDIR) cmake --install build/release
