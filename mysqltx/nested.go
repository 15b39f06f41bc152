package mysqltx

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// savepoint is one of the savepoints around a call, which finds the innermost in its
// context.
type savepoint struct {
	outer *savepoint // or nil
	of    *enclosing // nil if no Run has begun the transaction
	depth int
}

type savepointKey struct{}

// savepointsOf returns how many savepoints around the call are of a transaction.
func (s *savepoint) savepointsOf(e *enclosing) (n int) {
	for ; s != nil; s = s.outer {
		if s.of == e {
			n++
		}
	}
	return n
}

// inSavepoint runs f after a SAVEPOINT in q's transaction. If f fails or panics, it
// undoes what f did. intact reports whether the transaction is still whole. If it is
// lost, or nobody knows, a Run around it commits nothing.
//
// A savepoint is named by its depth, because one of the same name would replace the
// outer one. A running number would do as well, but the server's statement statistics
// keep an entry for each text. A context that doesn't know the depth can replace
// an outer savepoint all the same. In a Run that is refused. Elsewhere it is noticed,
// because every savepoint is released in the end. In a Run there is no need for that:
// it notices itself if the transaction is lost.
func inSavepoint(ctx context.Context, q Querier, f func(context.Context) error) (intact bool, err error) {
	e := enclosingOf(ctx, q)
	outer, _ := ctx.Value(savepointKey{}).(*savepoint)
	if err := e.enter(outer.savepointsOf(e)); err != nil {
		return true, err
	}
	defer e.leave()
	own := &savepoint{outer: outer, of: e, depth: 1}
	if outer != nil {
		own.depth += outer.depth
	}
	s := setSavepoint{q: plain(q), of: e, name: fmt.Sprintf("mysqltx_%d", own.depth)}
	if _, err := s.q.ExecContext(ctx, "SAVEPOINT "+s.name); err != nil {
		e.noteSuspect(err)
		return false, err
	}
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit
			if err := s.rollback(ctx); err != nil {
				e.doom(err)
			}
		}
	}()
	err = f(context.WithValue(ctx, savepointKey{}, own))
	returned = true
	if err == nil && ctx.Err() != nil {
		err = endOf(ctx)
	}
	if err == nil {
		if err = s.prove(ctx); err == nil {
			return true, nil
		}
		if errors.Is(err, ErrTransactionLost) || mayEndTransaction(err) {
			e.doom(err)
			return false, err
		}
	}
	undoErr := s.rollback(ctx)
	switch {
	case undoErr == nil:
		return true, err
	case errors.Is(undoErr, errMixed): // a rollback of the whole transaction doesn't undo it either
		return false, &unrepeatableError{err: err, reason: undoErr}
	case errors.Is(undoErr, ErrTransactionLost) && mayEndTransaction(err):
		// err alone explains it.
	case lostForGood(undoErr):
		err = &unrepeatableError{err: err, reason: undoErr}
	case needsOtherConnection(undoErr) && endedByContext(err):
		// The driver closed the connection because the context ended. Don't run
		// again for that.
	default:
		err = fmt.Errorf("%w; then: %w", err, undoErr)
	}
	e.doom(err)
	return false, err
}

// setSavepoint is a savepoint that was set.
type setSavepoint struct {
	q    Querier
	of   *enclosing
	name string
}

// prove returns an error if the transaction has ended since the savepoint was set. It
// sends nothing if the Run around it will notice.
func (s setSavepoint) prove(ctx context.Context) error {
	if s.of != nil && s.of.watched {
		return nil
	}
	return release(ctx, s.q, s.name)
}

// rollback undoes what was done since the savepoint. It works even if the context has
// ended, because the caller can go on in the transaction under another context.
//
// What another goroutine has done since is undone too, and that one doesn't know. So
// the Run around it must not commit.
func (s setSavepoint) rollback(ctx context.Context) error {
	ctx, cancel := cleanupContext(ctx)
	defer cancel()
	if s.of != nil && !calledByAttempt() {
		s.of.doom(errOtherGoroutine)
	}
	_, err := s.q.ExecContext(ctx, "ROLLBACK TO SAVEPOINT "+s.name)
	switch {
	case hasNumber(err, errNoSuchSavepoint):
		return errSavepointGone
	case err != nil:
		return err
	}
	if err := wholly(ctx, s.q); err != nil {
		return err
	}
	return s.prove(ctx)
}

// calledByAttempt reports whether a Run's function runs on this goroutine.
func calledByAttempt() bool {
	var callers [64]uintptr
	for skip := 1; ; skip += len(callers) {
		n := runtime.Callers(skip, callers[:])
		frames := runtime.CallersFrames(callers[:n])
		for more := n > 0; more; {
			var frame runtime.Frame
			if frame, more = frames.Next(); strings.HasSuffix(frame.Function, "mysqltx.(*attempt).run") {
				return true
			}
		}
		if n < len(callers) {
			return false
		}
	}
}
