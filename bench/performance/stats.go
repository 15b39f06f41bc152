package main

import (
	"fmt"
	"slices"

	"golang.org/x/perf/benchmath"
)

// estimate is a median and its 95 % confidence interval.
type estimate struct{ median, low, high float64 }

// estimateOf estimates the median of the values. It makes no assumption about their
// distribution.
func estimateOf(values []float64) estimate {
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(values, &benchmath.DefaultThresholds), 0.95)
	return estimate{s.Center, s.Lo, s.Hi}
}

// ratio formats an estimate of a ratio with its confidence interval.
func (e estimate) ratio() string { return fmt.Sprintf("%.3f (%.3f–%.3f)", e.median, e.low, e.high) }

// paired holds samples of contenders that were measured in turns.
type paired struct {
	names   []string
	seconds [][]float64 // by contender and round
}

// ratioTo compares a contender with another one, round by round, because a slow moment
// of the machine affects both samples of a round.
func (p paired) ratioTo(name, base string) estimate {
	a, b := p.of(name), p.of(base)
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return estimateOf(ratios)
}

// of returns a contender's samples.
func (p paired) of(name string) []float64 {
	return p.seconds[slices.Index(p.names, name)]
}

// milliseconds formats the median of a contender's samples.
func (p paired) milliseconds(name string) string {
	return fmt.Sprintf("%.3f", estimateOf(p.of(name)).median*1000)
}
