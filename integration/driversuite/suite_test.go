//go:build ecosystem

package driversuite

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

const driverModule = "github.com/go-sql-driver/mysql"

// leftOut are the driver's tests that cannot pass with the guard on, each with the reason.
var leftOut = map[string]string{
	"TestPing":                        "asserts that the pool's connection is a *mysqlConn, and reads its fields",
	"TestQueryMultipleResults":        "asserts that the pool's connection is a *mysqlConn, and reads its fields",
	"TestRejectReadOnly":              "expects that a SET SESSION is still there when the pool hands out the connection again; the guard's promise is that it is not",
	"TestConnectorTimeoutsDuringOpen": "hides the connector under another and reads what that has returned, although our Connect does not wait for it when the deadline is over",
	"TestConnectorReturnsTimeout":     "connects to 1.1.1.1, and panics in some networks; it has no pool",
}

func TestDriversOwnTestsPassWithTheGuard(t *testing.T) {
	folder := t.TempDir()
	suite := filepath.Join(folder, "mysql")
	copySuite(t, suite)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	// In a workspace our module and the driver's tests share one driver: the copy.
	work := filepath.Join(folder, "go.work")
	write(t, work, fmt.Appendf(nil, "go 1.26.0\n\nuse (\n\t%q\n\t%q\n)\n", suite, root))
	wantLeftOutExist(t, suite, work)

	tests := map[string]bool{} // whether it has failed
	for _, mysql := range []bool{false, true} {
		name := map[bool]string{false: "MariaDB", true: "MySQL"}[mysql]
		t.Run(name, func(t *testing.T) {
			s := testserver.New(t, testserver.Config{
				MySQL: mysql, Binlog: "MIXED", TLS: true,
				Args: []string{"--performance-schema=ON", "--local-infile=ON", "--max-allowed-packet=64M",
					// TestConcurrent opens as many; on a busy machine a server resets slow ones.
					"--max-connections=100", "--connect-timeout=60"},
			})
			for test, passed := range runSuite(t, suite, work, s) {
				tests[test] = tests[test] || !passed
			}
		})
	}
	failed := 0
	for _, f := range tests {
		if f {
			failed++
		}
	}
	fmt.Printf("driver suite: %d tests, %d left out, %d failed\n", len(tests), len(leftOut), failed)
	if len(tests) < 100 {
		t.Error("most of the suite was not run")
	}
}

// copySuite copies the driver with its tests, and has the tests open guarded pools.
func copySuite(t *testing.T, suite string) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", driverModule).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{strings.TrimSpace(string(out)), "testdata"} {
		if err := os.CopyFS(suite, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	// Most of the tests open the driver that driverNameTest names, a flag of the linker.
	name := filepath.Join(suite, "driver_test.go")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for old, guarded := range map[string]string{`sql.Open("mysql", `: `sql.Open(driverNameTest, `, `sql.OpenDB(`: `openGuarded(`} {
		if !bytes.Contains(text, []byte(old)) {
			t.Fatalf("the driver's tests do not contain %q", old)
		}
		text = bytes.ReplaceAll(text, []byte(old), []byte(guarded))
	}
	if err := os.Remove(name); err != nil { // it is read-only, as the module cache is
		t.Fatal(err)
	}
	write(t, name, text)
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func goTest(suite, work string, args ...string) *exec.Cmd {
	cmd := exec.Command("go", append([]string{"test", "-ldflags=-X " + driverModule + ".driverNameTest=guarded"}, args...)...)
	cmd.Dir = suite
	cmd.Env = append(os.Environ(), "GOWORK="+work, "GOFLAGS=-mod=readonly")
	return cmd
}

// wantLeftOutExist checks that another version of the driver still has the tests that
// leftOut names.
func wantLeftOutExist(t *testing.T, suite, work string) {
	out, err := goTest(suite, work, "-list=^Test").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	exist := strings.Fields(string(out))
	for name := range leftOut {
		if !slices.Contains(exist, name) {
			t.Errorf("the driver has no %s: take it out of leftOut", name)
		}
	}
}

// runSuite runs the driver's tests on a server, and returns whether each has passed. One
// that skips itself on this server is not among them.
func runSuite(t *testing.T, suite, work string, s *testserver.Server) map[string]bool {
	skip := "^(" + strings.Join(slices.Sorted(maps.Keys(leftOut)), "|") + ")$"
	cmd := goTest(suite, work, "-json", "-count=1", "-timeout=5m", "-skip="+skip, ".")
	cmd.Env = append(cmd.Env, "MYSQL_TEST_ADDR="+s.Addr, "MYSQL_TEST_DBNAME=test", "MYSQL_TEST_USER="+testserver.Root, "MYSQL_TEST_CONCURRENT=1")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) {
		t.Fatal(err)
	}
	passed, output := map[string]bool{}, map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, len(out)+1)
	for lines.Scan() {
		var event struct{ Action, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			continue
		}
		name, _, sub := strings.Cut(event.Test, "/")
		switch {
		case event.Action == "output":
			output[name] += event.Output
		case name == "" || sub:
		case event.Action == "pass", event.Action == "fail":
			passed[name] = event.Action == "pass"
		case event.Action == "skip":
			t.Logf("%s skips itself", name)
		}
	}
	for name, ok := range passed {
		if !ok {
			t.Errorf("%s:\n%s", name, output[name])
		}
	}
	if err != nil && !t.Failed() {
		t.Errorf("%v\n%s", err, output[""])
	}
	return passed
}
