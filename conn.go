package mysqlinit

import (
	"database/sql/driver"
	"fmt"
	"reflect"
	"strings"
)

// connMethods are the methods of the MySQL driver's own connection, exactly, so
// that database/sql finds on our connections what it finds on the driver's.
// sqlmw's connection has the same methods.
type connMethods interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
	execer
	queryer
}

// execer and queryer are the deprecated driver.Execer and driver.Queryer, which
// programs still use on what Conn.Raw shows, the former for mysql.Result.
type (
	execer interface {
		Exec(query string, args []driver.Value) (driver.Result, error)
	}
	queryer interface {
		Query(query string, args []driver.Value) (driver.Rows, error)
	}
)

// withAllMethods returns a connection's methods, or an error that names those
// which it lacks.
func withAllMethods(conn driver.Conn) (connMethods, error) {
	if methods, ok := conn.(connMethods); ok {
		return methods, nil
	}
	var missing []string
	have, want := reflect.TypeOf(conn), reflect.TypeFor[connMethods]()
	for i := range want.NumMethod() {
		if _, ok := have.MethodByName(want.Method(i).Name); !ok {
			missing = append(missing, want.Method(i).Name)
		}
	}
	return nil, fmt.Errorf("(%T) lack methods that the MySQL driver's connections have: %s", conn, strings.Join(missing, ", "))
}

// isNil reports whether an interface holds nothing, or a nil pointer.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}
