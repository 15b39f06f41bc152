package mysqlinit

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/session"
	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// params is what a DSN or a Config asks of us, and what it says about the driver.
type params struct {
	settings  settings
	variables []sysvar.Variable // system variables to set, in the order written
	seen      map[string]bool   // our keys

	levelAfter int // how many variables stand before the isolation level, if it is written as one

	sentByDriver      []sysvar.Variable // system variables that the driver sets itself
	changedByCallback bool              // a BeforeConnect can change any of it for one connection
	multiStatements   bool              // a query can be several statements
	dialTimeout       time.Duration
	origin            origin
}

// origin says whose code takes part in making a connection.
type origin byte

const (
	foreign             origin = iota // a connector given to Wrap: nothing is known
	driverWithUserCode                // the MySQL driver, with the user's dialer or callback
	driverWithTLSConfig               // the MySQL driver; its TLS config can hold the user's code
	driverAlone                       // the MySQL driver and the net package, which heed a context
)

// readConfig notes what the driver's configuration says about it.
func (p *params) readConfig(cfg *mysql.Config) {
	p.changedByCallback = hasBeforeConnect(cfg)
	p.multiStatements = cfg.MultiStatements || p.changedByCallback
	p.dialTimeout = cfg.Timeout
	switch {
	case cfg.Net != "tcp" && cfg.Net != "unix", cfg.DialFunc != nil, p.changedByCallback:
		p.origin = driverWithUserCode
	case !driversTLS[cfg.TLSConfig]:
		p.origin = driverWithTLSConfig
	default:
		p.origin = driverAlone
	}
}

// driversTLS are the values of the DSN key tls that do not name a TLS config of
// the user's, which can have code in it.
var driversTLS = map[string]bool{"": true, "false": true, "true": true, "skip-verify": true, "preferred": true}

// add takes one parameter, its value unescaped.
func (p *params) add(key, value string) error {
	if set, ok := ourKeys[key]; ok {
		return p.addOurs(key, value, set)
	}
	name, ok := sysvar.ParseName(key)
	if !ok {
		name.Bare = key
	}
	if err := refuseKey(key, name); err != nil {
		return err
	}
	if strings.TrimSpace(value) == "" {
		return fmt.Errorf("mysqlinit: DSN key %q has an empty value, which is not SQL: write %%27%%27 for an empty text, or take the key out", key)
	}
	return p.addVariable(sysvar.Variable{Name: key, Value: value}, name)
}

// addOurs takes one of our own keys.
func (p *params) addOurs(key, value string, set func(*settings, string) error) error {
	if p.seen[key] && fold(key) != "initcommand" {
		return fmt.Errorf("mysqlinit: DSN key %q is given twice", key)
	}
	if p.seen == nil {
		p.seen = make(map[string]bool)
	}
	p.seen[key] = true
	before := p.settings
	if err := set(&p.settings, value); err != nil {
		return fmt.Errorf("mysqlinit: DSN key %q: %s", key, strings.TrimPrefix(err.Error(), "mysqlinit: "))
	}
	return p.agree(key, before)
}

// refuseKey returns an error for a key that cannot be a system variable: the cure
// is known before any server is asked.
func refuseKey(key string, name sysvar.Name) error {
	if driverOwns(key) { // it reads its keys in DSNs only
		return fmt.Errorf("mysqlinit: key %q of Config.Params: it is a key of DSNs: set it with the Config's field or option of that name", key)
	}
	if right := rightSpelling(name.Bare); right != "" {
		return fmt.Errorf("mysqlinit: unknown DSN key %q: write %s", key, right)
	}
	reason := "unknown DSN key %q: no system variable has such a name; take it out, or give it to the program that it is for"
	switch {
	case variableKey.MatchString(key):
		return nil
	case strings.HasPrefix(key, "amp;"):
		reason = "DSN key %q: the DSN has &amp; between two keys: write & alone"
	case strings.HasPrefix(key, "ssl-"):
		reason = "unknown DSN key %q: write tls=true, or tls with the name of a config that mysql.RegisterTLSConfig has registered"
	case strings.Contains(key, "%"):
		reason = "unknown DSN key %q: only values are unescaped: write the key as it is, without %%"
	}
	return fmt.Errorf("mysqlinit: "+reason, key)
}

// variableKey matches what can stand before the '=' of a SET. In quotes, a user
// variable can have any name.
var variableKey = regexp.MustCompile("^([\\pL\\pN_$.@\\s]|`[^`]*`|'[^']*'|\"[^\"]*\")+$")

// addVariable takes a system variable. The two that we set ourselves are choices
// of our settings.
func (p *params) addVariable(v sysvar.Variable, name sysvar.Name) error {
	if also := setsOurs(v.Value); also != "" {
		return fmt.Errorf("mysqlinit: the value of DSN key %q also sets %s: give it a key of its own (isolation, binlog or binlog_format)", v.Name, also)
	}
	before := p.settings
	switch {
	case !name.OfSession():
	case name.Bare == sysvar.TransactionIsolation || name.Bare == sysvar.TxIsolation:
		if name.At && name.Scope == "" {
			return fmt.Errorf("mysqlinit: DSN key %q holds for the next transaction only: write isolation", v.Name)
		}
		chosen := session.Isolation{Expr: v.Value}
		if level, ok := sysvar.ParseLevel(v.Value); ok {
			chosen = session.Isolation{Level: level}
		}
		p.settings.isolation = given(chosen)
		p.levelAfter = len(p.variables)
		return p.agree(v.Name, before)
	case name.Bare == sysvar.BinlogFormat:
		p.settings.binlog = given(binlog{format: v.Value})
		return p.agree(v.Name, before)
	}
	// As in the driver's map, the last value of a name wins.
	if i := slices.IndexFunc(p.variables, func(other sysvar.Variable) bool { return other.Name == v.Name }); i >= 0 {
		p.variables = slices.Delete(p.variables, i, i+1)
		if i < p.levelAfter {
			p.levelAfter--
		}
	}
	p.variables = append(p.variables, v)
	return nil
}

// agree refuses a parameter that contradicts one before it.
func (p *params) agree(key string, before settings) error {
	if before.isolation.contradicts(p.settings.isolation, sameIsolation) {
		return fmt.Errorf("mysqlinit: DSN key %q contradicts another choice of the isolation level in the same DSN: keep one (isolation, transaction_isolation and tx_isolation mean the same)", key)
	}
	if before.binlog.contradicts(p.settings.binlog, sameBinlog) {
		return fmt.Errorf("mysqlinit: DSN key %q contradicts another choice of the binlog format in the same DSN: keep one of binlog and binlog_format", key)
	}
	// With both binlog_format=ROW and binlog=row, keep the written format, which
	// cannot be given up for an assertion.
	if before.binlog.value.format != "" {
		p.settings.binlog = before.binlog
	}
	return nil
}

// setsOurs returns our own variable that a value would set as well, as '+00:00',
// tx_isolation='SERIALIZABLE' does. Sent after our own items, it would
// silently override them. A value that only reads such a variable is fine.
func setsOurs(value string) string {
	for _, a := range sqltext.Assignments("SET value = " + value) {
		switch a.Name {
		case sysvar.TransactionIsolation, sysvar.TxIsolation, sysvar.BinlogFormat, "transaction":
			return a.Name
		}
	}
	return ""
}

// parseDSN splits a DSN into the driver's part, which is left byte for byte, and
// ours. No error shows a value: in a malformed DSN it can be a part of the
// password.
func parseDSN(dsn string) (*mysql.Config, params, error) {
	var ours params
	head, query := splitDSN(dsn)
	if _, err := parseDriverDSN(head, nil); err != nil {
		if cure := dsnOfURL(dsn); cure != "" {
			return nil, params{}, errors.New("mysqlinit: invalid DSN: it is a URL; " + cure)
		}
		if key := keyWithSlash(dsn); key != "" {
			return nil, params{}, fmt.Errorf("mysqlinit: invalid DSN: the value of %s has a '/', at which the driver splits a DSN: write %%2F", key)
		}
		return nil, params{}, err // what seems to be a key can be a part of the password
	}
	var rest []string
	var errs []error
	for param := range strings.SplitSeq(query, "&") {
		key, escaped, hasValue := strings.Cut(param, "=")
		switch {
		case !hasValue:
			if ourKeys[key] != nil {
				errs = append(errs, fmt.Errorf("mysqlinit: DSN key %[1]q has no value: write %[1]s=…", key))
			} else if param != "" {
				rest = append(rest, param) // the driver ignores it
			}
			continue
		case driverOwns(key):
			rest = append(rest, param)
			continue
		}
		value, err := url.QueryUnescape(escaped)
		if err != nil {
			errs = append(errs, fmt.Errorf("mysqlinit: DSN key %q: its value is not query-escaped: write %%25 for a %% (url.QueryEscape does)", key))
			continue
		}
		errs = append(errs, ours.add(key, value))
	}
	if len(rest) > 0 {
		head += "?" + strings.Join(rest, "&")
	}
	cfg, err := parseDriverDSN(head, rest)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, params{}, err
	}
	ours.readConfig(cfg)
	return cfg, ours, nil
}

// dsnOfURL says which DSN to write in place of a URL, without its password. It is
// "" if the text is no URL of a database.
func dsnOfURL(text string) string {
	scheme, _, ok := strings.Cut(text, "://")
	if !ok || !slices.Contains([]string{"mysql", "mariadb", "mysql2", "mysql+pymysql", "jdbc:mysql", "jdbc:mariadb"}, strings.ToLower(scheme)) {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.User == nil || u.Hostname() == "" || strings.ContainsAny(strings.TrimPrefix(u.Path, "/"), "/@:") || strings.Contains(u.RawQuery+u.Fragment, "@") {
		// Its parts are not certain: what seems to be a name can be a part of the password.
		return "want user:password@tcp(host:3306)/database?key=value"
	}
	user := u.User.Username()
	if _, ok := u.User.Password(); ok {
		user += ":PASSWORD"
	}
	port := cmp.Or(u.Port(), "3306")
	return "want " + user + "@tcp(" + net.JoinHostPort(u.Hostname(), port) + ")" + cmp.Or(u.Path, "/") + ", and after it ?key=value"
}

// keyWithSlash returns the key in whose value the last '/' of a DSN stands. It
// returns only keys of a fixed list, because what seems to be a key can be a part
// of the password.
func keyWithSlash(dsn string) string {
	before := dsn[:max(0, strings.LastIndexByte(dsn, '/'))]
	key, _, _ := strings.Cut(before[strings.LastIndexAny(before, "?&")+1:], "=")
	if ourKeys[key] != nil || driverSpellings()[key] || key == "time_zone" || key == "ssl-ca" {
		return key
	}
	return ""
}

// splitDSN splits a DSN where the driver does: at the first '?' after the last
// '/'.
func splitDSN(dsn string) (head, query string) {
	slash := strings.LastIndexByte(dsn, '/')
	if slash < 0 {
		return dsn, ""
	}
	if mark := strings.IndexByte(dsn[slash:], '?'); mark >= 0 {
		return dsn[:slash+mark], dsn[slash+mark+1:]
	}
	return dsn, ""
}

// parseDriverDSN is mysql.ParseDSN with its panic and its errors, which quote
// parts of the DSN, turned into errors that name the key at fault.
func parseDriverDSN(dsn string, query []string) (*mysql.Config, error) {
	cfg, err := tryParse(dsn)
	if err == nil {
		return cfg, nil
	}
	for _, param := range query {
		if _, err := tryParse("/?" + param); err != nil {
			key, _, _ := strings.Cut(param, "=")
			if key == "strict" {
				return nil, errors.New(`mysqlinit: DSN key "strict": the MySQL driver has removed it: take it out, and set sql_mode instead`)
			}
			return nil, fmt.Errorf("mysqlinit: DSN key %q: %s", key, driverWants(key))
		}
	}
	reason := "the part before its '?' is malformed"
	if text, ok := strings.CutPrefix(err.Error(), "invalid DSN: "); ok {
		reason = strings.TrimSuffix(text, "?") // a fixed text
	} else if strings.HasPrefix(err.Error(), "default addr for network ") {
		reason = "the address is not written as tcp(host:3306) or unix(/path/of/socket)"
	}
	return nil, errors.New("mysqlinit: invalid DSN: " + reason + "; want user:password@tcp(host:3306)/database?key=value, with %2F for a '/' in a value, and %2F and %25 for '/' and '%' in the database's name")
}

// takeParams removes our keys from the Params of a private copy of a Config. The
// user's own variables stay there; the driver sends them.
func takeParams(cfg *mysql.Config) (params, error) {
	var ours params
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(cfg.Params)) {
		kept := len(ours.variables)
		if err := ours.add(key, cfg.Params[key]); err != nil {
			errs = append(errs, err)
		} else if len(ours.variables) == kept {
			delete(cfg.Params, key)
		}
	}
	ours.variables, ours.sentByDriver = nil, ours.variables
	ours.readConfig(cfg)
	if cfg.TLS != nil && ours.origin == driverAlone {
		ours.origin = driverWithTLSConfig
	}
	return ours, errors.Join(errs...)
}

// hasBeforeConnect reports whether a Config has a callback that can change a copy
// of it for each connection. The field is not exported. If a version of the
// driver has no field of that name, the callback is assumed.
func hasBeforeConnect(cfg *mysql.Config) bool {
	f := reflect.ValueOf(cfg).Elem().FieldByName("beforeConnect")
	return !f.IsValid() || !f.IsZero()
}
