// Package integration tests mysqlinit together with what programs use beside it.
// It is a module of its own, so that none of that becomes a dependency of the
// driver.
package integration
