// Package containers tests mysqlinit with a server from testcontainers-go. It is a separate
// module, because the Docker client has many dependencies. The test needs Docker; the other
// tests don't.
package containers
