// Package faults has tests of what a network and a server can do to a pool: connections
// that are lost, stalled or dripping at every byte, servers that hang, that are
// killed or full, and any of it in random order. They run in a short form with make test, and
// whole with make faults, which prints their figures last.
package faults
