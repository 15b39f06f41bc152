package servers

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// source describes a server program that fetch.sh can fetch into a folder.
type source struct {
	fetch string // fetch.sh's name for it
	path  string // of the program, in the folder
	share string // of the SQL for its system tables; "" if it needs none
	mysql bool
}

var (
	mariadb105  = source{fetch: "mariadb-10.5", path: "mariadbd", share: "usr/share/mysql"}
	mariadb1011 = source{fetch: "mariadb-10.11", path: "mariadbd", share: "usr/share/mysql"}
	mariadb118  = source{fetch: "mariadb-11.8", path: "mariadbd", share: "usr/share/mariadb"}
	mysql56     = source{fetch: "mysql-5.6", path: "mysqld", share: "server/share", mysql: true}
	mysql97     = source{fetch: "mysql", path: "mysqld", mysql: true}
)

// program fetches the program unless it is there already.
func (s source) program(ctx context.Context) (testserver.Program, error) {
	folder, err := fetch(ctx, s.fetch)
	if err != nil {
		return testserver.Program{}, err
	}
	p := testserver.Program{Path: filepath.Join(folder, s.path), MySQL: s.mysql}
	if s.share != "" {
		p.Share = filepath.Join(folder, s.share)
	}
	return p, nil
}

// fetch fetches a program with fetch.sh. If that fails, the error is ErrNotToBeHad too.
func fetch(ctx context.Context, name string) (folder string, err error) {
	folder, err = testserver.Fetch(ctx, name)
	if err != nil && ctx.Err() == nil {
		err = errors.Join(ErrNotToBeHad, err)
	}
	return folder, err
}
