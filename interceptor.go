package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/ngrok/sqlmw"

	"github.com/mysqlinit/mysqlinit/internal/session"
)

// connectIntercepted connects through the user's interceptors, each wrapped with
// sqlmw around what is below it. prepared is the connector below all of them, and
// connect its Connect without interceptors.
func connectIntercepted(ctx context.Context, prepared driver.Connector, interceptors []sqlmw.Interceptor, connect connectFunc) (driver.Conn, error) {
	var connector driver.Connector = lowest{prepared, connect}
	for _, i := range slices.Backward(interceptors) {
		connector = layer{connector, i}
	}
	conn, err := connector.Connect(ctx)
	if errors.Is(err, driver.ErrBadConn) {
		return nil, initError(&session.Failure{Reason: "an interceptor's ConnectorConnect failed", Err: err})
	}
	return conn, err
}

type connectFunc func(context.Context) (driver.Conn, error)

// lowest is the prepared connector as the innermost interceptor sees it.
type lowest struct {
	driver.Connector
	connect connectFunc
}

func (l lowest) Connect(ctx context.Context) (driver.Conn, error) { return l.connect(ctx) }

// layer is a connector wrapped in an interceptor.
type layer struct {
	driver.Connector
	interceptor sqlmw.Interceptor
}

// Connect wraps anew for each connection. That way it is known which connections
// were opened below, and they can be closed however the interceptor fails; sqlmw
// drops them.
func (l layer) Connect(ctx context.Context) (driver.Conn, error) {
	below := &openedBelow{Connector: l.Connector}
	kept := -1
	defer func() { below.end(kept) }() // also on a panic
	shim := &interceptor{Interceptor: l.interceptor}
	// sqlmw takes drivers only. No error: connectorDriver has none.
	over, _ := sqlmw.Driver(connectorDriver{below}, shim).(driver.DriverContext).OpenConnector("")
	conn, err := over.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if kept, err = below.under(shim.conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("mysqlinit: interceptor %T: its ConnectorConnect %w", l.interceptor, err)
	}
	lowest := shim.conn
	if inner, ok := lowest.(*interceptedConn); ok {
		lowest = inner.below
	}
	return &interceptedConn{connMethods: conn.(connMethods), shim: shim, below: lowest}, nil
}

// interceptedConn is sqlmw's connection, with a way to the one below all layers.
type interceptedConn struct {
	connMethods
	shim  *interceptor
	below driver.Conn
}

// Unwrap returns the connection below sqlmw. No interceptor sees what is sent there.
func (c *interceptedConn) Unwrap() driver.Conn { return c.below }

// IsValid keeps a connection out of the pool if an interceptor has lost something
// on it, which can be a transaction.
func (c *interceptedConn) IsValid() bool { return !c.shim.lostValue && c.connMethods.IsValid() }

// openedBelow is the connector that an interceptor sees. It remembers what it has
// opened. An interceptor can open several connections at once.
type openedBelow struct {
	driver.Connector
	mu     sync.Mutex
	opened []driver.Conn
	over   bool // ConnectorConnect has returned: what is opened from now on is closed
}

func (b *openedBelow) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := b.Connector.Connect(notNil(ctx))
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		conn.Close()
		return nil, errors.New("mysqlinit: an interceptor's ConnectorConnect has returned while it was still connecting")
	}
	b.opened = append(b.opened, conn)
	return conn, nil
}

// under returns which of the opened connections an interceptor has returned: conn
// itself, or one that conn seems to be a wrapper around.
func (b *openedBelow) under(conn driver.Conn) (index int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.opened) == 0 {
		return -1, errors.New("returned a connection that nothing has prepared: it has to take one from the Connect of the connector that it is given")
	}
	sameType := false
	for i, opened := range b.opened {
		for _, level := range levels(opened) {
			if t := reflect.TypeOf(level); t == reflect.TypeOf(conn) && t.Kind() == reflect.Pointer {
				if level == conn {
					return i, nil
				}
				sameType = true
			}
		}
	}
	if sameType {
		return -1, errors.New("returned another connection than it got from its connector, which nothing has prepared")
	}
	open := 0
	for i, opened := range b.opened {
		if len(b.opened) == 1 || !isClosed(opened) {
			open, index = open+1, i
		}
	}
	if open != 1 {
		return -1, fmt.Errorf("returned a wrapper, which does not show around which of %d connections: it has to close the others", open)
	}
	return index, nil
}

// levels returns a connection and what is below it: below all interceptors, and
// below a guard.
func levels(conn driver.Conn) []driver.Conn {
	all := []driver.Conn{conn}
	for range 2 {
		if wrapper, ok := conn.(interface{ Unwrap() driver.Conn }); ok {
			conn = wrapper.Unwrap()
			all = append(all, conn)
		}
	}
	return all
}

func isClosed(conn driver.Conn) bool {
	v, ok := conn.(driver.Validator)
	return ok && !v.IsValid()
}

// end closes what was opened, except the connection at an index.
func (b *openedBelow) end(kept int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	for i, conn := range b.opened {
		if i != kept {
			conn.Close()
		}
	}
}

// connectorDriver gives sqlmw a connector in the only form that sqlmw takes. Its
// Open connects through the same connector, so that nothing can go around it.
type connectorDriver struct{ connector driver.Connector }

func (d connectorDriver) OpenConnector(string) (driver.Connector, error) { return d.connector, nil }

func (d connectorDriver) Open(string) (driver.Conn, error) {
	return d.connector.Connect(context.Background())
}

// interceptor is a user's interceptor, kept to what sqlmw relies on: sqlmw passes
// nil contexts, drops a value that comes with an error, and wraps nil.
type interceptor struct {
	sqlmw.Interceptor
	conn      driver.Conn // what ConnectorConnect returned
	lostValue bool        // a method returned neither a value nor an error
}

func notNil(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// settle makes sure that a method returned either a value or an error. It lets go
// of a value that came with an error, and makes an error of neither.
func settle[T any](i *interceptor, method string, value T, err error, letGo func(T) error) error {
	switch nothing := isNil(value); {
	case err == nil && nothing:
		i.lostValue = true
		return fmt.Errorf("mysqlinit: interceptor %T: its %s returned neither a value nor an error", i.Interceptor, method)
	case err != nil && !nothing && letGo != nil:
		_ = letGo(value)
	}
	return err
}

func (i *interceptor) ConnectorConnect(ctx context.Context, c driver.Connector) (driver.Conn, error) {
	conn, err := i.Interceptor.ConnectorConnect(notNil(ctx), c)
	if err = settle(i, "ConnectorConnect", conn, err, nil); err != nil {
		return nil, err // layer.Connect closes
	}
	if _, err := withAllMethods(conn); err != nil {
		return nil, fmt.Errorf("mysqlinit: interceptor %T: its connections %w; a wrapper around a connection has to have them too", i.Interceptor, err)
	}
	i.conn = conn
	return conn, nil
}

func (i *interceptor) ConnBeginTx(ctx context.Context, c driver.ConnBeginTx, opts driver.TxOptions) (context.Context, driver.Tx, error) {
	ctx, tx, err := i.Interceptor.ConnBeginTx(notNil(ctx), c, opts)
	return ctx, tx, settle(i, "ConnBeginTx", tx, err, driver.Tx.Rollback)
}

func (i *interceptor) ConnPrepareContext(ctx context.Context, c driver.ConnPrepareContext, query string) (context.Context, driver.Stmt, error) {
	ctx, stmt, err := i.Interceptor.ConnPrepareContext(notNil(ctx), c, query)
	return ctx, stmt, settle(i, "ConnPrepareContext", stmt, err, driver.Stmt.Close)
}

func (i *interceptor) ConnExecContext(ctx context.Context, c driver.ExecerContext, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := i.Interceptor.ConnExecContext(notNil(ctx), c, query, args)
	return result, settle(i, "ConnExecContext", result, err, nil)
}

func (i *interceptor) ConnQueryContext(ctx context.Context, c driver.QueryerContext, query string, args []driver.NamedValue) (context.Context, driver.Rows, error) {
	ctx, rows, err := i.Interceptor.ConnQueryContext(notNil(ctx), c, query, args)
	return ctx, rows, settle(i, "ConnQueryContext", rows, err, driver.Rows.Close)
}

func (i *interceptor) StmtExecContext(ctx context.Context, stmt driver.StmtExecContext, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := i.Interceptor.StmtExecContext(notNil(ctx), stmt, query, args)
	return result, settle(i, "StmtExecContext", result, err, nil)
}

func (i *interceptor) StmtQueryContext(ctx context.Context, stmt driver.StmtQueryContext, query string, args []driver.NamedValue) (context.Context, driver.Rows, error) {
	ctx, rows, err := i.Interceptor.StmtQueryContext(notNil(ctx), stmt, query, args)
	return ctx, rows, settle(i, "StmtQueryContext", rows, err, driver.Rows.Close)
}

func (i *interceptor) ConnPing(ctx context.Context, c driver.Pinger) error {
	return i.Interceptor.ConnPing(notNil(ctx), c)
}

func (i *interceptor) StmtClose(ctx context.Context, stmt driver.Stmt) error {
	return i.Interceptor.StmtClose(notNil(ctx), stmt)
}

func (i *interceptor) RowsNext(ctx context.Context, rows driver.Rows, dest []driver.Value) error {
	return i.Interceptor.RowsNext(notNil(ctx), rows, dest)
}

func (i *interceptor) RowsClose(ctx context.Context, rows driver.Rows) error {
	return i.Interceptor.RowsClose(notNil(ctx), rows)
}

func (i *interceptor) TxCommit(ctx context.Context, tx driver.Tx) error {
	return i.Interceptor.TxCommit(notNil(ctx), tx)
}

func (i *interceptor) TxRollback(ctx context.Context, tx driver.Tx) error {
	return i.Interceptor.TxRollback(notNil(ctx), tx)
}
