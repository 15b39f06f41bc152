package main

import (
	"context"
	"fmt"

	"github.com/mysqlinit/mysqlinit/bench/internal/wire"
)

// trips are the round trips of a contender until a connection is ready.
type trips struct {
	contender
	first, later int
	session      string // what it is set to then
}

// countTrips counts what the first and the third connection of a pool cost, from the
// connecting on. The first may also learn what the server is.
func countTrips(ctx context.Context, s server) (counts []trips, err error) {
	proxy, err := wire.New(s.addr, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = proxy.Close() }()
	behind := s
	behind.addr = proxy.Addr
	for _, c := range connecting {
		count, err := countContender(ctx, c, behind, proxy)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		counts = append(counts, count)
	}
	return counts, nil
}

func countContender(ctx context.Context, c contender, s server, proxy *wire.Proxy) (count trips, err error) {
	count.contender = c
	proxy.Trips()
	db, err := c.open(s)
	if err != nil {
		return count, err
	}
	defer func() { _ = db.Close() }()
	var n [3]int
	for i := range n {
		conn, err := db.Conn(ctx)
		if err != nil {
			return count, err
		}
		defer func() { _ = conn.Close() }()
		n[i] = proxy.Trips()
		if i == 2 {
			var isolation, format string
			if err := conn.QueryRowContext(ctx, "SELECT @@SESSION."+s.isolation+", @@SESSION.binlog_format").Scan(&isolation, &format); err != nil {
				return count, err
			}
			count.session = isolation + ", " + format
		}
	}
	count.first, count.later = n[0], n[2]
	return count, nil
}
