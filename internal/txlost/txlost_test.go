package txlost

import (
	"testing"

	"github.com/go-sql-driver/mysql"
)

// A tablet of Vitess closes its connection to the shard at its own time limit, and if the
// statement was killed. At the server's time limit it does not.
func TestEndsOnVitess(t *testing.T) {
	const shard = "target: ks.0.primary: vttablet: rpc error: "
	for _, test := range []struct {
		number  uint16
		message string
		want    bool
	}{
		{3024, shard + "code = Canceled desc = (errno 3024) (sqlstate HY000): Query execution was interrupted, maximum statement execution time exceeded, elapsed time: 500.955263ms, killing connection ID 121 (CallerID: app)", true},
		{3024, shard + "code = Canceled desc = (errno 3024) (sqlstate HY000): Query execution was interrupted, maximum statement execution time exceeded before execution started", true},
		{3024, "target: ks.0.primary: (errno 3024) (sqlstate HY000): made up: Sql: \"select ' maximum statement execution time exceeded (errno 3024)'\"", true},
		{3024, shard + "code = Unknown desc = Query execution was interrupted, maximum statement execution time exceeded (errno 3024) (sqlstate HY000) (CallerID: app)", false},
		{3024, "Query execution was interrupted, maximum statement execution time exceeded", false},
		{1317, shard + "code = DeadlineExceeded desc = context deadline exceeded", true},
		{1317, shard + "code = Unknown desc = Query execution was interrupted (errno 1317) (sqlstate 70100) (CallerID: app)", true},
		{1317, "Query execution was interrupted", false},
	} {
		if got := Ends(&mysql.MySQLError{Number: test.number, Message: test.message}); got != test.want {
			t.Errorf("%d %s: %v, want %v", test.number, test.message, got, test.want)
		}
	}
}
