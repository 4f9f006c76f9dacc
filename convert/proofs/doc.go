// Package proofs holds no code but tests: of guests that the real program
// converted, from an ESXi host on loopback, and that were then booted.
//
// Each guest is converted once; every test of it starts from overlays over the
// converted disks. They take minutes each: scripts/test-boot.sh runs them.
package proofs
