// Package conformance checks that mysqlinit and mysqltx keep their promises on a server.
// All it needs to know about the server is DSNs. It works in tables whose names begin with
// mysqlinit_ and drops them afterwards.
package conformance

import (
	"testing"
)

// Target is the server that is tested.
type Target struct {
	Root    string   // the DSN of an account that can create tables, with a database
	App     string   // the DSN of an account that is not allowed to set binlog_format; "" if there is none
	Others  []string // DSNs like Root, for more nodes that accept writes
	Replica string   // a DSN like App, for a read-only replica
	Private bool     // nobody else uses the server, so checks can change global variables and create procedures
	Want    *Facts   // the expected answers; nil accepts any

	Unsharded *Unsharded // if the database in Root is a sharded keyspace of Vitess
}

// Unsharded is a keyspace of Vitess in which every table works. In a sharded one, only
// those in its schema do.
type Unsharded struct {
	Root   string // a DSN like Target's, through vtgate
	Direct string // the same database on its own server
}

// Result is the outcome of one check, in a few words for a table.
type Result struct{ Check, Cell string }

// suite is shared by all checks.
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
	{"system variables as DSN keys", (*suite).variableNames},
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
	{"the same by hand, under the guard", (*suite).swallowedByHand},
	{"the same by hand, plain driver", (*suite).swallowedPlain},
	{"guard: healthy transactions, refused", (*suite).guardRefusesNone},
	{"guard: lost transactions, untold", (*suite).guardTellsAll},
	{"guard: conflicts of nodes, untold", (*suite).guardTellsConflicts},
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

// notHere is the cell of a check about something that the target does not have.
const notHere = "–"

// Run runs all checks. If a check fails, the test fails, and the check's cell is FAILED.
func Run(t *testing.T, target Target) []Result { return run(t, target, checks) }

func run(t *testing.T, target Target, checks []check) (results []Result) {
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
