//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"

	"golang.org/x/mod/modfile"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// server is one of the servers that all tests share.
type server struct {
	*testserver.Server
	name      string
	isolation string // the isolation level's variable
	plain     *sql.DB
}

var servers []*server

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	for _, s := range []*server{
		{name: "MariaDB", isolation: "@@SESSION.tx_isolation"},
		{name: "MySQL", isolation: "@@SESSION.transaction_isolation"},
	} {
		// MIXED, so that ROW in a session comes from this driver.
		config := testserver.Config{MySQL: s.name == "MySQL", Binlog: "MIXED"}
		var err error
		s.Server, err = testserver.Start(context.Background(), config)
		if errors.Is(err, testserver.ErrNoMySQL) && os.Getenv("CI") == "" {
			fmt.Println("without MySQL:", err)
			continue
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer func() {
			if err := s.Stop(); err != nil {
				fmt.Println(err)
			}
		}()
		if s.plain, err = sql.Open("mysql", s.DSN(testserver.Root, "")); err != nil {
			fmt.Println(err)
			return 1
		}
		defer s.plain.Close()
		servers = append(servers, s)
	}
	code := m.Run()
	if err := printVersions(); err != nil {
		fmt.Println(err)
		return 1
	}
	return code
}

// tested records which tests have run.
var tested struct {
	sync.Mutex
	modules map[string]bool // the tested modules
	failed  map[string]bool // whether a library has failed, by its first module
}

// covers counts the test as one of a library. The library consists of the modules.
func covers(t *testing.T, modules ...string) {
	t.Cleanup(func() {
		tested.Lock()
		defer tested.Unlock()
		if tested.failed == nil {
			tested.modules, tested.failed = map[string]bool{}, map[string]bool{}
		}
		for _, module := range modules {
			tested.modules[module] = true
		}
		tested.failed[modules[0]] = tested.failed[modules[0]] || t.Failed()
	})
}

// printVersions prints the versions of the tested libraries, and counts the libraries. A
// library counts if a test that calls covers for it has run, so -run can leave it out. It
// has a version for each of its modules, such as GORM and its driver.
func printVersions() error {
	all, err := versions()
	if err != nil {
		return err
	}
	for _, module := range slices.Sorted(maps.Keys(tested.modules)) {
		if all[module] == "" {
			return fmt.Errorf("found no version of %s", module)
		}
		fmt.Printf("%-44s %s\n", module, all[module])
	}
	failed := 0
	for _, f := range tested.failed {
		if f {
			failed++
		}
	}
	fmt.Printf("ecosystem: %d libraries, %d versions, %d failed\n", len(tested.failed), len(tested.modules), failed)
	return nil
}

// versions returns the versions of modules. It reads them from go.mod, because a test
// program doesn't know the modules that it is built with. It reads sqlc's version from
// the generated code, because sqlc isn't a dependency.
func versions() (map[string]string, error) {
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		return nil, err
	}
	mod, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, require := range mod.Require {
		all[require.Mod.Path] = require.Mod.Version
	}
	generated, err := os.ReadFile("internal/sqlc/db.go")
	if err != nil {
		return nil, err
	}
	if version := regexp.MustCompile(`(?m)^//\s+sqlc (v\S+)$`).FindSubmatch(generated); version != nil {
		all["github.com/sqlc-dev/sqlc"] = string(version[1])
	}
	return all, nil
}
