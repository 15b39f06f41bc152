package session

import (
	"context"
	"database/sql/driver"

	"github.com/mysqlinit/mysqlinit/internal/driverconn"
)

// role is what the cure of a refusal depends on: what the server is for, and who
// asked.
type role struct {
	readOnly bool
	account  string // such as app@%; "" if the server does not say
}

// roleOf costs a round trip on a connection that is refused anyway.
func roleOf(ctx context.Context, conn driver.Conn) role {
	row, err := driverconn.QueryRow(ctx, conn, "SELECT @@GLOBAL.read_only, CURRENT_USER()", 2)
	if err != nil {
		return role{}
	}
	return role{readOnly: row[0] != "0", account: row[1]}
}
