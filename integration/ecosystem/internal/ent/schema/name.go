// Package schema is the schema of ent's client.
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
)

// Name is a row of the table names.
type Name struct{ ent.Schema }

// Fields are the columns.
func (Name) Fields() []ent.Field {
	return []ent.Field{field.String("id").StorageKey("name")}
}
