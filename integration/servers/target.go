package servers

import (
	"errors"
	"os"

	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// Target returns the deployment as a target of the conformance suite.
func (d *Deployment) Target() conformance.Target {
	t := conformance.Target{
		Root: d.DSN(testserver.Root, ""), App: d.DSN(testserver.App, ""),
		Private: true, Want: &d.Facts,
	}
	for i, n := range d.Nodes {
		switch {
		case i == 0:
		case d.Facts.Conflicts != nil:
			t.Others = append(t.Others, n.DSN(testserver.Root, d.params))
		default:
			t.Replica = n.DSN(testserver.App, d.params)
		}
	}
	return t
}

// New starts a deployment that ends with the test. If a program cannot be fetched, it
// skips the test, except in CI. It fails the test for any other error.
func New(tb testserver.TB, k Kind) *Deployment {
	tb.Helper()
	d, err := k.Start(tb.Context())
	if errors.Is(err, ErrNotToBeHad) && os.Getenv("CI") == "" {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return d
}
