package main

import (
	"context"
	"fmt"

	"github.com/mysqlinit/mysqlinit/bench/internal/wire"
)

// trips are a contender's round trips until a connection is ready.
type trips struct {
	Name         string
	Prepares     bool
	First, Later int
	Session      string // the isolation level and binlog format at the end
}

// countTrips counts the round trips for the first and the third connection of a pool,
// including the connect. The first connection can cost more, because it learns which
// kind of server this is.
func countTrips(ctx context.Context, s server) (counts []trips, err error) {
	proxy, err := wire.New(s.addr, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = proxy.Close() }()
	proxied := s
	proxied.addr = proxy.Addr
	for _, c := range connecting {
		count, err := countContender(ctx, c, proxied, proxy)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		counts = append(counts, count)
	}
	return counts, nil
}

func countContender(ctx context.Context, c contender, s server, proxy *wire.Proxy) (count trips, err error) {
	count.Name, count.Prepares = c.name, c.prepares
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
			count.Session = isolation + ", " + format
		}
	}
	count.First, count.Later = n[0], n[2]
	return count, nil
}
