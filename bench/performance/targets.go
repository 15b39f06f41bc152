package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/mysqlinit/mysqlinit/bench/internal/stats"
)

// target is a figure that the project aims for, and what was measured.
type target struct {
	want, got string
	verdict   stats.Verdict
}

// targets compares the measurements with the targets.
func (m measured) targets() (all []target) {
	add := func(want, got string, v stats.Verdict) { all = append(all, target{want, got, v}) }
	bare, withVariable := m.tripsOf(ours).Later, m.tripsOf(oursVariable).Later
	base, inDSN := m.tripsOf(plain).Later, m.tripsOf(variables).Later
	add("bare DSN: 1 extra round trip over the plain driver", fmt.Sprintf("%d", bare-base), stats.VerdictOf(bare-base == 1))
	add("DSN with a variable: 0 extra over the plain driver with it", fmt.Sprintf("%d", withVariable-inDSN), stats.VerdictOf(withVariable == inDSN))
	fewest := bare
	for _, t := range m.Trips {
		if t.Prepares {
			fewest = min(fewest, t.Later)
		}
	}
	add("no way to a prepared session takes fewer round trips", fmt.Sprintf("%d; the fewest of all: %d", bare, fewest), stats.VerdictOf(bare == fewest))
	for _, connect := range []struct {
		operation           string
		toVariables, toSets float64
	}{{newConnection, 1.05, 0.80}, {endlessContext, 1.03, 0.90}} {
		t := m.timing(connect.operation, loopback)
		toVariables, toSets := t.RatioTo(ours, variables), t.RatioTo(ours, twoSets)
		add(fmt.Sprintf("%s: at most %.2f × variables in the DSN", connect.operation, connect.toVariables), toVariables.String(), toVariables.AtMost(connect.toVariables))
		add(fmt.Sprintf("%s: at most %.2f × two SETs", connect.operation, connect.toSets), toSets.String(), toSets.AtMost(connect.toSets))
	}
	for _, operation := range queries {
		noMoreThan := func(want, operation, name, base string) {
			t := m.timing(operation, loopback)
			ratio, more := t.RatioTo(name, base), int(math.Round(t.allocationsOf(name)-t.allocationsOf(base)))
			add(want, fmt.Sprintf("%s, %+d", ratio, more), stats.VerdictOf(ratio.Low <= 1.02 && more <= 0))
		}
		const nothing = "%s, %s: 1.00 × the plain driver, no extra allocation"
		noMoreThan(fmt.Sprintf(nothing, operation, ours), operation, ours, plain)
		noMoreThan(fmt.Sprintf(nothing, operation, withGuard), operation, withGuard, plain)
		noMoreThan(fmt.Sprintf(nothing, operation+inTx, withGuard), operation+inTx, withGuard, plain)
		noMoreThan(operation+", interceptor: no more than sqlmw", operation, withLayer, withSqlmw)
	}
	return all
}

// targetTable returns the targets of a server, and what explains those of a new connection.
func (m measured) targetTable() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("| wanted | measured | |\n|---|---|---|\n")
	for _, t := range m.targets() {
		p("| %s | %s | %s |\n", t.want, t.got, t.verdict)
	}
	fast, endless := m.timing(newConnection, loopback), m.timing(endlessContext, loopback)
	p("\nOn loopback the work of client and server counts for more than a round trip does. The SET that the driver itself sends for variables in the DSN takes %s × two SETs; no other way can be faster. ",
		fast.RatioTo(variables, twoSets))
	p("Whoever sends a SET after the driver has connected makes it watch the context once more: your own AfterConnect takes %s × variables in the DSN, mysqlinit with connectTimeout=0 %s. ",
		fast.RatioTo(afterOwn, variables), fast.RatioTo(untimed, variables))
	p("Under a context that never ends the driver has nothing to watch, but connectTimeout sets a limit, so that it has. There mysqlinit takes %s × variables in the DSN, and %s with connectTimeout=0.\n\n",
		endless.RatioTo(ours, variables), endless.RatioTo(untimed, variables))
	return b.String()
}
