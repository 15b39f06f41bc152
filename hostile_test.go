package mysqlinit_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/scripted"
)

// The tests in this file send what only a hostile or a broken server sends.

// dirt must reach no log and no terminal.
const dirt = "\x1b[2J\x1b]0;owned\x07\r\nmysqlinit: forged\x00\u009b31m\u202egnp.exe\u2066\u200b\u2028\xff\xfe"

// longest is the most bytes that one of our errors or log lines can have.
const longest = 2000

// wantClean checks one line that people will read: it is short and printable,
// and shows no secret.
func wantClean(t *testing.T, text string) {
	t.Helper()
	if len(text) > longest {
		t.Errorf("%d bytes: %.200q…", len(text), text)
		return
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("not printable: %q", text)
	}
	if strings.Contains(text, "hunter2") {
		t.Errorf("the text shows a secret: %q", text)
	}
}

type hostileAnswer struct {
	send     func(client net.Conn) bool
	harmless bool // may count as OK if the statement's result does not matter
	timeout  bool // only connectTimeout ends it
}

// hostileAnswers returns answers to a statement, by name. long is the length of
// long messages.
func hostileAnswers(long int) map[string]hostileAnswer {
	return map[string]hostileAnswer{
		"LOCAL INFILE":                    {send: sends(scripted.Packet(1, "\xfb/etc/hostname"))},
		"LOCAL INFILE without a name":     {send: sends(scripted.Packet(1, "\xfb"))},
		"LOCAL INFILE of a reader":        {send: sends(scripted.Packet(1, "\xfb/Reader::"+dirt))},
		"LOCAL INFILE with a dirty name":  {send: sends(scripted.Packet(1, "\xfb"+strings.Repeat(dirt, 1000)))},
		"a result set":                    {send: sends(scripted.ResultSet([]string{"a", "b"}, []string{dirt, dirt})), harmless: true},
		"a long result set":               {send: sends(scripted.ResultSet([]string{"a", "b"}, []string{strings.Repeat("x", 1<<20), "'"})), harmless: true},
		"one column too few":              {send: sends(scripted.ResultSet([]string{"a"}, []string{"READ-COMMITTED"})), harmless: true},
		"one column too many":             {send: sends(scripted.ResultSet([]string{"a", "b", "c"}, []string{"READ-COMMITTED", "ROW", "x"})), harmless: true},
		"NULLs":                           {send: sends(scripted.Head(1, "a", "b"), scripted.Packet(4, "\xfb\xfb"), scripted.End(5)), harmless: true},
		"a result set without rows":       {send: sends(scripted.Head(1, "a", "b"), scripted.End(4)), harmless: true},
		"an error instead of a row":       {send: sends(scripted.Head(1, "a", "b"), scripted.Error(4, 1105, dirt))},
		"three results":                   {send: sends(scripted.MoreToCome(1), scripted.MoreToCome(2), scripted.OK(3)), harmless: true},
		"an error as the second result":   {send: sends(scripted.MoreToCome(1), scripted.Error(2, 1105, dirt))},
		"a column count that is too high": {send: closes(scripted.Packet(1, "\xfd\xff\xff\x00"))},
		"an impossible column count":      {send: closes(scripted.Packet(1, "\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"))},
		"a negative column count":         {send: sends(scripted.Packet(1, "\xfe\xff\xff\xff\xff\xff\xff\xff\xff")), harmless: true},
		"a column count cut short":        {send: sends(scripted.Packet(1, "\xfe\xff"))},
		"a column cut short":              {send: sends(scripted.Packet(1, "\x01"), scripted.Packet(2, "\xfc"), scripted.End(3)), harmless: true},
		"a row cut short":                 {send: sends(scripted.Head(1, "a", "b"), scripted.Packet(4, "\xfe\xff"), scripted.End(5)), harmless: true},
		"a row that lies about lengths":   {send: sends(scripted.Head(1, "a", "b"), scripted.Packet(4, "\xfe\xff\xff\xff\xff\xff\xff\xff\x7fx"), scripted.End(5)), harmless: true},
		"an end cut short":                {send: closes(scripted.Head(1, "a", "b"), scripted.Packet(4, "\xfe"))},
		"an OK cut short":                 {send: sends(scripted.Packet(1, "\x00"))},
		"an OK that lies about lengths":   {send: sends(scripted.Packet(1, "\x00\xfe\x00"))},
		"an OK with trailing garbage":     {send: sends(scripted.Packet(1, "\x00\x00\x00\x02\x00\x00\x00"+strings.Repeat(dirt, 1000))), harmless: true},
		"an OK of another sequence":       {send: sends(scripted.OK(77))},
		"an error of another sequence":    {send: sends(scripted.Error(77, 1105, dirt))},
		"an error cut short":              {send: sends(scripted.Packet(1, "\xff"))},
		"an error without a message":      {send: sends(scripted.Packet(1, "\xff\x51\x04"))},
		"an error with half a state":      {send: sends(scripted.Packet(1, "\xff\x51\x04#HY"))},
		"an error without a state":        {send: sends(scripted.Packet(1, "\xff\x51\x04"+dirt))},
		"an error numbered 0":             {send: sends(scripted.Error(1, 0, "no error"))},
		"a dirty error":                   {send: sends(scripted.Error(1, 1105, strings.Repeat(dirt, 100)))},
		"an unknown variable, dirty":      {send: sends(scripted.Error(1, 1193, dirt))},
		"a refused privilege, dirty":      {send: sends(scripted.Error(1, 1227, "BINLOG ADMIN"+dirt))},
		"a failed assertion, dirty":       {send: sends(scripted.Error(1, 1231, "'mysqlinit: binlog_format is STATEMENT'"+dirt))},
		"an error of two packets":         {send: sends(scripted.Error(1, 1105, strings.Repeat("x", 1<<24)))},
		"a long error of quotes":          {send: sends(scripted.Error(1, 1231, strings.Repeat("'", long)))},
		"a long error of apostrophes":     {send: sends(scripted.Error(1, 1231, strings.Repeat("a'", long/2)))},
		"a long error of names":           {send: sends(scripted.Error(1, 1193, strings.Repeat("'session' ", long/16)))},
		"a long error of the literal":     {send: sends(scripted.Error(1, 1231, "'"+strings.Repeat("hunter2", long/8)+"'"))},
		"an empty packet":                 {send: sends(scripted.Packet(1, ""))},
		"half a header":                   {send: closes([]byte{7, 0})},
		"a packet cut short":              {send: closes([]byte{0xff, 0xff, 0xff, 1, 0})},
		"nothing":                         {send: closes()},
		"silence":                         {send: sends(), timeout: true},
		"a header without its packet":     {send: sends([]byte{0xff, 0xff, 0xff, 1, 0}), timeout: true},
		"all flags of the status":         {send: sends(scripted.Packet(1, "\x00\x00\x00\xff\xff\xff\xff")), timeout: true},
		"rows without an end":             {send: forever(scripted.Row(4, "x", "y"), scripted.Head(1, "a", "b")), timeout: true},
		"results without an end":          {send: forever(scripted.MoreToCome(1)), timeout: true},
		"empty results without an end":    {send: forever(append(scripted.Head(1, "a"), scripted.Packet(3, "\xfe\x00\x00\x0a\x00\x00\x00")...)), timeout: true},
	}
}

func sends(parts ...[]byte) func(net.Conn) bool {
	data := bytes.Join(parts, nil)
	return func(client net.Conn) bool { return scripted.Send(client, data) }
}

func closes(parts ...[]byte) func(net.Conn) bool {
	send := sends(parts...)
	return func(client net.Conn) bool { return send(client) && false }
}

// forever repeats packets, with rising sequence numbers, until the client closes
// the connection. It sends before first.
func forever(packets []byte, before ...[]byte) func(net.Conn) bool {
	return func(client net.Conn) bool {
		if !sends(before...)(client) {
			return false
		}
		for sequence := packets[3]; ; {
			var all []byte
			for range 256 {
				for rest := packets; len(rest) > 0; sequence++ {
					length := 4 + int(rest[0])
					all = append(all, rest[:length]...)
					all[len(all)-length+3] = sequence
					rest = rest[length:]
				}
			}
			if !scripted.Send(client, all) {
				return false
			}
		}
	}
}

// within runs a call. It fails the test if the call hangs or panics.
func within(t *testing.T, call func()) {
	t.Helper()
	done := make(chan any, 1)
	go func() {
		defer func() {
			p := recover()
			if p != nil {
				p = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			done <- p
		}()
		call()
	}()
	select {
	case p := <-done:
		if p != nil {
			t.Fatalf("panic: %v", p)
		}
	case <-time.After(time.Minute):
		t.Fatal("the call hangs")
	}
}

// wantClosed waits until at most but of the server's connections are open.
func wantClosed(t *testing.T, s *scripted.Server, but int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); s.Open() > but; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open", s.Open())
		}
	}
}

// quiet discards the MySQL driver's log.
type quiet struct{}

func (quiet) Print(...any) {}

// connectorTo returns a connector that sends statements of every kind, and its log.
func connectorTo(t *testing.T, s *scripted.Server, timeout time.Duration) (*mysqlinit.Connector, *bytes.Buffer) {
	t.Helper()
	cfg, err := mysql.ParseDSN(s.DSN("verify=true&guard=true&initCommand=DO+%27hunter2%27"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = quiet{}
	var log bytes.Buffer
	level := &slog.HandlerOptions{Level: slog.LevelDebug}
	c, err := mysqlinit.NewConnector(cfg, mysqlinit.WithConnectTimeout(timeout), mysqlinit.WithLogger(slog.New(slog.NewMultiHandler(slog.NewTextHandler(&log, level), slog.NewJSONHandler(&log, level)))))
	if err != nil {
		t.Fatal(err)
	}
	return c, &log
}

func wantCleanLog(t *testing.T, log *bytes.Buffer) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		wantClean(t, strings.TrimSuffix(line, "\n"))
	}
}

// goodAnswer is the answer of a server without faults.
func goodAnswer(statement string) []byte {
	if strings.HasPrefix(statement, "SELECT @@SESSION.") {
		return scripted.ResultSet([]string{"a", "b"}, []string{"READ-COMMITTED", "ROW"})
	}
	return scripted.OK(1)
}

func TestHostileAnswers(t *testing.T) {
	long := 1 << 24
	if testing.Short() {
		long = 1 << 20
	}
	for name, answer := range hostileAnswers(long) {
		timeout := time.Minute // no Connect of this test takes so long
		if answer.timeout {
			timeout = 200 * time.Millisecond
		}
		for _, phase := range []struct{ statement, text string }{
			{"SET ", "setting the session's variables"},
			{"DO 'hunter2'", "running init command 1"},
			{"SELECT @@SESSION.", "verify"},
		} {
			t.Run(name+"/"+phase.text, func(t *testing.T) {
				s := scripted.Start(t, scripted.Script{Answer: func(client net.Conn, statement string, _ int) bool {
					if strings.HasPrefix(statement, phase.statement) {
						return answer.send(client)
					}
					return scripted.Send(client, goodAnswer(statement))
				}})
				var conn driver.Conn
				var log *bytes.Buffer
				var err error
				for timeout := timeout; ; timeout *= 10 {
					var c *mysqlinit.Connector
					c, log = connectorTo(t, s, timeout)
					within(t, func() { conn, err = c.Connect(t.Context()) })
					// On a busy machine a short timeout can be over before the phase.
					if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), phase.text) || timeout > 10*time.Second {
						break
					}
				}
				switch {
				case err == nil && answer.harmless && phase.text != "verify":
					conn.Close()
				case err == nil:
					t.Error("no error")
					conn.Close()
				default:
					wantClean(t, err.Error())
					if !strings.Contains(err.Error(), phase.text) && !isStatementFormat(err) {
						t.Errorf("%v: the error does not name the phase", err)
					}
					// verify stops reading at the first thing that it does not expect.
					if timedOut := errors.Is(err, context.DeadlineExceeded); timedOut != answer.timeout && (timedOut || phase.text != "verify") {
						t.Errorf("got %v", err)
					}
				}
				wantClosed(t, s, 0)
				wantCleanLog(t, log)
			})
		}
		t.Run(name+"/restoring the session", func(t *testing.T) {
			hostileToGuard(t, answer.send, answer.harmless, timeout)
		})
	}
}

// isStatementFormat reports whether err explains error 1665. That error does
// not name the phase.
func isStatementFormat(err error) bool { return strings.Contains(err.Error(), "error 1665") }

// hostileToGuard sends its answer to the SET with which the guard restores a
// session.
func hostileToGuard(t *testing.T, send func(net.Conn) bool, harmless bool, timeout time.Duration) {
	s := scripted.Start(t, scripted.Script{Answer: func(client net.Conn, statement string, number int) bool {
		if strings.HasPrefix(statement, "SET @@SESSION.") && number > 1 {
			return send(client)
		}
		return scripted.Send(client, goodAnswer(statement))
	}})
	for ; ; timeout *= 10 {
		c, log := connectorTo(t, s, timeout)
		db := sql.OpenDB(c)
		defer db.Close()
		db.SetMaxOpenConns(1)
		var err error
		within(t, func() {
			if _, err = db.Exec("SET @x = 1"); err == nil {
				_, err = db.Exec("DO 1") // on the restored session or on a new connection
			}
		})
		if errors.Is(err, context.DeadlineExceeded) && timeout < 10*time.Second {
			db.Close()
			continue // on a busy machine a short timeout can end a connect
		}
		if err != nil {
			t.Error(err)
		}
		if restored := !strings.Contains(log.String(), "could not be restored"); restored && !harmless {
			t.Errorf("nothing was logged: %s", log)
		}
		wantClosed(t, s, 1)
		wantCleanLog(t, log)
		return
	}
}

func TestServerReadsNoFile(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "canary")
	if err := os.WriteFile(canary, []byte("the canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"SET @@SESSION.", "DO 'hunter2'", "SELECT @@SESSION."} {
		sent := make(chan []byte, 1)
		s := scripted.Start(t, scripted.Script{Answer: func(client net.Conn, got string, _ int) bool {
			if !strings.HasPrefix(got, statement) {
				return scripted.Send(client, goodAnswer(got))
			}
			defer close(sent)
			if !scripted.Send(client, scripted.Packet(1, "\xfb"+canary)) {
				return false
			}
			payload, _ := scripted.ReadPacket(client)
			sent <- payload
			return false
		}})
		c, _ := connectorTo(t, s, time.Minute)
		within(t, func() {
			if _, err := c.Connect(t.Context()); err == nil {
				t.Errorf("%s: no error", statement)
			}
		})
		if got := <-sent; len(got) > 0 {
			t.Errorf("%s: the server got %q", statement, got)
		}
	}
}

func TestHostileHandshakes(t *testing.T) {
	greeting := scripted.Greeting(10, "8.0.0")
	scripts := map[string]scripted.Script{
		"protocol 9":                {Greeting: scripted.Greeting(9, "3.20")},
		"protocol 255":              {Greeting: scripted.Packet(0, "\xff")},
		"a greeting of 16 MB":       {Greeting: scripted.Greeting(10, strings.Repeat("8", 1<<24)), Auth: scripted.Error(2, 1045, "no")},
		"a version without end":     {Greeting: scripted.Packet(0, "\x0a8.0.0")},
		"a refusal":                 {Greeting: scripted.Error(0, 1040, dirt)},
		"another sequence":          {Greeting: scripted.Packet(9, string(greeting[4:]))},
		"an unknown plugin":         {Auth: scripted.Packet(2, "\xfe"+dirt+"\x00saltsaltsaltsaltsalt\x00")},
		"a plugin of 16 MB":         {Auth: scripted.Packet(2, "\xfe"+strings.Repeat("x", 1<<24)+"\x00")},
		"the password in clear":     {Auth: scripted.Packet(2, "\xfemysql_clear_password\x00")},
		"the old password":          {Auth: scripted.Packet(2, "\xfe")},
		"a plugin without salt":     {Auth: scripted.Packet(2, "\xfemysql_native_password\x00")},
		"caching_sha2 without salt": {Auth: scripted.Packet(2, "\xfecaching_sha2_password\x00")},
		"an OK cut short":           {Auth: scripted.Packet(2, "\x00")},
		"an error cut short":        {Auth: scripted.Packet(2, "\xff")},
		"an infile request":         {Auth: scripted.Packet(2, "\xfb/etc/hostname")},
	}
	for n := range len(greeting) - 4 {
		scripts[fmt.Sprintf("a greeting of %d bytes", n)] = scripted.Script{Greeting: scripted.Packet(0, string(greeting[4:4+n])), Auth: scripted.Error(2, 1045, "no")}
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			s := scripted.Start(t, script)
			c, log := connectorTo(t, s, time.Second)
			var err error
			within(t, func() { _, err = c.Connect(t.Context()) })
			switch {
			case err == nil:
				t.Fatal("no error")
			case strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error shows the password: %v", err)
			case strings.HasPrefix(err.Error(), "mysqlinit: "): // other errors are the MySQL driver's, unchanged
				wantClean(t, err.Error())
				if !strings.Contains(err.Error(), "handshake") {
					t.Errorf("%v: the error does not name the phase", err)
				}
			}
			if !strings.Contains(err.Error(), "panicked") { // after a panic the driver's connection stays open
				wantClosed(t, s, 0)
			}
			wantCleanLog(t, log)
		})
	}
}

// With a TLS config too, a malformed answer is an error and not a panic.
// Nobody could recover a panic on database/sql's own goroutine.
func TestMalformedGreetingWithTLSConfig(t *testing.T) {
	if err := mysql.RegisterTLSConfig("hostile", &tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	defer mysql.DeregisterTLSConfig("hostile")
	greeting := scripted.Greeting(10, "8.0.0")
	malformed := 0
	for n := range len(greeting) - 4 {
		s := scripted.Start(t, scripted.Script{Greeting: scripted.Packet(0, string(greeting[4:4+n])), Auth: scripted.Error(2, 1045, "no")})
		c, err := new(mysqlinit.Driver).OpenConnector(s.DSN("tls=hostile"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Connect(t.Context()); err == nil {
			t.Errorf("a greeting of %d bytes: no error", n)
		} else if strings.Contains(err.Error(), "malformed") {
			malformed++
		}
	}
	if malformed == 0 {
		t.Error("no greeting made the driver panic")
	}
}
