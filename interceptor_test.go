package mysqlinit_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/ngrok/sqlmw"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// recorder records the calls of its methods, and every nil context.
type recorder struct {
	sqlmw.NullInterceptor
	name string
	log  *callLog
}

type callLog struct {
	mu    sync.Mutex
	calls []string
	nils  []string
}

func (r recorder) note(ctx context.Context, method string) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.calls = append(r.log.calls, r.name+"."+method)
	if ctx == nil {
		r.log.nils = append(r.log.nils, method)
	}
}

func (l *callLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := strings.Join(l.calls, " ")
	l.calls = nil
	return calls
}

func (r recorder) ConnectorConnect(ctx context.Context, c driver.Connector) (driver.Conn, error) {
	r.note(ctx, "Connect")
	return c.Connect(ctx)
}
func (r recorder) ConnBeginTx(ctx context.Context, c driver.ConnBeginTx, o driver.TxOptions) (context.Context, driver.Tx, error) {
	r.note(ctx, "BeginTx")
	return r.NullInterceptor.ConnBeginTx(ctx, c, o)
}
func (r recorder) ConnPrepareContext(ctx context.Context, c driver.ConnPrepareContext, q string) (context.Context, driver.Stmt, error) {
	r.note(ctx, "Prepare")
	return r.NullInterceptor.ConnPrepareContext(ctx, c, q)
}
func (r recorder) ConnPing(ctx context.Context, c driver.Pinger) error {
	r.note(ctx, "Ping")
	return c.Ping(ctx)
}
func (r recorder) ConnExecContext(ctx context.Context, c driver.ExecerContext, q string, args []driver.NamedValue) (driver.Result, error) {
	r.note(ctx, "Exec")
	return c.ExecContext(ctx, q, args)
}
func (r recorder) ConnQueryContext(ctx context.Context, c driver.QueryerContext, q string, args []driver.NamedValue) (context.Context, driver.Rows, error) {
	r.note(ctx, "Query")
	return r.NullInterceptor.ConnQueryContext(ctx, c, q, args)
}
func (r recorder) RowsNext(ctx context.Context, rows driver.Rows, dest []driver.Value) error {
	r.note(ctx, "RowsNext")
	return rows.Next(dest)
}
func (r recorder) RowsClose(ctx context.Context, rows driver.Rows) error {
	r.note(ctx, "RowsClose")
	return rows.Close()
}
func (r recorder) StmtExecContext(ctx context.Context, s driver.StmtExecContext, q string, args []driver.NamedValue) (driver.Result, error) {
	r.note(ctx, "StmtExec")
	return s.ExecContext(ctx, args)
}
func (r recorder) StmtQueryContext(ctx context.Context, s driver.StmtQueryContext, q string, args []driver.NamedValue) (context.Context, driver.Rows, error) {
	r.note(ctx, "StmtQuery")
	return r.NullInterceptor.StmtQueryContext(ctx, s, q, args)
}
func (r recorder) StmtClose(ctx context.Context, s driver.Stmt) error {
	r.note(ctx, "StmtClose")
	return s.Close()
}
func (r recorder) TxCommit(ctx context.Context, tx driver.Tx) error {
	r.note(ctx, "Commit")
	return tx.Commit()
}
func (r recorder) TxRollback(ctx context.Context, tx driver.Tx) error {
	r.note(ctx, "Rollback")
	return tx.Rollback()
}

func TestInterceptorsSeeEverythingTheFirstOutermost(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	var log callLog
	db := open(t, s.DSN(testserver.Root, ""),
		mysqlinit.WithInterceptor(recorder{name: "a", log: &log}), mysqlinit.WithInterceptor(recorder{name: "b", log: &log}))
	db.SetMaxOpenConns(1)
	for _, test := range []struct {
		name string
		use  func() error
		want string
	}{
		{"ping", db.Ping, "a.Connect b.Connect a.Ping b.Ping"}, // no Exec: interceptors do not see the preparation
		{"exec", func() error { _, err := db.Exec("DO 1"); return err }, "a.Exec b.Exec"},
		{"query", func() error { return db.QueryRow("SELECT 1").Scan(new(int)) }, "a.Query b.Query a.RowsNext b.RowsNext a.RowsClose b.RowsClose"},
		{"exec with arguments", func() error { _, err := db.Exec("DO ?", 1); return err },
			"a.Exec b.Exec a.Prepare b.Prepare a.StmtExec b.StmtExec a.StmtClose b.StmtClose"},
		{"query with arguments", func() error { return db.QueryRow("SELECT ?", 1).Scan(new(int)) },
			"a.Query b.Query a.Prepare b.Prepare a.StmtQuery b.StmtQuery a.RowsNext b.RowsNext a.RowsClose b.RowsClose a.StmtClose b.StmtClose"},
		{"transactions", func() error {
			for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
				tx, err := db.Begin()
				if err != nil {
					return err
				}
				if err := end(tx); err != nil {
					return err
				}
			}
			return nil
		}, "a.BeginTx b.BeginTx a.Commit b.Commit a.BeginTx b.BeginTx a.Rollback b.Rollback"},
	} {
		if err := test.use(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := log.take(); got != test.want {
			t.Errorf("%s: called %s\nwant %s", test.name, got, test.want)
		}
	}
}

// connecting is an interceptor that intercepts only ConnectorConnect.
type connecting struct {
	sqlmw.NullInterceptor
	connect func(ctx context.Context, c driver.Connector) (driver.Conn, error)
}

func (c connecting) ConnectorConnect(ctx context.Context, parent driver.Connector) (driver.Conn, error) {
	return c.connect(ctx, parent)
}

func TestConnectorConnectSeesAPreparedConnection(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	checked := 0
	check := func(conn driver.Conn) {
		t.Helper()
		rows, err := conn.(driver.QueryerContext).QueryContext(t.Context(), "SELECT @@tx_isolation", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		got := make([]driver.Value, 1)
		if err := rows.Next(got); err != nil || string(got[0].([]byte)) != "READ-COMMITTED" {
			t.Errorf("got %s, %v", got, err)
		}
		checked++
	}
	i := connecting{connect: func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
		conn, err := c.Connect(ctx)
		if err != nil {
			return nil, err
		}
		check(conn)
		// Opening through the connector's driver prepares the connection too.
		more, err := c.Driver().Open(s.DSN(testserver.Root, ""))
		if err != nil {
			t.Errorf("Driver().Open: %v", err)
			return conn, nil
		}
		check(more)
		more.Close()
		return conn, nil
	}}
	deep := 0
	once := connecting{connect: func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
		if deep++; deep > 1 {
			return c.Connect(ctx)
		}
		return i.connect(ctx, c)
	}}
	db := open(t, s.DSN(testserver.Root, ""), mysqlinit.WithInterceptor(once), mysqlinit.WithInterceptor(sqlmw.NullInterceptor{}))
	wantSession(t, db, "READ-COMMITTED", "ROW")
	if checked != 2 {
		t.Errorf("checked %d connections", checked)
	}
}

// wholeConn has the methods of the MySQL driver's connection.
type wholeConn struct {
	fakeConn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

func (*wholeConn) Exec(string, []driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (*wholeConn) Query(string, []driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

func newWholeConn() *wholeConn {
	return &wholeConn{fakeConn: fakeConn{exec: func(context.Context) error { return nil }}}
}

func TestFailingInterceptorsCloseTheConnectionBelow(t *testing.T) {
	boom := errors.New("boom")
	for _, test := range []struct {
		name    string
		connect func(ctx context.Context, c driver.Connector) (driver.Conn, error)
		want    string
	}{
		{"neither", func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			_, _ = c.Connect(ctx)
			return nil, nil
		}, "connecting: its ConnectorConnect returned neither"},
		{"a nil pointer", func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			_, _ = c.Connect(ctx)
			return (*fakeConn)(nil), nil
		}, "returned neither"},
		{"both", func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			conn, _ := c.Connect(ctx)
			return conn, boom
		}, "boom"},
		{"an error", func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			_, _ = c.Connect(ctx)
			return nil, boom
		}, "boom"},
		{"ErrBadConn", func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			_, _ = c.Connect(ctx)
			return nil, driver.ErrBadConn
		}, "interceptor's ConnectorConnect failed"},
		{"a panic", func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			_, _ = c.Connect(ctx)
			panic("boom")
		}, "boom"},
		{"a connection of its own", func(context.Context, driver.Connector) (driver.Conn, error) {
			return &wholeConn{}, nil
		}, "nothing has prepared"},
		{"another connection than it got", func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			_, _ = c.Connect(ctx)
			return newWholeConn(), nil
		}, "another connection than it got"},
		{"a wrapper with fewer methods", func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			conn, err := c.Connect(ctx)
			return struct{ driver.Conn }{conn}, err
		}, "ResetSession"},
	} {
		for _, place := range []string{"outer", "inner"} {
			t.Run(test.name+" "+place, func(t *testing.T) {
				below := newWholeConn()
				parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) { return below, nil }}
				opts := []mysqlinit.Option{mysqlinit.WithInterceptor(connecting{connect: test.connect}), mysqlinit.WithInterceptor(sqlmw.NullInterceptor{})}
				if place == "inner" {
					opts[0], opts[1] = opts[1], opts[0]
				}
				db := sql.OpenDB(wrap(t, parent, opts...))
				defer db.Close()
				err := func() (err error) {
					defer func() {
						if p := recover(); p != nil {
							err = errors.New(p.(string))
						}
					}()
					return db.Ping()
				}()
				if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, driver.ErrBadConn) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				if test.want == "boom" && test.name != "a panic" && err != boom {
					t.Errorf("the interceptor's error came back as %#v", err)
				}
				if calls := parent.calls.Load(); calls > 1 {
					t.Errorf("connected %d times", calls)
				} else if calls == 1 && !below.closed.Load() {
					t.Error("the connection below was not closed")
				}
			})
		}
	}
}

// If an interceptor opens two connections at once, Unwrap returns the one that it
// chose. The race detector watches.
func TestUnwrapGivesTheChosenConnection(t *testing.T) {
	var all []*wholeConn
	var mu sync.Mutex
	parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, newWholeConn())
		return all[len(all)-1], nil
	}}
	two := connecting{connect: func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
		conns := make([]driver.Conn, 2)
		var done sync.WaitGroup
		for i := range conns {
			done.Go(func() { conns[i], _ = c.Connect(ctx) })
		}
		done.Wait()
		conns[1].Close()
		return conns[0], nil
	}}
	conn, err := wrap(t, parent, mysqlinit.WithInterceptor(two), mysqlinit.WithInterceptor(sqlmw.NullInterceptor{})).Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if below := conn.(interface{ Unwrap() driver.Conn }).Unwrap().(*wholeConn); below.closed.Load() {
		t.Error("Unwrap gives the connection that was closed")
	}
}

// openConn is a wholeConn that can be asked whether it is open.
type openConn struct{ *wholeConn }

func (c *openConn) IsValid() bool { return !c.closed.Load() }

// aroundConn is an interceptor's own wrapper.
type aroundConn struct{ *openConn }

// An interceptor can connect more than once. What it does not return is closed.
func TestOnlyOneConnectionOfAnInterceptorStaysOpen(t *testing.T) {
	for name, test := range map[string]struct {
		connect func(ctx context.Context, c driver.Connector) (driver.Conn, error)
		open    int
		fails   string
	}{
		"the first": {func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			conn, _ := c.Connect(ctx)
			_, _ = c.Connect(ctx)
			return conn, nil
		}, 1, ""},
		"the last": {func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			_, _ = c.Connect(ctx)
			return c.Connect(ctx)
		}, 1, ""},
		"a wrapper": {func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			first, _ := c.Connect(ctx)
			first.Close()
			conn, err := c.Connect(ctx)
			return &aroundConn{&openConn{&wholeConn{fakeConn: fakeConn{onClose: func() { conn.Close() }}}}}, err
		}, 1, ""},
		"a wrapper around one of two": {func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			_, _ = c.Connect(ctx)
			conn, err := c.Connect(ctx)
			return &aroundConn{&openConn{&wholeConn{fakeConn: fakeConn{onClose: func() { conn.Close() }}}}}, err
		}, 0, "around which of 2 connections"},
		"and one later": {func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			time.AfterFunc(time.Second, func() { _, _ = c.Connect(ctx) })
			return c.Connect(ctx)
		}, 1, ""},
	} {
		for _, place := range []string{"outer", "inner"} {
			synctest.Test(t, func(t *testing.T) {
				var opened []*openConn
				parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) {
					opened = append(opened, &openConn{newWholeConn()})
					return opened[len(opened)-1], nil
				}}
				opts := []mysqlinit.Option{mysqlinit.WithInterceptor(connecting{connect: test.connect}), mysqlinit.WithInterceptor(sqlmw.NullInterceptor{})}
				if place == "inner" {
					opts[0], opts[1] = opts[1], opts[0]
				}
				conn, err := wrap(t, parent, opts...).Connect(t.Context())
				if (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
					t.Errorf("%s, %s: got %v", name, place, err)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				open := 0
				for _, c := range opened {
					if c.IsValid() {
						open++
					}
				}
				if open != test.open || len(opened) != 2 {
					t.Errorf("%s, %s: %d of %d connections are open, want %d", name, place, open, len(opened), test.open)
				}
				if conn != nil {
					conn.Close()
				}
			})
		}
	}
}

// If an interceptor begins a transaction and forgets it, the pool does not get
// the connection back.
func TestForgottenTransactionIsNotPooled(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	db := onePool(t, s, "", mysqlinit.WithInterceptor(clumsy{method: "ConnBeginTx"}))
	if _, err := db.Begin(); err == nil {
		t.Fatal("no error")
	}
	if got, _, err := readState(t.Context(), db); err != nil || got.inTransaction {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestConnectionsThatComeTooLateAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened, closed atomic.Int32
		parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) {
			time.Sleep(time.Duration(opened.Add(1)) * time.Second)
			return &fakeConn{exec: func(context.Context) error { return nil }, onClose: func() { closed.Add(1) }}, nil
		}}
		hedge := connecting{connect: func(ctx context.Context, c driver.Connector) (driver.Conn, error) {
			ctx = context.WithoutCancel(ctx)
			for range 2 {
				go func() { _, _ = c.Connect(ctx) }()
			}
			time.Sleep(1500 * time.Millisecond)
			return nil, errors.New("given up")
		}}
		if _, err := wrap(t, parent, mysqlinit.WithInterceptor(hedge)).Connect(t.Context()); err == nil || err.Error() != "given up" {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if opened.Load() != 2 || closed.Load() != 2 {
			t.Errorf("opened %d connections, closed %d", opened.Load(), closed.Load())
		}
	})
}

func TestInterceptedConnectorClosesItsParent(t *testing.T) {
	parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) { return nil, errors.New("not here") }}
	// Close goes through every layer: here a Connector in a Connector, both with interceptors.
	inner := wrap(t, parent, mysqlinit.WithInterceptor(sqlmw.NullInterceptor{}))
	db := sql.OpenDB(wrap(t, inner, mysqlinit.WithInterceptor(sqlmw.NullInterceptor{}), mysqlinit.WithInterceptor(sqlmw.NullInterceptor{})))
	if err := db.Close(); err != nil || !parent.closed.Load() {
		t.Errorf("closed %v, %v", parent.closed.Load(), err)
	}
}

func TestNoNilContextReachesAnInterceptor(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	var log callLog
	// The outer interceptor passes and returns nil contexts.
	db := open(t, s.DSN(testserver.Root, "guard=true"),
		mysqlinit.WithInterceptor(forgetful{recorder{name: "a", log: &log}}), mysqlinit.WithInterceptor(recorder{name: "b", log: &log}))
	use := func() error {
		conn, err := db.Conn(t.Context())
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Raw(legacyUse)
	}
	if err := use(); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRow("SELECT ?", 1).Scan(new(int)); err != nil {
		t.Error(err)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
	calls := log.take()
	for _, method := range []string{"StmtClose", "Commit", "Rollback", "RowsNext", "RowsClose", "Prepare", "Connect"} {
		if !strings.Contains(calls, "b."+method) {
			t.Errorf("%s was not called", method)
		}
	}
	if len(log.nils) > 0 {
		t.Errorf("nil contexts: %q", log.nils)
	}
}

// legacyUse calls the methods that take no context.
func legacyUse(raw any) error {
	conn := raw.(driver.Conn)
	for _, query := range []bool{false, true} {
		stmt, err := conn.Prepare("SELECT 1")
		if err != nil {
			return err
		}
		if query {
			//lint:ignore SA1019 programs still call it
			rows, err := stmt.Query(nil)
			if err != nil {
				return err
			}
			if err := errors.Join(rows.Next(make([]driver.Value, 1)), rows.Close()); err != nil {
				return err
			}
		} else {
			//lint:ignore SA1019 programs still call it
			if _, err := stmt.Exec(nil); err != nil {
				return err
			}
		}
		if err := stmt.Close(); err != nil {
			return err
		}
	}
	for _, end := range []func(driver.Tx) error{driver.Tx.Commit, driver.Tx.Rollback} {
		//lint:ignore SA1019 programs still call it
		tx, err := conn.Begin()
		if err != nil {
			return err
		}
		if err := end(tx); err != nil {
			return err
		}
	}
	return nil
}

// forgetful passes and returns nil contexts.
type forgetful struct{ recorder }

func (f forgetful) ConnectorConnect(_ context.Context, c driver.Connector) (driver.Conn, error) {
	//lint:ignore SA1012 forgetful is for nil contexts
	return c.Connect(nil)
}
func (f forgetful) ConnBeginTx(ctx context.Context, c driver.ConnBeginTx, o driver.TxOptions) (context.Context, driver.Tx, error) {
	_, tx, err := f.recorder.ConnBeginTx(ctx, c, o)
	return nil, tx, err
}
func (f forgetful) ConnPrepareContext(ctx context.Context, c driver.ConnPrepareContext, q string) (context.Context, driver.Stmt, error) {
	_, stmt, err := f.recorder.ConnPrepareContext(ctx, c, q)
	return nil, stmt, err
}

// clumsy makes one method return the wrong thing: neither a value nor an error or,
// if err is not nil, err next to the value.
type clumsy struct {
	sqlmw.NullInterceptor
	method string
	err    error
}

func (c clumsy) ConnBeginTx(ctx context.Context, conn driver.ConnBeginTx, o driver.TxOptions) (context.Context, driver.Tx, error) {
	ctx, tx, err := c.NullInterceptor.ConnBeginTx(ctx, conn, o)
	return clumsily(c, "ConnBeginTx", ctx, tx, err)
}
func (c clumsy) ConnPrepareContext(ctx context.Context, conn driver.ConnPrepareContext, q string) (context.Context, driver.Stmt, error) {
	ctx, stmt, err := c.NullInterceptor.ConnPrepareContext(ctx, conn, q)
	return clumsily(c, "ConnPrepareContext", ctx, stmt, err)
}
func (c clumsy) ConnQueryContext(ctx context.Context, conn driver.QueryerContext, q string, args []driver.NamedValue) (context.Context, driver.Rows, error) {
	ctx, rows, err := c.NullInterceptor.ConnQueryContext(ctx, conn, q, args)
	return clumsily(c, "ConnQueryContext", ctx, rows, err)
}
func (c clumsy) StmtQueryContext(ctx context.Context, s driver.StmtQueryContext, q string, args []driver.NamedValue) (context.Context, driver.Rows, error) {
	ctx, rows, err := c.NullInterceptor.StmtQueryContext(ctx, s, q, args)
	return clumsily(c, "StmtQueryContext", ctx, rows, err)
}
func (c clumsy) ConnExecContext(ctx context.Context, conn driver.ExecerContext, q string, args []driver.NamedValue) (driver.Result, error) {
	result, err := conn.ExecContext(ctx, q, args)
	_, result, err = clumsily(c, "ConnExecContext", ctx, result, err)
	return result, err
}
func (c clumsy) StmtExecContext(ctx context.Context, s driver.StmtExecContext, _ string, args []driver.NamedValue) (driver.Result, error) {
	result, err := s.ExecContext(ctx, args)
	_, result, err = clumsily(c, "StmtExecContext", ctx, result, err)
	return result, err
}

func clumsily[T any](c clumsy, method string, ctx context.Context, value T, err error) (context.Context, T, error) {
	switch {
	case method != c.method || err != nil:
	case c.err != nil:
		return ctx, value, c.err
	default:
		var nothing T
		return ctx, nothing, nil
	}
	return ctx, value, err
}

func TestClumsyInterceptorsLeaveNothingBehind(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	boom := errors.New("boom")
	use := map[string]func(*sql.Conn) error{
		"ConnBeginTx":        func(c *sql.Conn) error { _, err := c.BeginTx(context.Background(), nil); return err },
		"ConnPrepareContext": func(c *sql.Conn) error { _, err := c.PrepareContext(context.Background(), "SELECT 1"); return err },
		"ConnQueryContext":   func(c *sql.Conn) error { return c.QueryRowContext(context.Background(), "SELECT 1").Scan(new(int)) },
		"StmtQueryContext":   func(c *sql.Conn) error { return c.QueryRowContext(context.Background(), "SELECT ?", 1).Scan(new(int)) },
		"ConnExecContext":    func(c *sql.Conn) error { _, err := c.ExecContext(context.Background(), "DO 1"); return err },
		"StmtExecContext":    func(c *sql.Conn) error { _, err := c.ExecContext(context.Background(), "DO ?", 1); return err },
	}
	for method, use := range use {
		for _, nextTo := range []error{nil, boom} {
			db := open(t, s.DSN(testserver.Root, ""), mysqlinit.WithInterceptor(sqlmw.NullInterceptor{}), mysqlinit.WithInterceptor(clumsy{method: method, err: nextTo}))
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			err = use(conn)
			if nextTo == nil && (err == nil || !strings.Contains(err.Error(), "clumsy: its "+method+" returned neither")) || nextTo != nil && err != nextTo {
				t.Errorf("%s, error %v: got %v", method, nextTo, err)
			}
			if nextTo != nil {
				// The connection below is not busy, and has no open transaction, statement or result.
				err := conn.Raw(func(raw any) error {
					below := raw.(interface{ Unwrap() driver.Conn }).Unwrap()
					if !below.(driver.Validator).IsValid() {
						t.Errorf("%s: the connection is busy", method)
					}
					rows, err := below.(driver.QueryerContext).QueryContext(context.Background(), "SELECT @@in_transaction", nil)
					if err != nil {
						return err
					}
					defer rows.Close()
					got := make([]driver.Value, 1)
					if err := rows.Next(got); err != nil || fmt.Sprint(got[0]) != "0" {
						t.Errorf("%s: a transaction is open: %s, %v", method, got, err)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
			if nextTo != nil {
				wantNoPreparedStatement(t, s)
			}
			conn.Close()
			db.Close()
		}
	}
}

// wantNoPreparedStatement waits until the server has no prepared statement. The
// server counts those of all sessions, even of a session that is just ending.
func wantNoPreparedStatement(t *testing.T, s *testserver.Server) {
	t.Helper()
	plain, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var n int
		if err := plain.QueryRow("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'").Scan(new(string), &n); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d statements are open", n)
		}
	}
}

// sqlmw hides parts of the MySQL driver. WithInterceptor documents which.
func TestUnwrapReachesWhatSqlmwHides(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	db := open(t, s.DSN(testserver.Root, "multiStatements=true"), mysqlinit.WithInterceptor(sqlmw.NullInterceptor{}))
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const twice = "CREATE TEMPORARY TABLE a (id INT); INSERT INTO a VALUES (1), (2)"
	err = conn.Raw(func(raw any) error {
		if name := typeName(raw); !strings.Contains(name, "mysqlinit.") {
			t.Errorf("Raw shows a %s", name)
		}
		result, err := raw.(driver.ExecerContext).ExecContext(t.Context(), "DO 1", nil)
		if err != nil {
			return err
		}
		if _, ok := result.(mysql.Result); ok {
			t.Error("sqlmw shows mysql.Result now: change WithInterceptor's doc comment")
		}
		below := raw.(interface{ Unwrap() driver.Conn }).Unwrap()
		if name := typeName(below); name != "*mysql.mysqlConn" {
			t.Errorf("Unwrap gives a %s", name)
		}
		result, err = below.(driver.ExecerContext).ExecContext(t.Context(), twice, nil)
		if err != nil {
			return err
		}
		if rows := result.(mysql.Result).AllRowsAffected(); len(rows) != 2 || rows[1] != 2 {
			t.Errorf("AllRowsAffected %v", rows)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// The guard alone hides nothing.
	guardedDB := onePool(t, s, guarded)
	guardedConn, err := guardedDB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer guardedConn.Close()
	err = guardedConn.Raw(func(raw any) error {
		result, err := raw.(driver.ExecerContext).ExecContext(t.Context(), "DO 1", nil)
		if _, ok := result.(mysql.Result); !ok {
			t.Errorf("the guard's result is a %T", result)
		}
		if name := typeName(raw.(interface{ Unwrap() driver.Conn }).Unwrap()); name != "*mysql.mysqlConn" {
			t.Errorf("Unwrap gives a %s", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestInterceptorsOnEveryWayIn(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	var log callLog
	i := mysqlinit.WithInterceptor(recorder{name: "a", log: &log})
	for name, c := range waysIn(t, s.DSN(testserver.Root, ""), i) {
		db := sql.OpenDB(c)
		wantSession(t, db, "READ-COMMITTED", "ROW")
		if calls := log.take(); !strings.HasPrefix(calls, "a.Connect a.Query") {
			t.Errorf("%s: called %s", name, calls)
		}
		db.Close()
	}
	if _, err := mysqlinit.NewDriver(mysqlinit.WithInterceptor(nil)); err == nil || !strings.Contains(err.Error(), "WithInterceptor(nil)") {
		t.Errorf("WithInterceptor(nil): %v", err)
	}
}

// dropping begins transactions, and returns an error instead of them.
type dropping struct{ sqlmw.NullInterceptor }

func (dropping) ConnBeginTx(ctx context.Context, c driver.ConnBeginTx, o driver.TxOptions) (context.Context, driver.Tx, error) {
	_, err := c.BeginTx(ctx, o)
	return ctx, nil, errors.Join(err, errors.New("dropped"))
}

func TestGuardUnderInterceptors(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	db := onePool(t, s, guarded, mysqlinit.WithInterceptor(dropping{}))
	for name, drift := range map[string]func() error{
		"SET":   func() error { _, err := db.Exec("SET SESSION tx_isolation = 'SERIALIZABLE'"); return err },
		"BEGIN": func() error { _, err := db.Exec("BEGIN"); return err },
		"a transaction that the interceptor drops": func() error {
			if _, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable}); err == nil || err.Error() != "dropped" {
				return fmt.Errorf("got %w", err)
			}
			return nil
		},
	} {
		if err := drift(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, _, err := readState(t.Context(), db); err != nil || got != promised {
			t.Errorf("after %s: got %+v, %v", name, got, err)
		}
	}
}

func TestInterceptorsAllocateNoMoreThanSqlmw(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	ours := open(t, s.DSN(testserver.Root, ""), mysqlinit.WithInterceptor(sqlmw.NullInterceptor{}))
	c, err := sqlmw.Driver(&mysql.MySQLDriver{}, sqlmw.NullInterceptor{}).(driver.DriverContext).OpenConnector(s.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	sqlmwAlone := sql.OpenDB(c)
	defer sqlmwAlone.Close()
	plain, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	without, alone, intercepted := allocations(t, plain), allocations(t, sqlmwAlone), allocations(t, ours)
	for name := range alone {
		t.Logf("%s: %v allocations without an interceptor, %v with one", name, without[name], intercepted[name])
		if intercepted[name] > alone[name] {
			t.Errorf("%s: %v allocations, with sqlmw alone %v", name, intercepted[name], alone[name])
		}
	}
}
