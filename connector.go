package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/ngrok/sqlmw"
)

// Connector opens connections that are prepared before anyone uses them. It is
// safe for concurrent use, and made by [NewConnector], [Wrap] or
// [Driver.OpenConnector].
type Connector struct {
	parent         driver.Connector
	driverConnects bool // the parent is the MySQL driver's, and nothing but a TLS config has code of the user's
	heedsContext   bool // the parent's Connect ends with its context
	driver         *Driver
	session        *session
	interceptors   []sqlmw.Interceptor
}

var (
	_ driver.Connector = (*Connector)(nil)
	_ io.Closer        = (*Connector)(nil)
)

// NewConnector returns a Connector for a private copy of cfg. DSN keys of this
// package in cfg.Params mean what they mean in a DSN, and transaction_isolation,
// tx_isolation and binlog_format there choose the session's. The driver sends
// the rest of cfg.Params, and our SET follows; it also overrides what a
// BeforeConnect callback makes of these variables for one connection. An option
// that contradicts cfg.Params is an error.
func NewConnector(cfg *mysql.Config, opts ...Option) (*Connector, error) {
	if cfg == nil {
		return nil, errors.New("mysqlinit: NewConnector: the Config is nil: use mysql.NewConfig or mysql.ParseDSN")
	}
	d, err := NewDriver(opts...)
	if err != nil {
		return nil, err
	}
	cfg = cfg.Clone()
	params := len(cfg.Params)
	ours, err := takeParams(cfg)
	if err != nil {
		return nil, err
	}
	if err := contradiction(d.presets, ours.settings); err != nil {
		return nil, err
	}
	parent, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	if ours.changedByCallback && params > 0 && len(cfg.Params) == 0 {
		parent = emptiedParams{cfg, parent}
	}
	return d.connector(parent, ours)
}

// emptiedParams connects with a Params map of the connection's own, for a
// BeforeConnect callback. We have taken all entries out of the caller's, and of
// an empty map Config.Clone makes no copy: the callbacks of two connections
// would write to one map.
type emptiedParams struct {
	cfg *mysql.Config
	driver.Connector
}

func (e emptiedParams) Connect(ctx context.Context) (driver.Conn, error) {
	cfg := e.cfg.Clone()
	cfg.Params = make(map[string]string)
	parent, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return parent.Connect(ctx)
}

// Wrap returns a Connector that prepares the connections of another, such as a
// cloud provider's dialer, a tracing wrapper or a test's fake. The parent must
// speak MySQL. Options alone choose the session: the parent's DSN is not read, and
// a key of this package in it goes to the server as a variable. Close of the Connector closes a parent that is an [io.Closer].
func Wrap(parent driver.Connector, opts ...Option) (*Connector, error) {
	if parent == nil {
		return nil, errors.New("mysqlinit: Wrap: the connector is nil")
	}
	if ours, ok := parent.(*Connector); ok && ours.session.guard {
		return nil, errors.New("mysqlinit: Wrap: the connector has a guard of its own, which would restore its session and not this one's: give WithGuard to Wrap instead")
	}
	d, err := NewDriver(opts...)
	if err != nil {
		return nil, err
	}
	return d.connector(parent, params{multiStatements: true})
}

// connector puts a parent under the driver's presets and what its DSN chose.
func (d *Driver) connector(parent driver.Connector, ours params) (*Connector, error) {
	s := d.presets.overlay(ours.settings)
	if err := s.check(); err != nil {
		return nil, err
	}
	return &Connector{
		parent:         parent,
		driverConnects: ours.driverConnects,
		heedsContext:   ours.heedsContext,
		driver:         d,
		session:        newSession(s, ours),
		interceptors:   s.interceptors,
	}, nil
}

// Driver returns a driver with the same options, so that wrappers which open
// it again keep the preparation.
func (c *Connector) Driver() driver.Driver { return c.driver }

// Close closes the parent connector where it is an [io.Closer]. [sql.DB.Close]
// calls it.
func (c *Connector) Close() error {
	if closer, ok := c.parent.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// Connect opens a connection and prepares its session. On any failure the
// connection is closed. What the parent's own Connect returned comes back as it
// was, and so does an interceptor's error; a failed preparation is an
// [*InitError]; when ctx has ended, its error; when connectTimeout has, one
// whose Timeout method returns true. No error is [driver.ErrBadConn]. Code in a TLS config
// cannot hold Connect for longer, nor can a dialer that ignores its context, unless it is
// registered with the MySQL driver under the very name "tcp" or "unix".
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	if len(c.interceptors) > 0 {
		return c.connectIntercepted(ctx)
	}
	return c.connectPrepared(ctx)
}

// connectPrepared is Connect without the interceptors.
func (c *Connector) connectPrepared(ctx context.Context) (driver.Conn, error) {
	bounded, cancel := c.session.bound(ctx)
	defer cancel()
	var conn driver.Conn
	var err error
	p := new(progress)
	if c.heedsContext {
		conn, err = c.connect(bounded, p)
	} else {
		conn, err = await(bounded, func() (driver.Conn, error) { return c.connect(bounded, p) })
	}
	if err == nil {
		return conn, nil
	}
	if _, answered := errors.AsType[*mysql.MySQLError](err); ended(bounded) != nil && !answered {
		if err := ended(ctx); err != nil {
			return nil, err
		}
		return nil, &timeoutError{after: c.session.timeout, phase: p.phase()}
	}
	return nil, err
}

// ended is ctx.Err, but looks at the clock as well: a dialer that is given the
// deadline may come back before the context's own timer has fired.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

func (c *Connector) connect(ctx context.Context, p *progress) (driver.Conn, error) {
	conn, err := c.connectParent(ctx)
	if err != nil {
		if !isNil(conn) {
			conn.Close()
		}
		if errors.Is(err, driver.ErrBadConn) || errors.Is(err, errMalformed) {
			return nil, newInitError("", phaseConnect.failed(), "", err)
		}
		return nil, err
	}
	if isNil(conn) {
		return nil, errors.New("mysqlinit: the wrapped connector returned neither a connection nor an error")
	}
	prepared := false
	defer func() {
		if !prepared { // also on a panic
			conn.Close()
		}
	}()
	var methods connMethods
	if c.session.guard {
		if methods, err = withAllMethods(conn); err != nil {
			return nil, fmt.Errorf("mysqlinit: WithGuard: the wrapped connector's connections %w; leave the guard out, or lay that connector over this one instead of wrapping it", err)
		}
	}
	f, err := c.session.prepare(ctx, conn, p)
	if err != nil {
		return nil, err
	}
	prepared = true
	if c.session.guard {
		return &guardedConn{connMethods: methods, session: c.session, form: f}, nil
	}
	return conn, nil
}

func (c *Connector) connectParent(ctx context.Context) (conn driver.Conn, err error) {
	if c.driverConnects { // else code of the user's takes part, whose panics are theirs to see
		defer recoverMalformed(&err)
	}
	return c.parent.Connect(ctx)
}

// connMethods are the methods of the MySQL driver's own connection, no more and
// no less, so that database/sql finds on a connection of ours what it finds on
// that one. sqlmw's connection has the same.
type connMethods interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
	execer
	queryer
}

// execer and queryer are the deprecated driver.Execer and driver.Queryer, which
// programs still use on what Conn.Raw shows, the former for mysql.Result.
type (
	execer interface {
		Exec(query string, args []driver.Value) (driver.Result, error)
	}
	queryer interface {
		Query(query string, args []driver.Value) (driver.Rows, error)
	}
)

// withAllMethods returns a connection's methods, or an error that names those
// which it lacks.
func withAllMethods(conn driver.Conn) (connMethods, error) {
	if methods, ok := conn.(connMethods); ok {
		return methods, nil
	}
	var missing []string
	have, want := reflect.TypeOf(conn), reflect.TypeFor[connMethods]()
	for i := range want.NumMethod() {
		if _, ok := have.MethodByName(want.Method(i).Name); !ok {
			missing = append(missing, want.Method(i).Name)
		}
	}
	return nil, fmt.Errorf("(%T) lack methods that the MySQL driver's have: %s", conn, strings.Join(missing, ", "))
}

// isNil also knows a nil pointer in an interface.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// grace is how long await lets an open finish that has noticed the end of its
// context, which the MySQL driver does at once.
const grace = 50 * time.Millisecond

// await runs open, but no longer than ctx lasts, though a dialer or a wrapped
// driver may not heed it: then open ends by itself, and its connection is closed.
func await(ctx context.Context, open func() (driver.Conn, error)) (driver.Conn, error) {
	type result struct {
		conn     driver.Conn
		err      error
		panicked any
	}
	results := make(chan result)
	abandoned := make(chan struct{})
	go func() {
		r := result{err: errors.New("mysqlinit: the goroutine that was connecting has exited")}
		defer func() {
			if r.panicked = recover(); r.panicked != nil {
				r.conn = nil
			}
			select {
			case results <- r:
			case <-abandoned:
				if r.conn != nil {
					r.conn.Close()
				}
			}
		}()
		r.conn, r.err = open()
	}()
	finish := func(r result) (driver.Conn, error) {
		if r.panicked != nil {
			panic(r.panicked) // in the caller's goroutine, where it can be recovered
		}
		return r.conn, r.err
	}
	select {
	case r := <-results:
		return finish(r)
	case <-ctx.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case r := <-results:
		return finish(r)
	case <-late.C:
		close(abandoned)
		return nil, ctx.Err()
	}
}
