// Package matrix runs the conformance suite on all deployments. Its test has the build
// tag matrix; make matrix runs it.
package matrix
