// Package stats has medians and ratios of what was measured, with confidence intervals.
package stats

import (
	"fmt"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// Estimate is a median and its 95 % confidence interval.
type Estimate struct{ Median, Low, High float64 }

// Of estimates the median of the values. It makes no assumption about their distribution.
func Of(values []float64) Estimate {
	sample := benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds) // which sorts them
	s := benchmath.AssumeNothing.Summary(sample, 0.95)
	return Estimate{s.Center, s.Lo, s.Hi}
}

// String formats an estimate of a ratio with its confidence interval, which takes at least
// six values.
func (e Estimate) String() string {
	if math.IsInf(e.Low, 0) {
		return fmt.Sprintf("%.3f", e.Median)
	}
	return fmt.Sprintf("%.3f (%.3f–%.3f)", e.Median, e.Low, e.High)
}

// Verdict is what an estimate says about a target.
type Verdict string

const (
	Met     Verdict = "met"
	InNoise Verdict = "in the noise" // the median misses it, but the interval reaches it
	Missed  Verdict = "**missed**"
)

// AtMost judges an estimate that should not exceed the limit.
func (e Estimate) AtMost(limit float64) Verdict {
	switch {
	case e.Median <= limit:
		return Met
	case e.Low <= limit:
		return InNoise
	}
	return Missed
}

// AtLeast judges an estimate that should reach the limit.
func (e Estimate) AtLeast(limit float64) Verdict {
	return Estimate{-e.Median, -e.High, -e.Low}.AtMost(-limit)
}

// VerdictOf judges what is not an estimate.
func VerdictOf(met bool) Verdict {
	if met {
		return Met
	}
	return Missed
}

// Worse returns the worse of two verdicts.
func (v Verdict) Worse(other Verdict) Verdict {
	if v == Missed || other == Met {
		return v
	}
	return other
}

// Paired holds samples of contenders that were measured in turns.
type Paired struct {
	Names   []string
	Samples [][]float64 // by contender and round
}

// NewPaired returns a Paired without samples.
func NewPaired(names ...string) Paired {
	return Paired{Names: names, Samples: make([][]float64, len(names))}
}

// RatioTo compares a contender with another one, round by round, because a slow moment
// of the machine affects both samples of a round.
func (p Paired) RatioTo(name, base string) Estimate {
	a, b := p.Of(name), p.Of(base)
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return Of(ratios)
}

// Estimate estimates the median of a contender's samples.
func (p Paired) Estimate(name string) Estimate { return Of(p.Of(name)) }

// Median returns the median of a contender's samples.
func (p Paired) Median(name string) float64 { return p.Estimate(name).Median }

// Of returns a contender's samples.
func (p Paired) Of(name string) []float64 { return p.Samples[slices.Index(p.Names, name)] }
