package stats_test

import (
	"testing"

	"github.com/mysqlinit/mysqlinit/bench/internal/stats"
)

// Samples of one round stay together, whatever was asked before.
func TestRatioToPairsRounds(t *testing.T) {
	p := stats.NewPaired("a", "b")
	p.Samples = [][]float64{{6, 2, 4, 2, 8, 10, 12}, {3, 1, 2, 1, 4, 5, 6}}
	if got := p.Median("a"); got != 6 {
		t.Errorf("median %v, want 6", got)
	}
	if got, want := p.RatioTo("a", "b"), (stats.Estimate{Median: 2, Low: 2, High: 2}); got != want {
		t.Errorf("ratio %v, want %v", got, want)
	}
}

func TestVerdict(t *testing.T) {
	e := stats.Estimate{Median: 1.06, Low: 1.03, High: 1.10}
	for limit, want := range map[float64]stats.Verdict{1.06: stats.Met, 1.05: stats.InNoise, 1.02: stats.Missed} {
		if got := e.AtMost(limit); got != want {
			t.Errorf("at most %v: %v, want %v", limit, got, want)
		}
	}
	for limit, want := range map[float64]stats.Verdict{1.06: stats.Met, 1.09: stats.InNoise, 1.11: stats.Missed} {
		if got := e.AtLeast(limit); got != want {
			t.Errorf("at least %v: %v, want %v", limit, got, want)
		}
	}
	if stats.Met.Worse(stats.InNoise) != stats.InNoise || stats.Missed.Worse(stats.InNoise) != stats.Missed || stats.InNoise.Worse(stats.Met) != stats.InNoise {
		t.Error("Worse returns the better verdict")
	}
}
