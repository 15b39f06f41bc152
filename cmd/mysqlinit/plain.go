package main

import (
	"database/sql"
	"errors"

	"github.com/go-sql-driver/mysql"
)

// errNotAccepted stands for the MySQL driver's own error, which can quote the DSN
// with its password.
var errNotAccepted = errors.New("the MySQL driver does not accept the DSN")

// plainConfig parses a DSN for the MySQL driver alone: without this driver's keys.
func plainConfig(dsn string) (*mysql.Config, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errNotAccepted
	}
	for _, key := range []string{"isolation", "binlog", "initCommand", "init_command", "verify", "guard", "connectTimeout"} {
		delete(cfg.Params, key)
	}
	return cfg, nil
}

// openPlain opens a configuration with the MySQL driver alone.
func openPlain(cfg *mysql.Config) (*sql.DB, error) {
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
