package mysqlinit

import (
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/session"
	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/txlost"
)

// ErrTransactionLost says that the server ended a transaction before its COMMIT,
// by an error that rolled it back, such as a deadlock (1213). With [WithGuard] it
// is what each later statement of the transaction and its Commit return, along
// with the server's error if that is known: errors.As finds it. Nothing of the
// transaction is committed. Run the whole of it again, as after a deadlock.
var ErrTransactionLost = txlost.Err

// InitError says why a connection could not be prepared. The connection was
// closed. errors.As finds it, and through it the server's [*mysql.MySQLError].
type InitError struct {
	// Statement is the statement that failed, with "?" in place of the literals that
	// can be a secret.
	Statement string
	// Reason says what went wrong, in this package's words.
	Reason string
	// Cure says what to do about it. It can be empty.
	Cure string
	// Err is the server's or the network's error. It can quote literals of the
	// statement, which Error does not. It is never driver.ErrBadConn, which would
	// make database/sql connect again at once, twice.
	Err error

	answer string // Err's text, without what it quotes of the statement
}

// Error gives the reason, the cure, what the server answered and the statement, in
// one line. It shows values of the DSN's system variables, such as a time zone,
// and no other literal of a statement.
func (e *InitError) Error() string {
	var b strings.Builder
	b.WriteString("mysqlinit: " + e.Reason)
	if e.Cure != "" {
		b.WriteString(". Cure: " + e.Cure)
	}
	if e.answer != "" {
		b.WriteString(". Answer: " + e.answer)
	}
	if e.Statement != "" {
		b.WriteString(". Statement: " + e.Statement)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *InitError) Unwrap() error { return e.Err }

func initError(f *session.Failure) *InitError {
	err := withoutBadConn(f.Err)
	return &InitError{
		Statement: sqltext.Mask(f.Statement, f.Public...),
		Reason:    f.Reason,
		Cure:      f.Cure,
		Err:       err,
		answer:    sqltext.MaskAnswer(f.Statement, err, f.Public...),
	}
}

// errLost stands for driver.ErrBadConn, which Connect must not return:
// database/sql would call it three times.
var errLost = errors.New("the connection was lost, or (with rejectReadOnly) the server is read-only")

func withoutBadConn(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return errLost
	}
	return err
}
