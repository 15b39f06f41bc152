package mysqlinit

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"

	"github.com/go-sql-driver/mysql"
)

// DriverName is the name that this package registers with database/sql.
const DriverName = "mysqlinit"

func init() { sql.Register(DriverName, &Driver{}) }

// Driver opens prepared connections from a DSN. The zero Driver has the
// defaults: READ COMMITTED and [BinlogRow].
type Driver struct{ presets settings }

var (
	_ driver.Driver        = (*Driver)(nil)
	_ driver.DriverContext = (*Driver)(nil)
)

// NewDriver returns a driver with presets. A key of the DSN overrides its
// preset; init commands of the DSN run after those of the presets.
func NewDriver(opts ...Option) (*Driver, error) {
	presets, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	if err := presets.check(); err != nil {
		return nil, err
	}
	return &Driver{presets}, nil
}

// Register makes a driver with presets available to [sql.Open] under another
// name. It panics if an option is wrong or the name is taken.
//
// The name "mysql" is for libraries that open it and cannot be given another. It is
// free if the program is built so that the MySQL driver has another name:
//
//	go build -ldflags '-X github.com/go-sql-driver/mysql.driverName=mysql-plain'
func Register(name string, opts ...Option) {
	d, err := NewDriver(opts...)
	if err != nil {
		panic(err)
	}
	if name == "mysql" && slices.Contains(sql.Drivers(), name) {
		panic(errors.New(`mysqlinit: Register("mysql"): the name is taken, if not by an earlier Register then by the MySQL driver, which takes it unless the program is built with -ldflags '-X github.com/go-sql-driver/mysql.driverName=mysql-plain' (go test and go run take the same flag). Of several -ldflags the last counts`))
	}
	sql.Register(name, d)
}

// Open returns a pool of prepared connections. Like [sql.Open], it does not
// connect. An option that contradicts a key of the DSN is an error.
func Open(dsn string, opts ...Option) (*sql.DB, error) {
	d, err := NewDriver(opts...)
	if err != nil {
		return nil, err
	}
	cfg, ours, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if err := contradiction(d.presets, ours.settings); err != nil {
		return nil, err
	}
	c, err := d.open(cfg, ours)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// Open connects once. It is for programs that use a driver without database/sql,
// which calls [Driver.OpenConnector] instead.
func (d *Driver) Open(dsn string) (driver.Conn, error) {
	c, err := d.OpenConnector(dsn)
	if err != nil {
		return nil, err
	}
	return c.Connect(context.Background())
}

// OpenConnector reads a DSN. As with the MySQL driver, "" is a valid one. An error
// names the key that is wrong and the values it can have, and shows no value.
func (d *Driver) OpenConnector(dsn string) (driver.Connector, error) {
	cfg, ours, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	return d.open(cfg, ours)
}

func (d *Driver) open(cfg *mysql.Config, ours params) (driver.Connector, error) {
	parent, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return d.connector(parent, ours)
}
