// Package failover has tests of one pool behind one address, whose server is
// replaced, killed, restarted otherwise or made read-only while the pool works. They run
// with make matrix, which has the servers.
package failover
