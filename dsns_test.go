package mysqlinit_test

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

//go:embed testdata/dsns.txt
var writtenDSNs string

// TestDSNsAsPeopleWriteThem opens each DSN of testdata/dsns.txt through the plain
// driver and through this one, on either kind of server.
func TestDSNsAsPeopleWriteThem(t *testing.T) {
	written := parseWritten(t)
	if len(written) < 60 {
		t.Errorf("only %d DSNs", len(written))
	}
	onBoth(t, testserver.Config{TLS: true}, func(t *testing.T, s *testserver.Server) {
		root := open(t, s.DSN(testserver.Root, ""))
		testserver.Exec(t, root, "CREATE USER fred IDENTIFIED BY '"+password+"', odd IDENTIFIED BY '"+oddPassword+"'",
			"GRANT ALL ON test.* TO fred, odd")
		place := strings.NewReplacer("{login}", "fred:"+password, "{odd}", "odd:"+oddPassword, "{root}", testserver.Root, "{addr}", s.Addr, "{socket}", s.Socket)
		for _, w := range written {
			t.Run(w.from, func(t *testing.T) {
				dsn := place.Replace(w.dsn)
				plain, plainErr := session(t.Context(), "mysql", dsn)
				ours, err := session(t.Context(), mysqlinit.DriverName, dsn)
				want := w.mariadb
				if s.MySQL {
					want = w.mysql
				}
				if err != nil {
					t.Log(err)
				}
				switch {
				case want.outcome == "connects" && err == nil:
					if plainErr == nil {
						wantSameSession(t, w.dsn, plain, ours)
					}
				case want.outcome == "same" && err != nil && plainErr != nil:
					if err.Error() != plainErr.Error() {
						t.Errorf("got  %v\nwant %v", err, plainErr)
					}
				case want.outcome != "connects" && want.outcome != "same" && err != nil && plainErr != nil:
					want.check(t, err, plainErr)
				default:
					t.Errorf("got %v, with the plain driver %v, want %+v", err, plainErr, want)
				}
			})
		}
	})
}

// The accounts' passwords. The second has what DSNs and URLs give a meaning to.
const (
	password    = "hunter2"
	oddPassword = "hunter2/p@ss:w?rd&x=#1%"
)

// written is a DSN as people write it, with the outcome on either server.
type written struct {
	from, dsn      string
	mariadb, mysql expected
}

// expected is the outcome of connecting with a DSN.
type expected struct {
	// outcome is
	//
	//   - "connects": also if the plain driver does not
	//   - "same": the error is the plain driver's
	//   - "Open": Open refuses the DSN
	//   - the number of the server's error, which the plain driver gets too
	outcome string
	texts   []string // are in the error
}

// parseWritten reads testdata/dsns.txt, which describes its format.
func parseWritten(t *testing.T) []written {
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(writtenDSNs, "")
	var all []written
	for stanza := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		lines := strings.Split(strings.TrimSpace(stanza), "\n")
		if len(lines) < 3 {
			t.Fatalf("not a stanza: %q", stanza)
		}
		w := written{from: lines[0], dsn: strings.TrimSpace(lines[1])}
		for _, line := range lines[2:] {
			line, onMariaDB := strings.CutPrefix(strings.TrimSpace(line), "MariaDB: ")
			line, onMySQL := strings.CutPrefix(line, "MySQL: ")
			outcome, texts, _ := strings.Cut(line, "; ")
			e := expected{outcome: outcome}
			if texts != "" {
				e.texts = strings.Split(texts, "; ")
			}
			if !onMySQL {
				w.mariadb = e
			}
			if !onMariaDB {
				w.mysql = e
			}
		}
		all = append(all, w)
	}
	return all
}

// session connects once, and returns the session's variables. The plain driver
// panics on one key.
func session(ctx context.Context, driverName, dsn string) (_ map[string]string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	db, err := sql.Open(driverName, dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SHOW SESSION VARIABLES")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	variables := make(map[string]string)
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		variables[name] = value
	}
	return variables, rows.Err()
}

// wantSameSession compares a session with the plain driver's. The isolation level
// is READ COMMITTED unless the DSN chooses one.
func wantSameSession(t *testing.T, dsn string, plain, ours map[string]string) {
	t.Helper()
	chosen := strings.Contains(dsn, "_isolation=")
	for _, name := range slices.Sorted(maps.Keys(plain)) {
		want := plain[name]
		switch name {
		case "pseudo_thread_id", "timestamp", "rand_seed1", "rand_seed2", "statement_id", "binlog_format":
			continue
		case "transaction_isolation", "tx_isolation":
			if !chosen {
				want = "READ-COMMITTED"
			}
		}
		if ours[name] != want {
			t.Errorf("%s is %q, want %q", name, ours[name], want)
		}
	}
}

// check reads an error as a user would, along with the plain driver's.
func (e expected) check(t *testing.T, err, plainErr error) {
	t.Helper()
	text := err.Error()
	for _, want := range e.texts {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	for _, secret := range []string{password, "p@ss", "w?rd"} {
		if strings.Contains(text, secret) {
			t.Errorf("the error shows a password: %s", text)
		}
	}
	number := serverNumber(err)
	if e.outcome == "Open" {
		if number != 0 || !regexp.MustCompile(`\b(want|write|set|take|keep|give)\b`).MatchString(text) {
			t.Errorf("%q has no cure, or is not from Open", text)
		}
		return
	}
	reason, cure, hasCure := strings.Cut(text, ". Cure: ")
	if !hasCure || len(reason) > 250 || strings.Contains(reason, "@@") {
		t.Errorf("%q does not begin with the reason and the cure", text)
	}
	if strconv.Itoa(int(number)) != e.outcome {
		t.Errorf("error %d, want %s", number, e.outcome)
	}
	// An error about the same statement has the same message. Another statement has
	// the isolation variable's other name, an init command, or what a message about
	// the syntax quotes.
	if serverErr, ok := errors.AsType[*mysql.MySQLError](plainErr); ok && serverErr.Number != 1064 &&
		!strings.Contains(serverErr.Message, "_isolation'") && !strings.Contains(cure, serverErr.Message) {
		t.Errorf("%q lacks the server's message, %q", text, serverErr.Message)
	}
}

// serverNumber returns the number of a server's error, 0 for another error.
func serverNumber(err error) uint16 {
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return serverErr.Number
	}
	return 0
}
