// Package failover tests a pool that connects to one address while the server at that
// address is replaced, killed, restarted with other settings, or made read-only. Run the
// tests with make matrix, which fetches the servers.
package failover
