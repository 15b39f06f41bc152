package mysqlinit_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"
	"time"

	"github.com/ngrok/sqlmw"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// BenchmarkQuery compares a query through this driver with one through the MySQL
// driver alone. The machine's noise is larger than the difference: so the two
// alternate, on ever new connections, and what is reported is the median of the
// ratios of small batches.
func BenchmarkQuery(b *testing.B) {
	s := testserver.New(b, testserver.Config{Binlog: "MIXED"})
	for _, test := range []struct {
		name, params string
		opts         []mysqlinit.Option
	}{
		{"default", "", nil},
		{"guard", "guard=true", nil},
		{"guard, several statements", "guard=true&multiStatements=true", nil},
		{"interceptor", "", []mysqlinit.Option{mysqlinit.WithInterceptor(sqlmw.NullInterceptor{})}},
	} {
		b.Run(test.name, func(b *testing.B) {
			plain, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
			if err != nil {
				b.Fatal(err)
			}
			defer plain.Close()
			ours, err := mysqlinit.Open(s.DSN(testserver.Root, test.params), test.opts...)
			if err != nil {
				b.Fatal(err)
			}
			defer ours.Close()
			const batch = 20
			run := func(db *sql.DB) time.Duration {
				start := time.Now()
				for range batch {
					if err := db.QueryRowContext(context.Background(), "SELECT 1").Scan(new(int)); err != nil {
						b.Fatal(err)
					}
				}
				return time.Since(start)
			}
			// New connections: which core serves one makes more of a difference than
			// what is measured.
			reconnect := func() {
				for _, db := range []*sql.DB{plain, ours} {
					db.SetMaxIdleConns(0)
					db.SetMaxIdleConns(1)
					run(db)
				}
			}
			var ratios []float64
			for b.Loop() {
				if len(ratios)%20 == 0 {
					reconnect()
				}
				var o, p time.Duration
				if len(ratios)%2 == 0 { // neither is always the first
					o, p = run(ours), run(plain)
				} else {
					p, o = run(plain), run(ours)
				}
				ratios = append(ratios, float64(o)/float64(p))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "ours/plain")
			b.ReportMetric(0, "ns/op") // of both together: it says nothing
		})
	}
}
