package mysqltx

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// cleanupTimeout bounds a statement that cleans up after the caller's context has
// ended.
const cleanupTimeout = 5 * time.Second

func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}

// endOf returns why a context has ended, with its cause.
func endOf(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return context.Cause(ctx)
}

func notCommitted(ctx context.Context) error {
	return fmt.Errorf("mysqltx: Run did not commit: %w", endOf(ctx))
}

func endedByContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
