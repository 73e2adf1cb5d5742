// Package ha tests what failovers of the database do to an installation. Its tests start pairs of PostgreSQL servers, cut
// their links, kill and promote them, and bring former primaries back.
package ha
