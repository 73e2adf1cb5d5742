package jobs

import "slipway.dev/pkg/jobs/internal/tables"

// ClaimSQL is the statement that claims jobs.
const ClaimSQL = tables.ClaimSQL
