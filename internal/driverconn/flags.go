package driverconn

import (
	"database/sql/driver"
	"reflect"

	"github.com/go-sql-driver/mysql"
)

// Flags are the server's status flags in the MySQL driver's connection, which it
// keeps from the last packet that had some: an error has none. The field is not
// exported; reflection can read it. The zero value is of a connection that has no
// flags, such as another driver's or one in a wrapper.
type Flags struct{ field reflect.Value }

// Status flags of the protocol.
const (
	statusInTransaction = 1 // SERVER_STATUS_IN_TRANS
	statusAutocommit    = 2 // SERVER_STATUS_AUTOCOMMIT
)

// FlagsOf finds the flags of a connection. They stay those of its latest answer.
func FlagsOf(conn driver.Conn) Flags {
	field := fieldOf(conn, "status")
	if !field.IsValid() || field.Kind() != reflect.Uint16 {
		return Flags{}
	}
	return Flags{field}
}

// InTransaction reports whether the server said that a transaction is open.
func (f Flags) InTransaction() bool { return f.has(statusInTransaction) }

// Autocommit reports whether the server said that autocommit is on.
func (f Flags) Autocommit() bool { return f.has(statusAutocommit) }

func (f Flags) has(flag uint64) bool { return f.field.IsValid() && f.field.Uint()&flag != 0 }

// Account returns the user and the address that one of the MySQL driver's
// connections was made with, or "" for another connection.
func Account(conn driver.Conn) string {
	field := fieldOf(conn, "cfg")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*mysql.Config]() || field.IsNil() {
		return ""
	}
	return field.Elem().FieldByName("User").String() + "@" + field.Elem().FieldByName("Addr").String()
}

var driverPackage = reflect.TypeFor[mysql.Config]().PkgPath()

// fieldOf returns a field of one of the MySQL driver's connections. It is not
// valid if the connection is another's, or has no such field.
func fieldOf(conn driver.Conn, name string) reflect.Value {
	v := reflect.ValueOf(conn)
	if v.Kind() != reflect.Pointer || v.Type().Elem().PkgPath() != driverPackage || v.Type().Elem().Kind() != reflect.Struct {
		return reflect.Value{}
	}
	return v.Elem().FieldByName(name)
}
