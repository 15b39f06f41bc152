package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/go-sql-driver/mysql"
	"github.com/ngrok/sqlmw"

	"github.com/mysqlinit/mysqlinit/internal/driverconn"
	"github.com/mysqlinit/mysqlinit/internal/session"
)

// Connector opens connections that are prepared before anyone uses them. It is
// safe for concurrent use. [NewConnector], [Wrap] and [Driver.OpenConnector] make
// one.
type Connector struct {
	parent       driver.Connector
	origin       origin // of parent
	driver       *Driver
	session      *session.Session
	limit        *timeLimit // of connecting and preparing
	guard        *guard     // nil without WithGuard
	interceptors []sqlmw.Interceptor
}

var (
	_ driver.Connector = (*Connector)(nil)
	_ io.Closer        = (*Connector)(nil)
)

// NewConnector returns a Connector for a private copy of cfg. DSN keys of this
// package in cfg.Params mean what they mean in a DSN. transaction_isolation,
// tx_isolation and binlog_format in cfg.Params choose the session's isolation
// level and binlog format. The driver sends the rest of cfg.Params, and our SET
// follows. Our SET also overrides what a BeforeConnect callback makes of these
// variables for one connection. An option that contradicts cfg.Params is an
// error.
func NewConnector(cfg *mysql.Config, opts ...Option) (*Connector, error) {
	if cfg == nil {
		return nil, errors.New("mysqlinit: NewConnector: the Config is nil: use mysql.NewConfig or mysql.ParseDSN")
	}
	d, err := NewDriver(opts...)
	if err != nil {
		return nil, err
	}
	cfg = cfg.Clone()
	given := len(cfg.Params)
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
	if ours.changedByCallback && given > 0 && len(cfg.Params) == 0 {
		parent = emptiedParams{cfg, parent}
	}
	return d.connector(parent, ours)
}

// emptiedParams connects with a separate Params map for each connection, because
// a BeforeConnect callback can write to it. We have taken all entries out of the
// caller's map, and Config.Clone does not copy an empty map: the callbacks of two
// connections would write to the same one.
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

// Wrap returns a Connector that prepares the connections of another connector,
// such as a cloud provider's dialer, a tracing wrapper or a test's fake. The
// parent must speak MySQL. Options alone choose the session: the parent's DSN is
// not read, and a key of this package in it goes to the server as a variable.
// Close of the Connector closes the parent if that is an [io.Closer].
//
// A parent that has a guard is an error: give [WithGuard] to Wrap instead. If a
// wrapper hides that guard, Connect returns the error.
func Wrap(parent driver.Connector, opts ...Option) (*Connector, error) {
	if parent == nil {
		return nil, errors.New("mysqlinit: Wrap: the connector is nil")
	}
	if ours, ok := parent.(*Connector); ok && ours.guard != nil {
		return nil, errGuardBelow
	}
	d, err := NewDriver(opts...)
	if err != nil {
		return nil, err
	}
	return d.connector(parent, params{multiStatements: true})
}

// connector combines the driver's presets with what the DSN chose.
func (d *Driver) connector(parent driver.Connector, ours params) (*Connector, error) {
	s := d.presets.overriddenBy(ours.settings)
	if err := s.check(); err != nil {
		return nil, err
	}
	c := &Connector{
		parent:       parent,
		origin:       ours.origin,
		driver:       d,
		session:      session.New(sessionConfig(s, ours)),
		limit:        &timeLimit{timeout: s.connectTimeoutOver(ours.dialTimeout)},
		interceptors: s.interceptors,
	}
	if s.guard.value {
		c.guard = newGuard(c.session, c.limit, ours)
	}
	return c, nil
}

// sessionConfig says what a session has to become.
func sessionConfig(s settings, ours params) session.Config {
	return session.Config{
		Isolation:    s.level(),
		Binlog:       s.binlog.value.config(),
		LevelAfter:   ours.levelAfter,
		Variables:    ours.variables,
		SentByDriver: ours.sentByDriver,
		InitCommands: s.initCommands,
		Multi:        ours.multiStatements,
		Verify:       s.verify.value,
		Logger:       s.loggerOrNone(),
	}
}

// Driver returns a driver with the same options, so that wrappers which open it
// again keep the preparation.
func (c *Connector) Driver() driver.Driver { return c.driver }

// Close closes the parent connector if it is an [io.Closer]. [sql.DB.Close]
// calls it.
func (c *Connector) Close() error {
	if closer, ok := c.parent.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// Connect opens a connection and prepares its session. On any failure the
// connection is closed. Its errors are:
//
//   - what the parent's own Connect or an interceptor returned, unchanged
//   - an [*InitError] if the preparation failed
//   - the context's error if ctx has ended
//   - an error whose Timeout method returns true if connectTimeout has ended
//
// No error is [driver.ErrBadConn]. Connect returns in time even if a TLS callback
// or a dialer ignores its context. The exception is a dialer registered with the
// MySQL driver as "tcp" or "unix".
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	if len(c.interceptors) > 0 {
		return connectIntercepted(ctx, c, c.interceptors, c.connectPrepared)
	}
	return c.connectPrepared(ctx)
}

// connectPrepared is Connect without the interceptors.
func (c *Connector) connectPrepared(ctx context.Context) (driver.Conn, error) {
	limited, cancel := c.limit.on(ctx)
	defer cancel()
	var conn driver.Conn
	var err error
	p := new(session.Progress)
	if c.origin == driverAlone {
		conn, err = c.connect(limited, p)
	} else {
		conn, err = await(limited, func() (driver.Conn, error) { return c.connect(limited, p) })
	}
	if err == nil {
		return conn, nil
	}
	if _, answered := errors.AsType[*mysql.MySQLError](err); ended(limited) != nil && !answered {
		if err := ended(ctx); err != nil {
			return nil, err
		}
		return nil, &timeoutError{after: c.limit.timeout, phase: p.Phase()}
	}
	return nil, err
}

func (c *Connector) connect(ctx context.Context, p *session.Progress) (driver.Conn, error) {
	conn, err := c.connectParent(ctx)
	if err != nil {
		if !isNil(conn) {
			conn.Close()
		}
		if errors.Is(err, driver.ErrBadConn) || errors.Is(err, driverconn.ErrMalformed) {
			return nil, initError(&session.Failure{Reason: session.PhaseConnect.Failed(), Err: err})
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
	if c.guard != nil {
		if methods, err = withAllMethods(conn); err != nil {
			return nil, fmt.Errorf("mysqlinit: WithGuard: the wrapped connector's connections %w; leave the guard out, or wrap this connector in that one instead", err)
		}
	}
	var guardBelow *bool
	if c.origin == foreign {
		guardBelow = new(bool)
		ctx = context.WithValue(ctx, preparation{}, guardBelow)
	}
	form, failure := c.session.Prepare(ctx, conn, p)
	switch {
	case failure != nil:
		return nil, initError(failure)
	case guardBelow != nil && *guardBelow:
		return nil, errGuardBelow
	}
	prepared = true
	if c.guard != nil {
		return c.guard.wrap(methods, form), nil
	}
	return conn, nil
}

func (c *Connector) connectParent(ctx context.Context) (conn driver.Conn, err error) {
	if c.origin >= driverWithTLSConfig { // otherwise the user's code takes part, and the user wants to see its panics
		defer driverconn.RecoverMalformed(&err)
	}
	return c.parent.Connect(ctx)
}
