// Package mysqlinit is a database/sql driver for MySQL and MariaDB that runs your
// init commands on every new connection before the pool hands it out. By default
// every session is READ COMMITTED with row-based binary logging.
//
//	import _ "github.com/mysqlinit/mysqlinit"
//
//	db, err := sql.Open("mysqlinit", "user:password@tcp(db:3306)/app")
//
// It wraps [github.com/go-sql-driver/mysql]. DSNs that work there work here, with a
// few exceptions, such as on a server that logs in STATEMENT format (see below);
// docs/before.md lists them. Once a session is prepared, the pool holds that
// driver's own connection, with nothing in between.
//
// # Why
//
// Under REPEATABLE READ, MySQL's default, a transaction that reads "no such row",
// loses the race to insert it (error 1062) and reads again still sees no row,
// because its snapshot is older than the row. Get-or-create code fails that way.
// READ COMMITTED takes a new snapshot for each statement, and needs row-based
// binary logging.
//
// # Choosing the session
//
// Keys of the DSN, or the options of the same names, choose another session:
//
//	user:password@tcp(db:3306)/app?isolation=repeatable-read
//	user:password@tcp(db:3306)/app?time_zone=%27%2B00:00%27&verify=true
//	user:password@tcp(db:3306)/app?initCommand=SET+SESSION+lock_wait_timeout%3D60
//
// Everything that is a variable, including the DSN's own system variables, goes
// to the server in one SET. Init commands follow, in order, one round trip each.
//
// # Binary log format
//
// Setting binlog_format needs a privilege that most application accounts lack.
// The default policy, [BinlogRow], sets it if the server allows that. Otherwise
// the same SET asserts that the format is not STATEMENT, under which READ
// COMMITTED could not write, and Connect fails if it is. See [BinlogPolicy].
//
// # Keeping sessions, and transactions
//
// The next user of a pooled connection sees a SET that its last user ran.
// [WithGuard], or guard=true in the DSN, restores isolation level, binlog format
// and the DSN's variables in between, and nothing else. It also refuses what
// follows in a transaction that the server has ended, which MySQL itself runs on
// its own:
//
//	user:password@tcp(db:3306)/app?guard=true
//
// # Errors
//
// A connection that could not be prepared is closed, and Connect returns an
// [*InitError] that says which statement failed, why, and the cure. errors.As
// still reaches the server's [*mysql.MySQLError]. No message holds a password or
// a literal of an init command.
//
// # Other ways in
//
// [NewConnector] takes a [mysql.Config] and [Wrap] any other connector.
// [Register] adds a driver name with your own presets. [WithInterceptor] wraps
// every connection in a sqlmw interceptor. Wrappers such as otelsql take this
// driver just as they take the MySQL driver.
package mysqlinit
