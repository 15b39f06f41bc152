//go:build matrix

package matrix

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mysqlinit/mysqlinit/inspect"
	"github.com/mysqlinit/mysqlinit/integration/servers"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

var golden = flag.Bool("golden", false, "rewrite the golden files of check")

// buildCommand builds the mysqlinit command.
func buildCommand(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "mysqlinit")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/mysqlinit")
	build.Dir = "../.."
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return path
}

// checkGolden runs "mysqlinit check" on each node with both accounts, and compares the
// findings with a golden file.
func checkGolden(t *testing.T, d *servers.Deployment, command string) {
	t.Helper()
	var b strings.Builder
	check := func(label, dsn string) { fmt.Fprintf(&b, "%s\n%s\n", label, runCheck(t, command, dsn)) }
	for _, account := range []string{testserver.App, testserver.Root} {
		check("as "+account, d.DSN(account, ""))
		for i, n := range d.Nodes {
			if i > 0 {
				check(fmt.Sprintf("node %d as %s", i+1, account), n.DSN(account, ""))
			}
		}
	}
	path := filepath.Join("testdata", "check", strings.ToLower(strings.ReplaceAll(d.Name, " ", "-"))+".txt")
	if *golden {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, b.String(), want)
	}
}

// ports matches port numbers in findings, which change with each run.
var ports = regexp.MustCompile(`port [0-9]+`)

// runCheck returns a check's exit code, sessions and findings.
func runCheck(t *testing.T, command, dsn string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), command, "check", "-json", dsn).Output()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if err != nil && !failed {
		t.Fatal(err)
	}
	code := 0
	if failed {
		code = exit.ExitCode()
	}
	var c struct {
		Mysqlinit, Plain *inspect.State
		Replica          string
		Findings         []inspect.Finding
	}
	if err := json.Unmarshal(output, &c); err != nil {
		t.Fatalf("%v: exit code %d, %s%s", err, code, output, exit.Stderr)
	}
	var b strings.Builder
	state := func(s *inspect.State) string {
		if s == nil {
			return "no connection"
		}
		return s.Isolation + ", " + s.BinlogFormat
	}
	fmt.Fprintf(&b, "  exit code %d; mysqlinit: %s; plain: %s; replica: %s\n", code, state(c.Mysqlinit), state(c.Plain), c.Replica)
	for _, f := range c.Findings {
		fmt.Fprintf(&b, "  %s %s: %s\n", f.Severity, f.ID, ports.ReplaceAllString(f.What, "PORT"))
	}
	return b.String()
}
