package mysqltx

import (
	"context"
	"errors"
	"fmt"
)

// depthKey is the context key of the number of savepoints around a call.
type depthKey struct{}

// inSavepoint runs f between SAVEPOINT and RELEASE SAVEPOINT in q's transaction. If f
// fails or panics, it undoes what f did. intact reports whether the transaction is
// still whole. If it is lost, or nobody knows, a Run around it commits nothing.
//
// A savepoint is named by its depth, because one of the same name would replace the
// outer one. A running number would do as well, but the server's statement statistics
// keep an entry for each text. A context that doesn't know the depth can replace
// an outer savepoint all the same. This is noticed, because every savepoint is
// released in the end.
func inSavepoint(ctx context.Context, q Querier, f func(context.Context) error) (intact bool, err error) {
	depth, _ := ctx.Value(depthKey{}).(int)
	depth++
	name := fmt.Sprintf("mysqltx_%d", depth)
	if _, err := q.ExecContext(ctx, "SAVEPOINT "+name); err != nil {
		suspect(ctx, q, err)
		return false, err
	}
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit
			if err := rollbackTo(ctx, q, name); err != nil {
				doom(ctx, q, err)
			}
		}
	}()
	err = f(context.WithValue(ctx, depthKey{}, depth))
	returned = true
	if err == nil {
		if err = release(ctx, q, name); err == nil {
			return true, nil
		}
		if errors.Is(err, ErrTransactionLost) || mayEndTransaction(err) {
			doom(ctx, q, err)
			return false, err
		}
	}
	undoErr := rollbackTo(ctx, q, name)
	switch {
	case undoErr == nil:
		return true, err
	case errors.Is(undoErr, errMixed): // a rollback of the whole transaction doesn't undo it either
		return false, &unrepeatableError{err: err, reason: undoErr}
	case errors.Is(undoErr, ErrTransactionLost) && mayEndTransaction(err):
		// err alone explains it.
	case needsOtherConnection(undoErr) && endedByContext(err):
		// The driver closed the connection because the context ended. Don't run
		// again for that.
	default:
		err = fmt.Errorf("%w; then: %w", err, undoErr)
	}
	doom(ctx, q, err)
	return false, err
}
