//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"net"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
)

// cloud dials instances by name, as the dialers of cloud providers do.
type cloud struct {
	net.Dialer
	addresses map[string]string
	dials     atomic.Int32
}

func (c *cloud) Dial(ctx context.Context, instance string) (net.Conn, error) {
	c.dials.Add(1)
	return c.DialContext(ctx, "tcp", c.addresses[instance])
}

func registerCloud(dialer *cloud) {
	mysql.RegisterDialContext("cloud", func(ctx context.Context, instance string) (net.Conn, error) {
		return dialer.Dial(ctx, instance)
	})
}

func openCloud(database string) (*sql.DB, error) {
	return sql.Open("mysqlinit", "root@cloud(instance)/"+database) // was "mysql"
}

// openRotating asks for the password before each connection.
func openRotating(cfg *mysql.Config, password func(context.Context) (string, error)) (*sql.DB, error) {
	err := cfg.Apply(mysql.BeforeConnect(func(ctx context.Context, cfg *mysql.Config) (err error) {
		cfg.Passwd, err = password(ctx)
		return err
	}))
	if err != nil {
		return nil, err
	}
	connector, err := mysqlinit.NewConnector(cfg) // was mysql.NewConnector
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func TestCloudDialer(t *testing.T) {
	covers(t, "github.com/go-sql-driver/mysql")
	instances := &cloud{addresses: map[string]string{}}
	registerCloud(instances)
	defer mysql.DeregisterDialContext("cloud")
	database := func(dsn string) string {
		cfg, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		instances.addresses["instance"] = cfg.Addr
		return cfg.DBName
	}
	library[*sql.DB]{
		plain:    func(dsn string) (*sql.DB, error) { return openPlain("root@cloud(instance)/" + database(dsn)) },
		prepared: map[string]func(string) (*sql.DB, error){"cloud": func(dsn string) (*sql.DB, error) { return openCloud(database(dsn)) }},
		begin:    beginSQL,
		close:    (*sql.DB).Close,
	}.race(t)
	if want := int32(2 * len(servers)); instances.dials.Load() < want {
		t.Errorf("the dialer was asked %d times, want at least %d", instances.dials.Load(), want)
	}
}

// The account's password changes while the pool is in use.
func TestRotatingPassword(t *testing.T) {
	covers(t, "github.com/go-sql-driver/mysql")
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			database := s.database(t)
			s.exec(t, "CREATE USER rotating@'%' IDENTIFIED BY 'first'", "GRANT ALL ON *.* TO rotating@'%'")
			t.Cleanup(func() { s.exec(t, "DROP USER rotating@'%'") })
			cfg, err := mysql.ParseDSN("rotating@tcp(" + s.Addr + ")/" + database)
			if err != nil {
				t.Fatal(err)
			}
			password := "first"
			db, err := openRotating(cfg, func(context.Context) (string, error) { return password, nil })
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			tx, err := beginSQL(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.rollback()
			s.exec(t, "ALTER USER rotating@'%' IDENTIFIED BY 'second'")
			// The first connection is in use, so another is opened.
			err = db.Ping()
			if refused, ok := err.(*mysql.MySQLError); !ok || refused.Number != 1045 {
				t.Errorf("with the old password: %v, want the server's error 1045", err)
			}
			password = "second"
			another, err := beginSQL(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			defer another.rollback()
			another.lose(t, s, database, "READ-COMMITTED ROW", wantServerError, true)
			if stats := db.Stats(); stats.OpenConnections != 2 {
				t.Errorf("%d connections, want one for each password", stats.OpenConnections)
			}
		})
	}
}
