package faults

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// dripping starts a proxy that passes on one byte at a time, both ways, and returns its
// address. It is toxiproxy's, because package proxy cannot delay bytes.
func dripping(t *testing.T, server string, microseconds int) string {
	t.Helper()
	port, err := testserver.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	p := toxiproxy.NewProxy(api, "dripping", addr, server)
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := `{"type": "slicer", "stream": "` + stream + `", "attributes": {"average_size": 1, "size_variation": 0, "delay": ` + strconv.Itoa(microseconds) + `}}`
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return addr
}

// TestDrip connects through a network that delivers single bytes: slowly, and too slowly
// for connectTimeout.
func TestDrip(t *testing.T) {
	for _, mysql := range []bool{false, true} {
		s := testserver.New(t, testserver.Config{MySQL: mysql, Binlog: "MIXED", TLS: true})
		for _, tls := range []string{"", "&tls=skip-verify"} {
			name := "MariaDB"
			if mysql {
				name = "MySQL"
			}
			t.Run(name+tls, func(t *testing.T) {
				t.Parallel()
				slow := newFaulty(t, s, testserver.Root, dripping(t, s.Addr, 50), tls)
				conn, err := slow.checkout(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if err := slow.check(t.Context(), conn); err != nil {
					t.Error(err)
				}
				tooSlow := newFaulty(t, s, testserver.Root, dripping(t, s.Addr, 50_000), tls+"&connectTimeout=500ms")
				_, err = tooSlow.checkout(t.Context())
				if !isTimeout(err) || !strings.Contains(err.Error(), "connectTimeout of 500ms") {
					t.Errorf("got %v, want a timeout that names connectTimeout", err)
				}
			})
		}
	}
}

// isTimeout reports whether err is a timeout by its method and to errors.Is.
func isTimeout(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout() && errors.Is(err, context.DeadlineExceeded)
}
