package mysqlinit_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/ngrok/sqlmw"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// driverInterfaces returns the interfaces of database/sql/driver, each with the
// names of its methods. It reads them from the source of the Go that runs the
// test, so that the interfaces of a new version are compared too.
func driverInterfaces(t *testing.T) map[string][]string {
	t.Helper()
	folder := filepath.Join(build.Default.GOROOT, "src", "database", "sql", "driver")
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source in %s: %v", folder, err)
	}
	declared := make(map[string]*ast.InterfaceType)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				if it, ok := spec.Type.(*ast.InterfaceType); ok && it.Methods.NumFields() > 0 {
					declared[spec.Name.Name] = it
				}
			}
			return true
		})
	}
	var methods func(name string) []string
	methods = func(name string) (names []string) {
		for _, field := range declared[name].Methods.List {
			if embedded, ok := field.Type.(*ast.Ident); ok {
				names = append(names, methods(embedded.Name)...)
			}
			for _, method := range field.Names {
				names = append(names, method.Name)
			}
		}
		return names
	}
	interfaces := make(map[string][]string)
	for name := range declared {
		interfaces[name] = methods(name)
	}
	for _, known := range []string{"Conn", "ConnBeginTx", "RowsNextResultSet", "SessionResetter", "Validator"} {
		if len(interfaces[known]) == 0 {
			t.Fatalf("%s was not found: the test reads the source wrongly", known)
		}
	}
	return interfaces
}

// implemented returns the interfaces that a value implements.
func implemented(v any, interfaces map[string][]string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for name, methods := range maps.All(interfaces) {
			has := func(method string) bool { _, ok := reflect.TypeOf(v).MethodByName(method); return ok }
			if !slices.ContainsFunc(methods, func(m string) bool { return !has(m) }) && !yield(name) {
				return
			}
		}
	})
}

// parts returns everything that a program gets from a connector, by name.
func parts(t *testing.T, c driver.Connector) map[string]any {
	t.Helper()
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	got := map[string]any{"connector": c, "driver": c.Driver(), "connection": conn}
	must := func(name string, v any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(name, err)
		}
		got[name] = v
	}
	ctx := context.Background()
	tx, err := conn.(driver.ConnBeginTx).BeginTx(ctx, driver.TxOptions{})
	must("transaction", tx, err)
	result, err := conn.(driver.ExecerContext).ExecContext(ctx, "DO 1", nil)
	must("result", result, err)
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "SELECT 1", nil)
	must("rows", rows, err)
	rows.Close()
	stmt, err := conn.(driver.ConnPrepareContext).PrepareContext(ctx, "SELECT 1")
	must("statement", stmt, err)
	result, err = stmt.(driver.StmtExecContext).ExecContext(ctx, nil)
	must("statement's result", result, err)
	rows, err = stmt.(driver.StmtQueryContext).QueryContext(ctx, nil)
	must("statement's rows", rows, err)
	rows.Close()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	return got
}

// guardedParts are the parts that the guard wraps, with the types that it wraps
// them in.
var guardedParts = map[string]string{
	"connection":       "*mysqlinit.guardedConn",
	"rows":             "*mysqlinit.guardedRows",
	"statement":        "*mysqlinit.guardedStmt",
	"statement's rows": "*mysqlinit.guardedRows",
}

// methodNames returns the names of a value's exported methods.
func methodNames(v any) (names []string) {
	typ := reflect.TypeOf(v)
	for i := range typ.NumMethod() {
		names = append(names, typ.Method(i).Name)
	}
	return names
}

// Our parts have every method that database/sql looks for on the MySQL driver's.
func TestNothingThatTheDriverOffersIsLost(t *testing.T) {
	interfaces := driverInterfaces(t)
	dsn := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"}).DSN(testserver.Root, "")
	open := func(opts ...mysqlinit.Option) driver.Connector {
		d, err := mysqlinit.NewDriver(opts...)
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.OpenConnector(dsn)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	bare, err := mysql.MySQLDriver{}.OpenConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	want := parts(t, bare)
	// The driver's connector keeps its own driver private: compare with the one it registers.
	want["driver"] = &mysql.MySQLDriver{}
	for name, c := range map[string]driver.Connector{
		"default":      open(),
		"guard":        open(mysqlinit.WithGuard(true)),
		"interceptors": open(mysqlinit.WithInterceptor(sqlmw.NullInterceptor{}), mysqlinit.WithInterceptor(sqlmw.NullInterceptor{})),
		"both":         open(mysqlinit.WithGuard(true), mysqlinit.WithInterceptor(sqlmw.NullInterceptor{})),
	} {
		for part, ours := range parts(t, c) {
			has := implemented(ours, interfaces)
			for _, offered := range implemented(want[part], interfaces) {
				if !slices.Contains(has, offered) {
					t.Errorf("%s: the %s (%T) lacks driver.%s, which the MySQL driver's has", name, part, ours, offered)
				}
			}
			// They have no other method that database/sql would act upon.
			typ := guardedParts[part]
			if name != "guard" || typ == "" {
				continue
			}
			if is := fmt.Sprintf("%T", ours); is != typ {
				t.Errorf("the guard's %s is a %s, want %s", part, is, typ)
			}
			if driverHas := implemented(want[part], interfaces); !slices.Equal(has, driverHas) {
				t.Errorf("the guarded %s is %v, the driver's %v", part, has, driverHas)
			}
			// The connection has Unwrap in addition.
			if has, driverHas := methodNames(ours), methodNames(want[part]); part != "connection" && !slices.Equal(has, driverHas) {
				t.Errorf("the guarded %s has the methods %v, the driver's %v", part, has, driverHas)
			}
		}
		if name == "default" || name == "guard" {
			if _, ok := parts(t, c)["result"].(mysql.Result); !ok {
				t.Errorf("%s: the result is not a mysql.Result", name)
			}
		}
	}
}
