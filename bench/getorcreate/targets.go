package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mysqlinit/mysqlinit/bench/internal/stats"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// target is what a method should reach of the calls a second of the same work by hand, on
// the same pool.
type target struct {
	load, method, base string
	what               string
	atLeast            float64
}

var targets = []target{
	{"transaction", guardedRun, guardedByHand, "`Run` of one INSERT, `guard=true`", 0.97},
	{"there", onDB, getInsertGet, "`GetOrCreate(db)`, there", 0.95},
	{"cold", withoutLastRead, getInsertGet, "`GetOrCreate(db)`, `WithLastRead(false)`, cold", 0.95},
	{"hot", withoutLastRead, getInsertGet, "`GetOrCreate(db)`, `WithLastRead(false)`, hot", 0.95},
}

// lostRace is a GetOrCreate whose row somebody else creates just before create.
var lostRace = load{
	name:    "lost race",
	methods: []method{{"lost race", func(ctx context.Context, p pools, name string) (int64, error) { return loseRace(ctx, p, name) }}},
	key:     func(_, round, _, i int) string { return fmt.Sprintf("lost-%d-%d", round, i) },
}

func loseRace(ctx context.Context, p pools, name string) (int64, error) {
	id, _, err := mysqltx.GetOrCreate(ctx, p.plain, get(name), func(ctx context.Context, q mysqltx.Querier) (int64, error) {
		if _, err := create(name)(ctx, p.guarded); err != nil {
			return 0, err
		}
		return create(name)(ctx, q)
	})
	return id, err
}

// targets measures the targets and writes a table of ratios and one of statements.
func (b *bench) targets(out *strings.Builder, pairs turns) error {
	fmt.Fprintf(out, "**Targets**. Calls a second, as a ratio to the same work by hand on the same pool: the median of %d rounds of %d calls each, with its 95 %% confidence interval. A target is met if all four medians reach it. It is in the noise if one does not, but its interval does.\n\n", pairs.rounds, pairs.calls)
	fmt.Fprintf(out, "|wanted|%s| |\n|---|%s---|\n", workerColumns(), strings.Repeat("---|", len(workerCounts)))
	sent := map[string]float64{} // by load and method
	for _, t := range targets {
		l := loadNamed(t.load)
		methods := l.named(t.method, t.base)
		all, err := b.compareAll(l, methods, pairs)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "|%s: at least %.2f|", t.what, t.atLeast)
		verdict := stats.Met
		for _, c := range all {
			ratio := c.rates.RatioTo(t.method, t.base)
			verdict = verdict.Worse(ratio.AtLeast(t.atLeast))
			fmt.Fprintf(out, "%s|", ratio)
		}
		fmt.Fprintf(out, "%s|\n", verdict)
		for _, m := range methods {
			sent[t.load+m.name] = all[0].statements.Median(m.name)
		}
	}
	lost, err := b.compare(lostRace, lostRace.methods, 1, turns{rounds: 1, calls: 100})
	if err != nil {
		return err
	}
	cold := loadNamed("cold")
	created, err := b.compare(cold, cold.named(onDB), 1, turns{rounds: 1, calls: 100})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n|statements a call|wanted|measured| |\n|---|--:|--:|---|\n")
	for _, s := range []struct {
		what      string
		want, got float64
	}{
		{"`Run` of one INSERT, `guard=true`: more than by hand", 0, sent["transaction"+guardedRun] - sent["transaction"+guardedByHand]},
		{"`GetOrCreate(db)`: the row is there", 1, sent["there"+onDB]},
		{"`GetOrCreate(db)`: the row is new", 3, created.statements.Median(onDB)},
		{"`GetOrCreate(db)`: the race is lost", 3, lost.statements.Median(lostRace.name) - 1}, // the winner sends one
		{"`GetOrCreate(db)`, `WithLastRead(false)`: the row is new", 2, sent["cold"+withoutLastRead]},
	} {
		fmt.Fprintf(out, "|%s|%.0f|%.2f|%s|\n", s.what, s.want, s.got, stats.VerdictOf(s.got == s.want))
	}
	fmt.Fprintln(out)
	return nil
}

func loadNamed(name string) load {
	return loads[slices.IndexFunc(loads, func(l load) bool { return l.name == name })]
}

// named returns the methods of those names.
func (l load) named(names ...string) (found []method) {
	for _, name := range names {
		found = append(found, l.methods[slices.IndexFunc(l.methods, func(m method) bool { return m.name == name })])
	}
	return found
}
