package servers

import (
	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// Target returns what the conformance suite needs of the deployment.
func (d *Deployment) Target() conformance.Target {
	t := conformance.Target{
		Root: d.DSN(testserver.Root, ""), App: d.DSN(testserver.App, ""),
		Private: true, Want: &d.Facts,
	}
	for _, n := range d.Nodes[1:] {
		if d.Facts.Conflicts != nil {
			t.Others = append(t.Others, n.DSN(testserver.Root, d.params))
		} else {
			t.Replica = n.DSN(testserver.App, d.params)
		}
	}
	return t
}
