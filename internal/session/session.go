package session

import (
	"context"
	"database/sql/driver"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mysqlinit/mysqlinit/internal/driverconn"
	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// Session prepares connections to one server, or to the servers that take its
// place. It is safe for concurrent use.
type Session struct {
	Config
	restored []sysvar.Variable // all variables of the DSN, whoever has sent them first

	learned atomic.Pointer[lesson]
}

// lesson is the last SET that a server took, and how that was learned.
type lesson struct {
	*statement
	account   string    // whose connection it was
	refusedAt time.Time // when the account was not allowed to set the binlog format
}

// askAgainAfter is how long an account is believed not to be allowed to set the
// binlog format. Asking costs a round trip, and counts in the server's
// Access_denied_errors.
const askAgainAfter = 10 * time.Minute

// New returns a Session that has learned nothing yet.
func New(c Config) *Session {
	return &Session{Config: c, restored: slices.Concat(c.Variables, c.SentByDriver)}
}

// Prepare runs on a new connection all that was asked for. The form that the
// server took is for Restore.
func (s *Session) Prepare(ctx context.Context, conn driver.Conn, p *Progress) (Form, *Failure) {
	f, failure := s.sendSet(ctx, conn, p)
	if failure != nil {
		return f, failure
	}
	for i, command := range s.InitCommands {
		p.enter(Phase(i + 1))
		if err := driverconn.Exec(ctx, conn, command); err != nil && !isForOtherServers(command, err) {
			return f, s.initCommandFailed(p.Phase(), command, err)
		}
	}
	if driverconn.FlagsOf(conn).InTransaction() {
		if failure := commit(ctx, conn, p); failure != nil {
			return f, failure
		}
	}
	if s.Verify {
		p.enter(PhaseVerify)
		return f, s.verify(ctx, conn, f)
	}
	return f, nil
}

// commit ends a transaction that the server's init_connect or an init command has
// left open, as the user's first START TRANSACTION would. Until it ends, MySQL
// 9.7 keeps its isolation level, also for the transaction after it, and it keeps
// its locks.
func commit(ctx context.Context, conn driver.Conn, p *Progress) *Failure {
	p.enter(PhaseCommit)
	if err := driverconn.Exec(ctx, conn, "COMMIT"); err != nil {
		return &Failure{Statement: "COMMIT", Reason: p.Phase().Failed(), Err: err}
	}
	return nil
}

// isForOtherServers reports whether a server found nothing to do in an init
// command, such as MySQL in /*M! SET … */. In several statements it would have
// left out what follows.
func isForOtherServers(command string, err error) bool {
	serverErr := serverError(err)
	return serverErr != nil && serverErr.Number == errEmptyQuery && !sqltext.HasSeveral(command)
}

// Restore sends a connection that Prepare has prepared in this form the SET
// again, with all variables of the DSN in it.
func (s *Session) Restore(ctx context.Context, conn driver.Conn, f Form) *Failure {
	text := s.statement(f, s.restored).text
	if err := driverconn.Exec(ctx, conn, text); err != nil {
		return &Failure{Statement: text, Reason: "restoring the session failed", Err: err}
	}
	return nil
}

// SetsBinlog reports whether the SET in this form sets the binlog format.
func (s *Session) SetsBinlog(f Form) bool {
	return f.binlog == setBinlog || s.Binlog.Format != ""
}

// mostForms bounds the SETs that are tried on one connection. A server of which
// nothing is known takes three at most. A failover can take four: from MariaDB
// 10 to MySQL 8, which refuses wsrep_on first, then tx_isolation, and then
// binlog_format.
const mostForms = 4

// sendSet sends the one SET, in the form that worked last. If the server answers
// that it does not know or allow that form, the form that its answer calls for
// is tried on the same connection. A SET of several items is applied whole or
// not at all.
func (s *Session) sendSet(ctx context.Context, conn driver.Conn, p *Progress) (Form, *Failure) {
	next := s.firstStatement(conn)
	var tried []attempt
	committed := false
	for {
		p.enter(PhaseSet)
		err := driverconn.Exec(ctx, conn, next.text)
		if err == nil {
			s.learn(conn, next, tried)
			return next.form, nil
		}
		serverErr := serverError(err)
		if serverErr == nil {
			return next.form, &Failure{Statement: next.text, Reason: PhaseSet.Failed(), Err: err}
		}
		if serverErr.Number == errInTransaction && !committed { // init_connect has opened one
			committed = true
			if failure := commit(ctx, conn, p); failure != nil {
				return next.form, failure
			}
			continue
		}
		tried = append(tried, attempt{next.form, next.text, serverErr})
		form := s.nextForm(tried)
		if len(tried) == mostForms || slices.ContainsFunc(tried, func(a attempt) bool { return a.form == form }) {
			failure := s.refused(tried, func() role { return roleOf(ctx, conn) })
			failure.Public = s.publicLiterals(next.form)
			return next.form, failure
		}
		next = s.statement(form, s.Variables)
	}
}

// firstStatement is the SET to try first on a connection: the one that worked
// last. If that one does not set the binlog format although it was asked for, it
// is asked for again for another account, and after some time: a privilege can be
// granted at any time.
func (s *Session) firstStatement(conn driver.Conn) *statement {
	known := s.learned.Load()
	first := s.firstForm()
	switch {
	case known == nil:
		return s.statement(first, s.Variables)
	case known.form.binlog == first.binlog || known.account == driverconn.Account(conn) && time.Since(known.refusedAt) < askAgainAfter:
		return known.statement
	}
	form := known.form
	form.binlog = first.binlog
	return s.statement(form, s.Variables)
}

// learn keeps the SET that worked, and logs its form if that is news.
func (s *Session) learn(conn driver.Conn, worked *statement, tried []attempt) {
	known := s.learned.Load()
	if known != nil && known.statement == worked {
		return
	}
	s.learned.Store(&lesson{worked, driverconn.Account(conn), time.Now()})
	if known != nil && known.form == worked.form {
		return
	}
	attrs := []any{slog.String("binlogFormat", worked.form.binlog.String())}
	if worked.namesIsolation { // its success proves that the server knows the name
		attrs = append(attrs, slog.String("isolationVariable", worked.form.name))
	}
	if refused := refusedToSet(tried); refused != nil {
		attrs = append(attrs, slog.Int("refusedWithError", int(refused.err.Number)))
	}
	s.Logger.Info("mysqlinit: learned how this server takes the session's variables", attrs...)
}
