package mysqlinit_test

import (
	"database/sql"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/scripted"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// inTransaction is the answer OK with the status flag of an open transaction.
var inTransaction = scripted.Packet(1, "\x00\x00\x00\x03\x00\x00\x00")

// script is a server that answers OK in a transaction, except as answers say.
type script struct {
	mu         sync.Mutex
	answers    map[string][]byte // by the beginning of a statement
	statements []string          // all since the last look
}

func (s *script) answer(client net.Conn, statement string, _ int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statements = append(s.statements, statement)
	for beginning, answer := range s.answers {
		if strings.HasPrefix(statement, beginning) {
			return scripted.Send(client, answer)
		}
	}
	if statement == "COMMIT" || statement == "ROLLBACK" || strings.HasPrefix(statement, "SET ") {
		return scripted.Send(client, scripted.OK(1))
	}
	return scripted.Send(client, inTransaction)
}

// want checks what the server has got since the last time.
func (s *script) want(t *testing.T, statements ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.statements, statements) {
		t.Errorf("got %q\nwant %q", s.statements, statements)
	}
	s.statements = nil
}

// begin begins a transaction under the guard, on the only connection of a pool.
func (s *script) begin(t *testing.T) func() *sql.Tx {
	t.Helper()
	db, err := mysqlinit.Open(scripted.Start(t, scripted.Script{Answer: s.answer}).DSN("guard=true"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	s.statements = nil
	return func() *sql.Tx {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
}

// A server can end a transaction without telling anyone, as Galera does if it gets
// in the way of another node's change while a statement is prepared. The next
// statement has run on its own then.
func TestGuardNoticesALossWithoutAnError(t *testing.T) {
	s := &script{answers: map[string][]byte{"INSERT 2": scripted.OK(1)}}
	tx := s.begin(t)()
	testserver.Exec(t, tx, "INSERT 1")
	_, exec := tx.Exec("INSERT 2")
	for _, err := range []error{exec, tx.Commit()} {
		if !errors.Is(err, mysqlinit.ErrTransactionLost) {
			t.Errorf("got %v, want ErrTransactionLost", err)
		}
	}
	s.want(t, "START TRANSACTION", "INSERT 1", "INSERT 2", "ROLLBACK")
}

const (
	asksForGroup = "SELECT @@GLOBAL.group_replication_group_name"
	touches      = "SELECT 1 FROM information_schema.schemata LIMIT 0"
	marks        = "SAVEPOINT mysqlinit_guard"
	checksMark   = "RELEASE SAVEPOINT mysqlinit_guard"
)

// On a member of a group a SAVEPOINT hides that the transaction was lost. From the
// first SAVEPOINT on, each transaction has a mark that shows it.
func TestGuardMarksTransactionsInAGroup(t *testing.T) {
	s := &script{answers: map[string][]byte{asksForGroup: scripted.ResultSet([]string{"name"}, []string{"group"})}}
	begin := s.begin(t)
	tx := begin()
	testserver.Exec(t, tx, "INSERT 1")
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	s.want(t, "START TRANSACTION", "INSERT 1", "COMMIT")

	tx = begin()
	testserver.Exec(t, tx, "INSERT 1", "SAVEPOINT a")
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	s.want(t, "START TRANSACTION", "INSERT 1", asksForGroup, touches, "SAVEPOINT a", "COMMIT")

	for name, c := range map[string]struct {
		answer []byte // to the last question
		lost   bool
		end    string
	}{
		"whole":     {inTransaction, false, "COMMIT"},
		"lost":      {scripted.Error(1, 1030, "Got error 153 - 'No savepoint with that name' from storage engine"), true, "ROLLBACK"},
		"committed": {scripted.Error(1, 1305, "SAVEPOINT mysqlinit_guard does not exist"), false, "COMMIT"},
	} {
		t.Run(name, func(t *testing.T) {
			s.mu.Lock()
			s.answers[checksMark] = c.answer
			s.mu.Unlock()
			tx := begin()
			testserver.Exec(t, tx, "INSERT 1", "SAVEPOINT a", "INSERT 2")
			if err := tx.Commit(); errors.Is(err, mysqlinit.ErrTransactionLost) != c.lost || !c.lost && err != nil {
				t.Errorf("COMMIT: %v", err)
			}
			s.want(t, "START TRANSACTION", touches, marks, "INSERT 1", "SAVEPOINT a", "INSERT 2", checksMark, c.end)
		})
	}
}

// On any other server it costs one question for each Connector.
func TestGuardAsksForAGroupOnce(t *testing.T) {
	s := &script{answers: map[string][]byte{asksForGroup: scripted.Error(1, 1193, "Unknown system variable 'group_replication_group_name'")}}
	begin := s.begin(t)
	for _, asked := range [][]string{{asksForGroup}, nil} {
		tx := begin()
		testserver.Exec(t, tx, "INSERT 1", "SAVEPOINT a")
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		s.want(t, slices.Concat([]string{"START TRANSACTION", "INSERT 1"}, asked, []string{"SAVEPOINT a", "COMMIT"})...)
	}
}
