package testserver

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// idle are the running servers that no test has borrowed at the moment, by their
// configuration.
var idle = struct {
	sync.Mutex
	servers map[string][]*Server
}{servers: map[string][]*Server{}}

// Borrow is New without the start: the test gets a server that an earlier test
// of this process has given back. Only if there is none does one start. No two
// tests have the same server at a time.
//
// A server comes back without the test's databases and accounts, but with its
// global variables. A test that ends the server or changes a global variable
// needs New.
func Borrow(tb TB, cfg Config) *Server {
	tb.Helper()
	if cfg.Prepare != nil {
		tb.Fatal("testserver: a server with a prepared data folder cannot be borrowed; call New")
	}
	kind := fmt.Sprintf("%+v", cfg)
	s := takeIdle(kind)
	if s == nil {
		s = startFor(tb, cfg)
	}
	tb.Cleanup(func() {
		if err := s.empty(); err != nil {
			tb.Error("testserver: the borrowed server could not be emptied:", err, s.Stop())
			return
		}
		idle.Lock()
		defer idle.Unlock()
		idle.servers[kind] = append(idle.servers[kind], s)
	})
	return s
}

func takeIdle(kind string) *Server {
	idle.Lock()
	defer idle.Unlock()
	servers := idle.servers[kind]
	if len(servers) == 0 {
		return nil
	}
	last := len(servers) - 1
	idle.servers[kind] = servers[:last]
	return servers[last]
}

// empty drops all databases and accounts except those that Start makes.
func (s *Server) empty() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := s.admin()
	if err != nil {
		return err
	}
	defer db.Close()
	var drops string
	err = db.QueryRowContext(ctx, "SELECT CONCAT_WS(';',"+
		" (SELECT GROUP_CONCAT('DROP DATABASE `', schema_name, '`' SEPARATOR ';') FROM information_schema.schemata"+
		" WHERE schema_name NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')),"+
		" (SELECT GROUP_CONCAT('DROP USER ', QUOTE(User), '@', QUOTE(Host) SEPARATOR ';') FROM mysql.user"+
		" WHERE User NOT IN ('', 'PUBLIC', '"+Root+"') AND User NOT LIKE 'm%.%'))").Scan(&drops)
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return execAll(ctx, conn, append(strings.Split(drops, ";"), s.program.accounts()...))
}
