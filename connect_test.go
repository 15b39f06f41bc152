package mysqlinit_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// fakeConnector connects by calling connect.
type fakeConnector struct {
	connect func(ctx context.Context) (driver.Conn, error)
	calls   atomic.Int32
	closed  atomic.Bool
}

func (f *fakeConnector) Connect(ctx context.Context) (driver.Conn, error) {
	f.calls.Add(1)
	return f.connect(ctx)
}
func (f *fakeConnector) Driver() driver.Driver { return &mysql.MySQLDriver{} }
func (f *fakeConnector) Close() error          { f.closed.Store(true); return nil }

// fakeConn runs exec for each statement, and records that it was closed.
type fakeConn struct {
	driver.Conn
	exec    func(ctx context.Context) error
	onClose func()
	closed  atomic.Bool
}

func (c *fakeConn) ExecContext(ctx context.Context, _ string, _ []driver.NamedValue) (driver.Result, error) {
	return driver.ResultNoRows, c.exec(ctx)
}
func (c *fakeConn) Close() error {
	c.closed.Store(true)
	if c.onClose != nil {
		c.onClose()
	}
	return nil
}

func wrap(t *testing.T, parent driver.Connector, opts ...mysqlinit.Option) *mysqlinit.Connector {
	t.Helper()
	c, err := mysqlinit.Wrap(parent, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConnectClosesWhenPreparationFails(t *testing.T) {
	for name, exec := range map[string]func(context.Context) error{
		"error":    func(context.Context) error { return io.ErrUnexpectedEOF },
		"bad conn": func(context.Context) error { return driver.ErrBadConn },
		"panic":    func(context.Context) error { panic("boom") },
		"exit":     func(context.Context) error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			conn := &fakeConn{exec: exec}
			parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) { return conn, nil }}
			defer func() {
				if p := recover(); (p != nil) != (name == "panic") {
					t.Errorf("recovered %v", p)
				}
				if !conn.closed.Load() {
					t.Error("the connection was not closed")
				}
			}()
			got, err := wrap(t, parent).Connect(t.Context())
			if got != nil || err == nil || errors.Is(err, driver.ErrBadConn) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// The driver panics on a malformed answer. database/sql connects on goroutines
// of its own, where nobody could recover the panic.
func TestMalformedAnswerIsAnError(t *testing.T) {
	var answer []byte
	conn := &fakeConn{exec: func(context.Context) error { return fmt.Errorf("status %d", answer[3]) }}
	parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) { return conn, nil }}
	_, err := wrap(t, parent).Connect(t.Context())
	initErr, ok := errors.AsType[*mysqlinit.InitError](err)
	if _, panicked := errors.AsType[runtime.Error](err); !ok || !panicked || !strings.Contains(initErr.Error(), "malformed") || !conn.closed.Load() {
		t.Errorf("got %v, closed %v", err, conn.closed.Load())
	}
}

func TestOneConnectPerCall(t *testing.T) {
	for _, err := range []error{driver.ErrBadConn, errors.New("refused")} {
		parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) { return nil, err }}
		db := sql.OpenDB(wrap(t, parent))
		if got := db.Ping(); got == nil || errors.Is(got, driver.ErrBadConn) {
			t.Errorf("got %v", got)
		}
		if n := parent.calls.Load(); n != 1 {
			t.Errorf("%v: connected %d times", err, n)
		}
		db.Close()
		if !parent.closed.Load() {
			t.Error("the parent was not closed")
		}
	}
}

func TestParentErrorsComeBackUnchanged(t *testing.T) {
	denied := &mysql.MySQLError{Number: 1045, Message: "Access denied"}
	parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) { return nil, denied }}
	if _, err := wrap(t, parent).Connect(t.Context()); err != error(denied) {
		t.Errorf("got %v", err)
	}
	nothing := &fakeConnector{connect: func(context.Context) (driver.Conn, error) { return nil, nil }}
	if _, err := wrap(t, nothing).Connect(t.Context()); err == nil {
		t.Error("a connector that returns neither a connection nor an error: no error")
	}
	if _, err := mysqlinit.Wrap(nil); err == nil {
		t.Error("Wrap(nil): no error")
	}
	if _, err := mysqlinit.NewConnector(nil); err == nil {
		t.Error("NewConnector(nil): no error")
	}
}

func TestParentsConnectionNextToAnErrorIsClosed(t *testing.T) {
	conn := &fakeConn{}
	refused := errors.New("refused")
	parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) { return conn, refused }}
	if got, err := wrap(t, parent).Connect(t.Context()); got != nil || err != refused || !conn.closed.Load() {
		t.Errorf("got %v, %v, closed %v", got, err, conn.closed.Load())
	}
	// Many wrappers return a nil pointer along with an error.
	parent.connect = func(context.Context) (driver.Conn, error) { return (*fakeConn)(nil), refused }
	if got, err := wrap(t, parent).Connect(t.Context()); got != nil || err != refused {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestServersErrorWinsOverAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) {
		return &fakeConn{exec: func(context.Context) error {
			cancel()
			return &mysql.MySQLError{Number: 1231, Message: "no"}
		}}, nil
	}}
	_, err := wrap(t, parent).Connect(ctx)
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != 1231 {
		t.Errorf("got %v", err)
	}
}

func TestConnectTimeoutNamesKeyDurationAndPhase(t *testing.T) {
	never := make(chan struct{}) // holds a dialer and a server that ignore their context
	hang := func(context.Context) error { <-never; return nil }
	for _, phase := range []string{"dial", "variables"} {
		synctest.Test(t, func(t *testing.T) {
			never = make(chan struct{})
			opened, closed := new(atomic.Int32), new(atomic.Int32)
			parent := &fakeConnector{connect: func(ctx context.Context) (driver.Conn, error) {
				opened.Add(1)
				conn := &fakeConn{exec: hang, onClose: func() { closed.Add(1) }}
				if phase == "dial" {
					conn.exec = func(context.Context) error { return nil }
					return conn, hang(ctx)
				}
				return conn, nil
			}}
			c := wrap(t, parent, mysqlinit.WithConnectTimeout(10*time.Second))
			start := time.Now()
			_, err := c.Connect(context.Background())
			if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
				t.Errorf("took %v", took)
			}
			timeout, ok := err.(interface{ Timeout() bool })
			if !ok || !timeout.Timeout() || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v, want a timeout", err)
			}
			for _, want := range []string{"connectTimeout", "10s", phase} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			// If the caller's context ends first, the error is that context's.
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if _, err := c.Connect(ctx); err != context.DeadlineExceeded {
				t.Errorf("got %v, want the caller's error", err)
			}
			// Connections that arrive after that are closed.
			close(never)
			synctest.Wait()
			if opened.Load() != 2 || closed.Load() != 2 {
				t.Errorf("opened %d connections, closed %d", opened.Load(), closed.Load())
			}
		})
	}
}

// lateContext is past its deadline, but its timer has not fired yet.
type lateContext struct{ context.Context }

func (lateContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

func TestDialersOwnTimeoutIsTheCallersDeadline(t *testing.T) {
	parent := &fakeConnector{connect: func(context.Context) (driver.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}}
	if _, err := wrap(t, parent).Connect(lateContext{t.Context()}); err != context.DeadlineExceeded {
		t.Errorf("got %v, want the caller's error", err)
	}
}

func TestConnectTimeoutDefaultIsRaisedByTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := mysql.NewConfig()
		cfg.Timeout = time.Minute
		cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		for want, opts := range map[time.Duration][]mysqlinit.Option{
			time.Minute:     nil,
			5 * time.Second: {mysqlinit.WithConnectTimeout(5 * time.Second)},
		} {
			c, err := mysqlinit.NewConnector(cfg, opts...)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if _, err := c.Connect(context.Background()); err == nil {
				t.Error("no error")
			}
			if took := time.Since(start); took != want {
				t.Errorf("took %v, want %v", took, want)
			}
		}
	})
}

func TestSilentServerEndsWithinConnectTimeout(t *testing.T) {
	listener, err := testserver.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	db := open(t, "u:p@tcp("+listener.Addr().String()+")/x?connectTimeout=200ms")
	ended := make(chan error, 1)
	go func() { ended <- db.Ping() }()
	select {
	case err := <-ended:
		if timeout, ok := err.(interface{ Timeout() bool }); !ok || !timeout.Timeout() {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("still connecting after 100 × connectTimeout")
	}
}

func TestPoolServesOthersWhileOneConnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent := &fakeConnector{}
		parent.connect = func(ctx context.Context) (driver.Conn, error) {
			if parent.calls.Load() > 1 {
				<-ctx.Done() // the server accepts and never answers
				return nil, ctx.Err()
			}
			return &fakeConn{exec: func(context.Context) error { return nil }}, nil
		}
		db := sql.OpenDB(wrap(t, parent))
		defer db.Close()
		held, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hanging := make(chan error, 1)
		go func() { hanging <- db.PingContext(context.Background()) }()
		synctest.Wait()
		held.Close()
		for range 3 {
			if _, err := db.ExecContext(t.Context(), "DO 1"); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err := <-hanging:
			t.Fatalf("the connect has not hung: %v", err)
		default:
		}
		start := time.Now()
		if err := <-hanging; !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != mysqlinit.DefaultConnectTimeout {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestBeforeConnectHasItsOwnParams(t *testing.T) {
	for kept, params := range []map[string]string{
		{"isolation": "serializable"},
		{"isolation": "serializable", "time_zone": "'UTC'"},
	} {
		t.Run(fmt.Sprintf("%d kept", kept), func(t *testing.T) {
			var calls atomic.Int32
			cfg := mysql.NewConfig()
			cfg.Params = params
			cfg.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }
			apply(t, cfg, mysql.BeforeConnect(func(_ context.Context, c *mysql.Config) error {
				if len(c.Params) != kept {
					t.Errorf("two connections share Params: %v", c.Params)
				}
				c.Params[fmt.Sprint("connection_", calls.Add(1))] = "1"
				return nil
			}))
			c, err := mysqlinit.NewConnector(cfg)
			if err != nil {
				t.Fatal(err)
			}
			// One after another, since a shared map would have grown; and at once, for
			// the race detector.
			var all sync.WaitGroup
			for range 8 {
				_, _ = c.Connect(t.Context())
				all.Go(func() { _, _ = c.Connect(t.Context()) })
			}
			all.Wait()
		})
	}
}
