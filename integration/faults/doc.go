// Package faults tests what a network and a server can do to a pool: connections that are
// lost, stalled or dripping at every byte, servers that hang, are killed or are full, and
// all of that in random order. make test runs a short form of the tests. make faults runs
// them in full and prints their figures last.
package faults
