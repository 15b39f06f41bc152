package mysqlinit

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneTimerEndsEachContextAtItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 10 * time.Second
		l := &timeLimit{timeout: timeout}
		type hanging struct {
			context.Context
			started, ended time.Time
		}
		var all []*hanging
		hang := func() {
			ctx, release := l.on(context.Background())
			h := &hanging{Context: ctx, started: time.Now()}
			all = append(all, h)
			go func() {
				<-ctx.Done()
				h.ended = time.Now()
				release()
			}()
		}
		timer := func() *time.Timer {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.timer
		}
		hang()
		first := timer()
		for i := range 100 { // 9 seconds in all
			ctx, release := l.on(context.Background())
			time.Sleep(timeout * 9 / 1000)
			if i%40 == 0 {
				hang()
			}
			release()
			if ctx.Err() != context.Canceled {
				t.Fatalf("a released context: %v", ctx.Err())
			}
		}
		if timer() != first || first == nil {
			t.Error("the timer was set anew")
		}
		time.Sleep(2 * timeout)
		synctest.Wait()
		for i, h := range all {
			if took := h.ended.Sub(h.started); took != timeout || h.Err() != context.DeadlineExceeded {
				t.Errorf("hanging %d: %v after %v", i, h.Err(), took)
			}
		}
		if len(all) != 4 || len(l.running) != 0 || timer() != nil {
			t.Errorf("of %d contexts %d are left, timer %v", len(all), len(l.running), timer())
		}
	})
}

func TestTimeLimitKeepsTheCallersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &timeLimit{timeout: 10 * time.Second}
		for _, earlier := range []time.Duration{time.Second, l.timeout} {
			ctx, cancel := context.WithTimeout(t.Context(), earlier)
			defer cancel()
			if got, _ := l.on(ctx); got != ctx {
				t.Errorf("a context that ends after %v was wrapped", earlier)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		limited, release := l.on(ctx)
		defer release()
		child, stop := context.WithTimeout(limited, time.Hour)
		defer stop()
		if deadline, ok := child.Deadline(); !ok || time.Until(deadline) != l.timeout {
			t.Errorf("deadline in %v, %v", time.Until(deadline), ok)
		}
		cancel()
		if limited.Err() != context.Canceled || child.Err() != context.Canceled {
			t.Errorf("got %v, %v", limited.Err(), child.Err())
		}
		if got, _ := new(timeLimit).on(t.Context()); got != t.Context() {
			t.Error("without a timeout the context was wrapped")
		}
	})
}
