// Package ent holds ent's client for the schema in this folder. Only the schema
// is under version control: go generate makes the rest, and so do make ecosystem
// and make lint.
package ent

//go:generate go tool ent generate --feature sql/execquery ./schema
