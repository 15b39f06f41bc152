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
