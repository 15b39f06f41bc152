// Package integration tests mysqlinit together with other libraries that programs use. It
// is a separate module, so that those don't become dependencies of the driver.
package integration
