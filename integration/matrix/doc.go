// Package matrix runs the conformance suite on all deployments. Its tests have the build
// tag matrix; run them with make matrix.
package matrix
