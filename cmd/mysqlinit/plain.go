package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
)

// errNotAccepted stands for the MySQL driver's own error, which can quote the DSN
// with its password.
var errNotAccepted = errors.New("the MySQL driver does not accept the DSN")

// openPlain opens a DSN with the MySQL driver alone: without this driver's keys.
// It returns the configuration with these keys. Only connectTimeout counts here,
// too: the MySQL driver has no bound for its handshake.
func openPlain(dsn string) (*sql.DB, *mysql.Config, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, nil, errNotAccepted
	}
	withKeys := cfg.Clone()
	for key := range cfg.Params {
		// A key of mysqlinit's own needs a value. Any other key without one is ignored.
		if _, err := (&mysqlinit.Driver{}).OpenConnector("/?" + key); err != nil {
			delete(cfg.Params, key)
		}
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, nil, err
	}
	return sql.OpenDB(bounded{connector, connectTimeout(withKeys)}), withKeys, nil
}

// connectTimeout is what the DSN chooses, or the driver mysqlinit for it. That has
// checked the value.
func connectTimeout(cfg *mysql.Config) time.Duration {
	if text, given := cfg.Params["connectTimeout"]; given {
		timeout, _ := time.ParseDuration(strings.ToLower(text))
		return timeout
	}
	return max(mysqlinit.DefaultConnectTimeout, cfg.Timeout)
}

// bounded is a connector with a timeout. 0 means no bound.
type bounded struct {
	driver.Connector
	timeout time.Duration
}

func (b bounded) Connect(ctx context.Context) (driver.Conn, error) {
	limited := ctx
	if b.timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, b.timeout)
		defer cancel()
	}
	conn, err := b.Connector.Connect(limited)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		err = fmt.Errorf("connectTimeout of %v ended: %w", b.timeout, err)
	}
	return conn, err
}
