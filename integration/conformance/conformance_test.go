package conformance

import (
	"os"
	"slices"
	"strings"
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

// TestGuard runs the checks of the guard of a transaction on throwaway servers. On one of
// them a lock wait that times out ends the transaction.
func TestGuard(t *testing.T) {
	for name, cfg := range map[string]testserver.Config{
		"MariaDB": {Binlog: "MIXED", Args: []string{"--innodb-rollback-on-timeout=ON"}},
		"MySQL":   {Binlog: "MIXED", MySQL: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testserver.New(t, cfg)
			for _, result := range run(t, Target{Root: server.DSN(testserver.Root, ""), Private: true}, guardChecks) {
				t.Logf("%-36s %s", result.Check, result.Cell)
			}
		})
	}
}

var guardChecks = slices.DeleteFunc(slices.Clone(checks), func(c check) bool { return !strings.HasPrefix(c.name, "guard: ") })
