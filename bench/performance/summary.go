package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mysqlinit/mysqlinit/bench/internal/stats"
)

// inShort returns what matters most, in a few sentences.
func inShort(servers []measured) string {
	lost := func(name string) (most float64) {
		for _, m := range servers {
			for _, r := range m.races(true) {
				most = max(most, r.of(fate.lost).Median(name))
			}
		}
		return most
	}
	trips := 0
	for _, m := range servers {
		trips = max(trips, m.tripsOf(ours).Later-m.tripsOf(plain).Later)
	}
	return fmt.Sprintf("In the worst of these loads the plain driver loses %.0f of 10,000 get-or-create transactions (median), and mysqlinit %.0f. Extra round trips of a new connection: %d.",
		lost(plain), lost(ours), trips)
}

// summary returns a table with a column for each server: what mysqlinit saves and what it
// costs.
func summary(servers []measured) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("| |")
	for _, m := range servers {
		p(" %s |", m.name())
	}
	p("\n|---|%s\n", strings.Repeat("--:|", len(servers)))
	row := func(what string, of func(m measured) string) {
		p("| %s |", what)
		for _, m := range servers {
			p(" %s |", of(m))
		}
		p("\n")
	}
	heading := func(text string) { p("| **%s** |%s\n", text, strings.Repeat(" |", len(servers))) }

	heading("saves: [get or create under load](#what-it-saves)")
	row("transactions lost out of 10,000, plain driver", func(m measured) string {
		worst := m.worst()
		return fmt.Sprintf("%.0f with %d workers", worst.of(fate.lost).Median(plain), worst.Workers)
	})
	row("the same, mysqlinit", func(m measured) string { return fmt.Sprintf("%.0f", m.worst().of(fate.lost).Median(ours)) })
	row("rows got a second, × the plain driver", func(m measured) string {
		return m.worst().of(fate.rows).RatioTo(ours, plain).String()
	})
	heading("costs: [a new connection](#time)")
	row("extra round trips over the plain driver", func(m measured) string {
		return fmt.Sprintf("%d", m.tripsOf(ours).Later-m.tripsOf(plain).Later)
	})
	row("the same, if the DSN sets a variable anyway", func(m measured) string {
		return fmt.Sprintf("%d", m.tripsOf(oursVariable).Later-m.tripsOf(variables).Later)
	})
	for _, network := range []string{loopback, slowNetwork} {
		of := func(base string) func(m measured) string {
			return func(m measured) string { return m.timing(newConnection, network).RatioTo(ours, base).String() }
		}
		where := network
		if network == loopback {
			where = "loopback"
		}
		row("time, × the plain driver, "+where, of(plain))
		row("time, × the plain driver whose DSN sets the same variables, "+where, of(variables))
	}
	heading("costs: [a query](#time)")
	for _, name := range []string{ours, withGuard} {
		row("time of a SELECT of one row, × the plain driver, "+name, func(m measured) string {
			return m.timing(queryRowName, loopback).RatioTo(name, plain).String()
		})
	}
	row("extra allocations, with the guard or without", func(m measured) string {
		most := 0.0
		for _, operation := range queries {
			t := m.timing(operation, loopback)
			for _, name := range []string{ours, withGuard} {
				most = max(most, t.allocationsOf(name)-t.allocationsOf(plain))
			}
		}
		return fmt.Sprintf("%.0f", most)
	})
	p("\n")
	return b.String()
}

// worst returns the race in which the plain driver loses most.
func (m measured) worst() race {
	return slices.MaxFunc(m.races(true), func(a, b race) int {
		return cmp.Compare(a.of(fate.lost).Median(plain), b.of(fate.lost).Median(plain))
	})
}

// hotTable returns a Markdown table of the races for the same rows.
func (m measured) hotTable() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("| workers | lost, %s | lost, %s | met a duplicate key and got the row, %s | rows a second, %s | rows a second, %s | ratio |\n|--:|--:|--:|--:|--:|--:|--:|\n", plain, ours, ours, plain, ours)
	lostRows, deadlocks := 0, 0
	for _, r := range m.races(true) {
		lost, rows := r.of(fate.lost), r.of(fate.rows)
		p("| %d | %s | %s | %.0f | %.0f | %.0f | %s |\n", r.Workers, spread(lost, plain), spread(lost, ours),
			r.of(fate.collided).Median(ours), rows.Median(plain), rows.Median(ours), rows.RatioTo(ours, plain))
		for _, fates := range r.Fates {
			for _, f := range fates {
				lostRows, deadlocks = lostRows+f.Vanished, deadlocks+f.Deadlocked
			}
		}
	}
	p("\nOf all transactions of this table, %d lost their row and %d met a deadlock.\n\n", lostRows, deadlocks)
	return b.String()
}

// coldTable returns a Markdown table of the loads in which nobody races.
func (m measured) coldTable() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("| workers | rows a second, %s | rows a second, %s | ratio |\n|--:|--:|--:|--:|\n", plain, ours)
	lost := 0
	for _, r := range m.races(false) {
		rows := r.of(fate.rows)
		p("| %d | %.0f | %.0f | %s |\n", r.Workers, rows.Median(plain), rows.Median(ours), rows.RatioTo(ours, plain))
		for _, fates := range r.Fates {
			for _, f := range fates {
				lost += f.Vanished + f.Deadlocked
			}
		}
	}
	p("\nOf all transactions of this table, %d were lost.\n\n", lost)
	return b.String()
}

// races returns those with hot keys, or the others.
func (m measured) races(hot bool) (found []race) {
	for _, r := range m.Races {
		if r.Hot == hot {
			found = append(found, r)
		}
	}
	return found
}

// spread returns the median of a contender's runs, with the least and the most.
func spread(p stats.Paired, name string) string {
	median := fmt.Sprintf("%.0f", p.Median(name))
	runs := p.Of(name)
	low, high := slices.Min(runs), slices.Max(runs)
	if low == high {
		return median
	}
	return fmt.Sprintf("%s (%.0f–%.0f)", median, low, high)
}
