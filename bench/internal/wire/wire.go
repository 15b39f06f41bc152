// Package wire has a proxy between a client and a server. It counts their round trips and
// delays what they send.
package wire

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// Proxy forwards what both sides send.
type Proxy struct {
	Addr string

	listener net.Listener
	delay    time.Duration // each way
	trips    atomic.Int64
	serving  sync.WaitGroup
}

// New starts a proxy on a loopback port that leads to the server. It delays each way by
// delay.
func New(server string, delay time.Duration) (*Proxy, error) {
	listener, err := testserver.Listen()
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: listener.Addr().String(), listener: listener, delay: delay}
	p.serving.Go(func() { testserver.Serve(listener, func(client net.Conn) { p.serve(client, server) }) })
	return p, nil
}

// Close stops the proxy. Close the connections first: it waits for them.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.serving.Wait()
	return err
}

// Trips returns the number of round trips since the last call of Trips. A round trip is
// something that a client sends and the answer to it. The connect counts too: the server
// answers it with its greeting.
func (p *Proxy) Trips() int { return int(p.trips.Swap(0)) }

func (p *Proxy) serve(client net.Conn, addr string) {
	time.Sleep(2 * p.delay) // the TCP handshake
	server, err := net.Dial("tcp", addr)
	if err != nil {
		_ = client.Close()
		return
	}
	var asked atomic.Bool // whether the client has sent something since the last answer
	asked.Store(true)     // the connect
	var both sync.WaitGroup
	both.Go(func() { p.pass(server, client, func() { asked.Store(true) }) })
	both.Go(func() {
		p.pass(client, server, func() {
			if asked.Swap(false) {
				p.trips.Add(1)
			}
		})
	})
	both.Wait()
}

// pass copies until one side closes. Each piece arrives late by the delay, and in order.
// It calls seen when a piece has come in.
func (p *Proxy) pass(to, from net.Conn, seen func()) {
	type piece struct {
		data []byte
		due  time.Time
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			buffer := make([]byte, 1<<14)
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			seen()
			pieces <- piece{buffer[:n], time.Now().Add(p.delay)}
		}
	}()
	for next := range pieces {
		if p.delay > 0 {
			time.Sleep(time.Until(next.due))
		}
		if _, err := to.Write(next.data); err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	for range pieces { // until the reader has noticed
	}
}
