package faults

import (
	"context"
	"errors"
	"flag"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit/integration/proxy"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

var callers = flag.Int("callers", 40, "how many callers want a connection at once")

// TestHang connects to servers that stop answering at some point.
func TestHang(t *testing.T) {
	const connectTimeout = 2 * time.Second
	s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
	wantNoGoroutines(t)
	var hanging sync.WaitGroup
	for _, hang := range []struct {
		proxy.Fault
		phase string
	}{
		{proxy.Fault{What: proxy.Stall, After: 0}, "connecting"},
		{proxy.Fault{What: proxy.Stall, ToServer: true, After: 0}, "connecting"},
		{proxy.Fault{What: proxy.Stall, ToServer: true, Text: "SET @@SESSION"}, "setting the session's variables"},
		{proxy.Fault{What: proxy.Stall, ToServer: true, Text: "SET @traced"}, "running init command 1"},
		{proxy.Fault{What: proxy.Stall, ToServer: true, Text: "SET @third"}, "running init command 3"},
	} {
		f := newFaulty(t, s, testserver.Root, "", "&initCommand=DO+2&initCommand=SET+@third+%3D+3&connectTimeout="+connectTimeout.String())
		f.Set(&hang.Fault)
		hanging.Go(func() {
			start := time.Now()
			_, err := f.checkout(t.Context())
			took := time.Since(start)
			figures.ended(took, connectTimeout)
			if !isTimeout(err) || !strings.Contains(err.Error(), hang.phase) || !strings.Contains(err.Error(), "connectTimeout of 2s") {
				t.Errorf("%+v: got %v, want a timeout that names the phase %q and connectTimeout", hang.Fault, err, hang.phase)
			}
			if took > 5*connectTimeout {
				t.Errorf("%+v: it took %v", hang.Fault, took)
			}
			if !f.Closed() {
				t.Errorf("%+v: the connection was not closed", hang.Fault)
			}
		})
	}
	hanging.Wait()
}

// TestManyCallersOfAHangingServer measures how long callers wait for each other: once its
// pool is full, database/sql opens connections one after another.
func TestManyCallersOfAHangingServer(t *testing.T) {
	const connectTimeout, pool = 100 * time.Millisecond, 4
	s := testserver.New(t, testserver.Config{})
	wantNoGoroutines(t)
	f := newFaulty(t, s, testserver.Root, "", "&connectTimeout="+connectTimeout.String())
	f.db.SetMaxOpenConns(pool)
	f.Set(&proxy.Fault{What: proxy.Stall})
	last := f.storm(t, time.Hour, isTimeout)
	// After a failure database/sql opens a connection for a caller who waits, even if one is
	// being opened for that caller already. So at most a pool of connections is in excess.
	if n := f.Connects(); n > *callers+pool {
		t.Errorf("%d connects for %d callers and a pool of %d", n, *callers, pool)
	}
	figures.waited(*callers, pool, last, connectTimeout)

	// The callers' own deadlines end the wait.
	const deadline = 300 * time.Millisecond
	last = f.storm(t, deadline, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) })
	if last > 20*deadline {
		t.Errorf("with a deadline of %v the last caller was answered after %v", deadline, last)
	}
	// On a busy machine this connectTimeout can end a connection that has no fault.
	f.Set(nil)
	for range 100 {
		conn, err := f.checkout(t.Context())
		if isTimeout(err) {
			continue
		}
		if err == nil {
			err = f.check(t.Context(), conn)
		}
		if err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("the pool does not recover")
}

// storm has all callers ask for a connection at once, each with a deadline. It returns how
// long it took until the last one was answered.
func (f *faulty) storm(t *testing.T, deadline time.Duration, expected func(error) bool) time.Duration {
	t.Helper()
	start := time.Now()
	var all sync.WaitGroup
	for range *callers {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			if _, err := f.checkout(ctx); !expected(err) {
				t.Errorf("unexpected: %v", err)
			}
		})
	}
	all.Wait()
	return time.Since(start)
}
