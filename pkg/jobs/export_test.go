package jobs

import (
	"time"

	"slipway.dev/pkg/jobs/internal/backend"
	"slipway.dev/pkg/jobs/internal/tables"
)

// ClaimSQL is the statement that claims jobs.
const ClaimSQL = tables.ClaimSQL

// ClaimArgs returns the arguments of ClaimSQL for a claim of up to limit jobs of kind work.
func ClaimArgs(limit int, name string) []any {
	return tables.ClaimArgs(backend.Claim{Limit: limit, Name: name, Lease: 15 * time.Second, Kinds: []string{"work"}})
}
