// Package driversuite runs the MySQL driver's own tests with the guard on. Run it with
// make ecosystem.
package driversuite
