package conformance

import (
	"testing"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// variableNames opens a DSN with each of the server's system variables as a key: none may
// be taken for a misspelt key. Opening connects to nothing, so any value will do.
func (s *suite) variableNames(t *testing.T) string {
	names := testserver.Variables(t, openPlain(t, s.Root))
	for _, name := range names {
		if _, err := (&mysqlinit.Driver{}).OpenConnector("/?" + name + "=1"); err != nil {
			t.Error(err)
		}
	}
	if len(names) == 0 {
		t.Error("read no variable")
	}
	return "ok"
}
