package inspect

import (
	"slices"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// This file has the rules about Vitess. docs/managed.md has what was seen on it.

func vitessAnswers(f *facts) *Finding {
	if f.vitess == nil {
		return nil
	}
	finding := &Finding{
		Severity: Info,
		What:     "Vitess answers: " + f.version,
		Why:      "vtgate keeps the session and gives its isolation level to the transactions on each shard; it ignores a SET of binlog_format",
		Cure:     "none is needed, but binlog=server in the DSN leaves out what vtgate ignores",
	}
	if len(f.vitess.shards) > 0 {
		finding.What += "; the level and the format shown are those of shard " + f.vitess.shards[0].name + ", other variables those of any shard"
	}
	return finding
}

func vitessSettingsOff(f *facts) *Finding {
	if f.vitess == nil || f.vitess.settings == "" || isOn(f.vitess.settings) {
		return nil
	}
	return &Finding{
		Severity: Error,
		What:     "system settings are off in this session (enable_system_settings)",
		Why:      "vtgate accepts every SET of the isolation level and of other variables, and passes none on: transactions run at the level of the shards' own servers",
		Cure:     "start vtgate without --enable-system-settings=false, or take enable_system_settings=0 out of the DSN; or set the level in the my.cnf of all shards' servers, and isolation=server in the DSN",
	}
}

func vitessShardsDiffer(f *facts) *Finding {
	if f.vitess == nil {
		return nil
	}
	sessions, sessionsDiffer := f.levelsByShard(func(s shard) map[string]string { return s.session })
	servers, serversDiffer := f.levelsByShard(func(s shard) map[string]string { return s.global })
	finding := &Finding{
		Why: "vtgate compares a SET of the level with the first shard only: if that one has the level already, vtgate drops the SET for all shards, and answers OK",
		Cure: "set the same transaction-isolation in the my.cnf of all shards' servers; until then isolation=server&binlog=server in the DSN, and two init commands: " +
			"SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, then SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
	}
	switch {
	case sessionsDiffer:
		finding.Severity, finding.What = Error, "this session has not the same isolation level on all shards: "+sessions
	case serversDiffer:
		finding.Severity, finding.What = Warning, "the shards' servers have different isolation levels: "+servers
	default:
		return nil
	}
	return finding
}

// levelsByShard lists the shards' levels, and reports whether they differ.
func (f *facts) levelsByShard(variables func(shard) map[string]string) (text string, differ bool) {
	var all, levels []string
	for _, s := range f.vitess.shards {
		level := isolation(variables(s))
		levels = append(levels, level)
		all = append(all, s.name+" "+level)
	}
	return firstNames(all), len(slices.Compact(levels)) > 1
}

// vitessStatement stands for binlogStatement, which knows of one server, and whose
// cures in the client do not work here.
func vitessStatement(f *facts) *Finding {
	if f.vitess == nil {
		return nil
	}
	var names []string
	severity := Info
	for _, s := range f.vitess.shards {
		if s.session[sysvar.BinlogFormat] != "STATEMENT" || !isOn(s.global["log_bin"]) {
			continue
		}
		names = append(names, s.name)
		if needsRowLog(s.session) && !f.leavesFormat() {
			severity = Error
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &Finding{
		Severity: severity,
		What:     "these shards' servers log in STATEMENT format: " + firstNames(names),
		Why: "InnoDB refuses every write of a READ COMMITTED transaction there (error 1665); vtgate ignores a SET of binlog_format, " +
			"and binlog=assert and verify see one shard only",
		Cure: "set binlog_format = ROW in the my.cnf of all shards' servers; until then isolation=server in the DSN, or binlog=server for a pool that only reads",
	}
}

func vitessTransactionMode(f *facts) *Finding {
	if f.vitess == nil || len(f.vitess.shards) < 2 || f.vitess.mode != "MULTI" {
		return nil
	}
	return &Finding{
		Severity: Info,
		What:     "transaction_mode is MULTI: a transaction can span shards",
		Why:      "COMMIT commits one shard after the other: if it fails, what the first shards have committed stays, so an error of COMMIT does not say that nothing is committed",
		Cure:     "set transaction_mode='single' in the DSN: a statement for a second shard is then an error, and the transaction can be rolled back",
	}
}

func vitessShardTarget(f *facts) *Finding {
	if f.vitess == nil || !f.vitess.inOneShard {
		return nil
	}
	return &Finding{
		Severity: Warning,
		What:     "the DSN names a shard: " + f.database,
		Why:      "with such a DSN each SET reserves a connection to the shard's server, so each connection of the pool holds one for as long as it is open",
		Cure:     "name the keyspace alone, and let vtgate find the shard; or keep the pool small",
	}
}

func vitessLooseKeys(f *facts) *Finding {
	if f.vitess == nil || len(f.vitess.looseKeys) == 0 {
		return nil
	}
	return &Finding{
		Severity: Warning,
		What:     "unique keys that hold in each shard for itself: " + firstNames(f.vitess.looseKeys),
		Why:      "no vindex makes them unique in the keyspace: two shards can both have the row, without any error, and get-or-create code then creates it twice",
		Cure:     "in the VSchema: a vindex of type consistent_lookup_unique on the key's columns; or shard the table by one of them",
	}
}
