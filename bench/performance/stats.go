package main

import (
	"fmt"
	"slices"

	"golang.org/x/perf/benchmath"
)

// estimate is a median with its confidence interval of 95 %.
type estimate struct{ median, low, high float64 }

// estimateOf makes no assumption about how the values are distributed.
func estimateOf(values []float64) estimate {
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(values, &benchmath.DefaultThresholds), 0.95)
	return estimate{s.Center, s.Lo, s.Hi}
}

// ratio prints a ratio and how sure it is.
func (e estimate) ratio() string { return fmt.Sprintf("%.3f (%.3f–%.3f)", e.median, e.low, e.high) }

// paired are the samples of contenders that were measured in turns.
type paired struct {
	names   []string
	seconds [][]float64 // by contender and round
}

// ratioTo returns how a contender's samples compare with another's of the same rounds,
// which the machine's moods have met alike.
func (p paired) ratioTo(name, base string) estimate {
	a, b := p.of(name), p.of(base)
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return estimateOf(ratios)
}

func (p paired) of(name string) []float64 {
	return p.seconds[slices.Index(p.names, name)]
}

// milliseconds prints the median of a contender's samples.
func (p paired) milliseconds(name string) string {
	return fmt.Sprintf("%.3f", estimateOf(p.of(name)).median*1000)
}
