// Package containers tests mysqlinit with a server from testcontainers-go. It is a
// module of its own, for that brings the Docker client's many dependencies, and it
// needs Docker, which the other tests do without.
package containers
