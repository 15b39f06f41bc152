package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mysqlinit/mysqlinit/internal/scripted"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

func runRace(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"race"}, args...), &out, &errs)
	return code, out.String(), unwrapped(t, &errs)
}

// tables returns how many tables the command has left.
func tables(t *testing.T, dsn string) (n int) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT COUNT(*) FROM information_schema.tables WHERE table_name LIKE 'mysqlinit_race%' AND table_schema = DATABASE()").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRacePlaysTheStory(t *testing.T) {
	dsn := testserver.AnyDSN(t)
	code, stdout, stderr := runRace(t, "-workers", "8", "-keys", "20", dsn)
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	rest := stdout
	for _, want := range []string{
		"This makes the table ", ".mysqlinit_race_",
		"the plain driver", "(REPEATABLE READ)", "no row", "INSERT INTO", "error 10", // 1062, or 1020 on MariaDB 11.6 and later
		"this driver", "(READ COMMITTED)", "no row", "INSERT INTO", "error 1062", "→ bob", "B lost the race (1062), read again, and has the row",
		"8 workers race for each of 20 keys", "The plain driver lost ", "mysqlinit none.",
		"The price", "(REPEATABLE READ)", "waits for B's gap lock", "error 1213", "Booked once", "(READ COMMITTED)", "Booked twice",
		"half a transaction", "(guard=false)", "error 1213", "swallows this error", "INSERT INTO", "→ OK", "Commit", "→ OK", "→ no row", "→ payment-1", "Half of A's transaction is committed",
		"(guard=true)", "error 1213", "swallows this error", "INSERT INTO", "→ ErrTransactionLost", "Commit", "→ ErrTransactionLost", "→ no row", "→ no row",
		"Nothing of A's transaction is committed", "Error 1213", "Dropped the table ",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is missing, or in the wrong place:\n%s", want, stdout)
		}
		rest = after
	}
	numbers := regexp.MustCompile(`got or created the row +(\d+) +(\d+)\n`).FindStringSubmatch(stdout)
	if numbers == nil || numbers[1] == "160" || numbers[2] != "160" {
		t.Errorf("finished: %q", numbers)
	}
	checkWidth(t, stdout, 80)
	if strings.Contains(stdout, "\x1b") {
		t.Error("coloured, but this is not a terminal")
	}
	if n := tables(t, dsn); n != 0 {
		t.Errorf("%d tables are left", n)
	}
}

func TestRaceOnAThrowawayServer(t *testing.T) {
	t.Setenv("COLUMNS", "60")
	code, stdout, stderr := runRace(t, "-workers=2", "-keys=5")
	if code != exitOK || !strings.Contains(stdout, "throwaway server") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	checkWidth(t, stdout, 60)
}

// cancelWriter cancels when it is to write a word.
type cancelWriter struct {
	word   string
	cancel func()
}

func (w cancelWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.word)) {
		w.cancel()
	}
	return len(p), nil
}

func TestInterruptedRaceDropsItsTable(t *testing.T) {
	dsn := testserver.AnyDSN(t)
	for _, word := range []string{"1062", "Under load", "gap lock", "swallows this error"} {
		ctx, cancel := context.WithCancel(t.Context())
		var stderr bytes.Buffer
		code := run(ctx, []string{"race", "-keys", "5", dsn}, cancelWriter{word, cancel}, &stderr)
		cancel()
		wantStderr := regexp.MustCompile("^mysqlinit race: interrupted; table [^ .]+\\.mysqlinit_race_[a-z0-9]+ is dropped\n$")
		if code != exitError || !wantStderr.Match(stderr.Bytes()) {
			t.Errorf("at %q: exit code %d, %s", word, code, &stderr)
		}
		if n := tables(t, dsn); n != 0 {
			t.Errorf("at %q: %d tables are left", word, n)
		}
	}
}

// On a replica the race would make transactions that the primary does not have.
func TestRaceRefusesReplicas(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
	dsn := s.DSN(testserver.Root, "")
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	refuses := func(want string) {
		t.Helper()
		code, stdout, stderr := runRace(t, "-workers=2", "-keys=1", dsn)
		if code != exitError || !strings.Contains(stderr, want) || !strings.Contains(stderr, "-force") || stdout != "" {
			t.Errorf("exit code %d, %s%s", code, stdout, stderr)
		}
	}
	testserver.Exec(t, db, "SET GLOBAL read_only = ON")
	refuses("the server is read-only")
	testserver.Exec(t, db, "SET GLOBAL read_only = OFF", "CHANGE MASTER TO master_host='127.0.0.1', master_port=1")
	refuses("the server is a replica")
	if code, stdout, stderr := runRace(t, "-force", "-workers=2", "-keys=1", dsn); code != exitOK {
		t.Errorf("-force: exit code %d, %s%s", code, stdout, stderr)
	}
}

func TestWorkersFitTheServer(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
	root, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	dsn := s.DSN(testserver.App, "")
	testserver.Exec(t, root, "SET GLOBAL max_connections = 30")
	if code, stdout, stderr := runRace(t, "-workers=16", "-keys=2", dsn); code != exitOK || !regexp.MustCompile(`\b[67]\sworkers\sinstead\sof\s16`).MatchString(stdout) {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	awaitThreads(t, root, 1) // the server still closes those of the race
	testserver.Exec(t, root, "SET GLOBAL max_connections = 10", "CREATE USER few@'%' WITH MAX_USER_CONNECTIONS 7", "GRANT ALL ON test.* TO few@'%'")
	for range 3 {
		conn, err := root.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if code, _, stderr := runRace(t, "-workers=16", "-keys=2", dsn); code != exitError || !strings.Contains(stderr, "free connections, and the race needs 8 or more") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	awaitThreads(t, root, 4)
	testserver.Exec(t, root, "SET GLOBAL max_connections = 500")
	if code, _, stderr := runRace(t, "-workers=16", "-keys=2", s.DSN("few", "")); code != exitError || !strings.Contains(stderr, "7 free connections") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// If this driver refuses to connect, the race does not begin.
func TestRaceIfTheDriverRefuses(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "STATEMENT"})
	code, stdout, stderr := runRace(t, "-workers=2", "-keys=1", s.DSN(testserver.App, ""))
	if code != exitError || stdout != "" || !strings.Contains(stderr, "STATEMENT format") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}

// If no write can succeed, the race does not begin either. The driver does not refuse
// to connect then: binlog=server is for pools that only read.
func TestRaceIfNoWriteCanSucceed(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "STATEMENT"})
	code, stdout, stderr := runRace(t, "-workers=2", "-keys=1", s.DSN(testserver.App, "binlog=server"))
	if code != exitError || stdout != "" || !strings.Contains(stderr, "through the driver mysqlinit") ||
		strings.Count(stderr, "1665") != 1 || !strings.Contains(stderr, "Cure: log rows on the server") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := runRace(t, "-workers=2", "-keys=1", s.DSN(testserver.App, "isolation=server")); code == exitError {
		t.Errorf("REPEATABLE READ can write: exit code %d, %s%s", code, stdout, stderr)
	}
	root, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	testserver.Exec(t, root, "SET GLOBAL TRANSACTION ISOLATION LEVEL READ COMMITTED")
	code, stdout, stderr = runRace(t, "-workers=2", "-keys=1", s.DSN(testserver.Root, ""))
	if code != exitError || stdout != "" || !strings.Contains(stderr, "through the MySQL driver alone") {
		t.Errorf("this driver can write, the plain driver cannot: exit code %d, %s%s", code, stdout, stderr)
	}
}

// Workers that fail alike are one error.
func TestRaceSaysAnErrorOnce(t *testing.T) {
	const full = "the table is full"
	dsn := scripted.Start(t, scripted.Script{Answer: func(client net.Conn, statement string, number int) bool {
		switch {
		case strings.HasPrefix(statement, "INSERT"):
			return scripted.Send(client, scripted.Error(1, 1114, full))
		case strings.HasPrefix(statement, "SELECT name"):
			return scripted.Send(client, append(scripted.Head(1, "name"), scripted.End(3)...))
		}
		return scripted.Send(client, dirtyAnswer(statement, ""))
	}}).DSN("interpolateParams=true")
	code, stdout, stderr := runRace(t, "-force", "-workers=8", "-keys=3", dsn)
	if code != exitError || !strings.Contains(stdout, "3. Under load") || strings.Count(stderr, full) != 1 {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}

// The race says why this driver lost, if the DSN asked for it.
func TestRaceSaysWhyItLost(t *testing.T) {
	code, stdout, _ := runRace(t, "-workers=8", "-keys=20", testserver.Borrow(t, testserver.Config{Binlog: "MIXED"}).DSN(testserver.App, "isolation=server"))
	if code != exitLost || !strings.Contains(strings.Join(strings.Fields(stdout), " "), "transactions, because the DSN asks for isolation=server, which is REPEATABLE READ here.") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}

// Without deadlock detection a deadlock of the race lasts for seconds, and not as long
// as the server's innodb_lock_wait_timeout.
func TestRaceWithoutDeadlockDetection(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED", Args: []string{"--innodb-deadlock-detect=OFF", "--innodb-lock-wait-timeout=600"}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	if testing.Short() { // the first of three deadlocks is enough
		run(ctx, []string{"race", "-workers=2", "-keys=2", s.DSN(testserver.App, "")}, cancelWriter{"Booked by neither", cancel}, &stderr)
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("%v, %s", ctx.Err(), &stderr)
		}
		return
	}
	code := run(ctx, []string{"race", "-workers=2", "-keys=2", s.DSN(testserver.App, "")}, &stdout, &stderr)
	text := strings.Join(strings.Fields(stdout.String()), " ")
	if code != exitOK || strings.Contains(text, "as expected") {
		t.Errorf("exit code %d, %s%s", code, &stdout, &stderr)
	}
	for _, want := range []string{"innodb_deadlock_detect is off: a deadlock ends only when", "Booked by neither: innodb_deadlock_detect is off", "No transaction was ended: innodb_deadlock_detect is off"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, &stdout)
		}
	}
}

// awaitThreads waits until a server has no more connections than that.
func awaitThreads(t *testing.T, root *sql.DB, most int) {
	t.Helper()
	for {
		var name string
		var threads int
		if err := root.QueryRowContext(t.Context(), "SHOW STATUS LIKE 'Threads_connected'").Scan(&name, &threads); err != nil {
			t.Fatal(err)
		}
		if threads <= most {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRaceSaysWhatIsWrong(t *testing.T) {
	s := testserver.New(t, testserver.Config{})
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{}, "usage: mysqlinit check"},
		{[]string{"rice"}, "unknown command"},
		{[]string{"race", "-workers", "1"}, "2 workers or more"},
		{[]string{"race", "-keys", "none"}, "invalid value"},
		{[]string{"race", "/a", "/b"}, "one DSN"},
		{[]string{"race", "root@tcp(" + s.Addr + ")/"}, "names no database"},
		{[]string{"race", "app:hunter2@tcp(" + s.Addr + ")/test"}, "1045"},
		{[]string{"race", "app:hunter2@tcp(" + s.Addr + ")/test?isolation=hunter2"}, `"isolation"`},
		{[]string{"race", "app:hunter2@tcp(127.0.0.1:1)/test"}, "refused"},
		{[]string{"race", "app:hunter/2@tcp"}, "invalid DSN"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), test.args, &stdout, &stderr)
		if code != exitError || !strings.Contains(unwrapped(t, &stderr), test.want) {
			t.Errorf("%q: exit code %d, %s", test.args, code, &stderr)
		}
		if strings.Contains(stdout.String()+stderr.String(), "hunter") {
			t.Errorf("%q: the password is shown: %s", test.args, &stderr)
		}
	}
	var stdout bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &stdout, os.Stderr); code != exitOK || !strings.Contains(stdout.String(), "usage:") {
		t.Errorf("--help: exit code %d, %s", code, &stdout)
	}
}

func TestColourOnATerminalOnly(t *testing.T) {
	// newScreen treats any character device as a terminal.
	device, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	for _, test := range []struct {
		noColor, term string
		want          bool
	}{{"", "xterm", true}, {"1", "xterm", false}, {"", "dumb", false}} {
		t.Setenv("NO_COLOR", test.noColor)
		t.Setenv("TERM", test.term)
		if got := newScreen(device).colour; got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
	if newScreen(&bytes.Buffer{}).colour {
		t.Error("coloured in a pipe")
	}
	var out bytes.Buffer
	s := &screen{w: &out, colour: true, width: 80}
	s.columns("A", "B")
	s.say(threadB, bad, strings.Repeat("error ", 20))
	plainText := regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(out.String(), "")
	for line := range strings.Lines(plainText) {
		if utf8.RuneCountInString(line) > 81 {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
	if plainText == out.String() {
		t.Error("nothing is coloured")
	}
}
