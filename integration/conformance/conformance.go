// Package conformance shows what mysqlinit and mysqltx promise on a server that it knows
// nothing of but DSNs. It works in tables whose names begin with mysqlinit_, and drops them.
package conformance

import (
	"testing"
)

// Target is the server that is tested.
type Target struct {
	Root    string   // the DSN of an account that may create tables, with a database
	App     string   // the DSN of an account that may not set binlog_format; "" where there is none
	Others  []string // DSNs as Root, of further nodes that take writes
	Replica string   // a DSN as App, of a read-only replica
	Private bool     // nobody else uses the server: global variables may be changed, procedures made
	Want    *Facts   // what the server is expected to answer; nil: whatever it answers
}

// Result is what one check found, in a few words for a table.
type Result struct{ Check, Cell string }

// suite is what the checks share.
type suite struct {
	Target
	facts Facts
}

type check struct {
	name string
	run  func(s *suite, t *testing.T) (cell string)
}

var checks = []check{
	{"isolation variable", (*suite).isolationVariable},
	{"binary log, default format", (*suite).binaryLog},
	{"bare DSN: the format, as root", (*suite).bareRoot},
	{"the same as an ordinary account", (*suite).bareApp},
	{"20 connections at once", (*suite).manyConnections},
	{"policies, by global format", (*suite).policies},
	{"dialects and levels", (*suite).dialects},
	{"write at SERIALIZABLE", (*suite).serializable},
	{"init commands", (*suite).initCommands},
	{"verify", (*suite).verify},
	{"guard", (*suite).guard},
	{"race: the loser gets", (*suite).loserHears},
	{"race, plain driver: lost", (*suite).racePlain},
	{"race, mysqlinit: lost", (*suite).racePrepared},
	{"GetOrCreate, 4 racers, 100 keys", (*suite).getOrCreate},
	{"the same at REPEATABLE READ", (*suite).getOrCreateRepeatableRead},
	{"deadlock of two", (*suite).deadlock},
	{"swallowed deadlock", (*suite).swallowedDeadlock},
	{"record changed, REPEATABLE READ", (*suite).recordChanged},
	{"two nodes write one row", (*suite).nodesConflict},
	{"GetOrCreate on all nodes", (*suite).getOrCreateOnAllNodes},
	{"read-only replica", (*suite).replica},
}

// Checks returns the names of all checks, in the order of Run's results.
func Checks() (names []string) {
	for _, c := range checks {
		names = append(names, c.name)
	}
	return names
}

// notHere is the cell of a check about what the target does not have.
const notHere = "–"

// Run runs all checks. A check that fails fails the test, and shows FAILED as its cell.
func Run(t *testing.T, target Target) (results []Result) {
	s := &suite{Target: target}
	if !t.Run("facts", s.discover) {
		return nil
	}
	for _, c := range checks {
		cell := "**FAILED**"
		t.Run(c.name, func(t *testing.T) {
			if got := c.run(s, t); !t.Failed() {
				cell = got
			}
		})
		results = append(results, Result{c.name, cell})
	}
	return results
}
