# Every command is one line into scripts/. On a fresh Debian 12 machine each installs what it is missing.
.PHONY: help demo test run build tune check bench fmt clean
help:    ## this list
	@grep -E '^[a-z]+: .*##' Makefile | sed -E 's/: .*## /\t/' | expand -t 10
demo:    ## install, build, and run image, video, audio, 3D and text tasks on real input
	@scripts/demo
test:    ## install, build and run every test
	@scripts/test
run:     ## install, build, and leave a server running on http://127.0.0.1:8080
	@scripts/run
build:   ## install and build the release binary, build/release/quern
	@scripts/build release
tune:    ## build the fastest binary, compiled by what it does under load, build/tuned/quern
	@scripts/tune
check:   ## what a commit must pass: format, shell syntax, include directions, tests
	@scripts/check
bench:   ## measure, and write docs/BENCHMARKS.md
	@scripts/bench
fmt:     ## format the sources
	@scripts/fmt
clean:   ## remove what was built
	@rm -rf build
