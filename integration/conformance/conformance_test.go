package conformance

import (
	"os"
	"testing"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// EnvAppDSN names the environment variable for the DSN of an ordinary account on the
// server of MYSQLINIT_TEST_DSN.
const EnvAppDSN = "MYSQLINIT_TEST_APP_DSN"

// TestServer runs the suite on the server of MYSQLINIT_TEST_DSN.
func TestServer(t *testing.T) {
	dsn := os.Getenv(testserver.EnvDSN)
	if dsn == "" {
		t.Skip(testserver.EnvDSN + " is not set; make matrix runs this on every server that it can start")
	}
	for _, result := range Run(t, Target{Root: dsn, App: os.Getenv(EnvAppDSN)}) {
		t.Logf("%-36s %s", result.Check, result.Cell)
	}
}
