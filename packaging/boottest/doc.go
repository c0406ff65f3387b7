// Package boottest is what a PC with our packages does, shown on one that was
// booted: its tests (build tag boot) run as root inside a Debian that systemd
// started, and `make test-boot` (.ci/test-boot) starts it.
//
// It guarantees nothing outside of that container and must never run anywhere
// else: it installs and purges packages, makes users and kills services. The
// tests are one story; each step finds what the one before left.
package boottest
