package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mysqlinit/mysqlinit/bench/internal/stats"
)

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
	return slices.MaxFunc(m.Races, func(a, b race) int {
		return int(a.of(fate.lost).Median(plain) - b.of(fate.lost).Median(plain))
	})
}

// raceTable returns a Markdown table of the races on a server, hot or cold.
func (m measured) raceTable(hot bool) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("| workers | | lost out of 10,000 | of them: row vanished | met a duplicate key | got their row, a second | × the plain driver |\n|--:|---|--:|--:|--:|--:|--:|\n")
	for _, r := range m.Races {
		if r.Hot != hot {
			continue
		}
		lost, vanished, collided, rows := r.of(fate.lost), r.of(fate.vanished), r.of(fate.collided), r.of(fate.rows)
		for _, name := range r.Names {
			ratio := ""
			if name != plain {
				ratio = rows.RatioTo(name, plain).String()
			}
			p("| %d | %s | %s | %s | %.0f | %.0f | %s |\n", r.Workers, name, spread(lost, name), spread(vanished, name), collided.Median(name), rows.Median(name), ratio)
		}
	}
	p("\n")
	return b.String()
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
