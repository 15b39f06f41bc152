//go:build matrix

package failover

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// address is one address whose server may change, as that of a load balancer or a
// floating IP does.
type address struct {
	addr string

	mu      sync.Mutex
	target  string
	clients map[net.Conn]bool
}

func newAddress(t *testing.T, target string) *address {
	t.Helper()
	listener, err := testserver.Listen()
	if err != nil {
		t.Fatal(err)
	}
	a := &address{addr: listener.Addr().String(), target: target, clients: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		a.cut()
		serving.Wait()
	})
	serving.Go(func() { testserver.Serve(listener, a.serve) })
	return a
}

func (a *address) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	a.mu.Lock()
	target := a.target
	a.clients[client] = true
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.clients, client)
		a.mu.Unlock()
	}()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	_, _ = io.Copy(server, client)
}

// to sends new connections to another server. Those that are open stay where they are.
func (a *address) to(target string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.target = target
}

// cut closes all connections.
func (a *address) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for client := range a.clients {
		_ = client.Close()
	}
}
