package testserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Program is a server program.
type Program struct {
	Path  string
	MySQL bool   // instead of MariaDB
	Share string // the folder of its system tables' SQL; "" if it makes them itself, as MySQL 5.7 and later do
}

// places are where packages install MariaDB's server, which is not always on the PATH.
var places = []string{"/usr/sbin/mariadbd", "/usr/libexec/mariadbd", "/opt/homebrew/opt/mariadb/bin/mariadbd", "/usr/local/opt/mariadb/bin/mariadbd"}

func findProgram(mysql bool) (Program, error) {
	if mysql {
		return findMySQL()
	}
	candidates := places
	if path, err := exec.LookPath("mariadbd"); err == nil {
		candidates = append([]string{path}, candidates...)
	}
	for _, path := range candidates {
		root := filepath.Dir(filepath.Dir(path))
		for _, share := range []string{"share/mysql", "share/mariadb"} {
			p := Program{Path: path, Share: filepath.Join(root, share)}
			if p.file("system_tables.sql") != "" && executable(path) {
				return p, nil
			}
		}
	}
	return Program{}, ErrNoServer
}

// findMySQL looks for the mysqld that fetch.sh has fetched, then for one on the
// PATH.
func findMySQL() (Program, error) {
	if fetched := filepath.Join(cacheFolder(), "mysql", "mysqld"); executable(fetched) {
		return Program{Path: fetched, MySQL: true}, nil
	}
	if path, err := exec.LookPath("mysqld"); err == nil { // this can also be MariaDB's
		version, err := exec.Command(path, "--no-defaults", "--version").Output()
		if err == nil && !bytes.Contains(version, []byte("MariaDB")) {
			return Program{Path: path, MySQL: true}, nil
		}
	}
	return Program{}, ErrNoMySQL
}

// cacheFolder returns the folder that keeps fetched programs and templates.
func cacheFolder() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		// This user has no home. All users share the temporary folder, so the name holds the user's id.
		cache = filepath.Join(os.TempDir(), fmt.Sprintf("user-%d", os.Getuid()))
	}
	return filepath.Join(cache, "mysqlinit")
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// file returns the path of one of the SQL files, or "". MariaDB 11 has renamed them.
func (p Program) file(name string) string {
	for _, prefix := range []string{"mysql_", "mariadb_", ""} {
		path := filepath.Join(p.Share, prefix+name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

func (p Program) arguments(data string, more ...string) []string {
	args := []string{"--no-defaults", "--datadir=" + data, "--innodb-buffer-pool-size=32M"}
	if p.MySQL {
		args = append(args, "--performance-schema=OFF", "--secure-file-priv=")
	}
	if p.Share == "" {
		args = append(args, "--innodb-redo-log-capacity=8M", "--mysqlx=OFF", "--auto-generate-certs=OFF", "--caching-sha2-password-auto-generate-rsa-keys=OFF")
	} else {
		args = append(args, "--innodb-log-file-size=8M")
	}
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	return append(args, more...)
}

// template returns the data folder that each server gets a copy of. It is made
// once for each version of the program, and kept in the user's cache folder.
func (p Program) template(ctx context.Context) (string, error) {
	info, err := os.Stat(p.Path)
	if err != nil {
		return "", err
	}
	cache := cacheFolder()
	id := sha256.Sum256(fmt.Appendf(nil, "2 %s %d %s", p.Path, info.Size(), info.ModTime()))
	template := filepath.Join(cache, fmt.Sprintf("template-%x", id[:6]))
	if _, err := os.Stat(template); err == nil {
		return template, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := p.initialise(ctx, fresh); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, template); err != nil {
		if _, statErr := os.Stat(template); statErr != nil {
			return "", err
		} // another process was first
	}
	return template, nil
}

// initialise makes the system tables. For MariaDB it does the work of
// mariadb-install-db, which is not in the server's own package, and for MySQL 5.6
// that of mysql_install_db.
func (p Program) initialise(ctx context.Context, data string) error {
	if p.Share == "" {
		cmd := exec.CommandContext(ctx, p.Path, p.arguments(data, "--initialize-insecure", "--skip-log-bin")...)
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s --initialize-insecure: %w\n%s", p.Path, err, tail(output))
		}
		return os.Remove(filepath.Join(data, "auto.cnf")) // each server makes its own UUID
	}
	input := bytes.NewBufferString("create database if not exists mysql;\nuse mysql;\n")
	files := []string{"system_tables.sql", "system_tables_data.sql"}
	args := []string{"--bootstrap", "--max-allowed-packet=8M", "--net-buffer-length=16K"}
	if p.MySQL {
		args = append(args, "--default-storage-engine=MyISAM")
	} else {
		args = append(args, "--log-warnings=0", "--enforce-storage-engine=")
		input.WriteString("SET @auth_root_socket=NULL;\nSET @skip_auth_anonymous=1;\n")
		files = []string{"system_tables.sql", "performance_tables.sql", "system_tables_data.sql", "maria_add_gis_sp_bootstrap.sql"}
	}
	for _, name := range files {
		text, err := os.ReadFile(p.file(name))
		if err != nil {
			return err
		}
		input.Write(text)
	}
	cmd := exec.CommandContext(ctx, p.Path, p.arguments(data, args...)...)
	cmd.Stdin = input
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s --bootstrap: %w\n%s", p.Path, err, tail(output))
	}
	return nil
}
