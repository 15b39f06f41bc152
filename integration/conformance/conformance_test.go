package conformance

import (
	"os"
	"testing"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// EnvAppDSN names the environment variable with the DSN of an ordinary account of the server
// that MYSQLINIT_TEST_DSN names.
const EnvAppDSN = "MYSQLINIT_TEST_APP_DSN"

// TestServer runs the suite on a server of the user's.
func TestServer(t *testing.T) {
	dsn := os.Getenv(testserver.EnvDSN)
	if dsn == "" {
		t.Skip(testserver.EnvDSN + " names no server; make matrix runs this on all that it can start")
	}
	for _, result := range Run(t, Target{Root: dsn, App: os.Getenv(EnvAppDSN)}) {
		t.Logf("%-36s %s", result.Check, result.Cell)
	}
}
