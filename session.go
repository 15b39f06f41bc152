package mysqlinit

import (
	"context"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// session knows the statements that make a new connection what was asked for,
// and in which dialect this server wants them. One session serves all
// connections of a Connector.
type session struct {
	isolation    isolation
	binlog       binlog
	variables    []variable
	initCommands []string
	verify       bool
	logger       *slog.Logger

	timeout time.Duration // of preparing, with dial and handshake, and of restoring; 0: none

	// What the guard has to know.
	guard           bool
	restored        []variable // variables, and those that the driver sent
	repeatable      bool       // the SET alone makes a session again what prepare made it
	autocommits     bool       // autocommit is the server's default, which is on: nothing here sets it
	chains          bool       // a COMMIT may open a transaction: completion_type is set
	multiStatements bool       // a query may be several statements

	introducer string // of our literals' character set, where the connection's may be none they are valid in

	learned atomic.Pointer[setStatement] // the last that succeeded
}

func newSession(chosen settings, of params) *session {
	s := &session{
		isolation:       chosen.level(),
		binlog:          chosen.binlog.value,
		variables:       of.variables,
		initCommands:    chosen.initCommands,
		verify:          chosen.verify.value,
		logger:          chosen.logger,
		timeout:         max(DefaultConnectTimeout, of.dialTimeout),
		guard:           chosen.guard.value,
		restored:        append(of.variables[:len(of.variables):len(of.variables)], of.sentByDriver...),
		multiStatements: of.multiStatements,
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if chosen.connectTimeout.given {
		s.timeout = chosen.connectTimeout.value
	}
	s.autocommits = of.knowsDriver && !of.changedByCallback && !slices.ContainsFunc(s.initCommands, func(command string) bool {
		return effectOf(command, true)&(sticks|opensOrHides) != 0
	})
	for _, v := range s.restored {
		switch v.bareName() {
		case "autocommit":
			s.autocommits = false
		case "character_set_connection", "collation_connection":
			// Under utf16 and its like MySQL takes 'READ-COMMITTED' for other letters.
			s.introducer = "_latin1"
		case "completion_type":
			s.chains = true
		}
	}
	s.chains = s.chains || slices.ContainsFunc(s.initCommands, func(command string) bool {
		return strings.Contains(strings.ToLower(command), "completion_type")
	})
	s.repeatable = !of.changedByCallback && s.setIsRepeatable()
	return s
}

// setIsRepeatable tells whether the SET gives the same session whatever the
// session is, and no init command has changed what it sets.
func (s *session) setIsRepeatable() bool {
	values := []variable{{value: s.isolation.expr}, {value: s.binlog.format}}
	for _, v := range append(values, s.restored...) {
		// With autocommit off a transaction may be open, which the SET leaves open.
		if !constant.MatchString(v.value) || clock.MatchString(v.value) || v.bareName() == "autocommit" {
			return false
		}
	}
	for _, command := range s.initCommands {
		if effectOf(command, true)&^setsVariable != 0 {
			return false
		}
		for _, v := range s.restored {
			if strings.Contains(strings.ToLower(command), v.bareName()) {
				return false
			}
		}
	}
	return true
}

// constant matches what means the same whatever the session is: no other variable,
// no function, nothing that sql_mode reads in two ways. The clock needs no
// parentheses.
var (
	constant = regexp.MustCompile(`^\s*('[^'\\]*'|[0-9.]*|[A-Za-z][A-Za-z0-9_-]*)\s*$`)
	clock    = regexp.MustCompile(`(?i)^\s*(current_|localtime|utc_)`)
)

// bound gives ctx the end of connectTimeout, where there is one and ctx does not end
// before.
func (s *session) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); s.timeout <= 0 || ok && time.Until(deadline) <= s.timeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.timeout)
}

// phase is what a connection is at, for errors: one of these constants, or the number
// of an init command, from 1 on.
type phase int32

const (
	phaseConnect phase = -iota
	phaseSet
	phaseVerify
)

func (p phase) String() string {
	switch p {
	case phaseConnect:
		return "connecting (dial and handshake)"
	case phaseSet:
		return "setting the session's variables"
	case phaseVerify:
		return "verifying the session"
	default:
		return fmt.Sprintf("running init command %d", int32(p))
	}
}

func (p phase) failed() string { return p.String() + " failed" }

// progress is the phase of a connection, for whoever does not wait for it any longer.
// The zero value is phaseConnect.
type progress struct{ at atomic.Int32 }

func (p *progress) enter(next phase) { p.at.Store(int32(next)) }
func (p *progress) phase() phase     { return phase(p.at.Load()) }

// prepare runs on a connection all that was asked for, and returns the form of
// the SET. Its errors are InitErrors.
func (s *session) prepare(ctx context.Context, conn driver.Conn, p *progress) (form, error) {
	p.enter(phaseSet)
	f, err := s.setVariables(ctx, conn)
	if err != nil {
		return f, err
	}
	for i, command := range s.initCommands {
		p.enter(phase(i + 1))
		if err := exec(ctx, conn, command); err != nil {
			return f, newInitError(command, p.phase().failed(), "", err)
		}
	}
	if s.verify {
		p.enter(phaseVerify)
		return f, s.verifySession(ctx, conn, f)
	}
	return f, nil
}

// setText writes the SET: our own items first, so that nothing in a value of
// the DSN can comment them out. It is "" where there is nothing to set.
func (s *session) setText(f form, variables []variable) string {
	level := levelNames[s.isolation.level]
	var b strings.Builder
	item := func(name, value string) {
		if b.Len() == 0 {
			b.WriteString("SET ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(name + " = " + value)
		if strings.Contains(value, "--") || strings.Contains(value, "#") {
			b.WriteByte('\n') // a comment in it ends here, not behind the next item
		}
	}
	quote := func(literal string) string { return s.introducer + "'" + literal + "'" }
	isolationItem := "@@SESSION." + f.name
	switch {
	case level == "":
	case f.binlog == assertBinlog:
		log := "@@GLOBAL.log_bin"
		if f.galera {
			log = "(@@GLOBAL.log_bin OR @@wsrep_on)"
		}
		item(isolationItem, "IF(@@SESSION.binlog_format = "+quote("STATEMENT")+" AND "+log+", "+quote(statementFormatText)+", "+quote(level)+")")
	case f.binlog == leaveBinlog && s.binlog.format == "" && len(variables) == 0:
		// Every dialect takes this form, and SQL proxies follow it.
		return "SET SESSION TRANSACTION ISOLATION LEVEL " + spaced(level)
	default:
		item(isolationItem, quote(level))
	}
	if f.binlog == setBinlog {
		item("@@SESSION.binlog_format", quote("ROW"))
	}
	if s.isolation.expr != "" {
		item(isolationItem, s.isolation.expr)
	}
	if s.binlog.format != "" {
		item("@@SESSION.binlog_format", s.binlog.format)
	}
	for _, v := range variables {
		item(v.name, v.value)
	}
	return b.String()
}

// spaced writes READ-COMMITTED as READ COMMITTED.
func spaced(level string) string { return strings.ReplaceAll(level, "-", " ") }
